"""Decompositions in words: tables, one sentence for each ticket, and flat rows for a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from oneticket.ground.metric import Metric
from oneticket.lottery.arms import words_of
from oneticket.stats.decomposition import EFFECTS, PARTS, Decomposition
from oneticket.stats.report_table import ReportTable
from oneticket.stats.stats import Paired
from oneticket.stats.table import lean
from oneticket.stats.words import MISSING, listed, percent, within

COLUMNS = (
    *("part", "equal", "model", "target_data", "target_optimizer", "head", "source_data", "source_optimizer"),
    *("level", "density", "metric", "unit", "better", "effect", "arms", "gain", "low", "high", "n", "p", "lacking"),
)
"""The columns of the file: one row for each ticket, level and effect."""


def decomposition_tables(found: Sequence[Decomposition]) -> tuple[ReportTable, ...]:
    """One table per target, with a row for every ticket and level and a column for every effect."""
    blocks: dict[tuple[str, str], list[Decomposition]] = {}
    for one in found:
        blocks.setdefault((one.setting.model, one.where), []).append(one)
    return tuple(
        _table(f"{model} on {where}", block, first=not number)
        for number, ((model, where), block) in enumerate(blocks.items())
    )


def decomposition_lines(found: Sequence[Decomposition]) -> list[str]:
    """One sentence for each ticket on each target, at the sparsest level with the most effects.

    >>> from oneticket.stats.decomposition import decompositions
    >>> row = {"model": "mlp", "target_data": "b", "target_optimizer": "sgd", "level": 1, "density": 0.8}
    >>> own = {"source_data": "b", "source_optimizer": "sgd"}
    >>> other = {"source_data": "a", "source_optimizer": "sgd"}
    >>> scores = {"ticket": 0.95, "own": 0.90, "mask-only": 0.93, "weights-only": 0.91}
    >>> rows = [
    ...     {**row, **(own if arm == "own" else other), "arm": arm, "replicate": n, "accuracy": score + n * score / 100}
    ...     for arm, score in scores.items() for n in (0, 1)
    ... ]
    >>> print(*decomposition_lines(decompositions(rows)))  # doctest: +NORMALIZE_WHITESPACE
    Mask or weights, at 80 % of the weights on b under sgd: the ticket from a (sgd) minus the target's own,
    +5.0 [4.7, 5.3] points of accuracy, is mask +3.0 [2.8, 3.2], weights +1.0 [0.9, 1.1], and
    interaction +1.0 [0.9, 1.1] (95 % intervals, n = 2).
    """
    tickets: dict[tuple[Any, ...], list[Decomposition]] = {}
    for one in found:
        tickets.setdefault((one.setting, one.where, one.source), []).append(one)
    chosen = [max(levels, key=lambda one: (len(one.gains), one.level)) for levels in tickets.values()]
    models = len({one.setting.model for one in chosen}) > 1
    return [_sentence(one, f"{one.where} ({one.setting.model})" if models else one.where) for one in chosen]


def decomposition_rows(found: Iterable[Decomposition]) -> list[dict[str, Any]]:
    """Flat rows with the columns `COLUMNS`; effects whose arms are missing have no numbers."""
    return [_row(one, name) for one in found for name in EFFECTS if name in one.gains or name in ("total", *PARTS)]


def _sentence(one: Decomposition, where: str) -> str:
    gains, metric = one.gains, one.setting.metric
    named = f"the ticket from {one.source.source}" if one.source.source else "the ticket"
    start = f"Mask or weights, at {percent(one.density)} of the weights on {where}: "
    gained = {name: within(gain.difference, metric, signed=True) for name, gain in gains.items()}
    said = []
    if "total" in gains:
        parts = [f"{EFFECTS[name].label} {gained[name]}" for name in PARTS if name in gains]
        total = f"{named} minus the target's own, {gained['total']} {metric.gained_in}"
        shown = f", is {listed(parts)}" if len(parts) == len(PARTS) else "".join(f"; {part}" for part in parts)
        n = gains["total"].difference.n
        said.append(f"{total}{shown}{f' (95 % intervals, n = {n})' if n > 1 else ''}")
    if lone := [f"{words} {gained[name]}" for name, words in PHRASES.items() if name in gains]:
        said.append(listed(lone))
    if one.lacking:
        said.append(f"not trained: {listed(one.lacking)}")
    return f"{start}{'; '.join(said)}."


def _table(title: str, block: Sequence[Decomposition], *, first: bool) -> ReportTable:
    shown = [name for name in EFFECTS if any(name in one.gains for one in block)]
    rows = []
    for one in block:
        total = one.gains.get("total")
        n = str(total.difference.n) if total else MISSING
        cells = [_cell(one.gains.get(name), n, one.setting.metric) for name in shown]
        rows.append((one.source.source or MISSING, percent(one.density), *cells, n))
    lacking = [
        f"Not trained for {one.source.source} at {percent(one.density)}: {'; '.join(one.lacking)}."
        for one in block
        if one.lacking
    ]
    caption = _caption(block[0], shown) if first else f"In {block[0].setting.metric.gained_in}, as above."
    table = ReportTable(
        title=title,
        header=("ticket from", "weights kept", *(EFFECTS[name].label for name in shown), "n"),
        rows=tuple(rows),
        caption=" ".join([caption, *lacking]),
    )
    return lean(table)


def _caption(one: Decomposition, shown: Sequence[str]) -> str:
    """The caption: what each column means, and that the intervals are not adjusted for their number."""
    meanings = [f"{EFFECTS[name].label}: {_meaning(name)}" for name in shown if name != "total"]
    return (
        f"Gains in {one.setting.metric.gained_in}, paired by replicate: means with their 95 % Student t intervals, not "
        f"adjusted for their number; a value with another n than its row says so. {'; '.join(meanings)}."
    )


def _meaning(name: str) -> str:
    """The two networks that an effect compares, in words."""
    if name == "interaction":
        return "the rest, so that mask + weights + interaction is ticket − own"
    better, worse = (words_of(arm).phrase for arm in EFFECTS[name].arms)
    return f"{better}, minus {worse}"


def _cell(gain: Paired | None, usual: str, metric: Metric) -> str:
    if gain is None:
        return MISSING
    n = gain.difference.n
    return within(gain.difference, metric, signed=True) + (f" (n = {n})" if n != 1 and str(n) != usual else "")


def _row(one: Decomposition, name: str) -> dict[str, Any]:
    found, setting, effect = one.gains.get(name), one.setting, EFFECTS[name]
    return {
        "part": one.part or None,
        "equal": setting.equal,
        "model": setting.model,
        "target_data": setting.data,
        "target_optimizer": setting.optimizer,
        "head": setting.head,
        "source_data": one.source.data,
        "source_optimizer": one.source.optimizer,
        "level": one.level,
        "density": one.density,
        **setting.metric.plain(),
        "effect": name,
        "arms": effect.formula,
        "gain": found and found.difference.mean,
        "low": found and found.difference.low,
        "high": found and found.difference.high,
        "n": found.difference.n if found else 0,
        "p": found and found.p,
        "lacking": "; ".join(one.lacking) or None,
    }


PHRASES = {
    "weights-alone": "without any mask the source's weights bring",
    "mask-alone": "with new weights its mask instead of the target's brings",
}
"""The words of a sentence for effects that are not part of the sum."""
