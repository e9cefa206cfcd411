"""The laws of the house: floors by import-linter, permits here, a documented face, nothing heavy at import."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import oneticket

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "oneticket").rglob("*.py"))
TREES = {path.relative_to(ROOT / "oneticket").as_posix(): ast.parse(path.read_text()) for path in SOURCES}

# what may be called or imported -> where alone
PERMITS = {
    "time": ["ground/clock.py"],
    "print": [],
    "Console": ["session/terminal.py"],
    "os.replace": ["ground/disk.py"],
    "write_text": [],
    "write_bytes": [],
    "torch.load": [],
    "torch.save": [],
    "manual_seed": ["ground/streams.py", "training/loop.py", "models/build.py"],
    # A state restored, `random.Random` of a given seed, and a state that is looked at.
    "random": ["data/undisturbed.py", "data/images/stream.py", "compact/proof.py"],
    "ray": ["engine/cluster.py", "engine/run_ray.py", "engine/ranks.py"],
}


DRAWS = ("rand", "randn", "randint", "randperm", "normal_", "uniform_", "bernoulli_", "multinomial", "rand_like")


def test_every_draw_names_its_generator() -> None:
    wrong = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in DRAWS:
                initialises = path.startswith("models/")  # inside `build`, which forks and seeds the global generator
                own = ast.unparse(node.func).startswith("draw.")  # a `random.Random` of a given seed
                if not (initialises or own or any(word.arg == "generator" for word in node.keywords)):
                    wrong.append(f"{path}:{node.lineno}: {ast.unparse(node.func)} draws without generator=")
    assert not wrong, "\n".join(wrong)


NEW = ("empty", "zeros", "ones", "full", "arange", "tensor", "eye", "linspace", "rand", "randn", "randint", "randperm")


def test_every_new_tensor_names_its_device() -> None:
    """A program may have set another default device."""
    wrong = [
        f"{path}:{node.lineno}: {ast.unparse(node)} without device="
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {f"torch.{name}" for name in NEW}
        and not {"device", None} & {word.arg for word in node.keywords}
    ]
    assert not wrong, "\n".join(wrong)


def test_no_test_depends_on_how_busy_the_machine_is() -> None:
    """They wait for events, by `waiting.until` or with `FOREVER` as the limit of what is broken."""
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text())
        limits = [
            node.value.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.keyword) and node.arg == "timeout" and isinstance(node.value, ast.Constant)
        ]
        if path.name != "waiting.py" and ("time" in _imported(tree) or limits):
            wrong.append(f"{path.relative_to(ROOT)} imports time or has timeouts in figures: lines {limits}")
    assert not wrong, "\n".join(wrong)


def test_permits() -> None:
    wrong = []
    for path, tree in TREES.items():
        imported, called = _imported(tree), {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        for what, where in PERMITS.items():
            exactly = what in ("print", "random", "time")
            calls = {name for name in called if name == what or (name.endswith(f".{what}") and not exactly)}
            used = sorted({what} & imported | calls)
            if used and path not in where:
                wrong.append(f"{path} uses {', '.join(used)}; may: {', '.join(where) or 'nobody'}")
    assert not wrong, "\n".join(wrong)


def _imported(tree: ast.Module) -> set[str]:
    """The top modules that a file imports."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_file_says_what_it_is_for_and_stays_small() -> None:
    for path in SOURCES:
        text = path.read_text()
        said = ast.get_docstring(ast.parse(text))
        assert said, path
        lines = len(text.splitlines())
        assert lines <= 300 or "(long: " in said.splitlines()[0], f"{path}: {lines} lines, and the first says not why"


def test_the_face_is_small_documented_and_complete() -> None:
    assert len(oneticket.__all__) <= 21
    for name in oneticket.__all__:
        member = getattr(oneticket, name)
        assert inspect.getdoc(member), name
        for method, value in vars(member).items() if inspect.isclass(member) else ():
            if not method.startswith("_") and callable(value):
                assert inspect.getdoc(value), f"{name}.{method}"
    with pytest.raises(AttributeError, match="has no attribute 'Tickt'; it has Book"):
        _ = oneticket.Tickt  # type: ignore[attr-defined]


LEVELS = """
from oneticket.compact import choose
from oneticket.lottery.search import search
choose.worth = lambda layer, shape: 1.0
search({"data": "digits", "model": {"name": "mlp", "widths": [300]}, "training": {"budget": "2it"}, "rewind": "1it",
        "pruning": {"fraction": 0.9}}, levels=1)
assert "oneticket.compact.linear_kernels" in __import__("sys").modules"""


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import oneticket", ["torch", "pydantic", "numpy", "datasets", "pandas"]),
        (
            "import oneticket; oneticket.Ticket, oneticket.Book, oneticket.attach",
            ["pydantic", "datasets", "pandas", "rich"],
        ),
        ("import oneticket.cli.app", ["cyclopts", "rich", "pydantic", "oneticket.cli.dispatch"]),
        ("import oneticket.cli.dispatch", ["torch", "numpy", "pandas", "datasets", "scipy", "altair"]),
        ("import oneticket.cli.find", ["pandas", "pyarrow.dataset", "scipy", "torch._dynamo", "sympy"]),
        ("import oneticket.study.spec", ["torch", "numpy"]),
        (LEVELS, ["sympy", "torch._dynamo"]),  # a third of a second, and 35 MB that stay
    ],
)
def test_imports_stay_light(code: str, absent: list[str]) -> None:
    asked = f"{code}; import sys; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_floor_plan_names_every_file() -> None:
    floors = (ROOT / "docs" / "floorplan.md").read_text().split("```")[1]
    named = set(re.findall(r"\w+", floors))
    absent = [path for path in TREES if Path(path).stem.strip("_") not in named | {"init", "main"}]
    assert not absent, f"docs/floorplan.md does not name {absent}"


def test_no_path_of_this_machine() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    places = {f"{place}/" for place in (ROOT.resolve(), ROOT.parent.resolve(), Path.home(), Path(sys.prefix))} - {"//"}
    for path in map(ROOT.joinpath, done.stdout.split("\n")):
        if path.suffix in (".py", ".md", ".toml", ".txt", ".yml", ".html", ".csv", ".json") and path.is_file():
            named = [place for place in places if place in path.read_text()]
            assert not named, f"{path.relative_to(ROOT)} names {named}"
