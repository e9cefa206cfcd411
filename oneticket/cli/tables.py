"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table as Drawn

from oneticket.cli.terminal import out, plain, say
from oneticket.stats.table import COLUMNS, ReportTable, tables

if TYPE_CHECKING:
    from oneticket.study.rows import Row


def print_tables(rows: Sequence[Row], *, levels: Collection[int] | None = None) -> None:
    """Print the comparison: one table per target and optimizer, arms in rows, densities in columns."""
    shown = tables(rows, levels=levels)
    for table in shown:
        print_table(table)
    there = len({row["level"] for row in rows})
    if levels is None and there > COLUMNS:
        say(f"{COLUMNS} of {there} levels are shown; the rows have them all.")


def print_table(table: ReportTable) -> None:
    """Print one table, with its title above and its caption below; plain text where there is no terminal."""
    drawn = Drawn(box=None)
    for number, name in enumerate(table.header):
        drawn.add_column(plain(name), justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(plain, row))
    console = out()
    console.print(plain(table.title), style="bold")
    console.print(drawn)
    console.print(plain(table.caption), style="dim")
    console.print()


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    drawn = Drawn(box=None, show_header=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in facts:
        drawn.add_row(plain(name), plain(value))
    out().print(drawn)
