"""Every kind of inputs and targets through the whole walk: search, transfer with all controls, engine, files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from own_sets import missed_by_the_mean
from tables import KINDS, OPTIMIZERS, SOURCE_ALONE

from oneticket.compact import choose
from oneticket.engine import inline
from oneticket.lottery.controls import Source
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import network_of, transfer
from oneticket.models.build import build_network
from oneticket.store.step import Outcome
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.study.plan import closure, transfer_cells
from oneticket.study.rows import rows
from oneticket.task.inputs import Inputs
from oneticket.ticket.book import Book
from oneticket.training.checkpoint import File
from oneticket.training.loop import Run

TRAINING = {"budget": "8it", "batch": 32}


@pytest.fixture(autouse=True)
def _alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, and forms that do not depend on how fast this machine is."""
    monkeypatch.setattr(choose, "worth", lambda *_: 0.5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def data(kind: str, half: str) -> dict[str, Any]:
    row = KINDS[kind]
    return {"name": f"{row['data']}:{half}", **({"per_class": row["per_class"]} if "per_class" in row else {})}


def asked(kind: str, **changed: Any) -> SearchSpec:
    task = {"task": KINDS[kind]["task"]} if "task" in KINDS[kind] else {}
    given = {"data": data(kind, "a"), "model": KINDS[kind]["model"], "training": TRAINING, "rewind": "2it"}
    return SearchSpec.read({**given, **task, **changed})


def target(kind: str) -> TransferSpec:
    return TransferSpec(data=data(kind, "b"), task=asked(kind).task, optimizer="adam", training=TRAINING)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_and_all_arms_of_a_transfer_by_the_engine_alone_and_together(kind: str, tmp_path: Path) -> None:
    context, cells = RunContext(), []
    for replicate in range(2):
        origin = search_origin(asked(kind), levels=2, replicate=replicate, context=context)
        cells += transfer_cells(target(kind), origin=origin, own=None, arms=SOURCE_ALONE, levels=[2], context=context)
    steps = [cell.step for cell in cells]
    apart, together = Store(tmp_path / "apart"), Store(tmp_path / "together")
    alone = inline.run(steps, store=apart, context=RunContext())
    side = inline.run(steps, store=together, context=RunContext(), together=4)
    assert not alone.failed and not side.failed
    assert set(alone.done) == set(side.done) == set(closure(steps))
    ways = {together.provenance(step).get("how", "") for step in closure(steps)}
    assert any(said.endswith("together") for said in ways), ways
    for step in closure(steps):
        assert_close(together.get(step), apart.get(step))
    again = inline.run(steps, store=apart, context=RunContext())
    assert not again.done and set(again.reused) == set(closure(steps))
    for row in rows(cells, apart):
        assert math.isfinite(row["score"]) and row["metric"] in ("accuracy", "rmse", "right", "bits_per_byte")


def assert_close(one: Outcome, other: Outcome) -> None:
    assert one.record.keys() == other.record.keys() and one.tensors.keys() == other.tensors.keys()
    for name, value in one.record.items():
        near = pytest.approx(other.record[name], rel=1e-3, abs=0.02) if isinstance(value, float) else other.record[name]
        assert value == near, name
    for name, tensor in one.tensors.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, other.tensors[name], rtol=1e-3, atol=1e-4)
        else:  # masks: weights that tie but for rounding
            assert (tensor != other.tensors[name]).float().mean() < 5e-3, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_compact_search_is_the_masked_search(kind: str) -> None:
    spec = asked(kind, pruning={"fraction": 0.7})
    compact, plain = (search(spec, levels=2, context=RunContext(compact=on)) for on in (True, False))
    for one, other in zip(compact.records, plain.records, strict=True):
        assert one["living"] == other["living"]
        assert one["loss"] == pytest.approx(other["loss"], rel=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_search_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    spec = asked(kind)
    straight = search(spec, levels=1)
    seen: list[Run] = []

    def stop() -> bool:
        return len(seen) == 4

    stopped = RunContext(checkpoint=File(tmp_path / "run"), every=1000.0, watchers=(seen.append,), stop=stop)
    with pytest.raises(KeyboardInterrupt):
        search(spec, levels=1, context=stopped)
    assert (tmp_path / "run").exists()
    # The rewind weights (2 steps) are done; what was stopped is level 0, two steps behind them.
    resumed = RunContext(checkpoint=File(tmp_path / "run"), every=1000.0)
    again = search(spec, levels=1, context=resumed)
    assert resumed.spent > 0
    assert (again.id, again.records) == (straight.id, straight.records)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["tokens", "numbers"])
def test_every_optimizer_stops_and_goes_on_to_the_same_bits(kind: str, optimizer: str, tmp_path: Path) -> None:
    spec = asked(kind, optimizer=OPTIMIZERS[optimizer], rewind="0it")
    straight, seen = search(spec, levels=0), list[Run]()
    stopped = RunContext(checkpoint=File(tmp_path / "run"), watchers=(seen.append,), stop=lambda: len(seen) == 3)
    with pytest.raises(KeyboardInterrupt):
        search(spec, levels=0, context=stopped)
    resumed = RunContext(checkpoint=File(tmp_path / "run"))
    assert search(spec, levels=0, context=resumed).records == straight.records
    assert resumed.spent > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_book_says_its_network_and_is_read_back(kind: str, tmp_path: Path) -> None:
    context = RunContext()
    book = search(asked(kind), levels=1, context=context)
    book.save(tmp_path / "book.safetensors")
    read = Book.load(tmp_path / "book.safetensors")
    facts = context.facts(asked(kind).data, asked(kind).task)
    spec, inputs, outputs = network_of(read)
    assert (spec, inputs, outputs) == (asked(kind).model, facts.inputs, facts.outputs)
    assert Inputs.read(read.model) == inputs
    assert build_network(read.model, seed=0)(inputs.example(2)).shape[-1] == outputs
    done = transfer(target(kind), source=Source(ticket=read[1]), run_code=True)
    assert (done.record["classes"], done.record["density"]) == (outputs, read[1].mask.density)


def test_numbers_are_measured_in_their_own_unit() -> None:
    """A trained network must do better than the mean, by an error in the unit of the targets, some dozens."""
    spec = asked("numbers", training={"budget": "60it", "batch": 32}, optimizer="adam", data="own_sets:numbers")
    record = search(spec, levels=0).records[0]
    assert record["rmse"] == record["score"] and record["better"] == "lower"
    assert 40 < record["rmse"] < missed_by_the_mean()
