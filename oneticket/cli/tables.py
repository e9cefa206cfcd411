"""Tables on the terminal."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table as Drawn
from rich.text import Text

from oneticket.publish.score_tables import score_tables, scores_note
from oneticket.session.terminal import broken, out, plain, safe, say, show, words_of
from oneticket.stats.report_table import ReportTable
from oneticket.ticket.describe import Spoken, scores

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


def print_scores(thing: Spoken) -> None:
    """Print the scores in a ticket's file, as its card has them: one table per set and optimizer."""
    rows = list(scores(thing))
    for table in (shown := score_tables(rows)):
        caption = scores_note(rows) if table is shown[-1] else ""
        print_table(
            ReportTable(title=f"Scores on {table.place}", header=table.header, rows=table.rows, caption=caption)
        )


def print_table(table: ReportTable) -> None:
    """Print one table, with its title above and its caption below; where there is no terminal, in plain lines.

    A table that is too wide is broken between columns, and below the first part come the others, each with the first
    column again. Names and numbers are never broken.
    """
    console = out()
    if not console.is_terminal:
        _print_plain([(table.title,), *_shown(table), *([(table.caption,)] if table.caption else []), ()])
        return
    show(console, table.title, style="bold", hang=GAP)
    cells = _shown(table)
    for columns in blocks(cells, console.width):
        _print_lines(console, [[line[number] for number in columns] for line in cells], [*columns.values()])
    for line in broken(table.caption, console.width) if table.caption else ():
        console.print(plain(line), style="dim", soft_wrap=True)
    console.print()


def _print_plain(lines: Iterable[Sequence[str]]) -> None:
    """Print lines for other programs, with a tab between two cells: a tab in a cell is escaped."""
    file = out().file  # rich would turn tabs into spaces
    for line in lines:
        file.write("\t".join(map(safe, line)).rstrip() + "\n")


def _print_lines(console: Console, lines: Sequence[Sequence[str]], most: Sequence[int]) -> None:
    first, *others = _lines(lines, most)
    console.print(Text(first), style="bold", soft_wrap=True)
    console.out("\n".join(others), highlight=False)


def print_markdown(text: str) -> None:
    """Print Markdown of ours: on a terminal its tables as tables and its lines broken between words, else as it is."""
    console, code = out(), False
    if not console.is_terminal:
        say(text)
        return
    for tabular, lines in groupby(text.split("\n"), key=lambda line: line.startswith("| ")):
        if tabular:
            header, _, *rows = ([safe(cell).replace("\\|", "|") for cell in CELL.findall(line)] for line in lines)
            for columns in blocks([header, *rows], console.width):
                cells = [[line[number] for number in columns] for line in (header, *rows)]
                _print_lines(console, cells, [*columns.values()])
            continue
        for line in lines:
            code ^= line.startswith("```")
            show(console, line, hang=GAP * line.startswith("- ")) if not code else console.print(
                plain(line), soft_wrap=True
            )


def _lines(lines: Sequence[Sequence[str]], most: Sequence[int]) -> Iterator[str]:
    """The lines of a table whose columns are at most so wide; longer cells are broken between words."""
    columns = [*zip(*lines, strict=True)]
    widths = [min(width, max(map(cell_len, column))) for column, width in zip(columns, most, strict=True)]
    right = [number and all(cell_len(cell) <= WHOLE for cell in column[1:]) for number, column in enumerate(columns)]
    for line in lines:
        parts = [[*broken(cell, width)] for cell, width in zip(line, widths, strict=True)]
        for cells in zip_longest(*parts, fillvalue=""):
            spare = (" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
            placed = (
                rest + cell if last else cell + rest for cell, rest, last in zip(cells, spare, right, strict=True)
            )
            yield "".join(f" {cell} " for cell in placed)


def blocks(lines: Sequence[Sequence[str]], width: int) -> list[dict[int, int]]:
    """The columns that are printed side by side, each with its width; the first one leads every block.

    >>> wide = [("name", "a", "b"), ("one two", "1" * 9, "2" * 9)]
    >>> blocks(wide, 40)
    [{0: 7, 1: 9, 2: 9}]
    >>> blocks(wide, 20)
    [{0: 7, 1: 9}, {0: 7, 2: 9}]
    """
    cells = [*zip(*lines, strict=True)]
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
    """How narrow a column may be: short cells are whole, long ones and headers are broken between words."""
    header, *cells = column
    parts = [*words_of(header)]
    for cell in cells:
        parts += [cell] if cell_len(cell) <= WHOLE else words_of(cell)
    return max(map(cell_len, parts))


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    if not out().is_terminal:
        _print_plain((name, str(value)) for name, value in facts)
        return
    drawn = Drawn(box=None, show_header=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in facts:
        drawn.add_row(plain(name), plain(value))
    out().print(drawn)


CELL = re.compile(r"(?<=\| )(?:[^|\\]|\\.)*(?= \|)")
"""A cell of a table in Markdown."""

GAP = 2  # spaces between columns
WHOLE = 22  # signs of a cell that is not broken
