"""Searches over layers of every kind: recurrent, attention, grouped, transposed, tied and computed weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneticket.compact import choose
from oneticket.ground.errors import PruneError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec

SOURCE = """
import torch
from torch import nn
from torch.nn.utils import parametrizations


class Recurrent(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.LSTM(8, 12, batch_first=True, bidirectional=True)
        self.top = nn.Linear(24, classes)

    def forward(self, x):
        return self.top(self.body(x.squeeze(1))[0][:, -1])


class Attention(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.MultiheadAttention(8, 4, batch_first=True)
        self.top = nn.Linear(64, classes)

    def forward(self, x):
        rows = x.squeeze(1)
        return self.top((rows + self.body(rows, rows, rows, need_weights=False)[0]).flatten(1))


class Tied(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.one, self.two, self.top = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, classes)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.top(torch.relu(self.two(torch.relu(self.one(x.flatten(1))))))


def convolutions(classes):
    return nn.Sequential(
        nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.Conv2d(8, 16, 3, stride=2, groups=4),
        nn.ReLU(), nn.ConvTranspose2d(16, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 25, classes),
    )


def computed(classes):
    body = nn.Linear(64, 32), nn.ReLU(), parametrizations.weight_norm(nn.Linear(32, 32)), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *body, nn.Linear(32, classes))
"""

NETS = {
    "Recurrent": {f"body.weight_{kind}_l0{way}" for kind in ("ih", "hh") for way in ("", "_reverse")},
    "Attention": {"body.in_proj_weight", "body.out_proj.weight"},
    "Tied": {"one.weight"},
    "convolutions": {"0.weight", "2.weight", "3.weight", "5.weight"},
    "computed": {"1.weight"},
}


@pytest.fixture
def _own_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "any_layer_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("any_layer_nets", None)


def spec(name: str, **pruning: object) -> SearchSpec:
    training = {"budget": "6it", "batch": 32, "clip": 1.0}
    return SearchSpec.read(
        {
            "data": "digits:a",
            "model": {"name": f"any_layer_nets:{name}"},
            "training": training,
            "optimizer": "adam",
            "rewind": "1it",
            "pruning": pruning,
        }
    )


@pytest.mark.usefixtures("_own_nets")
@pytest.mark.parametrize("name", NETS)
def test_any_layer_is_searched_as_it_would_be_without_compaction(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "worth", lambda *_: 0.5)  # however fast this machine is
    asked = spec(name, fraction=0.7)
    found, masked = (search(asked, levels=2, context=RunContext(compact=compact)) for compact in (True, False))
    assert set(found.pruned_at) == NETS[name]
    for one, other in zip(found.records, masked.records, strict=True):
        assert one["living"] == other["living"]
        assert one["loss"] == pytest.approx(other["loss"], rel=2e-3)
    assert found.records[2]["living"] < 0.1 * found.mask(0).total


@pytest.mark.usefixtures("_own_nets")
@pytest.mark.parametrize("name", NETS)
def test_any_layer_is_searched_by_channel(name: str) -> None:
    found = search(spec(name, granularity="channel", scope="layerwise", fraction=0.5), levels=1)
    at = found.pruned_at
    assert any(gone.any() for gone in at.values())
    if name == "Recurrent":
        assert all(bool(((gone > 0).sum(0) % len(gone) == 0).all()) for gone in at.values())


@pytest.mark.usefixtures("_own_nets")
def test_torchs_attention_is_searched_by_head_and_others_are_refused() -> None:
    rule = {"granularity": "head", "scope": "layerwise", "fraction": 0.5}
    found = search(spec("Attention", **rule), levels=2)
    assert found.mask(2).counts == {"body.in_proj_weight": 48, "body.out_proj.weight": 16}
    with pytest.raises(PruneError, match="granularity head: Tied has no attention that is known"):
        search(spec("Tied", **rule), levels=1)
