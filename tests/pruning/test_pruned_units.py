"""What a unit is: the weights without which a layer has one input, output or head less; blocks; neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from attentive import Packed, bert, clip, gpt, llama, vit
from torch import Tensor, nn

from oneticket.ground.errors import PruneError
from oneticket.pruning.layers import layout
from oneticket.pruning.spec import PruningSpec
from oneticket.pruning.units import Units, find


@pytest.fixture(autouse=True)
def _layers_draw_from_the_global_state() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def rule(granularity: str, net: nn.Module, names: list[str]) -> Units:
    found = find(PruningSpec(granularity=granularity, scope="layerwise"), net, names)
    assert found is not None
    return found


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, 8, bias=False),
    "conv": lambda: nn.Conv2d(6, 8, 3, bias=False),
    "1x1": lambda: nn.Conv2d(6, 8, 1, bias=False),
    "grouped": lambda: nn.Conv1d(6, 8, 2, groups=2, bias=False),
    "depthwise": lambda: nn.Conv2d(6, 12, 3, groups=6, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(6, 8, 3, bias=False),
    "transposed, grouped": lambda: nn.ConvTranspose1d(6, 8, 3, groups=2, bias=False),
    "inputs first": lambda: _foreign(),
}


def _foreign() -> nn.Module:
    library = pytest.importorskip("transformers.pytorch_utils", reason="Transformers is an optional package")
    return library.Conv1D(8, 6)


def read(layer: nn.Module) -> Tensor:
    """Whether output channel o depends on input channel i, for weights that are not zero: (outputs, inputs)."""
    dims = layer.weight.dim() - 2
    if not dims:
        return (layer(torch.eye(6)) - layer(torch.zeros(6))).T != 0
    x = torch.randn(6, *([4] * dims), generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = layer(x[None]).squeeze(0).flatten(1)
    rows = [torch.autograd.grad(one.sum(), x, retain_graph=True)[0].reshape(6, -1).abs().sum(1) > 0 for one in out]
    return torch.stack(rows)


@pytest.mark.parametrize("kind", ["channel", "filter"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_unit_is_what_one_channel_needs(name: str, kind: str) -> None:
    layer = LAYERS[name]()
    family = rule(kind, layer, ["weight"]).families["weight"]
    with torch.no_grad():
        layer.weight.copy_(torch.rand(layer.weight.shape) + 0.5)  # no sum of them is zero
        weights = layer.weight.clone()
    whole = read(layer)
    assert family.count == (whole.shape[1] if kind == "channel" else whole.shape[0])
    for unit in range(family.count):
        with torch.no_grad():
            layer.weight.copy_(weights * (family.of("weight") != unit))
        left = read(layer)
        expected = whole.clone()
        (expected[:, unit] if kind == "channel" else expected[unit]).fill_(False)
        assert torch.equal(left, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_neighbours_are_inputs_of_one_output_at_one_place(name: str) -> None:
    layer = LAYERS[name]()
    if name == "depthwise":
        with pytest.raises(PruneError, match="weight has 12 outputs of 1 inputs each, no multiple of 1 x 3"):
            rule("1:3", layer, ["weight"])
        return
    family = rule("1:3", layer, ["weight"]).families["weight"]
    of, swapped = family.of("weight"), name in ("transposed", "transposed, grouped", "inputs first")
    groups = (of.transpose(0, 1) if swapped else of).movedim(1, -1).reshape(-1, 3)
    assert (groups == groups[:, :1]).all()
    assert sorted(groups[:, 0].tolist()) == list(range(family.count))
    assert family.size == 3


@pytest.mark.parametrize("name", LAYERS)
def test_blocks_tile_the_matrix(name: str) -> None:
    layer = LAYERS[name]()
    granularity, width = ("block:4x1", 1) if name == "depthwise" else ("block:2x3", 3)
    family = rule(granularity, layer, ["weight"]).families["weight"]
    of = family.of("weight")
    if layout(layer, "weight").inputs_first:
        of = of.transpose(0, 1)
    matrix, high = of.reshape(of.shape[0], -1), 4 if name == "depthwise" else 2
    tiles = matrix.unfold(0, high, high).unfold(1, width, width).reshape(-1, high * width)
    assert (tiles == tiles[:, :1]).all()
    assert tiles[:, 0].tolist() == list(range(family.count))


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_a_recurrent_layers_filter_is_a_unit_in_all_gates(kind: type[nn.RNNBase], gates: int) -> None:
    net = kind(3, 5, bias=False)
    found = rule("filter", net, ["weight_ih_l0", "weight_hh_l0"]).families
    with torch.no_grad():
        for name, family in found.items():
            assert (family.count, family.size) == (5, gates * net.get_parameter(name).shape[1])
            net.get_parameter(name)[family.of(name) == 2] = 0
        out = net(torch.randn(7, 1, 3))[0]
    assert (out[..., 2] == 0).all() and (out[..., [0, 1, 3, 4]] != 0).all()


class Attends(nn.Module):
    """Self-attention of torch's layer."""

    def __init__(self, *, wide: bool = False) -> None:
        super().__init__()
        sizes = {"kdim": 6, "vdim": 5} if wide else {}
        self.sizes, self.layer = sizes, nn.MultiheadAttention(16, 4, batch_first=True, **sizes)

    def forward(self, x: Tensor) -> Tensor:
        key, value = (x[..., : self.sizes.get(name, 16)] for name in ("kdim", "vdim"))
        return self.layer(x, key, value)[0]


STATES = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(3))
WORDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
HEADS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor], str]] = {
    "torch": (Attends, lambda net: net(STATES), "out_proj"),
    "torch, unpacked": (lambda: Attends(wide=True), lambda net: net(STATES), "out_proj"),
    "packed": (Packed, lambda net: net(STATES), "proj"),
    "bert": (bert, lambda net: net(WORDS).last_hidden_state, "output.dense"),
    "gpt": (gpt, lambda net: net(WORDS).last_hidden_state, "attn.c_proj"),
    "llama": (llama, lambda net: net(WORDS).last_hidden_state, "o_proj"),
    "clip": (clip, lambda net: net(torch.ones(2, 3, 8, 8)).last_hidden_state, "out_proj"),
    "vit": (vit, lambda net: net(torch.ones(2, 3, 8, 8)).last_hidden_state, "o_proj"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_what_goes_when_nobody_reads_it(name: str) -> None:
    make, forward, reader = HEADS[name]
    net = make().eval()
    weights = {each: weight.detach().clone() for each, weight in net.named_parameters()}
    found = rule("head", net, [each for each, weight in weights.items() if weight.dim() == 2]).families

    def output(family: str, unit: int, choose: Callable[[str], bool]) -> Tensor:
        with torch.no_grad():
            for each in found[family].parts:
                gone = (found[family].of(each) == unit) & choose(each)
                net.get_parameter(each).copy_(weights[each].masked_fill(gone, 0))
            out = forward(net)
            for each in found[family].parts:
                net.get_parameter(each).copy_(weights[each])
        return out

    assert found
    whole = output(next(iter(found)), 0, lambda _: False)
    for family, units in found.items():
        assert units.count == 4
        assert sum(f"{reader}.weight" in each for each in units.parts) == 1
        for unit in range(4):
            unread = output(family, unit, lambda each: f"{reader}.weight" in each)
            unmade = output(family, unit, lambda each: f"{reader}.weight" not in each)
            assert not torch.allclose(unread, whole, atol=1e-5)
            torch.testing.assert_close(unmade, unread)
            torch.testing.assert_close(output(family, unit, lambda _: True), unread)


class Shared(nn.Module):
    """Attention whose heads share keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.q_proj, self.k_proj = 4, nn.Linear(16, 16), nn.Linear(16, 8)
        self.v_proj, self.out_proj = nn.Linear(16, 8), nn.Linear(16, 16)


@pytest.mark.parametrize(
    ("granularity", "net", "message"),
    [
        ("2:4", nn.Linear(6, 4), r"weight has 4 outputs of 6 inputs each, no multiple of 1 x 4; leave .* '!weight'"),
        ("block:3x2", nn.Linear(6, 4), r"weight has 4 outputs of 6 weights each, no multiple of 3 x 2"),
        ("2:4", nn.Conv2d(3, 8, 4), "of 3 inputs"),
        ("2:4", nn.ConvTranspose2d(4, 8, 4, groups=2), "of 2 inputs"),
        (
            "channel",
            nn.Bilinear(3, 4, 5),
            "the inputs and outputs of weight are not known; leave it out with the pattern",
        ),
        ("head", nn.Linear(6, 4), "Linear has no attention that is known"),
        ("head", Shared(), "k_proj.weight makes 8 features where 4 heads of out_proj.weight read 16"),
    ],
    ids=str,
)
def test_what_has_no_such_units_is_refused_by_name(granularity: str, net: nn.Module, message: str) -> None:
    names = [name for name, weight in net.named_parameters() if weight.dim() > 1]
    with pytest.raises(PruneError, match=message):
        rule(granularity, net, names)
