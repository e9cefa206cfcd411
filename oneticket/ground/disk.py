"""Writing a file so that it is there whole or not at all, and the folder for what can be made again."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path


def cache_folder() -> Path:
    """Where what can be made again is kept: ONETICKET_CACHE, or ~/.cache/oneticket."""
    return Path(os.environ.get("ONETICKET_CACHE") or "~/.cache/oneticket").expanduser()


def create(path: Path, data: bytes) -> bool:
    """Write a file unless it is there; of several processes that try at once, one alone is told True.

    Raises OSError; then nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = open(path, "xb")  # noqa: SIM115 - what fails to open must not be removed below
    except FileExistsError:
        return False
    try:
        with file:
            file.write(data)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return True


def replace(path: Path, data: bytes) -> None:
    """Write beside `path`, force to the disk, rename: a reader sees the old file or the new one, never a part.

    Raises OSError; then nothing is left behind and an existing file is untouched.
    """
    replace_all({path: data})


def replace_all(files: Mapping[Path, bytes]) -> None:
    """`replace` for files that belong together: none is renamed before every one is on the disk.

    Raises OSError; then nothing is left behind and, unless a rename was what failed, no existing file is touched.
    """
    beside = {path: path.with_name(_beside(path.name)) for path in files}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(beside[path], "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            os.replace(beside[path], path)
    except BaseException:
        for left in beside.values():
            with contextlib.suppress(OSError):
                os.unlink(left)
        raise


SHORT = 120
"""Bytes of a file name that every filesystem allows."""


def _beside(name: str) -> str:
    """A hidden name that nobody else has, no longer than `name` itself unless both are short.

    Filesystems allow 255 bytes, some fewer: a name that can be written must not fail for the one that comes before it.

    >>> _beside("rows.csv")[:10], len(_beside("n" * 255))
    ('.rows.csv.', 255)
    """
    ending = f".{uuid.uuid4().hex}"
    length = len(os.fsencode(name))
    room = max(length, SHORT) - len(ending) - 1
    kept = name if length <= room else os.fsencode(name)[:room].decode("utf-8", "ignore")
    return f".{kept}{ending}"
