"""The report as one HTML page that needs no other file: it contains its style, scripts, charts and pictures."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from types import MappingProxyType

import altair as alt
import vl_convert

from oneticket.charts.picture import Picture, undrawn
from oneticket.claims.claim import Verdict
from oneticket.report.answers import answers, mark, said_outcome, slug, text
from oneticket.report.contents import MASK_OR_WEIGHTS, SOURCES, Contents
from oneticket.report.figures import figure, style
from oneticket.report.judged import SHOWN, by_claim, comparisons, effect, short, standing
from oneticket.stats.report_table import ReportTable
from oneticket.stats.words import MISSING

MANY = 3  # tables or sentences of one kind that are shown unfolded
NUMBER = re.compile(r"[−<+]? ?\d|—$")


def html(
    contents: Contents,
    pictures: Sequence[Picture],
    hero: Picture | None = None,
    method: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The page. Equal contents give equal text.

    `method` holds pictures of the method as SVG, for light and for dark pages, by the names of their files. The page's
    content security policy forbids every connection, and every script but its own two. Every text is escaped, also
    inside charts.
    """
    parts = [
        ("answer", "The answer", _answer(contents)),
        ("hero", hero.title if hero else "", figure(hero, heading=False) if hero else ""),
        ("levels", "Every level", _folded_if_long(contents.every_level) if contents.every_level else ""),
        ("claims", "Claim by claim", "\n".join(map(_claim, by_claim(contents.verdicts)))),
        ("design", "Design", _table(contents.design) if contents.design else ""),
        (
            "figures",
            "All figures",
            "\n".join(map(figure, pictures)) + _paragraphs([undrawn(contents.figures, pictures)]),
        ),
        ("mask-or-weights", MASK_OR_WEIGHTS, _taken_apart(contents)),
        ("sources", SOURCES, _several(contents.sources)),
        ("tables", "Tables", _tables(contents)),
        (
            "missing",
            "What is missing",
            _table(contents.missing) if contents.missing else "<p>Nothing: every cell is trained.</p>",
        ),
        ("methods", "Methods", _paragraphs(contents.methods)),
        ("cost", "Cost", _table(contents.ledger) if contents.ledger else ""),
        ("rows", "Rows", ROWS),
    ]
    parts = [part for part in parts if part[2]]
    claims = [those[0] for those in by_claim(contents.verdicts)]
    inside = {"claims": _list(f'<a href="#{slug(one.claim)}">{text(one.claim)}</a>' for one in claims)}
    scripts = [_library(), _file("page.js")] if pictures or hero else [_file("page.js")]
    return Template(_file("page.html")).substitute(
        title=text(contents.title),
        policy=_policy(scripts),
        style=_file("page.css") + style(),
        lead=_paragraphs([contents.note]) + f'\n<p class="soft">{text(contents.done)}</p>' + _method(method),
        contents=_list(f'<a href="#{name}">{title}</a>{inside.get(name, "")}' for name, title, _ in parts),
        sections="\n".join(_section(*part) for part in parts),
        footer="<p>Written by oneticket from the rows beside this page. It opens no connection.</p>",
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _policy(scripts: Iterable[str]) -> str:
    """The content security policy: scripts with these digests, inline style, and pictures inside the page only."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    own = " ".join(f"'sha256-{digest}'" for digest in digests)
    rules = ["default-src 'none'", f"script-src {own}", "style-src 'unsafe-inline'", "img-src data:"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def _section(name: str, title: str, body: str) -> str:
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n<h2 id="{name}-title">{title}</h2>\n{body}\n</section>'
    )


def _method(pictures: Mapping[str, str]) -> str:
    """The picture, with its words as alternative text; the page's colour scheme chooses between light and dark."""
    if not pictures:
        return ""
    light, dark = ("data:image/svg+xml;base64," + base64.b64encode(one.encode()).decode() for one in pictures.values())
    words = re.search(r'aria-label="([^"]*)"', next(iter(pictures.values())))
    return (
        f'\n<picture class="method"><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{words[1] if words else "The method"}" src="{light}"></picture>'
    )


def _answer(contents: Contents) -> str:
    if not contents.verdicts:
        return _paragraphs([contents.seen or "The study asks about no claim, or nothing of it is trained."])
    return _paragraphs(contents.doubts) + answers(contents.verdicts)


def _claim(verdicts: Sequence[Verdict]) -> str:
    """A claim with its verdicts; if there are several, each is folded, and only the first is open in print."""
    first, name = verdicts[0], slug(verdicts[0].claim)
    if len(verdicts) == 1:
        title = first.name
        body = f"<p>{said_outcome(first)}: {text(effect(first))}</p>\n{_judged(first)}"
    else:
        title = first.claim
        body = "\n".join(
            f'<details id="{slug(one.name)}" class="{mark(one)}{"" if one is first else " more"}">'
            f"<summary>{text(one.at)}: {said_outcome(one)}, {text(short(one))}</summary>\n{_judged(one)}\n</details>"
            for one in verdicts
        )
    return (
        f'<article id="{name}" class="{mark(first)}" aria-labelledby="{name}-title">\n'
        f'<h3 id="{name}-title">{text(title)}: {text(first.statement)}</h3>\n{body}\n</article>'
    )


def _judged(verdict: Verdict) -> str:
    """The details of one verdict, without its effect."""
    tables = comparisons(verdict)
    shown = _table(tables[0]) if len(tables) == 1 else ""
    if len(tables) > 1:
        shown = f"<p>The {len(verdict.comparisons)} comparisons, target by target:</p>\n" + "\n".join(
            _folded(f"{table.title.partition(': ')[2]} ({len(table.rows)})", _table(table)) for table in tables
        )
    return (
        f"{_paragraphs(standing(verdict))}\n"
        f"{shown}\n<p><b>Rule.</b> {text(verdict.rule)}</p>\n"
        f"{_paragraphs([verdict.advice])}\n"
        f"{_list(map(escape, verdict.notes))}"
    )


def _taken_apart(contents: Contents) -> str:
    lines, tables = contents.taken_apart.lines, contents.taken_apart.tables
    if not tables:
        return ""
    sentences = _paragraphs(lines)
    if len(lines) > MANY:
        sentences = _folded(f"In words ({len(lines)})", sentences, paper=False)
    return sentences + _several(tables)


def _tables(contents: Contents) -> str:
    differences = _several(contents.differences)
    made = _several(contents.tables) + (_table(contents.stayed) if contents.stayed else "")
    same = "The same as differences to the dense network"
    return made + (_folded(same, differences, paper=False) if differences else "")


def _several(tables: Sequence[ReportTable]) -> str:
    """Tables, one below the other; if there are more than `MANY`, all are folded and the first is open."""
    if len(tables) <= MANY:
        return "\n".join(map(_table, tables))
    folded = [_folded(table.title, _table(table)) for table in tables]
    return "\n".join([folded[0].replace("<details>", "<details open>", 1), *folded[1:]])


def _folded(title: str, body: str, *, paper: bool = True) -> str:
    """HTML that a click opens; print opens it too, unless `paper` is False."""
    kind = "" if paper else ' class="more"'
    return f"<details{kind}><summary>{text(title)}</summary>\n{body}\n</details>"


def _folded_if_long(table: ReportTable) -> str:
    return _table(table) if len(table.rows) <= SHOWN else _folded(f"{table.title} ({len(table.rows)})", _table(table))


def _table(table: ReportTable) -> str:
    words = [not all(map(NUMBER.match, column)) for column in zip(*table.rows, strict=True)]
    kinds = [' class="word"' if word else "" for word in words]
    head = "".join(f'<th scope="col"{kind}>{text(cell)}</th>' for cell, kind in zip(table.header, kinds, strict=True))
    body = "\n".join(
        f'<tr><th scope="row">{text(row[0])}</th>{"".join(map(_cell, row[1:], table.header[1:], words[1:]))}</tr>'
        for row in table.rows
    )
    return (
        f'<div class="scroll table" role="region" aria-label="{text(table.title)}" tabindex="0">\n<table>\n'
        f"<caption>{text(table.title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n"
        f'</table></div>\n<p class="soft">{text(table.caption)}</p>'
    )


def _cell(cell: str, label: str, word: bool) -> str:
    """A table cell with its column's name, since narrow screens show each cell as a line."""
    kind = "none" if cell in ("", MISSING) else "word" if word else ""
    named = f' class="{kind}"' if kind else ""
    # A line may break between a number and its interval, and nowhere else.
    inside = text(cell) if word else re.sub(r" (?![\[(])", "\N{NO-BREAK SPACE}", escape(cell))
    return f'<td{named} data-label="{escape(label)}">{inside}</td>'


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{text(words)}</p>" for words in texts if words)


def _list(items: Iterable[str]) -> str:
    """A list of items that are HTML already; empty without items."""
    inside = "\n".join(f"<li>{item}</li>" for item in items)
    return f"<ul>\n{inside}\n</ul>" if inside else ""


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed, in the versions that draw the files too."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION))


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
ROWS = """<p>Every trained network is a row of <a href="rows.csv">rows.csv</a> and
<a href="rows.parquet">rows.parquet</a>, under the key that it has in the store; cells that are not trained are in
<a href="missing.csv">missing.csv</a>, the verdicts in <a href="claims.csv">claims.csv</a>, masks and weights in
<a href="mask-or-weights.csv">mask-or-weights.csv</a>, and this page as plain text in
<a href="report.md">report.md</a>.</p>"""
