"""What a command shows comes before anything heavy is imported, and commands that need no PyTorch import none."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from oneticket.cli.status import loading

ORDER = """
import os, sys
from oneticket.session import terminal
from rich.console import Console
class Heard(Console):
    def __init__(self, **more):
        super().__init__(**{**more, "force_terminal": True})
    def print(self, *what, **more):
        note()
        super().print(*what, **more)
    def _live(self):
        note()
def note():
    imported = [name for name in ("torch", "pyarrow", "scipy", "pandas") if name in sys.modules]
    print("\\nfirst shown with", imported, file=sys.__stderr__, flush=True)
    os._exit(0)  # what comes after is not asked
terminal.Console = Heard
from rich.live import Live
begin = Live.refresh
Live.refresh = lambda self: (note(), begin(self))[1]
from oneticket.cli.app import main
main(sys.argv[1:])
"""
LONGER = (
    "find --data digits --model mlp --budget 1it --levels 0 --out out",
    "transfer digits-a --data digits:b --budget 12it --levels 18",
    "demo --out out --store nowhere://else",
    "study demo --dry-run",
    "status demo",
    "report demo --out out",
    "store ls",
    "store verify",
    "store gc",
    "show digits-a",
    "verify digits-a",
    "export digits-a --rounds 1",
    "zoo",
)


@pytest.mark.parametrize("command", LONGER)
def test_something_is_shown_before_torch_is_imported(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORDER, *command.split()], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr.splitlines()[-1] == "first shown with []", done.stderr[-2000:]


@pytest.mark.parametrize("command", ["store ls", "store verify", "show digits-a", "--help", "find --help"])
def test_commands_that_need_no_torch(command: str, tmp_path: Path) -> None:
    code = "import sys\nfrom oneticket.cli.app import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n"
    code += "    print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr.splitlines()[-1] == "False"


FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_pre_hook
def note(*_):
    print([name for name in ("torch._dynamo", "sympy", "pyarrow.dataset") if name in sys.modules], flush=True)
    os._exit(0)
register_optimizer_step_pre_hook(note)
from oneticket.cli.app import main
main(sys.argv[1:])
"""


def test_a_search_begins_to_train_without_what_it_does_not_need(tmp_path: Path) -> None:
    command = "find --data digits --model mlp --budget 1it --rewind 0it --levels 0 --out out --device cpu --quiet"
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP, *command.split()], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr[-2000:]


PRUNED = """
import sys
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec
asked = {"data": "digits", "model": "lenet-300-100", "training": {"budget": "2it"}, "rewind": "1it"}
assert search(SearchSpec.read(asked), levels=2).records[2]["density"] < 0.65
print("torch._dynamo" in sys.modules)
"""


def test_a_pruned_level_traces_holds_and_trains_without_torchs_compiler(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PRUNED], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "False\n", done.stderr[-2000:]


def test_nothing_is_collected_while_a_command_is_imported_and_all_is_afterwards() -> None:
    assert gc.isenabled()
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()


INTERRUPTED = """
import runpy, sys
class CtrlC:
    def find_spec(name, path=None, target=None):
        if name in ("cyclopts", "rich", "oneticket.session"):
            raise KeyboardInterrupt
sys.meta_path.insert(0, CtrlC)
sys.argv = ["oneticket", "store", "ls"]
"""


@pytest.mark.parametrize(
    "begin", ["runpy.run_module('oneticket', run_name='__main__')", "from oneticket.cli.app import main; main()"]
)
def test_ctrl_c_in_the_first_moment_is_one_line(begin: str) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED + begin], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "oneticket: interrupted; run the same command to go on\n")
