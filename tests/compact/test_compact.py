"""The law of compaction: a smaller network trains as the masked one does, in the model's own weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import (
    GPT,
    Branches,
    Counts,
    Depends,
    Direct,
    Figures,
    MobileNet,
    Noisy,
    Picked,
    Plain,
    Random,
    Reads,
    ShuffleNet,
    Siamese,
    Softmax,
    ViT,
    attention,
    frozen,
    tied,
)
from tables import BEYOND_IMAGES, MODELS, OPTIMIZERS, batch, outputs_of
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oneticket.compact import choose, cut
from oneticket.compact.compact import Compact, compact
from oneticket.compact.flops import flops
from oneticket.ground.errors import PruneError
from oneticket.guard.guard import attach, guarded
from oneticket.guard.narrow import sliced
from oneticket.models.build import build
from oneticket.models.parts import head, prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask

pytestmark = pytest.mark.convolutions

SHAPE, COUNT, STEPS = (3, 16, 16), 12, 6
SGD = {"name": "sgd", "lr": 0.05, "nesterov": True, "weight_decay": 1e-2}


def images(dtype: torch.dtype) -> Tensor:
    return torch.randn(COUNT, *SHAPE, generator=torch.Generator().manual_seed(5)).to(dtype)


def random(model: nn.Module, density: float) -> Mask:
    generator = torch.Generator().manual_seed(1)
    shapes = {name: model.get_parameter(name).shape for name in prunable(model)}
    return Mask({name: torch.rand(shape, generator=generator) < density for name, shape in shapes.items()})


def structured(model: nn.Module, density: float = 0.6) -> Mask:
    """The first half of every layer's inputs is read by nobody."""
    remaining = dict(random(model, density))
    for lives in remaining.values():
        lives[:, : lives.shape[1] // 2] = False
    return Mask(remaining)


def fit(network: nn.Module, mask: Mapping[str, Tensor], optimizer: Mapping[str, Any], x: Tensor) -> Tensor:
    """Some clipped steps, and the losses on the way."""
    optimizers = build_optimizers(OptimizerSpec.read(optimizer), network, head=head(network))
    losses = []
    network.train()
    guard = guarded(network, optimizers, mask, rule="gate+project")
    with guard, sliced(network), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for _ in range(STEPS):
            network.zero_grad()
            outputs = network(x).flatten(0, -2)
            loss = cross_entropy(outputs, torch.arange(len(outputs)) % 10)
            loss.backward()
            nn.utils.clip_grad_norm_([p for p in network.parameters() if p.requires_grad], 0.5)
            for each in optimizers:
                each.step()
            losses.append(loss.detach())
        guard.audit()
    return torch.stack(losses)


def agree(
    model: nn.Module,
    mask: Mask,
    optimizer: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float64,
    tolerance: float = 1e-9,
    x: Tensor | None = None,
    **policy: Any,
) -> Compact:
    """Train both ways from the same weights, on `x`, and compare all there is; what compaction did."""
    model.to(dtype)
    x = images(dtype) if x is None else x.to(dtype) if x.is_floating_point() else x
    masked = copy.deepcopy(model)
    with torch.no_grad():
        for name, lives in mask.items():
            model.get_parameter(name)[~lives] = 0
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    small = compact(model, mask, example=torch.zeros_like(x), **policy)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    expected = fit(masked, mask, optimizer, x)
    losses = fit(small.network, small.mask, optimizer, x)
    if small.network is not model:
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "not yet"
    small.restore()
    torch.testing.assert_close(losses, expected, rtol=tolerance, atol=tolerance)
    found, wanted = model.state_dict(), masked.state_dict()
    assert list(found) == list(wanted)
    for name, value in found.items():
        assert value.shape == wanted[name].shape and value.stride() == wanted[name].stride(), name
        if "running" in name and name in small.cuts:
            removed = torch.ones(len(value), dtype=torch.bool)
            removed[small.cuts[name]] = False
            assert removed.any() and torch.equal(value[removed], before[name][removed])
            value, wanted[name] = value[~removed], wanted[name][~removed]
        torch.testing.assert_close(
            value, wanted[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )
    for name, lives in mask.items():
        pruned = model.get_parameter(name).detach()[~lives]
        assert not pruned.any() and not pruned.signbit().any(), name
    assert any(not torch.equal(value, before[name]) for name, value in found.items() if "weight" in name)
    return small


def known(name: str) -> nn.Module:
    net = build(MODELS[name], inputs=Inputs(shape=SHAPE), outputs=10, seed=0)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


# Not vgg-11: the gradient of a bias before BatchNorm is rounding alone, which Adam and RMSprop scale up, so that masked
# training does not repeat itself in another memory layout either.
@pytest.mark.parametrize("model", ["lenet", "conv-2", "resnet-20"])
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if OptimizerSpec.read(OPTIMIZERS[name]).elementwise])
def test_every_optimizer_gives_the_weights_of_masked_training(optimizer: str, model: str) -> None:
    net = known(model)
    decay = {} if optimizer == "sgd-plain" else {"weight_decay": 1e-2}
    small = agree(net, structured(net), OPTIMIZERS[optimizer] | decay)
    assert small.removed and not small.note
    assert "orphans" in dict(small.network.named_parameters())


# What structured masks leave nobody to read; a text-cnn's convolutions read an embedding, which has no units.
GONE = {
    "mlp-on-vectors": {"fc1": 20},
    "lenet-on-series": {"fc1": 15},
    "series-cnn": {"conv1": 12, "conv2": 12},
    "text-cnn": {},
    "byte-gpt": {"block1.fc1": 48, "block2.fc1": 48},
}


@pytest.mark.parametrize("name", BEYOND_IMAGES)
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ("muon", "your own")])
def test_networks_for_other_inputs_than_images_do_too(optimizer: str, name: str) -> None:
    spec, inputs = BEYOND_IMAGES[name]
    net = build(spec, inputs=inputs, outputs=outputs_of(spec.name, inputs), seed=0)
    small = agree(net, structured(net), OPTIMIZERS[optimizer], x=batch(inputs, COUNT))
    assert small.removed == GONE[name] and not small.note
    stops = {stop.layer: stop.at for stop in small.stopped if "a size may stand in the code" in stop.why}
    where = {f"block{n}.attention.v_proj": f"block{n}.attention (Attention)" for n in (1, 2)}
    assert stops == (where if name == "byte-gpt" else {}), "heads have one size: their values stay"


@pytest.mark.parametrize("density", [0.2, 0.02])
@pytest.mark.parametrize("name", ["mlp-on-vectors", "byte-gpt"])
def test_sparse_layers_take_rows_and_places(
    name: str, density: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path))  # what other tests measured has another margin
    monkeypatch.setattr(choose, "_KNOWN", {})
    monkeypatch.setattr(choose, "MARGIN", 1e9)
    monkeypatch.setattr(choose, "SMALLEST", 1)
    spec, inputs = BEYOND_IMAGES[name]
    net = build(spec, inputs=inputs, outputs=outputs_of(spec.name, inputs), seed=0)
    x = batch(inputs, COUNT)
    small = agree(net, random(net, density), SGD, dtype=torch.float32, tolerance=1e-3, x=x)
    assert "sparse" in small.forms.values()


@pytest.mark.parametrize("density", [0.5, 0.1, 0.02, 0.005])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_does_under_random_masks(model: str, density: float) -> None:
    net = known(model)
    small = agree(net, random(net, density), SGD)
    assert small.removed if density < 0.01 else small.forms
    assert set(small.forms) == set(prunable(net))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_loses_dead_units_and_work(model: str) -> None:
    net = known(model)
    small = agree(net, structured(net), SGD)
    assert small.removed and flops(small.network, images(torch.float64)) < 0.6 * flops(net, images(torch.float64))
    for name, gone in small.removed.items():
        assert len(small.network.get_parameter(f"{name}.weight")) == len(net.get_parameter(f"{name}.weight")) - gone


@pytest.mark.parametrize("worth", [0.0, 0.5])
@pytest.mark.parametrize("model", ["conv-2", "resnet-20", "vgg-11"])
def test_float32_agrees_to_its_rounding(model: str, worth: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "worth", lambda *_: worth)
    net = known(model)
    assert agree(net, structured(net), SGD, dtype=torch.float32, tolerance=1e-3).removed


@pytest.fixture
def sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer of few remaining weights is sparse, however fast this machine is."""
    monkeypatch.setattr(choose, "worth", lambda *_: 0.5)


@pytest.mark.parametrize("optimizer", ["sgd-nesterov", "adamw", "rmsprop"])
def test_sparse_layers_agree_to_float32(optimizer: str, sparse: None) -> None:
    net = build(ModelSpec(name="lenet-300-100"), inputs=Inputs(shape=SHAPE), outputs=10, seed=0)
    small = agree(net, random(net, 0.01), OPTIMIZERS[optimizer], dtype=torch.float32, tolerance=1e-3)
    assert small.forms["fc1.weight"] == "sparse" and small.removed
    assert small.network.get_parameter("fc1.weight").dim() == 1


OWN: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "branches": (Branches, {"one", "two", "fc1"}),
    "identity": (lambda: Plain(nn.Identity()), {"one", "two"}),
    "norm": (lambda: Plain(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(inplace=True))), {"one", "two"}),
    "frozen": (frozen, {"one", "two"}),
    "grouped": (lambda: Plain(nn.Conv2d(8, 8, 3, padding=1, groups=4)), {"one", "two"}),
    "depthwise": (lambda: Plain(nn.Conv2d(8, 8, 3, padding=1, groups=8)), {"one", "two"}),
    "transposed": (lambda: Plain(nn.ConvTranspose2d(8, 8, 3, padding=1)), {"two"}),
    "group-norm": (lambda: Plain(nn.GroupNorm(2, 8)), {"one", "two"}),
    "group-norm-across": (lambda: Plain(nn.GroupNorm(1, 8)), {"two"}),
    "softmax": (lambda: Plain(Softmax()), {"two"}),
    "picked": (lambda: Plain(Picked()), {"two"}),
    "prelu": (lambda: Plain(nn.PReLU(8)), {"one", "two"}),
    "dropout": (lambda: Plain(nn.Dropout(0.5)), {"one", "two"}),
    "dropout-of-channels": (lambda: Plain(nn.Dropout2d(0.5)), {"one", "two"}),
    "alpha-dropout": (lambda: Plain(nn.AlphaDropout(0.5)), {"one", "two"}),
    "rrelu": (lambda: Plain(nn.RReLU()), {"two"}),  # it draws for what is below zero alone
    "dropout-in-channels-last": (
        lambda: Plain(nn.Dropout(0.5)).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        {"one", "two"},
    ),
    "dropout-turned": (lambda: Plain(Turned()), {"one", "two"}),
    "dropout-as-a-function": (lambda: Noisy(nn.Identity()), {"one"}),
    "pool-indices": (lambda: Plain(Indices()), {"one", "two"}),
    "figures": (lambda: Figures(nn.Identity()), {"one"}),
    "counts": (lambda: Counts(nn.Identity()), {"two"}),
    "tied": (tied, set()),
    "direct": (lambda: Direct(nn.Identity()), set()),
    "attention": (attention, set()),
    "depends": (lambda: Depends(nn.Identity()), {"two"}),
    "mobilenet": (MobileNet, {"features.0", "features.3.conv.0", "features.4.conv.0"}),
    "shufflenet": (ShuffleNet, {"first.0", "units.0.branch.0", "units.1.branch.5"}),
    "nanogpt": (GPT, {"h.0.c_fc", "h.1.c_fc"}),
    "vit-with-einops": (ViT, {"to_patches.1", "mlp.1"}),
    "siamese": (Siamese, {"encoder.0"}),
}


class Indices(nn.Module):
    """A pooling that returns two tensors."""

    def forward(self, x: Tensor) -> Tensor:
        x, _ = nn.functional.max_pool2d(x, 3, stride=1, padding=1, return_indices=True)
        return x


class Turned(nn.Module):
    """Dropout on a tensor whose rows do not lie in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x.transpose(1, 3)).transpose(1, 3)


class TwoTypes(nn.Module):
    """Half of the layers are wider."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.Linear(8, 8))
        self.two = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10)).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x).double())


@pytest.mark.parametrize("name", OWN)
def test_models_of_users_lose_what_is_known_to_be_dead(name: str) -> None:
    net = made(OWN[name][0])
    small = agree(net, structured(net), SGD)
    assert set(small.removed) >= OWN[name][1] - {"fc1"}
    assert {"one"} & set(small.removed) == {"one"} & OWN[name][1], "kept where it is not known"
    assert not small.note


def test_what_stopped_it_is_told_in_a_line() -> None:
    net = made(GPT)
    mask = structured(net)
    with torch.no_grad():
        for name, lives in mask.items():
            net.get_parameter(name).mul_(lives)
    small = compact(net, mask, example=images(torch.float32))
    assert [(stop.layer, stop.units) for stop in small.stopped] == [(f"h.{n}.attn.c_attn", 4) for n in (0, 1)]
    assert str(small).startswith("32 units removed; dead units stay at h.0.attn (CausalAttention): view does")
    assert "; " not in str(small).partition("units removed; ")[2], "parts of it are counted by that sign"


@pytest.mark.parametrize(("make", "why"), [(Reads, "what numbers a tensor holds"), (Random, "may go another way")])
def test_what_cannot_be_traced_keeps_its_units_and_says_so(make: type[Plain], why: str) -> None:
    net = made(lambda: make(nn.Identity()))
    small = agree(net, structured(net), SGD)
    assert not small.removed and why in small.note
    assert small.network is net and small.mask == structured(net)


def test_what_cannot_be_traced_may_still_be_sparse(sparse: None) -> None:
    net = made(lambda: Reads(nn.Identity()))
    net.fc1, net.fc2 = made(lambda: nn.Linear(200, 2000)), made(lambda: nn.Linear(2000, 10))
    small = agree(net, random(net, 0.01), SGD, dtype=torch.float32, tolerance=1e-4)
    assert small.note and not small.removed and small.forms["fc1.weight"] == "sparse"


def test_a_full_mask_and_units_that_all_live_leave_the_model_itself() -> None:
    net = known("vgg-11")
    full = Mask.full({name: net.get_parameter(name) for name in prunable(net)})
    small = compact(net, full, example=images(torch.float32))
    assert small.network is net and not small.mask and set(small.forms.values()) == {"dense"}
    kept = compact(net, structured(net), example=images(torch.float32), units=False, sparse=False)
    assert kept.network is net and kept.mask == structured(net) and not kept.removed
    before = {name: value.clone() for name, value in net.state_dict().items()}
    small.restore()
    kept.restore()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_hooks_and_parametrizations_leave_the_model_itself() -> None:
    hooked, normed = known("mlp"), known("mlp")
    hooked.get_submodule("fc1").register_forward_hook(lambda *seen: None)
    nn.utils.parametrizations.weight_norm(normed.get_submodule("fc3"))
    for net in (hooked, normed):
        mask = structured(hooked).without(["fc3.weight"])
        small = compact(net, mask, example=images(torch.float32))
        assert small.network is net and small.mask == mask and "hooks or parametrizations" in small.note


def test_orphans_have_zero_gradients_and_nothing_is_shared() -> None:
    net = known("resnet-20")
    small = compact(net, structured(net), example=images(torch.float32))
    with sliced(net):
        small.network(images(torch.float32)).sum().backward()
    adopted = small.network.get_parameter("orphans")
    assert adopted.grad is not None and not adopted.grad.any() and len(adopted) > 0
    remains = [sum(p.numel() for p in net.parameters()) - small.whole.total + small.whole.remaining]
    remains.append(sum(p.numel() for p in small.network.parameters()) - small.mask.total + small.mask.remaining)
    assert remains[0] == remains[1], "each remaining weight is trained in one place"
    ours = {value.data_ptr() for value in cut.tensors(net).values()}
    assert not ours & {value.data_ptr() for value in cut.tensors(small.network).values()}
    again = copy.deepcopy(small.network)
    with sliced(net):
        again(images(torch.float32)).sum().backward()
    assert not again.get_parameter("orphans").grad.any()  # type: ignore[union-attr]


def test_pruned_weights_count_as_zero_whatever_stands_there() -> None:
    net = known("mlp")
    mask = structured(net)
    with torch.no_grad():
        net.get_parameter("fc2.weight")[~mask["fc2.weight"]] = torch.nan
        net.get_parameter("fc1.weight")[~mask["fc1.weight"]] = -0.0
    small = compact(net, mask, example=images(torch.float32))
    fit(small.network, small.mask, SGD, images(torch.float32))
    small.restore()
    for name, lives in mask.items():
        weight = net.get_parameter(name).detach()
        assert weight.isfinite().all() and not weight[~lives].any() and not weight[~lives].signbit().any()


def test_parameters_of_two_types_keep_their_units() -> None:
    net = made(TwoTypes)
    small = compact(net, structured(net), example=images(torch.float32))
    assert not small.removed and small.network is net and "several dtypes" in small.note


def test_channels_last_stays() -> None:
    net = known("resnet-20")
    for like in (net, copy.deepcopy(net).to(memory_format=torch.contiguous_format)):  # type: ignore[call-overload]
        small = compact(like, structured(net), example=images(torch.float32))
        assert small.removed
        for name, weight in small.network.named_parameters():
            if weight.dim() == 4:
                expected = torch.empty(weight.shape).to(memory_format=torch.channels_last)
                assert (weight.stride() == expected.stride()) == (like is net), name


def test_what_does_not_fit_is_refused() -> None:
    net = known("mlp")
    with pytest.raises(PruneError, match="no parameters of the model: ghost"):
        compact(net, Mask({"ghost": torch.zeros(1, dtype=torch.bool)}), example=images(torch.float32))
    with pytest.raises(PruneError, match=r"fc2.weight: the mask has shape \(1,\)"):
        compact(net, Mask({"fc2.weight": torch.zeros(1, dtype=torch.bool)}), example=images(torch.float32))


def constants(model: nn.Module) -> Mask:
    """Nothing living enters the last third of the units of the layers before the last."""
    remaining = dict(random(model, 0.8))
    for lives in list(remaining.values())[:-1]:
        lives[-(lives.shape[0] // 3) :] = False
    return Mask(remaining)


def folding(make: Callable[[], nn.Module]) -> tuple[nn.Module, Mask]:
    """A network of constants that are not zero, with statistics of another time."""
    net = make().double()
    mask = constants(net)
    with torch.no_grad():
        for name, tensor in cut.tensors(net).items():
            if name.endswith(("bias", "running_mean")):
                tensor.add_(torch.linspace(-0.1, 0.3, len(tensor), dtype=tensor.dtype))
            elif name in mask:
                tensor[~mask[name]] = 0
    return net, mask


def bare() -> nn.Module:
    """No bias but BatchNorm's, no padding."""
    net = Plain(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()))
    net.two = nn.Sequential(nn.Conv2d(8, 9, 3, bias=False), nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 8, 1))  # type: ignore[assignment]
    return net


FOLDING = {"lenet": lambda: known("lenet"), "norm": lambda: made(OWN["norm"][0]), "bare": lambda: made(bare)}


@pytest.mark.parametrize("name", FOLDING)
def test_folding_removes_constants_and_the_model_computes_what_the_network_does(name: str) -> None:
    (net, mask), x = folding(FOLDING[name]), images(torch.float64)
    exact, small = (compact(net, mask, example=x, fold=fold) for fold in (False, True))
    assert sum(small.removed.values()) > sum(exact.removed.values())
    torch.testing.assert_close(copy.deepcopy(small.network).train()(x), copy.deepcopy(net).train()(x))
    assert all(form != "sparse" for form in small.forms.values())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    small.restore()
    for key, value in net.state_dict().items():
        if "running" not in key:
            torch.testing.assert_close(value, before[key], rtol=1e-12, atol=1e-12)
    fit(small.network, small.mask, SGD, x)
    small.restore()
    for train in (True, False):
        found, expected = (copy.deepcopy(one).train(train)(x) for one in (net, small.network))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for key, lives in mask.items():
        assert not net.get_parameter(key).detach()[~lives].any()


def test_folding_keeps_what_is_added_to_something_else_and_layers_of_constants_alone() -> None:
    net, mask = folding(lambda: known("resnet-20"))
    small = compact(net, mask, example=images(torch.float64), fold=True)
    assert small.removed and all("conv1" in name and name != "conv1" for name in small.removed)
    nothing = Mask({name: torch.zeros_like(lives) for name, lives in mask.items() if name == "layer1.0.conv1.weight"})
    assert not compact(net, nothing, example=images(torch.float64), fold=True).removed


def test_borders_differ_and_little() -> None:
    (net, mask), x = folding(lambda: known("vgg-11")), images(torch.float64)
    small = compact(net, mask, example=x, fold=True)
    found, expected = (copy.deepcopy(one).train()(x) for one in (small.network, net))
    assert small.removed and 0 < (found - expected).norm() < expected.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fold", [False, True])
def test_on_a_gpu(fold: bool) -> None:
    net = known("resnet-20").cuda()
    mask, x, y = structured(net), images(torch.float32).cuda(), torch.arange(COUNT, device="cuda") % 10
    masked, small = copy.deepcopy(net), compact(net, mask, example=x, fold=fold)
    losses = []
    for network, held in ((masked, mask), (small.network, small.mask)):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-2)
        with attach(network.train(), optimizer, held):
            for _ in range(3):
                optimizer.zero_grad()
                loss = cross_entropy(network(x), y)
                loss.backward()
                optimizer.step()
            losses.append(float(loss))
    small.restore()
    assert small.removed and losses[1] == pytest.approx(losses[0], rel=1e-2)
    for name, weight in masked.named_parameters():
        torch.testing.assert_close(net.get_parameter(name), weight, rtol=1e-2, atol=1e-2)
