"""Verdicts at stated densities: each beside dense, adjusted over all of them, and shown at every other level."""

from __future__ import annotations

from typing import Any

import pandas
import pytest
from scipy import stats as scipy_stats
from test_report_claims import ABOUT, UNSTEADY, Rows, beside, network, sized

from oneticket.claims.claims import CLAIMS, verdicts
from oneticket.claims.family import family
from oneticket.report.judged import verdict_table
from oneticket.stats.decomposition import decompositions
from oneticket.stats.regroup import parts
from oneticket.stats.stats import holm
from oneticket.stats.summary import summary

STATED = {0.17: 8, 0.035: 15}


def at_levels(claim: str, gaps: dict[int, float], **how: Any) -> Rows:
    return [row for level, gap in gaps.items() for row in beside(gap, levels=[level], **{**ABOUT[claim], **how})]


def once(rows: Rows) -> Rows:
    return list({repr(row): row for row in rows}.values())


def test_a_claim_is_judged_at_each_stated_density_and_shown_at_every_level() -> None:
    gaps = {5: 0.05, 8: 0.05, 12: 0.02, 15: -0.05, 20: 0.05}
    found = family(at_levels("C2", gaps), ["C2"], stated=STATED)
    assert [(one.name, one.outcome, one.level) for one in found.verdicts] == [
        ("C2 at 17 %", "holds", 8),
        ("C2 at 3.5 %", "fails", 15),
    ]
    ladder = {one.level: (one.verdict.outcome, one.stated) for one in found.ladder}
    assert ladder == {
        5: ("holds", False),
        8: ("holds", True),
        12: ("holds", False),
        15: ("fails", True),
        20: ("holds", False),
    }
    assert {one.level: one.density for one in found.ladder} == {level: pytest.approx(0.8**level) for level in gaps}
    for one in found.ladder:
        assert one.verdict.effect is not None and one.verdict.effect.mean == pytest.approx(gaps[one.level])


def test_without_stated_densities_the_sparsest_level_is_judged() -> None:
    found = family(at_levels("C2", {8: 0.05, 15: -0.05}), ["C2"])
    (verdict,) = found.verdicts
    assert (verdict.name, verdict.level, verdict.density, verdict.outcome) == ("C2", 15, None, "fails")
    assert [(one.level, one.stated) for one in found.ladder] == [(8, False), (15, True)]


def test_a_level_that_is_not_trained_yet_is_not_tested_and_the_other_stands() -> None:
    found = family(at_levels("C2", {8: 0.05}), ["C2"], stated=STATED)
    assert [one.outcome for one in found.verdicts] == ["holds", "not tested"]
    assert found.verdicts[1].adjusted is None and found.verdicts[1].survives is None


def test_the_table_of_verdicts_says_outcome_gain_and_what_was_not_tested() -> None:
    table = verdict_table(family(at_levels("C2", {8: 0.05}), ["C2", "C6"], stated=STATED).verdicts)
    assert table is not None and len(table.rows) == 1
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert (cells["claim"], cells["weights"], cells["outcome"], cells["n"]) == ("C2", "17 %", "holds", "3")
    assert cells["gain (points)"].startswith("+5.0 [") and "at equal" not in cells
    assert table.caption.endswith("Not tested: C2 at 3.5 %; C6 at 17 %; C6 at 3.5 %.")
    assert verdict_table(family([], ["C1"]).verdicts) is None


def test_p_is_that_of_the_rule_and_adjusted_over_all_verdicts() -> None:
    gaps = {8: 0.004, 15: 0.003}
    rows = once(at_levels("C2", gaps) + at_levels("C3", {8: -0.017, 15: 0.01}) + at_levels("C1", {8: 0.05, 15: 0.05}))
    found = family(rows, ["C1", "C2", "C3"], stated=STATED)
    assert {one.family for one in found.verdicts} == {6}
    own = [one.test.p for one in found.verdicts if one.test and one.test.p is not None]
    assert len(own) == 6
    assert [one.adjusted for one in found.verdicts] == pytest.approx([*holm(dict(enumerate(own))).values()])
    close = next(one for one in found.verdicts if one.claim == "C3" and one.level == 8)
    assert close.test is not None and close.test.words == "two-sided t-test against −2.0 points"
    differences = [-0.017 + noise for noise in (0.002, -0.001, -0.001)]
    assert close.test.p == pytest.approx(scipy_stats.ttest_1samp(differences, -0.02).pvalue)
    above = next(one for one in found.verdicts if one.claim == "C1")
    assert above.test is not None and above.test.words == "two-sided t-test against 0"


def test_what_holds_alone_may_not_survive_the_family() -> None:
    rows = once(at_levels("C2", {8: 0.006, 15: 0.0}) + at_levels("C1", {8: 0.0, 15: 0.0}))
    alone = family(rows, ["C2"], stated={0.17: 8}).verdicts[0]
    assert (alone.outcome, alone.survives, alone.family) == ("holds", True, 1)
    assert alone.test is not None and alone.adjusted == alone.test.p
    many = family(rows, ["C1", "C2", "C5", "C6"], stated=STATED).verdicts
    together = next(one for one in many if one.claim == "C2" and one.level == 8)
    assert (together.outcome, together.survives, together.family) == ("holds", False, 8)


def test_a_claim_that_cannot_be_tested_counts_in_the_family_with_p_of_1() -> None:
    rows = at_levels("C2", {8: 0.05, 15: 0.05})
    one, more = (family(rows, names, stated={0.17: 8}).verdicts[0] for names in (["C2"], ["C2", "C6"]))
    assert one.adjusted is not None and more.adjusted == pytest.approx(2 * one.adjusted)


def test_what_fails_within_the_margin_is_tested_as_that() -> None:
    (verdict,) = family(at_levels("C2", {8: 0.0}), ["C2"], stated={0.17: 8}).verdicts
    assert verdict.outcome == "fails" and verdict.test is not None
    assert verdict.test.words == "two one-sided t-tests against ±2.0 points, p doubled"
    differences = [0.002, -0.001, -0.001]
    sides = [
        scipy_stats.ttest_1samp(differences, bound, alternative=side).pvalue
        for bound, side in ((-0.02, "greater"), (0.02, "less"))
    ]
    assert verdict.test.p == pytest.approx(2 * max(sides)) and verdict.survives


def test_what_is_undecided_says_so_whatever_its_p() -> None:
    (verdict,) = family(at_levels("C2", {8: 0.05}, noise=UNSTEADY), ["C2"]).verdicts
    assert (verdict.outcome, verdict.survives) == ("undecided", None)
    assert verdict.test is not None and verdict.test.p is not None and verdict.test.p > 0.05
    (flat,) = family(at_levels("C2", {8: 0.05}, noise=[0.0] * 3), ["C2"]).verdicts
    assert flat.outcome == "undecided" and flat.test is None, "doubts decide, no test stands behind that"


def test_slopes_have_the_p_of_their_rule() -> None:
    rows = [{**row, "accuracy": row["accuracy"] + 0.001 * (row["replicate"] % 2)} for row in sized(0.02, 0.01)]
    rows = [
        {**row, "accuracy": row["accuracy"] + 0.002 * row["replicate"] * (row["source_data"] == "10x400")}
        for row in rows
    ]
    (holds,) = verdicts(rows, ["C4"])
    assert holds.outcome == "holds" and holds.test is not None and "the largest p" in holds.test.words
    fallen = [{**row, "accuracy": 1 - row["accuracy"]} for row in rows]
    (fails,) = verdicts(fallen, ["C4"])
    assert fails.outcome == "fails" and fails.test is not None and "p times the 2 slopes" in fails.test.words
    assert fails.test.p is not None and 0 < fails.test.p < 0.05


@pytest.mark.parametrize(("gap", "outcome"), [(0.0, "holds"), (-0.05, "fails"), (-0.02, "undecided")])
def test_beside_each_verdict_stands_whether_own_tickets_still_match_dense(gap: float, outcome: str) -> None:
    rows = at_levels("C3", {8: 0.0, 15: 0.0}) + network("dense", "svhn", "cifar100", 0.6 - gap, levels=[0])
    wobble = {0: 0.001, 1: -0.001, 2: 0.0}
    rows = [{**row, "accuracy": row["accuracy"] + wobble[row["replicate"]] * (row["arm"] == "own")} for row in rows]
    for verdict in family(rows, ["C3"], stated=STATED).verdicts:
        assert verdict.still is not None
        assert (verdict.still.outcome, verdict.still.effect.n, verdict.still.margin) == (outcome, 3, 0.02)
        assert verdict.still.effect.mean == pytest.approx(gap)
    assert family(at_levels("C3", {8: 0.0}), ["C3"]).verdicts[0].still is None


def test_what_is_equal_is_judged_apart() -> None:
    rows = [
        {**row, "equal": kind, "key": f"{kind}{at}"}
        for kind, gap in (("epochs", 0.05), ("steps", -0.05))
        for at, row in enumerate(at_levels("C2", {8: gap}))
    ]
    found = family(rows, ["C2"], stated={0.17: 8})
    assert [(one.name, one.outcome) for one in found.verdicts] == [
        ("C2 at 17 %, equal epochs", "holds"),
        ("C2 at 17 %, equal steps", "fails"),
    ]
    assert {one.family for one in found.verdicts} == {2}
    assert {(one.setting.equal, one.line.arm) for one in summary(rows)} == {
        (kind, arm) for kind in ("epochs", "steps") for arm in ("ticket", "global-random")
    }
    # Other claims of the study have rows of one kind only.
    alone = at_levels("C1", {8: 0.05})
    both = family([*alone, *rows], ["C1", "C2"], stated={0.17: 8}).verdicts
    assert [one.name for one in both] == ["C1 at 17 %", "C2 at 17 %, equal epochs", "C2 at 17 %, equal steps"]
    assert verdicts([*alone, *rows], ["C1"])[0] == CLAIMS["C1"](alone)


OWN = """
from oneticket.claims.claims import same_distribution


def once(rows):
    return same_distribution(rows)


def at(rows, margin, level=None):
    return same_distribution(rows, margin=margin, level=level)
"""


def test_an_own_claim_is_judged_at_densities_if_it_takes_a_level(tmp_path: Any) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    rows = at_levels("C2", {8: 0.05, 15: -0.05})
    found = family(rows, [f"{tmp_path}/mine.py:once", f"{tmp_path}/mine.py:at"], stated=STATED)
    assert [(one.density, one.outcome) for one in found.verdicts] == [
        (None, "fails"),
        (0.17, "holds"),
        (0.035, "fails"),
    ]
    assert [one.level for one in found.ladder] == [8, 15]


def test_verdicts_on_the_same_networks_count_once() -> None:
    same = at_levels("C2", {8: 0.05})
    rows = [{**row, "equal": kind, "key": str(at)} for kind in ("epochs", "steps") for at, row in enumerate(same)]
    first, again = family(rows, ["C2"], stated={0.17: 8}).verdicts
    assert (first.equal, again.equal, first.family, again.family) == ("epochs", "steps", 1, 1)
    assert first.test is not None and first.adjusted == again.adjusted == first.test.p
    assert "The same networks as at equal epochs: counted once." in again.notes
    assert not any("counted once" in note for note in first.notes)


def test_networks_that_stand_at_equal_epochs_are_not_judged_a_second_time() -> None:
    """One part of a study compares sources at equal epochs; another, which does not, has the same networks and more."""
    same = [{**row, "key": f"same {at}"} for at, row in enumerate(at_levels("C3", {8: 0.05}))]
    more = [{**row, "target_data": "more", "key": f"{row['key']} more", "score": row["accuracy"] - 0.3} for row in same]
    equal = [{**row, "equal": "epochs"} for row in same]
    assert [one.equal for one in family([*same, *equal], ["C3"], stated={0.17: 8}).verdicts] == ["epochs"]
    both = family([*same, *equal, *more], ["C3"], stated={0.17: 8}).verdicts
    assert [(one.equal, {each.where for each in one.comparisons}) for one in both] == [
        (None, {"more under sgd"}),
        ("epochs", {"cifar100 under sgd at equal epochs"}),
    ]
    unlike = [*same[:-1], {**same[-1], "key": "another"}]  # a setting with a network of its own stays whole
    assert [one.equal for one in family([*unlike, *equal], ["C3"], stated={0.17: 8}).verdicts] == [None, "epochs"]


def test_an_empty_cell_of_a_table_is_nothing_known(tmp_path: Any) -> None:
    rows = at_levels("C3", {8: 0.05}) + network("dense", "svhn", "svhn", 0.6, levels=[0])
    rows = [{**row, "equal": None, "part": None, "unit": None, "head": None, "better": None} for row in rows]
    pandas.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    read = pandas.read_csv(tmp_path / "rows.csv").to_dict("records")
    assert any(value != value for value in read[0].values())
    assert {one.setting for one in summary(read)} == {one.setting for one in summary(rows)}
    assert family(read, ["C1", "C3"], stated={0.17: 8}) == family(rows, ["C1", "C3"], stated={0.17: 8})
    assert [*parts(read)] == [*parts(rows)] == [""]
    assert len(decompositions(read)) == len(decompositions(rows))
