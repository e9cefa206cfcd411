"""The examples: each pair runs as it stands, and the README says truly by how many lines it differs."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import forked
import pytest

import oneticket

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
NEEDS = {"lightning": ["lightning"], "accelerate": ["accelerate"], "transformers": ["transformers", "accelerate"]}
# Of a framework's own; everything else that warns is an error.
THEIRS = {"lightning": ["ignore:`isinstance(treespec", "ignore:The 'train_dataloader' does not have many workers"]}


def run(folder: str, which: str, where: Path) -> str:
    """What a script prints, started alone in a folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    file, warn = EXAMPLES / folder / f"{which}.py", ["error", *THEIRS.get(folder, [])]
    done = forked.run(file, cwd=where, env=environment, warn=warn)
    assert done.returncode == 0, done.stderr
    return done.stdout


def changes(folder: str) -> tuple[int, int]:
    """Lines that come and lines that go from before to after."""
    before, after = [(EXAMPLES / folder / f"{which}.py").read_text().splitlines() for which in ("before", "after")]
    found = [line[0] for line in difflib.ndiff(before, after) if line[0] in "+-"]
    return found.count("+"), found.count("-")


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The ticket that the other examples start from, and what was printed when it was found."""
    folder = tmp_path_factory.mktemp("found")
    said = run("find_loop", "after", folder)
    return folder / "digits.safetensors", said


def accuracies(said: str) -> list[float]:
    return [float(number) for number in re.findall(r"accuracy (\d\.\d+)", said)]


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_each_pair_runs(folder: str, found: tuple[Path, str], tmp_path: Path) -> None:
    if absent := [package for package in NEEDS.get(folder, []) if find_spec(package) is None]:
        pytest.skip(f"needs {', '.join(absent)}")
    ticket, said = found
    shutil.copy(ticket, tmp_path)
    before = run(folder, "before", tmp_path)
    after = said if folder == "find_loop" else run(folder, "after", tmp_path)
    assert min(accuracies(before)) > 0.9 and min(accuracies(after)) > 0.9
    mask = oneticket.Ticket.load(ticket).mask
    assert f"{mask.total - mask.remaining:,} pruned weights in 1 parameters and 2 moments are exactly zero" in after
    if folder == "hub_folder":
        shared = tmp_path / "shared" / "digits"
        assert oneticket.Ticket.from_pretrained(shared) == oneticket.Ticket.load(ticket)
        assert "cc-by-4.0" in (shared / "README.md").read_text().lower()


@pytest.mark.slow
def test_a_ticket_is_found(found: tuple[Path, str]) -> None:
    ticket, said = found
    assert oneticket.Ticket.load(ticket).density == pytest.approx(0.75**6, rel=0.01)
    assert said.count(", accuracy") == 7


def test_the_page_names_every_pair_and_counts_its_lines() -> None:
    page = (EXAMPLES / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+ / \d+) \|$", page, re.M))
    assert rows == {folder: "{} / {}".format(*changes(folder)) for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_pair_differs_by_few_lines(folder: str) -> None:
    come, go = changes(folder)
    assert go <= 4 and come <= 12
