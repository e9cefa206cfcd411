"""In a sentence: whether a ticket saves time in deployment, by measurement."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from oneticket.export.costs import Row
from oneticket.export.sparse import GROUP, MOST
from oneticket.ticket.mask import Mask


def sentence(rows: Sequence[Row], mask: Mask, granularity: str = "") -> str:
    """The result of `measure` in a sentence; a form is called faster or slower only if its interval excludes 1.

    `granularity`: how the mask was pruned, if known (`structure`). ONNX Runtime computes in another way, so of its
    programs only the ratio of the one without removed units to the one with them counts for the ticket. The last part
    names the fastest form, whatever the cause.
    """
    found = {row.form: row for row in rows}
    how = structure(mask, granularity)
    said = [f"{how.capitalize()} at {100 * mask.density:.2g} % of the prunable weights"]
    said[0] += f": this network is {_judged(found['masked'], ' in dense form')}"
    gone = max((row.removed for row in rows), default=0)
    said.append(f"{gone} unit{'s' if gone > 1 else ''} can be left out" if gone else "no unit can be left out")
    names = {
        "compact": "without them it is",
        "sparse": "with sparse layers",
        "csr": "with CSR layers",
        "c": "as C",
        "c-int8": "as C of 8-bit weights",
    }
    said += [f"{words} {_judged(found[form])}" for form, words in names.items() if form in found]
    if "onnx-compact" in found:
        said.append(f"in ONNX Runtime, beside the whole network there, {_judged(found['onnx-compact'])}")
    if how == f"{MOST}:{GROUP}":
        said.append("the sparse units of NVIDIA GPUs, for which 2:4 is made, were not measured")
    faster = [row for row in rows if row.form not in ("dense", "onnx") and row.ratio.sign < 0]
    best = min(faster, key=lambda row: row.ratio.median, default=None)
    end = f"The ticket gives speed here as {best.form}" if best else "The ticket gives no speed here"
    return f"{'; '.join(said)}. {end}.{_fastest(rows)}"


def _fastest(rows: Sequence[Row]) -> str:
    """The fastest form, and its share of the dense network's time; empty if none is faster."""
    dense = next(row for row in rows if row.form == "dense")
    best = min(rows, key=lambda row: row.seconds)
    if best.form == "dense" or round(best.seconds / dense.seconds, 2) >= 1:
        return ""
    words = {"onnx": "ONNX Runtime (--to onnx)", "onnx-compact": "ONNX Runtime (--to compact, into a .onnx file)"}
    words |= {"c": "the C program (--to c)", "c-int8": "the C program of 8-bit weights (--to c --int8)"}
    named = words.get(best.form, f"the form {best.form}")
    return f" The least time here takes {named}: {best.seconds / dense.seconds:.2f} of the dense network's in PyTorch."


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


def _judged(row: Row, where: str = "") -> str:
    word = {-1: "faster", 0: "not faster", 1: "slower"}[row.ratio.sign]
    ratio = row.ratio
    bounds = "no interval" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
    return f"{word}{where} (ratio {ratio.median:.2f}, {bounds}, n = {ratio.n})"


TOLD = {
    "weight": "unstructured",
    "channel": "structured by input channels",
    "filter": "structured by filters",
    "head": "structured by attention heads",
}
"""Granularities without sizes, in words."""

HALF = 0.45
"""The least density of a mask that is taken for 2:4."""
