"""The ticket: a mask, the weights to start from, and what both mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.ground.canon import digest
from oneticket.ground.errors import CarryError, FileError, PruneError, unknown
from oneticket.ticket import carry, guard, heads, shards
from oneticket.ticket.carry import Carried
from oneticket.ticket.confirm import confirm
from oneticket.ticket.contract import Contract
from oneticket.ticket.density import Density, count_weights
from oneticket.ticket.guard import Guard
from oneticket.ticket.mask import Mask
from oneticket.ticket.values import facts, fingerprint, held, rebuilt


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ticket:
    """A sparse trainable initialisation. The constructor copies the weights and sets pruned entries to exactly +0.0.

    - `mask`: which weights live; its names are among the weights' names.
    - `weights`: parameters and buffers at the rewind point, by the model's own names, on the CPU.
    - `contract`: what "rewind" means here.
    - `model`: JSON that describes the network, `{}` when unknown.
    - `lineage`: JSON on how it was found (specs, replicate, level).
    - `evidence`: JSON scores and deterministic cost. Never part of the identity.

    Equal tickets have equal ids. Raises PruneError when mask and weights do not fit or weights are not finite,
    SpecError for what JSON cannot hold. From Morcos et al. 2019, arXiv 1906.02773.

    >>> import torch
    >>> mask = Mask({"fc.weight": torch.tensor([[True, False]])})
    >>> weights = {"fc.weight": torch.tensor([[0.5, 2.0]]), "fc.bias": torch.zeros(1)}
    >>> ticket = Ticket(mask=mask, weights=weights, contract=Contract(rewind="0it", step=0))
    >>> ticket.density, ticket.weights["fc.weight"].tolist()
    (0.5, [[0.5, 0.0]])
    """

    mask: Mask
    weights: Mapping[str, Tensor] = field(repr=False)
    contract: Contract
    model: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weights = held(self.weights, "ticket weights")
        for name in self.mask:
            if name in weights and not weights[name].is_floating_point():
                raise PruneError(f"mask {name!r}: only floating-point weights can be pruned, got {weights[name].dtype}")
        object.__setattr__(self, "weights", MappingProxyType(self.mask.project(weights)))
        if strange := [name for name in self.contract.head_names if name not in weights]:
            raise PruneError(f"contract.head: {unknown('weight', strange[0], weights)}")
        for name in ("model", "lineage", "evidence"):
            object.__setattr__(self, name, facts(getattr(self, name), f"ticket.{name}"))

    @property
    def density(self) -> float:
        """Living / all weights under the mask's names."""
        return self.mask.density

    @property
    def model_density(self) -> float:
        """Living / all weights of the whole model, those without a mask too."""
        return self.weight_counts.model

    @property
    def weight_counts(self) -> Density:
        """How many weights live, may be pruned, and are in the whole model."""
        return Density(living=self.mask.living, total=self.mask.total, whole=count_weights(self.weights))

    def __repr__(self) -> str:
        return f"Ticket({self.weight_counts}, rewind {self.contract.rewind})"

    @property
    def id(self) -> str:
        """SHA-256, as 64 hex digits, over mask, weights, contract, model and lineage; never over evidence."""
        return digest(
            {
                "kind": "ticket",
                "mask": self.mask.digest,
                "weights": fingerprint(self.weights),
                "contract": self.contract.plain(),
                "model": dict(self.model),
                "lineage": dict(self.lineage),
            }
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        level: int | None = None,
        density: float | None = None,
        replicate: int | None = None,
    ) -> Ticket:
        """A ticket from its file, or from a book file or a folder of books by `level` or by `density`.

        A name of which there is no path is that of a ticket that ships with the package (`oneticket zoo` lists them).
        A folder's replicate 0 is meant unless told. Raises FileError for a bad file or a missing choice, SpecError for
        a level or density that the book does not hold.
        """
        from oneticket.ticket import file, zoo
        from oneticket.ticket.book import Book

        path = zoo.located(path)
        found = (
            Book.load(path, replicate=replicate) if replicate is not None or os.path.isdir(path) else file.load(path)
        )
        if isinstance(found, Ticket):
            if level is not None or density is not None:
                raise FileError(f"{path}: holds one ticket; `level` and `density` choose from a book: leave them out")
            return found
        if (level is None) == (density is None):
            raise FileError(
                f"{path}: a book of levels 0 to {found.levels}, density 1 to {found.density(found.levels):.4g}; "
                f"choose one with either level=... or density=..."
            )
        return found[level] if level is not None else found.at(density=density or 0.0)

    @classmethod
    def from_pretrained(
        cls,
        where: str | os.PathLike[str],
        *,
        revision: str | None = None,
        level: int | None = None,
        density: float | None = None,
        filename: str | None = None,
        largest: int | None = None,
    ) -> Ticket:
        """A ticket from a file, a folder, a `file://` URL or a Hugging Face Hub repository, checked to the last bit.

        What is there locally goes before the Hub, and without a network the Hub's local cache answers. `revision`: a
        branch, tag or commit of the Hub. `level`, `density`: choose from a book, as in `load`. `filename`: of the file
        there; `ticket.safetensors` or else `book.safetensors` unless told. `largest`: bytes that are fetched at most, 4
        GiB unless told. Raises FileError, with what was tried.
        """
        from oneticket.ticket import hub

        names = hub.NAMES if level is None and density is None else hub.NAMES[::-1]
        wanted = (filename,) if filename is not None else names
        path = hub.find(where, revision=revision, names=wanted, largest=hub.LARGEST if largest is None else largest)
        return cls.load(path, level=level, density=density)

    def with_head(self, *names: str) -> Ticket:
        """The same ticket with another contract.head: layers, each an output's, or the tensors of one; () for none.

        Raises PruneError for a name that the ticket does not have.

        >>> import torch
        >>> weights = {"out.weight": torch.ones(1, 2), "hidden.weight": torch.ones(2, 2)}
        >>> ticket = Ticket(mask=Mask({}), weights=weights, contract=Contract(rewind="0it", step=0))
        >>> ticket.with_head("out").contract.head
        ('out.weight',)
        """
        return replace(self, contract=replace(self.contract, head=heads.named(names, self.weights)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ticket's file, whole or not at all; raises FileError."""
        from oneticket.ticket import file

        file.save(self, path)

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, license: str | None = None, data_license: str | None = None
    ) -> None:
        """Write `ticket.safetensors` and its card, README.md, into a folder; raises FileError, nothing changed."""
        from oneticket.ticket import hub

        hub.publish(self, Path(folder), license=license, data_license=data_license)

    def push_to_hub(
        self,
        where: str | os.PathLike[str],
        *,
        private: bool | None = None,
        revision: str | None = None,
        message: str | None = None,
        license: str | None = None,
        data_license: str | None = None,
    ) -> str:
        """Put the ticket and its card on the Hugging Face Hub in one commit, or into a folder: `hub.publish`."""
        from oneticket.ticket import hub

        return hub.publish(
            self,
            where,
            private=private,
            revision=revision,
            message=message,
            license=license,
            data_license=data_license,
        )

    def apply(
        self,
        model: nn.Module,
        *,
        head: str = "fresh",
        names: Mapping[str, str | None] | None = None,
        fresh: Sequence[str] = (),
    ) -> Carried:
        """Write the weights into the model in place, whose names may differ: `carry.apply`."""
        return carry.apply(self, model, head=head, names=names, fresh=fresh)

    def attach(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        *,
        head: str = "fresh",
        names: Mapping[str, str | None] | None = None,
        fresh: Sequence[str] = (),
        rule: str = "gate+project",
    ) -> Guard:
        """Hold the mask: `guard.attach`. Give `head`, `names` and `fresh` as to `apply`; "sparse" holds the head too.

        The model may have been wrapped since. Where a head stays fresh, the first forward pass warns if the model's
        outputs come from layers that the ticket gave its values. Raises CarryError as `apply` does, and GuardError.
        """
        try:
            carried = carry.plan(self, model, head=head, names=names, fresh=fresh)
        except CarryError as error:
            # Where ranks share the model, the others wait to hear of it.
            if isinstance(model, nn.Module):
                shards.agree(model, f"CarryError: {error}")
            raise
        held = guard.attach(model, optimizer, carried.mask, rule=rule)
        if head == "fresh" and self.contract.heads:
            confirm(self, model, carried)
        return held

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Ticket) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt(self)
