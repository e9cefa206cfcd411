"""The ticket: a mask, the weights to start from, and what both mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.ground.canon import digest
from oneticket.ground.card import card_by
from oneticket.ground.door import door
from oneticket.ground.errors import WrongPruneError, unknown
from oneticket.ticket import heads
from oneticket.ticket.contract import Contract
from oneticket.ticket.density import Density, count_weights
from oneticket.ticket.mask import Mask
from oneticket.ticket.values import facts, fingerprint, held, rebuilt

if TYPE_CHECKING:
    from oneticket.apply.apply import Applied
    from oneticket.charts.inline import Inline
    from oneticket.guard.guard import Guard


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ticket:
    """A sparse trainable initialisation. The constructor copies the weights and sets pruned entries to exactly +0.0.

    - `mask`: which weights remain; its names are among the weights' names.
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
    >>> print(ticket.weight_counts)
    density 0.5 of 2 prunable weights, 0.6667 of all 3
    >>> ticket.model_density == ticket.weight_counts.model
    True
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
            if (one := weights.get(name)) is not None and not one.is_floating_point():
                raise WrongPruneError(f"mask {name!r}: only floating-point weights can be pruned, got {one.dtype}")
        self.mask.project_(weights)
        object.__setattr__(self, "weights", weights)
        if strange := [name for name in self.contract.head_names if name not in weights]:
            raise WrongPruneError(f"contract.head: {unknown('weight', strange[0], weights)}")
        for name in ("model", "lineage", "evidence"):
            object.__setattr__(self, name, facts(getattr(self, name), f"ticket.{name}"))

    @property
    def density(self) -> float:
        """The remaining share of the weights under the mask's names."""
        return self.mask.density

    @property
    def model_density(self) -> float:
        """The remaining share of all weights of the model, those without a mask too."""
        return self.weight_counts.model

    @property
    def weight_counts(self) -> Density:
        """How many weights remain, may be pruned, and are in the whole model."""
        return Density(remaining=self.mask.remaining, total=self.mask.total, whole=count_weights(self.weights))

    def plot_layers(self) -> Inline:
        """How many weights remain in each layer, as an Altair chart: `plot.layers`; MissingExtra without Altair.

        >>> chart = Ticket.load("digits-a").plot_layers()
        >>> chart.to_dict()["title"]["text"]
        'Where the weights are'
        """
        drawn: Inline = door("plot:layers")(self)
        return drawn

    _repr_html_ = card_by("ticket.cards:of_ticket")

    def __repr__(self) -> str:
        return f"Ticket({self.weight_counts}, rewind {self.contract.rewind})"

    @property
    def id(self) -> str:
        """SHA-256, as 64 hex digits, over mask, weights, contract, model and lineage; never over evidence.

        >>> ticket = Ticket.load("digits-a")
        >>> len(ticket.id), ticket.id == replace(ticket, evidence={}).id, ticket.id == ticket.with_head().id
        (64, True, False)
        """
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

        If there is no such path, the name is that of a ticket that ships with the package (`oneticket zoo` lists them).
        Of a folder it takes replicate 0 by default. Raises FileError for a bad file or a missing choice, SpecError for
        a level or density that the book does not hold.

        >>> Ticket.load("digits-a")
        Ticket(density 0.1074 of 49,200 prunable weights, 0.1323 of all 50,610, rewind 1ep)
        """
        found: Ticket = door("publish.load:load_ticket")(path, level=level, density=density, replicate=replicate)
        return found

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

        Local files come before the Hub; without a network, the Hub's local cache is used. `revision`: a branch, tag or
        commit of the Hub. `level`, `density`: choose from a book, as in `load`. `filename`: the file there, by default
        `ticket.safetensors` or else `book.safetensors`. `largest`: the most bytes to fetch, by default 4 GiB. Raises
        FileError, with what was tried.

        >>> from tempfile import TemporaryDirectory
        >>> ticket = Ticket.load("digits-a")
        >>> with TemporaryDirectory() as folder:
        ...     _ = ticket.push_to_hub(folder)
        ...     Ticket.from_pretrained(folder) == ticket
        True
        """
        found: Ticket = door("publish.load:ticket_from")(
            where, revision=revision, level=level, density=density, filename=filename, largest=largest
        )
        return found

    def with_head(self, *names: str) -> Ticket:
        """The same ticket with another contract.head: one layer per output, or the tensors of one output; () for none.

        Raises PruneError for a name that the ticket does not have.

        >>> import torch
        >>> weights = {"out.weight": torch.ones(1, 2), "hidden.weight": torch.ones(2, 2)}
        >>> ticket = Ticket(mask=Mask({}), weights=weights, contract=Contract(rewind="0it", step=0))
        >>> ticket.with_head("out").contract.head
        ('out.weight',)
        """
        return replace(self, contract=replace(self.contract, head=heads.named(names, self.weights)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ticket's file, whole or not at all; raises FileError.

        >>> from tempfile import TemporaryDirectory
        >>> ticket = Ticket.load("digits-a")
        >>> with TemporaryDirectory() as folder:
        ...     ticket.save(f"{folder}/mine.safetensors")
        ...     Ticket.load(f"{folder}/mine.safetensors") == ticket
        True
        """
        door("ticket.file:save")(self, path)

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, license: str | None = None, data_license: str | None = None
    ) -> None:
        """Write `ticket.safetensors` and its card, README.md, into a folder; raises FileError, nothing changed.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Ticket.load("digits-a").save_pretrained(folder)
        ...     sorted(os.listdir(folder))
        ['README.md', 'ticket.safetensors']
        """
        door("publish.hub:publish")(self, Path(folder), license=license, data_license=data_license)

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
        """Put the ticket and its card on the Hugging Face Hub in one commit, or into a folder: `hub.publish`.

        Returns their place: the commit's page, or the folder. Raises FileError, with nothing changed.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Ticket.load("digits-a").push_to_hub(folder) == folder
        True
        """
        link: str = door("publish.hub:publish")(
            self,
            where,
            private=private,
            revision=revision,
            message=message,
            license=license,
            data_license=data_license,
        )
        return link

    def apply(
        self,
        model: nn.Module,
        *,
        head: str = "fresh",
        names: Mapping[str, str | None] | None = None,
        fresh: Sequence[str] = (),
    ) -> Applied:
        """Write the weights into the model in place; its names may differ: `apply.apply`.

        Raises TransferError, with the model untouched, when anything does not fit.

        >>> sizes = {"fc1": (64, 300), "fc2": (300, 100), "fc3": (100, 3)}
        >>> model = nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})
        >>> applied = Ticket.load("digits-a").apply(model)
        >>> applied.matched, applied.fresh
        (('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias'), ('fc3.bias', 'fc3.weight'))
        """
        applied: Applied = door("apply.apply:apply")(self, model, head=head, names=names, fresh=fresh)
        return applied

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
        outputs come from layers that the ticket gave its values. Raises TransferError as `apply` does, and GuardError.

        >>> import torch
        >>> sizes = {"fc1": (64, 300), "fc2": (300, 100), "fc3": (100, 3)}
        >>> model = nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        >>> with Ticket.load("digits-a").attach(model, optimizer) as guard:
        ...     guard.audit().remaining, int(model["fc1"].weight.count_nonzero())
        (5284, 2349)
        """
        held: Guard = door("apply.attach:attach")(
            self, model, optimizer, head=head, names=names, fresh=fresh, rule=rule
        )
        return held

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Ticket) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt(self)
