"""The plan of a study that a user names: a study file, one that is shipped, or a function of their own."""

from __future__ import annotations

import inspect
from pathlib import Path

from oneticket.ground.errors import SpecError
from oneticket.ground.own_source import renew
from oneticket.lottery.run_context import RunContext
from oneticket.study.file import read_study, with_lines
from oneticket.study.grid import Plan, plan


def plan_of(name: str, place: RunContext) -> Plan:
    """The plan of `studies/mine.toml`, of `demo` (one that is shipped), or what `mine.py:study` makes of a RunContext.

    Raises SpecError for a mistake in any of them, DataError for data that are not available.

    >>> plan_of("demo", RunContext()).claims
    ('C2',)
    """
    if ":" not in name or Path(name).exists():
        return _named(name, place)
    function = renew(name, "study")
    try:
        inspect.signature(function).bind(place)
    except TypeError as error:
        raise SpecError(f"study {name!r}: expected a function of one argument, a RunContext: {error}") from None
    made = function(place)
    if not isinstance(made, Plan):
        raise SpecError(f"study {name!r}: expected a function from a RunContext to a Plan, got {type(made).__name__}")
    return made


def _named(name: str, place: RunContext) -> Plan:
    try:
        study = read_study(Path(name))
        try:
            return plan(study, place)
        except SpecError as error:
            raise SpecError(with_lines(Path(name), str(error))) from None
    except SpecError as error:
        said = str(error)
        raise SpecError(said if said.startswith(str(Path(name))) else f"{name}: {said}") from None
