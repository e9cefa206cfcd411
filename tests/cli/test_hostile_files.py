"""Valid ticket files that say odd things: shown as plain text, refused by the field before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import oneticket_cli

from oneticket.data.spec import DataSpec
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec
from oneticket.models.build import build
from oneticket.models.parts import head
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

SPEC = ModelSpec(name="lenet-300-100", width=0.05)
SEARCH = SearchSpec(data=DataSpec(name="digits:a"), model=SPEC, training={"budget": "1it", "batch": 8}, rewind="0it")
MODEL: dict[str, Any] = {"spec": SPEC.plain(), "shape": [1, 8, 8], "classes": 10}
SCORE = {"data": "digits:b", "optimizer": "sgd", "arm": "dense", "mean": 0.5, "low": 0.4, "high": 0.6, "n": 5}
SCORE = {**SCORE, "difference": {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 5}}
ESCAPE, HUGE = "\x1b[31mred", 10**400


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


def saved(change: Mapping[str, Any] | None = None) -> None:
    """Write t.safetensors, with other values at dotted paths such as `model.spec.width`."""
    net = build(SPEC, inputs=Inputs(shape=(1, 8, 8)), outputs=10, seed=0)
    said = {"model": MODEL, "lineage": {"search": SEARCH.plain(), "level": 1}, "evidence": {"scores": [SCORE]}}
    for path, value in (change or {}).items():
        said = put(said, path.split("."), value)
    mask = Mask.full({name: net.get_parameter(name) for name in ("fc1.weight", "fc2.weight")})
    contract = Contract(rewind="0it", step=0, head=head(net))
    Ticket(mask=mask, weights=net.state_dict(), contract=contract, **said).save("t.safetensors")


def put(tree: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    if isinstance(tree, list):
        return [put(each, path[1:], value) if str(at) == path[0] else each for at, each in enumerate(tree)]
    return {**tree, path[0]: put(tree.get(path[0], {}), path[1:], value)}


REFUSED: tuple[tuple[str, Any, str], ...] = (
    ("model.spec", [1], "model.spec: expected a mapping, got [1]"),
    ("model.spec.name", "lenet", "model.spec: model.name: unknown model"),
    ("model.spec.widths", 5, "model.spec: model.widths"),
    ("model.spec.width", 1e308, "model.spec: model.width: input should be less than or equal to 1000"),
    ("model.spec.prunable", 3, "model.spec: model.prunable"),
    ("model.shape", "[1, 8]", "model.shape: expected channels, height and width"),
    ("model.shape.1", True, "model.shape: expected channels"),
    ("model.shape.2", HUGE, "model.shape: expected channels"),
    ("model.shape.0", 3, "fc1.weight has the shape (15, 192) in the network and (15, 64) in the weights"),
    ("model", {**MODEL, "spec": {**SPEC.plain(), "width": 900.0}}, "fc1.bias has the shape (270000,) in the network"),
    ("model.classes", 10**8, "model.classes: expected a whole number from 1 to 65536"),
    ("model.classes", 60_000, "fc3.bias has the shape (60000,) in the network and (10,) in the weights"),
    ("model.kind", "pictures", "model.kind: expected one of images, vectors, series, tokens, got pictures"),
    ("model.kind", [ESCAPE], "model.kind: expected one of images"),
    ("model.kind", "vectors", "model.shape: expected numbers of vectors"),
    ("model.vocabulary", 5, "model.vocabulary: expected a whole number from 1 to 65536 of tokens, none of images, got"),
    ("model", {**MODEL, "kind": "tokens", "shape": [64], "vocabulary": HUGE}, "model.vocabulary: expected a whole"),
    (
        "model",
        {**MODEL, "kind": "tokens", "shape": [64], "vocabulary": 9},
        "lenet-300-100 is for images, vectors, series; the data holds 64 tokens out of 9",
    ),
    ("model.spec.args", {"a": ESCAPE}, "model.spec: model.args: does not apply"),
)


@pytest.mark.parametrize(("path", "value", "expected"), REFUSED)
@pytest.mark.parametrize("command", ["export t.safetensors --rounds 1", "transfer t.safetensors --data digits:b"])
def test_a_network_that_is_not_the_files_is_never_built(
    path: str,
    value: Any,
    expected: str,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved({path: value})
    monkeypatch.setattr("oneticket.models.build.initialise", None)  # no values may be made
    code, out, err = oneticket_cli(command, capsys)
    assert (code, out) == (1, ""), err
    assert expected in " ".join(err.split()) and "\x1b" not in err
    assert [str(one) for one in Path().iterdir()] == ["t.safetensors"]


LINEAGE: dict[str, tuple[Any, str]] = {
    "lineage.search": (5, "lineage.search: input should be"),
    "lineage.search.data": ([], "lineage.search.data"),
    "lineage.search.data.name": (HUGE, "lineage.search.data.name"),
    "lineage.search.optimizer": (None, "lineage.search.optimizer"),
    "lineage.search.training.budget": ({}, "lineage.search.training.budget"),
    "lineage.search.pruning": ("[/]", "lineage.search.pruning"),
    "lineage.search.seed": ("x", "lineage.search.seed"),
}


@pytest.mark.parametrize("controls", ["none", "own"])
@pytest.mark.parametrize("path", LINEAGE)
def test_a_search_that_cannot_have_been_is_told_before_any_training(
    path: str, controls: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value, expected = LINEAGE[path]
    saved({path: value})
    code, out, err = oneticket_cli(f"transfer t.safetensors --data digits:b --controls {controls}", capsys)
    assert (code, out, "steps done" in err) == (1, "", False), err
    assert f"t.safetensors: {expected}" in " ".join(err.split())


def test_the_code_of_a_search_is_not_run_unasked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    saved({"lineage.search.model": {"name": "hostile:make"}})
    for more in ("", " --run-code"):
        code, _, err = oneticket_cli(f"transfer t.safetensors --data digits:b --controls own{more}", capsys)
        assert code == 1 and "lineage.search.model: hostile:make is not model.spec" in " ".join(err.split()), err
    saved({"model.spec": {"name": "hostile:make"}, "lineage.search.model": {"name": "hostile:make"}})
    code, _, err = oneticket_cli("transfer t.safetensors --data digits:b --controls own", capsys)
    assert code == 2 and "--run-code" in err
    assert not (tmp_path / "ran").exists()


def test_the_code_of_a_later_book_is_not_run_unasked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    found = search(SEARCH.but(rewind="0it", training={"budget": "2it", "batch": 8}), levels=1)
    found.save("books/book-0.safetensors")
    lineage = put(found.lineage, ["search", "pruning", "criterion"], "hostile.py:score")
    replace(found, lineage={**lineage, "replicate": 1}).save("books/book-1.safetensors")
    code, _, err = oneticket_cli("transfer books --data digits:b --controls own --quiet", capsys)
    assert code == 2 and "the source names code: criterion hostile.py:score" in " ".join(err.split()), err
    assert not (tmp_path / "ran").exists()


def test_the_code_of_a_source_s_data_is_not_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    saved({"lineage.search.data": {"name": "hostile.py:make:a"}})
    for words in ("transfer t.safetensors --data digits:b --controls own --budget 1it --quiet", "show t.safetensors"):
        code, _, err = oneticket_cli(words, capsys)
        assert code == 0, err
    assert not (tmp_path / "ran").exists()


def test_a_search_without_data_is_a_source_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    saved({"lineage.search": {"pruning": SEARCH.pruning.plain(), "rule": "gate"}, "lineage.replicate": HUGE})
    words = "transfer t.safetensors --data digits:b --budget 1it --quiet --rows r.csv --controls"
    code, _, err = oneticket_cli(f"{words} none", capsys)
    assert code == 0, err
    header, *lines = Path("r.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    assert [(row["arm"], row["source_data"], row["replicate"]) for row in rows] == [
        ("dense", "", "0"),
        ("ticket", "", "0"),
    ]
    code, _, err = oneticket_cli(f"{words} own", capsys)
    assert code == 2 and "does not say how it was searched for" in err


ODD = (
    None,
    True,
    5,
    -1,
    HUGE,
    0.5,
    "x",
    "[/]",
    "[b]bold",
    ESCAPE,
    "\ud800",
    [],
    [1],
    [None],
    [{}],
    {},
    {"name": ESCAPE},
)
PLACES = ("model.spec", "model.spec.name", "model.shape", "model.classes", "model.spec.width", "lineage.search")
PLACES += ("lineage.search.data", "lineage.search.data.name", "lineage.search.optimizer.lr", "lineage.search.seed")
PLACES += ("lineage.level", "lineage.replicate", "lineage.imported", "lineage.data_digest", "evidence.accuracy")
PLACES += ("evidence.scores", "evidence.scores.0.mean", "evidence.scores.0.n", "evidence.scores.0.data")
PLACES += ("evidence.scores.0.arm", "evidence.scores.0.optimizer", "evidence.scores.0.difference")


@pytest.mark.parametrize("path", PLACES)
def test_whatever_a_file_says_is_shown_as_plain_text(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ODD:
        saved({path: value})
        code, out, err = oneticket_cli("show t.safetensors", capsys)
        assert (code, err, "\x1b" in out, "fc1.weight" in out) == (0, "", False, True), (value, err)
        if value in ("[/]", "[b]bold") and path in ("model.spec.name", "lineage.level", "evidence.accuracy"):
            assert str(value) in out


def test_names_and_scores_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    weights = {f"[/]{ESCAPE}": torch.ones(2, 2), "[b]x": torch.zeros(2)}
    contract = Contract(rewind="0it", step=0, head=("[b]x",))
    Ticket(mask=Mask.full({f"[/]{ESCAPE}": (2, 2)}), weights=weights, contract=contract).save("[b]t.safetensors")
    for command in ("show", "verify"):
        code, out, err = oneticket_cli(f"{command} [b]t.safetensors", capsys)
        assert (code, err, "\x1b" in out, "[b]t.safetensors" in out) == (0, "", False, True)
    code, out, err = oneticket_cli("show [b]t.safetensors", capsys)
    assert r"[/]\x1b[31mred" in out and "Dense by policy: [b]x." in out
    saved()
    code, out, err = oneticket_cli("show t.safetensors", capsys)
    assert "Scores on " in out and "50.0" in out, err
