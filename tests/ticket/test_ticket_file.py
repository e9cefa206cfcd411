import dataclasses
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import torch
from hypothesis import given
from hypothesis import strategies as st

from oneticket.ground.errors import FileError
from oneticket.ticket import container, file
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket
from oneticket.ticket.values import view

GOLDEN = Path(__file__).parent / "golden"
CONTRACT = Contract(rewind="0it", step=0)
FROZEN = {
    "ticket": (
        "c63c0505f9238a81c48da3609bfdc74690e505644f2f67de5877d0d252cdac7e",
        "a6079172322c77055b9a5bab8bc4d06dfe487a1be4cb97fe98068baaa7ee2821",
    ),
    "book": (
        "7bc102e6243bff2ec7663da344b07509a7af088bf8a144b8f048237bf766e422",
        "4d344ec2c996a2a88fe9080e063d634b6b4b0b8eea1919e2fb9f8af8530f1736",
    ),
    "heads": (
        "4d69cc0845fbf9bb1a1416f20115383d1496739f237814a7998144503226d4c8",
        "50cdbd97127a56980e9ecff54fa170107f8ac5e377f68c423880c99cc19b1cfb",
    ),
}
KINDS = {"ticket": "ticket", "book": "book", "heads": "ticket"}


def same(a: Ticket | Book, b: Ticket | Book) -> bool:
    evidence = (a.evidence, b.evidence) if isinstance(a, Ticket) else (a.records, b.records)
    return a == b and evidence[0] == evidence[1] and file.pack(a) == file.pack(b)


@pytest.mark.parametrize("kind", FROZEN)
def test_golden_bytes(kind, request, tmp_path):
    """For ever: these bytes are written, these bytes are read. If this fails, make a new format."""
    thing = request.getfixturevalue(kind)
    frozen, identity = FROZEN[kind]
    golden = (GOLDEN / f"{kind}.safetensors").read_bytes()
    thing.save(tmp_path / "new.safetensors")
    assert (tmp_path / "new.safetensors").read_bytes() == golden
    assert hashlib.sha256(golden).hexdigest() == frozen
    assert thing.id == identity
    assert same(file.load(GOLDEN / f"{kind}.safetensors"), thing)


@pytest.mark.parametrize("kind", FROZEN)
def test_the_safetensors_library_reads_the_file(kind, request):
    thing = request.getfixturevalue(kind)
    path = GOLDEN / f"{kind}.safetensors"
    with safetensors.safe_open(path, "pt") as opened:
        assert list(opened.metadata()) == ["oneticket"]
        found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert torch.equal(found["full/fc.bias"], thing.weights["fc.bias"])
    assert len(found) == len(thing.weights) + 2
    if kind != "book":
        remaining = thing.weights["conv.weight"][thing.mask["conv.weight"]]
        assert torch.equal(found["live/conv.weight"], remaining)


def test_files_go_through_another_process_unchanged(request, tmp_path):
    things = {kind: request.getfixturevalue(kind) for kind in FROZEN}
    for kind, thing in things.items():
        thing.save(tmp_path / kind)
    code = "import sys; from oneticket.ticket import file\n"
    code += "for kind in sys.argv[1:]: file.save(file.load(kind), f'{kind}-copy')"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, *things], check=True, env=environment, cwd=tmp_path)
    for kind, thing in things.items():
        assert (tmp_path / f"{kind}-copy").read_bytes() == (tmp_path / kind).read_bytes()
        assert same(file.load(tmp_path / f"{kind}-copy"), thing)


@pytest.mark.parametrize("kind", FROZEN)
def test_verify_tells_what_the_file_is(kind, request):
    thing = request.getfixturevalue(kind)
    path = GOLDEN / f"{kind}.safetensors"
    facts = file.verify(path)
    mask = thing.mask(2) if kind == "book" else thing.mask
    assert (facts.kind, facts.id, facts.size) == (KINDS[kind], thing.id, path.stat().st_size)
    assert facts.format == (2 if kind == "heads" else 1)
    assert (facts.total, facts.remaining, facts.density) == (mask.total, mask.remaining, mask.density)
    assert (facts.levels, facts.tensors) == (2 if kind == "book" else 0, 6)
    unsigned = path.read_bytes().replace(facts.digest.encode(), b"0" * 64)
    assert hashlib.sha256(unsigned).hexdigest() == facts.digest


@pytest.mark.parametrize("kind", FROZEN)
def test_any_flipped_byte_and_any_cut_is_refused(kind):
    good = (GOLDEN / f"{kind}.safetensors").read_bytes()
    for at in range(len(good)):
        for flip in (0x01, 0x20, 0x80):
            bad = bytearray(good)
            bad[at] ^= flip
            with pytest.raises(FileError):
                container.decode(io.BytesIO(bad), len(bad))
        with pytest.raises(FileError):
            container.decode(io.BytesIO(good[:at]), at)


@given(st.binary(max_size=200), st.integers(0, 1500), st.integers(0, 40))
def test_any_splice_is_refused_or_changes_nothing(splice, at, cut):
    good = (GOLDEN / "ticket.safetensors").read_bytes()
    bad = good[:at] + splice + good[at + cut :]
    if bad != good:
        with pytest.raises(FileError):
            container.decode(io.BytesIO(bad), len(bad))


NAMES = ["w", "a/b", "../../escape", "/etc/passwd", "é", "mask/w", "__metadata__", "n" * 512, "\x00", '"\\\n']
FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
WHOLE = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


@st.composite
def tickets(draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weights, remaining = {}, {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4)):
        shape = draw(st.sampled_from([(), (0,), (1,), (9,), (3, 5), (2, 3, 4)]))
        weights[name] = (torch.randn(shape, generator=generator) * 9).to(draw(st.sampled_from(FLOATS + WHOLE)))
        if weights[name].is_floating_point() and draw(st.booleans()):
            remaining[name] = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    evidence = draw(st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False), max_size=3))
    return Ticket(mask=Mask(remaining), weights=weights, contract=CONTRACT, evidence=evidence, model={"x": [None, {}]})


@given(tickets())
def test_load_undoes_save(ticket):
    data = file.pack(ticket)
    meta, tensors = container.decode(io.BytesIO(data), len(data))
    again = file.build(meta, tensors)
    assert same(again, ticket)
    assert all(torch.equal(again.weights[n], ticket.weights[n]) for n in ticket.weights)
    assert [t.dtype for t in again.weights.values()] == [t.dtype for t in ticket.weights.values()]


def test_names_are_never_paths(tmp_path):
    home = tmp_path / "deep" / "home"
    home.mkdir(parents=True)
    weights = {"../../escape": torch.ones(2), "/etc/escape": torch.ones(1)}
    Ticket(mask=Mask({}), weights=weights, contract=CONTRACT).save(home / "t.safetensors")
    assert set(Ticket.load(home / "t.safetensors").weights) == set(weights)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["t.safetensors"]


def test_a_sparse_ticket_takes_a_tenth_of_the_dense_checkpoint(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {f"{layer}.weight": torch.randn(300, 400, generator=generator) for layer in range(4)}
    weights["fc.bias"] = torch.zeros(10)
    mask = Mask({n: torch.rand(w.shape, generator=generator) < 0.05 for n, w in weights.items() if w.dim() > 1})
    ticket = Ticket(mask=mask, weights=weights, contract=CONTRACT)
    ticket.save(tmp_path / "t.safetensors")
    dense = sum(weight.nbytes for weight in weights.values())
    assert (tmp_path / "t.safetensors").stat().st_size < 0.1 * dense
    assert Ticket.load(tmp_path / "t.safetensors") == ticket


def test_a_failed_write_leaves_the_old_file_whole_and_nothing_else(ticket, book, tmp_path, monkeypatch):
    path = tmp_path / "t.safetensors"
    ticket.save(path)
    before = path.read_bytes()
    for call in ("fsync", "replace"):

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(FileError, match=r"t\.safetensors: cannot be written: No space left on device; nothing"):
                book.save(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["t.safetensors"]
    book.save(path)
    assert file.load(path) == book
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask(tmp_path)


def _umask(folder: Path) -> int:
    (folder / "plain").touch()
    return 0o666 & ~(folder / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("folder/plain/t.safetensors", "File exists"),
        ("", "cannot be written"),
        ("folder", "Is a directory"),
        ("nul\x00", "embedded null"),
        ("n" * 300, "name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(ticket, tmp_path, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "plain").touch()
    with pytest.raises(FileError) as caught:
        ticket.save(path)
    assert words in str(caught.value)
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == ["plain"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("none", "No such file or directory"),
        ("folder", "is a folder; expected a file"),
        ("pipe", "is not a regular file"),
        ("nul\x00", "embedded null"),
        ("", "No such file or directory"),
    ],
)
def test_a_place_that_cannot_be_read_is_named(tmp_path, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for way in (file.load, file.verify):
        with pytest.raises(FileError) as caught:
            way(path)
        assert words in str(caught.value)


def test_huge_sparse_files_of_others_are_refused_by_their_header_alone(tmp_path):
    path = tmp_path / "big.safetensors"
    with open(path, "wb") as opened:
        opened.write((2**50).to_bytes(8, "little"))
        opened.truncate(2**36)
    with pytest.raises(FileError, match="truncated or no safetensors"):
        file.load(path)


def test_saving_and_loading_draw_no_random_number(ticket, tmp_path):
    before = torch.get_rng_state()
    ticket.save(tmp_path / "t.safetensors")
    Ticket.load(tmp_path / "t.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def test_evidence_is_kept_but_changes_no_id(ticket, tmp_path):
    better = dataclasses.replace(ticket, evidence={"accuracy": 0.99})
    better.save(tmp_path / "t.safetensors")
    loaded = Ticket.load(tmp_path / "t.safetensors")
    assert loaded == ticket
    assert loaded.evidence == {"accuracy": 0.99}
    assert file.pack(better) != file.pack(ticket)


def test_tensors_of_more_than_4_gib_are_seen_whole() -> None:
    large = torch.empty(2**32 + 16, dtype=torch.uint8)  # its pages are never touched
    assert len(view(large)) == 2**32 + 16
