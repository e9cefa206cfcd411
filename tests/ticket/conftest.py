"""A tiny network's ticket and book, the same bits on every machine: no random number is drawn."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch

from oneticket.guard import zero
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

CONTRACT = Contract(rewind="1ep", step=5, head=("fc.weight", "fc.bias"))
WEIGHTS = {
    "conv.weight": torch.arange(-9.0, 9.0).reshape(2, 1, 3, 3) / 8,
    "half.weight": torch.arange(10, dtype=torch.bfloat16) + 1,
    "norm.running_var": torch.tensor([0.5, 2.0], dtype=torch.float64),
    "norm.num_batches_tracked": torch.tensor(5),
    "fc.weight": torch.tensor([[1.5, -0.75]]),
    "fc.bias": torch.tensor([-0.0]),
}
SHARED = {"weights": WEIGHTS, "contract": CONTRACT, "model": {"name": "tiny", "shape": [1, 8, 8], "classes": 1}}
MASKS = [
    Mask({"conv.weight": WEIGHTS["conv.weight"] < limit, "half.weight": WEIGHTS["half.weight"] < 8 * limit})
    for limit in (2.0, 0.75, -0.5)
]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Models and inputs made in a test are the same at every run, and the global state is given back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(params=["kernels", "torch"])
def passes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The guard zeroes by numba's kernels, or by torch alone: its laws are of both."""
    kernels = zero.kernels() if request.param == "kernels" else None
    if request.param == "kernels" and kernels is None:
        pytest.skip("numba is not here")
    monkeypatch.setattr(zero, "kernels", lambda: kernels)
    monkeypatch.setattr(zero, "_KERNELS", [kernels] if kernels else [])
    return str(request.param)


@pytest.fixture
def ticket() -> Ticket:
    return Ticket(mask=MASKS[1], lineage={"replicate": 0}, evidence={"accuracy": 0.925}, **SHARED)


@pytest.fixture
def book() -> Book:
    records = [{"accuracy": 0.9, "examples": 100 * level} for level in range(3)]
    return Book.from_masks(MASKS, lineage={"replicate": 0}, records=records, **SHARED)


@pytest.fixture
def heads(ticket: Ticket) -> Ticket:
    """The ticket of a network with three outputs, one of which has no tensor of its own: format 2."""
    return dataclasses.replace(ticket, contract=dataclasses.replace(CONTRACT, head=(("fc.weight",), ("fc.bias",), ())))
