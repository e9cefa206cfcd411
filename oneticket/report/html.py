"""The report as one HTML page that needs nothing beside it: style, scripts, charts and their stills are all inside."""

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

MANY = 3  # tables or sentences of one kind that stand open
NUMBER = re.compile(r"[−<+]? ?\d|—$")


def html(
    told: Contents,
    pictures: Sequence[Picture],
    hero: Picture | None = None,
    method: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The page. Its policy forbids every connection, and every script but its own two; equal contents, equal text.

    `method`: the method's picture as SVG, for light pages and for dark ones, by the names of its files.

    Every text is escaped, also where it lies inside a chart.
    """
    parts = [
        ("answer", "The answer", _answer(told)),
        ("hero", hero.title if hero else "", figure(hero, heading=False) if hero else ""),
        ("levels", "Every level", _folded_if_long(told.every_level) if told.every_level else ""),
        ("claims", "Claim by claim", "\n".join(map(_claim, by_claim(told.verdicts)))),
        ("design", "Design", _table(told.design) if told.design else ""),
        ("figures", "All figures", "\n".join(map(figure, pictures)) + _paragraphs([undrawn(told.figures, pictures)])),
        ("mask-or-weights", MASK_OR_WEIGHTS, _taken_apart(told)),
        ("sources", SOURCES, _several(told.sources)),
        ("tables", "Tables", _tables(told)),
        (
            "missing",
            "What is missing",
            _table(told.missing) if told.missing else "<p>Nothing: every cell is trained.</p>",
        ),
        ("methods", "Methods", _paragraphs(told.methods)),
        ("cost", "Cost", _table(told.ledger) if told.ledger else ""),
        ("rows", "Rows", ROWS),
    ]
    parts = [part for part in parts if part[2]]
    claims = [those[0] for those in by_claim(told.verdicts)]
    inside = {"claims": _list(f'<a href="#{slug(one.claim)}">{text(one.claim)}</a>' for one in claims)}
    scripts = [_library(), _file("page.js")] if pictures or hero else [_file("page.js")]
    return Template(_file("page.html")).substitute(
        title=text(told.title),
        policy=_policy(scripts),
        style=_file("page.css") + style(),
        lead=_paragraphs([told.note]) + f'\n<p class="soft">{text(told.done)}</p>' + _method(method),
        contents=_list(f'<a href="#{name}">{title}</a>{inside.get(name, "")}' for name, title, _ in parts),
        sections="\n".join(_section(*part) for part in parts),
        footer="<p>Written by oneticket from the rows beside this page. It opens no connection.</p>",
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _policy(scripts: Iterable[str]) -> str:
    """Nothing from anywhere but the scripts of those digests, inline style, and pictures that lie in the page."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    own = " ".join(f"'sha256-{digest}'" for digest in digests)
    rules = ["default-src 'none'", f"script-src {own}", "style-src 'unsafe-inline'", "img-src data:"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def _section(name: str, title: str, body: str) -> str:
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n<h2 id="{name}-title">{title}</h2>\n{body}\n</section>'
    )


def _method(pictures: Mapping[str, str]) -> str:
    """The picture, its words as its alternative text; the page's colours choose between light and dark."""
    if not pictures:
        return ""
    light, dark = ("data:image/svg+xml;base64," + base64.b64encode(one.encode()).decode() for one in pictures.values())
    words = re.search(r'aria-label="([^"]*)"', next(iter(pictures.values())))
    return (
        f'\n<picture class="method"><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{words[1] if words else "The method"}" src="{light}"></picture>'
    )


def _answer(told: Contents) -> str:
    if not told.verdicts:
        return _paragraphs([told.seen or "The study asks about no claim, or nothing of it is trained."])
    return _paragraphs(told.doubts) + answers(told.verdicts)


def _claim(verdicts: Sequence[Verdict]) -> str:
    """A claim with what was found; of several verdicts each is folded, and the first alone opens on paper."""
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
    """What there is to say of one verdict beside its effect."""
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


def _taken_apart(told: Contents) -> str:
    lines, tables = told.taken_apart.lines, told.taken_apart.tables
    if not tables:
        return ""
    sentences = _paragraphs(lines)
    if len(lines) > MANY:
        sentences = _folded(f"In words ({len(lines)})", sentences, paper=False)
    return sentences + _several(tables)


def _tables(told: Contents) -> str:
    differences = _several(told.differences)
    made = _several(told.tables) + (_table(told.stayed) if told.stayed else "")
    same = "The same as differences to the dense network"
    return made + (_folded(same, differences, paper=False) if differences else "")


def _several(tables: Sequence[ReportTable]) -> str:
    """Tables one below the other; more than `MANY` of them are folded, the first one open."""
    if len(tables) <= MANY:
        return "\n".join(map(_table, tables))
    folded = [_folded(table.title, _table(table)) for table in tables]
    return "\n".join([folded[0].replace("<details>", "<details open>", 1), *folded[1:]])


def _folded(title: str, body: str, *, paper: bool = True) -> str:
    """What is opened by a click and, unless `paper` says no, in print."""
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
    """A cell, with its column's name for narrow screens, on which it is a line."""
    kind = "none" if cell in ("", MISSING) else "word" if word else ""
    named = f' class="{kind}"' if kind else ""
    # A number may be broken before its bounds, and nowhere else.
    inside = text(cell) if word else re.sub(r" (?![\[(])", "\N{NO-BREAK SPACE}", escape(cell))
    return f'<td{named} data-label="{escape(label)}">{inside}</td>'


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{text(words)}</p>" for words in texts if words)


def _list(items: Iterable[str]) -> str:
    """A list of what is HTML already; nothing for none."""
    inside = "\n".join(f"<li>{item}</li>" for item in items)
    return f"<ul>\n{inside}\n</ul>" if inside else ""


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed, as they draw the files too."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION))


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
ROWS = """<p>Every trained network is a row of <a href="rows.csv">rows.csv</a> and
<a href="rows.parquet">rows.parquet</a>, under the key that it has in the store; cells that are not trained are in
<a href="missing.csv">missing.csv</a>, the verdicts in <a href="claims.csv">claims.csv</a>, masks and weights in
<a href="mask-or-weights.csv">mask-or-weights.csv</a>, and this page as plain text in
<a href="report.md">report.md</a>.</p>"""
