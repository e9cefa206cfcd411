"""In a sentence: whether a ticket saves time in deployment, by measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from oneticket.export.costs import Row
from oneticket.export.ratio import LEAST, Ratio, written
from oneticket.export.sparse import GROUP, MOST
from oneticket.ticket.mask import Mask


def sentence(rows: Sequence[Row], mask: Mask, granularity: str = "") -> str:
    """The result of `measure` in words; a form is called faster or slower only if its interval excludes 1.

    `granularity`: how the mask was pruned, if known (`structure`). The end names the fastest form, and says whether the
    ticket itself is why. ONNX Runtime and C compute in another way than PyTorch, so of their programs only the ratio to
    the unpruned one counts for the ticket.
    """
    found = {row.form: row for row in rows}
    how = structure(mask, granularity)
    said = [f"{how.capitalize()} at {float(f'{100 * mask.density:.2g}'):g} % of the prunable weights"]
    said[0] += f": in dense form {_judged(found['masked'].ratio)}"
    gone = max((row.removed for row in rows), default=0)
    said.append(f"{gone} unit{'s' if gone > 1 else ''} can be removed" if gone else "no unit can be removed")
    names = {
        "compact": f"without {'them' if gone > 1 else 'it'}",
        "sparse": "with sparse layers",
        "csr": "with CSR layers",
        "c": "as C",
        "c-int8": "as C of 8-bit weights",
    }
    said += [f"{words} {_judged(found[form].to_dense)}" for form, words in names.items() if form in found]
    beside = [row for row in rows if row.baseline in WHOLE and row.baseline != "dense"]
    said += [f"{row.form} beside {WHOLE[row.baseline]}: {_judged(row.ratio)}" for row in beside]
    if how == f"{MOST}:{GROUP}":
        said.append("the sparse units of NVIDIA GPUs, for which 2:4 is made, were not measured")
    return f"{'; '.join(said)}. {_end(found, pruned=mask.remaining < mask.total)}"


def _end(found: Mapping[str, Row], *, pruned: bool) -> str:
    """Which form is the fastest, and whether the ticket itself is why."""
    if not found["masked"].to_dense.decided:
        return f"Not decided which form is fastest, and whether the ticket is why: {LEAST} rounds or more are needed."
    faster = [row for row in found.values() if row.form in FASTEST and row.to_dense.sign < 0]
    if not faster:
        return "No form is faster here than dense PyTorch. The ticket gives no speed here."
    best = min(faster, key=lambda row: row.to_dense.median)
    said = f"Fastest here: {FASTEST[best.form]}, {written(best.to_dense.median)} of dense PyTorch."
    if best.form not in ("c", "c-int8") and "c" in found:
        said += f" As C: {written(found['c'].to_dense.median)}."
    if not pruned:
        return f"{said} Nothing is pruned, so the ticket is not why."
    gives = [row for row in faster if row.ratio.sign < 0 and (row.form in IN_TORCH or row.baseline != "dense")]
    same = found.get("c", best) if best.form == "c-int8" else best  # that its weights have fewer bits is not the ticket
    if same in gives:
        share = "" if same.form in IN_TORCH else f" in part: {same.form} takes {_share(same)}"
        return f"{said} The ticket itself is why{share}."
    if not gives:
        return f"{said} The ticket is not why: it gives no speed here."
    other = min(gives, key=lambda row: row.ratio.median)
    return f"{said} The ticket is not why, but gives speed as {other.form}: {_share(other)}."


def _share(row: Row) -> str:
    """The ticket's own part in a form's time."""
    return f"{written(row.ratio.median)} of {WHOLE[row.baseline]}"


def structure(mask: Mask, granularity: str = "") -> str:
    """The structure of a mask: by `granularity` (a `PruningSpec`'s) if given, else as visible in the mask.

    Visible are whole rows and columns of every weight (outputs, inputs, ...), and 2:4 along the inputs where about half
    of the weights remain: with fewer, groups have at most two by chance.

    >>> import torch
    >>> structure(Mask({"w": torch.tensor([[True, True], [False, False]])})), structure(Mask({"w": torch.eye(4) > 0}))
    ('structured by whole rows', 'unstructured')
    >>> structure(Mask({"w": torch.eye(4) > 0}), "block:2x2")
    'structured by blocks of 2x2'
    """
    pruned = {name: remaining for name, remaining in mask.items() if mask.counts[name] < remaining.numel()}
    if not pruned:
        return "dense"
    if sizes := re.fullmatch(r"(\d{1,6}):(\d{1,6})", granularity):
        kept = all(_at_most(int(sizes[1]), int(sizes[2]), remaining) for remaining in pruned.values())
        return granularity if kept else f"not yet {granularity}"
    if sizes := re.fullmatch(r"block:(\d{1,6}x\d{1,6})", granularity):
        return f"structured by blocks of {sizes[1]}"
    if granularity in TOLD:
        return TOLD[granularity]
    matrices = [remaining for remaining in pruned.values() if remaining.dim() > 1]
    if not matrices:
        return "unstructured"
    rows, columns = (all(_whole(remaining, dim) for remaining in matrices) for dim in (0, 1))
    if rows or columns:
        return f"structured by whole {'rows' if rows else 'columns'}"
    if all(_crossed(remaining) for remaining in matrices):
        return "structured by whole rows and columns"
    half = sum(mask.counts[name] for name in pruned) >= HALF * sum(remaining.numel() for remaining in pruned.values())
    if half and all(_at_most(MOST, GROUP, remaining) for remaining in pruned.values()):
        return f"{MOST}:{GROUP}"
    return "unstructured"


def _whole(remaining: Tensor, dim: int) -> bool:
    """Whether along that dimension all or none of the weights of each place remain."""
    lines = remaining.movedim(dim, 0).flatten(1)
    return bool((lines.all(1) | ~lines.any(1)).all())


def _crossed(remaining: Tensor) -> bool:
    """Whether the remaining weights are the crossings of some rows and columns, at all places of a kernel."""
    flat = remaining.flatten(2) if remaining.dim() > 2 else remaining.unsqueeze(2)
    rows, columns = flat.any(2).any(1), flat.any(2).any(0)
    return torch.equal(flat, (rows[:, None] & columns)[..., None].expand_as(flat))


def _at_most(few: int, group: int, remaining: Tensor) -> bool:
    """Whether at most `few` of each `group` neighbouring inputs remain, for each output and place of a kernel."""
    if remaining.dim() < 2 or not group or remaining.shape[1] % group:
        return False
    return bool((remaining.movedim(1, -1).reshape(-1, group).sum(1) <= few).all())


def _judged(ratio: Ratio) -> str:
    word = {-1: "faster", 0: "not faster", 1: "slower"}[ratio.sign] if ratio.decided else "not decided"
    return f"{word} (ratio {written(ratio.median)}, {ratio.bounds}, n = {ratio.n})"


FASTEST = {
    "masked": "the pruned network (`--to dense`)",
    "compact": "the network without those units (`--to compact`)",
    "sparse": "sparse layers in PyTorch",
    "csr": "CSR layers (`--to csr`)",
    "onnx": "ONNX Runtime (`--to onnx`)",
    "onnx-compact": "ONNX Runtime without those units (`--to compact`, into a .onnx file)",
    "c": "the C program (`--to c`)",
    "c-int8": "the C program of 8-bit weights (`--to c --int8`)",
}
"""Forms of the ticket, in words, and how they are written."""

IN_TORCH = ("masked", "compact", "sparse", "csr")
"""Forms that PyTorch computes, as it does the dense network: only the ticket makes the difference."""

WHOLE = {"dense": "dense PyTorch", "onnx": "the whole network in ONNX Runtime", "c-dense": "the unpruned network as C"}
"""What forms are compared with, in words."""

TOLD = {
    "weight": "unstructured",
    "channel": "structured by input channels",
    "filter": "structured by filters",
    "head": "structured by attention heads",
}
"""Granularities without sizes, in words."""

HALF = 0.45
"""The least density of a mask that is taken for 2:4."""
