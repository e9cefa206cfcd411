"""The search in somebody's own loop: what every level starts from and what it leaves."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import copy, data, hooks, loop, net, same, sgd, steps
from torch import nn
from torch.nn.functional import cross_entropy

import oneticket
from oneticket.data.batches import batches
from oneticket.ground.streams import Streams
from oneticket.lottery.loop_search import Search
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import network, search
from oneticket.lottery.spec import SearchSpec
from oneticket.models.build import build
from oneticket.models.parts import head
from oneticket.optim.build import build as build_optimizers
from oneticket.task.inputs import Inputs
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket.book import Book
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket
from oneticket.training.loop import Run, train


def test_the_example_of_the_readme_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(model: nn.Module, optimizer: torch.optim.Optimizer, on_step: Callable[..., object]) -> None:
        steps(model, optimizer, on_step, 0, 9)

    monkeypatch.chdir(tmp_path)
    model, optimizer_fn = net(width=60), sgd
    search = oneticket.Search(model, optimizer_fn, levels=20, fraction=0.2, rewind="5it")
    for level in search:
        train(level.model, level.optimizer, on_step=level.step)
    search.book.save("mine")

    book, remaining = Book.load("mine"), 6 * 60 + 60 * 8
    assert len(book) == 21
    for level in range(21):
        assert book.mask(level).remaining == remaining == book.records[level]["living"]
        assert book.records[level] == {
            "level": level,
            "density": remaining / 840,
            "model_density": (remaining + 95) / 935,  # 68 biases and 27 weights of the head stay dense
            "living": remaining,
            "steps": 9,
        }
        remaining -= remaining // 5
    assert oneticket.Ticket.load("mine", level=3) == search.book[3]
    assert search.dense == {
        "0.bias": "one-dimensional",
        "2.bias": "one-dimensional",
        "4.weight": "the output layer",
        "4.bias": "the output layer",
    }
    assert book.contract.head == ("4.weight", "4.bias")
    assert (book.contract.rewind, book.contract.step) == ("5it", 5)


@pytest.mark.parametrize(("rewind", "k"), [("0it", 0), ("3it", 3), ("2ep", 8)])
def test_every_level_starts_at_the_rewind_weights_times_its_mask(rewind: str, k: int) -> None:
    model = net(norm=True)
    given, point = copy(model), {}
    search, masks = Search(model, sgd, levels=3, rewind=rewind, epoch=4, fraction=0.5), []

    def watch(level: oneticket.Search) -> Callable[..., object]:
        def on_step(*arguments: object) -> None:
            level.step(*arguments)
            if level.number == 0 and level.steps == k:
                point.update(copy(model))

        return on_step

    for level in search:
        model.train(level.number != 2)
        modes = [module.training for module in model.modules()]
        assert level.model is model
        assert level.start == (k if level.number else 0)
        want = (point or given) if level.number else given
        assert same(model.state_dict(), level.mask.project(want))
        assert not any(level.optimizer.state.values())
        steps(model, level.optimizer, watch(level), level.start, 10)
        assert str(level.guard.audit()).startswith(f"{level.mask.total - level.mask.remaining:,} pruned")
        assert [module.training for module in model.modules()] == modes
        masks.append(level.mask)
    assert same(search.book.weights, point or given)
    assert [search.book.mask(number) for number in range(4)] == masks
    assert masks[3] <= masks[2] <= masks[1] <= masks[0] == Mask.full(masks[0])
    assert [mask.remaining for mask in masks] == [168, 84, 42, 21]


SPECS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "rewound": {"rewind": "3it", "optimizer": {"name": "sgd", "momentum": 0}},
    "layerwise": {"pruning": {"scope": "layerwise", "fraction": 0.3}},
    "random": {"pruning": {"criterion": "random"}, "seed": 7},
    "at init": {"pruning": {"criterion": "magnitude-at-init"}},
    "kept alive": {"pruning": {"fraction": 0.9, "allow_empty": False}},
    "adam": {"optimizer": {"name": "adam", "lr": 0.003}},
    "columns": {"pruning": {"scope": "layerwise", "granularity": "channel"}},
}


@pytest.mark.parametrize("name", SPECS)
def test_in_our_own_loop_it_finds_what_our_own_search_finds(name: str) -> None:
    given = {
        "data": {"name": "digits:a", "per_class": 20},
        "model": {"name": "lenet-300-100", "width": 0.1},
        "training": {"budget": "12it", "batch": 32},
        "rewind": "0it",
        **SPECS[name],
    }
    spec, context = SearchSpec(**given), RunContext(compact=False)
    expected = search(spec, levels=3, context=context)

    streams, known = Streams(root=spec.seed, replicate=0), network(spec, context)
    model = build(spec.model, inputs=Inputs.read(known), outputs=known["classes"], seed=streams.seed("init"))
    rules = {n: v for n, v in spec.pruning.plain().items() if n != "shots"}
    found = Search(
        model,
        lambda model: build_optimizers(spec.optimizer, model, head=head(model)),
        levels=3,
        rewind=str(spec.rewind),
        seed=spec.seed,
        **rules,
    )
    for level in found:
        run = Run.begin(model, level.optimizer, precision="float32", position=level.start, total=12)
        feed = batches(context.data(spec.data, spec.task), batch=32, streams=streams, start=level.start, stop=12)
        how = {
            "task": CLASSIFICATION,
            "training": spec.training,
            "optimizer": spec.optimizer,
            "per_epoch": 6,
            "stop": 12,
        }
        for _ in train(run, feed, streams=streams, **how):
            level.step()
    assert [found.book.mask(level) for level in range(4)] == [expected.mask(level) for level in range(4)]
    assert same(found.book.weights, expected.weights)
    assert found.book.contract == replace(expected.contract, schedule="caller", order="caller")
    assert found.book.densities == expected.densities


def test_steps_are_counted_without_the_loop(tmp_path: Path) -> None:
    model = net()
    given = copy(model)
    search = Search(model, sgd, levels=2)
    for level in search:
        steps(model, level.optimizer, lambda *_: None, 0, 5)
        level.record(accuracy=0.5 + level.number / 10, note="mine", per_class=[0.1, 0.2])
        level.record(note="ours")
    assert same(search.book.weights, given)
    assert search.book.records[2]["steps"] == 5
    assert search.book[2].evidence["accuracy"] == 0.7
    assert search.book[2].evidence["note"] == "ours"
    ticket = search.book.at(density=0.64)
    other = net(seed=5)
    before = copy(other)
    ticket.apply(other)
    assert torch.equal(other[0].weight, ticket.weights["0.weight"])
    assert torch.equal(other[4].weight, before["4.weight"])


def test_a_broken_loop_lets_go_and_goes_on_from_where_its_level_began() -> None:
    model = net()
    search, seen = Search(model, sgd, levels=3, rewind="2it"), []
    for level in search:
        steps(model, level.optimizer, level.step, level.start, 6)
        if level.number == 1:
            break
    assert hooks(model, level.optimizer) == 0
    assert level.over
    assert search.book.levels == 0
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for level in search:
            seen.append(level.number)
            assert level.steps == 0
            assert same(model.state_dict(), level.mask.project(search.book.weights))
            steps(model, level.optimizer, level.step, level.start, 6)
            if level.number == 2:
                raise ZeroDivisionError
    assert hooks(model, level.optimizer) == 0
    for level in search:
        seen.append(level.number)
        steps(model, level.optimizer, level.step, level.start, 6)
    assert seen == [1, 2, 2, 3]

    straight = Search(net(), sgd, levels=3, rewind="2it")
    for level in straight:
        steps(level.model, level.optimizer, level.step, level.start, 6)
    assert search.book == straight.book
    assert [*search] == []


def test_a_broken_level_0_begins_at_the_given_weights() -> None:
    model = net()
    given, search = copy(model), Search(model, sgd, levels=1, rewind="2it")
    for level in search:
        steps(model, level.optimizer, level.step, 0, 4)
        break
    for level in search:
        if level.number == 0:
            assert same(model.state_dict(), given)
        steps(model, level.optimizer, level.step, 7, 10)
    straight = Search(net(), sgd, levels=1, rewind="2it")
    for level in straight:
        steps(level.model, level.optimizer, level.step, 7, 10)
    assert search.book == straight.book


def test_a_framework_attaches_its_optimizers_later_and_twice() -> None:
    model = net()
    search = Search(model, levels=2, fraction=0.5)
    for level in search:
        assert level.optimizer is None
        assert level.guard is None
        weights, rest = [p for p in model.parameters() if p.dim() == 2], [p for p in model.parameters() if p.dim() < 2]
        first = sgd(model)
        level.attach(first)
        second = [torch.optim.AdamW(weights, lr=0.01), torch.optim.SGD(rest, lr=0.1)]
        guard = level.attach(second)
        assert hooks(model, first) == (2 if level.number else 0)
        assert guard is level.guard
        for step in range(3):
            inputs, labels = data(step)
            model.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            for each in second:
                each.step()
            level.step()
        guard.audit()
    assert search.book.densities == (1.0, 0.5, 0.25)
    assert sum(hooks(model, each) for each in (first, *second)) == 0


def test_the_search_keeps_no_hold_on_a_model_that_is_gone() -> None:
    model = net()
    search = Search(model, sgd, levels=1)
    for level in search:
        steps(model, level.optimizer, level.step, 0, 2)
    gone = weakref.ref(model)
    del model, search, level
    gc.collect()
    assert gone() is None


def test_a_book_without_head_and_with_a_masked_head() -> None:
    bare = Search(net(), sgd, levels=1, head=())
    loop(bare)
    assert bare.book.contract.head == ()
    assert set(bare.book.mask(1)) == {"0.weight", "2.weight", "4.weight"}
    named = Search(net(), sgd, levels=1, head=["4.weight"], prunable=["*", "4.weight"])
    loop(named)
    assert named.book.contract.head == ("4.weight",)
    assert named.book.mask(1).remaining == 192 - 192 // 5
    assert isinstance(named.book[1], Ticket)
