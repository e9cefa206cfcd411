"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.table import Table as Drawn

from oneticket.session.terminal import out, plain, safe, say
from oneticket.stats.report_table import ReportTable

if TYPE_CHECKING:
    from rich.console import Console

    from oneticket.study.rows import Row


def print_tables(rows: Sequence[Row], *, levels: Collection[int] | None = None) -> None:
    """Print the comparison: one table per target and optimizer, arms in rows, densities in columns."""
    from oneticket.stats.table import COLUMNS, tables

    shown = tables(rows, levels=levels)
    for table in shown:
        print_table(table)
    there = len({row["level"] for row in rows})
    if levels is None and there > COLUMNS:
        say(f"{COLUMNS} of {there} levels are shown; the rows have them all.")


def print_table(table: ReportTable) -> None:
    """Print one table, with its title above and its caption below; plain text where there is no terminal.

    A table that is too wide is broken between columns, and below the first part come the others, each with the first
    column again. Names and numbers are never broken.
    """
    console = out()
    console.print(plain(table.title), style="bold")
    header, *rows = _shown(table)
    if len(rows) > LONG or (not console.is_terminal and _natural(header, *rows) <= console.width):
        console.out("\n".join(_lines([header, *rows])), highlight=False)
        _caption(console, table)
        return
    for columns in blocks(table, console.width):
        drawn = Drawn(box=None)
        for number, width in columns.items():
            sentences = any(cell_len(row[number]) > WHOLE for row in rows)
            justify: Literal["left", "right"] = "right" if number and not sentences else "left"
            drawn.add_column(plain(header[number]), justify=justify, width=width, overflow="fold")
        for row in rows:
            drawn.add_row(*(plain(row[number]) for number in columns))
        console.print(drawn)
    _caption(console, table)


def _caption(console: Console, table: ReportTable) -> None:
    console.print(plain(table.caption), style="dim")
    console.print()


def _natural(*lines: Sequence[str]) -> int:
    """How wide lines are whose cells are whole."""
    return sum(max(map(cell_len, column)) + GAP for column in zip(*lines, strict=True))


def _lines(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Plain lines in whole columns, as wide as they are: what is piped is not broken, and what is long is not drawn."""
    columns = [*zip(*lines, strict=True)]
    widths = [max(map(cell_len, column)) for column in columns]
    right = [number and all(cell_len(cell) <= WHOLE for cell in column[1:]) for number, column in enumerate(columns)]
    for line in lines:
        spare = (" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        cells = (rest + cell if last else cell + rest for cell, rest, last in zip(line, spare, right, strict=True))
        yield "".join(f" {cell} " for cell in cells)


def blocks(table: ReportTable, width: int) -> list[dict[int, int]]:
    """The columns that are printed side by side, each with its width; the first one leads every block.

    >>> wide = ReportTable(title="", header=("name", "a", "b"), rows=(("one two", "1" * 9, "2" * 9),), caption="")
    >>> blocks(wide, 40)
    [{0: 7, 1: 9, 2: 9}]
    >>> blocks(wide, 20)
    [{0: 7, 1: 9}, {0: 7, 2: 9}]
    """
    cells = [*zip(*_shown(table), strict=True)]
    natural = [max(map(cell_len, column)) for column in cells]
    least = [min(wide, _least(column)) for column, wide in zip(cells, natural, strict=True)]
    made: list[dict[int, int]] = []
    for number in range(len(cells)):
        if not made or (len(made[-1]) > 1 and sum(least[each] + GAP for each in (*made[-1], number)) > width):
            made.append({0: natural[0]})
        made[-1][number] = natural[number]
    for block in made:
        while sum(block.values()) + GAP * len(block) > width:
            widest = max(block, key=lambda number: block[number] - least[number])
            if block[widest] <= least[widest]:
                break
            block[widest] -= 1
    return made


def _shown(table: ReportTable) -> list[tuple[str, ...]]:
    """Header and rows as they are printed: signs that are escaped are wider than what was written."""
    return [tuple(safe(cell) for cell in line) for line in (table.header, *table.rows)]


def _least(column: Sequence[str]) -> int:
    """How narrow a column may be: short cells are whole, long ones are broken between words."""
    return max(cell_len(part) for cell in column for part in ([cell] if cell_len(cell) <= WHOLE else cell.split()))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    drawn = Drawn(box=None, show_header=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in facts:
        drawn.add_row(plain(name), plain(value))
    out().print(drawn)


LONG = 100  # rows that are drawn; more are plain lines
GAP = 2  # spaces between columns
WHOLE = 22  # signs of a cell that is not broken
