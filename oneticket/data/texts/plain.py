"""A plain text file as a set: its first nine tenths are for training, its last tenth for test."""

from __future__ import annotations

from pathlib import Path

from oneticket.data.settle import settle
from oneticket.data.sources import DataRequest, DataSource, Raw, Split, fingerprint
from oneticket.data.texts.encode import VOCABULARY
from oneticket.data.texts.windows import check, parts, windows
from oneticket.ground.errors import DataError, FileError
from oneticket.ground.memory import afford

LENGTH = 32
"""Bytes of a window, where no length is asked for."""


def plain_text(path: Path, request: DataRequest) -> DataSource:
    """The bytes of a file, in windows, for the task language; raises DataError for any other task."""
    where, spec, like = str(path), request.spec, request.inputs
    if request.targets not in ("tokens", "given"):
        raise DataError(f"{where}: is a plain text; its task is language: --task language")
    length = spec.length or (like.shape[0] if like and like.kind == "tokens" else LENGTH)
    options = {"length": length, "half": spec.half}
    known, size = fingerprint([("txt", path)])

    def read() -> Raw:
        try:
            afford(20 * size, where)  # two arrays of int64, and the bytes themselves
        except FileError as error:
            raise DataError(str(error)) from None
        text = path.read_bytes()
        pieces = parts(text, spec.half)
        check(text, pieces, length, where)
        splits = {}
        for name, piece in pieces.items():
            inputs, targets = windows(piece, length)
            splits[name] = Split(inputs=inputs, targets=targets, origin=f"{ORIGINS[name, spec.half]} of the bytes")
        return settle(
            splits,
            (),
            where,
            kind="tokens",
            targets="tokens",
            vocabulary=VOCABULARY,
            noun=("window", "windows"),
            notes=[f"{len(text):,} bytes", *_not_utf8(text)],
        )

    return DataSource(where=where, fingerprint=known, read=read, options=options, halved=True)


def _not_utf8(text: bytes) -> list[str]:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return [f"It is not UTF-8 (byte {error.start}), and is read as bytes all the same"]
    return []


ORIGINS = {
    ("train", None): "the first 90 %",
    ("train", "a"): "the first half of the first 90 %",
    ("train", "b"): "the second half of the first 90 %",
    **{("test", half): "the last 10 %" for half in (None, "a", "b")},
}
"""What parts are called in the reading."""
