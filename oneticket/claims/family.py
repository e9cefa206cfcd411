"""The family: every claim at every density that a study states, judged together, and at all other levels."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from oneticket.claims.cells import ClaimCell, grid
from oneticket.claims.claim import Claim, Still, Verdict, non_inferior
from oneticket.claims.claims import takes_level, verdicts
from oneticket.claims.pool import Pool, pool
from oneticket.stats.stats import holm
from oneticket.stats.summary import Row, Setting, filled, setting_of
from oneticket.study.spec import ComplexitySpec


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A claim at one level. `stated`: whether this is one of the study's stated densities."""

    verdict: Verdict
    level: int
    density: float
    stated: bool


@dataclass(frozen=True, kw_only=True)
class Family:
    """The verdicts at the stated densities, with p adjusted over all of them, and every claim at every level."""

    verdicts: tuple[Verdict, ...]
    ladder: tuple[Rung, ...]


def family(
    rows: Sequence[Row],
    claims: Iterable[str | Claim],
    *,
    margin: float | None = None,
    stated: Mapping[float, int] | None = None,
    complexity: ComplexitySpec | None = None,
) -> Family:
    """Judge the claims at the stated densities, each of which stands for a level; without any at the sparsest level.

    If rows have a column `equal`, each claim is judged for each kind (equal epochs, equal steps) that it has cells of.
    Rows without the column are a third kind, except settings whose networks are all in one of the two others. The
    family is claims x stated densities x kinds. A verdict without p counts with p = 1 (Holm, 1979), and verdicts of two
    kinds that rest on the same networks count once. A claim of your own without an argument `level` is judged once for
    each kind, over all its rows. Raises SpecError as `verdicts` does.

    >>> [one.outcome for one in family([], ["C1", "C3"]).verdicts]
    ['not tested', 'not tested']
    """
    made, ladder, rows = list[Verdict](), list[Rung](), filled(rows)
    for claim in claims:
        asked = _Asked(claim=claim, margin=margin, complexity=complexity, stated=stated or {})
        kinds = [(asked.verdicts(those), asked.rungs(those)) for those in _kinds(rows)]
        tested = [one for one in kinds if one[1] or any(verdict.outcome != "not tested" for verdict in one[0])]
        for found, rungs in tested or kinds[:1]:
            made += found
            ladder += rungs
    return Family(verdicts=_adjusted(made), ladder=tuple(ladder))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One claim, and its arguments."""

    claim: str | Claim
    margin: float | None
    complexity: ComplexitySpec | None
    stated: Mapping[float, int]

    def verdicts(self, rows: Sequence[Row]) -> list[Verdict]:
        """The verdicts at the stated densities; one if none are stated."""
        if not self.stated or not takes_level(self.claim):
            return [self.beside_dense(rows, self.judged(rows, None))]
        found = [(density, self.at(rows, level)) for density, level in self.stated.items()]
        return [self.beside_dense(rows, replace(one, density=density)) for density, one in found]

    def beside_dense(self, rows: Sequence[Row], verdict: Verdict) -> Verdict:
        """The verdict, with the comparison of own tickets and dense networks added."""
        return replace(verdict, still=_still(rows, verdict, self.margin))

    def rungs(self, rows: Sequence[Row]) -> list[Rung]:
        """The claim at every level at which it can be tested."""
        if not takes_level(self.claim):
            return []
        densities: dict[int, list[float]] = {}
        for row in rows:
            densities.setdefault(row["level"], []).append(row["density"])
        usual = self.judged(rows, None).level
        stated = set[int | None](self.stated.values()) or {usual}
        found = [(level, self.at(rows, level)) for level in sorted(densities.keys() - {0})]
        return [
            Rung(verdict=one, level=level, density=statistics.fmean(densities[level]), stated=level in stated)
            for level, one in found
            if one.outcome != "not tested"
        ]

    def at(self, rows: Sequence[Row], level: int) -> Verdict:
        """The verdict at one level."""
        return self.judged(_at(rows, level), level)

    def judged(self, rows: Sequence[Row], level: int | None) -> Verdict:
        """The verdict on rows of one kind."""
        (one,) = verdicts(rows, [self.claim], margin=self.margin, level=level, complexity=self.complexity)
        return replace(one, equal=rows[0].get("equal") if rows else None)


def _adjusted(made: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts with p adjusted over all that rest on different networks."""
    first: dict[object, int] = {}
    stands = [first.setdefault(_evidence(one), at) for at, one in enumerate(made)]
    tests = {at: one.test.p for at, one in enumerate(made) if one.test and one.test.p is not None}
    adjusted = holm({at: tests.get(at, 1.0) for at in first.values()})
    judged = []
    for at, one in enumerate(made):
        p = adjusted[stands[at]] if at in tests else None
        again = one.effect is not None and stands[at] != at
        notes = (*one.notes, *([f"The same networks as at equal {made[stands[at]].equal}: counted once."] * again))
        judged.append(replace(one, adjusted=p, family=len(first), notes=notes))
    return tuple(judged)


def _evidence(one: Verdict) -> object:
    """The evidence of a verdict: equal where the same networks were compared."""
    return one.claim, one.density, one.effect, tuple(each.paired for each in one.comparisons)


def _kinds(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows at equal epochs, at equal steps, and the rest, without settings that the others contain whole."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.get("equal") or "", []).append(row)
    rest = groups.pop("", [])
    elsewhere = {_network(row) for those in groups.values() for row in those}
    alone = {_network(row)[0] for row in rest if row.get("key") is None or _network(row) not in elsewhere}
    if rest := [row for row in rest if _network(row)[0] in alone]:
        groups[""] = rest
    return [groups[kind] for kind in sorted(groups)] or [[]]


def _network(row: Row) -> tuple[Setting, object, object]:
    """A row's setting without `equal`, its arm and its network."""
    return replace(setting_of(row), equal=None), row["arm"], row.get("key")


def _at(rows: Sequence[Row], level: int) -> list[Row]:
    """The rows of one level, and of the networks with all weights."""
    return [row for row in rows if row["level"] in (0, level)]


def _still(rows: Sequence[Row], verdict: Verdict, margin: float | None) -> Still | None:
    """Whether own tickets match dense networks where the verdict was decided; None where either is missing."""
    if verdict.level is None or not verdict.settings:
        return None
    study = grid(_at(rows, verdict.level))
    cells = [study.own(setting) for setting in verdict.settings]
    found = _pool([cell for cell in cells if cell and cell.dense and verdict.level in cell.levels], verdict.level)
    if found is None or found.effect is None:
        return None
    margin = margin or verdict.margin or verdict.settings[0].metric.margin
    outcome = "undecided" if margin is None else non_inferior(found.effect, margin)
    return Still(effect=found.effect, margin=margin, outcome=outcome)


def _pool(cells: Sequence[ClaimCell], level: int) -> Pool | None:
    pairs = [(cell, cell.dense) for cell in cells if cell.dense is not None]
    gains = [cell.setting.metric.gains(cell.levels[level].values, dense.values) for cell, dense in pairs]
    return pool(gains) if gains else None
