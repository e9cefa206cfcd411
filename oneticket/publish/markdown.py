"""Parts of a card in Markdown: tables that are not endless, and lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

MOST_ROWS = 200


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of its first rows; its cells are escaped already.

    >>> print(table(("a", "b"), [("1", "2")]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    more = f"\n\n{len(lines) - MOST_ROWS} more rows are not shown." if len(lines) > MOST_ROWS else ""
    rows = [header, ["---"] * len(header), *lines[:MOST_ROWS]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + more


def bullets(facts: Iterator[tuple[str, str]]) -> str:
    """A list of names and values."""
    return "\n".join(f"- {name}: {value}" for name, value in facts)
