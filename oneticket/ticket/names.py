"""Names: what a tensor's name may be, how errors list them, how datasets are joined, which files are books."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from oneticket.ground.errors import FileError, WrongFileError, WrongPruneError

LONGEST = 512


def check(name: object, what: str) -> str:
    """The name itself; raises PruneError unless it is text of 1 to 512 characters that UTF-8 can write."""
    if not isinstance(name, str):
        raise WrongPruneError(f"{what}: a name must be text, got {name!r}")
    if not 0 < len(name) <= LONGEST:
        raise WrongPruneError(f"{what}: a name must have 1 to {LONGEST} characters, got {len(name)}: {name[:40]!r}")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise WrongPruneError(f"{what}: the name {name!r} cannot be written as UTF-8")
    return name


def listed(names: Collection[str], most: int = 6) -> str:
    """Names for an error message, sorted, the tail counted.

    >>> listed({"b", "a", "c"}, most=2)
    'a, b and 1 more'
    """
    first = sorted(names)[:most]
    rest = len(names) - len(first)
    return (", ".join(first) or "none") + (f" and {rest} more" if rest else "")


def quoted(name: str) -> str:
    """A dataset's name as it stands in a joint name: in double quotes if it could be read as several.

    >>> quoted("cifar10"), quoted("./with+without")
    ('cifar10', '"./with+without"')
    """
    return json.dumps(name, ensure_ascii=False) if "+" in name or '"' in name else name


def joined(names: Iterable[str]) -> str:
    """The names of datasets as one; `separate` gives them back.

    >>> joined(["cifar10", "svhn"]), joined(["./with+without", "svhn"])
    ('cifar10+svhn', '"./with+without"+svhn')
    """
    return "+".join(map(quoted, names))


def separate(name: str) -> list[str]:
    """The names of datasets that `joined` made one; what stands behind a name in parentheses stays with it.

    >>> separate('"./with+without"+svhn(label="x+y")')
    ['./with+without', 'svhn(label="x+y")']
    """
    found = [part for part in _PARTS.findall(name) if part]
    return [_unquoted(part) for part in found] or [name]


_PARTS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^+])*')


def _unquoted(part: str) -> str:
    try:
        said, end = json.JSONDecoder().raw_decode(part)
    except ValueError:
        return part
    return said + part[end:] if isinstance(said, str) else part


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts names with numbers as people do: `layer2` before `layer10`.

    >>> sorted(["layer10.weight", "layer2.weight"], key=natural)
    ['layer2.weight', 'layer10.weight']
    """
    parts = re.split(r"(\d{1,9})", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def naturally(names: Iterable[str | None]) -> list[list[tuple[int, str]]]:
    """Sorts several names together, such as a network, its data and its optimizer; nothing comes first."""
    return [natural(str(name or "")) for name in names]


def book_file(folder: str | os.PathLike[str], replicate: int) -> Path:
    """Where a folder of books keeps a replicate.

    >>> book_file("books", 3).as_posix()
    'books/book-3.safetensors'
    """
    return Path(folder) / f"book-{replicate}.safetensors"


def book_files(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """Replicate -> file, of the books in a folder, in order; raises FileError if it cannot be listed."""
    try:
        found = [_BOOK.fullmatch(entry) for entry in os.listdir(folder)]
    except OSError as error:
        raise FileError(f"{folder}: cannot be listed: {error.strerror}") from error
    return {number: book_file(folder, number) for number in sorted(int(match[1]) for match in found if match)}


def books_in(folder: str | os.PathLike[str]) -> dict[int, Path]:
    """The same; FileError if there is none."""
    found = book_files(folder)
    if not found:
        raise WrongFileError(
            f"{folder}: the folder holds no book-0.safetensors; `oneticket find --out {folder}` makes one"
        )
    return found


_BOOK = re.compile(r"book-(0|[1-9]\d{0,8})\.safetensors")
