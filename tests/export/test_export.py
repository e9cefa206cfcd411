"""Every form computes what the masked model computes, in Python and read back from its file; or nothing is written."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tables import BEYOND_IMAGES, batch, outputs_of
from torch import Tensor, nn

from oneticket.export import export
from oneticket.export import onnx as onnx_room
from oneticket.export.example import Example, outputs
from oneticket.export.sparse import Csr, on_cuda, packed, two_of_four, unpacked
from oneticket.ground.errors import FileError, ModelError, PruneError, RequestError, SpecError
from oneticket.lottery.search import search
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

NETS = {
    "lenet": {"name": "lenet-300-100"},
    "batchnorm": {"name": "vgg-11", "width": 0.1},
    "resnet-20": {"name": "resnet-20", "width": 0.5},
}


@pytest.fixture(scope="module")
def tickets() -> dict[str, Ticket]:
    """The sparsest ticket of a short real search on digits, per network."""
    found = {}
    for name, model in NETS.items():
        spec: Any = {"data": "digits:a", "model": model, "training": {"budget": "6it"}, "rewind": "1it"}
        book = search({**spec, "pruning": {"fraction": 0.9}}, levels=2)
        found[name] = book[2]
    return found


def trained(ticket: Ticket) -> nn.Module:
    """The ticket's network with values where it is pruned too, as a dense network has, and moved statistics."""
    model = build(ModelSpec.read(ticket.model["spec"]), inputs=Inputs(shape=(1, 8, 8)), outputs=10, seed=3)
    model(torch.arange(8 * 64).reshape(8, 1, 8, 8).float().sin())
    return model


def by_hand(model: nn.Module, mask: Mapping[str, Tensor]) -> nn.Module:
    same = copy.deepcopy(model).eval()
    same.load_state_dict(
        {**same.state_dict(), **{n: same.get_parameter(n).detach() * lives for n, lives in mask.items()}}
    )
    return same


def close(one: nn.Module, other: nn.Module, example: Example) -> None:
    for mine, theirs in zip(outputs(one.eval(), example), outputs(other, example), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


IMAGES = torch.arange(3 * 64).reshape(3, 1, 8, 8).float().cos()


@pytest.mark.parametrize("form", ["dense", "compact", "csr"])
@pytest.mark.parametrize("name", NETS)
def test_forms_compute_what_the_masked_model_does(
    name: str, form: str, tickets: dict[str, Ticket], tmp_path: Path
) -> None:
    ticket = tickets[name]
    model = trained(ticket)
    before = copy.deepcopy(model.state_dict())
    if form == "csr" and name != "lenet":
        with pytest.raises(PruneError, match="no linear layer lost a weight"):
            export(model, ticket.mask, to=form, example=IMAGES, out=tmp_path / "m.safetensors")
        assert not list(tmp_path.iterdir())
        return
    made = export(model, ticket.mask, to=form, example=IMAGES, out=tmp_path / "m.safetensors")
    close(made.network, by_hand(model, ticket.mask), IMAGES)
    assert not made.network.training and model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert made.path is not None and made.size == made.path.stat().st_size
    state = load_file(made.path)
    assert {key: value.shape for key, value in state.items()} == {
        key: value.shape for key, value in made.network.state_dict().items()
    }
    for parameter in made.network.parameters():
        parameter.data.fill_(7)
    made.network.load_state_dict(state)
    close(made.network, by_hand(model, ticket.mask), IMAGES)
    if form == "dense":
        assert all(torch.equal(state[key] != 0, lives & (before[key] != 0)) for key, lives in ticket.mask.items())
    if form == "compact" and name != "lenet":
        assert sum(made.removed.values()) > 0
        assert sum(value.numel() for value in state.values()) < sum(value.numel() for value in before.values())
    if form == "csr":
        layers = {key: layer for key, layer in made.network.named_modules() if isinstance(layer, Csr)}
        assert {key: len(layer.values) for key, layer in layers.items()} == {
            key: ticket.mask.counts[f"{key}.weight"] for key in layers
        }


@pytest.mark.parametrize("name", NETS)
def test_onnx_runs_in_onnx_runtime(name: str, tickets: dict[str, Ticket], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the package onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
    ticket = tickets[name]
    model = trained(ticket)
    want = by_hand(model, ticket.mask)
    forms = ("onnx", "compact") if name == "resnet-20" else ("onnx",)
    sizes = {}
    for form in forms:
        made = export(model, ticket.mask, to=form, example=IMAGES[:1], out=tmp_path / f"{form}.onnx")
        run = runtime.InferenceSession(tmp_path / f"{form}.onnx", providers=["CPUExecutionProvider"])
        for rows in (1, 2, 3):
            (found,) = run.run(None, {run.get_inputs()[0].name: IMAGES[:rows].numpy()})
            torch.testing.assert_close(torch.from_numpy(found), want(IMAGES[:rows]), rtol=1e-5, atol=1e-5)
        sizes[form] = made.size
    assert sizes.get("compact", 0) < sizes["onnx"]


def test_a_transformer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    pytest.importorskip("onnxscript", reason="the package onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config)
    linear = [name for name, layer in model.named_modules() if type(layer) is nn.Linear and "encoder" in name]
    weights = {f"{name}.weight": model.get_parameter(f"{name}.weight") for name in linear}
    mask = Mask({name: weight.abs() > weight.abs().median() for name, weight in weights.items()})
    ids = torch.arange(24).reshape(2, 12) % 50
    example = {"input_ids": ids, "attention_mask": (ids % 5 != 4).long()}
    want = by_hand(model, mask)
    for form in ("dense", "csr"):
        close(export(model, mask, to=form, example=example).network, want, example)
    whole = export(model, mask, to="compact", example=example)
    assert not whole.removed and not whole.note, "all units are read"
    fewer = {key: remaining.clone() for key, remaining in mask.items()}
    for key in fewer:
        if "output.dense" in key or "attention" in key:
            fewer[key][:, ::2] = False
    small = export(model, Mask(fewer), to="compact", example=example)
    close(small.network, by_hand(model, Mask(fewer)), example)
    assert small.removed == {f"bert.encoder.layer.{n}.intermediate.dense": 32 for n in (0, 1)}
    kept = {(stop.layer.rpartition(".")[2], stop.units, stop.at.partition(" ")[2]) for stop in small.stopped}
    assert kept == {("value", 16, "(BertSelfAttention)")} and "does not follow when units go" in small.note
    export(model, mask, to="onnx", example=example, out=tmp_path / "bert.onnx")
    run = runtime.InferenceSession(tmp_path / "bert.onnx", providers=["CPUExecutionProvider"])
    (found,) = run.run(None, {name: value[:1].numpy() for name, value in example.items()})
    torch.testing.assert_close(
        torch.from_numpy(found), want(**{n: v[:1] for n, v in example.items()}).logits, rtol=1e-5, atol=1e-5
    )


def two_four(model: nn.Module, names: list[str]) -> Mask:
    """The two largest of each four along the inputs; in one group less, in one only one."""
    masks = {}
    for name in names:
        groups = model.get_parameter(name).detach().abs().unflatten(1, (-1, 4))
        remaining = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, groups.topk(2, dim=2).indices, True)
        remaining[0, 0], remaining[1, 0, 1:] = False, False
        masks[name] = remaining.flatten(1)
    return Mask(masks)


def test_two_of_four_is_checked_packed_and_unpacked(tickets: dict[str, Ticket], tmp_path: Path) -> None:
    model = trained(tickets["lenet"])
    mask = two_four(model, ["fc1.weight", "fc2.weight"])
    made = export(model, mask, to="2:4", example=IMAGES, out=tmp_path / "m.safetensors")
    state = load_file(tmp_path / "m.safetensors")
    assert state["fc1.weight.values"].shape == (300, 32) and state["fc1.weight.meta"].shape == (300, 16)
    want = by_hand(model, mask).state_dict()
    found = unpacked(state)
    assert found.keys() == want.keys() and all(torch.equal(found[key], want[key]) for key in want)
    assert made.size < 0.8 * sum(value.nbytes for value in want.values())
    with pytest.raises(PruneError, match=r"fc1: \d+ of 4800 groups have more than 2") as caught:
        export(model, Mask({**mask, "fc1.weight": mask["fc1.weight"].roll(1, 1)}), to="2:4", example=IMAGES)
    assert "fc2" not in str(caught.value)
    with pytest.raises(PruneError, match="is not 2:4"):
        export(
            model,
            Mask({"fc2.weight": torch.ones(100, 300).tril() > 0}),
            to="2:4",
            example=IMAGES,
            out=tmp_path / "no.safetensors",
        )
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.gpu
def test_two_of_four_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128)).half().cuda()
        x = torch.randn(128, 256, device="cuda", dtype=torch.float16)
    mask = two_four(model.cpu(), ["0.weight", "2.weight"])
    whole = two_of_four(model.cuda(), mask).network
    fast = on_cuda(whole, mask)
    assert type(fast[0].weight).__name__.startswith("SparseSemiStructured")
    torch.testing.assert_close(fast(x), whole(x), rtol=1e-2, atol=1e-2)
    assert set(packed(whole, mask)) == {"0.bias", "2.bias"} | {
        f"{n}.weight.{part}" for n in "02" for part in ("values", "meta")
    }


class Draws(nn.Module):
    """Computes something else at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + torch.rand(4, generator=None)


class Branches(nn.Module):
    """Depends on the values, so no program holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if float(x.sum()) > 0 else self.fc(-x)


MASK = Mask({"fc.weight": torch.eye(4) > 0})


def test_what_cannot_be_exported_truly_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ones = torch.ones(2, 4)
    with torch.random.fork_rng(devices=[]):
        with pytest.raises(ModelError, match="dense: .* its outputs lie .* apart"):
            export(Draws(), MASK, to="dense", example=ones, out=tmp_path / "d.safetensors")
        branches = Branches()
    monkeypatch.setattr(onnx_room, "PACKAGES", ("no_such_package",))
    with pytest.raises(ModelError, match=r"onnx needs no_such_package: pip install 'oneticket\[onnx\]'"):
        export(branches, MASK, to="onnx", example=ones, out=tmp_path / "b.onnx")
    monkeypatch.undo()
    if not onnx_room.missing():
        with pytest.raises(ModelError, match="onnx: torch cannot export Branches: "):
            export(branches, MASK, to="onnx", example=ones, out=tmp_path / "b.onnx")
    assert not list(tmp_path.iterdir())


def test_a_program_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real program of another network in place of the right one."""
    if lacking := onnx_room.missing():
        pytest.skip(lacking)
    with torch.random.fork_rng(devices=[]):
        right, wrong = nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 4))
    real = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda _, *rest, **how: real(wrong.eval(), *rest, **how))
    with pytest.raises(ModelError, match="ONNX Runtime does not compute what torch does") as caught:
        export(
            right, Mask({"0.weight": torch.eye(4) > 0}), to="onnx", example=torch.ones(2, 4), out=tmp_path / "m.onnx"
        )
    assert not isinstance(caught.value, RequestError)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_told(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Linear(4, 4))
        tied = nn.Sequential(net[0], nn.Linear(4, 4))
    mask, ones = Mask({"0.weight": torch.eye(4) > 0}), torch.ones(2, 4)
    with pytest.raises(SpecError, match="unknown form 'onxx'; did you mean 'onnx'"):
        export(net, mask, to="onxx", example=ones)
    with pytest.raises(SpecError, match="is written as .onnx, got '.pth'"):
        export(net, mask, to="onnx", example=ones, out=tmp_path / "m.pth")
    with pytest.raises(PruneError, match="'9.weight'.*no such tensor"):
        export(net, Mask({"9.weight": torch.eye(4) > 0}), to="dense", example=ones)
    with pytest.raises(ModelError, match="example: expected a batch"):
        export(net, mask, to="dense", example=[])
    with pytest.raises(FileError, match="cannot be written"):
        export(net, mask, to="dense", example=ones, out="/proc/none/m.safetensors")
    tied[1].weight = net[0].weight
    made = export(tied, mask, to="dense", example=ones, out=tmp_path / "tied.safetensors")
    state = load_file(tmp_path / "tied.safetensors")
    assert torch.equal(state["0.weight"], state["1.weight"]) and int((state["1.weight"] != 0).sum()) == 4
    assert made.network[0].weight is made.network[1].weight


@pytest.mark.parametrize("to", ["dense", "compact", "csr", "onnx"])
@pytest.mark.parametrize("name", BEYOND_IMAGES)
def test_networks_for_other_inputs_than_images_have_the_same_forms(name: str, to: str, tmp_path: Path) -> None:
    spec, inputs = BEYOND_IMAGES[name]
    net = build(spec, inputs=inputs, outputs=outputs_of(spec.name, inputs), seed=0)
    draw = torch.Generator().manual_seed(1)
    mask = Mask({each: torch.rand(net.get_parameter(each).shape, generator=draw) < 0.02 for each in prunable(net)})
    out = tmp_path / f"network.{'onnx' if to == 'onnx' else 'safetensors'}"
    if to == "csr" and name in ("series-cnn", "text-cnn"):
        with pytest.raises(PruneError, match="no linear layer lost a weight"):
            export(net, mask, to=to, out=out, example=batch(inputs, 4))
        return
    made = export(net, mask, to=to, out=out, example=batch(inputs, 4))
    assert made.path == out and out.stat().st_size == made.size
    close(made.network, by_hand(net, mask), batch(inputs, 5, seed=1))
    assert bool(made.removed) == (to == "compact" and name != "text-cnn")
