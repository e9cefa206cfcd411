"""HTML made of elements: every text and every attribute is escaped, what is HTML already is a value of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote, urlencode


class Html(str):
    """Text that is HTML already, since `tag` made it."""

    __slots__ = ()


Part = Html | str | int | None
"""What may stand in an element: HTML, text that is escaped, a number, or nothing."""


def shown(text: str) -> str:
    r"""A text with what cannot be shown, or hides or turns around what stands beside it, written out.

    >>> shown("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that change the direction of writing, and halves of a character: no page can hold those."""


def tag(name: str, /, *inside: Part, **attributes: Part | bool) -> Html:
    """An element. `class_` is the attribute `class`, `data_a` is `data-a`; None and False leave an attribute out.

    >>> tag("p", "a < b & c", class_="soft", hidden=True)
    '<p class="soft" hidden>a &lt; b &amp; c</p>'
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    words = "".join(
        f" {key}" if value is True else f' {key}="{escape(shown(str(value)))}"'
        for key, value in given.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{words}>" + ("" if name in VOID else f"{joined(*inside)}</{name}>"))


def joined(*parts: Part) -> Html:
    """Parts behind each other.

    >>> joined(tag("b", "x"), "<", None)
    '<b>x</b>&lt;'
    """
    return Html(
        "".join(
            part if isinstance(part, Html) else escape(shown(str(part))) for part in parts if part not in (None, "")
        )
    )


def link(words: Part, /, *steps: str, **query: str | int) -> Html:
    """A link to a page of the board; names in it are quoted.

    >>> link("a/b", "studies", "a/b", level=2)
    '<a href="/studies/a%2Fb?level=2">a/b</a>'
    """
    return tag("a", words, href=address(*steps, **query))


def address(*steps: str, **query: str | int) -> str:
    """The address of a page of the board."""
    path = "/" + "/".join(quote(step, safe="", errors="replace") for step in steps)
    return f"{path}?{urlencode(query)}" if query else path


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Part]], *, words: int = 1) -> Html:
    """A table that scrolls within its box; the first `words` columns are words, the others numbers.

    On a narrow screen every row is a block, and every cell a line that names its column.
    """
    kinds = ["word" if number < words else None for number in range(len(header))]
    head = (tag("th", name, scope="col", class_=kind) for name, kind in zip(header, kinds, strict=True))
    body = (tag("tr", tag("th", first, scope="row"), *map(_cell, rest, header[1:], kinds[1:])) for first, *rest in rows)
    drawn = tag("table", tag("caption", title), tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", drawn, class_="scroll table", role="region", aria_label=title, tabindex="0")


def _cell(cell: Part, name: str, kind: str | None) -> Html:
    kinds = [kind, "none" if cell in ("", "—") else None]
    return tag("td", cell, class_=" ".join(filter(None, kinds)) or None, data_label=name)


def section(name: str, title: str, *inside: Part) -> Html:
    """A section with its heading."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *inside, id=name, aria_labelledby=f"{name}-title")


def note(words: Part) -> Html:
    """A paragraph in a softer colour."""
    return tag("p", words, class_="soft")


def page(title: str, *inside: Part, store: str, every: float | None = None) -> Html:
    """A whole page. `every`: seconds after which it is looked at again; None for a page that stays."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} · oneticket board"),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href="/board.css"),
        tag("script", src="/board.js", defer=True),
    )
    menu = (
        tag("li", tag("a", words, href=address(*steps), aria_current="page" if words == title else None))
        for words, steps in MENU
    )
    where = tag("p", tag("b", "oneticket board"), " ", tag("span", store, class_="soft"))
    lost = tag("p", id="lost", role="status", hidden=True)
    still = tag("p", "Without JavaScript this page stays as it is until you load it again.", class_="soft")
    body = tag(
        "body",
        tag("nav", where, tag("ul", *menu), aria_label="Pages"),
        tag("div", lost, tag("main", tag("h1", title), *inside), class_="page"),
        None if every is None else tag("noscript", still),
        data_every=None if every is None else f"{every:g}",
    )
    return Html("<!DOCTYPE html>\n" + tag("html", head, body, lang="en"))


VOID = ("meta", "link", "input", "img", "br")
MENU = (("Overview", ()), ("Outcomes", ("outcomes",)), ("Compare two tickets", ("compare",)))
