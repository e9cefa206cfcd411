"""Writing a file so that it is there whole or not at all, and the folder for what can be made again."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path


def cache_folder() -> Path:
    """Where what can be made again is kept: ONETICKET_CACHE, or ~/.cache/oneticket.

    A user without a home has one in the folder of temporary files.

    >>> cache_folder().is_absolute()
    True
    """
    asked = os.path.expanduser(os.environ.get("ONETICKET_CACHE") or "~/.cache/oneticket")
    if asked.startswith("~"):  # no HOME, and a user whom the system does not know
        asked = os.path.join(
            tempfile.gettempdir(), f"oneticket-{os.getuid()}" if hasattr(os, "getuid") else "oneticket"
        )
    return Path(os.path.abspath(asked))


def read(path: Path) -> bytearray:
    """All of a file, in memory that may be written to; raises OSError, also if it became shorter meanwhile."""
    with open(path, "rb") as file:
        data = bytearray(os.fstat(file.fileno()).st_size)
        if file.readinto(data) != len(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
    return data


def create(path: Path, data: bytes) -> bool:
    """Write a file unless it exists; of several processes that try at once, exactly one gets True.

    A reader sees all of it or none, if the filesystem has hard links. Raises OSError and then leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(_beside(path.name))
    try:
        with open(beside, "xb") as file:
            file.write(data)
        return _linked(beside, path) or _exclusive(path, data)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)


def replace(path: Path, data: bytes) -> None:
    """Write beside `path`, force to the disk, rename: a reader sees the old file or the new one, never a part.

    Once it returns, a power failure loses neither. Raises OSError; then nothing is left behind and an existing file is
    untouched, unless only the folder could not be forced to the disk: then the new file is there, perhaps not durably.
    """
    replace_all({path: data})


def replace_all(files: Mapping[Path, bytes]) -> None:
    """`replace` for files that belong together: none is renamed before every one is on the disk.

    Raises OSError; then nothing is left behind and, unless a rename was what failed, no existing file is touched.
    """
    beside = {path: path.with_name(_beside(path.name)) for path in files}
    folders = {path.parent for path in files}
    try:
        for path, data in files.items():
            folders |= _made(path.parent)
            with open(beside[path], "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            os.replace(beside[path], path)
        for folder in folders:
            _keep_names(folder)
    except BaseException:
        for left in beside.values():
            with contextlib.suppress(OSError):
                os.unlink(left)
        raise


def _made(folder: Path) -> set[Path]:
    """Make a folder, and those above it; the folders that have a new name in them."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return {each.parent for each in new}


def _keep_names(folder: Path) -> None:
    """Force a folder's names to the disk: until then a loss of power can undo a rename. Windows has no such call."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network filesystems do not support it
            raise
    finally:
        os.close(opened)


def _linked(beside: Path, path: Path) -> bool:
    """Give a complete file its name; FileExistsError if the name is taken, False without hard links."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError, AttributeError):
        return False
    return True


def _exclusive(path: Path, data: bytes) -> bool:
    file = open(path, "xb")  # noqa: SIM115 - what fails to open must not be removed below
    try:
        with file:
            file.write(data)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return True


SHORT = 120
"""Bytes of a file name that every filesystem allows."""


def _beside(name: str) -> str:
    """A unique hidden name, no longer than `name` itself unless both are short.

    Filesystems allow 255 bytes, some fewer: a name that can be written must not fail because of its temporary name.

    >>> _beside("rows.csv")[:10], len(_beside("n" * 255))
    ('.rows.csv.', 255)
    """
    ending = f".{uuid.uuid4().hex}"
    length = len(os.fsencode(name))
    room = max(length, SHORT) - len(ending) - 1
    kept = name if length <= room else os.fsencode(name)[:room].decode("utf-8", "ignore")
    return f".{kept}{ending}"
