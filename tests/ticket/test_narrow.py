"""Narrow strided convolutions: sliced they are the same convolutions, and somebody's own loop is told of them once."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.utils.checkpoint import checkpoint

from oneticket.guard.guard import attach
from oneticket.guard.narrow import _channels_last, sliced
from oneticket.lottery.loop_search import Search

pytestmark = pytest.mark.convolutions

LAST = torch.channels_last


@pytest.fixture(autouse=True)
def _draws() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Shortcut(nn.Module):
    """A narrow ResNet's place of change, with a head."""

    def __init__(self, channels: int = 4, **last: object) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.downsample = nn.Conv2d(channels, 8, 1, stride=2, bias=False)
        self.head = nn.Linear(8, 2)
        self.to(**last)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.downsample(torch.relu(self.stem(x))).mean((2, 3)))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "square": lambda: nn.Conv2d(4, 8, 1, stride=2),
    "one channel": lambda: nn.Conv2d(1, 3, 1, stride=2, bias=False),
    "fifteen channels": lambda: nn.Conv2d(15, 5, 1, stride=3),
    "rows alone": lambda: nn.Conv2d(5, 7, 1, stride=(2, 1)),
    "no padding in words": lambda: nn.Conv2d(5, 7, 1, stride=(1, 4), padding="valid"),
    "wrapped around": lambda: nn.Conv2d(5, 7, 1, stride=2, padding=1, padding_mode="circular"),
    "dilated by name": lambda: nn.Conv2d(4, 8, 1, stride=2, dilation=2),
    "transposed": lambda: nn.ConvTranspose2d(20, 4, 1, stride=2, output_padding=1),
    "transposed, oblong": lambda: nn.ConvTranspose2d(4, 3, 1, stride=(1, 3), bias=False),
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "enough channels": lambda: nn.Conv2d(16, 8, 1, stride=2),
    "one step": lambda: nn.Conv2d(4, 8, 1),
    "3 x 3": lambda: nn.Conv2d(4, 8, 3, stride=2),
    "padded": lambda: nn.Conv2d(4, 8, 1, stride=2, padding=1),
    "groups": lambda: nn.Conv2d(4, 8, 1, stride=2, groups=2),
    "transposed to enough": lambda: nn.ConvTranspose2d(4, 16, 1, stride=2),
}


def passed(layer: nn.Module, images: Tensor) -> list[Tensor]:
    """Output and gradients."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    out = layer(images)
    out.backward(torch.arange(out.numel(), dtype=out.dtype).view(out.shape).cos())
    return [out.detach(), images.grad, *(weight.grad for weight in layer.parameters())]  # type: ignore[list-item]


@pytest.mark.parametrize("name", LAYERS)
def test_sliced_is_the_same_convolution(name: str) -> None:
    layer = LAYERS[name]().to(memory_format=LAST)
    images = torch.randn(17, layer.in_channels, 9, 12).contiguous(memory_format=LAST)
    # In float64, which oneDNN does not compute, the strided form can be trusted.
    expected = passed(copy.deepcopy(layer).double(), images.double())
    with sliced(layer):
        found = passed(layer, images)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-4)


def test_sliced_is_for_whoever_calls_and_however() -> None:
    """Functional calls, passes that are computed again in the backward pass, a batch of one without its dimension."""
    weight, images = torch.randn(6, 4, 1, 1, requires_grad=True), torch.randn(4, 10, 10)
    expected = conv2d(images.double(), weight.double(), stride=2).float()
    with sliced(nn.Conv2d(4, 6, 1)):
        torch.testing.assert_close(conv2d(images, weight, None, [2]), expected)
        torch.testing.assert_close(conv2d(images[None], weight=weight, stride=(2, 2))[0], expected)
        batch = images.repeat(20, 1, 1, 1)
        checkpoint(lambda each: conv2d(each, weight, stride=2), batch, use_reentrant=False).sum().backward()
    torch.testing.assert_close(weight.grad[0, :, 0, 0], batch[:, :, ::2, ::2].sum((0, 2, 3)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [*LAYERS, *OTHERS])
def test_the_rule_knows_what_is_faulty(name: str) -> None:
    layer = (LAYERS | OTHERS)[name]().to(memory_format=LAST)
    optimizer = torch.optim.SGD(layer.parameters())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attach(layer, optimizer, {}).detach()
    # A kernel of one channel lies alike in both layouts, so that its images are looked at.
    assert (bool(caught) or bool(layer._forward_pre_hooks)) == (name in LAYERS)
    assert bool(layer._forward_pre_hooks) == (name == "one channel")


def test_a_loop_of_ones_own_is_warned_once_with_names_and_lines_that_help() -> None:
    model = Shortcut(memory_format=LAST)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    layouts = [weight.stride() for weight in model.parameters()]
    with pytest.warns(UserWarning, match=r"gradients of downsample may be wrong.*oneDNN#6035") as caught:
        attach(model, optimizer, {}).detach()
    assert [weight.stride() for weight in model.parameters()] == layouts
    assert caught[0].filename == __file__
    attach(model, optimizer, {}).detach()  # a second time nothing is said, or it would be an error here
    images, said = torch.randn(20, 8, 8, 3).permute(0, 3, 1, 2), str(caught[0].message)
    names = {"model": copy.deepcopy(model), "images": images, "torch": torch}
    for line in re.findall(r"\n    (.*)", said):
        exec(line, names)  # the lines as they are printed
    assert not any(_channels_last(weight) for weight in names["model"].parameters())
    names["output"].sum().backward()
    attach(names["model"], torch.optim.SGD(names["model"].parameters()), {}).detach()


def test_a_search_in_ones_own_loop_is_warned_before_it_begins() -> None:
    model = Shortcut(memory_format=LAST)
    with pytest.warns(UserWarning, match="gradients of downsample may"):
        search = Search(model, lambda model: torch.optim.SGD(model.parameters(), lr=0.1), levels=2)
    for level in search:  # of whose levels none says it again
        with sliced(model):
            model(torch.randn(4, 3, 8, 8)).sum().backward()
        level.optimizer.step()
        level.step()
    assert search.book.levels == 2


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_images_in_channels_last_are_enough_and_seen_in_the_first_training_pass(last: bool, grad: bool) -> None:
    model, images = Shortcut(), torch.randn(4, 8, 8, 3).permute(0, 3, 1, 2)
    images = images if last else images.contiguous()
    attach(model, torch.optim.SGD(model.parameters()), {}).detach()
    copied = copy.deepcopy(model)
    with sliced(model), torch.set_grad_enabled(grad), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for each in (model, model, copied):
            each(images)
    assert len(caught) == (2 if last and grad else 0)  # a copy is another model
    assert bool(model.downsample._forward_pre_hooks) == (not grad)


def test_nothing_is_said_of_what_is_not_trained_here() -> None:
    for model in (Shortcut(memory_format=LAST).requires_grad_(False), Shortcut(device="meta", memory_format=LAST)):
        attach(nn.Sequential(model, nn.Linear(2, 2)), torch.optim.SGD(nn.Linear(2, 2).parameters()), {}).detach()
    lazy = nn.Sequential(nn.LazyConv2d(4, 1, stride=2), nn.Linear(2, 2))
    attach(lazy, torch.optim.SGD(lazy[1].parameters()), {}).detach()
