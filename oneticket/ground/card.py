"""Cards: a value as a small piece of HTML for a notebook, made of a title, facts, bars and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from oneticket.ground.door import door


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One line with a bar: a name, how far it is filled (0 to 1), and what that is in words."""

    name: str
    share: float
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """Bars under one title; of more than `MOST` the first are shown and the others counted as so many `what`."""

    title: str
    bars: Sequence[Bar]
    what: str = "layers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table with its title and caption: the first column is words, the others are numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What is shown of a value: plain words and numbers, no HTML. Empty facts are left out."""

    title: str
    facts: Sequence[tuple[str, object]] = ()
    parts: Sequence[Bars | Grid] = ()
    notes: Sequence[str] = ()


def card_by(path: str) -> Callable[[Any], str]:
    """A `_repr_html_`: the card that the function at `room.file:name` of this package makes of the value.

    It never raises: the card of a value that cannot be described, such as an unfinished one, says so.
    """

    def _repr_html_(self: Any) -> str:
        try:
            card = door(path)(self)
            return html(card)
        except Exception as error:  # a notebook would show a traceback in the place of the value
            text = f"This {type(self).__name__} is damaged or incomplete and cannot be shown: {type(error).__name__}"
            return html(Card(title=type(self).__name__, notes=[f"{text}: {error}"]))

    return _repr_html_


def html(card: Card) -> str:
    """The card as self-contained HTML that follows the page's colours, with no script and no link.

    Every text is escaped, stripped of control characters, and cut if it is long.

    >>> html(Card(title="<b>", facts=[("density", "5 %"), ("data", "")])).count("<b>")
    0
    """
    facts = "".join(
        f'<div style="{SOFT}">{text(name)}</div><div style="{WRAP}">{text(value, most=LONGEST)}</div>'
        for name, value in card.facts
        if value not in ("", None)
    )
    parts = [f'<div style="{FACTS}">{facts}</div>'] if facts else []
    parts += [_bars(part) if isinstance(part, Bars) else _grid(part) for part in card.parts]
    parts += [f'<div style="{SOFT};{ABOVE}">{text(note, most=LONGEST)}</div>' for note in card.notes if note]
    title = f'<div style="font-weight:600">{text(card.title)}</div>'
    return f'<div class="oneticket-card" style="{BOX}">{title}{"".join(parts)}</div>'


def text(value: object, *, most: int = 120) -> str:
    r"""A value in one escaped line of at most so many characters.

    >>> text("a<b\n"), text("x" * 9, most=5)
    ('a&lt;b', 'xxxx…')
    """
    text = "".join(mark if mark.isprintable() else " " for mark in str(value)[: 4 * most]).strip()
    return escape(text if len(text) <= most else f"{text[: most - 1]}…")


def _bars(part: Bars) -> str:
    lines = "".join(
        f'<div style="{PARTS}">{_parts(bar.name)}</div>{_bar(bar)}<div style="{LINE}">{text(bar.said)}</div>'
        for bar in part.bars[:MOST]
    )
    left = len(part.bars) - MOST
    more = f'<div style="{SOFT}">and {left:,} more {text(part.what)}</div>' if left > 0 else ""
    title = f'<div style="{SOFT};{ABOVE}">{text(part.title)}</div>'
    return f'{title}<div style="{BARS}">{lines}</div>{more}' if part.bars else ""


def _parts(name: str) -> str:
    """A name that is broken behind its dots and slashes where it has little room."""
    return re.sub(r"(?<=[./])(?=\w)", "<wbr>", text(name))


def _bar(bar: Bar) -> str:
    width = round(WIDTH * min(max(bar.share, 0.0), 1.0), 1)
    filled = f'<rect width="{width}" height="{HEIGHT}" rx="2" fill="{FILL}"/>' if width else ""
    empty = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="2" fill="currentColor" opacity="0.15"/>'
    return (
        f'<svg width="100%" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(bar.name)}: {text(bar.said)}">{empty}{filled}</svg>'
    )


def _grid(part: Grid) -> str:
    head = "".join(_cell("th", cell, first=number == 0) for number, cell in enumerate(part.header))
    body = "".join(f"<tr>{_line(row)}</tr>" for row in part.rows)
    caption = f'<div style="{SOFT}">{text(part.caption, most=LONGEST)}</div>' if part.caption else ""
    return (
        f'<div style="{ABOVE}">{text(part.title)}</div><div style="overflow-x:auto">'
        f'<table style="{TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{caption}'
    )


def _line(row: Iterable[str]) -> str:
    return "".join(_cell("td", cell, first=number == 0) for number, cell in enumerate(row))


def _cell(kind: str, value: str, *, first: bool) -> str:
    where = "left" if first else "right"
    style = (
        f"text-align:{where};vertical-align:top;padding:0.1em 0 0.1em {0 if first else APART};border:0;background:none"
    )
    return f'<{kind} style="{style}">{text(value) if first else _TIED.sub(NBSP, text(value))}</{kind}>'


NBSP = "\N{NO-BREAK SPACE}"
_TIED = re.compile(r"(?<=±) | (?=%)|(?<=\(n) | (?=\d+\))")
"""Spaces at which a number is not broken where a table has little room: before its interval it may be."""

MOST = 12  # bars of one part
LONGEST = 600  # characters of a note
WIDTH, HEIGHT = 96, 9  # pixels of a bar
FILL = "#3b8bc8"  # on white and on black more than 3 to 1

BOX = (
    "display:inline-block;box-sizing:border-box;max-width:100%;padding:0.6em 0.9em;border:1px solid "
    "rgba(128,128,128,0.45);border-radius:0.5em;line-height:1.45;font-size:0.95em;color:inherit;background:none"
)
FACTS = "display:grid;grid-template-columns:fit-content(38%) minmax(0,1fr);column-gap:1em"
BARS = (
    f"display:grid;grid-template-columns:auto minmax(24px,{WIDTH}px) max-content;column-gap:0.8em;"
    "align-items:center;justify-content:start"
)
APART = "clamp(0.25em,1.5vw,0.7em)"  # between columns, less on a telephone
TABLE = "border-collapse:collapse;margin:0;border:0;font-size:0.95em;color:inherit;width:auto"
SOFT = "opacity:0.75"
WRAP = "overflow-wrap:anywhere"
LINE = "white-space:nowrap"
PARTS = "overflow-wrap:break-word"
ABOVE = "margin-top:0.5em"
"""Styles stand in each element: what sanitizes notebooks drops style sheets, and a card must not touch the page's."""
