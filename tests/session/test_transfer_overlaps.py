"""A transfer from a file says which examples of the target its search saw, where that can be known."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import oneticket_cli

import oneticket
from oneticket.ticket.book import Book

SPEC: dict[str, Any] = {"model": {"name": "mlp", "widths": [8]}, "training": {"budget": "4it"}, "rewind": "1it"}
SHARED = "The source digits:a shares examples with the target digits: "


def search(data: Any, **how: Any) -> Book:
    return oneticket.search({**SPEC, "data": data}, levels=1, **how)


def transfer(source: Any, data: Any, **how: Any) -> list[str]:
    """What is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        oneticket.transfer({"data": data}, source=source, controls=[], **how)
    return [str(one.message) for one in caught if "shares examples" in str(one.message)]


def table(path: Path, numbers: range) -> str:
    """A set of its own, of which two share the rows that they share numbers of."""
    features = np.random.default_rng(0).normal(size=(200, 16)).astype("float32")
    x, y = features[list(numbers)], (np.arange(200) % 2)[list(numbers)]
    test = features[180:]
    np.savez(path, x_train=x, y_train=y, x_test=test, y_test=np.arange(20) % 2)
    return str(path)


def test_shared_examples_are_counted_by_content_and_halves_share_none(tmp_path: Path) -> None:
    book = search("digits:a")
    (said,) = transfer(book, "digits")
    assert said.startswith(SHARED) and " of its training examples are in the target's training set" in said
    book.save(tmp_path / "book.safetensors")
    book[1].save(tmp_path / "ticket.safetensors")
    assert transfer(tmp_path / "book.safetensors", "digits") == [said]
    assert transfer(tmp_path / "ticket.safetensors", "digits", replicates=2) == [said]
    assert transfer(book, "digits:b") == [], "none"
    assert transfer(book, "digits:a") == [], "the very same data: its own ticket"


def test_the_command_line_says_it_once_and_not_when_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    search("digits:a").save("book.safetensors")
    line = "transfer book.safetensors --data digits --controls reinit"
    _, _, err = oneticket_cli(line, capsys)
    assert err.count(SHARED) == 1
    assert SHARED not in "".join(map(str, oneticket_cli(f"{line} --quiet", capsys)[1:]))


def test_data_that_changed_or_went_away_are_not_spoken_of(tmp_path: Path) -> None:
    source, target = table(tmp_path / "source.npz", range(120)), table(tmp_path / "target.npz", range(60, 180))
    book = search(source)
    (said,) = transfer(book, target)
    assert "60 of its training examples are in the target's training set" in said
    table(tmp_path / "source.npz", range(100))
    assert transfer(book, target) == [], "no longer what the search saw"
    (tmp_path / "source.npz").unlink()
    assert transfer(book, target) == []


def test_code_that_a_file_names_is_not_run_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = search("digits:a")
    mine = tmp_path / "mine.py"
    mine.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n\n\ndef data():\n    raise RuntimeError\n")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for named in (f"{mine}:data", "nobody/has-this-set"):
        said = {**book.lineage["search"], "data": {**book.lineage["search"]["data"], "name": named}}
        lineage = {**book[1].lineage, "search": said}
        ticket = oneticket.Ticket(
            mask=book[1].mask, weights=book[1].weights, contract=book[1].contract, model=book[1].model, lineage=lineage
        )
        assert transfer(ticket, "digits:b", run_code=False) == []
    assert not (tmp_path / "ran").exists()
