"""Draws: which examples a replicate takes of sets with so many of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oneticket.data.spec import DataSpec
from oneticket.study.sources import Subsets


def drawn(data: DataSpec, replicate: int) -> DataSpec:
    """The data with the replicate's own draw, of several sets of each; a draw that is given stays.

    >>> drawn(DataSpec(name="digits", per_class=5), 3).draw, drawn(DataSpec(name="digits"), 3).draw
    (3, None)
    """
    first, *rest = (
        each.but(draw=replicate) if each.per_class is not None and each.draw is None else each for each in data.members
    )
    return first.but(beside=tuple(rest), temperature=data.temperature) if rest else first


def subset(data: DataSpec, replicate: int, subsets: Subsets) -> DataSpec:
    """The data of a replicate: the same for all, or with its own draw."""
    return data if subsets == "fixed" else drawn(data, replicate)


def without_draws(data: Sequence[DataSpec]) -> DataSpec | None:
    """What several data are but for their draws, in which they differ alone; None where they do not.

    >>> each = [DataSpec(name="digits", per_class=5, draw=number) for number in range(3)]
    >>> without_draws(each).draw, without_draws(each[:1]), without_draws([*each, DataSpec(name="mnist")])
    (None, None, None)
    """
    plain = [DataSpec.read(undrawn(one.plain())) for one in data]
    return plain[0] if len({*data}) > 1 and len({*plain}) == 1 else None


def draws(data: Mapping[str, Any]) -> Iterator[int | None]:
    """The draws of a plain spec of data, one for each of its sets that takes so many examples of a class."""
    return (each["draw"] for each in (data, *data["beside"]) if each["per_class"] is not None)


def undrawn(data: Mapping[str, Any]) -> dict[str, Any]:
    """A plain spec of data without draws, which is the same in all replicates."""
    return {**data, "draw": None, "beside": [{**each, "draw": None} for each in data["beside"]]}
