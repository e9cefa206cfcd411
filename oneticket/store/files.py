"""Files of a store: bytes by name, each there whole or not at all; in a local folder, or in memory."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from oneticket.ground import disk
from oneticket.ground.errors import StoreError, WrongStoreError
from oneticket.store.mark import Mark


class Files(Protocol):
    """Bytes by name under one URL. Every method raises StoreError, in words, when the place refuses.

    `location` opens the same files from anywhere. `url` is what to show of it: without a password.
    """

    url: str
    location: str

    def read(self, names: Iterable[str], *, end: int | None = None) -> dict[str, bytes]:
        """The content, or its first `end` bytes, of those that exist."""

    def size(self, name: str) -> int | None:
        """The length in bytes; None for a missing file."""

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Put each in place all at once; a reader sees the old content or the new, never a part."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a new file; True if it did not exist: of several processes that try, exactly one gets True."""

    def move(self, name: str, to: str) -> None:
        """Rename."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are fine."""

    def sizes(self, under: str = "") -> dict[str, int]:
        """The sizes of all files by name, or of those in one folder."""

    def stamps(self) -> dict[str, int] | None:
        """Folder -> a number that changes when a file in it is added, removed or replaced; None where there is none."""

    def marks(self, under: str = "") -> dict[str, Mark]:
        """The marks of all files by name, or of those in one folder, from one listing."""


class FolderFiles:
    """Files in a local folder, which is made when something is first written."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))
        self.url = self.location = str(self.path)

    def read(self, names: Iterable[str], *, end: int | None = None) -> dict[str, bytes]:
        """See `Files`."""
        found, most = {}, -1 if end is None else end
        with _errors_in_words("read", self.url):
            for name in names:
                try:
                    with open(f"{self.path}/{name}", "rb", opener=_at_once) as file:
                        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                            found[name] = file.read(most)
                except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    continue
        return found

    def size(self, name: str) -> int | None:
        """See `Files`."""
        with _errors_in_words("read", self.url), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self.path / name).stat().st_size
        return None

    def write(self, contents: Mapping[str, bytes]) -> None:
        """See `Files`; by a rename."""
        with _errors_in_words("write to", self.url):
            for name, data in contents.items():
                disk.replace(self.path / name, data)

    def create(self, name: str, data: bytes) -> bool:
        """See `Files`; by the system's exclusive creation."""
        with _errors_in_words("write to", self.url):
            return disk.create(self.path / name, data)

    def move(self, name: str, to: str) -> None:
        """See `Files`."""
        with _errors_in_words("write to", self.url):
            (self.path / name).rename(self.path / to)

    def remove(self, names: Iterable[str]) -> None:
        """See `Files`."""
        with _errors_in_words("write to", self.url):
            for name in names:
                (self.path / name).unlink(missing_ok=True)

    def sizes(self, under: str = "") -> dict[str, int]:
        """See `Files`."""
        return {name: mark.size for name, mark in self.marks(under).items()}

    def marks(self, under: str = "") -> dict[str, Mark]:
        """See `Files`; a replaced file is another one, and writing into a file changes its times."""
        with _errors_in_words("list", self.url):
            return dict(_marks(f"{self.path}/{under}".rstrip("/"), f"{under}/".lstrip("/")))

    def stamps(self) -> dict[str, int] | None:
        """See `Files`; the times of the folders' last changes. A change within the same tick of the clock leaves it."""
        found = {}
        with _errors_in_words("list", self.url):
            for folder in (self.path, *self.path.glob("*/"), *self.path.glob("format-*/*/")):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    if folder != self.path and folder.is_symlink():  # `marks` does not follow it either
                        continue
                    found[folder.relative_to(self.path).as_posix()] = folder.stat().st_mtime_ns
        return found


class ReadOnly:
    """Files for those who only look: what would change anything raises StoreError, and nothing is changed."""

    def __init__(self, files: Files) -> None:
        self._files, self.url, self.location = files, files.url, files.location

    def read(self, names: Iterable[str], *, end: int | None = None) -> dict[str, bytes]:
        """See `Files`."""
        return self._files.read(names, end=end)

    def size(self, name: str) -> int | None:
        """See `Files`."""
        return self._files.size(name)

    def sizes(self, under: str = "") -> dict[str, int]:
        """See `Files`."""
        return self._files.sizes(under)

    def marks(self, under: str = "") -> dict[str, Mark]:
        """See `Files`."""
        return self._files.marks(under)

    def stamps(self) -> dict[str, int] | None:
        """See `Files`."""
        return self._files.stamps()

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Refused."""
        raise self._refused(f"write {', '.join(contents)}")

    def create(self, name: str, data: bytes) -> bool:
        """Refused."""
        raise self._refused(f"create {name} of {len(data):,} bytes")

    def move(self, name: str, to: str) -> None:
        """Refused."""
        raise self._refused(f"rename {name} to {to}")

    def remove(self, names: Iterable[str]) -> None:
        """Refused."""
        raise self._refused(f"remove {', '.join(names)}")

    def _refused(self, what: str) -> StoreError:
        return StoreError(f"the store {self.url} was opened to be read alone; not done: {what}")


class MemoryFiles:
    """Files in this process's memory, for a run of which nothing is to be kept."""

    url = location = "memory:"

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def read(self, names: Iterable[str], *, end: int | None = None) -> dict[str, bytes]:
        """See `Files`."""
        return {name: self._files[name][:end] for name in names if name in self._files}

    def size(self, name: str) -> int | None:
        """See `Files`."""
        return len(self._files[name]) if name in self._files else None

    def write(self, contents: Mapping[str, bytes]) -> None:
        """See `Files`."""
        self._files.update(contents)

    def create(self, name: str, data: bytes) -> bool:
        """See `Files`."""
        return self._files.setdefault(name, data) is data

    def move(self, name: str, to: str) -> None:
        """See `Files`."""
        self._files[to] = self._files.pop(name)

    def remove(self, names: Iterable[str]) -> None:
        """See `Files`."""
        for name in list(names):
            self._files.pop(name, None)

    def sizes(self, under: str = "") -> dict[str, int]:
        """See `Files`."""
        folder = f"{under}/" if under else ""
        return {name: len(data) for name, data in list(self._files.items()) if name.startswith(folder)}

    def marks(self, under: str = "") -> dict[str, Mark]:
        """See `Files`; nothing here is worth an index."""
        return {name: Mark(size) for name, size in self.sizes(under).items()}

    def stamps(self) -> dict[str, int] | None:
        """See `Files`; none."""
        return None


def files_at(url: str | os.PathLike[str] | None) -> Files:
    """Those of a folder, of a URL that fsspec can open, or, of None, in memory; StoreError for no place at all."""
    if url is None:
        return MemoryFiles()
    given = os.fspath(url).removeprefix("file://")
    if not given.strip():
        raise WrongStoreError("a store needs a place: expected a folder or a URL, got an empty text")
    if "://" not in given:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", given):  # one letter is a drive
            raise WrongStoreError(
                f"{given}: expected a folder, or a URL such as s3://bucket/prefix; the folder is ./{given}"
            )
        return FolderFiles(given)
    from oneticket.store.remote import Remote  # which needs fsspec

    return Remote(given)


@contextlib.contextmanager
def _errors_in_words(doing: str, url: str) -> Iterator[None]:
    """Turn any error of a filesystem into StoreError, with its own words."""
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError is of a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot {doing} the store {url}: {reason}") from error


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe in place of a file must not hold up whoever reads."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextlib.contextmanager
def _no_file() -> Iterator[None]:
    """Nothing is said of a name behind which no file is: it was removed, or is a link to nowhere or to itself."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise


def _marks(folder: str, start: str) -> Iterator[tuple[str, Mark]]:
    """The plain files in a folder and those below it; what is removed meanwhile is left out."""
    try:
        with os.scandir(folder) as opened:
            entries = list(opened)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _marks(entry.path, f"{start}{entry.name}/")
            continue
        with _no_file():
            of = os.stat(entry.path)
            if not stat.S_ISREG(of.st_mode):
                continue
            proof = f"{of.st_ino}.{of.st_mtime_ns}.{of.st_ctime_ns}"
            yield f"{start}{entry.name}", Mark(of.st_size, proof, of.st_ctime_ns)
