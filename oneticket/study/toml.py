"""TOML files: read within limits that are checked before anything is built, with mistakes named by their place."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oneticket.ground.errors import SpecError

MOST_BYTES = 2**18
"""Bytes of one file. The longest that ships has 4,000."""

DEEPEST = 32
"""Tables and arrays within each other, and parts of a dotted key."""

LARGEST = 2**63 - 1
"""The largest whole number, which is TOML's own limit."""

MOST_DIGITS = 100
"""Digits of any number as it is written."""


def toml(path: Path) -> dict[str, Any]:
    """A TOML file as a mapping; SpecError, with the file and the place, for a mistake or a limit that is exceeded.

    Dotted keys and brackets are counted in the text, because the parser takes time and stack for deep ones.
    """
    text = ""
    try:
        text = _text(_bytes(path))
        _check_text(text)
        table = tomllib.loads(text)
        _check_values(table)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not a TOML file: {_placed(error, text)}") from None
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    return table


def located(path: Path, where: Sequence[str], said: str) -> str:
    """A message with the file and the line of its place; for an unknown field with the field's own line."""
    number = line_of(path, with_field(where, said))
    return f"{path}:{f'{number}:' if number else ''} {said}"


def with_field(where: Sequence[str], said: str) -> tuple[str, ...]:
    """The place that a message is about: for an unknown field the field's own.

    >>> with_field(("training",), "training: unknown field 'bacth'; did you mean 'batch'?")
    ('training', 'bacth')
    """
    field = _UNKNOWN.search(said)
    return (*where, field["name"]) if field else tuple(where)


def line_of(path: Path, where: Sequence[str]) -> int | None:
    """The line of a sound TOML file at which a place in it is first given, as far as the file goes there.

    None for a place of which the file has nothing at all. Found by halving: each statement ends with a line outside of
    texts and brackets, so that what stands before is TOML too.
    """
    try:
        text = _text(_bytes(path))
        ends = _ends(text)
        low, high, deep = 0, len(ends) - 1, depth_of(tomllib.loads(text), where)
        while low < high:
            middle = (low + high) // 2
            if depth_of(tomllib.loads(text[: ends[middle]]), where) >= deep:
                high = middle
            else:
                low = middle + 1
    except (OSError, ValueError, RecursionError, SpecError):  # it was read a moment ago, and is another file now
        return None
    begun = text[ends[low - 1] if low else 0 :]
    return text.count("\n", 0, len(text) - len(begun.lstrip())) + 1 if deep else None


def _ends(text: str) -> list[int]:
    """Where a part of the text may end and be TOML: behind every line that is not within brackets or a long text."""
    ends, depth, at = list[int](), 0, 0
    while found := _MARK.search(text, at):
        mark, at = found[0], found.end()
        if mark in _CLOSING:
            at = _end(text, at, mark)
        elif mark != "\n":
            depth = max(depth + (1 if mark in "[{" else -1), 0)
        elif depth == 0:
            ends.append(at)
    return [*ends, len(text)]


def depth_of(table: Any, where: Sequence[str]) -> int:
    """How many segments of a place exist; a key with dots takes several.

    >>> depth_of({"parts": {"v1.5": {"levels": [3]}}}, ("parts", "v1", "5", "levels", "0", "x"))
    5
    """
    at = 0
    while at < len(where):
        if isinstance(table, list) and where[at].isdigit() and int(where[at]) < len(table):
            table, at = table[int(where[at])], at + 1
            continue
        keys = ((end, ".".join(where[at:end])) for end in range(at + 1, len(where) + 1))
        found = next((each for each in keys if isinstance(table, Mapping) and each[1] in table), None)
        if found is None:
            break
        at, table = found[0], table[found[1]]
    return at


def _bytes(path: Path) -> bytes:
    """The content, of which no more is read than is allowed: a device may have no end."""
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise SpecError(f"more than {MOST_BYTES:,} bytes, which is the most that a TOML file may have here")
    return data


def _text(data: bytes) -> str:
    """UTF-8, after a byte order mark or not."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SpecError("is UTF-16, and TOML is UTF-8; save it as UTF-8")
    return data.decode("utf-8-sig").replace("\r\n", "\n")


def _check_text(text: str) -> None:
    """Refuse brackets and dotted keys that are too deep; what stands in texts and comments does not count."""
    bare = _bare(text)
    if deep := _DOTTED.search(bare):
        raise SpecError(f"line {_line(bare, deep.start())}: a key of more than {DEEPEST} parts, which is the most here")
    if long := _DIGITS.search(bare):
        raise SpecError(
            f"line {_line(bare, long.start())}: more than {MOST_DIGITS} digits, which is the most of a number here"
        )
    depth = 0
    for bracket in _BRACKET.finditer(bare):
        depth = max(depth + (1 if bracket[0] in "[{" else -1), 0)
        if depth > DEEPEST:
            raise SpecError(f"line {_line(bare, bracket.start())}: more than {DEEPEST} brackets within each other")


def _bare(text: str) -> str:
    """The text with an x and its line ends for everything quoted, and without comments, in one pass."""
    parts, at = [], 0
    while opened := _OPENING.search(text, at):
        end = _end(text, opened.end(), opened[0])
        lines = "\n" * text.count("\n", opened.start(), end)
        parts += [text[at : opened.start()], "" if opened[0] == "#" else "x", lines]
        at = end
    return "".join([*parts, text[at:]])


def _end(text: str, at: int, opening: str) -> int:
    """Where what was opened before `at` has its end, or the text has."""
    while found := _CLOSING[opening].search(text, at):
        if found[0] != "\\":
            return found.start() if found[0] == "\n" else found.end()
        at = found.end() + 1
    return len(text)


def _check_values(table: Mapping[str, Any]) -> None:
    """Refuse what is too deep once dotted keys are tables, and numbers that are not TOML's."""
    for path, value in _walk(table):
        place = ".".join(path[:6])
        if len(path) > DEEPEST:
            raise SpecError(f"{place}...: more than {DEEPEST} tables and arrays within each other")
        if type(value) is int and not -LARGEST - 1 <= value <= LARGEST:
            raise SpecError(f"{place}: a whole number has at most 64 bits, this one {value.bit_length()}")
        if isinstance(value, float) and not math.isfinite(value):
            raise SpecError(f"{place}: expected a number, got {value}")


def _walk(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value with its path, without recursion; nothing below what is too deep."""
    left: list[tuple[tuple[str, ...], Any]] = [((), table)]
    while left:
        path, value = left.pop()
        if path:
            yield path, value
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        left += [((*path, str(name)), each) for name, each in inner]


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _placed(error: Exception, text: str) -> str:
    """The error in one line; for what is open at the end of the text, with the line in which it begins."""
    said, at_end = _first(error), "(at end of document)"
    if at_end not in said:
        return said
    opened = _opened(text)
    if opened is None:
        return said.replace(at_end, f"(at line {_line(text, len(text.rstrip()))}, the last one)")
    begins = f"begins at line {_line(text, opened)}"
    return said.replace(at_end, f"that {begins}" if said.startswith("Un") else f"(at the end of what {begins})")


def _opened(text: str) -> int | None:
    """Where the innermost bracket or text begins that is open at the end; None if all are closed."""
    opened, at = list[int](), 0
    while found := _MARK.search(text, at):
        mark, at = found[0], found.end()
        if mark in _CLOSING:
            at = _end(text, at, mark)
            if len(mark) == 3 and (at < found.end() + 3 or text[at - 3 : at] != mark):
                return found.start()
        elif mark in "[{":
            opened.append(found.start())
        elif mark != "\n":
            del opened[-1:]
    return opened[-1] if opened else None


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


_UNKNOWN = re.compile(r""": unknown field (?P<quote>['"])(?P<name>.*?)(?P=quote)[;.]""")
_DOTTED = re.compile(rf"(?<![\w-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){{{DEEPEST},}}")
_DIGITS = re.compile(rf"[\d_]{{{MOST_DIGITS + 1}}}")
_BRACKET = re.compile(r"[\[\]{}]")
_MARK = re.compile("""\"{3}|'{3}|["'#\\[\\]{}\\n]""")

_OPENING = re.compile("""\"{3}|'{3}|["'#]""")
_CLOSING = {
    '"""': re.compile(r'"{3,5}|\\'),
    "'''": re.compile("'{3,5}"),
    '"': re.compile(r'["\\\n]'),
    "'": re.compile(r"['\n]"),
    "#": re.compile("\n"),
}
"""What ends each of TOML's four kinds of text, and a comment; a backslash takes the next sign along."""
