"""The report as one HTML page that needs nothing beside it: style, scripts, charts and their stills are all inside."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

import altair as alt
import vl_convert

from oneticket.charts.picture import Picture, undrawn
from oneticket.claims.claim import Verdict
from oneticket.report.contents import MASK_OR_WEIGHTS, Contents
from oneticket.report.judged import comparisons, effect, short, standing
from oneticket.stats.table import ReportTable

STILL = 400_000  # bytes: a larger still is a file beside the page only
SHOWN = 12  # rows of comparisons that are shown without being asked for
NUMBER = re.compile(r"[−<+]? ?\d|—$")


def html(told: Contents, pictures: Sequence[Picture]) -> str:
    """The page. Its policy forbids every connection, and every script but its own two; equal contents, equal text.

    Every text is escaped, also where it lies inside a chart.
    """
    parts = [
        ("answer", "The answer", _answer(told)),
        ("levels", "Every level", _table(told.every_level) if told.every_level else ""),
        ("claims", "Claim by claim", "\n".join(map(_claim, told.verdicts))),
        ("design", "Design", _table(told.design) if told.design else ""),
        ("figures", "Figures", "\n".join(map(_figure, pictures)) + _paragraphs([undrawn(told.figures, pictures)])),
        ("mask-or-weights", MASK_OR_WEIGHTS, _taken_apart(told)),
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
    scripts = [_library(), _file("page.js")] if pictures else [_file("page.js")]
    return Template(_file("page.html")).substitute(
        title=_text(told.title),
        policy=_policy(scripts),
        style=_file("page.css"),
        lead=_paragraphs([told.note]) + f'\n<p class="soft">{_text(told.done)}</p>',
        contents=_list(f'<a href="#{name}">{title}</a>' for name, title, _ in parts),
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


def _answer(told: Contents) -> str:
    if not told.verdicts:
        return _paragraphs([told.seen or "The study asks about no claim, or nothing of it is trained."])
    return _paragraphs(told.doubts) + f'<ol class="answers">\n{"".join(map(_card, told.verdicts))}</ol>'


def _card(verdict: Verdict) -> str:
    return (
        f'<li class="{MARKS[verdict.outcome]}"><a href="#{_slug(verdict.name)}">{_text(verdict.name)}</a> '
        f'<span class="outcome">{SIGNS[verdict.outcome]} {verdict.outcome}</span>\n'
        f"<p>{_text(verdict.statement)}</p>\n"
        f'<p class="soft">{_text(short(verdict))}</p>{_paragraphs(standing(verdict))}</li>\n'
    )


def _claim(verdict: Verdict) -> str:
    name = _slug(verdict.name)
    compared = comparisons(verdict)
    shown = _table(compared) if compared else ""
    if compared and len(compared.rows) > SHOWN:
        shown = _folded(f"All {len(compared.rows)} comparisons", shown)
    return (
        f'<article id="{name}" class="{MARKS[verdict.outcome]}" aria-labelledby="{name}-title">\n'
        f'<h3 id="{name}-title">{_text(verdict.name)}: {_text(verdict.statement)}</h3>\n'
        f'<p><span class="outcome">{SIGNS[verdict.outcome]} {verdict.outcome}</span>: {_text(effect(verdict))}</p>\n'
        f"{_paragraphs(standing(verdict))}\n"
        f"<p><b>Rule.</b> {_text(verdict.rule)}</p>\n{shown}\n"
        f"{_paragraphs([verdict.advice])}\n"
        f"{_list(map(escape, verdict.notes))}\n</article>"
    )


def _figure(picture: Picture) -> str:
    name, title = picture.name, _text(picture.title)
    files = ", ".join(f'<a href="figures/{file}">{Path(file).suffix[1:].upper()}</a>' for file in picture.files)
    still = "<p>The chart needs scripts; its files are linked below.</p>"
    if len(picture.still) <= STILL:
        data = base64.b64encode(picture.still).decode()
        still = f'<img alt="{title}" src="data:image/svg+xml;base64,{data}">'
    return (
        f'<figure id="figure-{name}" aria-labelledby="figure-{name}-title">\n'
        f'<h3 id="figure-{name}-title">{title}</h3>\n'
        f'<div class="scroll chart-box" role="region" aria-label="{title}" tabindex="0">'
        f'<div class="chart" data-spec="chart-{name}"></div>\n<noscript>{still}</noscript></div>\n'
        f'<figcaption>{_text(picture.caption)} <span class="files">{files}</span></figcaption>\n'
        f'<script type="application/json" id="chart-{name}">{_json({**picture.chart, "description": picture.title})}'
        f"</script>\n</figure>"
    )


def _taken_apart(told: Contents) -> str:
    lines, tables = told.taken_apart.lines, told.taken_apart.tables
    return "\n".join([_paragraphs(lines), *map(_table, tables)]) if tables else ""


def _tables(told: Contents) -> str:
    tables, differences = ("\n".join(map(_table, kind)) for kind in (told.tables, told.differences))
    tables += _table(told.stayed) if told.stayed else ""
    return tables + (_folded("The same as differences to the dense network", differences) if differences else "")


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n{body}\n</details>"


def _table(table: ReportTable) -> str:
    words = [not all(map(NUMBER.match, column)) for column in zip(*table.rows, strict=True)]
    kinds = [' class="word"' if word else "" for word in words]
    head = "".join(f'<th scope="col"{kind}>{_text(cell)}</th>' for cell, kind in zip(table.header, kinds, strict=True))
    body = "\n".join(
        f'<tr><th scope="row">{_text(row[0])}</th>'
        + "".join(f"<td{kind}>{_text(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{_text(table.title)}" tabindex="0">\n<table>\n'
        f"<caption>{_text(table.title)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n"
        f'</table></div>\n<p class="soft">{_text(table.caption)}</p>'
    )


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{_text(text)}</p>" for text in texts if text)


def _list(items: Iterable[str]) -> str:
    """A list of what is HTML already; nothing for none."""
    inside = "\n".join(f"<li>{item}</li>" for item in items)
    return f"<ul>\n{inside}\n</ul>" if inside else ""


def _text(text: str) -> str:
    """The text as HTML, its numbers and units kept on one line."""
    return escape(re.sub(r"(?<=[\dn=<±]) (?=[%=\d])", "\N{NO-BREAK SPACE}", text))


def _json(value: object) -> str:
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _slug(claim: str) -> str:
    """A claim's name as an id: letters and digits, whatever an own claim is called."""
    return "claim-" + "".join(letter if letter.isalnum() else f"-{ord(letter):x}-" for letter in claim)


@functools.cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed, as they draw the files too."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION))


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


VERSION = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
MARKS = {"holds": "holds", "fails": "fails", "undecided": "undecided", "not tested": "untested"}
SIGNS = {"holds": "✓", "fails": "✗", "undecided": "?", "not tested": "–"}
ROWS = """<p>Every trained network is a row of <a href="rows.csv">rows.csv</a> and
<a href="rows.parquet">rows.parquet</a>, under the key that it has in the store; cells that are not trained are in
<a href="missing.csv">missing.csv</a>, the verdicts in <a href="claims.csv">claims.csv</a>, masks and weights in
<a href="mask-or-weights.csv">mask-or-weights.csv</a>, and this page as plain text in
<a href="report.md">report.md</a>.</p>"""
