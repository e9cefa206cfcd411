"""The terminal: text is printed as it is, in characters that the terminal can show."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

PLAIN = {"—": "-", "−": "-", "×": "x", "±": "+-", "…": "...", "’": "'"}
"""Replacements for characters of our own texts that a terminal may lack."""


def out() -> Console:
    """Standard output: as wide as the terminal or COLUMNS, or wide enough for most tables without either."""
    console = _console(stderr=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else _console(stderr=False, width=160)


def err(*, quiet: bool = False) -> Console:
    """Standard error, for progress and for `tell`; silent if asked."""
    return _console(stderr=True, quiet=quiet)


def say(words: object = "", *, style: str = "") -> None:
    """A line, or some, on standard output."""
    out().print(lines(words), style=style, soft_wrap=True)


def paragraph(words: object, *, indent: int = 0, style: str = "") -> None:
    """A paragraph on standard output, broken between words where the terminal ends, all of it indented."""
    console = out()
    for line in plain(words).wrap(console, max(20, console.width - indent)):
        console.print(Text(" " * indent) + line, style=style, soft_wrap=True)


def say_json(value: object) -> None:
    """A value as JSON on standard output, for other programs."""
    out().print(Text(json.dumps(value, indent=2, default=_plain_json)), soft_wrap=True)


def tell(words: object, *, style: str = "", quiet: bool = False) -> None:
    """A line, or some, on standard error."""
    err(quiet=quiet).print(lines(words), style=style, soft_wrap=True)


def plain(value: object) -> Text:
    """One line that a terminal shows literally: no markup, no emoji, control characters escaped."""
    return Text(safe(value))


def safe(value: object) -> str:
    """The same as text."""
    text = str(value)
    return text if text.isprintable() else "".join(mark if mark.isprintable() else _escaped(mark) for mark in text)


def lines(value: object) -> Text:
    """The same of words that may have several lines."""
    return Text("\n").join(map(plain, str(value).split("\n")))


def any_encoding() -> None:
    """Let standard output and error show every text: what their encoding lacks is written in other signs, or escaped.

    An encoding comes from the locale or PYTHONIOENCODING, and a file name may hold bytes that are no text in any.
    """
    codecs.register_error("oneticket", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="oneticket")


def _console(*, stderr: bool, quiet: bool = False, width: int | None = None) -> Console:
    return Console(stderr=stderr, quiet=quiet, width=width, markup=False, emoji=False, highlight=False)


def _plain_json(value: object) -> object:
    """What JSON has no form of: frozen mappings are mappings, all else is its text."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode("ascii")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(mark, _escaped(mark)) for mark in error.object[error.start : error.end]), error.end
