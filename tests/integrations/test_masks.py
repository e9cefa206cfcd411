"""Other tools' masks become tickets, or are refused; hostile files run no code, take no memory and leave nothing."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from oneticket.ground.errors import FileError, PruneError
from oneticket.integrations import foreign
from oneticket.integrations.foreign import read_checkpoint
from oneticket.integrations.masks import GIVEN, from_masks, from_torch_prune, from_zeros, read_ticket


def made(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def pruned() -> nn.Module:
    net = made()
    prune.global_unstructured([(net[0], "weight"), (net[4], "weight")], prune.L1Unstructured, amount=0.7)
    return net


IMAGES = torch.arange(2 * 16).reshape(2, 1, 4, 4).float().cos()


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)  # noqa: TID251 - what other tools write
    return path


def masks_and_weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    net = pruned()
    masks = {"0.weight": net[0].weight_mask, "4.weight": net[4].weight_mask}
    return masks, made().state_dict()


def test_a_pruned_torch_model_and_its_state_dict_are_one_ticket() -> None:
    net = pruned().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    ticket = from_torch_prune(net)
    assert ticket == from_torch_prune(net.state_dict())
    assert ticket.lineage["imported"] == {"from": "torch-prune", "inferred": False}
    assert (ticket.mask.total - ticket.mask.remaining, ticket.mask.total) == (round(0.7 * 84), 84)
    other = made(seed=1).eval()
    ticket.apply(other, head="keep")
    assert torch.equal(other(IMAGES), net(IMAGES))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_masks_of_parametrizations_are_taken() -> None:
    from torch.ao.pruning import WeightNormSparsifier

    net = made()
    sparsifier = WeightNormSparsifier(sparsity_level=0.5, sparse_block_shape=(1, 1), zeros_per_block=1)
    sparsifier.prepare(net, [{"tensor_fqn": "4.weight"}])
    sparsifier.step()
    ticket = from_torch_prune(net)
    assert list(ticket.mask) == ["4.weight"] and ticket.density == 0.5
    assert set(ticket.weights) == set(made().state_dict())
    assert torch.equal(ticket.weights["4.weight"], net[4].weight)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int32, torch.uint8, torch.float16])
def test_zeros_and_ones_of_any_kind_are_one_ticket(dtype: torch.dtype) -> None:
    masks, weights = masks_and_weights()
    ticket = from_masks({name: mask.to(dtype) for name, mask in masks.items()}, weights)
    assert ticket == from_masks(masks, weights)
    assert ticket.mask["0.weight"].sum() == masks["0.weight"].sum()


@pytest.mark.parametrize("value", [0.5, 2.0, -1.0, float("nan"), float("inf")])
def test_other_values_are_refused_by_name(value: float) -> None:
    masks, weights = masks_and_weights()
    masks["4.weight"][0, 0] = value
    with pytest.raises(PruneError, match=rf"mask '4.weight': expected zeros and ones, got {value}"):
        from_masks(masks, weights)


def test_masks_that_do_not_fit_are_refused_by_name() -> None:
    masks, weights = masks_and_weights()
    with pytest.raises(PruneError, match="'0.weight': expected a tensor of shape"):
        from_masks(masks, {**weights, "0.weight": torch.zeros(4, 1, 2, 2)})
    with pytest.raises(PruneError, match="'9.weight'.*no such tensor"):
        from_masks({"9.weight": torch.ones(2, 2)}, weights)
    with pytest.raises(PruneError, match="no NAME_orig"):
        from_torch_prune(made())
    with pytest.raises(PruneError, match="found both '4.weight' and"):
        from_torch_prune({**pruned().state_dict(), "4.weight": torch.zeros(3, 16)})


def test_zeros_are_inferred_and_said_to_be() -> None:
    masks, weights = masks_and_weights()
    given = {name: value * masks[name] if name in masks else value for name, value in weights.items()}
    given |= {"5.weight": torch.zeros(2, 3), "6.weight": torch.ones(2, 3)}
    ticket = from_zeros(given)
    assert ticket.lineage["imported"] == {"from": "zeros", "inferred": True, "all_zero": ["5.weight"]}
    assert ticket.mask == from_masks(masks, weights).mask
    with pytest.raises(PruneError, match="no weight is partly zero"):
        from_zeros(weights)


def test_every_kind_of_file_gives_the_same_ticket(tmp_path: Path) -> None:
    masks, weights = masks_and_weights()
    save_file(weights, tmp_path / "w.safetensors")
    save_file(masks, tmp_path / "m.safetensors")
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in weights.items()})
    np.savez_compressed(tmp_path / "m.npz", **{name: np.asfortranarray(mask.numpy()) for name, mask in masks.items()})
    saved(tmp_path / "w.pth", weights)
    saved(tmp_path / "m.pth", masks)
    contract = replace(GIVEN, rewind="7it", step=7, head=("4.weight", "4.bias"))
    expected = from_masks(masks, weights, contract=contract)
    for ending in ("safetensors", "npz", "pth"):
        for other in ("safetensors", "npz", "pth"):
            found = read_ticket(tmp_path / f"m.{ending}", weights=tmp_path / f"w.{other}", step=7, head=contract.head)
            assert replace(found, lineage=expected.lineage) == expected, (ending, other)
            assert found.lineage["imported"] == {"from": "masks", "inferred": False, "step": "given"}
    with pytest.raises(FileError, match="holds masks; give the file of the weights"):
        read_ticket(tmp_path / "m.npz", format="masks")
    with pytest.raises(FileError, match="it has its own weights"):
        read_ticket(tmp_path / "w.npz", weights=tmp_path / "w.pth", format="zeros")
    found, expected = read_ticket(saved(tmp_path / "p.pt", pruned().state_dict())), from_torch_prune(pruned())
    assert replace(found, lineage=expected.lineage) == expected


CODE = b"cposix\nsystem\n(S'touch hacked'\ntR."


def archive(path: Path, entries: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return path


def array(shape: str, data: bytes, descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def npz_of_objects(path: Path) -> Path:
    np.savez(path, a=np.array([{"x": 1}], dtype=object))
    return path


def overlapping(path: Path) -> Path:
    archive(path, {"a.npy": array("(64,)", bytes(256)), "b.npy": array("(64,)", bytes(256))})
    data = path.read_bytes()
    second = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: second + 20] + (10**6).to_bytes(4, "little") * 2 + data[second + 28 :])
    return path


def cut(path: Path) -> Path:
    whole = saved(path, {"a": torch.ones(1000)}).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def text(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def a_ticket(path: Path) -> Path:
    from_masks(*masks_and_weights()).save(path)
    return path


def shared(path: Path) -> Path:
    one = torch.ones(1000)
    return saved(path, {str(number): one for number in range(200)})


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "code.pth": (lambda p: archive(p, {"a/data.pkl": CODE, "a/version": b"3\n"}), "posix.system"),
    "old.pth": (lambda p: text(p, b"\x80\x02" + CODE), "a bare pickle, which could run code"),
    "bomb.pth": (
        lambda p: archive(p, {"a/data.pkl": b"x", "a/data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED),
        "compress",
    ),
    "order.pth": (lambda p: archive(p, {"a/data.pkl": b"x", "a/byteorder": b"big"}), "another byte order"),
    "stride.pth": (lambda p: saved(p, {"a": torch.zeros(1).expand(10**12)}), "claims 1000000000000 numbers"),
    "shared.pth": (shared, "its tensors claim 800000 bytes"),
    "sparse.pth": (
        lambda p: saved(p, {"a": torch.ones(2, 2).to_sparse()}),
        "_rebuild_sparse_tensor', which is no dense tensor",
    ),
    "checkpoint.pth": (lambda p: saved(p, {"epoch": 3}), "got int under 'epoch'"),
    "list.pth": (lambda p: saved(p, [torch.ones(2)]), "expected a mapping"),
    "cut.pth": (cut, "a damaged archive"),
    "header.npz": (
        lambda p: archive(p, {"a.npy": b"\x93NUMPY\x01\x00" + (60).to_bytes(2, "little") + b"(" * 60}),
        "cannot be read",
    ),
    "bomb.npz": (lambda p: archive(p, {"a.npy": bytes(10**6)}, zipfile.ZIP_DEFLATED), "more than the 500000"),
    "objects.npz": (npz_of_objects, "got dtype object"),
    "shape.npz": (lambda p: archive(p, {"a.npy": array("(1000000000000,)", bytes(8))}), "not what the file holds"),
    "negative.npz": (lambda p: archive(p, {"a.npy": array("(-1, -2)", bytes(8))}), "not what the file holds"),
    "text.npz": (lambda p: archive(p, {"a.npy": array("(1,)", b"abcd", "'<U1'")}), "got dtype <U1"),
    "absolute.npz": (lambda p: archive(p, {"/etc/a.npy": array("(1,)", bytes(4))}), "absolute, upwards or repeated"),
    "upwards.npz": (lambda p: archive(p, {"../a.npy": array("(1,)", bytes(4))}), "absolute, upwards or repeated"),
    "overlap.npz": (overlapping, "overlap"),
    "other.zip": (
        lambda p: archive(p, {"readme.txt": b"hello"}),
        "expected a zip archive of arrays only, got one with readme.txt",
    ),
    "one.npy": (lambda p: text(p, array("(1,)", bytes(4))), "a single NumPy array"),
    "empty.pth": (lambda p: text(p, b""), "empty"),
    "words.pth": (lambda p: text(p, b"hello, this is no file of tensors"), "a text file"),
    "huge.safetensors": (lambda p: text(p, (2**40).to_bytes(8, "little") + b"{}"), "no safetensors"),
    "ticket.safetensors": (a_ticket, "is a ticket or book already"),
    "none.pth": (lambda p: p, "no such file"),
    "folder": (lambda p: p.mkdir() or p, "got a folder"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(foreign, "LARGEST", 500_000)
    make, said = HOSTILE[name]
    path = make(tmp_path / name)
    with pytest.raises(FileError, match=said) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 500
    with pytest.raises(FileError):
        read_ticket(path)
    assert not (tmp_path / "hacked").exists()


def test_the_code_in_the_hostile_file_would_have_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import pickle  # noqa: TID251

    pickle.load(io.BytesIO(CODE))
    assert (tmp_path / "hacked").exists()


def test_numbers_in_files_that_no_network_can_start_from(tmp_path: Path) -> None:
    masks, weights = masks_and_weights()
    weights["4.bias"][0] = float("nan")
    save_file(masks, tmp_path / "m.safetensors")
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(FileError, match="'4.bias'.*NaN"):
        read_ticket(tmp_path / "m.safetensors", weights=tmp_path / "w.safetensors")
