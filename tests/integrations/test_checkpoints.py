"""Nested checkpoints are read where one entry is meant; names lose wrappers; OpenLTH's names say the step."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from oneticket.ground.errors import FileError
from oneticket.integrations.checkpoint import by_names
from oneticket.integrations.foreign import read_checkpoint
from oneticket.integrations.masks import from_masks, read_ticket

WEIGHTS = {"fc.weight": torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "fc.bias": torch.ones(2)}
MASKS = {"fc.weight": torch.tensor([[True, False], [False, True]])}


def saved(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)  # noqa: TID251 - what other tools write
    return path


def behind(prefix: str, tensors: dict[str, Tensor] = WEIGHTS) -> dict[str, Tensor]:
    return OrderedDict((prefix + name, tensor) for name, tensor in tensors.items())


def trained() -> dict[str, Any]:
    """What a training script saves, with a real optimizer's state."""
    net = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"epoch": 3, "best": 0.5, "name": "run", "done": None, "optimizer": optimizer.state_dict()}


NESTED: dict[str, tuple[Any, str | None, str]] = {
    "flat": (WEIGHTS, None, ""),
    "model": ({"model": WEIGHTS}, None, "its entry 'model'"),
    "net, data parallel": ({"net": behind("module.")}, None, "its entry 'net', names without 'module.'"),
    "compiled": (behind("_orig_mod."), None, "names without '_orig_mod.'"),
    "both": (
        {"model_state_dict": behind("module._orig_mod.")},
        None,
        "its entry 'model_state_dict', names without 'module._orig_mod.'",
    ),
    "lightning": (
        {"state_dict": behind("model."), "pytorch-lightning_version": "2.5"},
        None,
        "its entry 'state_dict', names without 'model.'",
    ),
    "ema too": ({"model": WEIGHTS, "ema": behind("x.")}, None, "its entry 'model' (not ema)"),
    "named": ({"model": behind("x."), "ema": WEIGHTS}, "ema", "its entry 'ema' (not model)"),
    "deeper": ({"state": {"model": WEIGHTS}}, None, "its entry 'state.model'"),
    "twice": ({"model": WEIGHTS, "state_dict": WEIGHTS}, None, "its entry 'model' (not state_dict)"),
    "twice, named": ({"model": WEIGHTS, "best": WEIGHTS}, "best", "its entry 'best' (not model)"),
    "deeper, named": ({"state": {"student": WEIGHTS, "teacher": behind("x.")}}, "state.student", "'state.student'"),
}
"""What a file holds, the key, and what is said of it."""


@pytest.mark.parametrize("name", NESTED)
def test_the_state_dict_in_a_checkpoint_is_read(name: str, tmp_path: Path) -> None:
    content, key, said = NESTED[name]
    more = {} if name in ("flat", "compiled") else trained()
    found = read_checkpoint(saved(tmp_path / "c.pth", {**more, **content}), key=key)
    assert found.tensors.keys() == WEIGHTS.keys() and all(torch.equal(found.tensors[n], WEIGHTS[n]) for n in WEIGHTS)
    assert said in str(found) and bool(said) == bool(str(found))
    ticket = read_ticket(tmp_path / "c.pth", key=key)
    assert ticket.mask == from_masks(MASKS, WEIGHTS).mask
    assert ticket.lineage["imported"].get("read", {}).get("file", "") == str(found)


UNCLEAR: dict[str, tuple[Any, str | None, str]] = {
    "two": (
        {"model": WEIGHTS, "net": WEIGHTS | {"other": torch.ones(1)}},
        None,
        "several state dicts, model, net;.*--key",
    ),
    "none known": ({"epoch": 3, "weights": WEIGHTS}, None, "no state dict under .*`--key`, of weights"),
    "of many": (
        {f"part {number}": WEIGHTS for number in range(10)},
        None,
        ", ".join(f"part {number}" for number in range(10)) + "$",
    ),
    "no such key": ({"model": WEIGHTS, "ema": WEIGHTS}, "emma", "no entry 'emma' with tensors; .*: ema, model"),
    "flat and a key": (WEIGHTS, "model", "no entry 'model' with tensors; entries with tensors: none"),
    "not a state dict": ({"model": WEIGHTS | {"extra": 3}}, None, "expected names and tensors, got int under 'extra'"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_not_clear_is_asked_for(name: str, tmp_path: Path) -> None:
    content, key, said = UNCLEAR[name]
    with pytest.raises(FileError, match=said):
        read_ticket(
            saved(tmp_path / "c.pth", {n: c and dict(c) if isinstance(c, dict) else c for n, c in content.items()}),
            key=key,
        )


def test_names_that_would_become_one_stay_as_they_are(tmp_path: Path) -> None:
    both = {"module.fc.weight": torch.ones(1, 2), "fc.weight": torch.zeros(1, 2)}
    assert read_checkpoint(saved(tmp_path / "c.pth", both)).tensors.keys() == both.keys()
    own = {"model.fc.weight": torch.ones(1, 2), "head.weight": torch.ones(1, 2)}  # a network's own module
    lightning = {"state_dict": own, "pytorch-lightning_version": "2.5"}
    assert read_checkpoint(saved(tmp_path / "d.pth", lightning)).tensors.keys() == own.keys()
    plain = behind("model.")  # nothing says that this is a wrapper's
    assert read_checkpoint(saved(tmp_path / "e.pth", plain)).tensors.keys() == plain.keys()


@pytest.mark.parametrize(("masks", "weights"), [("", "model."), ("model.", ""), ("module.", ""), ("", "")])
def test_masks_and_weights_meet_where_a_prefix_differs(masks: str, weights: str, tmp_path: Path) -> None:
    save_file(behind(masks, {name: mask.float() for name, mask in MASKS.items()}), tmp_path / "m.safetensors")
    second = saved(tmp_path / "w.pth", {"net": {**behind(weights), "loss.weight": torch.ones(1)}, "epoch": 1})
    ticket = read_ticket(tmp_path / "m.safetensors", weights=second)
    assert ticket.mask == from_masks(MASKS, WEIGHTS).mask and set(WEIGHTS) <= set(ticket.weights)
    assert ticket.lineage["imported"]["read"]["weights"] == "its entry 'net'"


def test_weights_for_a_known_network() -> None:
    wanted = [*WEIGHTS, "norm.num_batches_tracked"]
    assert by_names(behind("model.") | {"loss.w": torch.ones(1)}, wanted).keys() == WEIGHTS.keys()
    with pytest.raises(FileError, match="has no fc.bias; it has fc.weight"):
        by_names({"fc.weight": torch.ones(1)}, wanted)
    with pytest.raises(FileError, match="which are meant"):
        by_names(behind("a.") | {"b.fc.weight": torch.zeros(2), "b.fc.bias": torch.zeros(2)}, wanted[:2])


def test_a_checkpoint_that_leads_in_circles_ends(tmp_path: Path) -> None:
    circle: dict[str, Any] = {"model": WEIGHTS}
    circle |= {str(number): circle for number in range(500)} | {"x" * 500: {"deep": WEIGHTS}}
    assert read_checkpoint(saved(tmp_path / "c.pth", circle)).key == "model"


class LeNet(nn.Module):
    """Names as OpenLTH's `mnist_lenet` has them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_layers = nn.ModuleList([nn.Linear(6, 5), nn.Linear(5, 4)])
        self.fc = nn.Linear(4, 3)


class Pruned(nn.Module):
    """A network and its masks as OpenLTH keeps them while it trains: buffers `mask_` + the name, dots as `___`."""

    def __init__(self, model: nn.Module, masks: dict[str, Tensor]) -> None:
        super().__init__()
        self.model = model
        for name, mask in masks.items():
            self.register_buffer("mask_" + name.replace(".", "___"), mask.float())
            model.get_parameter(name).data *= mask


def open_lth(root: Path, *, per_epoch: int, start: int, end: int) -> tuple[Path, dict[str, Tensor], dict[str, Tensor]]:
    """A folder of level 1 as that framework's code leaves it, with its masks and its rewind weights.

    `lottery/runner.py`, `models/base.py`, `pruning/mask.py`, `training/checkpointing.py`: masks as int32 and their
    counts, the pruned weights at the start and the end of training, and a checkpoint of every epoch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = LeNet()
        masks = {name: torch.rand(w.shape) < 0.5 for name, w in net.named_parameters() if w.dim() == 2}
    folder = root / "lottery_0123" / "replicate_1" / "level_1" / "main"
    saved(folder / "mask.pth", {name: mask.int() for name, mask in masks.items()})
    counts = {
        "total": float(sum(m.numel() for m in masks.values())),
        "unpruned": float(sum(m.sum() for m in masks.values())),
    }
    (folder / "sparsity_report.json").write_text(json.dumps(counts, indent=4))
    pruned = Pruned(net, masks)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for step in (start, end):
        saved(folder / f"model_ep{step // per_epoch}_it{step % per_epoch}.pth", net.state_dict())
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter += masks.get(name, True) * 0.25  # a training, in short
    state = {"ep": end // per_epoch, "it": 0, "model_state_dict": pruned.state_dict(), "logger": "test_loss,0,2.3"}
    optimizer = torch.optim.SGD(pruned.parameters(), lr=0.1, momentum=0.9)
    saved(folder / "checkpoint.pth", {**state, "optimizer_state_dict": optimizer.state_dict()})
    return folder, masks, before


def test_open_lth_says_its_step_in_names(tmp_path: Path) -> None:
    folder, masks, weights = open_lth(tmp_path, per_epoch=100, start=50, end=1000)
    ticket = read_ticket(folder / "mask.pth", head=("fc.weight", "fc.bias"))
    assert (ticket.contract.rewind, ticket.contract.step, ticket.contract.schedule) == ("50it", 50, "caller")
    assert ticket.mask == from_masks(masks, weights).mask
    assert all(torch.equal(ticket.weights[name], weights[name]) for name in weights)
    assert ticket.lineage["imported"] == {"from": "open-lth", "inferred": False, "step": "file name"}
    assert read_ticket(folder / "mask.pth", weights=folder / "model_ep0_it50.pth", step=50).contract.step == 50

    with pytest.raises(FileError, match=r"model_ep0_it50.pth: the name says step 50, --step says 7"):
        read_ticket(folder / "mask.pth", step=7)
    with pytest.raises(FileError, match=r"epoch 10, iteration 0, and not how many .*: 10 x iterations per epoch \+ 0"):
        read_ticket(folder / "mask.pth", weights=folder / "model_ep10_it0.pth")
    end = read_ticket(folder / "mask.pth", weights=folder / "model_ep10_it0.pth", step=1000)
    assert (end.contract.rewind, end.contract.step) == ("10ep", 1000) and end.mask == ticket.mask
    with pytest.raises(FileError, match=r"10 x iterations per epoch \+ 0, not 1001"):
        read_ticket(folder / "mask.pth", weights=folder / "model_ep10_it0.pth", step=1001)
    with pytest.raises(FileError, match="epoch 10, iteration 0"):  # a final model by itself, its zeros for a mask
        read_ticket(folder / "model_ep10_it0.pth")

    running = read_ticket(folder / "checkpoint.pth", step=1000)
    assert running.mask == ticket.mask and running.weights.keys() == weights.keys()
    assert running.lineage["imported"]["from"] == "open-lth"
    with pytest.raises(FileError, match="checkpoint.pth: the name does not say the step"):
        read_ticket(folder / "checkpoint.pth")
    with pytest.raises(FileError, match="it has its own weights; leave the second file out"):
        read_ticket(folder / "checkpoint.pth", weights=folder / "model_ep0_it50.pth")


def test_open_lth_rewound_by_epochs_or_alone(tmp_path: Path) -> None:
    folder, *_ = open_lth(tmp_path, per_epoch=40, start=90, end=400)
    with pytest.raises(FileError, match="model_ep2_it10.pth: the name says epoch 2, iteration 10"):
        read_ticket(folder / "mask.pth")
    assert read_ticket(folder / "mask.pth", step=90).contract.step == 90
    for step in (89, 10, 30):  # no whole number of iterations, none, and fewer than the name says
        with pytest.raises(FileError, match=f", not {step}"):
            read_ticket(folder / "mask.pth", step=step)
    renamed = (folder / "model_ep2_it10.pth").rename(tmp_path / "start.pth")
    with pytest.raises(FileError, match="start.pth: the name does not say the step"):
        read_ticket(folder / "mask.pth", weights=renamed)
    (folder / "model_ep10_it0.pth").unlink()
    with pytest.raises(FileError, match="no model_ep.* lies beside it"):
        read_ticket(folder / "mask.pth")


def test_pruned_state_dicts_behind_wrappers(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 2))
    prune.l1_unstructured(net[0], "weight", 0.5)
    wrapped = {"epoch": 1, "state_dict": behind("module.", net.state_dict())}
    ticket = read_ticket(saved(tmp_path / "p.pth", wrapped))
    assert list(ticket.mask) == ["0.weight"] and ticket.density == 0.5
    assert ticket.lineage["imported"]["step"] == "assumed"
