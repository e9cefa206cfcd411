"""Rows: what a benchmark found, as plain mappings that the table and the page are made of.

Keys: `what`, `value` (the median; None where nothing was measured) or `ratio`, `low`, `high`, `n`, `unit` ("x" for a
ratio), `note`; `target` such as "<= 1.05" where there is one, and `points`, what a chart is drawn from.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def row(what: str, values: Sequence[float], unit: str = "x", *, target: str = "", note: str = "") -> Row:
    """The row of some values: their median, lowest and highest.

    >>> found = row("a / b", [1.2, 1.0, 1.1], target="<= 1.05")
    >>> found["value"], found["low"], found["n"]
    (1.1, 1.0, 3)
    """
    facts = {"value": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}
    return {"what": what, **facts, "unit": unit, "target": target, "note": note}


def absent(what: str, why: str, *, unit: str = "x", target: str = "") -> Row:
    """The row of what was not measured here, and why."""
    facts = {"value": None, "low": None, "high": None, "n": 0}
    return {"what": what, **facts, "unit": unit, "target": target, "note": why}


def value(found: Row) -> float | None:
    """What was measured."""
    return found["value"] if "value" in found else found.get("ratio")


def bound(found: Row) -> tuple[str, float] | None:
    """The target, as "<=" or ">=" and a number; a bare number is the most that is allowed.

    >>> bound({"target": ">= 12 x"}), bound({"target": 1.05}), bound({})
    (('>=', 12.0), ('<=', 1.05), None)
    """
    words = str(found.get("target") or "").split()
    if not words:
        return None
    sign, number = words[:2] if words[0] in SIGNS else ("<=", words[0])
    return sign, float(number)


def verdict(found: Row) -> str:
    """ "met", "missed by 7 %", or "" without a target or a value.

    >>> verdict({"ratio": 1.1, "target": "<= 1.0"})
    'missed by 10 %'
    """
    measured, asked = value(found), bound(found)
    if measured is None or asked is None:
        return ""
    sign, number = asked
    if SIGNS[sign](measured, number):
        return "met"
    apart = measured / number - 1 if sign == "<=" else number / measured - 1
    return f"missed by {100 * apart:.2g} %" if apart < 1 else f"missed {1 + apart:.2g} times over"


SIGNS = {"<=": operator.le, ">=": operator.ge}
