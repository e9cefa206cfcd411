"""The laws of trained signs: they are those that a level's training ended with, and old stores get them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from oneticket.engine.handlers import _source
from oneticket.engine.inline import run
from oneticket.ground.errors import KeptWarning, SpecError
from oneticket.lottery.controls import ARMS
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import level, rewind_weights, search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.training import do, run_training
from oneticket.lottery.transfer import transfer
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store
from oneticket.study.cells import Origin
from oneticket.study.origins import file_origin, search_origin
from oneticket.study.plan import closure, transfer_cells
from oneticket.study.steps import POSITIVE, LevelStep, TransferStep, read_step

QUICK: dict[str, Any] = {"budget": "30it", "batch": 32}
SPEC = SearchSpec(
    data={"name": "digits:a", "per_class": 10},
    model={"name": "mlp", "widths": (12,)},
    training=QUICK,
    rewind="2it",
    optimizer={"name": "sgd", "lr": 0.3},
)
TARGET = TransferSpec(data={"name": "digits:b", "per_class": 10}, training=QUICK)
PLACE = RunContext()
ASKED = ("ticket", "reinit", "trained-signs")


@pytest.fixture
def origin() -> Origin:
    return search_origin(SPEC, levels=2, replicate=0, context=PLACE)


def steps(
    origin: Origin, levels: tuple[int, ...] = (1, 2), arms: tuple[str, ...] = ASKED
) -> dict[tuple[str, int], Step]:
    cells = transfer_cells(TARGET, origin=origin, own=None, arms=arms, levels=levels, context=PLACE)
    return {(cell.arm, cell.level): cell.step for cell in cells}


def trained(number: int, pruned_at: Any) -> dict[str, torch.Tensor]:
    """The weights of a level as its training leaves them, and not what is kept of them."""
    rewound = do(rewind_weights(SPEC, 0, PLACE), PLACE)
    task = level(SPEC, 0, number, rewound=rewound, pruned_at=pruned_at, context=PLACE)
    job = next(task)
    done = run_training(job, PLACE)
    weights = {name: weight.detach().clone() for name, weight in job.model.named_parameters()}
    with pytest.raises(StopIteration):
        task.send(done)
    return weights


def test_a_weight_that_ends_at_zero_has_the_sign_that_it_began_with() -> None:
    rewound = do(rewind_weights(SPEC, 0, PLACE), PLACE)
    task = level(SPEC, 0, 0, rewound=rewound, pruned_at=None, context=PLACE)
    job = next(task)
    done = run_training(job, PLACE)
    with torch.no_grad():
        for weight in job.model.parameters():
            weight.zero_()
    with pytest.raises(StopIteration) as ended:
        task.send(done)
    for name, positive in ended.value.value.positive.items():
        began = rewound.weights[name]
        assert torch.equal(positive, began > 0) and bool((began > 0).any()) and bool((began < 0).any())


@pytest.mark.parametrize("number", [0, 1, 2])
def test_signs_are_the_trained_ones_and_magnitudes_are_those_of_reinit(
    number: int, origin: Origin, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    asked = steps(origin, (number,))
    assert not run(list(asked.values()), store=store, context=RunContext()).failed
    step = asked["trained-signs", number]
    source = _source(TransferStep.read(step), [store.get(need) for need in step.needs])
    draw = torch.Generator().manual_seed(1)
    new = {name: torch.randn(weight.shape, generator=draw) for name, weight in source.ticket.weights.items()}
    made = ARMS["trained-signs"](source, new, torch.Generator())
    above = LevelStep.decode(store.get(origin.levels[max(number - 1, 0)])).pruned_at if number else None
    ends = trained(number, above)
    assert made.mask == source.ticket.mask
    for name, remaining in made.mask.items():
        assert torch.equal(made.weights[name][remaining] > 0, ends[name][remaining] > 0)
        assert torch.equal(made.weights[name][remaining].abs(), new[name][remaining].abs())
        assert not made.weights[name][~remaining].any()
    assert any((made.weights[n][m] * source.ticket.weights[n][m] < 0).any() for n, m in made.mask.items()), (
        "training turned some of the rewound signs, so that `signs` is another arm"
    )
    by_hand = transfer(TARGET, source=source, arm="trained-signs", replicate=0).record
    kept = store.record(step)
    assert (by_hand["accuracy"], by_hand["loss"]) == (kept["accuracy"], kept["loss"])
    assert kept["loss"] != store.record(asked["reinit", number])["loss"]


def test_only_the_level_itself_is_needed_beside_what_a_ticket_needs(origin: Origin) -> None:
    asked = steps(origin)
    assert all(read_step(step).step == step for step in asked.values())
    for number in (1, 2):
        ticket, signs = (asked[arm, number].needs for arm in ("ticket", "trained-signs"))
        assert signs == (*ticket, origin.levels[number])
    assert origin.levels[2] not in closure([asked["ticket", 2]])


def test_a_level_of_an_earlier_version_is_trained_anew_and_nothing_else(origin: Origin, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = [*closure([*origin.levels, *steps(origin, arms=("ticket", "reinit")).values()])]
    assert not run(before, store=store, context=RunContext()).failed
    new = {}
    for step in origin.levels:  # as an earlier version left them
        found = store.get(step)
        bare = {name: tensor for name, tensor in found.tensors.items() if not name.startswith(POSITIVE)}
        assert len(bare) < len(found.tensors)
        with pytest.warns(KeptWarning, match="for this test"):
            store.discard(step.key, "for this test")
        store.put(step, Outcome(record=found.record, tensors=bare), seconds=1.0, device="cpu")
        new[step.key] = found
    store = Store(tmp_path / "store")
    with pytest.warns(
        KeptWarning, match="did not keep the signs of its weights, which are needed now; it is set aside"
    ):
        piles = run([steps(origin, (2,))["trained-signs", 2]], store=store, context=RunContext())
    assert not piles.failed
    kept = {number: LevelStep.decode(store.get(step)).positive for number, step in enumerate(origin.levels)}
    assert [number for number, positive in kept.items() if positive is not None] == [2]
    again, known = store.get(origin.levels[2]), new[origin.levels[2].key]
    assert again.record == known.record
    assert all(torch.equal(again.tensors[name], known.tensors[name]) for name in known.tensors)
    fresh = Store(tmp_path / "fresh")
    wanted = steps(origin, (2,))["trained-signs", 2]
    assert not run([wanted], store=fresh, context=RunContext()).failed
    assert fresh.record(wanted) == store.record(wanted)


def test_files_do_not_keep_them_and_say_so(origin: Origin, tmp_path: Path) -> None:
    book = search(SPEC, levels=2)
    for name, thing in (("book", book), ("ticket", book[2])):
        thing.save(tmp_path / f"{name}.safetensors")
        lying = file_origin(thing, tmp_path / f"{name}.safetensors", 0)
        with pytest.raises(SpecError, match=r"arm trained-signs: a file does not say which signs .* in one study"):
            steps(lying, (2,))
