"""C programs compute what the masked network computes, layer by layer and network by network; or nothing is written."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tables import INPUTS, batch
from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.export import CLibrary, export
from oneticket.export.c import c_form, lower, write
from oneticket.export.c.library import compiler
from oneticket.export.c.memory import plan
from oneticket.export.example import outputs
from oneticket.export.network import masked
from oneticket.ground.errors import ModelError, SpecError
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask

needs_compiler = pytest.mark.skipif(not compiler(), reason="no C compiler is installed")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]

MODELS = {
    "lenet": (ModelSpec(name="lenet-300-100"), Inputs(shape=(1, 28, 28))),
    "mlp": (ModelSpec(name="mlp", widths=(70, 33)), Inputs(shape=(1, 8, 8))),
    "conv-4": (ModelSpec(name="conv-4", width=0.2), Inputs(shape=(3, 16, 16))),
    "vgg-11": (ModelSpec(name="vgg-11", width=0.2), Inputs(shape=(3, 32, 32))),
    "resnet-20": (ModelSpec(name="resnet-20", width=0.5), Inputs(shape=(3, 17, 16))),
    "resnet-50": (ModelSpec(name="resnet-50", width=0.03, stem="imagenet"), Inputs(shape=(3, 40, 33))),
    "series-cnn": (ModelSpec(name="series-cnn"), INPUTS["series"]),
}


def pruned(name: str, density: float) -> tuple[nn.Module, Mask, Tensor]:
    """A network with statistics of its own, a random mask, and a batch."""
    spec, inputs = MODELS[name]
    model, x = build(spec, inputs=inputs, outputs=10, seed=1), batch(inputs, 5)
    model(x)
    draw = torch.Generator().manual_seed(2)
    return (
        model.eval(),
        Mask({each: torch.rand(model.get_parameter(each).shape, generator=draw) < density for each in prunable(model)}),
        x,
    )


def close(found: Tensor, want: Tensor) -> None:
    scale = max(1.0, float(want.abs().max()))
    torch.testing.assert_close(found.reshape(want.shape) / scale, want / scale, rtol=0, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("name", MODELS)
def test_a_library_computes_what_the_masked_network_does(name: str, tmp_path: Path) -> None:
    model, mask, x = pruned(name, 0.02 if name == "mlp" else 0.1)
    made = export(model, mask, to="c", out=tmp_path / "net.c", example=x, build=True)
    assert (
        {file.name for file in made.files} == {"net.c", "net.h", "net.so"} == {one.name for one in tmp_path.iterdir()}
    )
    assert made.size == sum(file.stat().st_size for file in made.files)
    (want,) = outputs(masked(model, mask).network, x)
    library = CLibrary(tmp_path / "net.so")
    assert repr(library) == f"CLibrary(name='net', inputs={x[0].numel()}, shape=(10,))"
    close(library(x), want)
    close(library(x[3:4].transpose(-1, -2).contiguous().transpose(-1, -2)), want[3:4])
    assert made.c is not None and made.c.ram == 4 * (library.inputs + library.outputs + library.scratch)
    assert write(lower(made.network, torch.flip(x, [0])), "net") == made.c.program, "equal networks, equal bytes"


class Both(nn.Module):
    """Two layers on one input, and what is made of both."""

    def __init__(self, one: nn.Module, other: nn.Module, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.one, self.other, self.how = one, other, how

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self.one(x), self.other(x))


class Twice(nn.Module):
    """One layer, used twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x).relu())


class Said(nn.Module):
    """What a function makes of an input."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.how(x)


class Standardised(nn.Linear):
    """A linear layer whose weights are computed of others, which are not the input."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean(1, keepdim=True)
        return F.linear(x, weight.where(weight > 0, torch.zeros(())), self.bias) * torch.tensor(2.0)


class Excited(nn.Module):
    """Squeeze-and-excite: every channel times a number computed of all their means."""

    def __init__(self, *gate: nn.Module, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.gate, self.how = nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(*gate), how

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        return F.relu(self.how(x, self.gate(x.mean((2, 3), keepdim=True))) - 0.1)


def convolved() -> list[nn.Module]:
    return [nn.Conv2d(8, 2, 1), nn.SiLU(), nn.Conv2d(2, 8, 1), nn.Hardsigmoid()]


def flattened() -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 8), nn.Sigmoid()]


def neighbours(x: Tensor, y: Tensor) -> Tensor:
    """The same of neighbouring channels, in the order of axes in which efficient channel attention writes it."""
    kernel = torch.tensor([[[0.2, 0.5, -0.3]]])
    each = F.conv1d(y.squeeze(-1).transpose(-1, -2), kernel, padding=1)
    return x * each.transpose(-1, -2).unsqueeze(-1).sigmoid().expand_as(x)


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    z = y - 1
    y.relu_()
    return y + z


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "stride": lambda: nn.Conv2d(3, 5, 3, stride=2, padding=1),
    "strides": lambda: nn.Conv2d(3, 5, (2, 5), stride=(3, 2), padding=(0, 2)),
    "stride beyond the kernel": lambda: nn.Conv2d(3, 4, 1, stride=3),
    "much padding": lambda: nn.Conv2d(3, 4, 2, stride=2, padding=5),
    "dilation": lambda: nn.Conv2d(3, 5, 3, padding=2, dilation=(2, 3)),
    "dilation and stride": lambda: nn.Conv2d(3, 5, 3, padding=2, dilation=3, stride=2),
    "groups": lambda: nn.Conv2d(3, 6, 3, groups=3, padding=1, bias=False),
    "same": lambda: nn.Conv2d(3, 4, (4, 3), padding="same", dilation=(1, 2)),
    "1 x 1": lambda: nn.Conv2d(3, 40, 1),
    "the whole map": lambda: nn.Conv2d(3, 4, (9, 11)),
    "lines": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 5, stride=2, padding=3, dilation=2), nn.ReLU()),
    "lines pooled": lambda: nn.Sequential(nn.Flatten(2), nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(4, 3)),
    "batch norm alone": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)),
    "batch norm of vectors": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(297), nn.Linear(297, 4)),
    "max pool": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "max pool, dilated": lambda: nn.MaxPool2d((2, 3), stride=(1, 2), padding=(1, 0), dilation=(2, 1), ceil_mode=True),
    "average pool": lambda: nn.AvgPool2d(3, stride=2, padding=1),
    "average pool, clipped": lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True),
    "average pool, ceiled": lambda: nn.AvgPool2d((4, 3), stride=(3, 4), padding=(2, 1), ceil_mode=True),
    "average pool, divisor": lambda: nn.AvgPool2d(2, divisor_override=3),
    "adaptive": lambda: nn.AdaptiveAvgPool2d((4, 3)),
    "adaptive, largest": lambda: nn.Sequential(nn.AdaptiveMaxPool2d((4, 13)), nn.Flatten(2), nn.AdaptiveMaxPool1d(5)),
    "borders": lambda: nn.Sequential(nn.ZeroPad2d((1, 0, 2, 3)), nn.Flatten(2), nn.ConstantPad1d((2, 1), 0.0)),
    "max pool with places": lambda: Said(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]),
    "global mean": lambda: Said(lambda x: x.mean((2, 3))),
    "global largest": lambda: Said(lambda x: x.amax((-1, -2), keepdim=True)),
    "residual": lambda: Both(nn.Conv2d(3, 3, 3, padding=1), nn.Identity(), lambda a, b: F.relu(a + b)),
    "products": lambda: Both(nn.Conv2d(3, 3, 1), nn.Sigmoid(), lambda a, b: a * b - a),
    "squeeze and excite": lambda: Excited(*convolved(), how=lambda x, y: y * x),
    "squeeze and excite, linear": lambda: Excited(
        *flattened(), how=lambda x, y: x * y.view(len(y), 8, 1, 1).expand_as(x)
    ),
    "squeeze and excite, in place": lambda: Excited(*convolved(), how=lambda x, y: x.mul_(y)),
    "squeeze and excite, twice read": lambda: Excited(*convolved(), how=lambda x, y: x * y - y.expand(-1, -1, 9, 11)),
    "a number for each channel": lambda: Excited(*convolved(), how=lambda x, y: (x - y).relu() + y),
    "numbers for each channel of lines": lambda: Both(
        nn.Flatten(2), nn.Sequential(nn.Flatten(2), nn.AdaptiveMaxPool1d(1)), lambda a, b: a * b
    ),
    "neighbouring channels": lambda: Excited(how=neighbours),
    "less": lambda: Said(lambda x: 1 - (-x) - torch.rsub(x, x.relu())),
    "clamps": lambda: Said(lambda x: x.clamp_min(-0.5).clamp_max(torch.tensor(0.5)) + x.clamp(0.1, math.inf)),
    "one number for each input": lambda: nn.Sequential(nn.Flatten(), nn.Linear(297, 1), nn.Tanh(), nn.Flatten(0)),
    "computed constants": lambda: nn.Sequential(nn.Flatten(), Standardised(297, 4)),
    "float32 again": lambda: Said(lambda x: x.float().to(x.dtype) * 2),
    "concatenation": lambda: Both(nn.Conv2d(3, 2, 1), nn.Tanh(), lambda a, b: torch.cat([b, a, b], 1)),
    "a shared layer": lambda: Twice(nn.Conv2d(3, 3, 3, padding=1)),
    "one value, two activations": lambda: Said(lambda x: F.relu(2 * x) + F.leaky_relu(2 * x, 0.3)),
    "in place": lambda: Said(in_place),
    "softmax": lambda: nn.Sequential(nn.Flatten(), nn.Softmax(1)),
    "softmax of channels": lambda: nn.LogSoftmax(dim=1),
    "softmax of columns": lambda: nn.Softmax(dim=-1),
    "prelu": lambda: nn.Sequential(nn.PReLU(3, 0.3), nn.Conv2d(3, 2, 1), nn.PReLU(1, 0.1)),
    "nothing": lambda: nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Unflatten(1, (11, 27)), nn.Identity()),
    "linear, nothing left": lambda: nn.Sequential(nn.Flatten(), nn.Linear(297, 5)),
    **{
        f"activation {type(one).__name__}": lambda one=one: nn.Sequential(nn.Conv2d(3, 4, 3), one)  # type: ignore[misc]
        for one in (
            *(
                nn.ReLU(),
                nn.ReLU6(),
                nn.Hardtanh(-0.4, 0.7),
                nn.LeakyReLU(0.2),
                nn.ELU(0.7),
                nn.GELU(),
                nn.GELU("tanh"),
            ),
            *(nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.Softplus(2.0, 1.0), nn.Hardswish(), nn.Hardsigmoid()),
        )
    },
}


class Normalised(nn.Module):
    """An input less a mean per channel, over a number."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.3, -0.2, 0.1]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / 0.5


LAYERS["constants"] = Normalised


def layer(name: str) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = LAYERS[name]()
        x = torch.randn(4, 3, 9, 11)
        for one in net.modules():
            if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d):
                one.running_mean.normal_()  # type: ignore[union-attr, operator]
                one.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
                nn.init.normal_(one.weight), nn.init.normal_(one.bias)
        if "nothing left" in name:
            net[1].weight.data.zero_()  # type: ignore[index, union-attr, operator]
    return net.eval(), x


@needs_compiler
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_computes_what_torch_does(name: str) -> None:
    net, x = layer(name)
    made = c_form(net, x)  # compares the list of layers and the program with the network
    assert made.library is not None
    (want,) = outputs(net, x)
    assert made.library(x).shape == want.shape
    close(made.library(x), want)


def several() -> nn.Sequential:
    """A network of most kinds of layers, dense and sparse ones."""
    net = nn.Sequential(
        Excited(*convolved(), how=lambda x, y: x * y),
        *(nn.Conv2d(8, 13, 3, stride=2, padding=1), nn.BatchNorm2d(13), nn.ReLU(), nn.MaxPool2d(2, 2, 1)),
        *(nn.Conv2d(13, 7, 3, padding=1), nn.Hardtanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        *(nn.Linear(28, 30), nn.GELU(), nn.Linear(30, 3), nn.Softmax(1)),
    ).eval()
    with torch.no_grad():
        net[5].weight.mul_(torch.arange(819).reshape(7, 13, 3, 3) % 9 == 0)
        net[9].weight.mul_(torch.arange(840).reshape(30, 28) % 11 == 0)
    return net


@needs_compiler
@pytest.mark.parametrize(
    ("embedded", "flags"),
    [(0, []), (10**9, ["-march=native"]), (10**9, ["-U__SSE__", "-U__AVX__"])],
    ids=["values beside", "native", "no lanes"],
)
def test_sources_are_strict_c_and_stay_within_their_memory(embedded: int, flags: list[str], tmp_path: Path) -> None:
    """A program of its own, with as much memory as the header says, under the sanitizers; int8 and float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = several()
    x = torch.arange(3 * 9 * 11).reshape(1, 3, 9, 11).sin()
    for int8 in (False, True):
        form = c_form(net, x, stem="net", int8=int8, embedded=embedded)
        program = form.program
        assert bool(program.values) == (embedded == 0)
        (tmp_path / "net.c").write_text(program.source)
        (tmp_path / "net.h").write_text(program.header)
        (tmp_path / "net.bin").write_bytes(program.values)
        (tmp_path / "main.c").write_text(MAIN)
        command = [
            *compiler(),
            *STRICT,
            *flags,
            "-g",
            "-O1",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
        ]
        build = subprocess.run(
            [*command, "net.c", "main.c", "-o", "main", "-lm"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        if "cannot find" in build.stderr and "san" in build.stderr:
            pytest.skip("the compiler has no sanitizers")
        assert not build.returncode, build.stderr
        said = " ".join(f"{value:.9g}" for value in x.flatten().tolist())
        done = subprocess.run(["./main"], cwd=tmp_path, input=said, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        found = torch.tensor([float(word) for word in done.stdout.split()])
        assert form.library is not None
        torch.testing.assert_close(found, form.library(x)[0], rtol=1e-5, atol=1e-6)


MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

int main(void)
{
    float *in = calloc(NET_IN, sizeof *in), *out = malloc(NET_OUT * sizeof *out);
    float *scratch = malloc(NET_SCRATCH * sizeof *scratch);
#ifdef NET_VALUES
    void *memory = malloc(NET_VALUES);
    if (net_run(in, out, scratch) != NET_NOT_LOADED || net_load("net.bin", memory) != NET_OK)
        return 2;
#endif
    for (int i = 0; i < NET_IN; i++)
        if (scanf("%f", in + i) != 1)
            return 3;
    if (net_run(in, out, scratch) != NET_OK || net_sizes[1] != NET_OUT)
        return 4;
    for (int i = 0; i < NET_OUT; i++)
        printf("%.9g\n", (double)out[i]);
#ifdef NET_VALUES
    free(memory);
#endif
    free(in), free(out), free(scratch);
    return 0;
}
"""


def tiny() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    net.load_state_dict(
        {
            "0.weight": torch.tensor([[0, 1.5, 0], [0, 0, 0], [-2, 0, 0], [0, 0, 0.1], [0, 0, 0]]),
            "0.bias": torch.tensor([0, 1.0, 2.0, 3.0, 4.0]),
            "2.weight": torch.tensor([[1.0, 0, 0, 0, 0], [0, 0, -1.0, 0, 0.25]]),
            "2.bias": torch.tensor([0.5, 0]),
        }
    )
    return net


@pytest.mark.parametrize("ending", ["c", "h"])
def test_a_small_program_is_these_bytes(ending: str) -> None:
    program = write(lower(tiny(), torch.zeros(1, 3)), "tiny")
    text = {"c": program.source, "h": program.header}[ending]
    assert text == (Path(__file__).parent / "golden" / f"tiny.{ending}").read_text()


@needs_compiler
def test_int8_weights_are_small_and_their_error_is_told(tmp_path: Path) -> None:
    model, mask, x = pruned("lenet", 0.1)
    whole = export(model, mask, to="c", example=x).c
    small = export(model, mask, to="c", out=tmp_path / "net.c", example=x, int8=True, build=True).c
    assert whole is not None and small is not None
    assert whole.error == 0 and whole.same == 1
    assert 0 < small.error < 0.02 and small.same == 1
    assert small.data < 0.45 * whole.data and small.data < 62_000, "two bytes a weight"
    (want,) = outputs(masked(model, mask).network, x)
    found = CLibrary(tmp_path / "net.so")(x)
    assert abs(float((found - want).abs().max() / want.abs().max()) - small.error) < 1e-4
    net, x = layer("one number for each input")
    with torch.random.fork_rng(devices=[]):
        few = nn.Sequential(net, nn.Unflatten(0, (-1, 1)), nn.Linear(1, 2)).eval()
    with torch.no_grad():
        few[2].weight.copy_(torch.tensor([[1e-44], [0.0]]))  # too small for steps of its own
    for one in (net, few):
        form = c_form(one, x, int8=True)
        assert form.error < 0.02 and form.same == 1 and form.rows == 4


def test_units_that_nobody_reads_are_not_written() -> None:
    model, mask, x = pruned("mlp", 0.3)
    reads = mask["fc2.weight"].clone()
    reads[:, ::2] = False
    made = export(model, Mask({**mask, "fc2.weight": reads}), to="c", example=x)
    assert made.removed["fc1"] >= 35 and made.c is not None
    assert "fc1 (Linear): 35 numbers" in made.c.program.layers[0]


@needs_compiler
def test_a_pruned_squeeze_and_excite_block_is_written_as_masked() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, x = (
            nn.Sequential(Excited(*convolved(), how=lambda x, y: x * y), nn.Conv2d(8, 4, 3)).eval(),
            torch.randn(4, 3, 9, 11),
        )
        mask = {name: torch.rand_like(one) < 0.4 for name, one in net.named_parameters() if name.endswith("weight")}
    mask["1.weight"][:, :3] = False  # three channels that the block's own means alone read
    made = export(net, Mask(mask), to="c", example=x, int8=True)
    exact = export(net, Mask(mask), to="c", example=x)
    assert exact.c is not None and made.c is not None and exact.c.library is not None and made.c.error < 0.05
    (want,) = outputs(masked(net, Mask(mask)).network, x)
    close(exact.c.library(x), want)
    assert "mul_by_channel(" in exact.c.program.source


class Refused(nn.Module):
    """Layers that C has no form of, between those that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2)
        self.norm, self.fc = nn.LayerNorm(10), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.up(self.conv(x).relu())))


@pytest.fixture
def _forked() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.usefixtures("_forked")
def test_what_has_no_c_form_is_refused_by_layer(tmp_path: Path) -> None:
    out, x = tmp_path / "net.c", torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    net = Refused().eval()
    mask = Mask({"conv.weight": torch.ones(4, 3, 3, 3) > 0})
    with pytest.raises(ModelError, match="not every layer has a C form; write it with --to onnx") as caught:
        export(net, mask, to="c", out=out, example=x)
    said = str(caught.value).splitlines()
    assert said[1:] == [
        "up (ConvTranspose2d): conv_transpose2d has no C form here",
        "norm (LayerNorm): layer_norm has no C form here",
        "fc (Linear): a linear layer on several positions of one input has no C form here; flatten before it",
    ]
    ones = Mask({"weight": torch.ones(2, 4) > 0})
    for model, example, words in (
        (nn.Linear(4, 2).double(), torch.ones(2, 4).double(), "one float32 tensor as input, got float64"),
        (Said(lambda x: x.mean()), torch.ones(2, 4), "only means and maxima over all positions of a channel"),
        (Said(lambda x: x.double()), torch.ones(2, 4), "it gives float64, not float32"),
        (Said(lambda x: x / 0), torch.ones(2, 4), "it divides by zero"),
        (Said(lambda x: F.pad(x, (1, 1), value=1.0)), torch.ones(2, 3, 4), "only padding with zeros has a C form"),
        (Said(lambda x: F.pad(x, (-1, 1))), torch.ones(2, 3, 4), "no negative padding"),
        (Said(lambda x: torch.clamp(x, torch.zeros(4))), torch.ones(2, 4), "set to NaN, or to several numbers"),
        (
            Said(lambda x: torch.ones(1, 4) * 2),
            torch.ones(2, 4),
            "its output does not depend on its input|other shapes",
        ),
        (Said(lambda x: x[:, :2]), torch.ones(2, 4), "slice has no C form"),
        (Said(lambda x: x.transpose(1, 2)), torch.ones(2, 3, 4), "only axes of one number may change their places"),
        (Said(lambda x: x.mean((2,), keepdim=True) - x), torch.ones(2, 3, 4), "values of different shapes"),
        (Said(lambda x: x * x.amax((1,), keepdim=True)), torch.ones(2, 3, 4), "only means and maxima over all"),
        (Said(lambda x: x.unsqueeze(2) * x.unsqueeze(3)), torch.ones(2, 3, 4), "values of different shapes"),
        (Said(lambda x: x.unsqueeze(2).expand(-1, -1, 2, -1)), torch.ones(2, 3, 4), "only a number for each channel"),
        (
            Said(lambda x: x.mean((2,), keepdim=True).expand(-1, -1, 4).relu()),
            torch.ones(2, 3, 4),
            "only a number for each channel is repeated",
        ),
        (nn.Conv2d(1, 1, 3), torch.ones(1, 9, 11), "its input has no axis of the batch"),
        (nn.Linear(4, 2), [torch.ones(2, 4), torch.ones(2, 4)], "takes 2 positional arguments but 3"),
        (nn.Bilinear(4, 4, 2), [torch.ones(2, 4), torch.ones(2, 4)], "one float32 tensor as input, got float32 .* and"),
        (nn.GRU(4, 2, batch_first=True), torch.ones(2, 3, 4), "torch cannot trace GRU|gru has no C form"),
        (
            nn.BatchNorm1d(4, track_running_stats=False),
            torch.ones(2, 4),
            "no running statistics|Expected more than 1 value",
        ),
    ):
        given = ones if isinstance(model, nn.Linear) else Mask({})
        with pytest.raises(ModelError, match=words):
            export(model.eval(), given, to="c", out=out, example=example)
    unknown = nn.Sequential(nn.Linear(4, 2))
    with torch.no_grad():
        unknown[0].weight[0, 0] = float("nan")
    with pytest.raises(
        ModelError, match=r"its outputs are not numbers \(NaN\); not finite: 0.weight; nothing was written"
    ):
        export(unknown, Mask({}), to="c", out=out, example=torch.ones(2, 4))
    infinite = nn.Sequential(nn.Linear(4, 2))
    with torch.no_grad():
        infinite[0].bias[0] = float("inf")
    with pytest.raises(ModelError, match="c: 0 .Linear.*expected finite weights"):
        c_form(infinite.eval(), torch.ones(2, 4))
    with pytest.raises(SpecError, match="so C must take its name: net_2.c"):
        export(tiny(), Mask({}), to="c", out=tmp_path / "net-2.c", example=torch.ones(1, 3))
    with pytest.raises(SpecError, match="build and int8 belong to the form c"):
        export(tiny(), Mask({}), to="dense", example=torch.ones(1, 3), int8=True)
    assert not list(tmp_path.iterdir())


def test_values_that_live_at_one_time_never_share_memory() -> None:
    for name in ("resnet-20", "conv-4", "series-cnn"):
        model, _, x = pruned(name, 1.0)
        network = lower(model, x)
        memory = plan(network)
        last = {value: step for step, one in enumerate(network.layers) for value in one.inputs}
        held: dict[int, tuple[int, int]] = {}
        for step, one in enumerate(network.layers):
            size = int(torch.tensor(one.shape).prod())
            if one.output in memory.values:
                place = (memory.values[one.output], memory.values[one.output] + size)
                remaining = [held[value] for value in held if last[value] > step]
                assert all(place[1] <= begin or end <= place[0] for begin, end in remaining), one.name
                assert place[1] <= memory.floats
                held[one.output] = place
