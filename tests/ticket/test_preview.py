"""What is read without tensors is what the loader reads, and refused where the loader refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from oneticket.ground.errors import FileError
from oneticket.publish import preview as previews
from oneticket.publish.preview import preview, preview_of
from oneticket.ticket import container
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.file import load, pack
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "oneticket" / "zoo").glob("*.safetensors"))
ATTACKS = sorted(path for path in (ROOT / "attacks").rglob("*") if path.is_file() and path.suffix != ".py")
WEIGHTS = {
    "a.weight": torch.arange(15.0).reshape(3, 5) + 1,
    "b.weight": torch.ones(4, 2, dtype=torch.bfloat16),
    "b.bias": torch.zeros(2),
    "count": torch.tensor(3),
    "flags": torch.tensor([True, False]),
}
AT = {
    "a.weight": torch.arange(15, dtype=torch.uint8).reshape(3, 5) % 4,
    "b.weight": torch.zeros(4, 2, dtype=torch.uint8),
}
CONTRACT = Contract(rewind="2it", step=2, head=("b.bias",))
BOOK = Book(weights=WEIGHTS, pruned_at=AT, levels=3, contract=CONTRACT, lineage={"replicate": 2}, records=[{}] * 4)


@pytest.mark.parametrize("thing", [BOOK, BOOK[3], BOOK[0], Ticket(mask=Mask({}), weights=WEIGHTS, contract=CONTRACT)])
def test_a_preview_says_what_the_loader_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thing: Ticket | Book
) -> None:
    thing.save(tmp_path / "file")
    monkeypatch.setattr("oneticket.ticket.file.load", None)  # not asked
    found = preview(tmp_path / "file")
    assert found == preview_of(thing)
    counts = thing.weight_counts
    assert found.weight_counts == (counts if isinstance(counts, tuple) else (counts,))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_tickets(path: Path) -> None:
    assert preview(path) == preview_of(load(path))


def refusal(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except FileError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.name)
def test_a_bad_file_is_refused_as_the_loader_refuses_it(path: Path) -> None:
    said = refusal(load, path)
    assert refusal(preview, path) == said
    assert said or preview(path) == preview_of(load(path))


def test_what_is_signed_and_wrong_is_refused_in_the_loader_s_words(tmp_path: Path) -> None:
    """Changes that keep the digest right: whoever wrote the file lied."""
    path, refused = tmp_path / "file", list[str]()
    for thing in (BOOK, BOOK[2]):
        path.write_bytes(pack(thing))
        meta, tensors = container.read(path)
        lies: list[tuple[dict[str, object], dict[str, torch.Tensor]]] = []
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and tensor.numel():
                bad = tensor.clone()
                bad.view(-1)[-1] = float("inf")
                lies.append((meta, {**tensors, name: bad}))
            lies.append((meta, {other: value for other, value in tensors.items() if other != name}))
            if tensor.dtype == torch.uint8:
                lies.append((meta, {**tensors, name: tensor | 0x80}))
        wrong = {"id": "0" * 64, "model": [], "lineage": 3, "kind": "mask", "contract": {}, "levels": 9, "shapes": {}}
        lies += [({**meta, name: value}, tensors) for name, value in wrong.items() if name in meta]
        lies.append(({**meta, "more": 1}, tensors))
        for said, held in lies:
            body = {name: value for name, value in said.items() if name not in ("digest", "format")}
            path.write_bytes(container.encode(body, held, format=1))
            refused.append(refusal(load, path))
            assert refusal(preview, path) == refused[-1]
    assert len(list(filter(None, refused))) > 20


def test_show_needs_no_torch(tmp_path: Path) -> None:
    BOOK.save(tmp_path / "book-2.safetensors")
    code = (
        "import sys\nfrom oneticket.cli.app import main\n"
        "try:\n    main(['show', sys.argv[1], '--json'])\n"
        "except SystemExit:\n    heavy = ('torch', 'pydantic')\n"
        "    print([m for m in heavy if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    (said,) = json.loads(done.stdout)
    assert said["layers"]["a.weight"]["remaining"] == BOOK[3].mask.counts["a.weight"]
    assert previews.MOST > 2**20
