"""The help at 80 columns: groups, common flags with their kinds, sound examples; and what is told of mistakes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from commands import oneticket_cli

from oneticket.cli.dispatch import COMMANDS, app
from oneticket.cli.flags import flags
from oneticket.cli.help import ALL, HELP
from oneticket.cli.mistakes import MEANT
from oneticket.publish.shipped import shipped
from oneticket.study.spec import ComparisonSpec, FindSpec

FLAGS = {"find": FindSpec, "transfer": ComparisonSpec}

ROOT = Path(__file__).parents[2]
EXAMPLES = [(name, example) for name, entry in HELP.items() for example in entry.examples]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_the_overview_has_every_command_in_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = oneticket_cli("--help", capsys)
    titles = re.findall(r"╭─ ([A-Z][a-z ]+) ─", out)
    assert (code, titles) == (0, [*dict.fromkeys(entry.group for entry in HELP.values()), "Options"])
    assert list(HELP) == list(COMMANDS) and all(re.search(rf"│ {name} ", out) for name in HELP)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", [name for name, entry in HELP.items() if entry.common])
def test_a_long_command_shows_its_common_flags_required_ones_first(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = oneticket_cli(f"{name} --help", capsys)
    assert code == 0
    stars = [bool(star) for star in re.findall(r"^│ (\*)? +--[a-z]", out, re.M)]
    assert stars == sorted(stars, reverse=True) and any(stars)
    shown = re.findall(r"^│ \*? +--([a-z-]+) [A-Z]+", out, re.M)
    assert sorted(shown) == sorted(HELP[name].common)
    assert f"oneticket {name} {ALL}" in out
    code, out, _ = oneticket_cli(f"{name} {ALL}", capsys)
    assert code == 0
    for flag in flags(FLAGS[name]):
        assert re.search(rf"--{flag.name}\b", out), flag.name
        assert flag.field.description, flag.name
    assert " STR" not in out.replace("STR...", "")


def test_no_example_writes_what_is_then_taken_for_a_shipped_ticket() -> None:
    """A path goes before a shipped name, so that afterwards the name would mean that folder or file."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "results").rglob("*.md")]
    written = " ".join([*(example for _, example in EXAMPLES), *(page.read_text() for page in pages)])
    names = re.findall(r"--out[ =]+([\w./-]+)", written)
    assert len(names) > 20 and not {*names} & {*shipped()}


def test_flags_say_what_their_values_are() -> None:
    kinds = {flag.name: flag.value for flag in flags(FLAGS["find"]) if not flag.switch}
    expected = {
        "data": "DATA",
        "model": "MODEL",
        "lr": "FLOAT",
        "batch": "INT",
        "budget": "TIME",
        "fit": "CHOICE",
        "widths": "INT,...",
        "milestones": "TIME,...",
        "betas": "FLOAT,FLOAT",
        "args": "JSON",
        "scope": "NAME",
        "label": "TEXT",
    }
    assert expected.items() <= kinds.items()


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_are_commands(name: str, example: str) -> None:
    for command in example.replace("\\\n", " ").split("&&"):
        words = shlex.split(command)
        if words[0] != "oneticket":
            continue
        function, bound, _ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
        assert not getattr(function, "lacking", lambda _: [])(bound.arguments)
    assert f"oneticket {name}" in example
    assert max(map(len, example.splitlines())) <= 76


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("find", "find needs --out, --data, and --model"),
        ("find --data digits:a", "find needs --out and --model"),
        ("find --out x", "find needs --data and --model"),
        ("transfer", "transfer needs SOURCE and --data"),
        ("push", "push needs FILE and WHERE"),
        ("pull", "pull needs WHERE and --out"),
        ("score", "score needs FILE and ROWS"),
    ],
)
def test_all_that_is_missing_is_told_at_once(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = oneticket_cli(words, capsys)
    assert (code, out) == (2, "")
    assert f"{said}; `oneticket {words.split()[0]} --help`" in err
    assert HELP[words.split()[0]].examples[0] in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("find --learning-rate 3", "did you mean --lr?"),
        ("find --batch_size 3", "did you mean --batch?"),
        ("find --learning-rate 3 --xyz 4", "unknown options --learning-rate (did you mean --lr?) and --xyz;"),
        (
            "find --xyz --learning-rate=3 --uvw 4",
            "unknown options --xyz, --learning-rate (did you mean --lr?), and --uvw;",
        ),
        ("find --Replicate 3", "did you mean --replicates?"),
        ("transfer a --arms reinit", "did you mean --controls?"),
        ("study a --tensorboard x", "did you mean --track?"),
        ("find --out", "--out requires an argument"),
        ("find --out a --data digits --model mlp --optimizer AdaMw2", "did you mean 'adamw'?"),
        ("find --out a --data digits --model Resnet20", "did you mean 'resnet-20'?"),
        ("find --out a --data digits --model mlp --device cuda9000 --levels 0", "available"),
        ("transfer digits-a --data digits:b --controls random", "did you mean 'global-random'?"),
        ("fnd", "did you mean find?"),
    ],
)
def test_what_was_meant_is_told(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = oneticket_cli(words, capsys)
    assert (code, out, said in err) == (2, "", True), err


def test_names_from_elsewhere_lead_to_flags_that_there_are() -> None:
    there = {name for command in FLAGS for name in (flag.name for flag in flags(FLAGS[command]))}
    there |= {name for entry in HELP.values() for name in entry.common}
    there |= {"store", "quiet", "cpus", "track", "threads", "density", "to", "license", "step"}
    assert {name for names in MEANT.values() for name in names} <= there
    assert not MEANT.keys() & there
