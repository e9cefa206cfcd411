"""A search in somebody's own loop stops and goes on to the same bits, and says what a foreign state is foreign in."""

from __future__ import annotations

import io
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from loops import copy, net, same, sgd, steps

from oneticket.ground.errors import GuardError, OneticketError
from oneticket.lottery.loop_search import Search
from oneticket.ticket import container

SETTINGS: dict[str, Any] = {"levels": 3, "rewind": "4it", "fraction": 0.3}
LENGTH = 8


def through_memory(state: dict[str, Any]) -> dict[str, Any]:
    return state


def through_torch(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)  # noqa: TID251
    file.seek(0)
    return dict(torch.load(file, weights_only=True))  # noqa: TID251


def through_container(state: dict[str, Any]) -> dict[str, Any]:
    data = container.encode({"search": state["facts"]}, state["tensors"])
    meta, tensors = container.decode(io.BytesIO(data), len(data))
    return {"tensors": tensors, "facts": meta["search"]}


@pytest.fixture(scope="module")
def straight() -> Search:
    search = Search(net(norm=True), sgd, **SETTINGS)
    for level in search:
        steps(level.model, level.optimizer, level.step, level.start, LENGTH)
        level.record(sum=float(level.model[0].weight.detach().double().sum()))
    return search


@pytest.mark.parametrize("carry", [through_memory, through_torch, through_container])
@pytest.mark.parametrize(("number", "at"), [(0, 0), (0, 2), (0, 4), (0, 6), (1, 0), (1, 3), (3, 2)])
def test_it_goes_on_to_the_same_bits(number: int, at: int, carry: Callable[..., Any], straight: Search) -> None:
    search, saved = Search(net(norm=True), sgd, **SETTINGS), dict[str, Any]()
    for level in search:
        if level.number == number:
            steps(level.model, level.optimizer, level.step, level.start, level.start + at)
            saved = deepcopy({"search": search.state_dict(), "optimizer": level.optimizer.state_dict()})
            saved["model"] = copy(level.model)
            break
        steps(level.model, level.optimizer, level.step, level.start, LENGTH)
        level.record(sum=float(level.model[0].weight.detach().double().sum()))

    model = net(seed=9, norm=True)
    search = Search(model, sgd, **SETTINGS)
    search.load_state_dict(carry(saved["search"]))
    model.load_state_dict(saved["model"])
    for level in search:
        if level.number == number:
            assert level.steps == at
            assert same(model.state_dict(), saved["model"])
            level.optimizer.load_state_dict(saved["optimizer"])
        steps(model, level.optimizer, level.step, level.start + level.steps, LENGTH)
        level.record(sum=float(level.model[0].weight.detach().double().sum()))
    assert search.book == straight.book
    assert search.book.records == straight.book.records


def test_weights_of_another_moment_are_told_at_the_first_step() -> None:
    search = Search(net(norm=True), sgd, **SETTINGS)
    for level in search:
        steps(level.model, level.optimizer, level.step, level.start, LENGTH)
        if level.number == 1:
            state, weights = search.state_dict(), copy(level.model)
            break
    model = net(seed=9, norm=True)
    search = Search(model, sgd, **SETTINGS)
    search.load_state_dict(state)
    words = "level 1: the weights are not those that the search's state was saved with"
    with pytest.raises(GuardError, match=words):  # noqa: PT012 - the loop's first step is what raises
        for level in search:
            steps(model, level.optimizer, level.step, level.start, LENGTH)
    search.load_state_dict(state)
    for level in search:
        if level.number == 1:
            model.load_state_dict(weights)  # as frameworks do, within the level
        steps(model, level.optimizer, level.step, level.start, LENGTH)
    assert len(search.book) == 4


def test_a_finished_search_goes_deeper(straight: Search) -> None:
    model = net(seed=3, norm=True)
    search = Search(model, sgd, **{**SETTINGS, "levels": 5})
    search.load_state_dict(straight.state_dict())
    numbers = []
    for level in search:
        numbers.append(level.number)
        steps(model, level.optimizer, level.step, level.start, LENGTH)
    assert numbers == [4, 5]
    assert [search.book.mask(level) for level in range(4)] == [straight.book.mask(level) for level in range(4)]
    assert search.book.mask(5) <= search.book.mask(3)


def test_a_state_is_what_was_when_it_was_taken_and_a_broken_level_has_none(straight: Search) -> None:
    search = Search(net(norm=True), sgd, **SETTINGS)
    for level in search:
        steps(level.model, level.optimizer, level.step, 0, 3)
        level.record(loss=0.5)
        early = search.state_dict()
        steps(level.model, level.optimizer, level.step, 3, 6)
        assert (early["facts"]["steps"], early["facts"]["scores"]) == (3, {"loss": 0.5})
        assert not any(name.startswith("kept/4/") for name in early["tensors"])
        assert any(name.startswith("kept/4/") for name in search.state_dict()["tensors"])
        break
    after = search.state_dict()
    assert (after["facts"]["level"], after["facts"]["steps"], after["facts"]["scores"]) == (0, 0, {})
    assert set(after["tensors"]) == set(early["tensors"])
    other = Search(net(seed=4, norm=True), sgd, **SETTINGS)
    other.load_state_dict(after)
    for level in other:
        steps(level.model, level.optimizer, level.step, level.start, LENGTH)
    assert other.book == straight.book


def changed(**facts: Any) -> Callable[[dict[str, Any]], object]:
    return lambda state: state["facts"].update(facts)


def poke(name: str, value: torch.Tensor | None) -> Callable[[dict[str, Any]], object]:
    return lambda state: state["tensors"].update({name: value}) if value is not None else state["tensors"].pop(name)


FOREIGN: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], object], str]] = {
    "fraction": ({"fraction": 0.2}, changed(), "fraction was 0.3 there, 0.2 here"),
    "rewind": ({"rewind": "5it"}, changed(), "rewind was '4it' there, '5it' here"),
    "criterion": ({"criterion": "random"}, changed(), "criterion was 'magnitude' there, 'random' here"),
    "prunable": ({"prunable": ["!3.*"]}, changed(), "prunable was [] there, ['!3.*'] here"),
    "head": ({"head": ""}, changed(), "head was ['5.weight', '5.bias'] there, [] here"),
    "seed": ({"seed": 1}, changed(), "seed was 0 there, 1 here"),
    "rule": ({"rule": "project"}, changed(), "rule was 'gate+project' there, 'project' here"),
    "levels": ({"levels": 2}, changed(), "it stands at level 4, which a search of levels=2 does not have"),
    "width": ({}, poke("kept/0/0.weight", torch.zeros(13, 6)), "0.weight is torch.float32 (13, 6) there"),
    "names": ({}, poke("kept/4/0.weight", None), "kept/4/ has the tensors"),
    "surplus": ({}, poke("kept/9/0.weight", torch.zeros(1)), "tensors that are not of this search"),
    "nan": ({}, poke("kept/0/0.bias", torch.full((12,), torch.nan)), "holds NaN or infinity"),
    "too deep": ({}, poke("pruned/0.weight", torch.full((12, 6), 9, dtype=torch.uint8)), "pruned beyond level 4"),
    "newer": ({}, changed(format=2), "format 2 is not format 1"),
    "records": ({}, changed(records=[]), "expected one record for each of the 4 finished levels"),
    "steps": ({}, changed(steps=-1), "steps and scores of the open level"),
    "level": ({}, changed(level="3"), "it stands at level '3'"),
    "search": ({}, changed(search=None), "it does not say what was searched"),
    "no tensor": ({}, lambda state: state["tensors"].update({"kept/0/0.bias": 3}), "expected a tensor, got int"),
    "no tensors": ({}, lambda state: state.update(tensors=[]), "expected what Search.state_dict gives"),
    "foreign": ({}, lambda state: state.pop("facts"), "expected what Search.state_dict gives"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_state_is_refused_and_nothing_is_changed(name: str, straight: Search) -> None:
    settings, change, words = FOREIGN[name]
    model = net(norm=True)
    search = Search(model, sgd, **{**SETTINGS, **settings})
    before, weights, state = search.state_dict(), copy(model), straight.state_dict()
    change(state)
    with pytest.raises(OneticketError) as raised:
        search.load_state_dict(state)
    assert words in str(raised.value)
    assert same(search.state_dict()["tensors"], before["tensors"])
    assert search.state_dict()["facts"] == before["facts"]
    assert same(model.state_dict(), weights)
