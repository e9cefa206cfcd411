"""Searches and transfers on compact networks: what the masked ones give, to rounding, and told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from oneticket.compact import choose
from oneticket.engine import inline
from oneticket.ground.errors import SpecError, TrainingError
from oneticket.lottery.controls import Source
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import transfer
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.ticket.book import Book

WIDE = {"name": "mlp", "widths": (400, 128)}


@pytest.fixture
def _sparse_whatever_it_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "_KNOWN", {})
    monkeypatch.setattr(choose, "MARGIN", 1e9)


def spec(**fields: object) -> SearchSpec:
    training = {"budget": "20it", "batch": 32, "clip": 1.0, **fields.pop("training", {})}
    pruning = {"fraction": 0.6}
    return SearchSpec.read(
        {"data": "digits:a", "model": WIDE, "training": training, "rewind": "2it", "pruning": pruning, **fields}
    )


def close(one: Book, other: Book) -> None:
    for a, b in zip(one.records, other.records, strict=True):
        assert a["living"] == b["living"]
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-3)
    for level in range(one.levels + 1):
        pairs = [(one.mask(level)[name], other.mask(level)[name]) for name in one.pruned_at]
        differing = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)
        assert differing < 2e-3  # weights that tie but for rounding


@pytest.mark.usefixtures("_sparse_whatever_it_costs")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_compact_search_is_the_masked_search(optimizer: str) -> None:
    # RMSprop divides by what it has seen of a gradient, and so makes rounding grow with every step.
    training = {"budget": "8it"} if optimizer == "rmsprop" else {}
    asked, context = spec(optimizer={"name": optimizer, "weight_decay": 1e-3}, training=training), RunContext()
    found = search(asked, levels=4, context=context)
    assert "2 of 2 layers sparse" in context.how and "units removed" in context.how
    plain = RunContext(compact=False)
    close(found, search(asked, levels=4, context=plain))
    assert plain.how == ""


def narrow(budget: str) -> str:
    """A search of a narrow net with batch normalisation, beside the masked one; gives how it was computed."""
    asked = spec(model={"name": "resnet-20", "width": 0.25}, pruning={"fraction": 0.9}, training={"budget": budget})
    context = RunContext()
    close(search(asked, levels=2, context=context), search(asked, levels=2, context=RunContext(compact=False)))
    return context.how


@pytest.mark.convolutions
def test_a_narrow_net_with_batch_normalisation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "DENSEST", 0.0)  # no layer is sparse, however fast this machine found it
    assert "units removed" in narrow("20it")


@pytest.mark.convolutions
@pytest.mark.usefixtures("_sparse_whatever_it_costs")
def test_a_narrow_net_with_sparse_layers_too() -> None:
    # Sparse sums round in another order, and this net makes 1e-7 after 8 steps to 1e-3 after 20.
    assert "layers sparse" in narrow("8it")


@pytest.mark.usefixtures("_sparse_whatever_it_costs")
def test_a_stopped_compact_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    asked = spec()

    def run(folder: Path, until: int) -> Store:
        store, seen = Store(folder), [0]

        def stop() -> bool:
            seen[0] += 1
            return seen[0] == until

        context = RunContext(stop=stop)
        steps = search_origin(asked, levels=3, replicate=0, context=context).levels
        inline.run(steps, store=store, context=context)
        return store

    whole = run(tmp_path / "whole", 0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 2 + 3 * 18 + 7)  # in the middle of level 3
    cut = run(tmp_path / "cut", 0)
    last = search_origin(asked, levels=3, replicate=0, context=RunContext()).levels[-1]
    assert "sparse" in cut.provenance(last)["how"]
    for name, tensor in whole.get(last).tensors.items():
        assert torch.equal(tensor, cut.get(last).tensors[name]), name
    assert whole.record(last) == cut.record(last)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_folding_is_written_into_the_contract(optimizer: str, tmp_path: Path) -> None:
    asked = spec(
        optimizer={"name": optimizer},
        training={"guard": "gate+project+fold"},
        model={"name": "mlp", "widths": (30, 20)},
    )
    context = RunContext()
    found = search(asked, levels=4, context=context)
    assert "units removed" in context.how
    assert found.contract.dead == "zero-held+folded"
    found.save(tmp_path / "book.safetensors")
    assert Book.load(tmp_path / "book.safetensors").contract == found.contract
    plain = search(asked.but(training={"guard": "gate+project"}), levels=4)
    assert plain.contract.dead == "zero-held" and plain.id != found.id
    carried = transfer(TransferSpec(data="digits:b", training=asked.training), source=Source(ticket=found[4]))
    assert carried.record["living"] == found.mask(4).remaining


def test_folding_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(SpecError, match="fold.*muon"):
        spec(optimizer={"name": "muon"}, training={"guard": "gate+project+fold"})
    with pytest.raises(SpecError, match="fold.*muon"):
        TransferSpec(data="digits", optimizer="muon", training={"guard": "gate+project+fold"})


def test_muon_and_plain_projection_stay_masked() -> None:
    for fields in ({"optimizer": {"name": "muon"}}, {"training": {"guard": "project"}}):
        context = RunContext()
        search(spec(**fields), levels=2, context=context)
        assert context.how == ""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_compiled_networks_learn_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Kernels that torch kept of another instruction set would be taken for this one's.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    asked, context = spec(model={"name": "mlp", "widths": (30, 20)}), RunContext(compiled="default")
    torch.compiler.reset()  # after some other compilations torch makes no more of the same code
    before = counters["stats"]["unique_graphs"]
    close(search(asked, levels=1, context=context), search(asked, levels=1))
    assert counters["stats"]["unique_graphs"] > before
    assert context.how.endswith("compiled, default")


def test_without_a_compiler_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(TrainingError, match="needs a C\\+\\+ compiler"):
        search(spec(), levels=0, context=RunContext(compiled="default"))
