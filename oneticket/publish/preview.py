"""The content of a ticket or book file without its tensors: header, counts and digests, read without PyTorch.

Anything doubtful is left to `ticket/file`, which accepts it or reports why not, so both refuse the same files.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oneticket.ground.brief import brief
from oneticket.ground.canon import digest
from oneticket.ground.errors import OneticketError
from oneticket.ticket import container, header, names
from oneticket.ticket.contract import Contract
from oneticket.ticket.density import Density

if TYPE_CHECKING:
    from oneticket.ticket.book import Book
    from oneticket.ticket.ticket import Ticket

MOST = 2**30
"""Bytes of weights above which the loader is used, which checks the available memory."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A tensor with a mask: its shape, and how many of its weights remain at each level; for a ticket once."""

    shape: tuple[int, ...]
    remaining: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The checked content of a file: `kind` is "ticket" or "book", the other fields as there.

    `levels`: of a book its last level; 0 for a ticket. `whole`: the number of weights of the whole model. `dense`: the
    tensors without a mask.
    """

    kind: str
    id: str
    contract: Contract
    model: Mapping[str, Any]
    lineage: Mapping[str, Any]
    layers: Mapping[str, Layer]
    dense: tuple[str, ...]
    whole: int
    levels: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = ()

    __repr__ = brief

    @property
    def weight_counts(self) -> tuple[Density, ...]:
        """For each level, how many weights remain, may be pruned, and are in the whole model."""
        each, total = self.layers.values(), sum(math.prod(layer.shape) for layer in self.layers.values())
        remaining = [sum(layer.remaining[level] for layer in each) for level in range(self.levels + 1)]
        return tuple(Density(remaining=each, total=total, whole=self.whole) for each in remaining)


def preview(path: str | os.PathLike[str]) -> Preview:
    """The preview of a file; raises FileError as `load` does."""
    meta, table, body = container.contents(path)
    try:
        found = READ[str(meta.get("kind"))](meta, table, header.parts(body, table))
    except (_Doubt, OneticketError, KeyError, TypeError, AttributeError, ValueError):
        found = None
    if found is None:
        from oneticket.ticket.file import load

        return preview_of(load(path))
    return found


def preview_of(thing: Ticket | Book) -> Preview:
    """The preview of a ticket or book in memory."""
    from oneticket.ticket.density import count_weights
    from oneticket.ticket.ticket import Ticket

    facts: dict[str, Any] = {"id": thing.id, "contract": thing.contract, "model": thing.model, "lineage": thing.lineage}
    facts["whole"] = count_weights(thing.weights)
    if isinstance(thing, Ticket):
        layers = {
            name: Layer(shape=thing.mask.shapes[name], remaining=(count,)) for name, count in thing.mask.counts.items()
        }
        facts |= {"kind": "ticket", "evidence": thing.evidence}
    else:
        layers = {
            name: Layer(shape=tuple(at.shape), remaining=_left(at.flatten().bincount(minlength=len(thing)).tolist()))
            for name, at in thing.pruned_at.items()
        }
        facts |= {"kind": "book", "levels": thing.levels, "records": [dict(one) for one in thing.records]}
    return Preview(layers=layers, dense=tuple(sorted(set(thing.weights) - set(layers))), **facts)


class _Doubt(Exception):
    """Something that the loader has to decide."""


def _ticket(meta: Mapping[str, Any], table: header.Table, parts: Mapping[str, memoryview]) -> Preview:
    groups = _groups(meta, table, parts, SHARED | {"shapes", "evidence"}, ("mask", "live", "full"))
    bits, live, full = groups["mask"], groups["live"], groups["full"]
    shapes = {name: header.shape(dims, name) for name, dims in sorted(meta["shapes"].items())}
    _sure(bits.keys() == live.keys() == shapes.keys() and not shapes.keys() & full.keys())
    _sure(sum(8 * math.prod(shape) for shape in shapes.values()) < MOST)
    layers, weights, masks = {}, dict(full), {}
    for name, shape in shapes.items():
        total, (code, dims, packed) = math.prod(shape), bits[name]
        remain = np.unpackbits(packed, bitorder="little")
        _sure(code == "U8" and dims == (-(-total // 8),) and not remain[total:].any())
        code, dims, values = live[name]
        count = int(remain.sum())
        _sure(code in FLOATS and dims == (count,))
        spread = np.zeros((total, header.WIDTHS[code]), np.uint8)
        spread[remain[:total].astype(bool)] = values.reshape(count, -1)
        weights[name] = code, shape, spread.reshape(-1)
        masks[name] = [list(shape), hashlib.sha256(packed.tobytes()).hexdigest()]
        layers[name] = Layer(shape=shape, remaining=(count,))
    known = {"kind": "ticket", "mask": digest(masks), "weights": _fingerprint(weights)}
    return _sound(meta, known, weights, layers, evidence=meta["evidence"])


def _book(meta: Mapping[str, Any], table: header.Table, parts: Mapping[str, memoryview]) -> Preview:
    groups = _groups(meta, table, parts, SHARED | {"levels", "records"}, ("full", "pruned"))
    weights, pruned, levels, records = groups["full"], groups["pruned"], meta["levels"], meta["records"]
    _sure(type(levels) is int and 0 <= levels <= 255 and type(records) is list and len(records) in (0, levels + 1))
    _sure(all(type(record) is dict for record in records))
    layers = {}
    for name, (code, shape, at) in sorted(pruned.items()):
        _sure(code == "U8" and name in weights and weights[name][1] == shape and weights[name][0] in FLOATS)
        deaths = np.bincount(at, minlength=levels + 1)
        _sure(len(deaths) == levels + 1)
        layers[name] = Layer(shape=shape, remaining=_left(deaths.tolist()))
    found = {"weights": _fingerprint(weights), "pruned_at": _fingerprint(pruned)}
    return _sound(meta, {"kind": "book", **found, "levels": levels}, weights, layers, levels=levels, records=records)


def _groups(
    meta: Mapping[str, Any],
    table: header.Table,
    parts: Mapping[str, memoryview],
    fields: frozenset[str],
    allowed: Sequence[str],
) -> dict[str, dict[str, _Values]]:
    """Tensors by group and name: dtype code, shape and bytes."""
    _sure(set(meta) == fields)
    groups: dict[str, dict[str, _Values]] = {group: {} for group in allowed}
    for full_name, (code, shape) in table.items():
        group, _, name = full_name.partition("/")
        groups[group][names.check(name, group)] = code, shape, np.frombuffer(parts[full_name], np.uint8)
    return groups


def _sound(
    meta: Mapping[str, Any],
    known: Mapping[str, Any],
    weights: Mapping[str, _Values],
    layers: Mapping[str, Layer],
    **more: Any,
) -> Preview:
    """The preview of a file that passes every check of the constructors and the loader."""
    contract, model, lineage = Contract.read(meta["contract"]), meta["model"], meta["lineage"]
    _sure(all(type(each) is dict for each in (model, lineage, more.get("evidence", {}))))
    _sure(meta["format"] == contract.format and set(contract.head_names) <= weights.keys())
    _sure(all(_finite(code, values) for code, _, values in weights.values()))
    said = {"contract": contract.plain(), "model": model, "lineage": lineage}
    _sure(digest({**known, **said}) == meta["id"])
    return Preview(
        kind=meta["kind"],
        id=meta["id"],
        contract=contract,
        model=model,
        lineage=lineage,
        layers=layers,
        dense=tuple(sorted(weights.keys() - layers.keys())),
        whole=sum(math.prod(shape) for code, shape, _ in weights.values() if code in FLOATS),
        **more,
    )


def _finite(code: str, values: NDArray[np.uint8]) -> bool:
    """Whether there is neither NaN nor infinity: no exponent is all ones. For bools, whether all bytes are 0 or 1."""
    if code == "BOOL":
        return not (values > 1).any()
    if code not in FLOATS:
        return True
    kind, ones = FLOATS[code]
    return not ((values.view(kind) & ones) == ones).any()


def _fingerprint(tensors: Mapping[str, _Values]) -> dict[str, list[object]]:
    sums = {name: hashlib.sha256(values.tobytes()).hexdigest() for name, (_, _, values) in tensors.items()}
    return {name: [code, list(shape), sums[name]] for name, (code, shape, _) in tensors.items()}


def _left(deaths: Sequence[int]) -> tuple[int, ...]:
    """How many weights remain at each level, given how many are pruned at each; those at 0 never are."""
    total, gone = sum(deaths), 0
    left = [total]
    for dead in deaths[1:]:
        gone += dead
        left.append(total - gone)
    return tuple(left)


def _sure(good: object) -> None:
    if not good:
        raise _Doubt


_Values = tuple[str, tuple[int, ...], NDArray[np.uint8]]

FLOATS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0000000000000),
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""The bits of an all-ones exponent, as an integer of the same width."""

SHARED = frozenset({"format", "kind", "id", "digest", "contract", "model", "lineage"})
READ = {"ticket": _ticket, "book": _book}
