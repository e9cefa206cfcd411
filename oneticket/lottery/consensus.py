"""The consensus: of several searches that began from the same weights, the weights that most of them keep.

    votes(w, n) = how many searches keep w at level n
    mask_0      = all;  mask_n = of mask_{n-1} those with most votes, as many as every search keeps at level n

Of equally many votes, those go first that the searches kept for fewer levels in sum; then by (tensor name, flat index).
What all searches keep is kept, unless it is more than one search keeps. Level n depends on nothing below it.

`agreed_search` takes the votes at every level instead: all go on from the mask that they agreed on. Over parts of one
set's classes that is what cyclic overlapping lottery tickets do (COLT), but for the exact count: there the intersection
is kept, however small it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from oneticket.ground import canon
from oneticket.ground.errors import SpecError, WrongTransferError
from oneticket.lottery.rounds import mask_at
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import book, initial_weights, level, rewind_weights, unlike_start
from oneticket.lottery.spec import SearchSpec, Weights
from oneticket.lottery.training import do
from oneticket.lottery.transfer import check_code, network_of
from oneticket.pruning.allocate import Share, groups
from oneticket.pruning.prune import written
from oneticket.pruning.select import select
from oneticket.ticket.book import Book
from oneticket.ticket.describe import replicate_of
from oneticket.ticket.mask import Mask

Tensors = Mapping[str, Tensor]


def consensus(books: Sequence[Book], *, weights: Weights = "initial", run_code: bool = False) -> Book:
    """The consensus of several searches as a book, as deep as the shallowest of them.

    `weights`: "initial", W_0, from which all began; "mean", the mean of their W_k. The lineage names the choice and the
    searches. The output layer is the first book's: sets differ in their classes, and a transfer makes a new one.
    `run_code`: whether the network may be code that a book names by import path, which "initial" builds.

    Raises SpecError for fewer than two books, TransferError for books that do not name their search, are of one and the
    same search, or differ in network, seed, replicate, scope or count, and for a granularity other than weight.

    >>> from oneticket.lottery.search import search
    >>> quick = {"model": "lenet-300-100", "training": {"budget": "1ep"}, "rewind": "1it"}
    >>> both = [search({"data": half, **quick}, levels=1) for half in ("digits:a", "digits:b")]
    >>> found = consensus(both)
    >>> found.densities == both[0].densities, found.contract.step, 0.6 < found.records[1]["agreed"] <= 1
    (True, 0, True)
    """
    if weights not in ("initial", "mean"):
        raise SpecError(f"weights: expected 'initial' or 'mean', got {weights!r}")
    specs, replicate = _alike(books)
    for spec in specs:
        check_code(spec.model, run_code=run_code, how="run_code=True")
        check_code(spec.pruning, run_code=run_code, how="run_code=True")
    _check_votes(books)
    _check_start(books, specs[0].seed, replicate)
    first, levels = books[0], min(each.levels for each in books)
    pruned_at = vote([each.pruned_at for each in books], levels=levels, scope=specs[0].pruning.scope)
    contract = replace(first.contract, rewind="0it", step=0) if weights == "initial" else first.contract
    folded = next((each.contract.dead for each in books if each.contract.dead != "zero-held"), "zero-held")
    return Book(
        weights=initial_weights(first.model, seed=specs[0].seed, replicate=replicate)
        if weights == "initial"
        else _mean(books),
        pruned_at=pruned_at,
        levels=levels,
        contract=replace(contract, dead=folded),
        model=first.model,
        lineage={
            "consensus": {"weights": weights, "of": [dict(each.lineage) for each in books]},
            "replicate": replicate,
        },
        records=[_record(pruned_at, books, number) for number in range(levels + 1)],
    )


def vote(pruned_at: Sequence[Tensors], *, levels: int, scope: str) -> dict[str, Tensor]:
    """The consensus of several `pruned_at`, down to `levels`: uint8 per weight, 0 for weights that remain.

    Every group of the scope keeps as many weights as in each search; TransferError where these differ.

    >>> found = ([0, 1, 2, 0], [2, 1, 0, 0], [0, 1, 2, 0])
    >>> vote([{"w": torch.tensor(at, dtype=torch.uint8)} for at in found], levels=2, scope="global")["w"]
    tensor([0, 1, 2, 0], dtype=torch.uint8)
    """
    found = {name: torch.zeros_like(at) for name, at in pruned_at[0].items()}
    mask = mask_at(found, 0)
    for number in range(1, levels + 1):
        masks = [mask_at(each, number) for each in pruned_at]
        shares = []
        for names in groups(scope, mask):
            counts = {sum(each.counts[name] for name in names) for each in masks}
            if len(counts) > 1:
                kept = " and ".join(map(str, sorted(counts)))
                raise WrongTransferError(
                    f"level {number}: the searches keep {kept} weights; give searches with the same pruning settings"
                )
            shares.append(Share(names=names, prune=sum(mask.counts[name] for name in names) - counts.pop()))
        left = select(mask, _scores(pruned_at, masks, number), shares)
        found = written(found, mask, [left], number)
        mask = left
    return found


def agreed_search(
    specs: Sequence[SearchSpec | Mapping[str, Any]],
    *,
    levels: int,
    replicate: int = 0,
    weights: Weights = "initial",
    context: RunContext | None = None,
) -> Book:
    """Search on several sets with one mask: each level trains on each of them, and the next mask is what they agree on.

    The searches differ in nothing but their data. Raises as `search` and `consensus` do.

    >>> quick = {"model": "lenet-300-100", "training": {"budget": "1ep"}, "rewind": "0it"}
    >>> parts = [{"name": "digits", "classes": 5, "classes_from": first} for first in (0, 5)]
    >>> agreed_search([{"data": part, **quick} for part in parts], levels=2).densities
    (1.0, 0.8, 0.64)
    """
    asked, context = [SearchSpec.read(spec) for spec in specs], context or RunContext()
    if twice := [number for number, spec in enumerate(asked, start=1) if spec in asked[: number - 1]]:
        raise SpecError(f"search {twice[0]} is given twice, so it would vote twice; give each search once")
    rewound = [do(rewind_weights(spec, replicate, context), context) for spec in asked]
    pruned_at: Tensors | None = None
    for number in range(levels):
        tasks = [
            level(spec, replicate, number, rewound=each, pruned_at=pruned_at, context=context)
            for spec, each in zip(asked, rewound, strict=True)
        ]
        done = [do(task, context) for task in tasks]
        pruned_at = vote([each.pruned_at for each in done], levels=number + 1, scope=asked[0].pruning.scope)
    if pruned_at is None:
        raise SpecError(f"levels: expected at least 1, since nothing is pruned at level 0, got {levels}")
    books = [
        book(spec, replicate, rewound=each, pruned_at=pruned_at, levels=levels)
        for spec, each in zip(asked, rewound, strict=True)
    ]
    found = consensus(books, weights=weights, run_code=True)
    agreed = {**found.lineage["consensus"], "every_level": True}
    return replace(found, lineage={**found.lineage, "consensus": agreed})


def _scores(pruned_at: Sequence[Tensors], masks: Sequence[Mask], number: int) -> dict[str, Tensor]:
    """Votes, and below them for how many levels the searches kept a weight in sum: whole numbers in float64."""
    most = len(masks) * (number + 1) + 1
    scores = {}
    for name, at in pruned_at[0].items():
        votes, kept = (
            torch.zeros(at.shape, dtype=torch.float64, device="cpu"),
            torch.zeros(at.shape, dtype=torch.float64, device="cpu"),
        )
        for each, mask in zip(pruned_at, masks, strict=True):
            votes += mask[name]
            kept += torch.where(mask[name], number + 1, each[name].double())
        scores[name] = votes * most + kept
    return scores


def _alike(books: Sequence[Book]) -> tuple[list[SearchSpec], int]:
    """The searches of books that can be voted on, and their replicate."""
    if len(books) < 2:
        raise SpecError(f"consensus: expected at least two books, got {len(books)}")
    specs = []
    for number, each in enumerate(books, start=1):
        network_of(each, whose=f"book {number}")
        said = each.lineage.get("search")
        if not isinstance(said, Mapping) or "data" not in said:
            raise WrongTransferError(
                f"book {number} does not say how it was searched for, so not from which weights it began"
            )
        try:
            specs.append(SearchSpec.recall(said))
        except SpecError as error:
            raise WrongTransferError(f"book {number}: lineage.{error}") from error
    if any(spec.pruning.granularity != "weight" for spec in specs):
        raise WrongTransferError("a consensus is of single weights; give books of granularity weight")
    for number, (each, spec) in enumerate(zip(books, specs, strict=True), start=1):
        for what, here, there in (
            ("model", _trunk(each), _trunk(books[0])),
            ("seed", spec.seed, specs[0].seed),
            ("replicate", replicate_of(each), replicate_of(books[0])),
            ("scope", spec.pruning.scope, specs[0].pruning.scope),
            ("prunable weights", _shapes(each), _shapes(books[0])),
        ):
            if here != there:
                raise WrongTransferError(
                    f"book {number} has another {what} than book 1 ({here} and {there}); a consensus is of searches "
                    "that differ in their data alone"
                )
    return specs, replicate_of(books[0])


def _check_votes(books: Sequence[Book]) -> None:
    """Refuse two books of one search: it would have two votes, also where one of them is deeper or has other scores."""
    first: dict[str, int] = {}
    for number, each in enumerate(books, start=1):
        seen = {name: each.lineage.get(name) for name in ("search", "data_digest")}
        before = first.setdefault(canon.dumps(seen), number)
        if before < number:
            raise WrongTransferError(
                f"book {number} is of the same search as book {before}, which would vote twice; give each search once"
            )


def _trunk(each: Book) -> dict[str, Any]:
    return {name: value for name, value in each.model.items() if name != "classes"}


def _shapes(each: Book) -> dict[str, tuple[int, ...]]:
    return {name: tuple(at.shape) for name, at in each.pruned_at.items()}


def _check_start(books: Sequence[Book], seed: int, replicate: int) -> None:
    """Refuse searches that did not begin from one W_0, output layers apart: their masks cannot be compared."""
    at = unlike_start([each.model for each in books], seed=seed, replicate=replicate)
    if at is not None:
        raise WrongTransferError(
            f"book {at + 1} began from other weights than book 1, though from one seed: the model draws them by "
            "its number of outputs; give sets of as many classes"
        )


def _mean(books: Sequence[Book]) -> Tensors:
    """The mean of all W_k; the output layer, and what counts in whole numbers, is the first one's."""
    first, head = books[0].weights, {*books[0].contract.head_names}
    return {
        name: torch.stack([each.weights[name].double() for each in books]).mean(0).to(value.dtype)
        if value.is_floating_point() and name not in head
        else value
        for name, value in first.items()
    }


def _record(pruned_at: Tensors, books: Sequence[Book], number: int) -> dict[str, Any]:
    """What a level is: `agreed`, which share of its weights all searches keep."""
    mask = mask_at(pruned_at, number)
    common = {name: remaining.clone() for name, remaining in mask.items()}
    for each in books:
        for name, remaining in mask_at(each.pruned_at, number).items():
            common[name] &= remaining
    agreed = sum(int(each.count_nonzero()) for each in common.values()) / mask.remaining if mask.remaining else 1.0
    return {"level": number, "density": mask.density, "living": mask.remaining, "agreed": agreed}
