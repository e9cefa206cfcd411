"""Rules: what operations and layers do with units. All else is not known, may do anything, and keeps its units.

The table at the bottom names torch's own operations ("aten"), without the underscores; those that torch itself calls
pointwise need no row. Layers whose tensors can be cut are in `layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from oneticket.compact.follow import Following, TracedCall
from oneticket.compact.labels import NONE, tight, varies

Found = Sequence[Tensor | None]
Rule = Callable[[Following, TracedCall], Found]
"""What becomes of units: the labels of each tensor that comes out."""


def rule(call: TracedCall) -> Rule:
    """What an operation does with units."""
    tags = call.function.tags
    if call.name.startswith("scaled_dot_product"):
        return _attend
    if torch.Tag.nondeterministic_seeded in tags:
        return _random
    if not call.outs:  # results are Python numbers
        return _unknown
    return _pointwise if torch.Tag.pointwise in tags else _OPERATIONS.get(call.name, _unknown)


def _pointwise(units: Following, call: TracedCall) -> Found:
    """Each number by itself; units that lie on each other become one."""
    found: Tensor | None = None
    for labels in map(units.of, call.tensors):
        if labels is not None:
            found = labels if found is None else units.joined(found, labels)
    others = [each for each in call.tensors if units.of(each) is None]
    if found is None:
        return [None] * len(call.outs)
    if others:
        units.mixed(found)
    if any(_beside(found, each) for each in others):
        units.hold(found, f"{call.name} combines it with numbers that are no unit's")
    return [found] * len(call.outs)


def _beside(labels: Tensor, other: Tensor) -> bool:
    """Whether a tensor without units has something else for each unit."""
    sizes = zip(reversed(labels.shape), reversed(other.shape), strict=False)
    return any(mine > 1 and size > 1 for mine, size in sizes)


def _moved(units: Following, call: TracedCall) -> Found:
    """Numbers take other places: labels do too."""
    shape = call.outs[0].shape
    if SAME.get(call.name, call.name) == "view":
        labels = units.of(call.tensors[0])
        return [None if labels is None else tight(labels.expand(call.before[0].shape).reshape(shape))]

    def labelled(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        labels = units.of(each)
        return (torch.full((1,) * each.dim(), NONE, device="cpu") if labels is None else labels).expand(
            call.was(each).shape
        )

    made = call.function(**tree_map(labelled, dict(call.named)))
    return [tight(each) for each in ([made] if isinstance(made, Tensor) else made)]


def _strided(units: Following, call: TracedCall) -> Found:
    """Other steps in memory, where each number is the one that it was: torch does so to sizes of 1."""
    source, named = call.before[0], call.named
    sizes = zip(source.shape, source.stride(), named["size"], named["stride"], strict=False)
    alike = source.dim() == len(named["size"]) and all(
        one == size and (size == 1 or mine == step) for one, mine, size, step in sizes
    )
    if not alike or named.get("storage_offset") not in (None, source.storage_offset()):
        return _unknown(units, call)
    return [units.of(call.tensors[0])]


def _picked(units: Following, call: TracedCall) -> Found:
    """Places that another tensor selects: the same for every batch, or all of one unit."""
    source, rest = call.tensors[0], call.tensors[1:]
    labels = units.of(source)
    if labels is None or any(units.of(each) is not None or not units.certain(each) for each in rest):
        return _unknown(units, call)

    def here(each: Any) -> Any:
        if each is source:
            return labels.expand(source.shape)
        return each.cpu() if isinstance(each, Tensor) else each

    return [tight(call.function(**tree_map(here, dict(call.named))))]


def _padded(units: Following, call: TracedCall) -> Found:
    """Constants around: a part of the units where each of those dimensions is one unit's, else no unit's."""
    labels, pad = units.of(call.tensors[0]), call.named["pad"]
    units.mixed(labels)
    if labels is None:
        return [None]
    touched = [-1 - place // 2 for place, size in enumerate(pad) if size]
    if not any(varies(labels, dim) for dim in touched):
        return [labels]
    return [tight(call.function(labels.expand(call.tensors[0].shape), pad, NONE))]


def _reduced(units: Following, call: TracedCall) -> Found:
    """One number for many: of one unit, or of several, which then stay."""
    labels = units.of(call.tensors[0])
    if labels is None:
        return _unknown(units, call)
    rank = labels.dim()
    asked = call.named.get("dim")
    dims = [asked] if isinstance(asked, int) else list(asked or range(rank))
    dims = [dim % rank for dim in dims]
    if any(varies(labels, dim) for dim in dims):
        units.hold(labels, f"an unread unit still enters its {call.name}", reads=True)
        return [None] * len(call.outs)
    less = labels
    for dim in sorted(dims, reverse=True):
        less = less.squeeze(dim)
    return [labels if out.dim() == rank else less for out in call.outs]


def _within(units: Following, call: TracedCall, *, dims: Callable[[TracedCall], Sequence[int]], why: str) -> Found:
    """Numbers of some dimensions together, as many as before or fewer: of one unit, or of several, which then stay."""
    labels = units.of(call.tensors[0])
    if labels is None or any(units.of(each) is not None for each in call.tensors[1:]):
        return _unknown(units, call)
    found = [labels if _fits(labels, out) else None for out in call.outs]
    if any(varies(labels, dim) for dim in dims(call)):
        units.hold(labels, why, reads=found[0] is None)
    return found


def _fits(labels: Tensor, out: Tensor) -> bool:
    """Whether labels are those of a tensor of that shape."""
    return labels.dim() == out.dim() and all(
        mine in (1, size) for mine, size in zip(labels.shape, out.shape, strict=True)
    )


def _normed(call: TracedCall) -> Sequence[int]:
    return [-1 - place for place in range(len(call.named["normalized_shape"]))]


def _dim(call: TracedCall) -> Sequence[int]:
    return [call.named.get("dim", -1)]


def _last(count: int) -> Callable[[TracedCall], Sequence[int]]:
    return lambda _: [-1 - place for place in range(count)]


def _halves(units: Following, call: TracedCall) -> Found:
    """A gated linear unit: the second half opens the first."""
    labels, dim = units.of(call.tensors[0]), call.named.get("dim", -1)
    if labels is None or not varies(labels, dim):
        return [labels]
    one, other = labels.expand(call.tensors[0].shape).chunk(2, dim)
    return [units.joined(tight(one), tight(other))]


def _multiplied(units: Following, call: TracedCall) -> Found:
    """Matrices: what is summed over has to stay unless it is one unit's; rows and columns keep theirs."""
    one, other = (units.of(each) for each in call.tensors[:2])
    units.mixed(one, other)
    if one is not None and varies(one, -1):
        units.hold(one, "a product of matrices sums over it", reads=True)
        one = None
    if other is not None and varies(other, -2):
        units.hold(other, "a product of matrices sums over it", reads=True)
        other = None
    if one is None or other is None:
        return [one if other is None else other]
    return [units.joined(one, other)]


def _attend(units: Following, call: TracedCall) -> Found:
    """Attention: queries and keys have to stay, values are averaged over their places."""
    query, key, value = (call.named[name] for name in ("query", "key", "value"))
    for each in (query, key):
        units.hold(units.of(each), "attention multiplies queries with keys", reads=True)
    labels = units.of(value)
    units.mixed(labels)
    alike = labels is not None and not varies(labels, -2) and value.shape[1] == query.shape[1]
    if not alike:
        units.hold(labels, "attention mixes several units of its values")
    return [labels if place == 0 and alike else None for place in range(len(call.outs))]


def _random(units: Following, call: TracedCall) -> Found:
    """What draws numbers for all units draws others for fewer."""
    for each in call.tensors:
        units.hold(units.of(each), f"{call.name} draws random numbers for each unit")
    return _alike(units, call)


def _unknown(units: Following, call: TracedCall) -> Found:
    """An unknown operation may read everything: its units stay. Equal parts of its output may still be followed."""
    found = _alike(units, call)
    for each in call.tensors:
        passed = any(labels is units.of(each) for labels in found)
        units.hold(units.of(each), f"what {call.name} does with units is not known", reads=not passed)
    return found


def _alike(units: Following, call: TracedCall) -> Found:
    sources = [each for each in call.tensors if units.of(each) is not None]
    same = {each.shape: units.of(each) for each in reversed(sources)}
    return [same.get(out.shape) for out in call.outs]


def _spatial(*names: str) -> dict[str, Rule]:
    """Functions of the last 1, 2 or 3 dimensions, as their names say."""
    sizes = ((f"{name}{n}d{end}", n) for n in (1, 2, 3) for name in names for end in ("", "_with_indices"))
    return {name: partial(_within, dims=_last(n), why=_ACROSS) for name, n in sizes}


_ACROSS = "it works across units"
_MEAN = "an unread unit still enters its mean and variance"

LAYOUT = frozenset(("as_strided", "clone", "alias", "detach"))
"""Operations that are no steps of their own: torch has them or not, as tensors lie in memory."""

SAME = {"unsafe_view": "view", "reshape": "view", "reshape_alias": "view"}
"""Operations that go by another's name: which one torch takes depends on how a tensor lies in memory."""

MOVED = frozenset(
    (
        *("view", *SAME, "t", "transpose", "permute", "unsqueeze", "squeeze", "expand", "unfold"),
        *("slice", "select", "split", "split_with_sizes", "unbind", "cat", "stack", "flip", "roll", "repeat"),
        *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle"),
    )
)
"""Operations whose numbers of Python are places and sizes, that labels follow."""

_OPERATIONS: dict[str, Rule] = {
    **dict.fromkeys(MOVED, _moved),
    "as_strided": _strided,
    **dict.fromkeys(("index", "index_select"), _picked),
    **dict.fromkeys(("copy", "to_copy", "detach", "alias", "lift_fresh"), _pointwise),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like"), _pointwise),
    **dict.fromkeys(("prelu_kernel", "log_sigmoid_forward", "hardswish", "masked_fill", "where"), _pointwise),
    **dict.fromkeys(("mean", "sum", "prod", "amax", "amin", "argmax", "argmin", "std", "var", "var_mean"), _reduced),
    **dict.fromkeys(("linalg_vector_norm", "norm", "logsumexp", "any", "all", "std_mean", "max", "min"), _reduced),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum", "cumprod"), partial(_within, dims=_dim, why=_ACROSS)),
    **_spatial("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "reflection_pad", "replication_pad"),
    **_spatial("upsample_nearest", "upsample_bilinear", "upsample_bicubic"),
    "native_layer_norm": partial(_within, dims=_normed, why=_MEAN),
    "constant_pad_nd": _padded,
    "glu": _halves,
    **dict.fromkeys(("mm", "bmm"), _multiplied),
}
