"""The terminal: text is printed as it is, in characters that the terminal can show."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

PLAIN = {"—": "-", "−": "-", "×": "x", "±": "+-", "…": "...", "’": "'", "·": "-", "–": "-", "→": "->", "≥": ">="}
"""Replacements for characters of our own texts that a terminal may lack."""

TIED = re.compile(r"`[^`]{,40}`|\bn = \d+|\b\d+ %(?: CI\b)?|\d [kMG]?B\b|\b\d[\d,.]* (?:min|ms|h|s)\b|\S+ ± \S+")
"""What is not broken between two lines: short commands, numbers with their units, intervals."""


DRAWN: list[Callable[[], None]] = []
"""What takes away each line that is drawn for a while, such as the one that turns while files are read."""


@contextmanager
def drawn(away: Callable[[], None]) -> Iterator[None]:
    """Have a line that is drawn for a while taken away before anything else is printed."""
    DRAWN.append(away)
    try:
        yield
    finally:
        DRAWN.remove(away)


def out() -> Console:
    """Standard output."""
    return _console(stderr=False)


def err(*, quiet: bool = False) -> Console:
    """Standard error, for progress and for `tell`; silent if asked."""
    return _console(stderr=True, quiet=quiet)


def say(words: object = "", *, style: str = "") -> None:
    """A line, or some, on standard output."""
    show(out(), words, style=style)


def show(console: Console, words: object, *, style: str = "", hang: int = 0) -> None:
    """A line, or some; on a terminal they are broken between words, and what follows is indented by `hang`.

    A line that begins with a space, such as an example of a command, is left whole, and so is what goes into a file.
    """
    said = str(words).split("\n")
    if console.is_terminal:
        said = [part for line in said for part in (broken(line, console.width, hang) if line[:1] > " " else [line])]
    console.print(Text("\n").join(map(plain, said)), style=style, soft_wrap=True)


def paragraph(words: object, *, indent: int = 0, style: str = "") -> None:
    """A paragraph on standard output, indented; on a terminal broken between words where it ends."""
    console = out()
    for line in broken(str(words), max(20, console.width - indent)) if console.is_terminal else [str(words)]:
        console.print(Text(" " * indent) + plain(line), style=style, soft_wrap=True)


def broken(line: str, width: int, hang: int = 0) -> Iterator[str]:
    """The parts of a line that fit, broken between words; where it is a list with dots, after a dot.

    >>> [*broken("replicate 0 · level 7 · 21 %", 24, 2)]
    ['replicate 0 · level 7 ·', '  21 %']
    >>> [*broken("the mean of five, n = 5", 20)]
    ['the mean of five,', 'n = 5']
    """
    line = safe(line)
    if cell_len(line) <= width:
        yield line
        return
    listed = " · " in line and max(map(cell_len, line.split(" · "))) + hang + GAP <= width
    whole = re.split(r"(?<=·) ", line) if listed else words_of(line)
    begun = ""
    for word in whole:
        longer = f"{begun} {word}" if begun.strip() else f"{begun}{word}"
        if begun.strip() and cell_len(longer) > width:
            yield begun
            longer = " " * hang + word
        begun = longer
    yield begun


def words_of(line: str) -> list[str]:
    """The parts of a line between which it may be broken.

    >>> words_of("at 41 % of the weights (95 % CI 1.0 to 2.0, n = 5)")
    ['at', '41 %', 'of', 'the', 'weights', '(95 % CI', '1.0', 'to', '2.0,', 'n = 5)']
    """
    held = TIED.sub(lambda found: found[0].replace(" ", HELD), line)
    return [word.replace(HELD, " ") for word in held.split(" ")]


def say_json(value: object) -> None:
    """A value as JSON on standard output, for other programs."""
    out().print(Text(json.dumps(value, indent=2, default=_plain_json)), soft_wrap=True)


def tell(words: object, *, style: str = "", quiet: bool = False) -> None:
    """A line, or some, on standard error."""
    show(err(quiet=quiet), words, style=style, hang=GAP)


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


def leave_closed_terminal() -> None:
    """Send output to /dev/null if the terminal, or who read it, is gone: each line would be an error."""
    for number in (1, 2):
        waiting = select.poll()
        waiting.register(number)
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in waiting.poll(0)):
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number)
            os.close(nowhere)


def _console(*, stderr: bool, quiet: bool = False) -> Console:
    for away in DRAWN:
        away()
    return Console(stderr=stderr, quiet=quiet, markup=False, emoji=False, highlight=False)


def _plain_json(value: object) -> object:
    """What JSON has no form of: frozen mappings are mappings, all else is its text."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode("ascii")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(PLAIN.get(mark, _escaped(mark)) for mark in error.object[error.start : error.end]), error.end


HELD = "\0"  # stands for a space at which a line is not broken; in safe text there is none
GAP = 2  # spaces before what follows of a line that is broken
