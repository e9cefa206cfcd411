"""The wheel alone: built from a checkout without symbolic links, and used beside the base packages and no others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRITTEN = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, PACKAGED = WRITTEN["project"], WRITTEN["tool"]["setuptools"]["package-data"]["oneticket"]

TRIED = """
import sys, tempfile, warnings
from pathlib import Path
import torch
from torch import nn
from torch.nn.utils import prune
import oneticket
from oneticket.integrations.masks import from_torch_prune

model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
search = oneticket.Search(model, lambda model: torch.optim.SGD(model.parameters(), lr=0.1), levels=1, fraction=0.5)
for level in search:
    model(torch.ones(3, 4)).square().sum().backward()
    level.optimizer.step()
    level.step()
ticket = search.book[1]
file = Path(sys.argv[1]) / "ticket.safetensors"
ticket.save(file)
again = oneticket.Ticket.load(file)
assert again.id == ticket.id and again.mask.remaining == 16
other = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
again.apply(other)
optimizer = torch.optim.Adam(other.parameters())
with oneticket.attach(other, optimizer, again.mask) as guard:
    other(torch.ones(3, 4)).square().sum().backward()
    optimizer.step()
    guard.audit()
for name in ("search", "transfer"):
    try:
        getattr(oneticket, name)(oneticket.SearchSpec(data="digits", model="mlp"), levels=0)
    except ImportError as error:
        assert isinstance(error, oneticket.OneticketError) and str(error).count("\\n") == 0, error
        assert "pip install 'oneticket[lab]'" in str(error), error
    except TypeError:
        assert name == "transfer"
    else:
        raise AssertionError(name)
pruned = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
prune.l1_unstructured(pruned[0], "weight", amount=0.75)
assert from_torch_prune(pruned).mask.remaining == 8
print("used")
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in which Python finds its own library, the installed wheel, and what the wheel requires."""
    room = tmp_path_factory.mktemp("wheel")
    _checkout(room / "checkout")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "-w", room / "dist", room / "checkout"], check=True)
    (wheel,) = (room / "dist").glob("oneticket-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(room / "site")
    _link_requirements(room / "base")
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    yield {**keep, "PYTHONPATH": os.pathsep.join([str(room / "site"), str(room / "base")])}
    shutil.rmtree(room)


def _checkout(to: Path) -> None:
    """The package's files, each symbolic link as a checkout without them has it: a small file that names its target."""
    listed = subprocess.run(
        ["git", "ls-files", "oneticket", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    for name in filter(None, listed):
        source, target = ROOT / name, to / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                target.write_text(os.readlink(source))
            else:
                shutil.copyfile(source, target)


def _link_requirements(to: Path) -> None:
    """What `pip install oneticket` would bring, out of what is installed here."""
    to.mkdir()
    here, seen = Path(sysconfig.get_path("purelib")), set[str]()
    waiting = [re.match(r"[\w.-]+", each)[0] for each in PROJECT["dependencies"]]  # type: ignore[index]
    while waiting:
        name = waiting.pop()
        if (known := re.sub(r"[-_.]+", "-", name).lower()) in seen:
            continue
        seen.add(known)
        found = metadata.distribution(name)
        tops = {part.parts[0] for part in found.files or () if part.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (to / top).exists():
                (to / top).symlink_to(here / top)
        for each in found.requires or ():
            word, _, marker = each.partition(";")
            if "extra" not in marker and _applies(each):
                waiting.append(re.match(r"[\w.-]+", word)[0])  # type: ignore[index]


def _applies(requirement: str) -> bool:
    from packaging.requirements import Requirement

    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"extra": ""})


def run(bare: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    here = bare["PYTHONPATH"].split(os.pathsep)[1]  # not where the source lies, which Python would look into first
    return subprocess.run(
        [sys.executable, "-S", *words], env=bare, cwd=here, capture_output=True, text=True, check=False
    )


def test_the_wheel_alone_is_enough_for_tickets_guards_and_searches_in_somebodys_loop(bare, tmp_path) -> None:
    done = run(bare, "-W", "error", "-c", TRIED, str(tmp_path))
    assert done.returncode == 0 and done.stdout == "used\n", done.stderr


def test_commands_work_or_name_the_extra_in_one_line(bare, tmp_path) -> None:
    ticket = str(next((ROOT / "oneticket" / "zoo").glob("*.safetensors")))
    for words in (["show", ticket], ["verify", ticket], ["zoo"]):
        done = run(bare, "-m", "oneticket", *words)
        assert done.returncode == 0, done.stderr
    for words in (
        ["demo"],
        ["study", "demo", "--dry-run"],
        ["find", "--data", "digits", "--model", "mlp", "--out", "x"],
    ):
        done = run(bare, "-m", "oneticket", *words)
        assert done.returncode == 1
        assert re.fullmatch(r"oneticket: [\w-]+ is not installed, .* pip install 'oneticket\[lab\]'\n", done.stderr), (
            words
        )


def test_shipped_files_are_in_the_wheel_as_files(bare) -> None:
    site = Path(bare["PYTHONPATH"].split(os.pathsep)[0]) / "oneticket"
    for pattern in PACKAGED:
        assert {path.name for path in site.glob(pattern)} == {path.name for path in (ROOT / "oneticket").glob(pattern)}
    assert tomllib.loads((site / "studies" / "demo.toml").read_text())["parts"]


def test_every_module_of_an_extra_is_one_that_the_project_file_asks_for() -> None:
    from oneticket.ground.extras import EXTRAS

    extras = PROJECT["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"docs", "dev", "bench"}
    for extra, brought in EXTRAS.items():
        for each in brought:
            package = each.rpartition(":")[2]
            assert any(re.match(rf"{package}\b", asked) for asked in extras[extra]), (extra, package)
