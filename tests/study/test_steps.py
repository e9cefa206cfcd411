"""The laws of steps: what goes into a store comes back out of it, with its type, its address and to the bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tables import SOURCE_ALONE

from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError
from oneticket.lottery.arms import WHOLE
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.origins import file_origin, search_origin
from oneticket.study.plan import BLANK, closure, search_cells, transfer_cells
from oneticket.study.steps import (
    Blank,
    FileStep,
    LevelStep,
    RewindStep,
    SourceTicket,
    TransferStep,
    akin,
    measured,
    read_step,
    training_step,
)
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket

TRAINING: dict[str, Any] = {"budget": "6it", "batch": 32}
ASKED = SearchSpec(
    data={"name": "digits:a", "per_class": 10},
    model={"name": "mlp", "widths": (12,)},
    training=TRAINING,
    rewind="2it",
    pruning={"fraction": 0.5},
)
TARGET = TransferSpec(data={"name": "digits:b", "per_class": 10}, optimizer="adam", training=TRAINING)


@pytest.fixture(scope="module")
def planned() -> tuple[Step, ...]:
    """The steps of a search, and of all arms of a transfer of it."""
    origin = search_origin(ASKED, levels=2, replicate=1, context=RunContext())
    arms = transfer_cells(TARGET, origin=origin, own=None, arms=SOURCE_ALONE, levels=[1, 2], context=RunContext())
    return closure(cell.step for cell in (*search_cells(origin), *arms))


@pytest.fixture(scope="module")
def store(planned: tuple[Step, ...], tmp_path_factory: pytest.TempPathFactory) -> Store:
    kept = Store(tmp_path_factory.mktemp("store"))
    assert not run(planned, store=kept, context=RunContext()).failed
    return kept


def test_every_step_comes_back_with_its_type_and_its_address(planned: tuple[Step, ...], store: Store) -> None:
    types = Counter(type(read_step(step)) for step in planned)
    assert types == {RewindStep: 1, LevelStep: 3, TransferStep: len(WHOLE) + 2 * (len(SOURCE_ALONE) - len(WHOLE))}
    for step in planned:
        again = training_step(Store(store.url).step(step.key))
        assert again.step == step and again.step.key == step.key
        assert again == read_step(step) and again.replicate == 1
        on = TARGET if isinstance(again, TransferStep) else ASKED
        assert (again.target.data, again.target.optimizer, again.target.task) == (on.data, on.optimizer, on.task)
        assert measured(step) == (not isinstance(again, RewindStep))


def test_what_steps_leave_comes_back_to_the_bit(planned: tuple[Step, ...], store: Store) -> None:
    for step in planned:
        kept, asked = store.get(step), training_step(step)
        again = type(asked).encode(type(asked).decode(kept))  # type: ignore[arg-type]
        assert again.record == kept.record and again.tensors.keys() == kept.tensors.keys()
        assert all(torch.equal(value, kept.tensors[name]) for name, value in again.tensors.items())
        if isinstance(asked, LevelStep):
            left = LevelStep.decode(kept)
            assert (left.zeros is not None) == (asked.number == 0), "natural zeros are those of the dense network"
            assert max(int(at.max()) for at in left.pruned_at.values()) == asked.number + 1


def test_a_search_without_pruning_in_its_rewind_weights(planned: tuple[Step, ...]) -> None:
    other = search_origin(ASKED.but(pruning={"scope": "layerwise"}), levels=1, replicate=1, context=RunContext())
    assert other.rewind == planned[0] and other.levels[0] not in planned
    assert {"pruning", "criterion_digest"}.isdisjoint(other.rewind.args)


def test_transfers_say_where_their_ticket_is_from(planned: tuple[Step, ...]) -> None:
    for step in planned:
        asked = read_step(step)
        if not isinstance(asked, TransferStep):
            continue
        if asked.arm in BLANK:
            assert isinstance(asked.source, Blank) and asked.step.needs == ()
            assert (asked.source.remaining is None) == (asked.arm == "dense")
        else:
            assert isinstance(asked.source, SourceTicket) and asked.source.file is None
            above, *more = map(LevelStep.read, asked.source.needs[1:])
            assert above.number == max(asked.source.level - 1, 0)
            beside = {"corrected-random": [0], "trained-signs": [asked.source.level]}
            assert [one.number for one in more] == beside.get(asked.arm, [])


@pytest.mark.parametrize("single", [False, True])
def test_what_was_read_from_a_file_comes_back(single: bool, tmp_path: Path) -> None:
    bound = search(ASKED, levels=1)
    thing: Book | Ticket = bound[1] if single else bound
    origin = file_origin(thing, tmp_path / "found.safetensors", 0)
    assert origin.file is not None
    assert read_step(origin.file.step) == origin.file and origin.file.step.file == tmp_path / "found.safetensors"
    outcome = FileStep.encode(thing)
    again = FileStep.decode(outcome)
    assert type(again) is type(thing) and again == thing
    assert FileStep.encode(again).record == outcome.record
    with pytest.raises(TypeError, match="expected a step that trains, got a (book|ticket)"):
        training_step(origin.file.step)


def test_other_work_is_refused_in_words(planned: tuple[Step, ...]) -> None:
    for step, field in ((planned[0], "warm"), (planned[-1], "transfer")):
        args = {**step.args, "warm": 1} if field == "warm" else {"transfer": {**step.args["transfer"], "warm": 1}}
        with pytest.raises(SpecError, match="unknown field 'warm'"):
            read_step(Step(kind=step.kind, args={**step.args, **args}, needs=step.needs))


def test_akin_are_those_that_differ_in_what_stacks_allow(planned: tuple[Step, ...]) -> None:
    levels = [step for step in planned if step.kind == "level"]
    transfers = [step for step in planned if step.kind == "transfer"]
    assert all(akin(levels[0], step) for step in levels) and all(akin(transfers[0], step) for step in transfers)
    assert not akin(levels[0], transfers[0]) and not akin(planned[0], levels[0])
    wider = search_origin(
        ASKED.but(model={"name": "mlp", "widths": (13,)}), levels=0, replicate=1, context=RunContext()
    )
    assert not akin(levels[0], wider.levels[0])
