"""The laws of a consensus: counts are exact, levels nest, what all keep is kept, and it starts where it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from oneticket.ground.errors import OneticketError, SpecError, TransferError
from oneticket.lottery.consensus import agreed_search, consensus, vote
from oneticket.lottery.controls import Source
from oneticket.lottery.rounds import mask_at
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import initial_weights, search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import transfer
from oneticket.publish.card import card
from oneticket.ticket.book import Book

QUICK: dict[str, Any] = {
    "model": {"name": "mlp", "widths": [16, 12]},
    "training": {"budget": "12it", "batch": 32},
    "rewind": "3it",
    "pruning": {"fraction": 0.4},
}
DATA = [
    {"name": "digits:a", "per_class": 12},
    {"name": "digits:b", "classes": 4, "per_class": 12},
    {"name": "digits", "classes": 5, "classes_from": 5, "per_class": 9},
]
LEVELS = 3
HEAD_FIRST = """from torch import nn


class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.out, self.hidden = nn.Linear(4, classes), nn.Linear(64, 4)

    def forward(self, images):
        return self.out(self.hidden(images.flatten(1)).relu())
"""


def found(number: int, **more: Any) -> Book:
    return search({"data": DATA[number], **QUICK, **more}, levels=LEVELS)


@pytest.fixture(scope="module", params=["global", "layerwise"])
def books(request: pytest.FixtureRequest) -> list[Book]:
    rule = {"fraction": 0.4, "scope": request.param}
    return [found(number, pruning=rule) for number in range(3)]


def test_every_level_keeps_as_many_as_each_search_and_lies_within_the_one_above(books: list[Book]) -> None:
    agreed = Book.consensus(books)
    for level in range(LEVELS + 1):
        mask = agreed.mask(level)
        if books[0].lineage["search"]["pruning"]["scope"] == "layerwise":
            assert mask.counts == books[0].mask(level).counts
        assert mask.remaining == books[0].mask(level).remaining
        assert level == 0 or mask <= agreed.mask(level - 1)


def test_votes_decide_then_how_long_then_the_order(books: list[Book]) -> None:
    agreed = Book.consensus(books)
    for level in range(1, LEVELS + 1):
        kept, above = agreed.mask(level), agreed.mask(level - 1)
        ranks = {}
        for name in kept:
            votes = sum(each.mask(level)[name].long() for each in books)
            long = sum(sum(each.mask(number)[name].long() for number in range(level + 1)) for each in books)
            ranks[name] = votes * 1000 + long
        groups = [[name] for name in kept] if "layerwise" in str(books[0].lineage) else [[*kept]]
        for names in groups:
            inside = torch.cat([ranks[name][kept[name]] for name in sorted(names)])
            outside = torch.cat([ranks[name][above[name] & ~kept[name]] for name in sorted(names)])
            assert inside.min() >= outside.max(), "nothing that went had more votes than what stayed"
            last = int(outside.max())
            tied = torch.cat([kept[name][above[name] & (ranks[name] == last)] for name in sorted(names)])
            assert tied.equal(tied.sort().values), "of equals those go first that come first"


def test_a_level_depends_on_nothing_below_it(books: list[Book]) -> None:
    deep = vote([each.pruned_at for each in books], levels=LEVELS, scope="global" if _global(books) else "layerwise")
    for levels in range(1, LEVELS):
        cut = [{name: torch.where(at > levels, 0, at) for name, at in each.pruned_at.items()} for each in books]
        flat = vote(cut, levels=levels, scope="global" if _global(books) else "layerwise")
        assert mask_at(flat, levels) == mask_at(deep, levels)


def _global(books: list[Book]) -> bool:
    return books[0].lineage["search"]["pruning"]["scope"] == "global"


def test_what_all_keep_is_the_consensus_of_equals() -> None:
    one = found(0)
    agreed = Book.consensus([one, alike(one)])
    assert all(agreed.pruned_at[name].equal(at) for name, at in one.pruned_at.items())
    assert [record["agreed"] for record in agreed.records] == [1.0] * (LEVELS + 1)


def alike(book: Book) -> Book:
    """What a search would find on other data of the same effect."""
    return replace(book, lineage={**book.lineage, "data_digest": "0" * 64})


def test_a_search_votes_once_however_often_its_book_is_given() -> None:
    one, other = found(0), found(1)
    shallow = search({"data": DATA[0], **QUICK}, levels=1)
    scored = replace(one, records=[{**record, "accuracy": 0.5} for record in one.records])
    for again in (one, shallow, scored):
        with pytest.raises(TransferError, match="book 3 is of the same search as book 1, which would vote twice"):
            Book.consensus([one, other, again])
    with pytest.raises(SpecError, match="search 2 is given twice, so it would vote twice"):
        agreed_search([{"data": DATA[0], **QUICK}] * 2, levels=1)


def test_what_all_keep_is_kept(books: list[Book]) -> None:
    agreed = Book.consensus(books)
    for level in range(1, LEVELS + 1):
        common = [books[0].mask(level)[n] & books[1].mask(level)[n] & books[2].mask(level)[n] for n in agreed.pruned_at]
        remains = [agreed.mask(level - 1)[name] for name in agreed.pruned_at]
        for both, above, name in zip(common, remains, agreed.pruned_at, strict=True):
            assert not (both & above & ~agreed.mask(level)[name]).any()


def test_it_starts_from_the_common_weights_or_the_mean(books: list[Book]) -> None:
    initial, mean = Book.consensus(books), Book.consensus(books, weights="mean")
    began = initial_weights(books[0].model, seed=0, replicate=0)
    assert all(initial.weights[name].equal(value) for name, value in began.items())
    assert (initial.contract.rewind, initial.contract.step) == ("0it", 0)
    for name, value in mean.weights.items():
        each = [book.weights[name] for book in books]
        if name in mean.contract.head_names:
            assert value.equal(each[0])
        else:
            assert torch.allclose(value, sum(each) / 3, atol=1e-7) and not value.equal(each[0])
    assert mean.contract.step == 3 and mean.lineage["consensus"]["weights"] == "mean"
    assert [one["search"]["data"]["name"] for one in initial.lineage["consensus"]["of"]] == [
        each["name"] for each in DATA
    ]


def test_it_is_a_book_like_any_other(books: list[Book], tmp_path: Any) -> None:
    agreed = Book.consensus(books)
    agreed.save(tmp_path / "book.safetensors")
    assert Book.load(tmp_path / "book.safetensors").id == agreed.id
    text = card(agreed, name="all")
    assert "consensus: of 3 searches" in text and "digits:b, classes 4" in text
    spec = TransferSpec(data=DATA[1], training=QUICK["training"])
    record = transfer(spec, source=Source(ticket=agreed[2], rewind=agreed.weights)).record
    assert record["living"] == agreed.mask(2).remaining and record["classes"] == 4


def test_votes_at_every_level_keep_one_mask_for_all() -> None:
    specs = [{"data": each, **QUICK} for each in DATA[1:]]
    agreed = agreed_search(specs, levels=LEVELS)
    assert agreed.densities == found(0).densities and agreed.lineage["consensus"]["every_level"] is True
    first = [search(spec, levels=1) for spec in specs]
    assert agreed.mask(1) == Book.consensus(first).mask(1), "before the first vote nobody knows of the others"
    apart = Book.consensus([search(spec, levels=LEVELS) for spec in specs])
    assert agreed.mask(LEVELS) != apart.mask(LEVELS)
    same = agreed_search([specs[0], {**specs[0], "data": {**DATA[1], "fit": "pad"}}], levels=LEVELS)
    assert same.mask(LEVELS) == search(specs[0], levels=LEVELS).mask(LEVELS), "one that agrees with itself goes alone"


REFUSED: dict[str, tuple[Any, str]] = {
    "one book": (lambda: [found(0)], "at least two books, got 1"),
    "another seed": (lambda: [found(0), found(1, seed=1)], "has another seed than book 1"),
    "another model": (lambda: [found(0), found(1, model={"name": "mlp", "widths": [8]})], "has another model"),
    "another fraction": (
        lambda: [found(0), found(1, pruning={"fraction": 0.3})],
        "searches with the same pruning settings",
    ),
    "another scope": (
        lambda: [found(0), found(1, pruning={"fraction": 0.4, "scope": "layerwise"})],
        "has another scope",
    ),
    "units": (
        lambda: [found(n, pruning={"fraction": 0.4, "scope": "layerwise", "granularity": "filter"}) for n in (0, 1)],
        "of single weights",
    ),
    "another replicate": (
        lambda: [found(0), search({"data": DATA[1], **QUICK}, levels=LEVELS, replicate=1)],
        "has another replicate",
    ),
    "unknown search": (lambda: [found(0), replace(found(1), lineage={})], "book 2 does not say how it was searched"),
}


@pytest.mark.parametrize("weights", ["initial", "mean"])
def test_searches_that_began_from_other_weights_are_refused(weights: Any, tmp_path: Any) -> None:
    """One seed is not enough: this model draws its output layer first, and the sets differ in their classes."""
    (tmp_path / "mine.py").write_text(HEAD_FIRST)
    model = {"name": f"{tmp_path}/mine.py:Net", "head": "out"}
    with pytest.raises(TransferError, match="book 2 began from other weights than book 1, though from one seed"):
        consensus([found(0, model=model), found(1, model=model)], weights=weights, run_code=True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_voted_on_is_refused_in_words(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(OneticketError, match=words):
        Book.consensus(make())


def test_other_weights_and_no_levels_are_refused() -> None:
    with pytest.raises(SpecError, match="expected 'initial' or 'mean'"):
        Book.consensus([found(0), found(1)], weights="best")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="at least 1"):
        agreed_search([{"data": each, **QUICK} for each in DATA[:2]], levels=0, context=RunContext())


def test_code_that_a_book_names_is_not_run_unasked() -> None:
    book = found(0)
    theirs = SearchSpec.read({"data": DATA[0], **QUICK, "model": "mine.py:model"}).identity()
    bad = replace(book, model={**book.model, "spec": theirs["model"]}, lineage={**book.lineage, "search": theirs})
    with pytest.raises(TransferError, match="run_code=True"):
        Book.consensus([bad, bad])
