"""Searches that go on from a sparse network, and what is told of one that is sparse or mostly dense already."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from loops import copy, loop, net, same, sgd, steps
from torch import nn

from oneticket.cli.find import dense_share
from oneticket.ground.errors import GuardError, PruneError, SpecError
from oneticket.lottery.loop_search import Search
from oneticket.models.parts import survey
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

LIVING = {"0.weight": torch.arange(72).view(12, 6) % 3 == 0}


def sparse() -> nn.Sequential:
    model = net()
    with torch.no_grad():
        model[0].weight *= LIVING["0.weight"]
    return model


def searched(model: nn.Module, **settings: Any) -> tuple[Search, list[Mask]]:
    search, masks = Search(model, sgd, levels=2, fraction=0.5, **settings), []
    for level in search:
        steps(model, level.optimizer, lambda *_: None, level.start, 6)
        assert all(not model.get_parameter(name)[~remaining].any() for name, remaining in level.mask.items())
        masks.append(level.mask)
    return search, masks


@pytest.mark.parametrize("rewind", ["0it", "2it"])
@pytest.mark.parametrize("start", ["zeros", LIVING, Mask(LIVING), {"module.0.weight": LIVING["0.weight"]}], ids=str)
def test_a_search_goes_on_from_what_lives(start: Any, rewind: str, tmp_path: Any) -> None:
    search, masks = searched(sparse(), start=start, rewind=rewind)
    assert [mask.remaining for mask in masks] == [24 + 96, 60, 30]
    assert torch.equal(masks[0]["0.weight"], LIVING["0.weight"])
    assert masks[2] <= masks[1] <= masks[0]
    search.book.save(tmp_path / "mine")
    book = Book.load(tmp_path / "mine")
    assert [book.mask(number) for number in range(1, 4)] == masks
    assert book.densities == (1.0, 120 / 168, 60 / 168, 30 / 168)
    assert [record["steps"] for record in book.records] == [0, 6, *[6 - search._step] * 2]
    assert repr(search).startswith("Search(3 of 3 levels done, ")


def test_it_is_the_search_that_began_whole() -> None:
    """Level 1 of a search, handed over as a ticket, goes on to the same levels."""
    whole = Search(net(), sgd, levels=3, fraction=0.5, rewind="2it")
    for level in whole:
        steps(level.model, level.optimizer, lambda *_: None, level.start, 6)
    model = net(seed=7)
    search = Search(model, sgd, levels=2, fraction=0.5, start=whole.book[1])
    given = copy(model)
    assert same(given, dict(whole.book[1].weights))
    for level in search:
        steps(model, level.optimizer, lambda *_: None, 2, 6)
    assert [search.book.mask(number) for number in range(4)] == [whole.book.mask(number) for number in range(4)]


def test_it_stops_and_goes_on() -> None:
    settings = {"levels": 2, "fraction": 0.5, "rewind": "2it", "start": "zeros"}
    straight, _ = searched(sparse(), rewind="2it", start="zeros")
    for at in (0, 1, 2, 4):
        search = Search(sparse(), sgd, **settings)
        for level in search:
            steps(level.model, level.optimizer, lambda *_: None, 0, at)
            saved = search.state_dict(), copy(level.model), level.optimizer.state_dict()
            break
        model = sparse()
        search = Search(model, sgd, **settings)
        search.load_state_dict(saved[0])
        model.load_state_dict(saved[1])
        for level in search:
            if level.steps:
                level.optimizer.load_state_dict(saved[2])
            steps(model, level.optimizer, lambda *_: None, level.start + level.steps, 6)
        assert search.book == straight.book
        assert search.book.records == straight.book.records
    with pytest.raises(SpecError, match="search state: it belongs to another search; start was"):
        Search(net(), sgd, **{**settings, "start": None}).load_state_dict(saved[0])


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "a word": ("dense", SpecError, "start: expected a ticket, a mask, or 'zeros', got 'dense'"),
    "the head": ({"4.weight": torch.ones(3, 8) > 0}, PruneError, "start: its mask has 4.weight, which this search"),
    "a shape": ({"0.weight": torch.ones(3, 8) > 0}, PruneError, r"the mask of 0.weight is (3, 8), the weight (12, 6)"),
    "a name": ({"9.weight": torch.ones(3, 8) > 0}, GuardError, "names that are no parameters of the model: 9.weight"),
    "numbers": ({"0.weight": torch.ones(12, 6)}, PruneError, "expected a dense bool tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_start_that_does_not_fit_is_refused(name: str) -> None:
    start, error, words = REFUSED[name]
    model = net()
    before = copy(model)
    with pytest.raises(error) as raised:
        Search(model, sgd, levels=1, start=start)
    assert words in str(raised.value)
    assert same(copy(model), before)


def test_a_ticket_that_does_not_fit_writes_nothing() -> None:
    ticket = searched(sparse(), start="zeros")[0].book[1]
    model = net(norm=True)
    before = copy(model)
    with pytest.raises((PruneError, GuardError)):
        Search(model, sgd, levels=1, start=ticket)
    assert same(copy(model), before)
    assert isinstance(ticket, Ticket)


def test_zeros_that_are_there_are_told_once() -> None:
    words = r"28\.6 % of the weights that may be pruned are exactly zero already \(0\.weight\).*start='zeros'"
    search = Search(sparse(), sgd, levels=1)  # which may still be brought to where another stood
    with pytest.warns(UserWarning, match=words) as caught:
        loop(search)
    assert len(caught) == 1
    assert caught[0].filename.endswith("loops.py")
    fresh = net()
    nn.init.zeros_(fresh[2].weight)  # as the last layer of a residual branch often is
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for search in (Search(fresh, sgd, levels=0), Search(sparse(), sgd, levels=0, start="zeros")):
            assert len([*search]) == 1


class Experts(nn.Module):
    """As a mixture of experts has them: one parameter of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            self.inner, self.out = nn.Linear(16, 16), nn.Linear(16, 3)
            self.experts = nn.Parameter(torch.randn(8, 16, 16))


def test_a_large_share_that_stays_dense_is_told_once_with_both_densities() -> None:
    words = (
        r"most of the model's weights stay dense \(experts, 2,048: not the weight of a layer that is known; name it by "
        r"a pattern; out.weight, 48: the output layer; .*at the last level, density 0.125 of 256 prunable weights, "
        r"0.9055 of all 2,371; prunable="
    )
    with pytest.warns(UserWarning, match=words) as caught:
        search = Search(Experts(), sgd, levels=3, fraction=0.5, head="out")
    assert len(caught) == 1
    assert "density 1 of 256 prunable weights, 1 of all 2,371" in repr(search)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Search(Experts(), sgd, levels=3, prunable=["inner.*"], head="out")
        Search(Experts(), sgd, levels=3, prunable=["experts"], head="out")
    assert survey(Experts())["experts"].startswith("not the weight of a layer")


def test_a_book_of_a_model_that_stays_mostly_dense_is_told() -> None:
    experts = {"inner.weight": torch.ones(16, 16), "experts": torch.ones(8, 16, 16)}
    pruned_at = {"inner.weight": (torch.arange(256).view(16, 16) % 8 > 0).to(torch.uint8)}
    contract = Contract(rewind="0it", step=0)
    book = Book(weights=experts, pruned_at=pruned_at, levels=1, contract=contract)
    assert dense_share(book).endswith(
        "at the sparsest level, density 0.125 of 256 prunable weights, 0.9028 of all 2,304"
    )
    inner = Book(weights={"inner.weight": experts["inner.weight"]}, pruned_at=pruned_at, levels=1, contract=contract)
    assert dense_share(inner) == dense_share(None) == ""
