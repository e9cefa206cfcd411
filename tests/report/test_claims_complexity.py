"""C5 by stated properties: which targets are simple and which sources more complex, on any set."""

from __future__ import annotations

from typing import Any

import pytest
from test_report_claims import Rows

from oneticket.claims.claims import simple_targets, verdicts
from oneticket.ground.errors import SpecError
from oneticket.study.spec import ComplexitySpec


def rows_of(source: tuple[str, int, int], target: tuple[str, int, int], *, dense: float, home: float | None) -> Rows:
    """A ticket 0.05 above the target's own; the dense network reaches `dense` there and `home` on the source."""
    made = []
    for arm, score, found in (("ticket", 0.65, source), ("own", 0.6, target), ("dense", dense, None)):
        about = dict(zip(("source_name", "source_classes", "source_images"), found or (None,) * 3, strict=True))
        about |= {"source_data": found and found[0], "source_optimizer": found and "sgd"}
        about |= dict(zip(("target_name", "target_classes", "target_images"), target, strict=True))
        made.append({"arm": arm, "target_data": target[0], "score": score, **about})
    if home is not None:
        there = dict(zip(("target_name", "target_classes", "target_images"), source, strict=True))
        made.append({**made[-1], **there, "target_data": source[0], "score": home})
    alike = {"model": "mlp", "target_optimizer": "sgd", "head": "fresh", "metric": "accuracy", "better": "higher"}
    return [
        {**row, **alike, "replicate": n, "score": row["score"] + 0.001 * n * (row["arm"] == "ticket")}
        | ({"level": 0, "density": 1.0} if row["arm"] == "dense" else {"level": 5, "density": 0.33})
        for row in made
        for n in range(3)
    ]


FOLDER, HUB, TABLE = ("./photos", 10, 5000), ("hf:somebody/flowers", 20, 8000), ("./letters.csv", 10, 200)


@pytest.mark.parametrize(
    ("source", "target", "dense", "home", "tested"),
    [
        (HUB, FOLDER, 0.9, None, True),
        (HUB, FOLDER, 0.84, None, False),  # not simple: too low a dense score
        (FOLDER, HUB, 0.9, None, False),  # not simple: too many classes
        (FOLDER, TABLE, 0.9, 0.8, True),
        (FOLDER, TABLE, 0.9, 0.95, False),  # the source is learnt better than the target
        (TABLE, FOLDER, 0.9, None, False),  # fewer examples
        (FOLDER, ("./more", 10, 5000), 0.9, None, False),  # more of nothing
    ],
)
def test_any_set_counts_by_its_numbers(
    source: Any, target: Any, dense: float, home: float | None, tested: bool
) -> None:
    verdict = simple_targets(rows_of(source, target, dense=dense, home=home))
    assert (verdict.outcome == "holds") == tested and (verdict.outcome == "not tested") != tested
    assert "at most 10 classes, and a dense accuracy of at least 85.0 %" in verdict.rule
    notes = " ".join(verdict.notes)
    assert f"{target[0]} (dense {100 * dense:.1f} %, {target[1]} classes, {target[2]:,} examples)" in notes


def test_a_scarce_target_of_a_simple_set_is_simple_where_the_study_says_so() -> None:
    rows = rows_of(FOLDER, ("fashion_mnist:a", 10, 200), dense=0.7, home=0.9)
    assert simple_targets(rows).outcome == "not tested"
    for name in ("fashion_mnist", "fashion_mnist:a"):
        stated = ComplexitySpec(sets={name: {"score": 0.93}})
        (verdict,) = verdicts(rows, ["C5"], complexity=stated)
        assert verdict.outcome == "holds"
        assert "Simple: fashion_mnist:a (dense 93.0 %, 10 classes, 200 examples)." in verdict.notes


def test_the_limits_are_the_studys() -> None:
    rows = rows_of(HUB, ("./fine", 12, 5000), dense=0.7, home=None)
    assert simple_targets(rows).outcome == "not tested"
    assert simple_targets(rows, complexity=ComplexitySpec(score=0.65, classes=12)).outcome == "holds"
    assert simple_targets(rows, complexity=ComplexitySpec(score=0.65, classes=11)).outcome == "not tested"


def test_of_another_metric_nothing_is_simple_before_a_study_says_from_which_score_on() -> None:
    rows = [{**row, "metric": "skill", "better": "higher"} for row in rows_of(HUB, FOLDER, dense=0.9, home=None)]
    silent = simple_targets(rows, margin=0.02)
    assert silent.outcome == "not tested" and "no score is stated" in silent.rule
    assert simple_targets(rows, margin=0.02, complexity=ComplexitySpec(score=0.5)).outcome == "holds"


def test_properties_that_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match=r"complexity\.classes"):
        ComplexitySpec(classes=0)
    with pytest.raises(SpecError, match="colour"):
        ComplexitySpec(sets={"mnist": {"colour": 1}})
