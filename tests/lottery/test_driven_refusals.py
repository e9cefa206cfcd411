"""What a search in somebody's own loop refuses, in words, and what it leaves untouched then."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from loops import copy, loop, net, same, sgd, steps
from torch import nn

from oneticket.ground.errors import GuardError, ModelError, PruneError, SpecError, TrainingError
from oneticket.guard.guard import attach
from oneticket.lottery.level import Level
from oneticket.lottery.loop_search import Search


def replaced(search: Search) -> None:
    for level in search:
        steps(level.model, level.optimizer, level.step, 0, 2)
        level.model[0].weight = nn.Parameter(level.model[0].weight.detach().clone())


def unheld(search: Search) -> None:
    for level in search:
        optimizer = sgd(level.model)
        steps(level.model, optimizer, lambda *_: None, 0, 2)


def revived(search: Search) -> None:
    for level in search:
        steps(level.model, level.optimizer, level.step, 0, 2)
        with torch.no_grad():
            level.model[0].weight.add_(level.number)


def diverged(search: Search) -> None:
    for level in search:
        with torch.no_grad():
            level.model[0].weight.fill_(torch.nan)


def again(search: Search) -> None:
    for _ in search:
        loop(search)


def two(search: Search) -> None:
    for _ in search:
        loop(Search(search.model, sgd, levels=1))


def load(level: Level) -> None:
    level.search.load_state_dict(level.search.state_dict())


def within(call: Callable[[Level], object]) -> Callable[[Search], None]:
    def drive(search: Search) -> None:
        for level in search:
            call(level)

    return drive


REFUSED: dict[str, tuple[dict[str, Any], Callable[[Search], None], type[Exception], str]] = {
    "unreached": ({"rewind": "9it"}, loop, TrainingError, "rewind 9it is step 9, but level 0 ended after 3 steps of"),
    "unstepped": ({"rewind": "1it"}, lambda s: loop(s, 0), TrainingError, "level 0 ended after 0 steps"),
    "replaced": ({}, replaced, GuardError, "0.weight: no optimizer has this parameter; was it replaced"),
    "revived": ({}, revived, GuardError, "0.weight: pruned weights that are not zero: "),
    "diverged": ({}, diverged, PruneError, "0.weight: 72 scores are NaN; did the training diverge"),
    "unheld": (
        {"optimizer_fn": None},
        unheld,
        GuardError,
        "level 0: no optimizer is attached, so",
    ),
    "unheld step": ({"optimizer_fn": None}, within(lambda level: level.step()), GuardError, "no optimizer is attached"),
    "again": ({}, again, GuardError, "a search has a level open on this model"),
    "two": ({}, two, GuardError, "a search has a level open on this model"),
    "late": (
        {},
        lambda s: [*s][-1].step(),
        TrainingError,
        "level.step: level 1 is over; use the level that the search yields now",
    ),
    "late score": ({}, lambda s: [*s][-1].record(x=1), TrainingError, "level.record: level 1 is over"),
    "load": (
        {},
        within(load),
        SpecError,
        "level 0 is open; load the state before the loop",
    ),
    "own record": ({}, within(lambda level: level.record(living=3)), SpecError, "the record has living of its own"),
    "odd record": ({}, within(lambda level: level.record(it=object())), SpecError, "level.record: expected plain"),
    "used optimizer": (
        {"optimizer_fn": cache(sgd)},
        loop,
        GuardError,
        "an optimizer comes from another level",
    ),
    "forgotten layer": (
        {"optimizer_fn": lambda m: sgd(m[0])},
        within(lambda level: pytest.fail("level 0 was opened")),
        GuardError,
        "level 0: no optimizer has 2.weight; hand over",
    ),
    "wrong optimizers": ({"optimizer_fn": lambda m: (sgd(m), "cosine")}, loop, GuardError, "expected torch optimizers"),
    "no book": ({}, lambda s: s.book, PruneError, "no level is finished"),
    "nothing to go": (
        {"levels": 9, "fraction": 0.005},
        loop,
        PruneError,
        "level 1 would prune nothing: 168 weights remain, and 0.005 of them, by granularity weight, comes to none",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loop_that_goes_wrong_is_told_what_did(name: str) -> None:
    settings, drive, error, words = REFUSED[name]
    model = net()
    asked = {"optimizer_fn": sgd, "levels": 1, **settings}
    search = Search(model, asked.pop("optimizer_fn"), **asked)
    with pytest.raises(error) as raised:
        drive(search)
    assert words in str(raised.value)
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    guard = attach(model, sgd(model), {"0.weight": torch.zeros(12, 6, dtype=torch.bool)})
    guard.detach()


SETTINGS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "optimizer": ({"optimizer_fn": sgd(net())}, SpecError, "optimizer_fn: expected a function from the model to a new"),
    "model": ({"model": [net()]}, ModelError, "expected a torch module, got list"),
    "levels": ({"levels": 101}, SpecError, "levels: expected a whole number from 0 to 100, got 101"),
    "few levels": ({"levels": True}, SpecError, "levels: expected a whole number"),
    "fraction": ({"fraction": 1.0}, SpecError, "pruning.fraction"),
    "criterion": ({"criterion": "size"}, SpecError, "pruning.criterion"),
    "units": ({"granularity": "channel"}, SpecError, '`granularity = "channel"` needs `scope = "layerwise"`'),
    "rewind": ({"rewind": "500"}, SpecError, "rewind: expected a time such as '2ep'"),
    "epoch": ({"rewind": "2ep"}, SpecError, "rewind: 2ep needs epoch=, the number of optimizer steps in one epoch"),
    "prunable": ({"prunable": ["conv.*"]}, ModelError, "'conv.*' matches no weight of Sequential"),
    "nothing": ({"prunable": ["!*"]}, ModelError, "Sequential has nothing to prune"),
    "no patterns": ({"prunable": None}, SpecError, "prunable: expected a name or a list of names, got None"),
    "numbers": ({"prunable": [1]}, SpecError, "prunable: expected a name or a list of names, got [1]"),
    "number of head": ({"head": 3}, SpecError, "head: expected a name or a list of names, got 3"),
    "head": ({"head": "fc"}, ModelError, "unknown output layer 'fc'"),
    "seed": ({"seed": -1}, SpecError, "seed: expected a whole number from 0 on, got -1"),
    "rule": ({"rule": "hope"}, SpecError, "unknown rule 'hope'"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting_is_refused_with_the_model_untouched(name: str) -> None:
    settings, error, words = SETTINGS[name]
    model = net()
    before = copy(model)
    with pytest.raises(error) as raised:
        Search(**{"model": model, "optimizer_fn": sgd, "levels": 1, **settings})
    assert words in str(raised.value)
    assert same(model.state_dict(), before)


def test_models_that_cannot_be_searched_are_refused() -> None:
    diverging = net()
    diverging[0].weight.data[0, 0] = torch.inf
    with pytest.raises(PruneError, match=r"0\.weight.*holds NaN or infinity"):
        Search(diverging, sgd, levels=1)
    with pytest.raises(ModelError, match=r"0\.bias.*no values yet"):
        Search(net().to("meta"), sgd, levels=1)
    with pytest.raises(ModelError, match=r"1\.weight: no values yet"):
        Search(nn.Sequential(net(), nn.LazyLinear(2)), sgd, levels=1)
    model, optimizer, guards = net(), sgd(net()), []

    def body(level: Level) -> None:
        nonlocal optimizer
        steps(model, level.optimizer, level.step, 0, 2)
        optimizer = sgd(model)
        guards.append(attach(model, optimizer, {"0.weight": torch.zeros(12, 6, dtype=torch.bool)}))

    with pytest.raises(GuardError, match="already held by"):
        within(body)(Search(model, sgd, levels=1))
    assert guards[0].audit().parameters == 1
