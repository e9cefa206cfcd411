"""In whatever form a network is trained, no convolution reaches oneDNN's faulty kernel: uxlfoundation/oneDNN#6035.

The record is of what torch is asked for below all layers, so that it holds for every CPU, and the fault is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from oneticket.compact import choose
from oneticket.compact.compact import compact
from oneticket.ground.streams import Streams
from oneticket.guard.guard import guarded
from oneticket.models.build import build
from oneticket.models.parts import head, prunable
from oneticket.models.spec import KINDS, MODELS, ModelSpec
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.inputs import Inputs
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket.mask import Mask
from oneticket.training.loop import Run, train
from oneticket.training.spec import TrainingSpec
from oneticket.training.vmap_training import Together

pytestmark = pytest.mark.convolutions

SGD = OptimizerSpec(name="sgd")
SHAPE, COUNT = (3, 16, 16), 2
# The narrowest that has shortcuts of 1 x 1 and stride 2 where the model has any.
IMAGES = [name for name in MODELS if "images" in KINDS[name] and name != "mlp"]
NARROW = {name: ModelSpec(name=name, width=1 / 16) for name in IMAGES} | {
    "mlp": ModelSpec(name="mlp", widths=(5,)),
    "resnet-18, large images": ModelSpec(name="resnet-18", width=1 / 16, stem="imagenet"),
}
# Stages of 16 to 128 channels, of which compaction leaves 1 to 16.
CUT = {"resnet-20": 1.0, "resnet-18": 0.25, "resnet-50": 0.25}
FORMS = ("compact", "folded", "sparse")


@dataclass(frozen=True)
class Convolution:
    """A call: which pass, and the shapes and strides in memory of images and weight."""

    what: str
    images: tuple[int, ...]
    images_lie: tuple[int, ...]
    weight: tuple[int, ...]
    weight_lies: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int

    @property
    def faulty(self) -> bool:
        """Padding and layout do not excuse it."""
        return self.weight[2:] == (1, 1) and max(self.stride) > 1 and self.weight[1] < 16 and self.groups == 1


class Record(TorchDispatchMode):
    """Every convolution, forward and backward, as the backend gets it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Convolution] = []

    def __torch_dispatch__(self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert "convolution" not in name or name in ("convolution", "convolution_backward"), f"{name} is not recorded"
        if "convolution" in name:
            images, weight = (args[1], args[2]) if name == "convolution_backward" else args[:2]
            stride, groups = (args[4], args[9]) if name == "convolution_backward" else (args[3], args[8])
            shapes = (tuple(images.shape), images.stride(), tuple(weight.shape), weight.stride())
            self.calls.append(Convolution(name, *shapes, tuple(stride), groups))
        return func(*args, **(kwargs or {}))

    def check(self, *, convolves: bool = True) -> None:
        """None is faulty, and there were some in both passes."""
        assert not [call for call in self.calls if call.faulty]
        assert {call.what for call in self.calls} == ({"convolution", "convolution_backward"} if convolves else set())


def images() -> Tensor:
    return torch.randn(COUNT, *SHAPE, generator=torch.Generator().manual_seed(5))


def made(spec: ModelSpec, seed: int = 0) -> nn.Module:
    net = build(spec, inputs=Inputs(shape=SHAPE), outputs=10, seed=seed)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def begin(net: nn.Module) -> Run:
    return Run.begin(net, build_optimizers(SGD, net, head=head(net)), precision="float32", position=0, total=1)


def step(net: nn.Module, mask: Mask, precision: str = "float32") -> Record:
    """One step of our own training."""
    run, training = begin(net), TrainingSpec(budget="1it", batch=COUNT, precision=precision)
    feed = iter([(images(), torch.arange(COUNT))])
    with guarded(net, run.optimizers, mask, rule="gate+project"), Record() as record:
        streams = Streams(root=0, replicate=0)
        assert [
            *train(
                run, feed, task=CLASSIFICATION, training=training, optimizer=SGD, streams=streams, per_epoch=1, stop=1
            )
        ] == [1]
    return record


@pytest.mark.parametrize("name", NARROW)
def test_no_model_reaches_it_whole(name: str) -> None:
    convolves = name not in ("mlp", "lenet-300-100")
    step(made(NARROW[name]), Mask({})).check(convolves=convolves)
    if name in ("resnet-20", "resnet-50"):
        step(made(NARROW[name]), Mask({}), "bfloat16").check()


@pytest.mark.parametrize("name", ["conv-2", "vgg-11", "resnet-20", "resnet-50"])
@pytest.mark.parametrize("count", [1, 2])
def test_none_does_stacked(name: str, count: int) -> None:
    runs = [begin(made(NARROW[name], seed)) for seed in range(count)]
    together, training = Together.begin(runs, SGD), TrainingSpec(budget="1it", batch=COUNT)
    feeds = [iter([(images(), torch.arange(COUNT))]) for _ in runs]
    with Record() as record:
        assert [*together.train(feeds, task=CLASSIFICATION, training=training, optimizer=SGD, per_epoch=1, stop=1)] == [
            1
        ]
    record.check()


@pytest.mark.parametrize("name", CUT)
def test_none_does_compacted_to_any_width(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "worth", lambda layer, shape: 1.0)  # every layer that has a sparse form takes it
    monkeypatch.setattr(choose, "SMALLEST", 1)
    monkeypatch.setattr(choose, "DENSEST", 0.5)  # so that not all of them are sparse
    net, seen = made(ModelSpec(name=name, width=CUT[name])), set()
    for width in range(1, 17):
        form = FORMS[(width + [*CUT].index(name)) % len(FORMS)]  # each form at each width, of one of the models
        mask = cut(net, width)
        small = compact(net, mask, example=images(), sparse=form == "sparse", fold=form == "folded")
        assert not small.note and small.network is not net
        assert ("sparse" in small.forms.values()) == (form == "sparse")
        record = step(small.network, small.mask)
        record.check()
        seen |= {call.weight[1] for call in record.calls}
    assert seen >= {*range(1, 17)}


def cut(net: nn.Module, width: int) -> Mask:
    """Every layer reads the first `width` of its inputs alone, every second of them by half."""
    remaining = {name: torch.ones(net.get_parameter(name).shape, dtype=torch.bool) for name in prunable(net)}
    for lives in remaining.values():
        lives[:, width:] = False
        lives[::2, : width // 2] = False
    return Mask(remaining)


def test_without_care_they_would() -> None:
    with Record() as record:
        cross_entropy(made(NARROW["resnet-20"])(images()), torch.arange(COUNT))
    assert [call.weight[1] for call in record.calls if call.faulty] == [1, 2]
