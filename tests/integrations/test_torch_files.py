"""What torch.save writes is read as torch reads it; whatever else a pickle asks for is refused before it is made."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oneticket.ground.errors import FileError
from oneticket.integrations import torch_files


def written(value: Any, protocol: int = 2) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file, pickle_protocol=protocol)  # noqa: TID251 - what other tools write
    return file


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        same = (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        return same and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other and type(one) is type(other))


def checkpoint() -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    net[0].to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
    shared = torch.arange(12.0)
    kinds = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
    return {
        "model": net.state_dict(),
        "parameter": nn.Parameter(torch.ones(2)),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "views": [shared, shared[2:8:2], shared.reshape(3, 4).t(), shared[3], torch.zeros(0, 3)],
        "kinds": {str(kind): torch.tensor([0, 1, 1]).to(kind) for kind in kinds},
        "plain": (1, -3, 300, 70_000, 2**70, 0.5, None, True, "text", [], (), (1, 2, 3, 4), torch.float16),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_checkpoint_is_read_as_torch_reads_it(protocol: int) -> None:
    known = checkpoint()
    found = torch_files.load(written(known, protocol))
    assert equal(known, found)
    assert found["views"][0].untyped_storage().data_ptr() == found["views"][1].untyped_storage().data_ptr()


def archive(pickle: bytes, **entries: bytes) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a/data.pkl", b"\x80\x02" + pickle)
        for name, data in entries.items():
            made.writestr(f"a/data/{name}", data)
    return file


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def whole(number: int) -> bytes:
    return b"\x8a\x09" + number.to_bytes(9, "little")


def tensor(
    claimed: int, size: bytes, stride: bytes, kind: str = "Float", offset: int = 0, hooks: bytes = b"N"
) -> bytes:
    """The opcodes of a tensor on entry 0."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text("0") + text("cpu") + whole(claimed)
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"tQ"
        + whole(offset)
        + size
        + stride
        + b"\x89"
        + hooks
        + b"tR"
    )


TERA = 2**40
MADE_UP: dict[str, tuple[bytes, str]] = {
    "bytearray": (b"cbuiltins\nbytearray\n" + whole(TERA) + b"\x85R.", "asks for 'builtins.bytearray'"),
    "Tensor": (b"ctorch\nTensor\n" + whole(TERA) + b"\x85R.", "asks for 'torch.Tensor'"),
    "by name on the stack": (text("os") + text("system") + b"\x93.", "asks for 'os.system'"),
    "deep import": (b"ctorch\nhub.load\n.", "asks for 'torch.hub.load'"),
    "INST": (b"(ios\nsystem\n.", "the opcode INST"),
    "NEWOBJ": (b"ccollections\nOrderedDict\n)\x81.", "the opcode NEWOBJ"),
    "EXT": (b"\x82\x01.", "the opcode EXT1"),
    "number in words": (b"I" + b"9" * 5000 + b"\n.", "do not fit together"),
    "more than is stored": (tensor(3, whole(3) + b"\x85", whole(1) + b"\x85") + b".", "claims 3 numbers"),
    "storage beyond its entry": (tensor(TERA, whole(1) + b"\x85", whole(1) + b"\x85") + b".", f"claims {TERA} numbers"),
    "offset": (tensor(2, whole(1) + b"\x85", whole(1) + b"\x85", offset=2) + b".", "claims 2 numbers"),
    "stride": (tensor(2, whole(2) + b"\x85", whole(2) + b"\x85") + b".", "claims 2 numbers"),
    "stride 0": (tensor(2, whole(TERA) + b"\x85", whole(0) + b"\x85") + b".", f"claims {TERA} numbers"),
    "negative": (tensor(2, b"J\xff\xff\xff\xff\x85", whole(1) + b"\x85") + b".", "do not fit together"),
    "truth": (tensor(2, b"\x88\x85", b"\x88\x85") + b".", "do not fit together"),
    "dimensions": (tensor(2, whole(1) + b"\x85", b")") + b".", "do not fit together"),
    "no truth value": (tensor(8, whole(8) + b"\x85", whole(1) + b"\x85", "Bool") + b".", "truth value must be 0 or 1"),
    "no such entry": (tensor(2, b")", b")").replace(text("0"), text("9")) + b".", "do not fit together"),
    "entry above": (tensor(2, b")", b")").replace(text("0"), text("../data.pkl")) + b".", "do not fit together"),
    "not a storage": (tensor(2, b")", b")").replace(b"tQ", b"t") + b".", "do not fit together"),
    "list as a name": (b"}]N" + b"s.", "do not fit together"),
    "mapping of a mapping": (b"ccollections\nOrderedDict\n]\x85R.", "do not fit together"),
    "called text": (text("x") + b")R.", "do not fit together"),
    "empty stack": (b"0.", "the opcode POP"),
    "nothing": (b".", "do not fit together"),
    "no memo": (b"h\x07.", "do not fit together"),
    "no mark": (b"t.", "do not fit together"),
    "no end": (b"N", "do not fit together"),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_made_up_opcodes_make_nothing(name: str) -> None:
    pickle, said = MADE_UP[name]
    file = archive(pickle, **{"0": b"\x00\x00\x80\x3f\x00\x00\x00\x40"})
    tracemalloc.start()
    with pytest.raises(FileError, match=said) as caught:
        torch_files.load(file)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20 and len(str(caught.value)) < 300


def test_the_machine_reads_what_is_well_made() -> None:
    good = archive(
        tensor(2, whole(2) + b"\x85", whole(1) + b"\x85") + b".", **{"0": b"\x00\x00\x80\x3f\x00\x00\x00\x40"}
    )
    assert torch_files.load(good).tolist() == [1, 2], "so that the table above refuses for its reasons"


def test_a_flipped_bit_is_found() -> None:
    data = bytearray(written({"w": torch.arange(100.0)}).getvalue())
    data[data.index(torch.arange(100.0).numpy().tobytes()) + 7] ^= 1
    with pytest.raises(FileError, match="Bad CRC-32"):
        torch_files.load(io.BytesIO(data))


def test_opcodes_without_end_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_files, "LARGEST_PICKLE", 1000)
    with pytest.raises(FileError, match=r"data.pkl has 1,003 bytes, more than the 1,000"):
        torch_files.load(archive(b"]" * 1000 + b"."))
