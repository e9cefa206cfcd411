"""A single ticket on the command line: carried from its file, scored by its transfers, shown with its scores."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest
from commands import oneticket_cli

from oneticket.ticket.book import Book
from oneticket.ticket.ticket import Ticket

FIND = "find --data digits:a --model lenet-300-100 --optimizer sgd --levels 2 --budget 1ep --rewind 3it --quiet"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert oneticket_cli(f"{FIND} --out a", capsys)[0] == 0
    Book.load("a").save("book.safetensors")
    Book.load("a")[2].save("ticket.safetensors")


def test_a_ticket_is_carried_and_scored(capsys: pytest.CaptureFixture[str]) -> None:
    before = Ticket.load("ticket.safetensors")
    asked = "--data digits:b --controls reinit,global-random --replicates 3 --rows rows.csv"
    code, out, err = oneticket_cli(f"transfer ticket.safetensors {asked}", capsys)
    assert code == 0, err
    rows = pandas.read_csv("rows.csv")
    assert sorted(rows.arm) == sorted(["dense", "ticket", "reinit", "global-random"] * 3)
    assert set(rows[rows.arm == "ticket"].source_id) == {before.id}
    assert len(set(rows[rows.arm == "ticket"].loss)) == 3, "replicates differ in order and output layer"
    code, out, err = oneticket_cli("score ticket.safetensors rows.csv --out scored.safetensors", capsys)
    assert code == 0, err
    scored = Ticket.load("scored.safetensors")
    assert scored.id == before.id
    assert "scores" not in before.evidence
    found = {each["arm"]: each for each in scored.evidence["scores"]}
    assert set(found) == {"dense", "ticket", "reinit", "global-random"}
    kept = rows[rows.arm == "ticket"].sort_values("replicate").accuracy.to_numpy()
    anew = rows[rows.arm == "reinit"].sort_values("replicate").accuracy.to_numpy()
    assert found["ticket"]["mean"] == pytest.approx(kept.mean())
    assert found["ticket"]["difference"] is None
    assert found["reinit"]["difference"]["mean"] == pytest.approx((kept - anew).mean())
    assert found["reinit"]["n"] == found["reinit"]["difference"]["n"] == 3
    assert oneticket_cli(f"transfer ticket.safetensors {asked} --optimizer adam --quiet", capsys)[0] == 0
    code, out, err = oneticket_cli("score scored.safetensors rows.csv", capsys)
    assert (code, "in the place of" in out) == (0, False), err
    both = {(each["data"], each["optimizer"]) for each in Ticket.load("scored.safetensors").evidence["scores"]}
    assert both == {("digits:b", "sgd"), ("digits:b", "adam")}
    code, out, err = oneticket_cli("score scored.safetensors rows.csv", capsys)
    assert (code, "in the place of earlier scores: digits:b (adam)" in out) == (0, True), (out, err)
    assert len(Ticket.load("scored.safetensors").evidence["scores"]) == 8
    code, out, err = oneticket_cli("show scored.safetensors", capsys)
    assert code == 0, err
    assert out.count("\tticket better by (points)\tn\n") == 2, "a table for each optimizer, with tabs in a pipe"
    assert "Scores on digits:b, sgd\nnetwork\taccuracy (%)\t" in out


def test_a_book_is_carried_several_times(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--data digits:b --levels 2 --controls none --replicates 2 --rows rows.csv --quiet"
    assert oneticket_cli(f"transfer book.safetensors {words}", capsys)[0] == 0
    assert sorted(pandas.read_csv("rows.csv").replicate) == [0, 0, 1, 1]


def test_a_book_does_not_agree_with_its_copy(capsys: pytest.CaptureFixture[str]) -> None:
    Path("copy.safetensors").write_bytes(Path("book.safetensors").read_bytes())
    for other in ("book.safetensors", "copy.safetensors"):
        code, _, err = oneticket_cli(f"consensus book.safetensors {other} --out agreed.safetensors", capsys)
        assert (code, "book 2 is of the same search as book 1, which would vote twice" in " ".join(err.split())) == (
            2,
            True,
        )
        assert not Path("agreed.safetensors").exists()


def test_what_does_not_fit_is_told_and_the_file_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    untouched = Path("ticket.safetensors").read_bytes()
    carry = "--data digits:b --controls none --rows rows.csv --quiet"
    assert oneticket_cli(f"transfer book.safetensors {carry} --levels 1", capsys)[0] == 0
    Path("words.csv").write_text("a,b\n1,2\n")
    here = "--data digits:b --controls none --quiet"
    for head in ("fresh", "keep"):
        assert oneticket_cli(f"transfer ticket.safetensors {here} --head {head} --rows {head}.csv", capsys)[0] == 0
    both = pandas.concat([pandas.read_csv("fresh.csv"), pandas.read_csv("keep.csv")])
    both.to_csv("two.csv", index=False)
    both.assign(score="high").to_csv("text.csv", index=False)
    for words, status, expected in [
        ("score ticket.safetensors rows.csv", 2, "expected rows of transfers of ticket"),
        ("score ticket.safetensors words.csv", 2, "a table without arm"),
        ("score ticket.safetensors text.csv", 2, "a number in every row of score"),
        ("score ticket.safetensors two.csv", 2, "differ in head (fresh and keep)"),
        ("score ticket.safetensors nowhere.csv", 2, "nowhere.csv: rows cannot be read"),
        ("score ticket.safetensors rows.txt", 2, "unknown ending"),
        ("score book.safetensors rows.csv", 2, "is a book"),
        (f"transfer ticket.safetensors {carry} --levels 1", 2, "holds level 2, got 1"),
        (f"transfer ticket.safetensors {carry.replace('none', 'layerwise-random-kept')}", 2, "give a book"),
        (f"transfer ticket.safetensors {carry} --replicates 0", 2, "--replicates"),
    ]:
        code, _, err = oneticket_cli(words, capsys)
        assert (code, expected in err) == (status, True), (words, err)
    assert Path("ticket.safetensors").read_bytes() == untouched
    assert oneticket_cli(f"{FIND} --out two --replicates 2", capsys)[0] == 0
    code, _, err = oneticket_cli(f"transfer two {carry} --replicates 2", capsys)
    assert (code, "which are the replicates" in err) == (2, True), err
