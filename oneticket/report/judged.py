"""The words and tables of a verdict: its effect, its adjusted p, every comparison, and every other level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oneticket.claims.claim import Comparison, Verdict
from oneticket.claims.family import Rung
from oneticket.ground.metric import number
from oneticket.stats.report_table import ReportTable
from oneticket.stats.table import lean
from oneticket.stats.words import MISSING, percent, within


def effect(verdict: Verdict) -> str:
    """The effect that decided the verdict, with its interval and n.

    >>> from oneticket.stats.stats import Interval
    >>> given = {"claim": "C1", "statement": "", "outcome": "holds", "margin": 0.02, "rule": "", "comparisons": ()}
    >>> given |= {"advice": "", "notes": (), "over": "over random"}
    >>> effect(Verdict(effect=Interval(mean=0.208, low=0.005, high=0.41, n=3), **given))
    '+20.8 points over random (95 % CI 0.5 to 41.0, n = 3)'
    """
    one, metric = verdict.effect, verdict.metric
    if one is None:
        return "no effect could be pooled"
    size = f"{metric.size(one.mean, signed=True)}{f' {verdict.over}' if verdict.over else ''}"
    return f"{size} ({metric.interval_words(one.low, one.high, one.n)})"


def short(verdict: Verdict) -> str:
    """The effect or, without one, the first note, which says what is missing."""
    return effect(verdict) if verdict.effect or not verdict.notes else verdict.notes[0]


def beside(verdict: Verdict) -> tuple[str, ...]:
    """The lines below the effect on a card: its cells, its adjusted p, and whether own tickets are worse than dense."""
    doubted = f"{doubt(verdict)} here." if doubt(verdict) else ""
    return tuple(filter(None, (cells(verdict), survival(verdict), doubted)))


def doubt(verdict: Verdict) -> str:
    """A sentence if the targets' own tickets are worse than the dense network; empty if not, or if it is not known."""
    if verdict.still is None or verdict.still.outcome == "holds":
        return ""
    said = {"fails": "are worse than"}.get(verdict.still.outcome, "are not shown to match")
    return f"The targets' own tickets {said} the dense network"


def caveat(verdict: Verdict) -> str:
    """A sentence if the outcome does not survive the correction over all verdicts; else empty."""
    lost = verdict.survives is False and verdict.adjusted is not None
    return f"but not after correction ({_p(verdict.adjusted or 0.0)})" if lost else ""


def by_claim(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """The verdicts, grouped by claim."""
    groups: dict[str, list[Verdict]] = {}
    for one in verdicts:
        groups.setdefault(one.claim, []).append(one)
    return [*groups.values()]


def answers(verdicts: Iterable[Verdict]) -> list[str]:
    """The verdicts as lines of text, with the words of the page's cards."""
    return [
        f"{one.name} {one.outcome}: {one.statement} {short(one).rstrip('.')}. {' '.join(beside(one))}".rstrip()
        for one in verdicts
    ]


def survival(verdict: Verdict) -> str:
    """The verdict's p, adjusted over all verdicts if there are several, and whether the outcome survives that."""
    if verdict.test is None or verdict.test.p is None or verdict.adjusted is None:
        return ""
    if verdict.family == 1:
        return f"{_p(verdict.test.p)}."
    survives = {True: ": survives", False: ": does not survive", None: ""}[verdict.survives]
    return f"{_p(verdict.adjusted)} after correction over {verdict.family} verdicts{survives}."


def standing(verdict: Verdict) -> tuple[str, ...]:
    """The verdict's cells, its p with the adjusted p, and whether own tickets still match dense networks there."""
    return tuple(filter(None, (cells(verdict), adjusted(verdict), still(verdict))))


def adjusted(verdict: Verdict) -> str:
    """The verdict's p, its p adjusted over all verdicts of the study, and whether it survives; empty without p."""
    if verdict.test is None or verdict.test.p is None or verdict.adjusted is None:
        return ""
    survives = {True: "the outcome survives", False: "the outcome does not survive", None: "nothing was decided"}
    own = f"Own test: {_p(verdict.test.p)} ({verdict.test.words})"
    if verdict.family == 1:
        return f"{own}; not adjusted, as this is the only verdict of the study."
    over = f"over the {verdict.family} verdicts of this study"
    return f"{own}. Adjusted {over} (Holm, 1979): {_p(verdict.adjusted)}; {survives[verdict.survives]}."


def still(verdict: Verdict) -> str:
    """Whether the targets' own tickets are still non-inferior to dense at this level; empty if it is not known."""
    if verdict.still is None:
        return ""
    one = verdict.still
    said = {"holds": "still non-inferior to dense", "fails": "worse than dense"}.get(
        one.outcome, "not shown to be non-inferior to dense"
    )
    metric = verdict.metric
    margin = "not named" if one.margin is None else metric.size(one.margin)
    bounds = metric.interval_words(one.effect.low, one.effect.high, one.effect.n)
    return (
        f"Here the targets' own tickets are {said}: {metric.size(one.effect.mean, signed=True)} over the dense network "
        f"({bounds}; margin {margin})."
    )


def cells(verdict: Verdict) -> str:
    """The cells that the effect was averaged over: their names or their number; empty if none is known."""
    found = list(dict.fromkeys(one.where for one in verdict.comparisons))
    if not found or verdict.effect is None:
        return ""
    number = f"{len(verdict.comparisons)} cell{'' if len(verdict.comparisons) == 1 else 's'}"
    named = f": {', '.join(found)}" if len(found) <= NAMED else ""
    mean = "Measured in" if len(verdict.comparisons) == 1 else "The mean of"
    return f"{mean} {number}{named}."


def comparisons(verdict: Verdict) -> tuple[ReportTable, ...]:
    """Tables of every cell behind a verdict; with more than `SHOWN` cells each target has its own table."""
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    several = len(verdict.comparisons) > SHOWN
    for one in verdict.comparisons:
        groups.setdefault((one.model, one.where) if several else (), []).append(one)
    return tuple(_compared(verdict, where, those) for where, those in groups.items())


def _compared(verdict: Verdict, where: Sequence[str], those: Sequence[Comparison]) -> ReportTable:
    metric = verdict.metric
    rows = [
        (
            *(one.what, one.against, one.model, one.where, percent(one.density)),
            *(within(one.together, metric, signed=True), str(one.together.n), one.outcome),
        )
        for one in those
    ]
    many = len(verdict.comparisons)
    table = ReportTable(
        title=f"{verdict.name}: {f'on {where[1]} ({where[0]})' if where else 'every comparison'}",
        header=("what", "against", "model", "where", "weights", f"difference ({metric.units})", "n", "says"),
        rows=tuple(rows),
        caption="Mean paired differences, above 0 where the first is better, with t intervals that hold together with "
        f"95 % over {'this table' if many == len(those) else f'all {many} comparisons'} (Bonferroni), and what the "
        "claim's own rule says of each.",
    )
    return lean(table)


def every_level(ladder: Iterable[Rung]) -> ReportTable | None:
    """A table of each claim at each level at which it can be tested; None if there is none."""
    rows = [
        (
            one.verdict.name,
            percent(one.density),
            str(one.level),
            "yes" if one.stated else "",
            one.verdict.outcome,
            within(one.verdict.effect, one.verdict.metric, signed=True) if one.verdict.effect else MISSING,
            str(one.verdict.effect.n) if one.verdict.effect else MISSING,
            one.verdict.metric.units,
            one.verdict.over.removeprefix("over "),
        )
        for one in ladder
    ]
    table = ReportTable(
        title="Every claim at every level",
        header=("claim", "weights", "level", "judged", "outcome", "effect", "n", "unit", "over"),
        rows=tuple(rows),
        caption="By each claim's rule at each level, with 95 % t intervals that are not adjusted for the number of "
        "levels. The verdicts above are those marked as judged; the rest shows how far they depend on the density.",
    )
    return lean(table) if rows else None


def verdict_table(verdicts: Sequence[Verdict]) -> ReportTable | None:
    """A table with a row for each verdict that was tested; its caption names the others. None if none was tested.

    >>> verdict_table([]) is None
    True
    """
    tested = [(one, one.effect) for one in verdicts if one.effect is not None]
    if not tested:
        return None
    units = list(dict.fromkeys(one.metric.units for one, _ in tested))
    kinds = any(one.equal for one in verdicts)
    rows = [
        (
            *(one.claim, percent(one.density) if one.density else MISSING, *([one.equal or MISSING] * kinds)),
            *(one.outcome, within(gain, one.metric, signed=True) + f" {one.metric.units}" * (len(units) > 1)),
            *(one.over, str(gain.n), MISSING if one.adjusted is None else _p(one.adjusted)),
            {True: "yes", False: "no", None: MISSING}[one.survives],
            {"holds": "yes", "fails": "no"}.get(one.still.outcome, "not shown") if one.still else MISSING,
        )
        for one, gain in tested
    ]
    gain = f"gain ({units[0]})" if len(units) == 1 else "gain"
    said = [f"{claim}: {statement}" for claim, statement in {one.claim: one.statement for one in verdicts}.items()]
    over = max(one.family for one, _ in tested)
    said.append(
        "Gains are means over the claim's cells with 95 % Student t intervals over replicates; p is corrected over "
        f"{over} verdicts (Holm, 1979)."
    )
    if others := [one.name for one in verdicts if one.effect is None]:
        said.append(f"Not tested: {'; '.join(others)}.")
    return ReportTable(
        title="Verdicts",
        header=(
            *(
                "claim",
                "weights",
                *(["at equal"] * kinds),
                "outcome",
                gain,
                "",
                "n",
                "p, corrected",
                "survives",
                "own as good as dense",
            ),
        ),
        rows=tuple(rows),
        caption=" ".join(said),
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {number(value)}"


NAMED = 3  # places that a verdict names
SHOWN = 12  # comparisons in one table
