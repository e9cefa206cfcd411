"""Open sizes: a program's input axes without a fixed size, and batches of other sizes to test it with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from oneticket.export.example import Example, arguments, batch_axes, leaves, outputs, parts, resized
from oneticket.ground.errors import ModelError, SpecError, WrongModelError, unknown

Dynamic = Sequence[int] | Mapping[str, Mapping[int, str]]
"""Axes to leave open: numbers, for every input that has them; or per input axis -> name, one name for equal sizes."""

BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class Open:
    """For each tensor of the example: open axis -> name of its size; `several`: the example with all sizes above 1."""

    names: tuple[dict[int, str], ...]
    several: Example


def open_axes(network: nn.Module, example: Example, dynamic: Dynamic = ()) -> Open:
    """The open axes: those of the batch, found by `example.batch_axes`, and those asked for.

    Axes of equal number and size share a name, such as `axis2`. Raises SpecError for a missing axis or input.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3))
    >>> import torch
    >>> open_axes(net, torch.zeros(1, 3, 8, 8), [2, 3]).names
    ({2: 'axis2', 3: 'axis3', 0: 'batch'},)
    """
    tensors, rows = leaves(example), batch_axes(network, example)
    asked = _by_input(network, example, dynamic) if isinstance(dynamic, Mapping) else _everywhere(tensors, dynamic)
    found = [{} if axis is None else {axis: BATCH} for axis in rows or (None,) * len(tensors)]
    names = tuple({**more, **batch} for more, batch in zip(asked, found, strict=True))
    # torch takes a size of one for one that never changes.
    pairs = zip(tensors, names, strict=True)
    sizes = [{axis: 2 for axis in named if tensor.shape[axis] == 1} for tensor, named in pairs]
    return Open(names=names, several=resized(example, sizes))


def others(network: nn.Module, example: Example, axes: Open) -> Iterator[tuple[Example, tuple[Tensor, ...]]]:
    """Examples of other sizes, and the network's outputs for them; the example itself first.

    Batches of 1 and 5; and every other open size plus one, and doubled, alone and together. Sizes at which the network
    itself fails are left out. Raises ModelError if it fails for all sizes of a name.
    """
    yield example, outputs(network, example)
    pairs = zip(leaves(example), axes.names, strict=True)
    now = {name: tensor.shape[axis] for tensor, named in pairs for axis, name in named.items()}
    asked = [name for name in now if name != BATCH]
    trials = [{BATCH: 1}, {BATCH: 5}] if BATCH in now else []
    for some in [[name] for name in asked] + ([asked] if len(asked) > 1 else []):
        trials += [{name: now[name] + 1 for name in some}, {name: 2 * now[name] for name in some}]
    tried: set[str] = set()
    for sizes in trials:
        new = [{axis: sizes[name] for axis, name in named.items() if name in sizes} for named in axes.names]
        each = resized(example, new)
        try:
            want = outputs(network, each)
        except ModelError as error:
            why = error
            continue
        tried |= sizes.keys()
        yield each, want
    if lacking := [name for name in now if name not in tried]:
        raise WrongModelError(f"{lacking[0]}: the network itself accepts only the size {now[lacking[0]]}: {why}")


def _everywhere(tensors: Sequence[Tensor], numbers: Sequence[int]) -> list[dict[int, str]]:
    for number in numbers:
        if not any(0 <= number < tensor.dim() for tensor in tensors):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise SpecError(f"dynamic: no input has an axis {number}; there are inputs of shape {shapes}")
    lengths = {number: {one.shape[number] for one in tensors if one.dim() > number} for number in numbers}

    def name(number: int, tensor: Tensor) -> str:
        return f"axis{number}" if len(lengths[number]) == 1 else f"axis{number}_{tensor.shape[number]}"

    return [{number: name(number, one) for number in numbers if number < one.dim()} for one in tensors]


def _by_input(network: nn.Module, example: Example, dynamic: Mapping[str, Mapping[int, str]]) -> list[dict[int, str]]:
    names = input_names(network, example)
    for name, wanted in dynamic.items():
        if name not in names:
            raise SpecError(f"dynamic: {unknown('input', name, names)}")
        tensor = leaves(example)[names.index(name)]
        if wrong := [axis for axis in wanted if not 0 <= axis < tensor.dim()]:
            raise SpecError(f"dynamic: {name} has no axis {wrong[0]}; its shape is {tuple(tensor.shape)}")
    return [dict(dynamic.get(name, {})) for name in names]


def input_names(network: nn.Module, example: Example) -> list[str]:
    """The names of the example's tensors in a program: the forward pass's arguments, with the place of parts.

    >>> import torch
    >>> x = torch.zeros(1, 1, 1)
    >>> input_names(nn.LSTM(1, 1), (x, (x, x)))
    ['input', 'hx_0', 'hx_1']
    """
    positional, given = arguments(example)
    try:
        given = given or inspect.signature(network.forward).bind(*positional).arguments
    except TypeError as error:
        raise WrongModelError(f"{type(network).__name__} does not take the example: {error}") from error
    return [name for argument, value in given.items() for name, _ in parts(argument, value)]
