"""Which units reach the loss, by networks small enough to see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from nets import Plain, Siamese, shuffle
from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.compact import cut
from oneticket.compact.flops import flops
from oneticket.compact.sparse import Sparse
from oneticket.compact.trace_forward import look
from oneticket.compact.units import KeptUnits, trace


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


def found(net: nn.Module, dead: dict[str, list[int]], shape: tuple[int, ...] = (3, 2, 4, 4)) -> KeptUnits:
    """The units when these inputs of these layers are read by nobody."""
    remaining = {}
    for name, inputs in dead.items():
        remaining[f"{name}.weight"] = torch.ones(net.get_submodule(name).weight.shape, dtype=torch.bool)
        remaining[f"{name}.weight"][:, inputs] = False
    return trace(net, remaining, torch.zeros(shape))


def averaged(x: Tensor, y: Tensor) -> Tensor:
    weights = y.flatten(2).mean(1).softmax(-1)
    return (x.flatten(2) @ weights[..., None])[..., None]


def asserted(x: Tensor, y: Tensor) -> Tensor:
    assert int(x.shape[1]) > 0 and not y[:, 0].isnan().any()
    return x


LEFT, BOTH = {"one": [1, 2, 3], "two": [0]}, {"one": [1, 2, 3], "two": [1, 2, 3]}
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
    "ended in channels_last": (
        lambda x, y: F.adaptive_avg_pool2d(x.contiguous(memory_format=torch.channels_last), 1),
        4,
        [2],
        {"one": [0, 1, 3], "two": [0]},
    ),
    "turned in place": (lambda x, y: x.relu().transpose_(1, 3).squeeze_(0).transpose_(1, 3), 4, [0], LEFT),
    "overlapping": (lambda x, y: x.as_strided(x.shape, (64, 16, 1, 4)), 4, [0], {"two": [0]}),
    "both ways": (lambda x, y: x + torch.softmax(x, 1), 4, [0], {"two": [0]}),
    "turned": (lambda x, y: x.transpose(2, 3), 4, [0], {"one": [1, 2, 3], "two": [0]}),
    "channels last and back": (lambda x, y: x.movedim(1, -1).relu().permute(0, 3, 1, 2), 4, [0], LEFT),
    "padded": (lambda x, y: F.pad(x, (1, 2), value=3.0) * F.pad(y, (1, 2)), 4, [0], BOTH),
    "rolled": (lambda x, y: x.roll(1, 2).flip(3), 4, [2], {"one": [0, 1, 3], "two": [0]}),
    "halves swapped": (lambda x, y: torch.cat(x.split(2, 1)[::-1], 1), 4, [0, 2], {"one": [1, 3], "two": [0]}),
    "halves of two sizes": (lambda x, y: torch.cat(x.chunk(2, 1)[::-1], 1), 4, [2], {"one": [1, 2, 3], "two": [0]}),
    "shuffled": (lambda x, y: shuffle(torch.cat([x, y], 1), 2), 8, [2, 3], {"one": [0, 2, 3], "two": [0, 2, 3]}),
    "shuffled unevenly": (lambda x, y: shuffle(torch.cat([x, y], 1), 2), 8, [2], {}),
    "a shuffle of torch": (lambda x, y: F.channel_shuffle(x, 2), 4, [2, 3], {"one": [0, 2], "two": [0]}),
    "pixels shuffled": (lambda x, y: F.pixel_shuffle(torch.cat([x, y], 1), 2), 2, [0], {}),
    "gated halves": (lambda x, y: F.glu(torch.cat([x, y], 1), 1), 4, [1], {"one": [0, 2, 3], "two": [0, 2, 3]}),
    "normed by places": (lambda x, y: F.layer_norm(x, x.shape[2:]), 4, [1], {"one": [0, 2, 3], "two": [0]}),
    "normed by units": (lambda x, y: F.layer_norm(x.movedim(1, -1), [4]).movedim(-1, 1), 4, [1], {"two": [0]}),
    "normed by neighbours": (lambda x, y: F.local_response_norm(x, 3), 4, [1], {"two": [0]}),
    "divided by a norm": (lambda x, y: F.normalize(x, dim=1), 4, [1], {"two": [0]}),
    "resized": (lambda x, y: F.interpolate(x, scale_factor=2), 4, [1], {"one": [0, 2, 3], "two": [0]}),
    "picked by number": (lambda x, y: x[:, [3, 1]], 2, [0], {"two": [0]}),
    "places picked": (lambda x, y: x[:, :, [2, 0]], 4, [1], {"one": [0, 2, 3], "two": [0]}),
    "averaged by weights": (averaged, 4, [1], {"one": [0, 2, 3]}),
    "averaged with more heads": (lambda x, y: y.mean((1, 2)).softmax(-1)[:, None, None] @ x, 4, [1], {}),
    "written over": (lambda x, y: torch.zeros_like(x[:, :1]).repeat(1, 4, 1, 1).copy_(x), 4, [1], {"two": [0]}),
    "a function that is not known": (lambda x, y: torch.fft.fft(x).real, 4, [1], {"two": [0]}),
    "an assertion": (asserted, 4, [0], {"one": [1, 2, 3], "two": [0]}),
    "two ways": (lambda x, y: x.relu() if (y > 0).all() else x + y, 4, [0], {}),
    "a number read": (lambda x, y: x * float(y[0, 0, 0, 0]), 4, [0], {}),
    "numbers read by NumPy": (lambda x, y: x * float(y.detach().numpy().max()), 4, [0], {}),
    "numbers read as a list": (lambda x, y: x * max(y.flatten().tolist()), 4, [0], {}),
    "a constant's numbers read": (lambda x, y: x * max(torch.arange(3).tolist()), 4, [0], LEFT),
    "channel read": (lambda x, y: x * x[:, :1], 4, [0], {"two": [0]}),
    "width read": (lambda x, y: x / x.size(1), 4, [0], {"two": [0]}),
    "width read from behind": (lambda x, y: x / x.shape[-3], 4, [0], {"two": [0]}),
    "shape handed on": (lambda x, y: x + torch.zeros(x.shape, device=x.device), 4, [0], {"two": [0]}),
    "height read": (lambda x, y: x / x.size(-1) / x.shape[-2:][0], 4, [0], {"one": [1, 2, 3], "two": [0]}),
    "mean over all": (lambda x, y: x - x.mean(), 4, [0], {"two": [0]}),
    "mean over units": (lambda x, y: x - y.mean(1, keepdim=True), 4, [0], {"one": [1, 2, 3]}),
    "two tensors out": (
        lambda x, y: F.max_pool2d(x, 2, return_indices=True)[0],
        4,
        [0],
        {"one": [1, 2, 3], "two": [0]},
    ),
    "noise": (lambda x, y: F.dropout(x), 4, [0], {"two": [0]}),
    "nobody": (lambda x, y: x, 4, [0, 1, 2, 3], {"one": [0], "two": [0]}),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_done_on_the_way(name: str) -> None:
    what, reads, dead, expected = ROWS[name]
    net = Does(what, reads)
    units = found(net, {"last": dead})
    assert bool(units.note) == (name in ("a number read", "numbers read by NumPy", "numbers read as a list"))
    assert {name: kept.outputs.tolist() for name, kept in units.kept.items() if name != "last"} == expected
    assert units.removed == {name: 4 - len(stay) for name, stay in expected.items()}
    with torch.no_grad():
        net.last.weight[:, dead] = 0
    small, x = cut.smaller(net, cut.cuts(net, units.kept)), torch.randn(5, 2, 4, 4)
    outputs = []
    for each in (net, small):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            outputs.append(each(x))
    torch.testing.assert_close(*outputs)


def test_death_goes_backward_and_a_unit_stays_everywhere() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    remaining = {"2.weight": torch.eye(3, dtype=torch.bool), "4.weight": torch.tensor([[True, False, False]] * 2)}
    units = trace(net, remaining, torch.zeros(4, 2))
    assert [units.kept[name].outputs.tolist() for name in ("0", "2", "3")] == [[0], [0], [0]]
    assert units.kept["4"].outputs.tolist() == [0, 1] and units.kept["3"].inputs is None
    remaining["4.weight"] = torch.zeros(2, 3, dtype=torch.bool)
    assert trace(net, remaining, torch.zeros(4, 2)).removed == {"0": 2, "2": 2}


def test_a_flattened_channel_dies_only_as_a_whole() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3))
    remaining = torch.ones(3, 8, dtype=torch.bool)
    remaining[:, 4:7] = False
    assert not trace(net, {"2.weight": remaining}, torch.zeros(5, 1, 2, 2)).kept
    remaining[:, 7] = False
    units = trace(net, {"2.weight": remaining}, torch.zeros(5, 1, 2, 2))
    assert units.removed == {"0": 1} and units.kept["2"].inputs.tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(self.two(self.one(x)).relu()))


def test_layers_may_be_called_twice_but_not_go_by_two_names() -> None:
    relu, twice = nn.ReLU(), nn.Linear(4, 4)
    net = nn.Sequential(nn.Linear(2, 4), relu, twice, relu, twice, nn.Linear(4, 2))
    units = found(net, {"5": [0, 1], "2": [0, 1]}, (3, 2))
    assert "2" in units.bound and not units.kept
    assert found(Twice(), {"two": [0], "three": [1]}, (3, 4)).removed == {}, "what goes in twice is read twice"
    assert found(Twice(), {"two": [0, 1], "three": [0, 1]}, (3, 4)).removed == {"one": 2, "two": 2}
    once = nn.Sequential(nn.Linear(2, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 2))
    assert found(once, {"4": [0, 1]}, (3, 2)).removed == {"2": 2}


@pytest.mark.parametrize(
    ("net", "shape", "removed"),
    [
        (nn.Linear(2, 2), (3, 2), {}),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), (5, 3, 2), {"0": 1}),
        (nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2)), (5, 3, 2), {}),
        (nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)), (2, 4, 4), {"0": 1}),
    ],
    ids=["a layer alone", "sequences", "several outputs", "no batch"],
)
def test_sequences_and_single_images(net: nn.Module, shape: tuple[int, ...], removed: dict[str, int]) -> None:
    plain = isinstance(net, nn.Sequential) and not isinstance(net[1], nn.LSTM)
    assert found(net, {"1": [0]} if plain else {}, shape).removed == removed


@pytest.mark.parametrize("groups", [2, 4])
def test_one_group_may_be_left(groups: int) -> None:
    net = nn.Sequential(
        *(nn.Conv2d(2, 4, 1), nn.PReLU(4), nn.Conv2d(4, 8, 1, groups=groups), nn.GroupNorm(groups, 8), nn.PReLU()),
        nn.Conv2d(8, 2, 1),
    )
    units = found(net, {"5": list(range(8 // groups, 8))})
    assert units.removed == {"0": 4 - 4 // groups} and not units.stopped
    small = cut.smaller(net, cut.cuts(net, units.kept))
    assert (small[2].groups, small[2].in_channels, small[2].out_channels) == (1, 4 // groups, 8 // groups)
    assert (small[3].num_groups, small[3].num_channels, small[1].num_parameters) == (1, 8 // groups, 4 // groups)
    with torch.no_grad():
        net[5].weight[:, 8 // groups :] = 0
    x = torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(small(x), net(x))


def test_several_inputs_by_place_and_by_name_and_outputs_in_anything() -> None:
    net = Siamese()
    remaining = torch.ones(8, 12, dtype=torch.bool)
    remaining[:, 3:] = False
    for training in (True, False):
        x = torch.rand(2, 2, 16)
        units = trace(net, {"encoder.3.weight": remaining}, x[0], training=training, other=x[1])
        assert units.removed == {"encoder.0": 9} and not units.stopped and not units.note
    assert [
        len(each.kept) for each in trace(net, {"encoder.3.weight": remaining}, x[0], other=x[1]).thinned.values()
    ] == [3]


class Between(nn.Module):
    """Something between two layers of eight units, of which the second reads two."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.one, self.middle, self.two = nn.Linear(4, 8), middle, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.middle(self.one(x)))


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True))


class Figures(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, 2, 4).flatten(1)


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand_like(x)


STOPS = {
    "LayerNorm": (nn.LayerNorm(8), "unread unit still enters its mean and variance"),
    "RMSNorm": (nn.RMSNorm(8), "unread unit still enters its mean"),
    "Root": (Root(), "unread unit still enters its mean"),
    "Softmax": (nn.Softmax(-1), "works across units"),
    "Figures": (Figures(), "view does not follow when units go"),
    "Draws": (Draws(), "rand_like draws random numbers for each unit"),
    "Softmin": (nn.Softmin(-1), "works across units"),
    "Tanhshrink": (nn.Tanhshrink(), ""),
}


@pytest.mark.parametrize("name", STOPS)
def test_units_that_nobody_reads_stay_with_the_layer_that_stopped_it(name: str) -> None:
    middle, why = STOPS[name]
    units = found(Between(middle), {"two": [2, 3, 4, 5, 6, 7]}, (3, 4))
    assert units.removed == ({} if why else {"one": 6})
    assert [(stop.layer, stop.units, stop.at) for stop in units.stopped] == [("one", 6, f"middle ({name})")] * bool(why)
    assert all(why in stop.why for stop in units.stopped)
    assert not found(Between(middle), {}, (3, 4)).stopped, "all are read"


class Tied(nn.Module):
    """Its last layer has the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.one, self.last = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False)
        self.last.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.one(self.embedding(x.long())))


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.both = nn.Linear(4, 8), nn.Linear(4, 8), nn.Bilinear(8, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.both(self.one(x), self.two(x))


@pytest.mark.parametrize("net", [Tied(), Pairs()], ids=["tied", "bilinear"])
def test_what_may_read_its_units_is_not_said_to_leave_them(net: nn.Module) -> None:
    units = found(net, {}, (3, 4))
    assert not units.stopped and not units.removed and not units.note


class Again(nn.Module):
    """One dropout layer, for its input and for its units."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.drop = nn.Linear(6, 8), nn.Linear(8, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.drop(self.one(self.drop(x))))


def test_a_dropout_layer_that_draws_for_others_too_keeps_its_units() -> None:
    """Six of eight units would lie on six inputs, so that nothing fails and other numbers are drawn."""
    units = found(Again(), {"two": [1, 3]}, (2, 6))
    assert not units.removed and not units.thinned
    assert [(stop.units, stop.at) for stop in units.stopped] == [(2, "drop (Dropout)")]
    remaining = {"two.weight": torch.ones(3, 8, dtype=torch.bool).index_fill(1, torch.tensor([1, 3]), False)}
    assert trace(Again(), remaining, torch.zeros(2, 6), training=False).removed == {"one": 2}


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
        remaining = torch.zeros(layer.weight.shape, dtype=torch.bool)
        remaining.view(-1)[:5] = True
        assert flops(Sparse(layer, remaining), torch.zeros(shape)) == 5 * places
