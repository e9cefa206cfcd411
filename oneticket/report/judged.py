"""What a report says of a verdict: its effect, its place among all of them, every comparison, and every other level."""

from __future__ import annotations

from collections.abc import Iterable

from oneticket.claims.claim import Verdict
from oneticket.claims.family import Rung
from oneticket.stats.table import ReportTable
from oneticket.stats.words import MISSING, number, percent, within


def effect(verdict: Verdict) -> str:
    """The effect that decided, with its interval and n.

    >>> from oneticket.stats.stats import Interval
    >>> told = {"claim": "C1", "statement": "", "outcome": "holds", "unit": "accuracy", "margin": 0.02, "rule": ""}
    >>> told |= {"comparisons": (), "advice": "", "notes": ()}
    >>> effect(Verdict(effect=Interval(mean=0.04, low=0.01, high=0.07, n=3), **told))
    '0.040 [0.010, 0.070] accuracy (95 % interval, n = 3)'
    """
    if verdict.effect is None:
        return "no effect could be pooled"
    if verdict.effect.half is None:
        return f"{within(verdict.effect)} {verdict.unit}; no interval can be given"
    return f"{within(verdict.effect)} {verdict.unit} (95 % interval, n = {verdict.effect.n})"


def short(verdict: Verdict) -> str:
    """The effect or, where there is none, the first note, which says what is missing."""
    return effect(verdict) if verdict.effect or not verdict.notes else verdict.notes[0]


def standing(verdict: Verdict) -> tuple[str, ...]:
    """Its p beside the adjusted one, and whether own tickets still match dense networks there."""
    return tuple(filter(None, (adjusted(verdict), still(verdict))))


def adjusted(verdict: Verdict) -> str:
    """Its own p, p adjusted over all verdicts of the study, and whether the outcome survives; empty without p."""
    if verdict.test is None or verdict.test.p is None or verdict.adjusted is None:
        return ""
    survives = {True: "the outcome survives", False: "the outcome does not survive", None: "nothing was decided"}
    over = f"over the {verdict.family} verdicts of this study" if verdict.family > 1 else "as this is the only verdict"
    return (
        f"Own test: {_p(verdict.test.p)} ({verdict.test.words}). Adjusted {over} (Holm, 1979): {_p(verdict.adjusted)}; "
        f"{survives[verdict.survives]}."
    )


def still(verdict: Verdict) -> str:
    """Whether the own tickets of the verdict's targets are still non-inferior to dense; empty where not known."""
    if verdict.still is None:
        return ""
    one = verdict.still
    said = {"holds": "still non-inferior to dense", "fails": "worse than dense"}.get(
        one.outcome, "not shown to be non-inferior to dense"
    )
    margin = MISSING if one.margin is None else number(one.margin)
    return (
        f"Here the targets' own tickets are {said}: own − dense {within(one.effect)}, n = {one.effect.n}, "
        f"margin {margin}."
    )


def comparisons(verdict: Verdict) -> ReportTable | None:
    """Every cell behind a verdict; None where there is none."""
    given = verdict.comparisons
    if not given:
        return None
    models = len({one.model for one in given}) > 1
    header = ("what", "against", *(("model",) if models else ()), "where", "weights", "difference", "n", "says")
    rows = []
    for one in given:
        place = (*((one.model,) if models else ()), one.where, percent(one.density))
        numbers = (within(one.together), str(one.together.n), one.outcome)
        rows.append((one.what, one.against, *place, *numbers))
    caption = (
        "Mean paired differences, above 0 where the first is better, with t intervals that hold together with 95 % "
        "over this table (Bonferroni), and what the claim's own rule says of each."
    )
    return ReportTable(title=f"{verdict.name}: every comparison", header=header, rows=tuple(rows), caption=caption)


def every_level(ladder: Iterable[Rung]) -> ReportTable | None:
    """Each claim at each level at which it can be tested; None where there is nothing."""
    rows = [
        (
            one.verdict.name,
            percent(one.density),
            str(one.level),
            "judged" if one.stated else "",
            one.verdict.outcome,
            within(one.verdict.effect) if one.verdict.effect else MISSING,
            str(one.verdict.effect.n) if one.verdict.effect else MISSING,
            one.verdict.unit,
        )
        for one in ladder
    ]
    table = ReportTable(
        title="Every claim at every level",
        header=("claim", "weights", "level", "", "outcome", "effect", "n", "unit"),
        rows=tuple(rows),
        caption="By each claim's rule at each level, with 95 % t intervals that are not adjusted for the number of "
        "levels. The verdicts above are those marked as judged; the rest shows how far they depend on the density.",
    )
    return table if rows else None


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {number(value)}"
