"""What lies in a folder: images, folders with images, metadata, and what is none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oneticket.data.images.decode import is_image
from oneticket.ground.errors import DataError

SUFFIXES = frozenset(
    (
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
    )
)
"""Files that must be images. Others are images if their first bytes are an image's."""

DOCUMENTS = frozenset(
    (
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".md",
        ".html",
        ".pdf",
        ".py",
        ".ipynb",
        ".yaml",
        ".yml",
        ".db",
        ".npy",
        ".npz",
        ".mat",
        ".h5",
        ".parquet",
        ".arrow",
        ".zip",
        ".tar",
        ".gz",
        ".mp4",
        ".avi",
    )
)
"""Files that are not even opened: a set may hold one of them for each image."""

JUNK = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
DEEPEST = 32


@dataclass(frozen=True, kw_only=True)
class ScannedFolder:
    """One folder: the paths of its images and its visible folders, both sorted, and its other files with their reasons.

    `metadata`: those of the other files that may hold the labels of the images.
    """

    path: Path
    images: tuple[str, ...]
    folders: tuple[ScannedFolder, ...]
    metadata: tuple[Path, ...]
    others: tuple[tuple[str, str], ...]  # (reason, path)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    @property
    def filled(self) -> tuple[ScannedFolder, ...]:
        """The folders in it that hold images, at any depth."""
        return tuple(folder for folder in self.folders if next(folder.every_image(), None))

    def every_image(self) -> Iterator[str]:
        """Its images and those of all folders in it."""
        yield from self.images
        for folder in self.folders:
            yield from folder.every_image()

    def every_other(self) -> Iterator[tuple[str, str]]:
        """What is left out in it and in all folders in it, with the reasons."""
        yield from self.others
        for folder in self.folders:
            yield from folder.every_other()


def scan(path: Path, around: frozenset[tuple[int, int]] = frozenset()) -> ScannedFolder:
    """A folder with all that is in it, through links too. Hidden files, and what is no image, are left out.

    Raises DataError for what cannot be read, for a link that leads nowhere where an image should be, and for folders
    that nest deeper than 32.
    """
    images, folders, metadata, others = [], [], [], []
    try:
        state = path.stat()
        here = around | {(state.st_dev, state.st_ino)}
        with os.scandir(path) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.startswith(".") or entry.name.casefold() in JUNK:
                others += [("hidden", each) for each in _files(entry)]
            elif entry.is_dir():
                inside = entry.stat()
                if (inside.st_dev, inside.st_ino) in here:
                    others.append(("linked to a folder around it", entry.path))
                elif len(around) >= DEEPEST:
                    raise DataError(f"{entry.path}: folders nest deeper than {DEEPEST}; name a folder further in")
                else:
                    folders.append(scan(Path(entry.path), here))
            elif reason := _no_image(entry):
                others.append((reason, entry.path))
                metadata += [Path(entry.path)] if entry.name in METADATA else []
            else:
                images.append(entry.path)
    except OSError as error:
        raise DataError(
            f"{error.filename or path}: cannot be read: {error.strerror}; mend it, or move it elsewhere"
        ) from None
    return ScannedFolder(
        path=path,
        images=tuple(sorted(images)),
        folders=tuple(folders),
        metadata=tuple(metadata),
        others=tuple(others),
    )


def _no_image(entry: os.DirEntry[str]) -> str:
    """Why a file is not read; empty for an image."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if not entry.is_file():
        if entry.is_symlink() and suffix in SUFFIXES:
            raise DataError(
                f"{entry.path}: is a link to {os.readlink(entry.path)}, which is not there; fetch the image"
            )
        return "linked to nothing" if entry.is_symlink() else "not a file"
    if suffix in SUFFIXES:
        return ""
    return "not an image" if suffix in DOCUMENTS or not is_image(entry.path) else ""


def _files(entry: os.DirEntry[str]) -> list[str]:
    """The files in a hidden folder, or the hidden file."""
    if not entry.is_dir(follow_symlinks=False):
        return [entry.path]
    return [os.path.join(at, name) for at, _, names in os.walk(entry.path) for name in sorted(names)]
