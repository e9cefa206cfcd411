"""Digits, a small network and its ticket for every framework; what frameworks set in the process is put back."""

import os
import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from oneticket.guard.guard import attached
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket


@pytest.fixture(autouse=True)
def _seeded_and_put_back(tmp_path, monkeypatch) -> Iterator[None]:
    """Trainers seed Python's and torch's generators and write into the environment and the present folder."""
    monkeypatch.chdir(tmp_path)
    environment, state = dict(os.environ), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    random.setstate(state)
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """192 real images of 64 pixels, and their labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images[:192] / 16.0).float(), torch.tensor(labels[:192])


def network() -> nn.Sequential:
    """The same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.fixture
def ticket() -> Ticket:
    """A ticket of `network`, whose largest 30 % of the first layer live."""
    weights = network().state_dict()
    large = weights["0.weight"].abs()
    mask = Mask({"0.weight": large > large.flatten().kthvalue(int(0.7 * large.numel())).values})
    return Ticket(mask=mask, weights=weights, contract=Contract(rewind="0it", step=0, head=("2.weight", "2.bias")))


def bits(model: nn.Module) -> list[Tensor]:
    """A copy of every tensor of the model, to compare to the bit."""
    return [value.detach().clone() for value in model.state_dict().values()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether they agree to the bit."""
    return len(one) == len(other) and all(map(torch.equal, one, other))


def free(model: nn.Module, *optimizers: torch.optim.Optimizer) -> bool:
    """Whether no hook of ours is left, on parameters or optimizers."""
    gates = [getattr(parameter, "_post_accumulate_grad_hooks", None) for parameter in model.parameters()]
    steps = [{*one._optimizer_step_pre_hooks.values(), *one._optimizer_step_post_hooks.values()} for one in optimizers]
    ours = [hook for hooks in steps for hook in hooks if str(getattr(hook, "__module__", "")).startswith("oneticket.")]
    watched = {id(parameter) for parameter in model.parameters()}
    held = [one for one in attached() if watched & {id(parameter) for parameter in one.parameters().values()}]
    return not any(gates) and not ours and not held
