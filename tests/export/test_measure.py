"""What is measured adds up, and faster is only said where the interval leaves out 1."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from oneticket.export.c.library import compiler
from oneticket.export.costs import Ratio, Row, interval, measure
from oneticket.export.onnx import missing
from oneticket.export.verdict import sentence, structure
from oneticket.ground.errors import ModelError, SpecError
from oneticket.ground.extras import numba_works
from oneticket.models.build import build
from oneticket.models.spec import ModelSpec
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.prune import prune
from oneticket.pruning.spec import KINDS, PruningSpec
from oneticket.pruning.units import find
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask

UNSTRUCTURED = Mask({"w": torch.arange(64).reshape(8, 8) < 10})


def row(form: str, low: float, high: float, **more: Any) -> Row:
    same: dict[str, Any] = {"size": 1, "zipped": 1, "numbers": 1, "remaining": 1, "madds": 1, "seconds": 1.0}
    ratio = Ratio(median=(low + high) / 2, low=low, high=high, n=30)
    return Row(form=form, ratio=ratio, spread=(1.0, 1.0), **{"baseline": "dense", **same, **more})


def test_rows_of_a_network_that_loses_units() -> None:
    model = build(ModelSpec(name="lenet-300-100"), inputs=Inputs(shape=(1, 8, 8)), outputs=10, seed=0)
    remaining = torch.zeros(300, 64, dtype=torch.bool)
    remaining[::2, :16] = True
    follow = torch.zeros(100, 300, dtype=torch.bool)
    follow[:, :200:10] = True  # of the first layer's units, 20 are read
    mask = Mask({"fc1.weight": remaining, "fc2.weight": follow})
    rows = {each.form: each for each in measure(model, mask, torch.zeros(2, 1, 8, 8), rounds=6)}
    expected = ["dense", "masked", "compact", "csr"]
    expected += [] if missing() else ["onnx", "onnx-compact"]
    expected += ["c"] if compiler() else []
    assert list(rows) == expected
    dense, masked, compact = rows["dense"], rows["masked"], rows["compact"]
    assert dense.numbers == dense.remaining == masked.numbers == 300 * 64 + 300 + 100 * 300 + 100 + 1000 + 10
    assert masked.remaining == mask.remaining + 300 + 100 + 1000 + 10
    assert dense.size == masked.size and masked.zipped < 0.5 * dense.zipped
    assert compact.removed == 280
    assert compact.numbers == 20 * 64 + 20 + 100 * 20 + 100 + 1000 + 10
    assert (dense.madds, compact.madds) == (300 * 64 + 300 * 100 + 1000, 20 * 64 + 20 * 100 + 1000)
    assert compact.size < dense.size / 5
    assert rows["csr"].numbers == rows["csr"].remaining == masked.remaining
    if compiler():
        assert rows["c"].madds == 20 * 16 + 20 * 100 + 1000 and rows["c"].removed == 280
        assert rows["c"].remaining == compact.remaining and rows["c"].size < dense.size / 5
    for each in rows.values():
        assert each.ratio.n == 6 and each.spread[0] <= each.seconds <= each.spread[1]
        assert each.ratio.low is not None and each.ratio.low <= each.ratio.median <= (each.ratio.high or 0)
    assert rows["dense"].ratio == Ratio(median=1.0, low=1.0, high=1.0, n=6)
    said = sentence(list(rows.values()), mask)
    assert (
        said.startswith("Structured by whole rows and columns at 8.9 % of the prunable weights: this network is")
        and "280 units can be left out" in said
    )
    assert model.training and bool((model.get_parameter("fc1.weight") != 0).all())


def test_forms_that_are_not_there_are_not_listed() -> None:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    mask = Mask({"0.weight": torch.ones(4, 1, 3, 3, dtype=torch.bool).triu()})
    rows = [each.form for each in measure(net, mask, torch.zeros(2, 1, 4, 4), rounds=2)]
    assert rows == ["dense", "masked"] + ([] if missing() else ["onnx"]) + (["c"] if compiler() else [])


def test_sparse_layers_store_what_lives_and_where() -> None:
    model = build(ModelSpec(name="lenet-300-100"), inputs=Inputs(shape=(1, 8, 8)), outputs=10, seed=0)
    names = ("fc1.weight", "fc2.weight")
    shapes = {name: model.get_parameter(name).shape for name in names}
    mask = Mask({name: (torch.arange(shape.numel()) % 11 == 0).reshape(shape) for name, shape in shapes.items()})
    rows = {each.form: each for each in measure(model, mask, torch.zeros(2, 1, 8, 8), rounds=1)}
    assert "compact" not in rows and ("sparse" in rows) == numba_works()
    if numba_works():
        sparse = rows["sparse"]
        assert sparse.numbers == sparse.remaining == rows["masked"].remaining
        assert sparse.madds == mask.remaining + 1000 and sparse.note == "2 of 2 layers sparse"
        assert 0 <= sparse.size - 4 * sparse.numbers - mask.total // 8 < 1000, "values, a bit per weight, a header"
        assert sparse.ratio.low is None and "no interval, n = 1" in sentence(list(rows.values()), mask)


def test_the_interval_is_that_of_order_statistics() -> None:
    values = [float(number) for number in range(30)]
    assert interval(values) == (9.0, 20.0), "the 10th from either end holds the median of 30 at 95.7 %"
    assert interval(values[:5]) == (None, None)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2000, 15, generator=generator)
    bounds = [interval(one.tolist()) for one in draws]
    held = sum(low < 0 < high for low, high in bounds if low is not None and high is not None)
    assert 0.95 <= held / 2000 <= 0.98


@pytest.mark.parametrize(
    ("low", "high", "word", "end"),
    [
        (0.98, 1.06, "not faster", "The ticket gives no speed here."),
        (0.97, 1.0, "not faster", "The ticket gives no speed here."),
        (1.004, 1.016, "not faster", "The ticket gives no speed here."),
        (0.70, 0.99, "faster", "The ticket gives speed here as compact."),
        (1.01, 1.20, "slower", "The ticket gives no speed here."),
    ],
)
def test_faster_is_said_only_where_the_interval_leaves_out_one(low: float, high: float, word: str, end: str) -> None:
    rows = [row("dense", 1, 1), row("masked", 0.98, 1.06), row("compact", low, high, removed=41), row("onnx", 0.1, 0.2)]
    said = sentence(rows, UNSTRUCTURED)
    assert said == (
        "Unstructured at 16 % of the prunable weights: this network is not faster in dense form "
        "(ratio 1.02, 0.98 to 1.06, n = 30); "
        f"41 units can be left out; without them it is {word} (ratio {(low + high) / 2:.2f}, {low:.2f} to {high:.2f}, "
        f"n = 30). {end}"
    )


def test_the_form_of_the_least_time_is_named_whatever_it_owes_that_to() -> None:
    rows = [row("dense", 1, 1, seconds=1.0), row("masked", 1, 1, seconds=1.0)]
    assert "least time" not in sentence(rows, UNSTRUCTURED)
    c, onnx = row("c", 0.3, 0.4, seconds=0.35), row("onnx", 0.2, 0.3, seconds=0.25)
    said = sentence([*rows, c, onnx], UNSTRUCTURED)
    assert "as C faster" in said and "The ticket gives speed here as c." in said
    assert said.endswith("The least time here takes ONNX Runtime (--to onnx): 0.25 of the dense network's in PyTorch.")
    said = sentence([*rows, c, row("onnx", 0.5, 0.6, seconds=0.5)], UNSTRUCTURED)
    assert said.endswith("The least time here takes the C program (--to c): 0.35 of the dense network's in PyTorch.")


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


def test_forms_that_a_dtype_does_not_have_are_left_out_and_told() -> None:
    with torch.random.fork_rng():
        net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).bfloat16()
    mask = Mask({"0.weight": torch.eye(8, dtype=torch.bool)})
    rows = {row.form: row for row in measure(net, mask, torch.zeros(4, 8, dtype=torch.bfloat16), rounds=2)}
    assert {"dense", "masked"} <= set(rows)
    assert not {"csr", "onnx"} & set(rows)
    assert "left out" in rows["dense"].note or "onnx" in rows["dense"].note
    for example, words in ((torch.zeros(4, 9), "fails on the example"), (None, "expected a batch")):
        with pytest.raises(ModelError, match=words):
            measure(net.float(), mask, example, rounds=2)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="rounds"):
        measure(net, mask, torch.zeros(4, 8), rounds=0)
