"""A search with our own trainer from Python: the steps of `oneticket find`, kept in a store and found there again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from oneticket.engine.handlers import bind
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.session.run import run_steps
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.study.cells import Origin
from oneticket.study.draws import subset
from oneticket.study.origins import search_origin
from oneticket.study.sources import Subsets
from oneticket.study.spec import FindSpec
from oneticket.ticket.book import Book


def search(
    spec: SearchSpec | Mapping[str, Any],
    *,
    levels: int,
    replicate: int = 0,
    subsets: Subsets = "fixed",
    store: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    track: Sequence[str] = (),
    context: RunContext | None = None,
) -> Book:
    """Find tickets: train, prune and rewind, `levels` times (0 to 100), and return the book.

    It does what `oneticket find` does. `subsets`: of sets with `per_class` examples, the same ones in all replicates
    (`fixed`) or drawn anew for each (`replicate`). `store`: the folder or URL in which each finished level is kept and
    found again, here and by the command; None keeps nothing. `progress`: True shows it, False does not, None shows it
    in a notebook or at a terminal. `track`: trackers, such as `tensorboard:logs`. `context`: device, threads and so on.

    Raises SpecError when the rewind point lies beyond the training or a level would prune nothing, StoreError if the
    store refuses, KeyboardInterrupt after a checkpoint when interrupted, and what data, model and training raise.
    Frankle and Carbin 2019, arXiv 1803.03635.

    >>> quick = {"data": "digits:a", "model": "lenet-300-100", "training": {"budget": "1ep"}, "rewind": "1it"}
    >>> book = search(quick, levels=2)
    >>> [round(record["density"], 2) for record in book.records]
    [1.0, 0.8, 0.64]
    """
    asked, context, kept = SearchSpec.read(spec), context or RunContext(), Store(store)
    asked = of_replicate(FindSpec.read({"search": asked, "subsets": subsets}), replicate)
    origin = search_origin(asked, levels=levels, replicate=replicate, context=context)
    piles = run_steps(
        origin.levels, store=kept, context=context, progress=progress, track=track, read=bound(origin), each=True
    )
    if piles.failed:
        raise piles.failed[0][1]
    return book_of(origin, kept)


def of_replicate(asked: FindSpec, replicate: int) -> SearchSpec:
    """The search of one replicate, on its own draw of examples if that is asked for."""
    return asked.search.but(data=subset(asked.search.data, replicate, asked.subsets))


def bound(origin: Origin) -> tuple[Step, ...]:
    """The steps whose tensors make up a whole search's book."""
    return origin.rewind, origin.levels[-1]


def done_levels(origin: Origin, store: Store) -> int:
    """How many levels of a search are done, from level 0 on without a gap."""
    return sum(1 for _ in takewhile(store.has, origin.levels))


def book_of(origin: Origin, store: Store) -> Book:
    """The book of the levels that are done, of which level 0 must be."""
    done = origin.levels[: done_levels(origin, store)]
    records = [store.record(step) for step in done]
    return bind(done[0], (store.get(origin.rewind), store.get(done[-1])), records)
