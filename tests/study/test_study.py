"""The laws of studies: frozen addresses, nothing done twice, failures contained, damage noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from oneticket.engine.handlers import bind
from oneticket.engine.inline import run
from oneticket.ground.errors import KeptWarning, OneticketError, SpecError, StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.store import names
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store
from oneticket.study.cells import Cell
from oneticket.study.origins import file_origin, search_origin
from oneticket.study.plan import BOOKS, closure, transfer_cells
from oneticket.study.rows import COLUMNS, rows
from oneticket.ticket.book import Book
from oneticket.ticket.names import book_file
from oneticket.training.loop import Run

PLACE = RunContext()
QUICK = {"budget": "6it", "batch": 32}
SPEC = SearchSpec(
    data={"name": "digits:a", "per_class": 10}, model={"name": "mlp", "widths": (12,)}, training=QUICK, rewind="2it"
)
TARGET = TransferSpec(data={"name": "digits:b", "per_class": 10}, optimizer="adam", training=QUICK)


def cells(spec: SearchSpec = SPEC, levels: int = 2) -> tuple[Cell, ...]:
    origin = search_origin(spec, levels=levels, replicate=0, context=PLACE)
    arms = ("dense", "ticket", "reinit", "layerwise-random-kept")
    return transfer_cells(TARGET, origin=origin, own=origin, arms=arms, levels=range(levels + 1), context=PLACE)


def plan(spec: SearchSpec = SPEC, levels: int = 2) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    found = search_origin(spec, levels=levels, replicate=0, context=PLACE).levels
    return found, tuple(cell.step for cell in cells(spec, levels))


def test_addresses_are_frozen() -> None:
    # A change here makes every stored result of every user worthless. Where the same arguments come to mean other work,
    # raise a version in step.VERSIONS; a new field of a spec is marked `Later`, and changes nothing here.
    found, carried = plan()
    assert [step.key[:16] for step in (found[0].needs[0], *found, carried[0], carried[-1])] == FROZEN


def test_every_setting_is_part_of_the_address() -> None:
    key = search_origin(SPEC, levels=0, replicate=0, context=PLACE).levels[0].key
    changes = [
        {"data": {"name": "digits:b", "per_class": 10}},
        {"model": {"name": "mlp", "widths": (13,)}},
        {"optimizer": {"name": "sgd", "lr": 0.2}},
        {"training": {**QUICK, "guard": "project"}},
        {"pruning": {"allow_empty": False}},
        {"pruning": {"scope": "layerwise"}},
        {"pruning": {"scope": "layerwise", "granularity": "channel"}},
        {"rewind": "3it"},
        {"seed": 1},
    ]
    keys = {search_origin(SPEC.but(**change), levels=0, replicate=0, context=PLACE).levels[0].key for change in changes}
    assert (
        len(keys | {key, search_origin(SPEC, levels=0, replicate=1, context=PLACE).levels[0].key}) == len(changes) + 2
    )


def test_done_once_and_extended_for_what_is_new_only(tmp_path: Path) -> None:
    store, context = Store(tmp_path), RunContext()
    found, carried = plan()
    first = run([*found, *carried], store=store, context=context)
    assert len(first.done) == len(closure([*found, *carried])) == 1 + 3 + 1 + 3 * 3
    again = run([*found, *carried], store=store, context=context)
    assert (again.done, len(again.reused)) == ((), len(first.done))
    deeper, wider = plan(levels=3)
    more = run([*deeper, *wider], store=store, context=context)
    assert [step.args["level"] for step in more.done] == [3, 3, 3, 3]


def test_the_plan_gives_what_the_plain_search_gives(tmp_path: Path) -> None:
    store, context = Store(tmp_path), RunContext()
    found, carried = plan()
    run([*found, *carried], store=store, context=context)
    bound = bind(found[0], (store.get(found[0].needs[0]), store.get(found[-1])), [store.record(step) for step in found])
    plain = search(SPEC, levels=2)
    assert bound.id == plain.id
    assert bound.records == plain.records
    file = book_file(tmp_path, 0)
    bound.save(file)
    origin = file_origin(plain, file, 0)
    arms = ("dense", "ticket", "reinit")
    from_file = transfer_cells(TARGET, origin=origin, own=None, arms=arms, levels=range(3), context=PLACE)
    piles = run([cell.step for cell in from_file], store=store, context=context)
    assert len(piles.reused) == 1, "the dense arm is the same work wherever the ticket comes from"
    table = {(row["arm"], row["level"]): row["accuracy"] for row in rows(cells(), store)}
    for row in rows(from_file, store):
        assert row["accuracy"] == table[row["arm"], row["level"]]
        assert row["source_data"] == (None if row["arm"] == "dense" else "digits:a(per_class=10)")
        assert tuple(row) == COLUMNS


def test_a_single_ticket_is_carried_as_the_book_would_carry_it(tmp_path: Path) -> None:
    book = search(SPEC, levels=2)
    ticket, store = book[2], Store(tmp_path)
    book.save(tmp_path / "book.safetensors")
    ticket.save(tmp_path / "ticket.safetensors")
    arms = ("dense", "ticket", "reinit", "signs")
    found = []
    for thing, name in ((book, "book"), (ticket, "ticket")):
        for replicate in (0, 5):
            origin = file_origin(thing, tmp_path / f"{name}.safetensors", replicate)
            planned = transfer_cells(TARGET, origin=origin, own=None, arms=arms, levels=(2,), context=PLACE)
            assert run([cell.step for cell in planned], store=store, context=RunContext()).failed == ()
            found.append([(row["arm"], row["replicate"], row["accuracy"], row["loss"]) for row in rows(planned, store)])
            assert {row["source_id"] for row in rows(planned, store)} == {None, thing.id}
    assert found[:2] == found[2:]
    assert found[0] != found[1]


def test_what_a_ticket_file_has_lost_is_told_when_planning(tmp_path: Path) -> None:
    origin = file_origin(search(SPEC, levels=1)[1], tmp_path / "ticket.safetensors", 0)
    own = search_origin(SPEC.but(data=TARGET.data), levels=1, replicate=0, context=PLACE)
    kept = [(arm, f"arm {arm}: .* does not hold the weights that its mask prunes; give a book") for arm in BOOKS]
    for arm, words in (*kept, ("corrected-random", "in one study")):
        with pytest.raises(SpecError, match=words):
            transfer_cells(TARGET, origin=origin, own=own, arms=(arm,), levels=(1,), context=PLACE)
    with pytest.raises(SpecError, match="expected 1, the ticket's own, got 2"):
        transfer_cells(TARGET, origin=origin, own=None, arms=("ticket",), levels=(2,), context=PLACE)


def test_a_changed_book_file_is_noticed(tmp_path: Path) -> None:
    file = book_file(tmp_path, 0)
    search(SPEC, levels=1).save(file)
    book = Book.load(file)
    origin = file_origin(book, file, 0)
    planned = transfer_cells(TARGET, origin=origin, own=None, arms=("ticket",), levels=(1,), context=PLACE)
    search(SPEC.but(seed=1), levels=1).save(file)
    failed = run([cell.step for cell in planned], store=Store(tmp_path), context=RunContext()).failed
    assert "was changed while it was in use" in str(failed[0][1])


def test_one_failing_branch_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = SPEC.but(optimizer={"name": "sgd", "lr": 1e30, "momentum": 0, "weight_decay": 0})
    steps = [step for spec in (bad, SPEC) for step in search_origin(spec, levels=1, replicate=0, context=PLACE).levels]
    heard: list[str] = []
    piles = run(steps, store=Store(tmp_path), context=RunContext(), observe=lambda step, event: heard.append(event))
    assert (len(piles.done), len(piles.failed), len(piles.not_run)) == (3, 1, 2)
    assert "try a lower --lr" in str(piles.failed[0][1])
    assert heard == ["begun", "failed", "not run", "not run", *["begun", "done"] * 3]


def test_damage_is_told_set_aside_and_mended_by_running_again(tmp_path: Path) -> None:
    store, context = Store(tmp_path), RunContext()
    steps = search_origin(SPEC, levels=1, replicate=0, context=PLACE).levels
    run(steps, store=store, context=context)
    good = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    for path, content in good.items():
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for step in closure(steps):
        with pytest.warns(KeptWarning, match=f"{step.key}.safetensors: .*; it is set aside; a run makes it anew"):
            assert store.find(step) is None
    with pytest.raises(StoreError, match="has no outcome of step .*; run the command that makes it"):
        store.get(steps[0])
    assert len(run(steps, store=store, context=context).done) == 3
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == good


def test_a_need_that_is_found_damaged_late_costs_itself_alone(tmp_path: Path) -> None:
    store, context = Store(tmp_path), RunContext()
    steps = search_origin(SPEC, levels=2, replicate=0, context=PLACE).levels
    run(steps, store=store, context=context)
    good = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    rewind, above, last = (next(tmp_path.rglob(f"{s.key}.safetensors")) for s in (steps[0].needs[0], *steps[1:]))
    last.unlink()
    for path in (rewind, above):  # heads are whole: only reading the tensors shows it
        path.write_bytes(good[path][:-1] + bytes([good[path][-1] ^ 1]))
    with pytest.warns(KeptWarning) as caught:
        piles = run(steps, store=Store(tmp_path), context=context)
    assert [step.key for step in piles.done] == [steps[2].key]
    assert sorted(str(one.message).partition(": its content")[0] for one in caught) == sorted(map(str, (rewind, above)))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == good


def test_a_store_that_cannot_be_written_fails_cleanly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    piles = run(
        search_origin(SPEC, levels=0, replicate=0, context=PLACE).levels,
        store=Store(tmp_path / "file"),
        context=RunContext(),
    )
    assert isinstance(piles.failed[0][1], OneticketError)
    assert "cannot" in str(piles.failed[0][1])


def test_stop_and_go_on(tmp_path: Path) -> None:
    straight, stopped = Store(tmp_path / "straight"), Store(tmp_path / "stopped")
    steps = search_origin(SPEC, levels=1, replicate=0, context=PLACE).levels
    run(steps, store=straight, context=RunContext())
    seen: list[int] = []

    def count(run: Run) -> None:
        seen.append(run.position)

    while True:
        context = replace(RunContext(), watchers=(count,), stop=lambda: bool(len(seen) % 3 == 2))
        try:
            run(steps, store=stopped, context=context)
            break
        except KeyboardInterrupt:
            seen.append(-1)
    assert len(seen) >= 10
    for step in closure(steps):
        one, other = straight.get(step), stopped.get(step)
        assert one.record == other.record
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    assert not list(Path(stopped.url, names.UNDER_WAY).iterdir())


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(SpecError, match="levels: expected 0 to 100, got 101"):
        search_origin(SPEC, levels=101, replicate=0, context=PLACE)
    origin = search_origin(SPEC, levels=2, replicate=0, context=PLACE)
    with pytest.raises(SpecError, match="level: expected 0 to 2, the levels of the source, got 3"):
        transfer_cells(TARGET, origin=origin, own=None, arms=("ticket",), levels=(3,), context=PLACE)
    with pytest.raises(SpecError, match="own search is not planned"):
        transfer_cells(TARGET, origin=origin, own=None, arms=("own",), levels=(1,), context=PLACE)


def test_provenance_lies_beside_and_may_be_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    step = Step(kind="rewind", args={"seed": 0})
    store.put(step, Outcome(record={"a": 0.1}, tensors={"t": torch.arange(3)}), seconds=1.5, device="cpu")
    assert store.provenance(step)["seconds"] == 1.5
    next(tmp_path.rglob("*.json")).unlink()
    assert store.provenance(step) == {}
    assert store.get(step).record == {"a": 0.1}


FROZEN = [
    "52079688b92ae630",
    "aac3c2e3bdcad26e",
    "ce1b7d6118ad9901",
    "abe193f7dd1d5012",
    "db38a4a780dbcdfd",
    "b1996c767ba56f36",
]
