"""The report as plain Markdown, for a repository: the same words and tables as the page, its figures as files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from oneticket.charts.picture import Picture, undrawn
from oneticket.report.contents import MASK_OR_WEIGHTS, SOURCES, Contents
from oneticket.report.judged import answers, comparisons, effect, standing
from oneticket.stats.report_table import ReportTable


def markdown(
    told: Contents, pictures: Sequence[Picture], hero: Picture | None = None, method: Iterable[str] = ()
) -> str:
    """The report as Markdown; the pictures are those that lie in `figures/`, the method's by the names of its files."""
    blocks = [f"# {_plain(told.title)}", _plain(told.note), _plain(told.done)]
    blocks += [f"![The method](figures/{name})" for name in [*method][:1]] + ["## The answer"]
    blocks += [*map(_plain, told.doubts)]
    blocks += ["\n".join(f"- {_plain(line)}" for line in answers(told.verdicts))] if told.verdicts else []
    blocks += [] if told.verdicts else [_plain(told.seen or "The study asks about no claim.")]
    blocks += [_table(told.every_level)] if told.every_level else []
    blocks += ["## " + _plain(hero.title), *_figure(hero)] if hero else []
    for verdict in told.verdicts:
        blocks += [f"## {_plain(f'{verdict.name}: {verdict.outcome}')}", f"**{_plain(verdict.statement)}**"]
        blocks += [
            _plain(effect(verdict)),
            *map(_plain, standing(verdict)),
            _plain(verdict.rule),
            *map(_table, comparisons(verdict)),
            _plain(verdict.advice),
        ]
        blocks += ["\n".join(f"- {_plain(note)}" for note in verdict.notes)]
    blocks += _section("Design", [told.design] if told.design else [])
    blocks += ["## All figures"]
    for picture in pictures:
        blocks += [f"### {_plain(picture.title)}", *_figure(picture)]
    blocks += [_plain(undrawn(told.figures, pictures))]
    if told.taken_apart.tables:
        blocks += [f"## {MASK_OR_WEIGHTS}", *map(_plain, told.taken_apart.lines), *map(_table, told.taken_apart.tables)]
    blocks += _section(SOURCES, told.sources)
    blocks += _section("Tables", [*told.tables, *([told.stayed] if told.stayed else [])])
    blocks += _section("Tables of differences to the dense network", told.differences)
    blocks += _section("Missing", [told.missing] if told.missing else [])
    blocks += ["## Methods", *map(_plain, told.methods)] if told.methods else []
    blocks += _section("Cost", [told.ledger] if told.ledger else [])
    return "\n\n".join(block for block in blocks if block) + "\n"


def _figure(picture: Picture) -> list[str]:
    return [f"![{_plain(picture.title)}](figures/{picture.files[0]})", _plain(picture.caption)]


def _section(title: str, tables: Iterable[ReportTable]) -> list[str]:
    blocks = [_table(table) for table in tables]
    return [f"## {title}", *blocks] if blocks else []


def _table(table: ReportTable) -> str:
    lines = [_line(table.header), "|" + "---|" * len(table.header), *map(_line, table.rows)]
    title = f"**{_plain(table.title)}**" if table.title else ""
    return "\n\n".join(part for part in (title, "\n".join(lines), _plain(table.caption)) if part)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """The text on one line, with what would be read as HTML, a link, emphasis or a cell's end escaped."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))
