"""The report as plain Markdown, for a repository: the words and tables of the page, with figures as files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from oneticket.charts.picture import Picture, undrawn
from oneticket.report.contents import MASK_OR_WEIGHTS, SOURCES, Contents
from oneticket.report.judged import answers, comparisons, effect, standing
from oneticket.stats.report_table import ReportTable


def markdown(
    contents: Contents, pictures: Sequence[Picture], hero: Picture | None = None, method: Iterable[str] = ()
) -> str:
    """The report as Markdown, with links to pictures in `figures/`; `method` names the method's pictures there."""
    blocks = [f"# {_plain(contents.title)}", _plain(contents.note), _plain(contents.done)]
    blocks += [f"![The method](figures/{name})" for name in [*method][:1]] + ["## The answer"]
    blocks += [*map(_plain, contents.doubts)]
    blocks += ["\n".join(f"- {_plain(line)}" for line in answers(contents.verdicts))] if contents.verdicts else []
    blocks += [] if contents.verdicts else [_plain(contents.seen or "The study asks about no claim.")]
    blocks += [_table(contents.every_level)] if contents.every_level else []
    blocks += ["## " + _plain(hero.title), *_figure(hero)] if hero else []
    for verdict in contents.verdicts:
        blocks += [f"## {_plain(f'{verdict.name}: {verdict.outcome}')}", f"**{_plain(verdict.statement)}**"]
        blocks += [
            _plain(effect(verdict)),
            *map(_plain, standing(verdict)),
            _plain(verdict.rule),
            *map(_table, comparisons(verdict)),
            _plain(verdict.advice),
        ]
        blocks += ["\n".join(f"- {_plain(note)}" for note in verdict.notes)]
    blocks += _section("Design", [contents.design] if contents.design else [])
    blocks += ["## All figures"]
    for picture in pictures:
        blocks += [f"### {_plain(picture.title)}", *_figure(picture)]
    blocks += [_plain(undrawn(contents.figures, pictures))]
    apart = contents.taken_apart
    if apart.tables:
        blocks += [f"## {MASK_OR_WEIGHTS}", *map(_plain, apart.lines), *map(_table, apart.tables)]
    blocks += _section(SOURCES, contents.sources)
    blocks += _section("Tables", [*contents.tables, *([contents.stayed] if contents.stayed else [])])
    blocks += _section("Tables of differences to the dense network", contents.differences)
    blocks += _section("Missing", [contents.missing] if contents.missing else [])
    blocks += ["## Methods", *map(_plain, contents.methods)] if contents.methods else []
    blocks += _section("Cost", [contents.ledger] if contents.ledger else [])
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
    """The text on one line, with all characters escaped that Markdown reads as HTML, links, emphasis or cells."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))
