"""In a sentence: whether a ticket saves time where it is deployed, by what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from oneticket.export.costs import Row
from oneticket.export.sparse import GROUP, MOST
from oneticket.ticket.mask import Mask


def sentence(rows: Sequence[Row], mask: Mask) -> str:
    """What the rows of `measure` say; faster or slower is only said where the interval leaves out 1.

    The programs of ONNX Runtime are another way to compute: of them only the one without the removed units, beside the
    one with them, speaks for the ticket.
    """
    found = {row.form: row for row in rows}
    said = [f"{structure(mask).capitalize()} at {100 * mask.density:.2g} %"]
    said[0] += f": this network is {_judged(found['masked'], ' in dense form')}"
    gone = max((row.removed for row in rows), default=0)
    said.append(f"{gone} unit{'s' if gone > 1 else ''} can be left out" if gone else "no unit can be left out")
    names = {"compact": "without them it is", "sparse": "with sparse layers", "csr": "with CSR layers"}
    said += [f"{words} {_judged(found[form])}" for form, words in names.items() if form in found]
    if "onnx-compact" in found:
        said.append(f"in ONNX Runtime, beside the whole network there, {_judged(found['onnx-compact'])}")
    if structure(mask) == f"{MOST}:{GROUP}":
        said.append("the sparse units of NVIDIA GPUs, for which 2:4 is made, were not measured")
    faster = [row for row in rows if row.form not in ("dense", "onnx") and row.ratio.seen < 0]
    best = min(faster, key=lambda row: row.ratio.median, default=None)
    end = f"The ticket gives speed here as {best.form}" if best else "The ticket gives no speed here"
    return f"{'; '.join(said)}. {end}."


def structure(mask: Mask) -> str:
    """How a mask's pruned weights lie: "dense", "structured by units", "2:4", or "unstructured".

    >>> import torch
    >>> structure(Mask({"w": torch.tensor([[True, True], [False, False]])})), structure(Mask({"w": torch.eye(4) > 0}))
    ('structured by units', '2:4')
    """
    pruned = [living for name, living in mask.items() if mask.counts[name] < living.numel()]
    if not pruned:
        return "dense"
    if all((living.flatten(1).all(1) | ~living.flatten(1).any(1)).all() for living in pruned if living.dim() > 1):
        return "structured by units"
    grouped = all(living.dim() == 2 and living.shape[1] % GROUP == 0 for living in pruned)
    if grouped and all((living.reshape(len(living), -1, GROUP).sum(2) <= MOST).all() for living in pruned):
        return f"{MOST}:{GROUP}"
    return "unstructured"


def _judged(row: Row, where: str = "") -> str:
    word = {-1: "faster", 0: "not faster", 1: "slower"}[row.ratio.seen]
    ratio = row.ratio
    bounds = "no interval" if ratio.low is None or ratio.high is None else f"{ratio.low:.2f} to {ratio.high:.2f}"
    return f"{word}{where} (ratio {ratio.median:.2f}, {bounds}, n = {ratio.n})"
