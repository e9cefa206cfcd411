"""Which units reach the loss, by networks small enough to see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from nets import Plain
from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.compact.flops import flops
from oneticket.compact.look import look
from oneticket.compact.sparse import Sparse
from oneticket.compact.units import Units, trace


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Does(nn.Module):
    """Two convolutions of four channels, something done with what they give, and one that reads it."""

    def __init__(self, what: Callable[..., Tensor], reads: int = 4) -> None:
        super().__init__()
        self.what = what
        self.one, self.two = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1)
        self.last = nn.Conv2d(reads, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.what(self.one(x), self.two(x)))


def found(net: nn.Module, dead: dict[str, list[int]], shape: tuple[int, ...] = (3, 2, 4, 4)) -> Units:
    """The units when these inputs of these layers are read by nobody."""
    living = {}
    for name, inputs in dead.items():
        living[f"{name}.weight"] = torch.ones(net.get_submodule(name).weight.shape, dtype=torch.bool)
        living[f"{name}.weight"][:, inputs] = False
    return trace(net, living, torch.zeros(shape))


ROWS: dict[str, tuple[Callable[..., Tensor], int, list[int], dict[str, list[int]]]] = {
    "sum": (lambda x, y: x + y, 4, [1], {"one": [0, 2, 3], "two": [0, 2, 3]}),
    "in place": (lambda x, y: x.add_(y), 4, [1], {"one": [0, 2, 3], "two": [0, 2, 3]}),
    "product": (lambda x, y: torch.mul(x, y), 4, [0, 3], {"one": [1, 2], "two": [1, 2]}),
    "product with a number": (lambda x, y: 2 * x + x / 3 - x.shape[2], 4, [0], {"one": [1, 2, 3], "two": [0]}),
    "gate": (lambda x, y: x * y.mean((2, 3), keepdim=True).sigmoid(), 4, [0], {"one": [1, 2, 3], "two": [1, 2, 3]}),
    "cat": (lambda x, y: torch.cat([x, y], 1), 8, [0, 1, 6], {"one": [2, 3], "two": [0, 1, 3]}),
    "cat by name": (lambda x, y: torch.cat(tensors=(y, x), dim=-3), 8, [0], {"two": [1, 2, 3]}),
    "cat of one": (lambda x, y: torch.cat([x, x], 1), 8, [0, 4, 1], {"one": [1, 2, 3], "two": [0]}),
    "cat of rows": (lambda x, y: torch.cat([x, y], 0), 4, [0], {}),
    "pooled": (lambda x, y: F.max_pool2d(x, 2), 4, [2], {"one": [0, 1, 3], "two": [0]}),
    "ended": (lambda x, y: F.adaptive_avg_pool2d(F.gelu(x), 1), 4, [2], {"one": [0, 1, 3], "two": [0]}),
    "both ways": (lambda x, y: x + torch.softmax(x, 1), 4, [0], {"two": [0]}),
    "turned": (lambda x, y: x.transpose(2, 3), 4, [0], {"two": [0]}),
    "channel read": (lambda x, y: x * x[:, :1], 4, [0], {"two": [0]}),
    "width read": (lambda x, y: x / x.size(1), 4, [0], {"two": [0]}),
    "width read from behind": (lambda x, y: x / x.shape[-3], 4, [0], {"two": [0]}),
    "shape handed on": (lambda x, y: x + torch.zeros(x.shape, device=x.device), 4, [0], {"two": [0]}),
    "height read": (lambda x, y: x / x.size(-1) / x.shape[-2:][0], 4, [0], {"one": [1, 2, 3], "two": [0]}),
    "mean over all": (lambda x, y: x - x.mean(), 4, [0], {"two": [0]}),
    "mean over units": (lambda x, y: x - y.mean(1, keepdim=True), 4, [0], {}),
    "two tensors out": (lambda x, y: F.max_pool2d(x, 2, return_indices=True)[0], 4, [0], {"two": [0]}),
    "noise": (lambda x, y: F.dropout(x), 4, [0], {"two": [0]}),
    "nobody": (lambda x, y: x, 4, [0, 1, 2, 3], {"one": [0], "two": [0]}),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_done_on_the_way(name: str) -> None:
    what, reads, dead, expected = ROWS[name]
    units = found(Does(what, reads), {"last": dead})
    assert not units.note
    assert {name: kept.outputs.tolist() for name, kept in units.kept.items() if name != "last"} == expected
    assert units.removed == {name: 4 - len(stay) for name, stay in expected.items()}


def test_death_goes_backward_and_a_unit_stays_everywhere() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    living = {"2.weight": torch.eye(3, dtype=torch.bool), "4.weight": torch.tensor([[True, False, False]] * 2)}
    units = trace(net, living, torch.zeros(4, 2))
    assert [units.kept[name].outputs.tolist() for name in ("0", "2", "3")] == [[0], [0], [0]]
    assert units.kept["4"].outputs.tolist() == [0, 1] and units.kept["3"].inputs is None
    living["4.weight"] = torch.zeros(2, 3, dtype=torch.bool)
    assert trace(net, living, torch.zeros(4, 2)).removed == {"0": 2, "2": 2}


def test_a_flattened_channel_dies_only_as_a_whole() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3))
    living = torch.ones(3, 8, dtype=torch.bool)
    living[:, 4:7] = False
    assert not trace(net, {"2.weight": living}, torch.zeros(5, 1, 2, 2)).kept
    living[:, 7] = False
    units = trace(net, {"2.weight": living}, torch.zeros(5, 1, 2, 2))
    assert units.removed == {"0": 1} and units.kept["2"].inputs.tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]


def test_shared_layers_stay_whole() -> None:
    relu, twice = nn.ReLU(), nn.Linear(4, 4)
    net = nn.Sequential(nn.Linear(2, 4), relu, twice, relu, twice, nn.Linear(4, 2))
    units = found(net, {"5": [0, 1], "2": [2]}, (3, 2))
    assert "2" in units.bound and not units.kept
    once = nn.Sequential(nn.Linear(2, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 2))
    assert found(once, {"4": [0, 1]}, (3, 2)).removed == {"2": 2}


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.Linear(2, 2), (3, 2)),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), (5, 3, 2)),
        (nn.Sequential(nn.LSTM(2, 2)), (5, 3, 2)),
        (nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)), (2, 4, 4)),
    ],
    ids=["a layer alone", "sequences", "two outputs", "no batch"],
)
def test_other_shapes_than_batches_of_rows_or_images_keep_all(net: nn.Module, shape: tuple[int, ...]) -> None:
    name = "" if isinstance(net, nn.Linear) else list(dict(net.named_children()))[-1]
    dead = {} if isinstance(net[0] if name else net, nn.LSTM) else {name: [0]} if name else {}
    assert not found(net, dead, shape).kept


def test_looking_and_tracing_leave_nothing_behind() -> None:
    net = Plain(nn.Sequential(nn.BatchNorm2d(8), nn.Dropout(0.5)))
    net.middle.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    shapes = {}
    look(net, torch.ones(2, 3, 16, 16), lambda name, layer, args, out: shapes.update({name: tuple(args[0].shape)}))
    assert shapes["fc1"] == (2, 200)
    assert not trace(net, {}, torch.ones(2, 3, 16, 16)).note
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_flops_count_what_is_computed() -> None:
    dense = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.Conv2d(4, 4, 1, groups=2), nn.ConvTranspose2d(4, 1, 3))
    assert flops(dense, torch.zeros(5, 2, 7, 7)) == 9 * 72 + 9 * 8 + 9 * 36
    assert flops(nn.Linear(3, 4), torch.zeros(5, 6, 3)) == 6 * 12
    for layer, shape, places in ((nn.Linear(3, 4), (5, 3), 1), (nn.Conv2d(2, 3, 3), (5, 2, 6, 6), 16)):
        living = torch.zeros(layer.weight.shape, dtype=torch.bool)
        living.view(-1)[:5] = True
        assert flops(Sparse(layer, living), torch.zeros(shape)) == 5 * places
