"""Some replicates of a study: so it is divided among machines, each of which does its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from oneticket.ground.errors import SpecError
from oneticket.study.grid import Plan

MOST_DIGITS = 5


def of_replicates(plan: Plan, asked: str | int | Collection[int] | None, *, dashes: str = "") -> Plan:
    """The plan of those replicates alone: written as `6-9`, `0,3` or both, or as numbers; all of them for None.

    `dashes`: what stands before the setting's name in errors. Raises SpecError for words that name no replicates, for
    none, and for one that the study does not have.

    >>> of_replicates(Plan(name="mine", cells=()), "0-2")
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: replicates: mine has no replicates, got 0
    """
    if asked is None:
        return plan
    wanted, known = _numbers(asked, dashes), {cell.replicate for cell in plan.cells}
    if strange := sorted(wanted - known):
        raise SpecError(f"{dashes}replicates: {plan.name} has {_there(known)}, got {strange[0]}")
    return replace(plan, cells=tuple(cell for cell in plan.cells if cell.replicate in wanted))


def _numbers(asked: str | int | Collection[int], dashes: str) -> set[int]:
    wrong = SpecError(f"{dashes}replicates: expected replicates such as 6-9 or 0,3, got {asked!r}")
    if isinstance(asked, str):
        return {number for some in asked.split(",") for number in _span(some, wrong)}
    try:
        numbers = [asked] if isinstance(asked, int) else [*asked]
    except TypeError:
        raise wrong from None
    if not numbers or not all(type(number) is int for number in numbers):
        raise wrong
    return {*numbers}


def _span(some: str, wrong: SpecError) -> range:
    first, dash, last = (word.strip() for word in some.partition("-"))
    ends = (first, last) if dash else (first,)
    if not all(end.isdecimal() and len(end) <= MOST_DIGITS for end in ends) or int(ends[0]) > int(ends[-1]):
        raise wrong
    return range(int(ends[0]), int(ends[-1]) + 1)


def _there(known: Collection[int]) -> str:
    """Which replicates there are."""
    if not known:
        return "no replicates"
    first, last = min(known), max(known)
    if first == last:
        return f"the replicate {first} alone"
    apart = len(known) < last - first + 1
    return f"the replicates {', '.join(map(str, sorted(known))) if apart else f'{first} to {last}'}"
