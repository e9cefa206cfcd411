"""The laws of the house: floors by import-linter, permits here, a documented face, nothing heavy at import."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import oneticket

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "oneticket").rglob("*.py"))

# what may be called or imported -> where alone
PERMITS = {
    "time": ["ground/clock.py"],
    "print": [],
    "os.replace": ["ground/disk.py"],
    "write_text": [],
    "write_bytes": [],
    "torch.load": ["integrations/foreign.py"],
    "torch.save": [],
    "manual_seed": ["ground/streams.py", "training/loop.py", "models/build.py"],
    # A state restored, `random.Random` of a given seed, and a state that is looked at.
    "random": ["data/arrays.py", "data/stream.py", "compact/proof.py"],
    "ray": ["engine/cluster.py", "engine/run_ray.py", "engine/ranks.py"],
}


DRAWS = ("rand", "randn", "randint", "randperm", "normal_", "uniform_", "bernoulli_", "multinomial", "rand_like")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_draw_names_its_generator(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in DRAWS:
            initialises = "models" in path.parts  # inside `build`, which forks and seeds the global generator
            own = ast.unparse(node.func).startswith("draw.")  # a `random.Random` of a given seed
            assert initialises or own or any(word.arg == "generator" for word in node.keywords), ast.unparse(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_permits(path: Path) -> None:
    here = path.relative_to(ROOT / "oneticket").as_posix()
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and node.module
            else []
        )
    }
    called = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
    for what, where in PERMITS.items():
        if here not in where:
            assert what not in imported, f"{here} imports {what}; only {where} may"
            calls = {name for name in called if name == what or name.endswith(f".{what}")}
            calls = {name for name in calls if what not in ("print", "random", "time") or name == what}
            assert not calls, f"{here} calls {calls}; only {where} may"


def test_every_file_says_what_it_is_for_and_stays_small() -> None:
    for path in SOURCES:
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), path
        assert len(text.splitlines()) <= 300, path


def test_the_face_is_small_documented_and_complete() -> None:
    assert len(oneticket.__all__) <= 20
    for name in oneticket.__all__:
        member = getattr(oneticket, name)
        assert inspect.getdoc(member), name
        for method, value in vars(member).items() if inspect.isclass(member) else ():
            if not method.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{method}"
    with pytest.raises(AttributeError, match="has no attribute 'Tickt'; it has Book"):
        _ = oneticket.Tickt  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import oneticket", ["torch", "pydantic", "numpy", "datasets", "pandas"]),
        (
            "import oneticket; oneticket.Ticket, oneticket.Book, oneticket.attach",
            ["pydantic", "datasets", "pandas", "rich"],
        ),
        ("import oneticket.cli.app", ["torch", "numpy", "pandas", "datasets", "scipy", "altair"]),
        ("import oneticket.study.spec", ["torch", "numpy"]),
    ],
)
def test_imports_stay_light(code: str, absent: list[str]) -> None:
    asked = f"{code}; import sys; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_word_of_any_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    for name in listed:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", ".yml") and path.is_file() and path != Path(__file__):
            assert "/work/" not in path.read_text(), name
