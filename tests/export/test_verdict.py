"""What is said of forms: faster only where the interval leaves out 1, and what the ticket gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from oneticket.export.costs import Row
from oneticket.export.ratio import Ratio, ratio
from oneticket.export.verdict import sentence, structure
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.prune import prune
from oneticket.pruning.spec import KINDS, PruningSpec
from oneticket.pruning.units import find
from oneticket.ticket.mask import Mask

UNSTRUCTURED = Mask({"w": torch.arange(64).reshape(8, 8) < 10})


def row(form: str, low: float, high: float, **more: Any) -> Row:
    """A row of that interval to its baseline; `over`: its interval to the dense network, if that is another."""
    same: dict[str, Any] = {"size": 1, "zipped": 1, "numbers": 1, "remaining": 1, "madds": 1, "seconds": 1.0}
    over = more.pop("over", (low, high))
    ratios = [Ratio(median=(a + b) / 2, low=a, high=b, n=30) for a, b in ((low, high), over)]
    given = {"ratio": ratios[0], "to_dense": ratios[1], "baseline": "dense", **same, **more}
    return Row(form=form, spread=(1.0, 1.0), **given)


NONE = "No form is faster here than dense PyTorch. The ticket gives no speed here."
BEST = (
    "Fastest here: the network without those units (`--to compact`), 0.84 of dense PyTorch. The ticket itself is why."
)


@pytest.mark.parametrize(
    ("low", "high", "word", "end"),
    [
        (0.98, 1.06, "not faster", NONE),
        (0.97, 1.0, "not faster", NONE),
        (1.004, 1.016, "not faster", NONE),
        (0.70, 0.99, "faster", BEST),
        (1.01, 1.20, "slower", NONE),
    ],
)
def test_faster_is_said_only_where_the_interval_leaves_out_one(low: float, high: float, word: str, end: str) -> None:
    rows = [row("dense", 1, 1), row("masked", 0.98, 1.06), row("compact", low, high, removed=41), row("onnx", 0.9, 1.2)]
    said = sentence(rows, UNSTRUCTURED)
    assert said == (
        "Unstructured at 16 % of the prunable weights: in dense form not faster (ratio 1.02, "
        "0.98 to 1.06, n = 30); "
        f"41 units can be removed; without them {word} (ratio {(low + high) / 2:.2f}, {low:.2f} to {high:.2f}, "
        f"n = 30). {end}"
    )


PLAIN = [row("dense", 1, 1), row("masked", 1, 1)]
DENSE_C = row("c-dense", 0.4, 0.6)
C = row("c", 0.5, 0.7, over=(0.3, 0.5), baseline="c-dense")
SAME_C = row("c", 0.9, 1.1, over=(0.3, 0.5), baseline="c-dense")
ONNX = row("onnx", 0.2, 0.38)


BY_C = "Fastest here: the C program (`--to c`), 0.40 of dense PyTorch."
BY_ONNX = "Fastest here: ONNX Runtime (`--to onnx`), 0.29 of dense PyTorch. As C: 0.40."
NOT_WHY = "The ticket is not why: it gives no speed here."
PART = "The ticket itself is why in part: c takes 0.60 of the unpruned network as C."


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        ([DENSE_C, C], f"{BY_C} {PART}"),
        ([DENSE_C, SAME_C], f"{BY_C} {NOT_WHY}"),
        (
            [ONNX, DENSE_C, C],
            f"{BY_ONNX} The ticket is not why, but gives speed as c: 0.60 of the unpruned network as C.",
        ),
        ([ONNX, DENSE_C, SAME_C], f"{BY_ONNX} {NOT_WHY}"),
        (
            [ONNX, row("onnx-compact", 0.7, 0.9, over=(0.1, 0.2), baseline="onnx")],
            "Fastest here: ONNX Runtime without those units (`--to compact`, into a .onnx file), 0.15 of dense "
            "PyTorch. The ticket itself is why in part: onnx-compact takes 0.80 of the whole network in ONNX Runtime.",
        ),
        (
            [DENSE_C, C, row("c-int8", 0.2, 0.3)],
            f"Fastest here: the C program of 8-bit weights (`--to c --int8`), 0.25 of dense PyTorch. {PART}",
        ),
        ([row("c-dense", 4, 6), row("c", 0.5, 0.7, over=(2, 4), baseline="c-dense")], NONE),
    ],
)
def test_the_end_names_the_fastest_form_and_whether_the_ticket_is_why(rows: list[Row], end: str) -> None:
    said = sentence([*PLAIN, *rows], UNSTRUCTURED)
    assert said.partition("). ")[2] == end
    if C in rows:
        assert "; as C faster (ratio 0.40, 0.30 to 0.50, n = 30)" in said
        assert "; c beside the unpruned network as C: faster (ratio 0.60, 0.50 to 0.70, n = 30)" in said


def test_an_unpruned_network_owes_no_speed_to_a_ticket() -> None:
    rows = [row("dense", 1, 1), row("masked", 0.7, 0.9), row("c", 0.0021, 0.0041)]
    assert sentence(rows, Mask.full({"w": torch.ones(2, 2)})) == (
        "Dense at 100 % of the prunable weights: in dense form faster (ratio 0.80, 0.70 to 0.90, n = 30); "
        "no unit can be removed; as C faster (ratio 0.0031, 0.0021 to 0.0041, n = 30). Fastest here: the C program "
        "(`--to c`), 0.0031 of dense PyTorch. Nothing is pruned, so the ticket is not why."
    )


def test_without_an_interval_nothing_is_decided() -> None:
    few = ratio([0.21] * 5, [1.0] * 5)
    rows = [row(form, 1, 1, ratio=few, to_dense=few) for form in ("dense", "masked", "c")]
    said = sentence(rows, UNSTRUCTURED)
    assert "as C not decided (ratio 0.21, no interval, n = 5)" in said
    assert said.endswith(
        ". Not decided which form is fastest, and whether the ticket is why: 6 rounds or more are needed."
    )


def test_structures_are_told_apart() -> None:
    rows = torch.zeros(4, 8, dtype=torch.bool)
    rows[1] = True
    four = torch.stack([torch.tensor([True, False, False, True]).roll(row) for row in range(4)]).repeat(1, 2)
    assert structure(Mask.full({"w": rows})) == "dense"
    assert structure(Mask({"w": rows})) == "structured by whole rows"
    assert structure(Mask({"w": rows.t()})) == "structured by whole columns"
    assert structure(Mask({"w": rows, "v": rows.t(), "u": rows & (torch.arange(8) > 3)})) == (
        "structured by whole rows and columns"
    )
    assert structure(Mask({"w": four})) == "2:4"
    kernels = four[:, :, None, None].expand(4, 8, 3, 3)
    assert structure(Mask({"w": kernels})) == "2:4", "along the inputs at each place of the kernel"
    assert structure(Mask({"w": kernels.movedim(1, 3)})) == "unstructured", "three inputs are no group of four"
    few = torch.arange(400).reshape(20, 20) % 19 == 0
    assert structure(Mask({"w": few})) == "unstructured", "at most two of four by chance"
    assert "NVIDIA" in sentence([row("dense", 1, 1), row("masked", 1, 1)], Mask({"w": four}))
    assert structure(UNSTRUCTURED) == "unstructured"


@pytest.mark.parametrize(
    ("granularity", "said"),
    [
        ("weight", "unstructured"),
        ("channel", "structured by input channels"),
        ("filter", "structured by filters"),
        ("head", "structured by attention heads"),
        ("block:2x4", "structured by blocks of 2x4"),
        ("2:4", "2:4"),
        ("1:4", "not yet 1:4"),
        ("of its own", "2:4"),
    ],
)
def test_the_search_is_believed_before_the_eye(granularity: str, said: str) -> None:
    four = Mask({"w": torch.tensor([True, False, True, False]).repeat(4, 2) & (torch.arange(32).reshape(4, 8) != 8)})
    assert structure(four, granularity) == said
    text = sentence([row("dense", 1, 1), row("masked", 1, 1)], four, granularity)
    assert text.lower().startswith(f"{said} at 47 %") and ("NVIDIA" in text) is (said == "2:4")


@pytest.mark.parametrize(
    "granularity", [g for g in (*KINDS, "block:2x4", "2:4") if g != "head"], ids=lambda granularity: granularity
)
def test_masks_of_the_searchs_own_pruning_are_known(granularity: str) -> None:
    """What `pruning` makes of a granularity is what is said of it, from the lineage and, where it can be, by eye."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(8, 8, 3))
    weight = "0.weight"
    values = {weight: net.get_parameter(weight).detach()}
    spec = PruningSpec(granularity=granularity, scope="layerwise", fraction=0.5)
    made = prune(
        spec,
        Evidence(mask=Mask.full(values), trained=values, initial_of=dict, generator=torch.Generator().manual_seed(0)),
        units=find(spec, net, [weight]),
    )
    seen = {"channel": "structured by whole columns", "filter": "structured by whole rows", "2:4": "2:4"}
    assert structure(made) == seen.get(granularity, "unstructured")
    assert not structure(made, granularity).startswith("not yet")
