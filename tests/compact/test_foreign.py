"""Networks with a forward pass of their own, which a trace shows in part: compact or not, they train alike."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.compact import choose
from oneticket.compact.compact import compact
from oneticket.guard.guard import attach
from oneticket.ticket.mask import Mask


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(100, 120), nn.Linear(120, 100), nn.Linear(100, 5)

    def body(self, x: Tensor) -> Tensor:
        return F.relu(self.fc2(F.relu(self.fc1(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.body(x))


class AskingForTypes(Base):
    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.fc1, self.fc2):
            x = F.relu(layer(x)) if isinstance(layer, nn.Linear) else layer(x)
        return self.fc3(x)


class AskingForSizes(Base):
    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.fc1(x.reshape(-1, self.fc1.in_features)))
        return self.fc3(F.relu(self.fc2(hidden)) / math.sqrt(self.fc2.in_features))


class ReadingWeights(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.body(x)) / (1 + sum(weight.abs().mean() for weight in self.parameters()))


class DividingByItsWeights(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.body(x)) / self.fc1.weight.abs().mean()


class WithoutGradient(Base):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = F.relu(self.fc1(x))
        return self.fc3(F.relu(self.fc2(hidden)))


class Detached(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)).detach())))


class WithAnUnusedHead(Base):
    def __init__(self) -> None:
        super().__init__()
        self.aux = nn.Linear(100, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        self.aux(hidden)
        return self.fc3(hidden)


class OtherInEvaluation(Base):
    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.fc1(x))
        hidden = hidden if self.training else hidden / hidden.norm(dim=1, keepdim=True)
        return self.fc3(F.relu(self.fc2(hidden)))


class WithAClosure(Base):
    def __init__(self) -> None:
        super().__init__()
        self.first = lambda x: F.relu(self.fc1(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(F.relu(self.fc2(self.first(x))))


class ByKeyword(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(F.relu(self.fc2(input=F.relu(self.fc1(input=x)))))


class WithTheNameOrphans(Base):
    def __init__(self) -> None:
        super().__init__()
        self.orphans = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.body(x)) * self.orphans


class WithAScale(Base):
    def __init__(self) -> None:
        super().__init__()
        self.fc1.register_buffer("scale", torch.full((1,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(self.body(x)) * self.fc1.scale


def hooked() -> nn.Module:
    model = Base()
    model.fc1.weight.register_hook(lambda grad: grad * 0.1)
    return model


def changing_in_place() -> nn.Module:
    layers = [nn.Flatten(), nn.Linear(100, 120), nn.ReLU(inplace=True), nn.Linear(120, 100), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(100, 5))


MODELS = {
    each.__name__: each
    for each in (
        *(Base, AskingForTypes, AskingForSizes, ReadingWeights, DividingByItsWeights, WithoutGradient, Detached),
        *(WithAnUnusedHead, OtherInEvaluation, WithAClosure, ByKeyword, WithTheNameOrphans, WithAScale),
        *(hooked, changing_in_place),
    )
}


@pytest.fixture(autouse=True)
def _sparse_whatever_it_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "_KNOWN", {})
    monkeypatch.setattr(choose, "MARGIN", 1e9)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", MODELS)
def test_compact_or_not_it_trains_alike(name: str, optimizer: str) -> None:
    made = MODELS[name]()
    weights = [name for name, weight in made.named_parameters() if weight.dim() == 2 and len(weight) > 5]
    remaining = {name: torch.rand(made.get_parameter(name).shape) < 0.05 for name in weights}
    remaining[weights[1]][:, :30] = False  # units of the first layer that nothing reads
    mask = Mask(remaining)
    with torch.no_grad():
        for key, bits in remaining.items():
            made.get_parameter(key).mul_(bits)
    images, labels = torch.randn(40, 100), torch.randint(5, (40,))
    results = {}
    for side in ("masked", "compact"):
        model = MODELS[name]()
        model.load_state_dict(made.state_dict())
        small = compact(model, mask, example=images) if side == "compact" else None
        network, held = (model, mask) if small is None else (small.network, small.mask)
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
        stepper = kind(network.parameters(), lr=0.02, weight_decay=0.1)
        losses = []
        with attach(network, stepper, held):
            for _ in range(6):
                stepper.zero_grad()
                loss = F.cross_entropy(network.train()(images), labels)
                loss.backward()
                stepper.step()
                losses.append(loss.item())
        with torch.no_grad():
            evaluated = network.eval()(images)
        if small is not None:
            small.restore()
        results[side] = (losses, evaluated, dict(model.named_parameters()))
    assert results["compact"][0] == pytest.approx(results["masked"][0], rel=1e-4)
    assert torch.allclose(results["compact"][1], results["masked"][1], rtol=1e-3, atol=1e-4)
    for key, weight in results["masked"][2].items():
        assert torch.allclose(results["compact"][2][key], weight, rtol=1e-3, atol=1e-4), key


def test_what_is_known_and_what_can_be_proved_is_made_smaller() -> None:
    for name in ("Base", "changing_in_place"):
        model = MODELS[name]()
        weights = [key for key, weight in model.named_parameters() if weight.dim() == 2][:2]
        mask = Mask({key: torch.rand(model.get_parameter(key).shape) < 0.01 for key in weights})
        with torch.no_grad():
            for key in mask:
                model.get_parameter(key).mul_(mask[key])
        small = compact(model, mask, example=torch.zeros(40, 100))
        assert small.network is not model and sum(small.removed.values()) > 20, str(small)


def test_why_a_network_is_kept_whole_is_told() -> None:
    for name, words in {"AskingForTypes": "outputs", "AskingForSizes": "in_features", "hooked": "hooks"}.items():
        model = MODELS[name]()
        mask = Mask({key: torch.rand(model.get_parameter(key).shape) < 0.01 for key in ("fc1.weight", "fc2.weight")})
        with torch.no_grad():
            for key in mask:
                model.get_parameter(key).mul_(mask[key])
        before = copy.deepcopy(model.state_dict())
        small = compact(model, mask, example=torch.zeros(40, 100))
        assert small.network is model and words in str(small)
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
        assert all(weight.grad is None for weight in model.parameters())
