"""ONNX programs: nothing of the source in them, sizes open where asked, other dtypes, recurrent networks."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oneticket.export import export
from oneticket.export.agreement import allowed, differs
from oneticket.export.example import Axes, Example, batch_axes, leaves, outputs
from oneticket.export.onnx import missing, onnx_bytes, session
from oneticket.export.sizes import open_axes, others
from oneticket.ground.errors import ModelError, SpecError
from oneticket.ticket.mask import Mask

needs_onnx = pytest.mark.skipif(bool(missing()), reason=missing())

SOURCE = '''
import torch

class Net(torch.nn.Module):
    """a private docstring"""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x)) if x.dim() else x  # a private remark
'''


def seeded(make: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: nn.Module = make()
    return made.eval()


@needs_onnx
def test_a_program_tells_nothing_of_its_source(tmp_path: Path) -> None:
    """Equal networks from files in other folders, with other comments, leave equal bytes."""
    found = []
    for folder, text in (("one", SOURCE), ("a/longer/path", SOURCE.replace("private", "secret") + "\n# the end\n")):
        path = tmp_path / folder / "written.py"
        path.parent.mkdir(parents=True)
        path.write_text("\n" * len(folder) + text)
        spec = spec_from_file_location(f"written_{len(folder)}", path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(onnx_bytes(seeded(module.Net), torch.ones(2, 8)))
    assert found[0] == found[1]
    for word in (b"stack_trace", b"private", b"written", b"forward", b".py", b"site-packages", str(tmp_path).encode()):
        assert word not in found[0], word


class Recurrent(nn.Module):
    """A recurrent layer with a state that may be given, and a linear one behind it."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(layer.hidden_size * (1 + layer.bidirectional), 3)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        y, state = self.layer(x, state)
        return self.out(y), state


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


ZEROS = zeros(2, 2, 4)
RECURRENT: dict[str, tuple[Any, Example, Axes]] = {
    "LSTM with its state, the same zeros twice": (
        lambda: nn.LSTM(4, 4, 2),
        (zeros(5, 2, 4), (ZEROS, ZEROS)),
        (1, 1, 1),
    ),
    "LSTM, no state": (lambda: nn.LSTM(4, 6), zeros(5, 2, 4), (1,)),
    "LSTM, None for a state": (lambda: nn.LSTM(4, 6), (zeros(5, 2, 4), None), (1,)),
    "LSTM, batch first, all sizes equal": (
        lambda: nn.LSTM(2, 2, 2, batch_first=True),
        {"state": [zeros(2, 2, 2), zeros(2, 2, 2)], "x": zeros(2, 2, 2)},
        (1, 1, 0),
    ),
    "GRU, both ways": (lambda: nn.GRU(4, 4, bidirectional=True), (zeros(1, 1, 4), zeros(2, 1, 4)), (1, 1)),
    "RNN, batch first": (lambda: nn.RNN(4, 3, batch_first=True), zeros(2, 5, 4), (0,)),
}
"""A layer, an example, and the axes of its rows."""


@pytest.mark.parametrize("name", RECURRENT)
def test_the_rows_of_recurrent_networks_are_found(name: str) -> None:
    make, example, axes = RECURRENT[name]
    net = seeded(lambda: Recurrent(make()))
    assert batch_axes(net, example) == axes
    mask = Mask({"out.weight": torch.arange(net.out.weight.numel()).reshape(net.out.weight.shape) % 2 > 0})
    forms = {form: export(net, mask, to=form, example=example) for form in ("dense", "compact", "csr")}
    want = outputs(forms["dense"].network, example)
    assert len(want) == (3 if "LSTM" in name else 2)
    assert all(not differs(want, outputs(made.network, example)) for made in forms.values())


@needs_onnx
@pytest.mark.parametrize("name", ["LSTM with its state, the same zeros twice", "LSTM, batch first, all sizes equal"])
def test_recurrent_programs_run_at_other_batches(name: str) -> None:
    make, example, _ = RECURRENT[name]
    net = seeded(lambda: Recurrent(make()))
    run = session(onnx_bytes(net, example))
    sizes = []
    for each, want in others(net, example, open_axes(net, example)):
        assert not differs(want, run(each))
        sizes.append(leaves(each)[1].shape[1])
    assert sizes == [2, 1, 5]


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@needs_onnx
def test_sizes_are_open_where_asked(tmp_path: Path) -> None:
    net, images = seeded(pooled), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = Mask({"0.weight": torch.ones(4, 3, 3, 3) > 0})
    export(net, mask, to="onnx", out=tmp_path / "m.onnx", example=images, dynamic=[2, 3])
    run = session((tmp_path / "m.onnx").read_bytes())
    for shape in ((1, 3, 16, 16), (4, 3, 24, 9)):
        other = torch.ones(shape)
        assert not differs(outputs(net, other), run(other))
    assert open_axes(net, images, {"input": {3: "width"}}).names == ({3: "width", 0: "batch"},)
    recurrent = seeded(lambda: Recurrent(nn.GRU(4, 4, batch_first=True)))
    named = {"state": zeros(1, 2, 4), "x": zeros(2, 5, 4)}  # not in the order of the forward pass
    assert open_axes(recurrent, named, {"x": {1: "length"}}).names == ({1: "batch"}, {1: "length", 0: "batch"})


def test_sizes_that_cannot_be_open_are_told() -> None:
    net, images = seeded(pooled), torch.ones(2, 3, 8, 8)
    mask = Mask({"0.weight": torch.ones(4, 3, 3, 3) > 0})
    with pytest.raises(SpecError, match="dynamic: only an ONNX program can have open sizes"):
        export(net, mask, to="dense", example=images, dynamic=[2])
    with pytest.raises(SpecError, match=r"dynamic: no input has an axis 4; .* shape \(2, 3, 8, 8\)"):
        open_axes(net, images, [4])
    with pytest.raises(SpecError, match="dynamic: input has no axis 7"):
        open_axes(net, images, {"input": {7: "width"}})
    with pytest.raises(SpecError, match="dynamic: unknown input 'images'. Known: input"):
        open_axes(net, images, {"images": {2: "height"}})
    fixed = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 2)))
    square = torch.ones(2, 4, 4)
    with pytest.raises(ModelError, match="axis1: the network itself accepts only the size 4"):
        list(others(fixed, square, open_axes(fixed, square, [1])))


def test_equal_numbers_of_several_inputs_are_one_size_only_where_sizes_agree() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, mask: Tensor, other: Tensor) -> Tensor:
            return (x * mask[..., None]).sum((1, 2)) + other.sum(1)

    example = {"x": torch.ones(2, 5, 3), "mask": torch.ones(2, 5), "other": torch.ones(2, 7)}
    names = open_axes(Two(), example, [1]).names
    assert [one[1] for one in names] == ["axis1_5", "axis1_5", "axis1_7"] and all(one[0] == "batch" for one in names)


@needs_onnx
def test_programs_of_other_dtypes() -> None:
    """float16 lies as far apart as its own rounding lets it; what ONNX Runtime cannot compute is refused."""
    net, x = seeded(lambda: nn.Sequential(nn.Linear(12, 64), nn.Tanh(), nn.Linear(64, 3))), torch.ones(4, 12)
    mask = Mask({"0.weight": torch.arange(64 * 12).reshape(64, 12) % 3 > 0})
    for dtype in (torch.float16, torch.float64):
        made = export(net.to(dtype), mask, to="onnx", example=x.to(dtype))
        assert made.tolerance == allowed(dtype) and made.size > 0
    images = torch.ones(2, 3, 8, 8).double()
    with pytest.raises(
        ModelError, match=r"does not take this program: .*Conv.*; export .* as float32: model.float\(\)"
    ):
        onnx_bytes(seeded(pooled).double(), images)
    with pytest.raises(ModelError, match="computes no bfloat16 on the CPU.*as float32 or float16"):
        export(net.bfloat16(), mask, to="onnx", example=x.bfloat16())


@pytest.mark.parametrize(
    ("dtype", "steps"), [(torch.float64, 80), (torch.float32, 80), (torch.float16, 16), (torch.bfloat16, 16)]
)
def test_the_tolerance_is_a_count_of_roundings(dtype: torch.dtype, steps: int) -> None:
    one, eps = torch.ones(2, dtype=dtype), torch.finfo(dtype).eps
    assert differs([one], [one + steps * eps]) == ""
    assert "where" in differs([one], [one + 2 * steps * eps])
    assert differs([100 * one], [(100 * one.double() * (1 + 0.9 * steps * eps)).to(dtype)]) == ""
    assert "not numbers (NaN)" in differs([one], [one * float("nan")])
    assert differs([one * float("inf")], [one * float("inf")]) == ""


def test_whole_numbers_must_be_equal() -> None:
    assert differs([torch.tensor([10**6])], [torch.tensor([10**6 + 1])], near=1.0).startswith("its outputs lie 1 apart")
    assert differs([torch.tensor([True])], [torch.tensor([False])]) != ""
