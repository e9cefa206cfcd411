"""Random damage to files, read under a ceiling of memory: `python tests/ticket/fuzz.py EXAMPLES [SEED]` in a process.

A ticket or book file that oneticket takes must be one that `docs/reader.py`, which knows nothing of oneticket, takes
too, with the same content; one that it refuses for its layout, digest or id must be refused by that reader. Half of the
files are damaged in their bytes, the other half before they are sealed, so that id and digest are true and the rules
behind them are reached. A file of another tool is read or refused in words. Nothing else may be raised.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import re
import resource
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from oneticket.ground.errors import FileError
from oneticket.integrations.foreign import read_checkpoint
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]
CEILING = 256 * 2**20
"""Bytes above what the process has when all is imported. No file here has more than 20 kB."""

LAYOUT = re.compile("canonical|digest|the id is not|truncated|overlong|expected a safetensors|not JSON|not a shape")
"""What is said of layout, digest and id, by which the two readers must agree; other rules are oneticket's alone."""


def reader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reader", ROOT / "docs/reader.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["reader"] = module
    spec.loader.exec_module(module)
    return module


READER = reader()
GOLDEN = [path.read_bytes() for path in sorted((ROOT / "tests/ticket/golden").glob("*.safetensors"))]
Parts = tuple[dict[str, Any], dict[str, list[Any]]]


def opened(data: bytes) -> Parts:
    """Metadata, and name -> dtype, shape and bytes."""
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:end])
    meta = json.loads(table.pop("__metadata__")["oneticket"])
    at = {name: [end + offset for offset in entry["data_offsets"]] for name, entry in table.items()}
    return meta, {name: [e["dtype"], e["shape"], data[slice(*at[name])]] for name, e in table.items()}


def identified(meta: dict[str, Any], tensors: dict[str, list[Any]]) -> None:
    """Give the metadata a true id where there can be one."""
    groups: dict[str, Any] = {group: {} for group in READER.GROUPS.get(str(meta.get("kind")), ())}
    try:
        for full, (code, shape, data) in tensors.items():
            group, _, name = full.partition("/")
            groups[group][name] = np.frombuffer(data, READER.DTYPES[code]).reshape(shape)
        codes = {full[5:]: code for full, (code, _, _) in tensors.items() if full[:5] in ("live/", "full/")}
        meta["id"] = READER.identity(meta, groups, codes)
    except Exception:
        pass  # no id is true of what was made up


def sealed(meta: dict[str, Any], tensors: dict[str, list[Any]]) -> bytes:
    """The file of those parts by the rules of the page, with a true digest."""
    meta = {**meta, "digest": "0" * 64}
    order = sorted(tensors, key=lambda name: (-np.dtype(READER.DTYPES.get(tensors[name][0], "u1")).itemsize, name))
    body = b"".join(tensors[name][2] for name in order)
    signed = READER.sha256(_header(meta, tensors, order) + body)
    return _header({**meta, "digest": signed}, tensors, order) + body


def _header(meta: dict[str, Any], tensors: dict[str, list[Any]], order: list[str]) -> bytes:
    laid: dict[str, Any] = {"__metadata__": {"oneticket": READER.canonical(meta)}}
    at = 0
    for name in order:
        code, shape, data = tensors[name]
        laid[name] = {"dtype": code, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = READER.canonical(laid).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([2**31, 2**48, 2**63, 10**400, -1, 0.5, "", "1it", "\ud800", "x" * 600, [], {}, [[]], {"a": []}]),
    st.text(max_size=5),
).map(copy.deepcopy)
CODES = st.sampled_from([*READER.DTYPES, "F8", "", 5])
SIZES = st.lists(st.one_of(st.integers(0, 20), st.sampled_from([-1, 2**40, 2**47, 2**63])), max_size=4)


@st.composite
def changed_parts(draw: st.DrawFn) -> bytes:
    """A file that was changed before it was sealed."""
    meta, tensors = opened(draw(st.sampled_from(GOLDEN)))
    for _ in range(draw(st.integers(0, 3))):
        change = draw(st.sampled_from(CHANGES))
        change(draw, meta, tensors)
    if draw(st.integers(0, 9)):
        identified(meta, tensors)
    return sealed(meta, tensors)


def a_value(draw: st.DrawFn, meta: dict[str, Any], _: Any) -> None:
    place: Any = meta
    key = draw(st.sampled_from(sorted(meta)))
    while isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
        place = place[key]
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = draw(ODD)


def a_field(draw: st.DrawFn, meta: dict[str, Any], _: Any) -> None:
    inner = draw(st.sampled_from([meta, *(value for value in meta.values() if isinstance(value, dict))]))
    name = draw(st.one_of(st.text(max_size=5), st.sampled_from(sorted(inner) or ["a"])))
    if not inner.pop(name, None):
        inner[name] = draw(ODD)


def a_tensor(draw: st.DrawFn, _: Any, tensors: dict[str, list[Any]]) -> None:
    name = draw(st.sampled_from(sorted(tensors) or ["full/x"]))
    entry = tensors.setdefault(name, ["F32", [1], bytes(4)])
    part = draw(st.integers(0, 2))
    entry[part] = draw([CODES, SIZES, st.binary(max_size=40)][part])


def a_name(draw: st.DrawFn, _: Any, tensors: dict[str, list[Any]]) -> None:
    if tensors:
        name = draw(st.sampled_from(sorted(tensors)))
        last = name.partition("/")[2]
        groups = st.sampled_from(["mask", "live", "full", "pruned", "code", ""])
        tensors[f"{draw(groups)}/{draw(st.sampled_from([last, 'x', '']))}"] = tensors.pop(name)


def a_bit(draw: st.DrawFn, _: Any, tensors: dict[str, list[Any]]) -> None:
    full = [name for name, (_, _, data) in sorted(tensors.items()) if data]
    if full:
        entry = tensors[draw(st.sampled_from(full))]
        entry[2] = flipped(entry[2], draw(st.integers(0, 8 * len(entry[2]) - 1)))


CHANGES: tuple[Callable[..., None], ...] = (a_value, a_field, a_tensor, a_name, a_bit)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@st.composite
def changed_bytes(draw: st.DrawFn, wholes: list[bytes]) -> bytes:
    """A file with some of its bytes flipped, cut, written over, doubled, or put elsewhere."""
    data = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(st.integers(0, max(len(data) - 1, 0))), draw(st.integers(0, 40))
        piece = draw(st.one_of(st.just(b""), st.binary(max_size=12), st.just(data[start : start + length] * 2)))
        bit = draw(st.booleans()) and bool(data)
        data = flipped(data, 8 * start) if bit else data[:start] + piece + data[start + length :]
    return data


def ours(path: Path) -> Ticket | Book | FileError:
    try:
        return file.load(path)
    except FileError as error:
        return error


def theirs(path: Path) -> Any:
    try:
        meta, groups = READER.read(path)
        return meta, groups, READER.weights(meta, groups)
    except Exception:
        return None


def compare(data: bytes, path: Path) -> None:
    """The law of the two readers."""
    path.write_bytes(data)
    one, other = ours(path), theirs(path)
    if isinstance(one, FileError):
        assert len(str(one)) < 2000 and str(one).isprintable()
        assert other is None or not LAYOUT.search(str(one).removeprefix(str(path))), one
        return
    assert other is not None, "taken here, refused there"
    meta, groups, weights = other
    assert file.pack(one) == data and one.id == meta["id"]
    assert set(weights) == set(one.weights)
    for name, tensor in one.weights.items():
        assert weights[name].tobytes() == tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        assert list(weights[name].shape) == list(tensor.shape)
    if isinstance(one, Ticket):
        for name, bits in groups["mask"].items():
            assert bits.tobytes() == one.mask.pack()[name].numpy().tobytes()


def others() -> list[bytes]:
    """Files of other tools: torch's and NumPy's."""
    values = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False]), "c": torch.tensor(3)}
    saved, packed = io.BytesIO(), io.BytesIO()
    torch.save(values, saved)  # noqa: TID251 - what other tools write
    np.savez(packed, **{name: value.numpy() for name, value in values.items()})
    return [saved.getvalue(), packed.getvalue()]


OTHERS = others()


@st.composite
def opcodes(draw: st.DrawFn) -> bytes:
    """A file of torch's with its opcodes changed, and sums of the archive that fit."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(OTHERS[0])) as good, zipfile.ZipFile(made, "w") as new:
        for entry in good.namelist():
            data = good.read(entry)
            new.writestr(entry, draw(changed_bytes([data])) if entry.endswith("data.pkl") else data)
    return made.getvalue()


def read_or_refused(data: bytes, path: Path) -> None:
    """The law of other tools' files."""
    path.write_bytes(data)
    try:
        found = read_checkpoint(path).tensors
    except FileError:
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= 4 * len(data)


def ceiling(room: int) -> None:
    """Let this process have so much more memory than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        bytearray(2 * room)
    except MemoryError:
        return
    raise AssertionError("the ceiling does not hold")


def run(law: Callable[[bytes, Path], None], files: Any, count: int, chance: int | None, path: Path) -> None:
    """One law on so many files."""

    def holds(data: bytes) -> None:
        law(data, path)

    checked = given(files)(holds)
    how = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
    settings(max_examples=count, derandomize=chance is None, **how)(
        checked if chance is None else seed(chance)(checked)
    )()


def main(examples: int, chance: int | None) -> None:
    """Run the laws, so many examples of each; the same ones every time unless a seed is given."""
    torch.set_num_threads(1)
    laws: list[tuple[Callable[[bytes, Path], None], Any, int]] = [
        (compare, changed_parts(), examples),
        (compare, changed_bytes(GOLDEN), examples // 2),
        (read_or_refused, opcodes(), examples // 2),
        (read_or_refused, changed_bytes(OTHERS), examples // 2),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        for data in GOLDEN:
            compare(data, path)
        ceiling(CEILING)
        for law, files, count in laws:
            run(law, files, count, chance, path)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
    print("fuzzed")
