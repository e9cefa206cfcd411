"""The book: all levels of one search (long: one class, with an example of each method)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from oneticket.ground.canon import digest
from oneticket.ground.card import card_by
from oneticket.ground.door import door
from oneticket.ground.errors import SpecError, WrongPruneError
from oneticket.ticket import heads
from oneticket.ticket.contract import Contract
from oneticket.ticket.density import Density, count_weights
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket
from oneticket.ticket.values import facts, fingerprint, held, rebuilt

if TYPE_CHECKING:
    from pandas import DataFrame

    from oneticket.charts.inline import Inline

MOST_LEVELS, SLACK = 255, 1.25


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Book:
    """One set of rewind weights and, per prunable weight, the level at which it was pruned: nested by construction.

    - `weights`: parameters and buffers at the rewind point, unmasked.
    - `pruned_at`: name -> uint8 in the weight's shape; 0: never pruned, n: pruned at level n.
    - `levels`: the sparsest level, 0 to 255; level 0 is full.
    - `contract`, `model`, `lineage`: as a ticket's.
    - `records`: none, or one JSON mapping per level 0 to `levels` (scores, deterministic cost): evidence, not identity.

    `book[level]` is a ticket, `len(book)` is `levels + 1`, and iterating runs through the tickets. Raises PruneError
    when the parts do not fit, SpecError for a level or density that is not there.

    >>> book = Book(weights={"w": torch.tensor([3.0, 2.0, 1.0, 4.0]), "b": torch.zeros(4)}, levels=2,
    ...             pruned_at={"w": torch.tensor([0, 2, 1, 0], dtype=torch.uint8)},
    ...             contract=Contract(rewind="0it", step=0))
    >>> book.densities, book[1].weights["w"].tolist(), book.at(density=0.5).lineage["level"]
    ((1.0, 0.75, 0.5), [3.0, 2.0, 0.0, 4.0], 2)
    >>> book.model_densities, book.density(2), book.mask(2)["w"].tolist()
    ((1.0, 0.875, 0.75), 0.5, [True, False, False, True])
    >>> print(book.weight_counts[2])
    density 0.5 of 4 prunable weights, 0.75 of all 8
    """

    weights: Mapping[str, Tensor] = field(repr=False)
    pruned_at: Mapping[str, Tensor] = field(repr=False)
    levels: int
    contract: Contract
    model: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if type(self.levels) is not int or not 0 <= self.levels <= MOST_LEVELS:
            raise WrongPruneError(f"book.levels: expected a whole number from 0 to {MOST_LEVELS}, got {self.levels!r}")
        object.__setattr__(self, "weights", held(self.weights, "book weights"))
        object.__setattr__(self, "pruned_at", held(self.pruned_at, "book pruned_at"))
        for name, pruned_at in self.pruned_at.items():
            weight = self.weights.get(name)
            if weight is None or weight.shape != pruned_at.shape or not weight.is_floating_point():
                found = "no such weight" if weight is None else f"{weight.dtype} {tuple(weight.shape)}"
                raise WrongPruneError(
                    f"book {name!r}: pruned_at needs a float weight {tuple(pruned_at.shape)}, got {found}"
                )
            if pruned_at.dtype != torch.uint8:
                raise WrongPruneError(f"book {name!r}: pruned_at must be uint8, got {pruned_at.dtype}")
            if pruned_at.numel() and int(pruned_at.max()) > self.levels:
                raise WrongPruneError(
                    f"book {name!r}: a weight is pruned at level {int(pruned_at.max())}, the book ends at {self.levels}"
                )
        if len(self.records) not in (0, len(self)):
            raise WrongPruneError(
                f"book.records: expected none or {len(self)} (levels 0 to {self.levels}), got {len(self.records)}"
            )
        records = tuple(facts(record, f"book.records[{level}]") for level, record in enumerate(self.records))
        object.__setattr__(self, "records", records)
        for name in ("model", "lineage"):
            object.__setattr__(self, name, facts(getattr(self, name), f"book.{name}"))

    def with_head(self, *names: str) -> Book:
        """The same book with another contract.head, as `Ticket.with_head`.

        >>> weights, start = {"out.weight": torch.ones(1, 2)}, Contract(rewind="0it", step=0)
        >>> Book(weights=weights, pruned_at={}, levels=0, contract=start).with_head("out").contract.head
        ('out.weight',)
        """
        return replace(self, contract=replace(self.contract, head=heads.named(names, self.weights)))

    @classmethod
    def from_masks(
        cls,
        masks: Sequence[Mask],
        *,
        weights: Mapping[str, Tensor],
        contract: Contract,
        model: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
        records: Sequence[Mapping[str, Any]] = (),
    ) -> Book:
        """The book of these masks, level 0 (full) first; raises PruneError unless each lies within the one before.

        >>> masks = [Mask({"w": torch.tensor(each)}) for each in ([True, True], [True, False])]
        >>> book = Book.from_masks(masks, weights={"w": torch.ones(2)}, contract=Contract(rewind="0it", step=0))
        >>> book.pruned_at["w"]
        tensor([0, 1], dtype=torch.uint8)
        """
        if not masks or masks[0].remaining != masks[0].total:
            raise WrongPruneError("book: the masks must begin with level 0, which is full")
        for level in range(1, len(masks)):
            if not masks[level] <= masks[level - 1]:
                raise WrongPruneError(
                    f"book: the mask of level {level} does not lie within the mask of level {level - 1}"
                )
        pruned_at = {
            name: torch.zeros(shape, dtype=torch.uint8, device="cpu") for name, shape in masks[0].shapes.items()
        }
        for level in range(len(masks) - 1, 0, -1):
            for name, remaining in masks[level].items():
                pruned_at[name].masked_fill_(~remaining, level)
        return cls(
            weights=weights,
            pruned_at=pruned_at,
            levels=len(masks) - 1,
            contract=contract,
            model=model or {},
            lineage=lineage or {},
            records=records,
        )

    def __len__(self) -> int:
        return self.levels + 1

    def __iter__(self) -> Iterator[Ticket]:
        return (self[level] for level in range(len(self)))

    def __getitem__(self, level: int) -> Ticket:
        return Ticket(
            mask=self.mask(level),
            weights=self.weights,
            contract=self.contract,
            model=self.model,
            lineage={**self.lineage, "level": level},
            evidence=self.records[level] if self.records else {},
        )

    def mask(self, level: int) -> Mask:
        """The mask of a level; raises SpecError for a level that is not there."""
        self._check(level)
        return Mask({name: _above(at, level) for name, at in self.pruned_at.items()})

    @property
    def densities(self) -> tuple[float, ...]:
        """The remaining share of the prunable weights, per level, counted without building a mask."""
        deaths = torch.zeros(len(self), dtype=torch.int64, device="cpu")
        for at in self.pruned_at.values():
            deaths += torch.bincount(at.flatten(), minlength=len(self))
        total = int(deaths.sum())
        dead = deaths.index_fill(0, torch.tensor(0, device="cpu"), 0).cumsum(0).tolist()
        return tuple((total - gone) / total if total else 1.0 for gone in dead)

    @property
    def model_densities(self) -> tuple[float, ...]:
        """The remaining share of all weights of the model, per level, those that stay dense too."""
        return tuple(counts.model for counts in self.weight_counts)

    @property
    def weight_counts(self) -> tuple[Density, ...]:
        """Per level, how many weights remain, may be pruned, and are in the whole model."""
        total, whole = sum(at.numel() for at in self.pruned_at.values()), count_weights(self.weights)
        return tuple(Density(remaining=round(each * total), total=total, whole=whole) for each in self.densities)

    def plot(self) -> Inline:
        """The score of each level over its density, as an Altair chart: `plot.levels`.

        Raises SpecError for a book whose records hold no scores, MissingExtra without Altair.

        >>> start, records = Contract(rewind="0it", step=0), [{"accuracy": 0.9}]
        >>> book = Book(weights={}, pruned_at={}, levels=0, contract=start, records=records)
        >>> book.plot().to_dict()["title"]["text"]
        'Accuracy as weights are pruned'
        """
        return cast("Inline", door("plot:levels")(self))

    def plot_layers(self) -> Inline:
        """How many weights remain in each layer at each level, as an Altair chart: `plot.layers`.

        Raises SpecError for a book without prunable weights, MissingExtra without Altair.

        >>> masks, weights = [Mask.full({"fc.weight": (2,)})], {"fc.weight": torch.ones(2)}
        >>> book = Book.from_masks(masks, weights=weights, contract=Contract(rewind="0it", step=0))
        >>> book.plot_layers().to_dict()["title"]["text"]
        'Where the weights remain'
        """
        return cast("Inline", door("plot:layers")(self))

    def table(self) -> DataFrame:
        """The levels as a pandas DataFrame: density, remaining weights, and the fields of each record.

        Raises MissingExtra without pandas.

        >>> start, records = Contract(rewind="0it", step=0), [{"accuracy": 0.9}]
        >>> book = Book(weights={}, pruned_at={}, levels=0, contract=start, records=records)
        >>> list(book.table().columns)
        ['density', 'model_density', 'living', 'accuracy']
        """
        return cast("DataFrame", door("stats.frame:of_book")(self))

    _repr_html_ = card_by("ticket.cards:of_book")

    def __repr__(self) -> str:
        sparsest = self.weight_counts[-1]
        return f"Book(levels 0 to {self.levels}, at the sparsest {sparsest}, rewind {self.contract.rewind})"

    def density(self, level: int) -> float:
        """The density of a level; raises SpecError for a level that is not there."""
        self._check(level)
        return self.densities[level]

    def at(self, *, density: float) -> Ticket:
        """The ticket whose density is nearest in ratio, the denser on a tie.

        Raises SpecError for a density that is not in (0, 1], or below the sparsest level's by more than a factor 1.25.
        """
        if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density <= 1:
            raise SpecError(f"density: expected a number above 0 and up to 1, got {density!r}")
        reached = self.densities
        if density * SLACK < reached[-1]:
            raise SpecError(
                f"density {density:g}: the book ends at level {self.levels} with density {reached[-1]:.4g}; "
                "ask for more, or search further"
            )
        away = [abs(math.log(here / density)) if here else math.inf for here in reached]
        return self[away.index(min(away))]

    @property
    def id(self) -> str:
        """SHA-256, as 64 hex digits, over weights, levels, contract, model and lineage; never over records.

        >>> book = Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0))
        >>> len(book.id), book.id == replace(book, records=[{"accuracy": 0.9}]).id
        (64, True)
        """
        return digest(
            {
                "kind": "book",
                "weights": fingerprint(self.weights),
                "pruned_at": fingerprint(self.pruned_at),
                "levels": self.levels,
                "contract": self.contract.plain(),
                "model": dict(self.model),
                "lineage": dict(self.lineage),
            }
        )

    @classmethod
    def consensus(
        cls, books: Sequence[Book], *, weights: Literal["initial", "mean"] = "initial", run_code: bool = False
    ) -> Book:
        """The book of the weights that most of several searches keep; see `lottery/consensus`.

        All must have begun from the same weights. `weights`: start from those, or from the "mean" of all `weights`.

        >>> from oneticket import search
        >>> quick = {"model": {"name": "mlp", "widths": [4]}, "training": {"budget": "1it"}, "rewind": "0it"}
        >>> books = [search({"data": half, **quick}, levels=1) for half in ("digits:a", "digits:b")]
        >>> book = Book.consensus(books)
        >>> book.densities == books[0].densities, book.records[0]["agreed"]
        (True, 1.0)
        """
        found: Book = door("lottery.consensus:consensus")(books, weights=weights, run_code=run_code)
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, replicate: int | None = None) -> Book:
        """A book from its file, or from a folder of books by `replicate` (by default 0); raises FileError.

        >>> from tempfile import TemporaryDirectory
        >>> book = Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0))
        >>> with TemporaryDirectory() as folder:
        ...     book.save(f"{folder}/book-0.safetensors")
        ...     Book.load(folder, replicate=0) == book
        True
        """
        found: Book = door("publish.load:load_book")(path, replicate=replicate)
        return found

    @classmethod
    def from_pretrained(
        cls, where: str | os.PathLike[str], *, revision: str | None = None, filename: str = "book.safetensors"
    ) -> Book:
        """A book from a file, a folder, a `file://` URL or a Hub repository, as `Ticket.from_pretrained` finds it.

        >>> from tempfile import TemporaryDirectory
        >>> book = Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0))
        >>> with TemporaryDirectory() as folder:
        ...     _ = book.push_to_hub(folder)
        ...     Book.from_pretrained(folder) == book
        True
        """
        found: Book = door("publish.load:book_from")(where, revision=revision, filename=filename)
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the book's file, whole or not at all; raises FileError.

        >>> from tempfile import TemporaryDirectory
        >>> book = Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0))
        >>> with TemporaryDirectory() as folder:
        ...     book.save(f"{folder}/mine.safetensors")
        ...     Book.load(f"{folder}/mine.safetensors") == book
        True
        """
        door("ticket.file:save")(self, path)

    def push_to_hub(
        self,
        where: str | os.PathLike[str],
        *,
        private: bool | None = None,
        revision: str | None = None,
        license: str | None = None,
        data_license: str | None = None,
    ) -> str:
        """Put the book and its card on the Hugging Face Hub in one commit, or into a folder: `hub.publish`.

        Returns their place: the commit's page, or the folder. Raises FileError, with nothing changed.

        >>> from tempfile import TemporaryDirectory
        >>> book = Book(weights={}, pruned_at={}, levels=0, contract=Contract(rewind="0it", step=0))
        >>> with TemporaryDirectory() as folder:
        ...     _ = book.push_to_hub(folder)
        ...     sorted(os.listdir(folder))
        ['README.md', 'book.safetensors']
        """
        link: str = door("publish.hub:publish")(
            self, where, private=private, revision=revision, license=license, data_license=data_license
        )
        return link

    def _check(self, level: int) -> None:
        if type(level) is not int or not 0 <= level <= self.levels:
            raise SpecError(f"level: the book has levels 0 to {self.levels}, got {level!r}")

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Book) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuilt(self)


def _above(pruned_at: Tensor, level: int) -> Tensor:
    """Which weights remain at a level: 0 less 1 is 255 in a byte, so one comparison does, in place."""
    return (pruned_at - 1).ge_(level).view(torch.bool)
