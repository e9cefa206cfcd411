"""Runs from Python and from the command line are one: what either has trained, the other finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import oneticket_cli

import oneticket
from oneticket.ground.errors import OneticketError, SpecError, TransferError
from oneticket.lottery.search import search as by_hand
from oneticket.lottery.spec import SearchSpec
from oneticket.store.store import Store

SPEC: dict[str, Any] = {
    "data": "digits:a",
    "model": {"name": "mlp", "widths": [8]},
    "training": {"budget": "4it"},
    "rewind": "1it",
}
FIND = "find --data digits:a --model mlp --widths 8 --levels 2 --budget 4it --rewind 1it"
STUDY = """
levels = [1]
arms = ["dense", "ticket", "reinit"]
replicates = 2
rewind = "1it"
training = {budget = "4it"}
claims = ["C2"]

[models]
small = {name = "mlp", widths = [8]}

[optimizers]
sgd = "sgd"

[parts.halves]
sources = ["digits:a"]
targets = ["digits:b"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def outcomes(store: str = ".oneticket") -> set[str]:
    return Store(store).keys()


def test_a_search_finds_what_the_command_line_has_trained_and_the_other_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert oneticket_cli(f"{FIND} --out books", capsys)[0] == 0
    before = outcomes()
    book = oneticket.search(SPEC, levels=2, store=".oneticket", progress=True)
    assert "0 steps done in" in capsys.readouterr().err and outcomes() == before
    assert book == oneticket.Book.load("books") and book.records == oneticket.Book.load("books").records
    deeper = oneticket.search(SPEC, levels=3, store=".oneticket")
    assert len(outcomes() - before) == 1, "the one level that is new"
    assert capsys.readouterr() == ("", ""), "nobody looks on, so nothing is shown"
    code, _, err = oneticket_cli(f"{FIND.replace('--levels 2', '--levels 3')} --out deeper", capsys)
    assert code == 0 and "0 steps done in" in err
    assert oneticket.Book.load("deeper") == deeper


def test_a_transfer_finds_what_the_command_line_has_trained_and_the_other_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = oneticket.search(SPEC, levels=2, store=".oneticket")
    rows = oneticket.transfer({"data": "digits:b"}, source=book, levels=2, store=".oneticket", progress=True)
    assert [row["arm"] for row in rows] == ["dense", "ticket", "reinit", "global-random"]
    assert "dense · 100 %" in capsys.readouterr().err
    book.save("book.safetensors")
    code, _, err = oneticket_cli("transfer book.safetensors --data digits:b --levels 2,1 --rows rows.csv", capsys)
    assert code == 0 and "3 steps done in" in err, "level 1 alone is new"
    before = outcomes()
    from_file = oneticket.transfer({"data": "digits:b"}, source="book.safetensors", levels=[1, 2], store=".oneticket")
    assert outcomes() == before
    scores = {(row["arm"], row["level"]): row["score"] for row in from_file}
    assert all(scores[row["arm"], row["level"]] == row["score"] for row in rows)
    table = from_file.table()
    assert table["score"].tolist() == [row["score"] for row in from_file] and "n = 1" in from_file.sentence()


def test_a_study_finds_what_the_command_line_has_trained_and_the_other_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.toml").write_text(STUDY)
    code, _, err = oneticket_cli("study mine.toml --engine inline", capsys)
    assert code == 0, err
    before = outcomes()
    found = oneticket.study.run("mine.toml", engine="inline")
    assert (found.done, found.reused, found.failed) == (0, 10, ()) and outcomes() == before
    assert len(found.rows) == 6 and found.verdicts[0].claim == "C2"
    assert found.table()["score"].tolist() == [row["score"] for row in found.rows]
    drawn = oneticket.plot.accuracy(found).to_dict()
    assert drawn == oneticket.plot.accuracy(found.table()).to_dict()
    page = found.report("report")
    assert page == Path("report/report.html") and page.is_file()
    (folder / "more.toml").write_text(STUDY.replace("replicates = 2", "replicates = 3"))
    more = oneticket.study.run(Path("more.toml"), engine="inline", progress=True)
    assert more.done == 5 and "5 steps done in" in capsys.readouterr().err
    assert "0 steps done in" in oneticket_cli("study more.toml --engine inline", capsys)[2]


def test_without_a_store_nothing_is_left_and_the_book_is_the_same(folder: Path) -> None:
    book = oneticket.search(SearchSpec.read(SPEC), levels=2)
    assert not list(folder.iterdir())
    assert book == by_hand(SearchSpec.read(SPEC), levels=2)
    rows = oneticket.transfer({"data": "digits:b", "optimizer": "adam"}, source=book[2], controls=[], replicates=2)
    assert {(row["arm"], row["replicate"]) for row in rows} == {(a, r) for a in ("dense", "ticket") for r in (0, 1)}
    assert {row["budget"] for row in rows} == {"4it"}, "what is left out is the source's"
    assert not list(folder.iterdir())


def test_several_books_are_the_replicates(folder: Path) -> None:
    books = [oneticket.search(SPEC, levels=1, replicate=number) for number in (0, 1)]
    rows = oneticket.transfer({"data": "digits:b"}, source=books, controls=["own"])
    assert [(row["arm"], row["replicate"]) for row in rows if row["arm"] == "own"] == [("own", 0), ("own", 1)]
    with pytest.raises(SpecError, match="one book for each replicate, got 2 of 1"):
        oneticket.transfer({"data": "digits:b"}, source=[books[0], books[0]])
    with pytest.raises(SpecError, match="replicates: there are 2 books"):
        oneticket.transfer({"data": "digits:b"}, source=books, replicates=3)


def test_mistakes_are_told_before_anything_is_trained(folder: Path) -> None:
    book = oneticket.search(SPEC, levels=1)
    with pytest.raises(SpecError, match="levels: the source holds levels 0 to 1, got 5"):
        oneticket.transfer({"data": "digits:b"}, source=book, levels=5, store="s")
    with pytest.raises(SpecError, match="source: expected a Ticket, a Book, a path, or a list of books, got int"):
        oneticket.transfer({"data": "digits:b"}, source=3)  # type: ignore[arg-type]
    stranger = oneticket.Ticket(mask=book.mask(1), weights=book.weights, contract=book.contract)
    with pytest.raises(TransferError, match="the source does not say which network it is for"):
        oneticket.transfer({"data": "digits:b"}, source=stranger, store="s")
    assert not list(folder.iterdir())


def test_what_fails_is_raised_and_a_studys_other_steps_go_on(folder: Path) -> None:
    wild = {**SPEC, "optimizer": {"name": "sgd", "lr": 1e30}}
    with pytest.raises(OneticketError, match="the loss is"):
        oneticket.search(wild, levels=1)
    (folder / "mine.toml").write_text(
        STUDY.replace('sgd = "sgd"', 'sgd = "sgd"\nwild = {name = "sgd", lr = 1e30}').replace(
            'targets = ["digits:b"]',
            'targets = ["digits:b"]\nsource_optimizers = ["sgd"]\ntarget_optimizers = ["sgd", "wild"]',
        )
    )
    with pytest.warns(UserWarning, match="failed: .*the loss is"):
        found = oneticket.study.run("mine.toml", engine="inline", store=None)
    assert found.failed and {row["target_optimizer"] for row in found.rows} == {"sgd"} and len(found.rows) == 6
    assert "failed 1" in found._repr_html_()


SCARCE = {"name": "digits:a", "per_class": 4}


def test_searches_and_transfers_draw_their_subsets_as_the_command_line_does(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find = f"{FIND} --per-class 4 --subsets replicate --replicates 2".replace("--levels 2", "--levels 1")
    assert oneticket_cli(f"{find} --out books", capsys)[0] == 0
    before = outcomes()
    books = [
        oneticket.search({**SPEC, "data": SCARCE}, levels=1, replicate=n, subsets="replicate", store=".oneticket")
        for n in (0, 1)
    ]
    assert outcomes() == before, "the same searches"
    draws = [book.lineage["search"]["data"]["draw"] for book in books]
    assert draws == [0, 1]
    fixed = oneticket.search({**SPEC, "data": SCARCE}, levels=1, replicate=1, store=".oneticket")
    assert fixed.lineage["search"]["data"].get("draw") is None and outcomes() > before
    target = "transfer books --data digits:b --per-class 4 --subsets replicate --controls reinit"
    assert oneticket_cli(target, capsys)[0] == 0
    before = outcomes()
    rows = oneticket.transfer(
        {"data": {**SCARCE, "name": "digits:b"}},
        source=books,
        controls=["reinit"],
        subsets="replicate",
        store=".oneticket",
    )
    assert len(rows) == 6
    assert outcomes() == before, "the same trainings"


@pytest.mark.parametrize("subsets", ["fix", "replicates", 1, None])
def test_another_word_for_subsets_is_refused(folder: Path, subsets: Any) -> None:
    with pytest.raises(SpecError, match="subsets: input should be 'fixed' or 'replicate', got"):
        oneticket.search({**SPEC, "data": SCARCE}, levels=1, subsets=subsets)
    book = oneticket.search(SPEC, levels=1)
    with pytest.raises(SpecError, match="subsets: input should be 'fixed' or 'replicate', got"):
        oneticket.transfer({"data": "digits:b"}, source=book, subsets=subsets)


def test_some_replicates_of_a_study_are_run_as_the_command_line_runs_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.toml").write_text(STUDY)
    first = oneticket.study.run("mine.toml", replicates="0")
    assert {row["replicate"] for row in first.rows} == {0} and len(first.findings.missing) == len(first.rows)
    before = outcomes()
    assert oneticket_cli("study mine.toml --replicates 0", capsys)[0] == 0
    assert outcomes() == before
    second = oneticket.study.run("mine.toml", replicates=[1])
    assert {row["replicate"] for row in second.rows} == {0, 1} and not second.findings.missing
    assert oneticket.study.run("mine.toml").done == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("1-3", "mine has the replicates 0 to 1, got 2"),
        ([0, 5], "mine has the replicates 0 to 1, got 5"),
        (-1, "mine has the replicates 0 to 1, got -1"),
        ("3-1", "expected replicates such as 6-9 or 0,3, got '3-1'"),
        ("", "expected replicates such as 6-9 or 0,3, got ''"),
        ([], r"expected replicates such as 6-9 or 0,3, got \[\]"),
        ([True], r"expected replicates such as 6-9 or 0,3, got \[True\]"),
        (1.5, "expected replicates such as 6-9 or 0,3, got 1.5"),
    ],
)
def test_replicates_that_are_none_are_refused_before_anything_is_kept(folder: Path, asked: Any, words: str) -> None:
    Path("mine.toml").write_text(STUDY)
    with pytest.raises(SpecError, match=f"^replicates: {words}"):
        oneticket.study.run("mine.toml", replicates=asked)
    assert not Path(".oneticket").exists()
