"""Everything public shows itself in one short line, which says of what a density is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import oneticket
from oneticket import Book, Contract, Mask, Search, Ticket
from oneticket.data.facts import Facts
from oneticket.data.load import load
from oneticket.study.grid import plan
from oneticket.study.spec import StudySpec
from oneticket.task.inputs import Inputs
from oneticket.task.task import TASKS

WIDEST = 200


def net() -> nn.Module:
    with torch.random.fork_rng():
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def ticket() -> Ticket:
    model = {"spec": {"name": "a" * 500}, "notes": list(range(500))}
    remaining = torch.arange(48).view(8, 6) % 4 == 0
    head = tuple(f"2.{name}" for name in ("weight", "bias"))
    contract = Contract(rewind="0it", step=0, head=head)
    return Ticket(mask=Mask({"0.weight": remaining}), weights=net().state_dict(), contract=contract, model=model)


def book() -> Book:
    search = Search(net(), lambda model: torch.optim.SGD(model.parameters()), levels=2, fraction=0.5)
    for level in search:
        level.record(notes="x" * 999)
    return search.book


def held(show: Callable[[oneticket.Guard], object]) -> object:
    model = net()
    optimizer = torch.optim.SGD(model.parameters())
    with oneticket.attach(model, optimizer, ticket().mask) as guard:
        return show(guard)


def study() -> StudySpec:
    part = {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["mlp"], "optimizers": ["sgd"]}
    return StudySpec(name="mine", levels=[1, 2], arms=["dense", "ticket"], replicates=2, parts={"halves": part})


SPEC = {"data": "digits:a", "model": "lenet-300-100"}
SHOWN: dict[str, tuple[Callable[[], object], str]] = {
    "ticket": (ticket, "Ticket(density 0.25 of 48 prunable weights, 0.5663 of all 83, rewind 0it)"),
    "book": (
        book,
        "Book(levels 0 to 2, at the sparsest density 0.25 of 48 prunable weights, 0.5663 of all 83, rewind 0it)",
    ),
    "mask": (lambda: ticket().mask, "Mask(1 tensors, 12 of 48 weights remain, density 0.25)"),
    "guard": (
        lambda: held(lambda guard: guard),
        "Guard(Mask(1 tensors, 12 of 48 weights remain, density 0.25), rule='gate+project', detached)",
    ),
    "audit": (
        lambda: held(lambda guard: str(guard.audit())),
        "36 pruned weights in 1 parameters and 0 moments are exactly zero; "
        "density 0.25 of 48 prunable weights, 0.5663 of all 83",
    ),
    "applied": (lambda: ticket().apply(net()), "Applied(matched="),
    "search": (
        lambda: Search(net(), levels=2),
        "Search(0 of 3 levels done, density 1 of 48 prunable weights, 1 of all 83)",
    ),
    "contract": (lambda: ticket().contract, "Contract(rewind='0it', step=0, head=('2.weight', '2.bias'))"),
    "search spec": (
        lambda: oneticket.SearchSpec(**SPEC, pruning={"fraction": 0.5}),
        "SearchSpec(data='digits:a', model='lenet-300-100', pruning=PruningSpec(fraction=0.5))",
    ),
    "transfer spec": (lambda: oneticket.TransferSpec(data="digits:b"), "TransferSpec(data='digits:b'"),
    "data spec": (lambda: oneticket.DataSpec(name="digits:a", per_class=9), "DataSpec(name='digits:a', per_class=9)"),
    "model spec": (lambda: oneticket.ModelSpec(name="mlp", prunable=["x" * 400]), "ModelSpec(name='mlp', prunable=("),
    "optimizer spec": (lambda: oneticket.OptimizerSpec(name="adam"), "OptimizerSpec(name='adam'"),
    "training spec": (lambda: oneticket.TrainingSpec(), "TrainingSpec()"),
    "pruning spec": (lambda: oneticket.PruningSpec(fraction=0.3), "PruningSpec(fraction=0.3)"),
    "study spec": (study, "StudySpec(name='mine'"),
    "context": (oneticket.RunContext, "RunContext()"),
    "source": (lambda: oneticket.Source(ticket=ticket(), rewind=net().state_dict()), "Source(ticket="),
    "task": (
        lambda: TASKS["classification"],
        "Task(name='classification', loss=_classified, measures={'accuracy': Measure(",
    ),
    "facts": (
        lambda: Facts(inputs=Inputs(shape=(1, 8, 8)), outputs=5, examples=1000, digest="0" * 64),
        "Facts(inputs=Inputs(1, 8, 8), outputs=5, examples=1000, digest='0",
    ),
    "data": (lambda: load(oneticket.DataSpec(name="digits:a", per_class=3)), "Data(train=Examples(inputs=Tensor("),
    "plan": (lambda: plan(study(), oneticket.RunContext()), "Plan(name='mine', cells="),
}


@pytest.mark.parametrize("name", SHOWN)
def test_it_is_one_short_line(name: str) -> None:
    make, words = SHOWN[name]
    made = make()
    shown = made if isinstance(made, str) else repr(made)
    assert shown.startswith(words)
    assert len(shown) <= WIDEST
    assert "\n" not in shown
    assert not hasattr(made, "remaining") or "density" in shown


def test_every_class_of_the_face_has_a_row() -> None:
    face = {type(make()).__name__ for make, _ in SHOWN.values()}
    classes = {name for name in oneticket.__all__ if isinstance(getattr(oneticket, name), type)}
    assert classes - face == {"OneticketError", "RequestError"}


def test_a_level_shows_both_densities() -> None:
    search = Search(net(), lambda model: torch.optim.SGD(model.parameters()), levels=1, fraction=0.5)
    assert repr([*search][1]) == "Level(1, density 0.5 of 48 prunable weights, 0.7108 of all 83, start=0, steps=0)"
