"""The laws of the head start: every arm sees as many target steps, by the schedule, and nothing is trained twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from commands import oneticket_cli

from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError
from oneticket.lottery.arms import ARMS, CROSSED, OF_TARGET
from oneticket.lottery.controls import Source
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import initial_weights, search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import transfer
from oneticket.report.contents import contents
from oneticket.report.export import read_rows
from oneticket.report.methods import methods
from oneticket.store.store import Store
from oneticket.study.cells import Origin
from oneticket.study.findings import findings
from oneticket.study.grid import plan
from oneticket.study.origins import file_origin, search_origin
from oneticket.study.plan import closure, transfer_cells
from oneticket.study.rows import rows
from oneticket.study.spec import StudySpec
from oneticket.study.steps import LevelStep, TransferStep, read_step

QUICK: dict[str, Any] = {"budget": "9it", "batch": 32}
COSINE = {"name": "sgd", "lr": 0.1, "schedule": "cosine", "warmup": "3it"}
SPEC = SearchSpec(
    data={"name": "digits:a", "per_class": 10},
    model={"name": "mlp", "widths": (12,)},
    optimizer=COSINE,
    training=QUICK,
    rewind="2it",
)
TARGET = TransferSpec(data={"name": "digits:b", "per_class": 10}, optimizer=COSINE, training=QUICK)
HOME = SPEC.but(data=TARGET.data, rewind="4it")
"""The target's own search: it may rewind elsewhere than the source's."""
PLACE = RunContext()


def planned(spec: SearchSpec, levels: int = 2) -> Origin:
    return search_origin(spec, levels=levels, replicate=0, context=PLACE)


@pytest.mark.parametrize("source", [SPEC, HOME, HOME.but(optimizer="adam", rewind="3it")], ids=["away", "home", "adam"])
def test_steps_inside_the_weights_and_after_them_add_up(source: SearchSpec, tmp_path: Path) -> None:
    away = source.data != TARGET.data
    inside = {"source": 0 if away else source.rewind.count, "own": HOME.rewind.count, None: 0}
    made = {}
    for head_start in ("equal", "paper"):
        cells = transfer_cells(
            TARGET,
            origin=planned(source),
            own=planned(HOME),
            arms=ARMS,
            levels=(2,),
            context=PLACE,
            head_start=head_start,
        )
        store = Store(tmp_path)
        assert not run([cell.step for cell in cells], store=store, context=RunContext()).failed
        made[head_start] = {row["arm"]: row for row in rows(cells, store)}
    assert made["equal"].keys() == made["paper"].keys() == set(ARMS)
    for arm, row in made["equal"].items():
        seen = inside[ARMS[arm].weights]
        assert (row["head_start"], row["start"], row["steps"] + seen) == ("equal", seen, 9), arm
        other = made["paper"][arm]
        if arm == "own-search":
            assert other["key"] == row["key"], "it is the search itself, whatever is counted"
            continue
        assert (other["head_start"], other["start"], other["steps"]) == ("paper", 0, 9), arm
        assert (other["key"] == row["key"]) == (seen == 0), "what begins at step 0 is one work"


def test_addresses_of_what_begins_at_step_0_are_those_of_versions_before() -> None:
    quick = {"budget": "6it", "batch": 32}
    spec = SearchSpec(data=SPEC.data, model=SPEC.model, training=quick, rewind="2it")
    target = TransferSpec(data=TARGET.data, training=quick)
    own = planned(spec.but(data=TARGET.data), 1)
    words: dict[str, Any] = {"own": own, "arms": FROZEN, "levels": (1,), "context": PLACE}
    paper, equal = (
        transfer_cells(target, origin=planned(spec, 1), head_start=counted, **words) for counted in ("paper", "equal")
    )
    assert {cell.arm: cell.step.key[:16] for cell in paper} == FROZEN
    later = {cell.arm: cell.step.args["start"] for cell in equal if cell.step.key[:16] != FROZEN[cell.arm]}
    assert later == {"own": 2, "mask-only": 2}
    for cell in (*paper, *equal):
        asked = read_step(cell.step)
        assert isinstance(asked, TransferStep) and asked.step == cell.step and asked.start == cell.start


def test_own_search_is_the_level_itself_and_trained_anew_it_is_the_same_to_the_bit(tmp_path: Path) -> None:
    home, book = planned(HOME), search(HOME, levels=2)
    book.save(tmp_path / "book.safetensors")
    filed = file_origin(book, tmp_path / "book.safetensors", 0)
    store, found = Store(tmp_path / "store"), {}
    for origin in (home, filed):
        (cell,) = transfer_cells(
            TARGET, origin=planned(SPEC), own=origin, arms=("own-search",), levels=(2,), context=PLACE
        )
        assert isinstance(read_step(cell.step), LevelStep if origin is home else TransferStep)
        assert not run([cell.step], store=store, context=RunContext()).failed
        (row,) = rows([cell], store)
        about = ("arm", "level", "start", "head", "source_data", "steps", "accuracy", "loss", "density")
        found[origin is home] = {name: row[name] for name in about}, store.get(cell.step).tensors["losses"]
    assert home.levels[2].key in [*store.keys()]
    python = transfer(TARGET, source=Source(ticket=book[2], rewind=book.weights), arm="own-search")
    level = store.get(home.levels[2])
    assert found[True][0] == found[False][0]
    assert {name: value for name, value in level.record.items() if name != "level"} == python.record
    for losses in (found[True][1], found[False][1], python.losses):
        assert torch.equal(losses, level.tensors["losses"]), "batches and learning rates are those from step 4 on"
    with_head = HOME.but(model=HOME.model.but(prunable=("*", "fc2.weight")))
    pruned = search(with_head, levels=1)
    again = transfer(TARGET, source=Source(ticket=pruned[1], rewind=pruned.weights), arm="own-search")
    assert again.record == {name: value for name, value in pruned.records[1].items() if name != "level"}


def test_the_schedule_goes_on_at_step_k_whatever_the_head() -> None:
    still = TARGET.but(optimizer={"name": "sgd", "lr": 1e-300, "momentum": 0, "weight_decay": 0})
    book = search(HOME, levels=1)
    source = Source(ticket=book[1], rewind=book.weights)
    whole, rest = (transfer(still, source=source, arm="own", head_start=counted) for counted in ("paper", "equal"))
    assert (len(whole.losses), len(rest.losses)) == (9, 5)
    assert torch.equal(whole.losses[4:], rest.losses), "nothing is learned, so equal losses are equal batches"


def test_python_counts_as_plans_do() -> None:
    source, own = search(SPEC, levels=1), search(HOME, levels=1)
    given = Source(
        ticket=source[1],
        rewind=source.weights,
        initial=initial_weights(source.model, seed=0, replicate=0),
        own=(home := Source(ticket=own[1], rewind=own.weights)),
    )
    for arm in ("ticket", "reinit", *CROSSED, *OF_TARGET):
        done = transfer(TARGET, source=home if arm in OF_TARGET else given, arm=arm)
        assert done.record["steps"] == (5 if ARMS[arm].weights == "own" else 9), arm
    assert transfer(TARGET, source=home, arm="ticket").record["steps"] == 5
    with pytest.raises(SpecError, match=r"arm own: the target's own search was on other data \(digest "):
        transfer(TARGET, source=given, arm="own")


def test_weights_that_have_seen_all_of_the_target_are_refused() -> None:
    short = TARGET.but(training={**QUICK, "budget": "4it"})
    words = (
        "arm own: its weights were trained for 4 steps on the target's data, and the target's training ends at step 4; "
    )
    with pytest.raises(SpecError, match=words):
        transfer_cells(short, origin=planned(SPEC), own=planned(HOME), arms=("own",), levels=(1,), context=PLACE)
    book = search(HOME, levels=1)
    with pytest.raises(SpecError, match=words):
        transfer(short, source=Source(ticket=book[1]), arm="own")
    assert transfer(short, source=Source(ticket=book[1]), arm="own", head_start="paper").record["steps"] == 4


@pytest.mark.parametrize("change", [{"test_examples": 30}, {"classes": 10}], ids=str)
def test_the_same_training_examples_are_the_same_data_whatever_is_tested_on(change: dict[str, Any]) -> None:
    twin = HOME.but(data=HOME.data.but(**change))
    words: dict[str, Any] = {"arms": ("ticket", "own"), "levels": (1,), "context": PLACE}
    straight = transfer_cells(TARGET, origin=planned(HOME), own=planned(HOME), **words)
    made = transfer_cells(TARGET, origin=planned(twin), own=planned(twin), **words)
    assert [cell.start for cell in made] == [cell.start for cell in straight] == [4, 4]
    assert made[0].step.key != straight[0].step.key, "its search is other work"
    book = search(twin, levels=1)
    source = Source(ticket=book[1], rewind=book.weights)
    assert [transfer(TARGET, source=source, arm=arm).record["steps"] for arm in ("ticket", "own")] == [5, 5]


def test_sources_that_share_examples_with_a_target_are_named_in_plan_and_report(tmp_path: Path, capsys: Any) -> None:
    sets = {
        **STUDY["sets"],
        "more": {"data": {"name": "digits:b", "per_class": 20}},
        "tests": {"data": f"{tmp_path}/tests.npz"},
    }
    held = load(DataSpec(name="digits", test_examples=20)).test
    arrays = held.inputs[:, 0].numpy(), held.targets.numpy()
    numpy.savez(tmp_path / "tests.npz", x_train=arrays[0], y_train=arrays[1], x_test=arrays[0], y_test=arrays[1])
    parts = {"p": {"sources": ["a", "more", "tests", ["a", "more"]], "targets": ["b"]}}
    made = plan(StudySpec.read({**STUDY, "sets": sets, "arms": ["dense", "ticket"], "parts": parts}), RunContext())
    said = "The source {} shares examples with the target b: {} of its training examples are in the target's {} set."
    assert made.doubts == (
        said.format("more", 100, "training"),
        said.format("tests", 20, "test"),
        said.format("a+more", 100, "training"),
    )
    assert {cell.start for cell in made.cells} == {0}, "other data, though some of it is the target's"
    assert contents(findings(made, Store(tmp_path / "store"))).doubts == made.doubts
    for more, agreed in (({}, "consensus(a, b)"), ({"every_level": True}, "consensus(a, b; at every level)")):
        parts = {"p": {"sources": ["a", "b", {"consensus": ["a", "b"], **more}], "targets": ["b"]}}
        made = plan(StudySpec.read({**STUDY, "arms": ["dense", "ticket"], "parts": parts}), PLACE)
        assert made.doubts == (said.format(f"b in {agreed}", 100, "training"),), (
            "one of its searches is the target's own"
        )
    assert plan(StudySpec.read(STUDY), PLACE).doubts == ()


STUDY: dict[str, Any] = {
    "name": "mine",
    "levels": [1],
    "arms": ["dense", "ticket", "own", "own-search", "mask-only"],
    "replicates": 1,
    "training": QUICK,
    "rewind": "2it",
    "models": {"net": {"name": "mlp", "widths": [12]}},
    "optimizers": {"sgd": "sgd"},
    "sets": {name: {"data": {"name": f"digits:{name}", "per_class": 10}} for name in ("a", "b")},
    "parts": {"new": {"sources": ["a", "b"], "targets": ["b"]}, "old": {"sources": ["a"], "targets": ["b"]}},
}


def test_studies_say_it_for_all_and_for_each_part(tmp_path: Path) -> None:
    asked = {**STUDY, "parts": {**STUDY["parts"], "old": {**STUDY["parts"]["old"], "head_start": "paper"}}}
    made, store = plan(StudySpec.read(asked), PLACE), Store(tmp_path)
    steps = closure(cell.step for cell in made.cells)
    # Rewind weights and level 0 of both, level 1 of b; dense, both tickets, own and mask-only from 2 and 0. At 2,
    # the target's own is the ticket on its own data.
    assert [len([s for s in steps if s.kind == kind]) for kind in ("rewind", "level", "transfer")] == [2, 3, 6]
    assert not run(steps, store=store, context=RunContext()).failed
    table = {(row["part"], row["arm"], row["source_data"]): row for row in rows(made.cells, store)}
    starts = {at: row["start"] for at, row in table.items()}
    assert starts == {
        ("new", "dense", None): 0,
        ("new", "ticket", "a"): 0,
        ("new", "ticket", "b"): 2,
        ("new", "own", "b"): 2,
        ("new", "own-search", "b"): 2,
        ("new", "mask-only", "a"): 2,
        ("old", "dense", None): 0,
        ("old", "ticket", "a"): 0,
        ("old", "own", "b"): 0,
        ("old", "own-search", "b"): 2,
        ("old", "mask-only", "a"): 0,
    }
    assert {row["head"] for row in table.values()} == {"fresh"}
    text = " ".join(methods(findings(made, store)))
    assert "began at step 2 of its schedule, all others at step 0, so that all networks were trained for" in text
    assert "is ahead by those steps (Morcos et al., 2019)" in text
    paper = plan(StudySpec.read({**STUDY, "head_start": "paper"}), PLACE)
    assert {cell.start for cell in paper.cells if cell.arm != "own-search"} == {0}
    alone = {**STUDY, "arms": ["dense", "ticket"], "parts": {"old": STUDY["parts"]["old"]}}
    assert "none had been trained on the target before" in " ".join(
        methods(findings(plan(StudySpec.read(alone), PLACE), store))
    )


def test_the_command_counts_so_and_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    search(SPEC, levels=1).save("book.safetensors")
    words = "transfer book.safetensors --data digits:b --per-class 10 --controls own,own-search --rows rows.json"
    for extra, start in (("", 2), (" --head-start paper", 0)):
        code, _, err = oneticket_cli(words + extra, capsys)
        assert code == 0, err
        found = {row["arm"]: row for row in read_rows(Path("rows.json"))}
        assert {arm: row["start"] for arm, row in found.items()} == {
            "dense": 0,
            "ticket": 0,
            "own": start,
            "own-search": 2,
        }
        assert {row["head_start"] for row in found.values()} == {"paper" if extra else "equal"}
    code, _, err = oneticket_cli(words + " --head-start none", capsys)
    assert code == 2 and "--head-start: " in err and "'equal' or 'paper'" in err


FROZEN = {
    "own": "c82d55c95bf2fe2e",
    "mask-only": "1603f1dfd9378ac5",
    "weights-only": "2c1fcf9e5603e145",
    "ticket": "bc0982db3f4dda56",
}
