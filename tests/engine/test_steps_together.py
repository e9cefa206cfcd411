"""Steps together: the store that is left is that of one step after the other, to float tolerance."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from commands import oneticket_cli

from oneticket.engine import engine, inline
from oneticket.engine.engine import Engine
from oneticket.engine.scheduler import Front
from oneticket.ground.errors import SpecError, StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.study.plan import closure, transfer_cells
from oneticket.study.steps import akin
from oneticket.training.loop import Run

QUICK = SearchSpec(
    data={"name": "digits:a", "per_class": 10},
    model={"name": "mlp", "widths": (12,)},
    training={"budget": "6it", "batch": 32},
    rewind="2it",
)
DATA = {"name": "digits:b", "per_class": 10}
TARGET = TransferSpec(data=DATA, optimizer="sgd", training={"budget": "6it", "batch": 32})
ARMS = ("dense", "ticket", "reinit", "global-random")


def steps(*, levels: int = 2, replicates: int = 3, arms: tuple[str, ...] = ()) -> list[Step]:
    """The levels of some searches, and transfers of the last."""
    context, found = RunContext(), list[Step]()
    for replicate in range(replicates):
        origin = search_origin(QUICK, levels=levels, replicate=replicate, context=context)
        found += origin.levels
        cells = transfer_cells(TARGET, origin=origin, own=None, arms=arms, levels=[levels], context=context)
        found += [cell.step for cell in cells]
    return found


def assert_close(one: Outcome, other: Outcome) -> None:
    assert one.record.keys() == other.record.keys() and one.tensors.keys() == other.tensors.keys()
    for name, value in one.record.items():
        near = pytest.approx(other.record[name], rel=1e-4) if isinstance(value, float) else other.record[name]
        assert value == near, name
    for name, tensor in one.tensors.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, other.tensors[name], rtol=1e-4, atol=1e-6)
        else:
            assert torch.equal(tensor, other.tensors[name]), name


def test_together_and_one_by_one_leave_equal_stores(tmp_path: Path) -> None:
    plan = steps(arms=ARMS)
    heard: Counter[str] = Counter()
    apart, together = Store(tmp_path / "apart"), Store(tmp_path / "together")
    one = inline.run(plan, store=apart, context=RunContext())
    two = inline.run(
        plan, store=together, context=RunContext(), observe=lambda step, event: heard.update([event]), together=3
    )
    assert set(two.done) == set(one.done) == set(closure(plan)) and not two.failed
    assert heard == {"begun": len(two.done), "done": len(two.done)}
    for step in closure(plan):
        assert_close(together.get(step), apart.get(step))
        assert together.provenance(step)["device"] == apart.provenance(step)["device"] == "cpu"
        assert "together" not in apart.provenance(step).get("how", "")
    ways = Counter(together.provenance(step).get("how", "") for step in closure(plan))
    assert ways["3 together"] + ways["2 together"] > len(closure(plan)) / 2
    again = inline.run(plan, store=together, context=RunContext(), together=3)
    assert not again.done and set(again.reused) == set(closure(plan))
    assert not [path for path in (tmp_path / "together").rglob("*") if "under-way" in path.parts and path.is_file()]


def test_a_step_that_fails_leaves_the_others(tmp_path: Path) -> None:
    plan = steps()
    rewinds = [step for step in closure(plan) if step.kind == "rewind"]
    store = Store(tmp_path)
    inline.run(rewinds, store=store, context=RunContext(), together=3)
    damaged = next(tmp_path.rglob(f"{rewinds[1].key}.safetensors"))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    piles = inline.run(plan, store=store, context=RunContext(), together=3)
    ((failed, error),) = piles.failed
    assert (failed.args["replicate"], failed.args["level"]) == (1, 0)
    assert isinstance(error, StoreError) and store.failures().keys() == {failed.key}
    assert {step.args["replicate"] for step in piles.done} == {0, 2} and len(piles.done) == 6
    assert len(piles.not_run) == 2


def test_what_somebody_else_is_at_is_waited_for(tmp_path: Path) -> None:
    plan, store, other, heard = steps(levels=0), Store(tmp_path / "both"), Store(tmp_path / "both"), Counter[str]()
    rewinds = [step for step in closure(plan) if step.kind == "rewind"]
    theirs = Store(tmp_path / "theirs")
    inline.run(rewinds[2:], store=theirs, context=RunContext())
    held = ExitStack()
    held.enter_context(other.claim(rewinds[2]))

    def note(step: Step, event: str) -> None:
        heard.update([f"{event} {step.args['replicate']}"])
        if event == "elsewhere":
            other.put(rewinds[2], theirs.get(rewinds[2]), seconds=0, device="cpu")
            held.close()

    piles = inline.run(rewinds, store=store, context=RunContext(), observe=note, together=3)
    assert set(piles.done) == set(rewinds[:2]) and piles.reused == (rewinds[2],)
    assert heard["elsewhere 2"] == heard["reused 2"] == heard["done 0"] == heard["done 1"] == 1


def test_stopped_together_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    plan, seen = steps(), list[int]()
    straight, stopped = Store(tmp_path / "straight"), Store(tmp_path / "stopped")
    inline.run(plan, store=straight, context=RunContext(), together=3)

    def note(run: Run) -> None:
        seen.append(run.position)

    asked = RunContext(watchers=(note,), stop=lambda: len(seen) > 3 * 2 + 3 * 4 + 5)
    with pytest.raises(KeyboardInterrupt):
        inline.run(plan, store=stopped, context=asked, together=3)
    assert not stopped.claims.holders()
    assert len(stopped.keys()) == 6, "rewind weights and level 0"
    first = len(seen)
    piles = inline.run(plan, store=stopped, context=RunContext(watchers=(note,)), together=3)
    assert seen[first : first + 3] == [seen[first - 1] + 2] * 3, "all go on after the step that they stopped at"
    assert len(piles.done) == 6
    for step in closure(plan):
        one, other = straight.get(step), stopped.get(step)
        assert one.record == other.record
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    assert sum(stopped.provenance(step)["seconds"] for step in piles.done) > 0


def test_those_akin_are_taken_together_however_far_apart(tmp_path: Path) -> None:
    plan = [*steps(replicates=2), *(Step(kind="level", args={"replicate": n, "lr": n}) for n in range(2))]
    front = Front(plan, store=Store(tmp_path), longest_first=True)
    assert [step.kind for step in front.take_akin(4)] == ["rewind", "rewind"]
    assert [step.args["lr"] for step in front.take_akin(4)] == [0]
    assert [step.args["lr"] for step in front.take_akin(4)] == [1]
    assert front.take_akin(4) == [] and front.take() is None


def test_arms_are_akin_and_other_trainings_are_not() -> None:
    plan = steps(levels=1, replicates=2, arms=ARMS)
    kinds = {kind: [step for step in closure(plan) if step.kind == kind] for kind in ("rewind", "level", "transfer")}
    assert [len(found) for found in kinds.values()] == [2, 4, 8]
    for one, *others in kinds.values():
        assert all(akin(one, other) for other in others)
    assert not akin(kinds["rewind"][0], kinds["level"][0])
    context = RunContext()
    for changed in ({"optimizer": "adam"}, {"model": {"name": "mlp", "widths": (13,)}}, {"rewind": "1it"}):
        origin = search_origin(QUICK.but(**changed), levels=1, replicate=0, context=context)
        assert not akin(origin.levels[0], kinds["level"][0])
        cells = transfer_cells(TARGET, origin=origin, own=None, arms=ARMS, levels=[1], context=context)
        assert {akin(cell.step, kinds["transfer"][0]) for cell in cells} == {"model" not in changed}


@pytest.mark.parametrize(
    "asked", [{"name": "ray"}, {"address": "auto"}, {"ranks": 2}, {"name": "inline", "address": "auto"}]
)
def test_ray_does_one_training_per_worker(asked: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"together: .* use --engine inline|neither an address nor ranks"):
        Engine(together=2, **asked)
    with pytest.raises(SpecError, match="together: expected at least 1, got 0"):
        Engine(together=0)


def test_auto_is_inline_where_trainings_are_together(tmp_path: Path) -> None:
    plan = steps(levels=12)
    assert len(closure(plan)) >= engine.WORTH
    store = Store(tmp_path)
    asked = Engine(together=3, cpus=0.25)
    assert engine.at_once(plan, store=store, context=RunContext(), engine=asked) == 1
    engine.run(plan[:1], store=store, context=RunContext(), engine=asked)
    assert store.has(plan[0])


def test_find_and_transfer_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    find = "find --data digits:a --per-class 10 --model mlp --widths 12 --budget 6it --batch 32 --rewind 2it"
    code, _, err = oneticket_cli(f"{find} --levels 1 --replicates 2 --together 2 --out found", capsys)
    assert (code, "6 steps done" in err) == (0, True), err
    words = "transfer found --data digits:b --per-class 10 --controls reinit --levels 1 --together 4"
    code, _, err = oneticket_cli(words, capsys)
    assert code == 0, err
    store = Store(tmp_path / ".oneticket")
    ways = Counter(str(about.get("how")) for about in store.provenances(store.keys()).values())
    assert ways["2 together"] >= 6
    code, _, err = oneticket_cli(f"{find} --together 0 --out other", capsys)
    assert (code, "expected at least 1" in err) == (2, True)
