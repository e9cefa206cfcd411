"""Examples: a batch as a model takes it, its tensors, and batches of other sizes made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from oneticket.export.agreement import differs, tensors_in, tolerance
from oneticket.ground.errors import ModelError, WrongModelError
from oneticket.ground.streams import Streams

Example = Tensor | Sequence[Any] | Mapping[str, Any]
"""A batch as the model takes it: one tensor, several, or tensors by the arguments' names.

A tensor may be replaced by None, or by a tuple, list or mapping of tensors, such as a recurrent network's state.
"""

Axes = tuple[int | None, ...]
"""For each tensor of an example the axis of its rows; None for a tensor that belongs to all rows."""

ROWS = 3
"""Rows of the batch that is used to find the axis of the rows."""

MOST = 256
"""Choices of axes to try at most."""


def arguments(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments; raises ModelError for anything but non-empty tensors.

    >>> x, h = torch.zeros(5, 2, 4), torch.zeros(1, 2, 4)
    >>> len(arguments((x, (h, h)))[0]), list(arguments({"x": x, "state": None})[1])
    (2, ['x', 'state'])
    """
    found = pytree.tree_leaves(example)
    tensors = [one for one in found if isinstance(one, Tensor)]
    if not tensors or any(one is not None and not isinstance(one, Tensor) for one in found):
        raise WrongModelError(
            "example: expected a batch as the model takes it: a tensor, several, or tensors by name; tuples of tensors "
            f"and None may stand for a tensor; got {_describe(example)}"
        )
    if empty := [tuple(one.shape) for one in tensors if not one.numel()]:
        raise WrongModelError(f"example: expected tensors that hold something, got one of shape {empty[0]}")
    named = dict(example) if isinstance(example, Mapping) else {}
    several = tuple(example) if isinstance(example, Sequence) else ()
    return (example,) if isinstance(example, Tensor) else several, named


def leaves(example: Example) -> list[Tensor]:
    """The example's tensors, in order."""
    return [one for one in pytree.tree_leaves(example) if isinstance(one, Tensor)]


def parts(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """An argument's tensors, by their names in a program: the argument's name, then the place in it.

    >>> [name for name, _ in parts("state", (torch.zeros(1), {"c": torch.zeros(1)}))]
    ['state_0', 'state_1_c']
    """
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping | list | tuple):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from parts(f"{name}_{key}", part)


@torch.no_grad()
def outputs(network: nn.Module, example: Example) -> tuple[Tensor, ...]:
    """All tensors in a network's output, in order, whatever their container; ModelError if it fails or gives none."""
    positional, named = arguments(example)
    try:
        found = tensors_in(network(*positional, **named))
    except Exception as error:  # any error of a user's forward pass
        raise ModelError(f"{type(network).__name__} fails on the example: {error}") from error
    if not found:
        raise WrongModelError(f"{type(network).__name__}: expected tensors as outputs, got none")
    return found


def resized(example: Example, sizes: Sequence[Mapping[int, int]]) -> Example:
    """The example with other sizes along some axes: per tensor, axis -> size; a tensor without any is copied.

    Numbers become noise of the tensor's spread; entries of indices and truth values are repeated. No two tensors are
    the same object, since torch takes one tensor that is given twice for a single input.

    >>> [tuple(one.shape) for one in resized((torch.zeros(5, 2), torch.zeros(2)), [{1: 3}, {0: 3}])]
    [(5, 3), (3,)]
    """
    generator = Streams(root=0, replicate=0).generator("shuffle")

    def one(tensor: Tensor, size: Mapping[int, int]) -> Tensor:
        if size and tensor.is_floating_point():
            shape = [size.get(axis, length) for axis, length in enumerate(tensor.shape)]
            noise = torch.randn(shape, generator=generator, device="cpu").to(tensor.device, tensor.dtype)
            spread = float(tensor.float().std()) if tensor.numel() > 1 else 0.0
            return noise * spread if spread > 0 else noise
        for axis, length in size.items():
            tensor = tensor.index_select(axis, torch.arange(length, device=tensor.device) % tensor.shape[axis])
        return tensor if size else tensor.clone()

    return _with(example, [one(tensor, size) for tensor, size in zip(leaves(example), sizes, strict=True)])


def batch(example: Example, count: int, axes: Axes | None = None) -> Example:
    """`count` rows made from the example's rows, which lie along `axes`, by default the first axis of every tensor."""
    axes = (0,) * len(leaves(example)) if axes is None else axes
    return resized(example, [{} if axis is None else {axis: count} for axis in axes])


def batch_axes(network: nn.Module, example: Example) -> Axes | None:
    """For each tensor of the example the axis of its rows, which the network computes independently; None without any.

    Sizes are not enough: in (sequence, batch, features) the first two may be equal. So for each choice of axes of one
    common size, the network computes a batch of three rows and then the last row alone. The first choice with equal
    results wins; choices with the same axis everywhere come first. A network that mixes its rows gets the first axis,
    if that has the same size in all tensors.

    >>> x, h = torch.zeros(4, 2, 4), torch.zeros(1, 2, 4)
    >>> batch_axes(nn.RNN(4, 4), (x, h)), batch_axes(nn.RNN(4, 4, batch_first=True), x), batch_axes(nn.RNN(4, 4), x)
    ((1, 1), (0,), (1,))
    """
    tensors = leaves(example)
    found = (axes for axes in _choices(example) if _by_rows(network, example, axes))
    if (axes := next(found, None)) is not None:
        return axes
    first = {tensor.shape[:1] for tensor in tensors}
    return (0,) * len(tensors) if len(first) == 1 and len(next(iter(first))) else None


def _choices(example: Example) -> list[Axes]:
    """Axes of one common size, equal within an argument: fewest tensors without rows first, then equal axes."""
    positional, named = arguments(example)
    parts = [(place, one.shape) for place, part in enumerate([*positional, *named.values()]) for one in leaves(part)]
    kinds = list(dict.fromkeys(parts))
    every = product(*([*range(len(shape)), None] for _, shape in kinds))
    fit = [
        dict(zip(kinds, axes, strict=True))
        for axes in islice(every, 10 * MOST)
        if len({shape[axis] for (_, shape), axis in zip(kinds, axes, strict=True) if axis is not None}) == 1
    ]
    choices = [tuple(one[part] for part in parts) for one in fit]
    return sorted(choices, key=lambda axes: (axes.count(None), len(set(axes)), [axis or 0 for axis in axes]))[:MOST]


def _by_rows(network: nn.Module, example: Example, axes: Axes) -> bool:
    """Whether the last of three rows gives the same alone and among the others."""
    three = batch(example, ROWS, axes)
    rows = zip(leaves(three), axes, strict=True)
    last = _with(three, [one if axis is None else one.narrow(axis, -1, 1) for one, axis in rows])
    try:
        among, alone = outputs(network, three), outputs(network, last)
    except ModelError:
        return False
    if len(among) != len(alone):
        return False
    pairs = [(_last_row(one, other), other) for one, other in zip(among, alone, strict=True)]
    varied = [pair for pair, one in zip(pairs, among, strict=True) if pair[0] is not one]
    return bool(varied) and not differs(*zip(*varied, strict=True), near=tolerance(network, example))


def _last_row(among: Tensor, alone: Tensor) -> Tensor:
    """The last row of an output of three rows, if one axis has that size."""
    if among.dim() == alone.dim():
        for axis, (three, one) in enumerate(zip(among.shape, alone.shape, strict=True)):
            if three == ROWS * one and one != three:
                return among.narrow(axis, three - one, one)
    return among


def _with(example: Example, tensors: Sequence[Tensor]) -> Example:
    """The example with these tensors instead of its own."""
    found, structure = pytree.tree_flatten(example)
    new = iter(tensors)
    made: Example = pytree.tree_unflatten([next(new) if isinstance(one, Tensor) else one for one in found], structure)
    return made


def _describe(example: object) -> str:
    kinds = sorted({type(one).__name__ for one in pytree.tree_leaves(example)})
    return " and ".join(kinds) or f"an empty {type(example).__name__}"
