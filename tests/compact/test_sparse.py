"""The law of sparse layers: they compute what the masked layer computes, forward and backward, to rounding."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from oneticket.compact.pattern import LATEST
from oneticket.compact.row import join
from oneticket.compact.sparse import Sparse, fits

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(40, 30), (16, 40)),
    "linear without bias": (nn.Linear(7, 5, bias=False), (3, 7)),
    "linear of more dimensions": (nn.Linear(20, 30), (4, 6, 20)),
    "linear of several blocks": (nn.Linear(784, 300), (3, 784)),
    "linear of more inputs than two bytes count": (nn.Linear(70_000, 2), (3, 70_000)),
    "one input": (nn.Linear(1, 1), (1, 1)),
    "3x3": (nn.Conv2d(8, 12, 3, padding=1), (16, 8, 9, 7)),
    "3x3 inside": (nn.Conv2d(8, 12, 3, bias=False), (16, 8, 9, 7)),
    "1x1": (nn.Conv2d(6, 4, 1), (5, 6, 4, 4)),
    "1x1 of one pixel": (nn.Conv2d(6, 4, 1), (5, 6, 1, 1)),
    "5x5": (nn.Conv2d(3, 4, 5, padding=2), (3, 3, 8, 8)),
    "far padding": (nn.Conv2d(3, 4, 3, padding=2), (3, 3, 5, 6)),
    "oblong": (nn.Conv2d(4, 5, (3, 1), padding=(1, 0)), (6, 4, 5, 7)),
    "long rows": (nn.Conv2d(2, 3, 3, padding=1), (61, 2, 3, 90)),
    "one pixel under 3x3": (nn.Conv2d(5, 6, 3, padding=1), (7, 5, 1, 1)),
    "whole tiles": (nn.Conv2d(16, 32, 3, padding=1), (32, 16, 4, 4)),
    "tiles and a rest": (nn.Conv2d(17, 33, 3, padding=1), (35, 17, 3, 5)),
    "a batch of two runs": (nn.Linear(2, 3), (8200, 2)),
    "a batch that no number divides": (nn.Linear(2, 3), (8209, 2)),
    "a large batch of pixels": (nn.Conv2d(2, 3, 1), (4201, 2, 2, 2)),
    "a last tile of few images": (nn.Conv2d(4, 5, 3, padding=1), (49, 4, 6, 8)),
    "rows of every length of vectors": (nn.Conv2d(3, 20, 3), (17, 3, 5, 17)),
    "rows a multiple of a page apart": (nn.Conv2d(2, 3, 3, padding=1), (3, 2, 4, 62)),
    "more rows than there is room for": (nn.Conv2d(64, 3, 3, padding=1), (3, 64, 12, 200)),
    "channels of several blocks": (nn.Conv2d(64, 5, 3, padding=1), (33, 64, 4, 8)),
    "many channels for outputs that read few": (nn.Conv2d(90, 40, 5, padding=2), (3, 90, 6, 7)),
    "no images": (nn.Conv2d(3, 4, 3, padding=1), (0, 3, 5, 6)),
    "stride 2": (nn.Conv2d(5, 6, 3, stride=2, padding=1), (18, 5, 9, 8)),
    "stride 2 without padding": (nn.Conv2d(5, 6, 3, stride=2), (3, 5, 8, 10)),
    "1x1 with stride 2": (nn.Conv2d(5, 6, 1, stride=2, bias=False), (18, 5, 8, 7)),
    "7x7 with stride 2": (nn.Conv2d(3, 8, 7, stride=2, padding=3), (4, 3, 19, 20)),
    "stride as large as the kernel": (nn.Conv2d(3, 8, 4, stride=4), (4, 3, 18, 16)),
    "strides 3 and 1": (nn.Conv2d(3, 4, (2, 3), stride=(3, 1), padding=(1, 2)), (4, 3, 8, 7)),
    "more groups of pixels than two bytes count": (nn.Conv2d(20_000, 1, (3, 1), stride=3), (1, 20_000, 3, 4)),
    "a kernel of more places than two bytes count": (nn.Conv2d(1, 2, 256), (2, 1, 257, 256)),
    "one pixel with stride 2": (nn.Conv2d(5, 6, 3, stride=2, padding=1), (7, 5, 1, 1)),
    "more rows than there is room for, with stride 2": (
        nn.Conv2d(64, 3, 3, stride=2, padding=1),
        (3, 64, 24, 200),
    ),
}


@pytest.fixture(autouse=True)
def _draws() -> Iterator[None]:
    """Plain torch layers draw from the global state when they are made."""
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize("density", [0.0, 0.05, 0.4, 1.0])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_sparse_layer_is_the_masked_layer(name: str, last: bool, density: float) -> None:
    given, shape = LAYERS[name]
    layer = copy.deepcopy(given)
    draws = torch.Generator().manual_seed(1)
    remaining = torch.rand(layer.weight.shape, generator=draws) < density
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=draws) * remaining)
    x = torch.randn(shape, generator=draws)
    if last and x.dim() == 4:
        x, layer = x.contiguous(memory_format=torch.channels_last), layer.to(memory_format=torch.channels_last)
    sparse = Sparse(layer, remaining)
    seen = {}
    for key, each in {"masked": layer, "sparse": sparse}.items():
        here = x.clone().requires_grad_()
        out = each(here)
        out.backward(torch.arange(out.numel()).view(out.shape).cos())
        seen[key] = (out.detach(), here.grad, None if each.bias is None else each.bias.grad)
    for one, other in zip(*seen.values(), strict=True):
        assert (one is None and other is None) or torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    assert torch.allclose(layer.weight.grad[remaining], sparse.weight.grad, rtol=1e-4, atol=1e-3)
    assert torch.equal(layer.weight.detach()[remaining], sparse.weight.detach())


def test_nothing_is_computed_that_nobody_asks_for() -> None:
    layer = nn.Linear(6, 5)
    sparse = Sparse(layer, torch.ones(5, 6, dtype=torch.bool))
    sparse.weight.requires_grad_(False)
    sparse(torch.ones(2, 6)).sum().backward()
    assert sparse.weight.grad is None
    assert sparse.bias.grad.tolist() == [2.0] * 5
    with torch.no_grad():
        assert torch.allclose(sparse(torch.ones(2, 6)), layer(torch.ones(2, 6)))


def test_a_pattern_takes_two_bytes_a_weight_and_six_more_for_the_gradient_of_its_input() -> None:
    remaining = torch.rand(60, 80, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.1
    layer = Sparse(nn.Conv2d(80, 60, 3, padding=1), remaining)
    count, pattern = len(layer.weight), layer.pattern
    layer(torch.ones(2, 80, 4, 4)).sum().backward()
    assert pattern.by_output.place.nbytes == 2 * count
    assert "by_input" not in vars(pattern)
    layer(torch.ones(2, 80, 4, 4, requires_grad=True)).sum().backward()
    entries, order = pattern.by_input
    assert (entries.place.nbytes, order.nbytes) == (2 * count, 4 * count)


def test_defaults_of_torch_and_the_layout_of_what_was_saved_change_nothing() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    sparse, x = Sparse(layer, torch.ones(layer.weight.shape, dtype=torch.bool)), torch.randn(5, 3, 6, 7)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one: one.clone(memory_format=torch.contiguous_format), lambda one: one
        ):
            out = sparse(x)
        out.sum().backward()
    finally:
        torch.set_default_dtype(torch.float32)
    layer(x).sum().backward()
    torch.testing.assert_close(out, layer(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sparse.weight.grad, layer.weight.grad.flatten(), rtol=1e-4, atol=1e-3)


def test_a_second_derivative_of_a_convolution_is_refused() -> None:
    layer = nn.Conv2d(3, 4, 3)
    sparse = Sparse(layer, torch.ones(layer.weight.shape, dtype=torch.bool))
    x = torch.randn(2, 3, 6, 7, requires_grad=True)
    (slope,) = torch.autograd.grad(sparse(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="sparse layers have no second derivatives"):
        slope.square().sum().backward()


def test_parameters_of_another_size_are_refused() -> None:
    sparse = Sparse(nn.Conv2d(2, 3, 1), torch.ones(3, 2, 1, 1, dtype=torch.bool))
    for name, size in (("bias", 3), ("weight", 6)):
        setattr(sparse, name, nn.Parameter(torch.ones(2)))
        with pytest.raises(ValueError, match=rf"expected a {name} of {size} numbers, got \(2,\)"):
            sparse(torch.ones(1, 2, 3, 3))


@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.Conv2d(3, 4, 1)], ids=["linear", "convolution"])
def test_other_dtypes_are_refused(layer: nn.Linear | nn.Conv2d) -> None:
    """What would be computed in float32 is no float64."""
    sparse = Sparse(layer, torch.ones(layer.weight.shape, dtype=torch.bool))
    row, x = nn.Sequential(sparse, nn.ReLU()), torch.ones(3, 3, 3, 3)
    join(row)
    for each in (sparse, row):
        with pytest.raises(ValueError, match=r"expected float32 on the CPU, got torch.float64 on cpu"):
            each(x.double())
        with pytest.raises(ValueError, match=r"expected float32 on the CPU, got torch.float64 on cpu"):
            each.double()(x)
        each.float()(x)


def test_of_many_sizes_only_the_latest_are_kept() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1)
    sparse = Sparse(layer, torch.ones(layer.weight.shape, dtype=torch.bool))
    for width in (*range(1, 2 * LATEST), 1, 2 * LATEST):
        x = torch.ones(1, 2, 4, width, requires_grad=True)
        out = sparse(x)
        torch.testing.assert_close(out, layer(x), rtol=1e-4, atol=1e-4)
        out.sum().backward()
    assert len(sparse.pattern._known) == LATEST
    kept = sparse.pattern.forward(4, 1, 1)
    assert kept is sparse.pattern.forward(4, 1, 1), "the latest but one"


def test_sizes_may_change_from_batch_to_batch() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    sparse = Sparse(layer, torch.ones(layer.weight.shape, dtype=torch.bool))
    for shape in ((2, 3, 5, 5), (7, 3, 5, 5), (2, 3, 8, 4), (2, 3, 5, 5)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(layer(x), sparse(x), atol=1e-5)


def test_memory_is_used_again_but_never_while_anything_refers_to_it() -> None:
    layer = nn.Conv2d(16, 16, 3, padding=1)
    sparse = Sparse(layer, torch.ones(layer.weight.shape, dtype=torch.bool))
    draws = torch.Generator().manual_seed(0)
    x, other = torch.randn(2, 16, 16, 12, 12, generator=draws).unbind()
    kept = [each(x) for each in (layer, sparse)]
    again = [each(other) for each in (layer, sparse)]
    for one in (kept, again, kept):  # a graph that is kept gives its gradients a second time
        grads = []
        for each, out in zip((layer, sparse), one, strict=True):
            each.zero_grad()
            out.square().sum().backward(retain_graph=True)
            grads.append(each.weight.grad.flatten())
        torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(one[0], one[1], rtol=1e-4, atol=1e-4)
    del kept, again, one, out
    first = sparse(x)
    address, copied = first.data_ptr(), copy.deepcopy(sparse)
    del first
    assert sparse(x).data_ptr() == address
    assert copied.room is not sparse.room
    with torch.no_grad():
        assert sparse(x).data_ptr() != address  # what is only measured is not kept


@pytest.mark.parametrize("stride", [1, 2])
def test_what_lay_in_memory_before_changes_no_bit(stride: int) -> None:
    layer = nn.Conv2d(7, 18, 3, padding=1, stride=stride)
    remaining = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    shape = (50, 7, 30, 35)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    results = []
    for before in (0.0, float("nan")):
        sparse = Sparse(layer, remaining)
        for images in (torch.full(shape, before), x):
            sparse.zero_grad()
            images.requires_grad_().grad = None
            out = sparse(images)
            out.square().sum().backward()
            result = (out.detach().clone(), images.grad.clone(), sparse.weight.grad.clone(), sparse.bias.grad.clone())
            del out
        results.append(result)
    for one, other in zip(*results, strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)


def test_nan_and_infinity_pass() -> None:
    layer = nn.Linear(4, 2, bias=False)
    sparse = Sparse(layer, torch.tensor([[True, False, False, False], [False, True, True, True]]))
    out = sparse(torch.tensor([[float("nan"), 1.0, float("inf"), 1.0]]))
    assert out[0, 0].isnan() and not out[0, 1].isfinite()


def test_it_is_narrow_under_autocast_too() -> None:
    layer = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    sparse = Sparse(layer[2], torch.ones(4, 8, dtype=torch.bool))
    with torch.autocast("cpu", torch.bfloat16):
        out = sparse(layer[:2](torch.ones(3, 8)))
    assert out.dtype == torch.float32
    out.sum().backward()
    assert layer[0].weight.grad is not None


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Linear(3, 3), True),
        (nn.Linear(3, 3, dtype=torch.float64), False),
        (nn.Conv2d(2, 2, 3, padding=1), True),
        (nn.Conv2d(2, 2, 3, stride=2), True),
        (nn.Conv2d(2, 2, 3, dilation=2), False),
        (nn.Conv2d(2, 2, 3, groups=2), False),
        (nn.Conv2d(2, 2, 3, padding="same"), False),
        (nn.Conv2d(2, 2, 3, padding=3), False),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), False),
        (nn.ConvTranspose2d(2, 2, 3), False),
        (nn.Conv1d(2, 2, 3), False),
        (nn.Bilinear(2, 2, 2), False),
    ],
)
def test_which_layers_fit(layer: nn.Module, expected: bool) -> None:
    assert fits(layer) is expected


def test_a_copy_is_its_own() -> None:
    sparse = Sparse(nn.Linear(3, 2), torch.ones(2, 3, dtype=torch.bool))
    twin = copy.deepcopy(sparse)
    with torch.no_grad():
        twin.weight.zero_()
    assert sparse.weight.abs().sum() > 0
    assert list(twin.state_dict()) == ["weight", "bias"]
