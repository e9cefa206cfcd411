"""Facts of sets, kept under the digest of their files: what was read once is planned with from then on, unread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import oneticket
from oneticket.data.cache import Made, cached, keep_note, kept_note
from oneticket.data.data import Data
from oneticket.data.facts import Facts
from oneticket.data.find import find
from oneticket.data.overlap import Selection, selection
from oneticket.data.sources import DataRequest, DataSource
from oneticket.ground.errors import DataError

KIND = "facts of a set"


def kept_facts(request: DataRequest, *, fetch: bool) -> Facts | None:
    """The facts of a request whose very files were read before; their content is hashed, not decoded.

    `fetch`: whether to fetch a set that is not available from the Hub. Raises DataError for a missing set.
    """
    spec = request.spec
    if spec.beside:
        return None
    try:
        source = find(request, fetch=fetch)
    except OSError as error:
        raise DataError(
            f"dataset {spec.set!r}: {error.filename or spec.set} cannot be read: {error.strerror}"
        ) from error
    said = kept_note(KIND, _key(request, source)) if source.fingerprint else None
    found = Facts.read(said) if said else None
    # The set may now be read from another copy than before.
    if found is None or found.reading is None:
        return None
    return replace(found, reading=replace(found.reading, where=source.where))


def keep_facts(request: DataRequest, source: DataSource, facts: Facts) -> None:
    """Keep what was found out by reading it."""
    if source.fingerprint:
        keep_note(KIND, _key(request, source), facts.plain())


def kept_selection(request: DataRequest, read: Callable[[], Data]) -> Selection:
    """Which examples that is, likewise; `read` loads them where that is not known."""

    def make() -> Made:
        found = selection(read())
        ids = {"train": found.train, "test": found.test}
        return {name: torch.from_numpy(each.view(np.int64)) for name, each in ids.items()}, found.digest

    source = None if request.spec.beside else find(request, fetch=False)
    if source is None or not source.fingerprint:
        return selection(read())
    entry = cached(["selection", *_key(request, source)], make)
    train, test = (entry.tensors[name].numpy().view(np.uint64) for name in ("train", "test"))
    return Selection(digest=str(entry.note), train=train, test=test)


def _key(request: DataRequest, source: DataSource) -> list[Any]:
    """All that the facts depend on: the files, those next to them, the request, and the code that reads."""
    beside = [[each.count, each.reason, each.example] for each in source.left_out]
    like = request.inputs.plain() if request.inputs else None
    asked = [request.spec.plain(), request.targets, like, dict(source.options), source.streams]
    return [oneticket.__version__, source.fingerprint, beside, list(source.notes), *asked]
