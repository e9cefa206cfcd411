"""The law of a model whose smaller network trains: its weights are not read, then they are what was trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from oneticket.compact import choose
from oneticket.compact.alone import Absent, alone
from oneticket.compact.compact import Compact, compact
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import PruneError
from oneticket.ground.streams import Streams
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.training import run_training
from oneticket.lottery.training_request import TrainingRequest
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask
from oneticket.training.loop import Run
from oneticket.training.spec import TrainingSpec

MODELS = {"mlp": {"widths": (300, 70)}, "resnet-20": {}}


USES: list[Callable[[nn.Module, Tensor], object]] = [
    lambda model, x: model(x),
    lambda model, _: model.state_dict(),
    lambda model, _: copy.deepcopy(model),
    lambda model, _: model.double(),
    lambda model, x: compact(model, Mask({}), example=x) and nn.utils.parameters_to_vector(model.parameters()),
    lambda model, x: torch.func.functional_call(model, {}, (x,)),
]
READS: list[Callable[[Tensor], object]] = [
    lambda weight: weight.detach(),
    lambda weight: weight.data,
    lambda weight: weight.sum(),
    lambda weight: weight.tolist(),
    lambda weight: weight.numpy(force=True),
    lambda weight: weight + 1,
    lambda weight: 1 + weight,
    lambda weight: torch.ones(1).mul_(weight),
    lambda weight: torch.ones(1).copy_(weight),
    lambda weight: torch.equal(torch.ones(1), weight),
    lambda weight: (weight == 0).all(),
    lambda weight: weight.shape,
    lambda weight: weight.data_ptr(),
    lambda weight: copy.copy(weight),
    lambda weight: list(weight),
    lambda weight: weight.untyped_storage(),
    lambda weight: nn.init.zeros_(weight),
    torch.from_dlpack,
    np.asarray,
    repr,
    lambda weight: weight.__reduce_ex__(2),
]


class Own(nn.Sequential):
    """Code that is not torch's and might read any weight."""


@pytest.fixture(autouse=True)
def _sparse_whatever_it_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[None]:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path))
    monkeypatch.setattr(choose, "_KNOWN", {})
    monkeypatch.setattr(choose, "MARGIN", 1e9)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def pruned(name: str, dead: int) -> tuple[nn.Module, Mask, Tensor]:
    """A model, a mask of a tenth of its weights with so many dead units in each layer, and a batch."""
    model = build(ModelSpec.read({"name": name, **MODELS[name]}), inputs=Inputs(shape=(1, 16, 16)), outputs=3, seed=0)
    model.to(memory_format=torch.channels_last)
    draws = torch.Generator().manual_seed(2)
    masks = {}
    for each in prunable(model):
        masks[each] = torch.rand(model.get_parameter(each).shape, generator=draws) < 0.1
        masks[each][:, : dead if masks[each].shape[1] > 9 else 0] = False
    mask = Mask(masks)
    with torch.no_grad():
        for each, remains in masks.items():
            model.get_parameter(each).mul_(remains)
    return model, mask, torch.randn(16, 1, 16, 16, generator=draws)


def move(small: Compact) -> None:
    """Some training."""
    with torch.no_grad():
        for weight in small.network.parameters():
            weight.mul_(1.5).add_(0.1)


def fail(small: Compact, error: type[BaseException]) -> None:
    """Some training that ends with an error."""
    move(small)
    raise error


@pytest.mark.convolutions
@pytest.mark.parametrize("dead", [0, 3])
@pytest.mark.parametrize("name", MODELS)
def test_the_bits_are_those_of_a_model_that_kept_its_weights(name: str, dead: int) -> None:
    model, mask, x = pruned(name, dead)
    kept = copy.deepcopy(model)
    one, other = compact(model, mask, example=x), compact(kept, mask, example=x)
    assert "sparse" in one.forms.values() and bool(one.removed) == bool(dead)
    before, strides = dict(model.named_parameters()), {each: w.stride() for each, w in model.named_parameters()}
    with alone(one):
        for use in USES:
            with pytest.raises(PruneError, match="while it trains"):
                use(model, x)
        for weight in (before[each] for each in mask):
            for read in READS:
                with pytest.raises(PruneError, match="while it trains"):
                    read(weight)
        move(one)
    move(other)
    other.restore()
    assert [*dict(model.named_parameters())] == [*before]
    assert all(weight is before[each] for each, weight in model.named_parameters())
    assert {each: w.stride() for each, w in model.named_parameters()} == strides
    theirs = kept.state_dict()
    assert all(torch.equal(value, theirs[each]) for each, value in model.state_dict().items())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_what_was_trained_so_far(error: type[BaseException]) -> None:
    model, mask, x = pruned("mlp", 0)
    small = compact(model, mask, example=x)
    with pytest.raises(error), alone(small):
        fail(small, error)
    for name, remains in mask.items():
        assert torch.equal(model.get_parameter(name)[remains], small.network.get_parameter(name))
        assert not model.get_parameter(name)[~remains].any()


def test_weights_that_others_share_or_code_may_read_stay() -> None:
    model, mask, x = pruned("mlp", 0)
    name = next(iter(mask))
    whole = torch.zeros(2, model.get_parameter(name).numel())
    shape = model.get_parameter(name).shape
    model.get_parameter(name).data = whole[1].view(shape)
    with alone(compact(model, mask, example=x)):
        assert [each for each in mask if type(model.get_parameter(each)) is not Absent] == [name]
    layers = Own(nn.Flatten(), nn.Linear(256, 100), nn.ReLU(), nn.Linear(100, 3))
    mask = Mask({"1.weight": torch.rand(100, 256) < 0.1})
    with torch.no_grad():
        layers[1].weight.mul_(mask["1.weight"])
    small = compact(layers, mask, example=x)
    assert small.network is not layers
    with alone(small):
        assert layers(x).isfinite().all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_training_leaves_a_whole_model(error: type[BaseException]) -> None:
    data = load(DataSpec.read("digits"))
    model = build(ModelSpec.read({"name": "mlp", "widths": (300, 70)}), inputs=data.inputs, outputs=10, seed=0)
    draws = torch.Generator().manual_seed(2)
    shapes = {name: model.get_parameter(name).shape for name in prunable(model)}
    mask = Mask({name: torch.rand(shape, generator=draws) < 0.15 for name, shape in shapes.items()})
    seen: list[tuple[bool, dict[str, Tensor], dict[str, float]]] = []

    def look(run: Run) -> None:
        assert run.measure is not None
        state = {name: value.clone() for name, value in run.model.state_dict().items()}
        seen.append((all(type(model.get_parameter(name)) is Absent for name in mask), state, dict(run.measure())))
        if run.position == 3:
            raise error

    job = TrainingRequest(
        model=model,
        mask=mask,
        data=data,
        optimizer=OptimizerSpec.read({"name": "sgd", "momentum": 0.9}),
        training=TrainingSpec.read({"budget": "6it", "batch": 64}),
        streams=Streams(root=0, replicate=0),
    )
    with pytest.raises(error):
        run_training(job, RunContext(watchers=(look,)))
    assert len(seen) == 3 and all(away for away, *_ in seen) and seen[0][2] != seen[2][2]
    for name, remains in mask.items():
        assert torch.equal(model.get_parameter(name)[remains], seen[-1][1][name])
        assert not model.get_parameter(name)[~remains].any()
