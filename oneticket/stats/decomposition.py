"""Decompositions: how much of a transferred ticket's gain is its mask, and how much its weights.

A transferred ticket brings a mask and the k steps of training inside its rewound weights W_k. Its gain over the
target's own ticket is decomposed as in a two-by-two design, with mask and weights from the source or the target:

    ticket - own = mask + weights + interaction
    mask         = mask-only - own                              the source's mask over the target's own weights
    weights      = weights-only - own                           the target's own mask over the source's weights
    interaction  = ticket - mask-only - weights-only + own      the effect of both together beyond the sum

Two more effects are shown: of the weights without any mask, dense-rewound - dense, and of the masks over weights that
neither search trained, reinit - own-reinit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oneticket.ground.metric import Metric
from oneticket.lottery.arms import WHOLE, words_of
from oneticket.stats.regroup import parts, settled
from oneticket.stats.stats import Paired, paired
from oneticket.stats.summary import Line, Row, Setting, Summary, places, summary

Scores = Mapping[str, Mapping[int, float]]
"""Arm -> score by replicate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """A signed sum of arms' scores: `label` for tables and legends, and the `arms` with their signs."""

    label: str
    arms: Mapping[str, int]

    @property
    def formula(self) -> str:
        """The sum in words, such as `mask-only - own`.

        >>> EFFECTS["mask"].formula, EFFECTS["total"].formula
        ('mask-only - own', 'ticket - own')
        """
        said = " ".join(f"{'+' if sign > 0 else '-'} {arm}" for arm, sign in self.arms.items())
        return said.removeprefix("+ ")


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """The decomposition of one ticket at one level on one target. A value above 0 is a gain in any metric.

    `gains`: the effects in `EFFECTS` whose arms are all there, by name. Those of `PARTS` and `total` are over the same
    replicates, so that their means add up. `lacking`: in words, the missing arms and replicates of these. `where`: the
    target in words, with the part of the study if there are several.
    """

    setting: Setting
    source: Line
    level: int
    density: float
    part: str
    where: str
    gains: Mapping[str, Paired]
    lacking: tuple[str, ...]


def decompositions(rows: Iterable[Row]) -> list[Decomposition]:
    """One per target, ticket and level, for all tickets with an arm that decomposes them.

    Rows of different parts, and of sources at equal epochs and at equal steps (`equal`), are never mixed. Each effect
    is computed in each replicate; its mean has a 95 % Student t interval over replicates, None if n is 1. Nothing is
    filled in: a replicate without an arm is left out and named. Raises SpecError as `summary` does.

    >>> row = {"model": "mlp", "target_data": "b", "target_optimizer": "sgd", "level": 1, "density": 0.8}
    >>> own = {"source_data": "b", "source_optimizer": "sgd"}
    >>> other = {"source_data": "a", "source_optimizer": "sgd"}
    >>> scores = {"ticket": 0.95, "own": 0.90, "mask-only": 0.93, "weights-only": 0.91}
    >>> rows = [
    ...     {**row, **(own if arm == "own" else other), "replicate": 0, "arm": arm, "accuracy": score}
    ...     for arm, score in scores.items()
    ... ]
    >>> (one,) = decompositions(rows)
    >>> {name: round(each.difference.mean, 3) for name, each in one.gains.items()}
    {'total': 0.05, 'mask': 0.03, 'weights': 0.01, 'interaction': 0.01}
    """
    blocks, made = parts(rows), []
    for part, block in blocks.items():
        summaries = summary(settled(block))
        for setting, place in places(summaries).items():
            there = [one for one in summaries if one.setting == setting]
            for ticket in there:
                if ticket.line.arm != "ticket" or ticket.is_own_ticket:
                    continue
                values = _values(ticket, there)
                if not _taken_apart(values):
                    continue
                one = Decomposition(
                    setting=setting,
                    source=ticket.line,
                    level=ticket.level,
                    density=ticket.density,
                    part=part,
                    where=f"{part}: {place}" if len(blocks) > 1 else place,
                    gains=_gains(setting.metric, values),
                    lacking=_lacking(values),
                )
                made.append(one)
    return made


def _taken_apart(values: Scores) -> bool:
    """Whether any arm was trained that decomposes the ticket."""
    beside = (set(EFFECTS[name].arms) for name in ("weights-alone", "mask-alone"))
    return bool(values.keys() & {"mask-only", "weights-only"}) or any(arms <= values.keys() for arms in beside)


def _gains(metric: Metric, values: Scores) -> dict[str, Paired]:
    """The effects with all their arms; those that add up are over the replicates that all of their arms have."""
    crossed = {arm: values[arm] for arm in CROSSED if arm in values}
    shared = set.intersection(*map(set, crossed.values()))
    held = {**values, **{arm: {at: scores[at] for at in sorted(shared)} for arm, scores in crossed.items()}}
    found = {name: _gain(metric, effect, held) for name, effect in EFFECTS.items() if effect.arms.keys() <= held.keys()}
    return {name: gain for name, gain in found.items() if gain is not None}


def _values(ticket: Summary, there: Iterable[Summary]) -> Scores:
    """The scores by replicate of the ticket and of the arms to compare it with, by arm."""
    found: dict[str, Mapping[int, float]] = {}
    for one in there:
        if one.level != ticket.level and one.line.arm not in WHOLE:
            continue
        if one.is_own_ticket:
            found["own"] = one.values
        elif one.line == ticket.line or (one.line.arm != "ticket" and one.line.source in ("", ticket.line.source)):
            found[one.line.arm] = one.values
    return found


def _gain(metric: Metric, effect: Effect, values: Scores) -> Paired | None:
    replicates = set.intersection(*(set(values[arm]) for arm in effect.arms))
    if not replicates:
        return None
    sums = {
        replicate: sum(sign * values[arm][replicate] for arm, sign in effect.arms.items())
        for replicate in sorted(replicates)
    }
    gained = {replicate: metric.gain(value, 0.0) for replicate, value in sums.items()}
    return paired(gained, dict.fromkeys(gained, 0.0))


def _lacking(values: Scores) -> tuple[str, ...]:
    """What is missing of the four crossed arms, in words."""
    every = {replicate for arm in CROSSED for replicate in values.get(arm, {})}
    said = []
    for arm in CROSSED:
        named = words_of(arm).label
        if arm not in values:
            said.append(named)
        elif absent := sorted(every - values[arm].keys()):
            said.append(f"{named} (replicate{'s' * (len(absent) > 1)} {', '.join(map(str, absent))})")
    return tuple(said)


EFFECTS: Mapping[str, Effect] = {
    "total": Effect(label="ticket − own", arms={"ticket": 1, "own": -1}),
    "mask": Effect(label="mask", arms={"mask-only": 1, "own": -1}),
    "weights": Effect(label="weights", arms={"weights-only": 1, "own": -1}),
    "interaction": Effect(label="interaction", arms={"ticket": 1, "mask-only": -1, "weights-only": -1, "own": 1}),
    "weights-alone": Effect(label="weights without a mask", arms={"dense-rewound": 1, "dense": -1}),
    "mask-alone": Effect(label="mask with new weights", arms={"reinit": 1, "own-reinit": -1}),
}
"""All effects, in the order of tables."""

PARTS = ("mask", "weights", "interaction")
"""The effects that add up to `total`."""

CROSSED = ("ticket", "own", "mask-only", "weights-only")
"""The arms of these effects."""
