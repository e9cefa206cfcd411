"""Nothing depends on torch's default device: what a program set there is for its own tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from oneticket.compact.in_loop import Compacted
from oneticket.guard.guard import attach
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.session.search import search
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

QUICK = SearchSpec(
    data={"name": "digits:a", "per_class": 20},
    model="lenet-300-100",
    training={"budget": "6it"},
    rewind="2it",
    pruning={"criterion": "random"},
)


def net() -> nn.Sequential:
    with torch.random.fork_rng(), torch.device("cpu"):
        return nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10))


def test_a_search_finds_the_same_book_under_any_default_device(tmp_path: Path) -> None:
    here = search(QUICK, levels=2, context=RunContext())
    with torch.device("meta"):
        there = search(QUICK, levels=2, context=RunContext())
        there.save(tmp_path / "book")
        ticket = Ticket.load(tmp_path / "book", level=2)
    assert there.id == here.id and ticket.mask == here[2].mask


def test_masks_are_held_under_any_default_device() -> None:
    mask = Mask({"0.weight": torch.arange(12800).view(200, 64) % 3 == 0})
    x = torch.ones(32, 64)
    held = []
    for way in (attach, Compacted):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        with (
            torch.device("meta"),
            way(model, optimizer, mask, **({"example": x} if way is Compacted else {})) as holding,
        ):  # type: ignore[operator]
            called = getattr(holding, "network", model)
            for _ in range(3):
                optimizer.zero_grad()
                called(x).square().sum().backward()
                optimizer.step()
        held.append(model[0].weight.detach())
    assert all(torch.equal(weight != 0, mask["0.weight"]) for weight in held)
