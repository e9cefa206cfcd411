"""The laws of decompositions: the parts add up, replicate by replicate, and nothing is mixed or filled in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from made import findings

from oneticket.charts.figures import FIGURES
from oneticket.report.contents import contents
from oneticket.report.decomposition import COLUMNS, decomposition_lines, decomposition_tables
from oneticket.report.page import write_report
from oneticket.stats.decomposition import EFFECTS, PARTS, Decomposition, decompositions
from oneticket.stats.stats import mean_interval

Rows = list[dict[str, Any]]
ARMS = ("dense", "ticket", "own", "mask-only", "weights-only", "dense-rewound", "reinit", "own-reinit")
SETS: dict[str, Any] = {"sources": ("cifar10", "svhn"), "targets": ("cifar10", "svhn")}


def crossed(**made: Any) -> Any:
    """Findings with all arms; the dense networks at level 0, and the target's own without a source."""
    found = findings(**{**SETS, "arms": ARMS, **made})
    for row in (*found.rows, *found.missing):
        if row["arm"] == "own-reinit":
            row |= {"source_data": None, "source_optimizer": None}
        if row["arm"] == "dense-rewound":
            row |= {"level": 0, "density": 1.0}
    keys = ("arm", "source_data", "source_optimizer", "target_data", "target_optimizer", "level", "replicate")
    rows = {tuple(row[key] for key in keys): row for row in found.rows}
    return replace(found, rows=[*rows.values()])


def score(rows: Rows, arm: str, one: Decomposition, replicate: int) -> float:
    source = {"own": one.setting.data, "dense": None, "own-reinit": None}.get(arm, one.source.data)
    level = 0 if arm in ("dense", "dense-rewound") else one.level
    arms = ("ticket",) if arm == "own" else (arm,)  # here each target is a source, so its own is its ticket
    asked = (source, one.setting.data, level, replicate)
    (found,) = [
        row["accuracy"]
        for row in rows
        if row["arm"] in arms and (row["source_data"], row["target_data"], row["level"], row["replicate"]) == asked
    ]
    return float(found)


def test_every_effect_is_the_mean_of_its_sum_in_each_replicate() -> None:
    rows = crossed().rows
    found = decompositions(rows)
    assert len(found) == 2 * 3, "two sources away from home, at three levels"
    for one in found:
        assert list(one.gains) == list(EFFECTS) and not one.lacking
        for name, effect in EFFECTS.items():
            sums = [sum(sign * score(rows, arm, one, n) for arm, sign in effect.arms.items()) for n in range(3)]
            expected, interval = mean_interval(sums), one.gains[name].difference
            for end in ("mean", "low", "high", "n"):
                assert getattr(interval, end) == pytest.approx(getattr(expected, end), abs=1e-12), name
        means = {name: one.gains[name].difference.mean for name in EFFECTS}
        assert means["total"] == pytest.approx(sum(means[name] for name in PARTS), abs=1e-12)


def test_an_error_that_is_lower_is_a_gain() -> None:
    rows = crossed().rows
    turned = [
        {**row, "accuracy": None, "metric": "error", "better": "lower", "score": 1 - row["accuracy"]} for row in rows
    ]
    for one, other in zip(decompositions(rows), decompositions(turned), strict=True):
        for name in EFFECTS:
            assert other.gains[name].difference.mean == pytest.approx(one.gains[name].difference.mean, abs=1e-12)


def test_a_replicate_that_lacks_an_arm_is_left_out_of_the_sum_and_named() -> None:
    found = decompositions(crossed(lost=[("mask-only", 20, 1), ("reinit", 20, 2), ("own-reinit", 20, 2)]).rows)
    for one in found:
        ns = {name: gain.difference.n for name, gain in one.gains.items()}
        lost = one.level == 20
        assert {ns[name] for name in ("total", *PARTS)} == {2 if lost else 3}, "all over the same replicates"
        assert (ns["mask-alone"], ns["weights-alone"]) == (2 if lost else 3, 3)
        assert one.lacking == (("the target's weights, same mask (replicate 1)",) if lost else ())
    (table, *_) = decomposition_tables(found)
    assert table.header[-1] == "n" and [row[-1] for row in table.rows] == ["3", "3", "2"]
    assert "at 1.2 %: the target's weights, same mask (replicate 1)." in table.caption
    (line, *_) = decomposition_lines(found)
    assert "not trained: the target's weights, same mask (replicate 1)" in line and "n = 2" in line


def test_an_arm_that_is_not_there_is_named_and_not_guessed() -> None:
    rows = [row for row in crossed().rows if row["arm"] != "weights-only"]
    found = decompositions(rows)
    assert {tuple(one.gains) for one in found} == {("total", "mask", "weights-alone", "mask-alone")}
    assert {one.lacking for one in found} == {("the target's mask, same weights",)}
    (line, *_) = decomposition_lines(found)
    assert " is mask " not in line and "; mask " in line and "not trained: the target's mask, same weights" in line
    home = {("cifar10", "cifar10"), ("svhn", "svhn")}
    apart = [r for r in crossed().rows if ((r["source_data"], r["target_data"]) in home) == (r["replicate"] == 0)]
    for one in decompositions(apart):
        assert not {"total", "mask", "weights", "interaction"} & set(one.gains), "no replicate has all of them"
        assert "the target's own ticket (replicates 1, 2)" in one.lacking


@pytest.mark.parametrize("arms", [("dense", "ticket", "own", "reinit"), ("dense", "own"), ("ticket",)])
def test_without_an_arm_that_takes_a_ticket_apart_there_is_nothing(arms: tuple[str, ...]) -> None:
    made = findings(**SETS, arms=arms)
    parts = contents(made).taken_apart
    assert (parts.lines, parts.tables, parts.rows) == ((), (), ())
    assert FIGURES["mask-or-weights"].draw(made) is None


def test_parts_and_what_sources_are_compared_at_are_never_mixed() -> None:
    first, second = crossed(part="one").rows, crossed(part="two").rows
    steps = [{**row, "accuracy": row["accuracy"] / 2, "equal": "steps", "key": f"{row['key']}/steps"} for row in first]
    epochs = [{**row, "equal": "epochs"} for row in first]
    found = decompositions([*epochs, *steps, *second])
    alone = decompositions(epochs)
    assert len(found) == 3 * len(alone)
    assert {(one.part, one.setting.equal) for one in found} == {("one", "epochs"), ("one", "steps"), ("two", None)}
    for one in alone:
        (same,) = [
            other
            for other in found
            if (other.part, other.setting, other.source, other.level) == ("one", one.setting, one.source, one.level)
        ]
        assert same.gains == one.gains and same.where == f"one: {one.where}"
    titles = [table.title for table in decomposition_tables(found)]
    assert len(titles) == len(set(titles)) == 6
    assert "vgg-11 on one: cifar10 under sgd at equal steps" in titles
    drawn = FIGURES["mask-or-weights"].draw(replace(crossed(), rows=[*epochs, *steps, *second]))
    assert drawn is not None and len(drawn.to_dict()["concat"]) == 6


def test_the_report_says_it_in_a_sentence_a_table_a_file_and_a_figure(tmp_path: Path) -> None:
    made = crossed()
    files = write_report(made, tmp_path)
    parts = contents(made).taken_apart
    assert len(parts.tables) == len(parts.lines) == 2
    page, text = (file.read_text("utf-8") for file in files[:2])
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    for line in parts.lines:
        assert line.partition(",")[0] in text and line.partition(",")[0] in page
    assert "## Mask or weights?" in text and 'id="mask-or-weights"' in page
    assert (tmp_path / "figures" / "mask-or-weights.png").is_file()
    table = pandas.read_csv(tmp_path / "mask-or-weights.csv")
    assert list(table.columns) == list(COLUMNS) and len(table) == len(EFFECTS) * 6
    first = decompositions(made.rows)[0]
    for _, row in table[:6].iterrows():
        assert row["gain"] == pytest.approx(first.gains[row["effect"]].difference.mean)
        assert row["n"] == 3 and row["arms"] == EFFECTS[row["effect"]].formula


def test_points_of_the_figure_are_the_decomposition() -> None:
    made = crossed()
    drawn = FIGURES["mask-or-weights"].draw(made)
    assert drawn is not None
    values = [record for each in drawn.to_dict()["datasets"].values() for record in each]
    labels = {EFFECTS[name].label: name for name in ("total", *PARTS)}
    means = sorted(one.gains[name].difference.mean for one in decompositions(made.rows) for name in labels.values())
    assert sorted(record["mean"] for record in values) == means
    assert {record["line"] for record in values} == set(labels)
