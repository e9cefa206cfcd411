"""Where tickets are loaded from and saved to: a file, a folder, a `file://` URL, or a Hugging Face Hub repository."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from oneticket.ground import disk
from oneticket.ground.errors import FileError, WrongFileError
from oneticket.publish import remote
from oneticket.publish.card import card
from oneticket.publish.shipped import missing, named
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.names import listed
from oneticket.ticket.ticket import Ticket

NAMES = ("ticket.safetensors", "book.safetensors")
CARD = "README.md"
OURS = b'library_name: "oneticket"'
HERE = "path/to/this/folder"
"""A folder's path in its own card, since the folder may be moved."""
LARGEST = 4 * 2**30
"""Bytes above which a remote file is not fetched unless asked."""


def find(
    where: str | os.PathLike[str],
    *,
    revision: str | None = None,
    names: Sequence[str] = NAMES,
    largest: int = LARGEST,
) -> Path:
    """The local path of the first of `names` that exists: in a folder, or fetched from the Hub into its cache.

    A path to a file is that file; the name of a shipped ticket is its file if no path has that name. The file is not
    read. Raises FileError, with what was tried, for a missing place or file, for one outside its folder, and for one
    larger than `largest` bytes on the Hub.
    """
    place = parse(named(where) or where)
    if isinstance(place, str):
        return remote.fetch(place, revision, names, largest)
    if revision is not None:
        raise WrongFileError(
            f"{where}: revision {revision!r} was asked for, but only Hub repositories have any: leave it out"
        )
    if not os.path.lexists(place):
        raise WrongFileError(f"{place}: No such file or folder")
    if not place.is_dir():
        return place
    for name in names:
        if os.path.lexists(path := inside(place, name)):
            return path
    there = [entry.name for entry in place.iterdir() if entry.suffix == ".safetensors"]
    raise WrongFileError(
        f"{place}: the folder holds no {' or '.join(names)}; its ticket and book files: {listed(there)}"
    )


def publish(
    thing: Ticket | Book,
    where: str | os.PathLike[str],
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    license: str | None = None,
    data_license: str | None = None,
) -> str:
    """Save a ticket or book and its card to a folder or a Hub repository, both at once; returns their place.

    `license`, `data_license`: see `card.card`. For the Hub: whether a new repository is `private` (by default the
    account's setting), the branch `revision` (created if missing), the commit's `message`. Raises FileError and then
    leaves the folder or repository unchanged.

    >>> import tempfile
    >>> from oneticket.publish.shipped import shipped
    >>> folder = Path(tempfile.mkdtemp()) / "mine"
    >>> _ = publish(file.load(shipped()["digits-a"]), folder)
    >>> sorted(path.name for path in folder.iterdir())
    ['README.md', 'ticket.safetensors']
    """
    place = parse(where, writing=True)
    name, there = (place, place) if isinstance(place, str) else (place.absolute().name, HERE)
    text = card(thing, name=name, where=there, license=license, data_license=data_license)
    files = {NAMES[isinstance(thing, Book)]: file.pack(thing), CARD: text.encode()}
    if isinstance(place, str):
        return remote.commit(
            place, files, private=private, revision=revision, message=message or f"Add {next(iter(files))}"
        )
    for name, given in (("private", private), ("revision", revision), ("message", message)):
        if given:
            raise WrongFileError(f"{place}: {name!r} is for a Hub repository; this is a plain folder: leave it out")
    try:
        for path in (place / name for name in files):
            if (place.exists() and not place.is_dir()) or path.is_dir():
                raise WrongFileError(f"{path}: expected a folder with plain files in it; nothing was changed")
        _check_folder(place, other=NAMES[not isinstance(thing, Book)])
        disk.replace_all({place / name: data for name, data in files.items()})
    except OSError as error:
        raise FileError(f"{place}: cannot be written: {error.strerror}; nothing was changed") from error
    return str(place)


def _check_folder(folder: Path, *, other: str) -> None:
    """Refuse to replace the user's own README, or to leave a second file that could be taken for the published one."""
    if os.path.lexists(folder / other):
        raise WrongFileError(f"{folder}: holds {other} already; a folder holds one of them, choose another")
    if (readme := folder / CARD).is_file() and OURS not in readme.read_bytes()[: 2**16]:
        raise WrongFileError(f"{readme}: is there and is no ticket's card; choose another folder, or move it away")


def parse(where: str | os.PathLike[str], *, writing: bool = False, several: bool = False) -> Path | str:
    """A local path, or the id of a Hub repository (`several`: or of a user or collection); raises FileError.

    A local path comes first; a path object and a `file://` URL are always local, `hf://` never. A user is named with
    `hf://` only: a bare word is more likely a shipped ticket's name, misspelt. For `writing`, a new folder must look
    like one: ./name.

    >>> parse("hf://user/name"), parse("user/name"), parse("file:///some/folder").as_posix()
    ('user/name', 'user/name', '/some/folder')
    """
    if isinstance(where, os.PathLike):
        return Path(where)
    scheme, mark, rest = where.partition("://")
    kinds = "a Hub collection or repository" if several else "a Hub id, user/name"
    if mark and scheme == "file":
        url = urlsplit(where)
        if url.netloc not in ("", "localhost") or not url.path:
            raise WrongFileError(f"{where}: expected file:///folder/of/this/machine")
        return Path(url2pathname(url.path))
    pattern = _SEVERAL if several else remote.REPO
    if mark and scheme == "hf" and (pattern.fullmatch(rest) or (several and _USER.fullmatch(rest))):
        return rest
    if mark:
        raise WrongFileError(f"{where}: expected a file, a folder, file:///folder, or {kinds}, such as hf://user/name")
    path = Path(os.path.expanduser(where))
    if where and os.path.lexists(path):
        return path
    if pattern.fullmatch(where) and path.suffix != ".safetensors":
        if writing and os.path.lexists(path.parts[0]):
            raise WrongFileError(
                f"{where}: a folder {path.parts[0]!r} is here; say ./{where} to write into it, hf://{where} for the Hub"
            )
        return where
    if writing and where:
        if where[0] in "./~" or path.is_absolute():
            return path
        raise WrongFileError(
            f"{where}: no folder here, and not {kinds}; say ./{where} to make the folder, user/name for the Hub"
        )
    if _USER.fullmatch(where):
        hub = f"For a Hub user, write hf://{where}" if several else "A repository on the Hub is user/name"
        raise WrongFileError(f"{missing(where)}. {hub}")
    raise WrongFileError(f"{where or 'the empty path'}: No such file or folder, and not {kinds}")


def inside(folder: Path, name: str) -> Path:
    """`folder / name`; raises FileError for a name, or a link, that leads out of the folder.

    Links to blobs in a snapshot of the Hub's cache are allowed.
    """
    pure, root = PurePosixPath(name), folder.resolve()
    if not name or pure.is_absolute() or ".." in pure.parts or any(mark in name for mark in "\\:\0"):
        raise FileError(f"{folder}: the name {name!r} leads out of the folder; expected a plain name within it")
    try:
        real = (folder / name).resolve()
    except (OSError, RuntimeError):
        raise FileError(f"{folder / name}: a link to a file that does not exist") from None
    cached = root.parent.name == "snapshots" and real.is_relative_to(root.parent.parent / "blobs")
    if not cached and not real.is_relative_to(root):
        raise FileError(f"{folder / name}: a link that leads out of its folder, to {real}; name that file itself")
    return folder / name


_USER = re.compile(remote.WORD, re.ASCII)
_SEVERAL = re.compile(rf"{remote.REPO.pattern}|{remote.COLLECTION.pattern}", re.ASCII)
