"""A process that is killed in the middle of a write, at any of a command's writes, leaves nothing that is not true."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from commands import oneticket_cli
from forked import CONTEXT
from store.faults import Faults, faulty

from oneticket.cli.app import main
from oneticket.engine import inline, run_ray
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store.store import Store
from oneticket.study.origins import search_origin

STUDY = """
levels = [1]
arms = ["dense", "ticket"]
replicates = 1
rewind = "2it"
training = {budget = "4it", batch = 32}
models.net = {name = "mlp", widths = [12]}
sets.a.data = {name = "digits:a", per_class = 10}
sets.b.data = {name = "digits:b", per_class = 10}
parts.one = {sources = ["a"], targets = ["b"], models = ["net"], optimizers = ["sgd"]}
"""
FIND = "find --data digits:a --model mlp --budget 4it --rewind 2it --levels 1 --out book --quiet --store found"
COMMANDS = {
    "study": "study mine.toml --engine inline --quiet",
    "transfer": "transfer book --data digits:b --controls reinit --levels 1 --rows rows.csv --quiet",
}
KILLS = 5


def begin(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.toml").write_text(STUDY)


def outcomes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / ".oneticket").rglob("*.safetensors"))}


def die(folder: Path, environment: dict[str, str], words: str, at: int) -> None:
    """Run a command up to the middle of its `at`-th write."""
    os.chdir(folder)
    os.environ.update(environment)
    torch.set_num_threads(1)
    with faulty(Faults(folder, at=at, torn=True)):
        main(words.split())


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_within_a_write_goes_on_to_the_same_bits(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, straight = COMMANDS[command], tmp_path / "straight"
    begin(straight)
    monkeypatch.chdir(straight)
    if command == "transfer":
        assert oneticket_cli(FIND, capsys)[0] == 0
    with faulty(Faults(straight)) as counted:
        assert oneticket_cli(words, capsys)[0] == 0
    writes, expected = counted.calls.count("write"), outcomes(straight)
    assert len(expected) >= 4 and writes > 3 * KILLS
    for at in range(1, writes + 1, writes // KILLS):
        folder = tmp_path / str(at)
        begin(folder)
        monkeypatch.chdir(folder)
        if command == "transfer":
            (folder / "book").symlink_to(straight / "book")
        process = CONTEXT.Process(target=die, args=(folder, dict(os.environ), words, at))
        process.start()
        process.join()
        assert process.exitcode == -9
        code, _, err = oneticket_cli(words, capsys)
        assert (code, err) == (0, ""), "nothing may look damaged"
        assert outcomes(folder) == expected


TORN = """
import os
from pathlib import Path
from torch import nn
from store.faults import Faults, faulty

ROOT, DRIVER = Path({root!r}), {pid}
FIRST = {{2: "once", 5: "twice"}}

class Net(nn.Module):
    def __init__(self, *, shape, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, classes))

    def forward(self, x):
        return self.layers(x.flatten(1))

def next_death():
    for at, mark in FIRST.items():
        try:
            (ROOT / mark).touch(exist_ok=False)
            return at
        except FileExistsError:
            pass
    return None

if os.getpid() != DRIVER and (at := next_death()) is not None:
    PATCHED = faulty(Faults(ROOT / "ray", at=at, torn=True))
    PATCHED.__enter__()
"""


@pytest.fixture(scope="module")
def ray() -> ModuleType:
    """Imported before the test begins, since the import itself writes into the environment."""
    found: ModuleType = pytest.importorskip("ray", reason="needs ray")
    return found


@pytest.mark.slow
def test_workers_of_ray_killed_within_a_write_leave_the_same_store(
    ray: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn_network.py").write_text(TORN.format(root=str(tmp_path), pid=os.getpid()))
    monkeypatch.syspath_prepend(tmp_path)
    spec = SearchSpec(
        data={"name": "digits:a", "per_class": 10},
        model="torn_network:Net",
        training={"budget": "4it", "batch": 32},
        rewind="2it",
    )
    plan = [s for n in range(2) for s in search_origin(spec, levels=1, replicate=n, context=RunContext()).levels]
    heard: list[str] = []
    serial, parallel = Store(tmp_path / "serial"), Store(tmp_path / "ray")
    try:
        inline.run(plan, store=serial, context=RunContext())
        piles = run_ray.run(plan, store=parallel, context=RunContext(), observe=lambda step, event: heard.append(event))
    finally:
        sys.modules.pop("torn_network", None)
    assert (piles.failed, piles.not_run, heard.count("lost")) == ((), (), 2)
    stores = [
        {p.name: p.read_bytes() for p in Path(s.url).rglob("*.safetensors") if p.name[0] != "."}
        for s in (serial, parallel)
    ]
    assert stores[0] == stores[1] and len(stores[0]) == 6
