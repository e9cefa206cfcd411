"""The laws of grids: every distinct training once, labels apart from addresses, what is new alone is new."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from oneticket.engine.inline import run
from oneticket.ground.errors import DataError, SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.store.store import Store
from oneticket.study.estimate import estimate
from oneticket.study.findings import Findings, findings
from oneticket.study.grid import Plan, plan
from oneticket.study.plan import closure, searches
from oneticket.study.resolve import plan_of
from oneticket.study.spec import StudySpec

TINY = {
    "name": "tiny",
    "levels": [1, 3],
    "arms": ["dense", "ticket", "own", "reinit", "global-random", "corrected-random"],
    "replicates": 2,
    "rewind": "2it",
    "training": {"budget": "6it", "batch": 32},
    "models": {"net": {"name": "mlp", "widths": [12]}},
    "optimizers": {"sgd": "sgd", "adam": "adam"},
    "sets": {
        "a": {"data": {"name": "digits:a", "per_class": 10}},
        "b": {"data": {"name": "digits:b", "per_class": 10}},
    },
    "parts": {"grid": {"sources": ["a", "b"], "optimizers": ["sgd"]}},
}


def tiny(**changes: Any) -> Plan:
    return plan(StudySpec.read({**TINY, **changes}), RunContext())


def kinds(made: Plan) -> Counter[str]:
    return Counter(step.kind for step in closure(cell.step for cell in made.cells))


def test_every_distinct_training_is_planned_once() -> None:
    made = tiny()
    # Level 3 needs levels 0 to 2. On each target: dense, 2 x global-random; per source 2 x ticket, reinit, corrected;
    # the target's own ticket is what its source carries to itself.
    assert kinds(made) == {"rewind": 4, "level": 2 * 2 * 3, "transfer": 2 * 2 * (1 + 2 + 2 * 6)}
    own = [cell for cell in made.cells if cell.arm == "own"]
    tickets = {cell.step.key for cell in made.cells if cell.arm == "ticket"}
    assert len(own) == 2 * 2 * 2
    assert {cell.step.key for cell in own} <= tickets


@pytest.mark.parametrize("name", ["rewind", "source_rewind", "budget"])
@pytest.mark.parametrize("places", [["study"], ["study", "part"], ["study", "part", "set"], ["study", "set"]], ids=str)
def test_the_narrowest_statement_wins_whatever_the_setting(name: str, places: list[str]) -> None:
    values = {"study": "5it", "part": "4it", "set": "3it"}
    said = {place: {name: values[place]} if place in places else {} for place in values}
    if name == "budget":
        said = {place: {"training": one} for place, one in said.items()}
        said["study"]["training"] = {**TINY["training"], **said["study"]["training"]}
    asked = {**TINY, **said["study"], "sets": {**TINY["sets"], "a": {**TINY["sets"]["a"], **said["set"]}}}
    asked["parts"] = {"grid": {"sources": ["a"], "targets": ["b"], "optimizers": ["sgd"], **said["part"]}}
    cells = plan(StudySpec.read(asked), RunContext()).cells
    tickets = [cell.origin.search for cell in cells if cell.arm == "ticket"]
    found = {one["training"]["budget"] if name == "budget" else one["rewind"] for one in tickets}
    assert found == {values[places[-1]]}


def test_what_is_added_is_all_that_is_new(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run([cell.step for cell in tiny().cells], store=store, context=RunContext())

    def new(**changes: Any) -> Counter[str]:
        steps = closure(cell.step for cell in tiny(**changes).cells)
        return Counter(step.kind for step in steps if not store.has(step))

    assert not new(title="other words", claims=["C1"], margin=0.01, sets={**TINY["sets"], "c": {"data": "mnist1d"}})
    assert new(replicates=3) == {"rewind": 2, "level": 6, "transfer": 30}
    assert new(levels=[1, 2, 3]) == {"transfer": 2 * 2 * (1 + 2 * 3)}, "level 2 of the searches was needed for level 3"
    halves = {"sources": ["a"], "targets": ["b"], "optimizers": ["adam"], "arms": ["ticket"], "levels": [1]}
    assert new(parts={**TINY["parts"], "more": halves}) == {"rewind": 2, "level": 2, "transfer": 2}


def test_names_are_labels_and_no_part_of_an_address() -> None:
    one = tiny()
    other = tiny(
        name="renamed",
        models={"other": TINY["models"]["net"]},
        sets={"x": TINY["sets"]["a"], "y": TINY["sets"]["b"]},
        parts={"p": {"sources": ["x", "y"], "optimizers": ["sgd"]}},
    )
    assert [cell.step.key for cell in one.cells] == [cell.step.key for cell in other.cells]
    assert {(cell.called.model, cell.called.data, cell.called.optimizer) for cell in other.cells} == {
        ("other", "x", "sgd"),
        ("other", "y", "sgd"),
    }
    assert {cell.labels["source_data"] for cell in one.cells} == {None, "a", "b"}


def test_sets_that_differ_in_training_alone_keep_their_names() -> None:
    twice = {**TINY["sets"], "c": {**TINY["sets"]["a"], "rewind": "1it"}, "d": TINY["sets"]["a"]}
    made = tiny(sets=twice, parts={"p": {"sources": ["a", "c", "d"], "targets": ["b"], "optimizers": ["sgd"]}})
    keys = {name: {c.step.key for c in made.cells if c.labels["source_data"] == name} for name in ("a", "c", "d")}
    assert keys["a"] and keys["c"] and not keys["a"] & keys["c"]
    assert not keys["d"], "what is equal to a goes by its name"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store, Findings]:
    parts = {**TINY["parts"], "adam": {"sources": ["a"], "targets": ["b"], "optimizers": ["adam"], "arms": ["ticket"]}}
    made, store = tiny(parts=parts), Store(tmp_path_factory.mktemp("store"))
    steps = [cell.step for cell in made.cells if cell.part == "grid" or cell.step.args["replicate"] == 0]
    assert not run(steps, store=store, context=RunContext()).failed
    return made, store, findings(made, store)


def test_rows_and_what_is_missing_are_all_cells(found: tuple[Plan, Store, Findings]) -> None:
    made, _, known = found
    assert len(known.rows) + len(known.missing) == len(made.cells)
    assert {(row["part"], row["replicate"], row["arm"]) for row in known.missing} == {("adam", 1, "ticket")}
    ticket = next(
        row for row in known.rows if (row["arm"], row["source_data"], row["target_data"]) == ("ticket", "a", "b")
    )
    assert (ticket["source_name"], ticket["source_images"], ticket["source_classes"]) == ("digits:a", 100, 10)
    assert (ticket["target_name"], ticket["target_images"], ticket["model"]) == ("digits:b", 100, "net")
    alone = [row for row in known.rows if row["arm"] in ("dense", "global-random")]
    assert alone and all(row["source_data"] is None for row in alone)
    own = next(row for row in known.rows if row["arm"] == "own")
    twin = next(row for row in known.rows if row["arm"] == "ticket" and row["key"] == own["key"])
    assert (own["accuracy"], own["source_data"], own["target_data"]) == (
        twin["accuracy"],
        twin["source_data"],
        own["source_data"],
    )


def test_layers_and_overlaps_are_those_of_the_masks(found: tuple[Plan, Store, Findings]) -> None:
    _, _, known = found
    totals: dict[tuple[Any, ...], list[int]] = {}
    for row in known.layers:
        at = (row["source_data"], row["source_optimizer"], row["replicate"], row["level"])
        both = totals.setdefault(at, [0, 0])
        both[0] += row["living"]
        both[1] += row["total"]
    # 64 x 12 weights are prunable, the output layer is not: 768, then a fifth less each time, rounded in its favour.
    assert totals["a", "sgd", 0, 0] == [768, 768] and totals["a", "sgd", 0, 3] == [394, 768]
    assert {row["position"] for row in known.layers} == {0}
    for row in known.overlaps:
        assert row["chance"] <= row["overlap"] + 0.2 and 0 < row["overlap"] <= 1
        assert row["a"] != row["b"]
    assert {row["level"] for row in known.overlaps} == {1, 3}


def test_layers_come_in_the_order_of_the_network(tmp_path: Path) -> None:
    parts = {"p": {"sources": ["a"], "optimizers": ["sgd"], "arms": ["ticket"]}}
    made = tiny(models={"net": {"name": "mlp", "widths": [6] * 11}}, levels=[1], replicates=1, parts=parts)
    assert not run(made.cells[0].origin.levels, store=Store(tmp_path), context=RunContext()).failed
    found = [row for row in findings(made, Store(tmp_path)).layers if row["level"] == 1]
    assert [(row["layer"], row["position"]) for row in found] == [(f"fc{n + 1}.weight", n) for n in range(11)]


def test_curves_and_ledger_add_up(found: tuple[Plan, Store, Findings]) -> None:
    made, store, known = found
    steps = {row["step"] for row in known.curves}
    assert steps == {1, 2, 3, 4, 5, 6}
    # Its first ticket is on its own data, where its weights have seen two steps of the schedule.
    cell = next(cell for cell in made.cells if cell.arm == "ticket")
    losses = store.get(cell.step).tensors["losses"]
    curve = [row for row in known.curves if row["arm"] == "ticket"][:4]
    assert [row["loss"] for row in curve] == pytest.approx(losses.tolist())
    assert [row["step"] for row in curve] == [3, 4, 5, 6]
    home = next(row for row in known.ledger if (row["source_data"], row["source_optimizer"]) == ("a", "sgd"))
    assert (home["replicates"], home["levels"], home["trainings"]) == (2, 3, 6)
    assert home["steps"] == 2 * (2 + 3 * 4)
    assert (home["transferred"], home["searches_saved"]) == (8, 0), "to itself and to b, which was searched too"
    adam = next(row for row in known.ledger if row["source_optimizer"] == "adam")
    assert (adam["replicates"], adam["searches_saved"]) == (1, 1)
    assert known.protocol["study"]["arm"] == [
        *("dense", "ticket", "reinit", "global-random", "corrected-random", "own")
    ]
    assert known.protocol["source.training"]["budget"] == ["6it"]


def test_the_same_store_gives_the_same_findings(found: tuple[Plan, Store, Findings]) -> None:
    made, store, known = found
    assert findings(made, Store(store.url)) == known


def test_corrected_random_equals_global_random_without_natural_zeros(found: tuple[Plan, Store, Findings]) -> None:
    _, _, known = found
    at = ("target_data", "replicate", "level", "accuracy", "loss")
    zeros = [row["natural_zeros"] for row in known.rows if row["arm"] == "dense"]
    assert set(zeros) == {0.0}
    plain, corrected = (
        {tuple(row[name] for name in at) for row in known.rows if row["arm"] == arm}
        for arm in ("global-random", "corrected-random")
    )
    assert plain == corrected


def test_searches_are_as_deep_as_any_cell_needs() -> None:
    parts = {**TINY["parts"], "deep": {"sources": ["a"], "optimizers": ["sgd"], "levels": [5], "arms": ["ticket"]}}
    deepest = {origin.search["data"]["name"]: len(origin.levels) for origin in searches(tiny(parts=parts).cells)}
    assert deepest == {"digits:a": 6, "digits:b": 4}


def test_estimates_count_what_is_lacking(tmp_path: Path) -> None:
    made, store, context = tiny(), Store(tmp_path), RunContext()
    steps = [cell.step for cell in made.cells]
    before = estimate(steps, store=store, context=context, paces={}, measure=True)
    assert (before.steps, before.trainings, before.kept, before.unknown) == (76, 72, 0, 0)
    # Each of the four searches carries two tickets home, which have seen two steps there.
    assert before.updates == 4 * 2 + 12 * 4 + 60 * 6 - 8 * 2
    assert before.seconds > 0
    run(steps[:3], store=store, context=context)
    after = estimate(steps, store=store, context=context, paces={})
    assert after.kept == len(store.keys()) > 3 and after.updates < before.updates
    assert after.to_do == after.steps - after.kept


def test_data_that_are_not_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONETICKET_DATA", str(tmp_path))
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path))
    words = {
        "sets": {"c": {"data": "cifar10"}},
        "models": {"net": "vgg-11"},
        "parts": {"p": {"sources": ["c"], "optimizers": ["sgd"]}},
    }
    with pytest.raises(DataError):
        tiny(**words)
    context = RunContext(pretend=True)
    made = plan(StudySpec.read({**TINY, **words}), context)
    assert context.absent == {"cifar10"}
    one = estimate([cell.step for cell in made.cells], store=Store(tmp_path / "store"), context=context, paces={})
    assert (one.unknown, one.trainings) == (24, 24)


def test_a_function_is_a_study(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from oneticket.study.grid import plan\nfrom oneticket.study.spec import StudySpec\n"
        f"def study(context):\n    return plan(StudySpec.read({TINY!r}), context)\n"
        "def nothing(context):\n    return 3\n"
    )
    made = plan_of(f"{file}:study", RunContext())
    assert [cell.step.key for cell in made.cells] == [cell.step.key for cell in tiny().cells]
    with pytest.raises(SpecError, match="expected a function from a RunContext to a Plan, got int"):
        plan_of(f"{file}:nothing", RunContext())
    with pytest.raises(SpecError, match="has no 'stdy'; did you mean study"):
        plan_of(f"{file}:stdy", RunContext())
    with pytest.raises(SpecError, match="no such file"):
        plan_of(f"{tmp_path}/other.py:study", RunContext())


def test_own_data_and_its_code_are_part_of_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "from sklearn.datasets import load_wine\nx, y = load_wine(return_X_y=True)\n"
    text += "def data():\n    return x[::2], y[::2], x[1::2], y[1::2]\n"
    (tmp_path / "mine.py").write_text(text)
    sets = {"a": {"data": "mine.py:data:a"}, "b": {"data": {"name": "mine.py:data:b", "per_class": 5}}}
    study = StudySpec(
        name="mine",
        levels=[1],
        replicates=1,
        training={"budget": "4it"},
        rewind="1it",
        sets=sets,
        parts={"p": {"sources": ["a"], "targets": ["b"], "models": ["mlp"], "optimizers": ["sgd"]}},
    )
    before = plan(study, RunContext()).cells
    assert all(len(step.args["dataset_digest"]) == 64 for cell in before for step in (cell.step, *cell.step.needs))
    again = plan(study, RunContext()).cells
    assert [cell.step.key for cell in again] == [cell.step.key for cell in before]
    (tmp_path / "mine.py").write_text(f"{text}# edited\n")
    after = plan(study, RunContext()).cells
    assert not {cell.step.key for cell in after} & {cell.step.key for cell in before}


def test_what_does_not_fit_is_refused_before_anything_runs() -> None:
    with pytest.raises(
        SpecError, match=r"parts.grid.levels, source digits:a: level 27 would prune nothing, since 4 weights"
    ):
        tiny(levels=[40])
    sizes = {**TINY["sets"], "c": {"data": {"name": "digits:a", "per_class": 10, "size": 16}}}
    with pytest.raises(SpecError, match=r"two networks would have the same name .* sources of several sizes"):
        tiny(
            sets=sizes, parts={"p": {"sources": ["a", "c"], "targets": ["b"], "optimizers": ["sgd"], "arms": ["dense"]}}
        )
    with pytest.raises(SpecError, match=r"take: unknown part 'grd'; did you mean 'grid'"):
        tiny(take=["grd"])
    with pytest.raises(SpecError, match=r"parts.grid.optimizers: several are defined \(sgd, adam\); name those"):
        tiny(parts={"grid": {"sources": ["a"]}})
    with pytest.raises(SpecError, match=r"search.rewind: 9it is step 9, but `training.budget = .6it.` ends"):
        tiny(rewind="9it")
    big = {**TINY["sets"], "big": {"data": {"name": "digits:b", "size": 16}}}
    with pytest.raises(SpecError, match=r"parts.p: arm own: images .*; give the sets one size and channels"):
        tiny(sets=big, parts={"p": {"sources": ["a"], "targets": ["big"], "optimizers": ["sgd"]}})
    own = {"a": {"data": TINY["sets"]["a"]["data"], "training": {"bacth": 3}}}
    with pytest.raises(SpecError, match=r"sets.a.training: unknown field 'bacth'; did you mean 'batch'"):
        tiny(sets=own, parts={"grid": {"sources": ["a"], "optimizers": ["sgd"]}})


def test_a_folder_of_that_name_does_not_hide_a_shipped_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert plan_of("demo", RunContext()).name == "demo"


def test_the_shipped_demo_has_its_addresses_for_good() -> None:
    steps = closure(cell.step for cell in plan_of("demo", RunContext()).cells)
    assert (len(steps), steps[0].key[:16], steps[-1].key[:16]) == (252, *DEMO)


DEMO = ("2560433f74cd8e99", "ce17ad85335d7e62")
