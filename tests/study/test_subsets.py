"""The laws of subsets: each replicate draws its own, everything within a replicate the same, and no label tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oneticket.data import cache
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.engine.inline import run
from oneticket.lottery import run_context
from oneticket.lottery.run_context import RunContext
from oneticket.report.methods import methods
from oneticket.store.store import Store
from oneticket.study.findings import findings
from oneticket.study.grid import Plan, plan
from oneticket.study.plan import closure
from oneticket.study.spec import StudySpec
from oneticket.study.steps import training_step

STUDY: dict[str, Any] = {
    "name": "mine",
    "levels": [1],
    "arms": ["dense", "ticket", "own", "mask-only"],
    "replicates": 2,
    "training": {"budget": "6it", "batch": 32},
    "rewind": "2it",
    "models": {"net": {"name": "mlp", "widths": [12]}},
    "optimizers": {"sgd": "sgd"},
    "sets": {
        "a": {"data": {"name": "digits:a", "per_class": 10}},
        "b": {"data": {"name": "digits:b", "per_class": 5}},
        "whole": {"data": "digits:b"},
        "third": {"data": {"name": "digits:b", "per_class": 5, "draw": 3}},
    },
    "parts": {"p": {"sources": ["a", "b"], "targets": ["b"]}},
}


def made(**changes: Any) -> Plan:
    return plan(StudySpec.read({**STUDY, **changes}), RunContext())


def draws(found: Plan) -> set[tuple[int, str, int | None]]:
    steps = (training_step(step) for step in closure(cell.step for cell in found.cells))
    return {(one.replicate, one.spec.data.name, one.spec.data.draw) for one in steps}


def test_a_replicate_draws_its_own_and_sources_and_targets_share_it(tmp_path: Path) -> None:
    found, store = made(), Store(tmp_path)
    assert draws(found) == {(n, name, n) for n in (0, 1) for name in ("digits:a", "digits:b")}
    assert {cell.called.data for cell in found.cells} == {"b"}
    assert {cell.labels["source_data"] for cell in found.cells} == {None, "a", "b"}
    starts = {(cell.arm, cell.labels["source_data"]): cell.start for cell in found.cells}
    assert starts["ticket", "b"] == starts["own", "b"] == 2, "the same draw is the same data"
    assert not run([cell.step for cell in found.cells], store=store, context=RunContext()).failed
    known = findings(found, store)
    assert known.protocol["study"]["draw"] == [0, 1]
    assert [label for label, _ in known.protocol["called"]["data"]] == ["a", "b"]
    text = " ".join(methods(known))
    assert "every replicate drew its own" in text and text.count("digits:a") == 1
    assert len({row["data_digest"] for row in known.rows}) == 2


def test_fixed_subsets_and_whole_sets_and_named_draws_stay(tmp_path: Path) -> None:
    fixed = made(subsets="fixed")
    assert {draw for *_, draw in draws(fixed)} == {None}
    assert not {cell.step.key for cell in fixed.cells} & {cell.step.key for cell in made().cells}
    assert "are the same in all replicates" in " ".join(methods(findings(fixed, Store(tmp_path))))
    whole = {"p": {"sources": ["whole"], "targets": ["third"]}}
    assert draws(made(parts=whole)) == {(n, "digits:b", draw) for n in (0, 1) for draw in (None, 3)}
    assert [c.step.key for c in made(parts={"p": {"sources": ["whole"], "arms": ["ticket"]}}).cells] == [
        c.step.key for c in made(parts={"p": {"sources": ["whole"], "arms": ["ticket"]}}, subsets="fixed").cells
    ]


def test_small_data_stay_at_hand_and_large_ones_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [DataSpec(name="digits", per_class=2, draw=draw) for draw in range(6)]
    context = RunContext()
    first = [context.data(spec) for spec in specs]
    assert all(context.data(spec) is data for spec, data in zip(specs, first, strict=True))
    monkeypatch.setattr(run_context, "MOST_KEPT", first[0].bytes)
    context = RunContext()
    again = [context.data(spec) for spec in specs]
    assert context.data(specs[-1]) is again[-1] and context.data(specs[0]) is not again[0]
    assert first[0].bytes == sum(part.inputs.nbytes + part.targets.nbytes for part in (first[0].train, first[0].test))


def test_a_whole_set_is_read_once_for_all_its_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path))
    read, real = [], cache.disk.read

    def counted(path: Path) -> bytes:
        read.append(path)
        return real(path)

    load(DataSpec(name="mnist1d"))
    monkeypatch.setattr(cache.disk, "read", counted)
    (kept,) = (tmp_path / "decoded").iterdir()
    for draw in range(4):
        load(DataSpec(name="mnist1d", per_class=3, draw=draw))
    assert read.count(kept) == 1
    kept.touch()
    load(DataSpec(name="mnist1d", per_class=3, draw=0))
    assert read.count(kept) == 2, "what was touched is read again"
    monkeypatch.setattr(cache, "MOST_HELD", 1)
    kept.touch()
    for _ in range(2):
        load(DataSpec(name="mnist1d", per_class=3, draw=0))
    assert read.count(kept) == 4, "what does not fit is not held"
