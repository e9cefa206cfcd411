"""Selection: exactly the lowest scores are pruned, also with ties.

The end of a share is found digit by digit, as in a radix sort: count the remaining weights by the first bits of their
scores, then those with the deciding digit by their next bits, until few enough are left to sort. That is exact for any
scores, and bounded in time and memory. Scores are read in pieces that fit a core's cache and that torch does not split
over threads, since synchronising at every piece would cost more than it gains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from oneticket.ground.errors import PruneError, WrongPruneError
from oneticket.pruning.allocate import Share
from oneticket.pruning.scores import Rule, Scores, Values
from oneticket.ticket.bits import from_bytes, to_bytes
from oneticket.ticket.mask import Mask

PIECE = 3 * 2**13
DIGIT = 13
FEW = 2**16


class Piece(NamedTuple):
    """At most PIECE weights: what `rule` makes their scores of, and bytes that mark the remaining ones."""

    rule: Rule
    values: Values
    packed: Tensor

    def scores(self) -> Tensor:
        return self.rule(*self.values)


def select(mask: Mask, scores: Mapping[str, Tensor], shares: Iterable[Share], *, allow_empty: bool = True) -> Mask:
    """The mask after pruning the lowest-scored remaining weights of every share.

    Exact: each share loses exactly `prune` weights. Order: by score, ties by (tensor name, flat index), lowest first.
    Scores are float tensors of the masks' shapes on any device; those of pruned weights are ignored. A tensor belongs
    to one share at most. With `allow_empty=False` the best weight of every tensor stays, the last of equals.

    Raises PruneError if a remaining weight's score is NaN, a shape differs, or too few weights may be pruned.

    >>> mask = Mask({"a": torch.ones(4, dtype=torch.bool)})
    >>> select(mask, {"a": torch.tensor([3.0, 1.0, 1.0, 1.0])}, [Share(names=("a",), prune=2)])["a"]
    tensor([ True, False, False,  True])
    """
    remaining, left = mask.counts, mask.pack()
    for share in shares:
        names = sorted(share.names)
        pieces = {name: _pieces(name, scores, mask, left[name]) for name in names}
        dtypes = (some[0].rule(*(each[:0] for each in some[0].values)).dtype for some in pieces.values())
        dtype = reduce(torch.promote_types, dtypes, torch.float32)
        kept = {} if allow_empty else {name: _best(pieces[name]) for name in names if remaining[name]}
        may_go = sum(remaining[name] for name in names) - len(kept)
        if share.prune > may_go:
            raise WrongPruneError(
                f"{', '.join(names)}: cannot prune {share.prune} weights, since only {may_go} may be pruned; prune "
                "fewer"
            )
        for name, place in kept.items():
            left[name][place // 8] ^= 1 << place % 8
        if share.prune:
            _prune([piece for name in names for piece in pieces[name]], share.prune, may_go, dtype)
        for name, place in kept.items():
            left[name][place // 8] ^= 1 << place % 8
    return Mask.unpack(left, mask.shapes)


def checked(name: str, scores: Mapping[str, Tensor], mask: Mask) -> Tensor:
    """The scores of a tensor, 1-D on the CPU; PruneError for NaN at a remaining weight, or another shape."""
    _pieces(name, scores, mask, mask.pack()[name])
    return scores[name].detach().to("cpu").reshape(-1)


def _pieces(name: str, scores: Mapping[str, Tensor], mask: Mask, packed: Tensor) -> list[Piece]:
    """The pieces of a tensor, with checked scores; `packed`: the bytes in which they mark what remains."""
    given, shape = Scores.read(scores), mask.shapes[name]
    if name not in given or given.shape(name) != shape:
        came = given.shape(name) if name in given else "nothing"
        raise WrongPruneError(f"{name}: expected scores of shape {shape}, got {came}")
    found = [
        Piece(given.rule, values, some)
        for values, some in zip(given.split(name, PIECE), torch.split(packed, PIECE // 8), strict=True)
    ]
    # A sum is NaN where a score is, or for infinities of both signs. As numbers: small tensors between the pieces'
    # memory would let none of it be used again.
    unclear = any(math.isnan(piece.scores().sum().item()) for piece in found)
    if unclear and (wrong := int((given[name].cpu().isnan() & mask[name]).count_nonzero())):
        raise PruneError(f"{name}: {wrong} scores are NaN; did the training diverge?")
    return found


def _best(pieces: Sequence[Piece]) -> int:
    """The flat index of the highest score of a remaining weight, the last of equals."""
    top, place = None, 0
    for number in reversed(range(len(pieces))):
        values = pieces[number].scores()
        if top is not None and values.max() <= top:
            continue
        where = from_bytes(pieces[number].packed, len(values)).nonzero().squeeze(1)
        if len(where) and (top is None or values[where].max() > top):
            top = values[where].max()
            place = number * PIECE + int(where[values[where] == top][-1])
    return place


def _prune(pieces: Sequence[Piece], count: int, remaining: int, dtype: torch.dtype) -> None:
    """Remove the `count` lowest remaining weights from the pieces' bytes."""
    last, ties = _end(pieces, count, remaining, dtype)
    for piece in pieces:
        values = piece.scores().to(dtype)
        kept = from_bytes(piece.packed, len(values)).logical_and_(values >= last)
        if ties:
            going = (kept & (values == last)).nonzero()[:ties, 0]
            kept.index_fill_(0, going, False)
            ties -= len(going)
        piece.packed.copy_(to_bytes(kept))


def _end(pieces: Sequence[Piece], count: int, remaining: int, dtype: torch.dtype) -> tuple[float, int]:
    """The score of the last of the `count` lowest, and how many with that score are among them."""
    few = max(FEW, sum(len(piece.values[0]) for piece in pieces) // 16)
    shift, prefix = torch.finfo(dtype).bits, 0
    while shift and remaining > few:
        down = max(shift - DIGIT, 0)
        low = prefix << shift - down if shift < torch.finfo(dtype).bits else -(1 << DIGIT - 1)
        counts = torch.zeros(1 + 2**DIGIT, dtype=torch.int64, device="cpu")
        for piece in pieces:
            keys, wanted = _keys(piece, dtype, shift, prefix)
            counts += torch.bincount((keys >> down).sub_(low - 1).mul_(wanted), minlength=len(counts))
        ends = counts[1:].cumsum(0)
        digit = int(torch.searchsorted(ends, count))
        remaining = int(counts[1 + digit])
        count -= int(ends[digit]) - remaining
        prefix, shift = low + digit, down
    if not shift:
        return _score(prefix, dtype), count
    aside = torch.cat([keys[wanted] for keys, wanted in (_keys(piece, dtype, shift, prefix) for piece in pieces)])
    last = aside.kthvalue(count).values
    return _score(int(last), dtype), count - int((aside < last).sum())


def _keys(piece: Piece, dtype: torch.dtype, shift: int, prefix: int) -> tuple[Tensor, Tensor]:
    """Scores as integers in their order, and which of them remain and have `prefix` above bit `shift`.

    Adding 0 makes -0.0 the 0.0 that it equals.
    """
    values = piece.scores()
    values = values.to(dtype)
    values = values + 0.0 if values is piece.values[0] else values.add_(0.0)  # a new tensor if it is not one yet
    keys, wanted = _mirror(values.view(WORDS[dtype])), from_bytes(piece.packed, len(values))
    if shift < torch.finfo(dtype).bits:
        wanted.logical_and_((keys >> shift) == prefix)
    return keys, wanted


def _score(key: int, dtype: torch.dtype) -> float:
    return _mirror(torch.tensor([key], dtype=WORDS[dtype], device="cpu")).view(dtype).item()


def _mirror(words: Tensor) -> Tensor:
    """Floats' bits in place to whole numbers in their order, or back: below zero, all bits but the sign turn."""
    most = torch.iinfo(words.dtype)
    return words.bitwise_xor_((words >> most.bits - 1).bitwise_and_(most.max))


WORDS: dict[torch.dtype, torch.dtype] = {torch.float32: torch.int32, torch.float64: torch.int64}
