"""Ticket and book files: how they are stored in a container, and what is refused on reading."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from oneticket.ground.errors import FileError, OneticketError, unknown
from oneticket.ground.memory import afford
from oneticket.ticket import container, header
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.ticket import Ticket


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """The facts of a file, all derived from its tensors. Counts are of weights under the (sparsest) mask."""

    path: str
    kind: str
    id: str
    digest: str
    format: int
    size: int
    tensors: int
    total: int
    remaining: int
    levels: int

    @property
    def density(self) -> float:
        """remaining / total; 1.0 for an empty mask."""
        return self.remaining / self.total if self.total else 1.0


def save(thing: Ticket | Book, path: str | os.PathLike[str]) -> None:
    """Write a ticket or a book. Equal values give equal bytes; a failure leaves an existing file intact.

    A ticket's file holds its masks bit-packed and only the remaining values: at 5 % density less than a tenth of the
    dense checkpoint. Raises FileError if the file cannot be written.

    >>> import tempfile
    >>> from oneticket.ticket.contract import Contract
    >>> book = Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0))
    >>> path = Path(tempfile.mkdtemp()) / "book.safetensors"
    >>> save(book, path)
    >>> load(path).id == book.id, verify(path).kind
    (True, 'book')
    """
    container.write(path, pack(thing))


def load(path: str | os.PathLike[str]) -> Ticket | Book:
    """Read a ticket or a book and check its digest; see `save` for an example.

    Raises FileError for a file that is damaged or something else. Nothing is returned in part.
    """
    return _read(path)[1]


def verify(path: str | os.PathLike[str]) -> FileFacts:
    """Read a file and check every statement in it against its tensors; see `save` for an example.

    Raises FileError for any contradiction.
    """
    meta, thing = _read(path)
    mask = thing.mask if isinstance(thing, Ticket) else thing.mask(thing.levels)
    return FileFacts(
        path=os.fspath(path),
        kind=meta["kind"],
        id=meta["id"],
        digest=meta["digest"],
        format=meta["format"],
        size=Path(path).stat().st_size,
        tensors=len(thing.weights),
        total=mask.total,
        remaining=mask.remaining,
        levels=0 if isinstance(thing, Ticket) else thing.levels,
    )


def pack(thing: Ticket | Book) -> bytes:
    """The bytes of a file."""
    kind = "ticket" if isinstance(thing, Ticket) else "book"
    meta: dict[str, Any] = {
        "kind": kind,
        "id": thing.id,
        "contract": thing.contract.plain(),
        "model": dict(thing.model),
        "lineage": dict(thing.lineage),
    }
    if isinstance(thing, Ticket):
        shapes = {name: list(shape) for name, shape in thing.mask.shapes.items()}
        meta |= {"shapes": shapes, "evidence": dict(thing.evidence)}
        return container.encode(meta, _ticket_tensors(thing), format=thing.contract.format)
    tensors = {f"full/{name}": tensor for name, tensor in thing.weights.items()}
    tensors |= {f"pruned/{name}": tensor for name, tensor in thing.pruned_at.items()}
    meta |= {"levels": thing.levels, "records": [dict(one) for one in thing.records]}
    return container.encode(meta, tensors, format=thing.contract.format)


def _ticket_tensors(ticket: Ticket) -> dict[str, Tensor]:
    tensors = {f"mask/{name}": bits for name, bits in ticket.mask.pack().items()}
    for name, tensor in ticket.weights.items():
        if name in ticket.mask:
            tensors[f"live/{name}"] = tensor[ticket.mask[name]]
        else:
            tensors[f"full/{name}"] = tensor
    return tensors


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Ticket | Book]:
    meta, tensors = container.read(path)
    try:
        return meta, build(meta, tensors)
    except OneticketError as error:
        raise FileError(f"{path}: {container.plain(error)}") from None


def build(meta: dict[str, Any], tensors: dict[str, Tensor]) -> Ticket | Book:
    """The ticket or book of a container's content, every claim checked; raises an error without the path."""
    name = meta.get("kind")
    if not isinstance(name, str) or name not in _KINDS:
        raise FileError(unknown("kind", name, _KINDS))
    kind = _KINDS[name]
    if set(meta) != kind.fields:
        wrong = set(meta) ^ kind.fields
        raise FileError(f"metadata of a {name}: expected {listed(kind.fields, most=20)}; wrong: {listed(wrong)}")
    groups = _groups(tensors, kind.groups)
    thing = kind.build(meta, groups)
    if meta["format"] != thing.contract.format:
        raise FileError(
            f"format {meta['format']}, but its contract.head is of format {thing.contract.format}: several outputs "
            "are format 2, everything else is format 1"
        )
    if thing.id != meta["id"]:
        raise FileError("the id is not the id of what the file holds")
    return thing


def _groups(tensors: Mapping[str, Tensor], allowed: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    """`group/name` -> tensor, as group -> name -> tensor."""
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in allowed}
    for full_name, tensor in tensors.items():
        group, _, name = full_name.partition("/")
        if group not in groups or not name:
            raise FileError(f"unexpected tensor {full_name!r}; expected names under {', '.join(allowed)}")
        groups[group][name] = tensor
    return groups


def _ticket(meta: dict[str, Any], groups: dict[str, dict[str, Tensor]]) -> Ticket:
    bits, live, full = groups["mask"], groups["live"], groups["full"]
    shapes = {name: header.shape(dims, f"shapes[{name!r}]") for name, dims in _mapping(meta, "shapes").items()}
    for what, found in (("mask/", bits), ("live/", live)):
        if set(found) != set(shapes):
            wrong = listed(set(found) ^ set(shapes))
            raise FileError(f"missing or unexpected tensors under {what}: {wrong}")
    if both := set(shapes) & set(full):
        raise FileError(f"tensors both masked and whole: {listed(both)}")
    mask = Mask.unpack(bits, shapes)
    spread = sum(math.prod(shapes[name]) * live[name].element_size() for name in shapes)
    rest = sum(tensor.nbytes for tensor in (*bits.values(), *live.values(), *full.values()))
    # Three times: as they are spread out, and as a ticket copies them and masks them.
    afford(3 * (spread + rest), f"a mask over {spread:,} bytes of weights")
    weights = dict(full)
    for name, remaining in mask.counts.items():
        values = live[name]
        if values.dim() != 1 or values.numel() != remaining or not values.is_floating_point():
            raise FileError(
                f"live/{name}: the mask keeps {remaining} weights, the file {tuple(values.shape)} of {values.dtype}"
            )
        weights[name] = torch.zeros(math.prod(shapes[name]), dtype=values.dtype, device="cpu")
        weights[name] = weights[name].reshape(shapes[name]).masked_scatter_(mask[name], values)
    return Ticket(
        mask=mask,
        weights=weights,
        contract=Contract.read(meta["contract"]),
        model=_mapping(meta, "model"),
        lineage=_mapping(meta, "lineage"),
        evidence=_mapping(meta, "evidence"),
    )


def _book(meta: dict[str, Any], groups: dict[str, dict[str, Tensor]]) -> Book:
    records = meta["records"]
    if not isinstance(records, list):
        raise FileError(f"records: expected a list, got {type(records).__name__}")
    return Book(
        weights=groups["full"],
        pruned_at=groups["pruned"],
        levels=meta["levels"],
        contract=Contract.read(meta["contract"]),
        model=_mapping(meta, "model"),
        lineage=_mapping(meta, "lineage"),
        records=records,
    )


def _mapping(meta: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(meta[name], dict):
        raise FileError(f"{name}: expected a mapping, got {type(meta[name]).__name__}")
    return dict(meta[name])


class _Kind(NamedTuple):
    fields: frozenset[str]
    groups: tuple[str, ...]
    build: Callable[[dict[str, Any], dict[str, dict[str, Tensor]]], Ticket | Book]


_SHARED = frozenset({"format", "kind", "id", "digest", "contract", "model", "lineage"})
_KINDS = {
    "ticket": _Kind(_SHARED | {"shapes", "evidence"}, ("mask", "live", "full"), _ticket),
    "book": _Kind(_SHARED | {"levels", "records"}, ("full", "pruned"), _book),
}
