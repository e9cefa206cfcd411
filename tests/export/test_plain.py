"""Models whose weights are computed are copied and become plain; the user's model stays as it is."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from oneticket.export import export, measure
from oneticket.export.plain import duplicate, plain
from oneticket.ground.errors import ModelError, PruneError, RequestError
from oneticket.ticket.mask import Mask

COMPUTED: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "weight_norm": (parametrizations.weight_norm, "parametrizations.weight.original1"),
    "weight_norm, the old one": (weight_norm, "weight_v"),
    "spectral_norm": (parametrizations.spectral_norm, "parametrizations.weight.original"),
    "spectral_norm, the old one": (spectral_norm, "weight_orig"),
    "prune": (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "weight_orig"),
    "prune, twice": (
        lambda layer: prune.random_unstructured(prune.l1_unstructured(layer, "weight", 0.3), "weight", 0.3),
        "weight_orig",
    ),
}
"""What computes a weight, and the parameter that it computes it from."""

X = torch.arange(40).reshape(5, 8).float().sin()


def net(wrap: Callable[..., nn.Module], seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, of the old weight_norm
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), wrap(nn.Linear(12, 6)), nn.ReLU(), nn.Linear(6, 3))
        made(X)  # as a model after training: its weight is a computed tensor, which torch refuses to copy
    return made.eval()


def remaining(rows: int = 6, columns: int = 12) -> Tensor:
    """Of every row some live; of the columns the last is read by nobody."""
    found = (torch.arange(rows * columns).reshape(rows, columns) % 5) > 0
    found[:, -1] = False
    return found


@pytest.mark.parametrize("name", COMPUTED)
def test_forms_of_models_with_computed_weights(name: str) -> None:
    wrap, original = COMPUTED[name]
    model, mask = net(wrap), Mask({"2.weight": remaining()})
    keys, before, weight = set(model.state_dict()), model(X), model[2].weight.detach().clone()
    hidden = model[1](model[0](X))
    want = model[4](torch.relu(nn.functional.linear(hidden, weight * remaining(), model[2].bias)))
    for form in ("dense", "csr", "compact"):
        made = export(model, mask, to=form, example=X)
        torch.testing.assert_close(made.network(X), want, rtol=1e-5, atol=1e-6)
        assert "2.weight" in made.note and not any("orig" in key or "mask" in key for key in made.network.state_dict())
    assert made.removed == {"0": 1}
    assert set(made.network.state_dict()) == {f"{layer}.{kind}" for layer in "024" for kind in ("weight", "bias")}
    assert set(model.state_dict()) == keys and torch.equal(model(X), before)  # a class shared with a copy stays whole
    assert torch.equal(duplicate(model)(X), before)

    parameter = model.get_parameter(f"2.{original}")
    found = plain(model, Mask({f"2.{original}": remaining()}), X)
    assert list(found.mask) == ["2.weight"] and torch.equal(found.mask["2.weight"], remaining())
    with torch.no_grad():
        parameter.mul_(remaining())
    torch.testing.assert_close(found.network(X), model(X), rtol=1e-5, atol=1e-6)


def test_a_recurrent_network_with_a_computed_weight() -> None:
    for wrap in (parametrizations.weight_norm, prune.identity):
        with torch.random.fork_rng(devices=[]):
            model = nn.GRU(4, 4)
        wrap(model, "weight_hh_l0")
        x = torch.ones(3, 2, 4)
        made = export(model.eval(), Mask({"weight_hh_l0": torch.ones(12, 4) > 0}), to="dense", example=x)
        torch.testing.assert_close(made.network(x), model(x))
        assert sorted(made.network.state_dict()) == ["bias_hh_l0", "bias_ih_l0", "weight_hh_l0", "weight_ih_l0"]


class Noise(nn.Module):
    """A parametrization that draws at every call."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.rand(weight.shape, generator=None)


def test_what_has_no_exact_copy_is_refused_with_its_name() -> None:
    mask = Mask({"2.weight": remaining()})
    with torch.random.fork_rng(devices=[]):
        noisy = net(lambda layer: parametrize.register_parametrization(layer, "weight", Noise()))
        with pytest.raises(
            ModelError,
            match="2.weight is computed from other tensors at each call, and as a fixed tensor its outputs lie",
        ):
            export(noisy, mask, to="dense", example=X)
    model = net(parametrizations.orthogonal)
    assert plain(model, mask, X).mask == mask
    found = plain(model, Mask({"2.parametrizations.weight.original": remaining()}), X)
    assert not found.mask and "2.weight is not zero where what it is computed from is pruned" in found.note
    with pytest.raises(ModelError, match="the masked model computes NaN") as caught:
        export(net(weight_norm), Mask({"2.weight_v": torch.zeros(6, 12) > 0}), to="dense", example=X)
    assert not isinstance(caught.value, RequestError)
    with pytest.raises(PruneError, match=r"'2.weigth'.*no such tensor"):
        export(net(weight_norm), Mask({"2.weigth": remaining()}), to="dense", example=X)
    model = net(lambda layer: prune.identity(layer, "weight"))
    model[4].lock = threading.Lock()
    with pytest.raises(
        ModelError, match=r"cannot be copied: 4 \(Linear\) holds lock: cannot pickle.*take it out first"
    ):
        measure(model, mask, X, rounds=1)


def test_torchscript_is_exported_whole() -> None:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    mask, x = (
        Mask({"2.weight": torch.ones(3, 8, dtype=torch.bool).index_fill(1, torch.tensor([1]), False)}),
        torch.ones(2, 4),
    )
    want = export(net, mask, to="dense", example=x).network(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.trace(net, x)
    made = export(script, mask, to="compact", example=x)
    torch.testing.assert_close(made.network(x), want)
    assert not made.removed and "not traced, so all are kept" in made.note
    with pytest.raises(PruneError, match="no linear layer lost a weight"):
        export(script, mask, to="csr", example=x)
