"""What is measured adds up, and faster is only said where the interval leaves out 1."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oneticket.export import costs
from oneticket.export.c.library import compiler
from oneticket.export.costs import measure
from oneticket.export.network import masked
from oneticket.export.onnx import missing
from oneticket.export.ratio import LEAST, Ratio, interval
from oneticket.export.verdict import sentence
from oneticket.ground.errors import ModelError, SpecError
from oneticket.ground.extras import numba_works
from oneticket.models.build import build
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask


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
    expected += ["c-dense", "c"] if compiler() else []
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
        assert each.baseline == {"onnx-compact": "onnx", "c": "c-dense"}.get(each.form, "dense")
        assert each.to_dense.n == 6 and (each.to_dense == each.ratio or each.baseline != "dense")
    assert rows["dense"].ratio == Ratio(median=1.0, low=1.0, high=1.0, n=6)
    said = sentence(list(rows.values()), mask)
    assert (
        said.startswith("Structured by whole rows and columns at 8.9 % of the prunable weights: in dense form ")
        and "280 units can be removed" in said
    )
    assert model.training and bool((model.get_parameter("fc1.weight") != 0).all())


def test_forms_that_are_not_there_are_not_listed() -> None:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    mask = Mask({"0.weight": torch.ones(4, 1, 3, 3, dtype=torch.bool).triu()})
    rows = [each.form for each in measure(net, mask, torch.zeros(2, 1, 4, 4), rounds=2)]
    assert rows == ["dense", "masked"] + ([] if missing() else ["onnx"]) + (["c-dense", "c"] if compiler() else [])


@pytest.mark.skipif(not compiler(), reason="no C compiler is installed")
def test_the_unpruned_network_as_c_is_what_the_one_of_the_ticket_is_compared_with() -> None:
    """Zeros that training leaves in pruned places cost in C what other numbers do, as in the unpruned network."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    mask, x = Mask({"0.weight": torch.rand(32, 16, generator=generator) < 0.2}), torch.rand(2, 16, generator=generator)
    for model in (net, masked(net, mask).network):
        rows = {each.form: each for each in measure(model, mask, x, rounds=1)}
        assert rows["c"].baseline == "c-dense" and rows["c-dense"].baseline == "dense"
        assert (rows["c-dense"].madds, rows["c"].madds) == (16 * 32 + 32 * 4, mask.remaining + 32 * 4)
    whole = {each.form: each for each in measure(net, Mask.full(mask), x, rounds=1)}
    assert "c-dense" not in whole and whole["c"].baseline == "dense", "it is the same program"


def test_a_runtime_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "missing", lambda: "onnx needs onnxruntime")
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Linear(4, 2))
    mask = Mask({"0.weight": torch.eye(2, 4) > 0})
    rows = {each.form: each for each in measure(net, mask, torch.zeros(2, 4), rounds=1)}
    assert "onnx" not in rows
    assert rows["dense"].note == "ONNX Runtime not measured: pip install 'oneticket[onnx]'"


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
        assert "faster" not in sentence(list(rows.values()), mask), "without an interval nothing is decided"


def test_the_interval_is_that_of_order_statistics() -> None:
    values = [float(number) for number in range(30)]
    assert interval(values) == (9.0, 20.0), "the 10th from either end holds the median of 30 at 95.7 %"
    assert interval(values[: LEAST - 1]) == (None, None) != interval(values[:LEAST])
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2000, 15, generator=generator)
    bounds = [interval(one.tolist()) for one in draws]
    held = sum(low < 0 < high for low, high in bounds if low is not None and high is not None)
    assert 0.95 <= held / 2000 <= 0.98


def test_forms_that_a_dtype_does_not_have_are_left_out_and_told() -> None:
    with torch.random.fork_rng():
        net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).bfloat16()
    mask = Mask({"0.weight": torch.eye(8, dtype=torch.bool)})
    rows = {row.form: row for row in measure(net, mask, torch.zeros(4, 8, dtype=torch.bfloat16), rounds=2)}
    assert {"dense", "masked"} <= set(rows)
    assert not {"csr", "onnx"} & set(rows)
    assert "left out" in rows["dense"].note or "ONNX" in rows["dense"].note
    for example, words in ((torch.zeros(4, 9), "fails on the example"), (None, "expected a batch")):
        with pytest.raises(ModelError, match=words):
            measure(net.float(), mask, example, rounds=2)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="rounds"):
        measure(net, mask, torch.zeros(4, 8), rounds=0)
