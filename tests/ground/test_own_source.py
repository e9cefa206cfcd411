"""What an address holds of a user's own code: another text of what is run, or of what that imports, is other work.

It is the text that this process executed; an edited file is executed anew, or refused.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oneticket.ground.errors import SpecError
from oneticket.ground.import_path import own
from oneticket.ground.own_source import renew, source_digest

WRAPPING = "def wrapped(f):\n    def g(*a):\n        return f(*a)\n    return g\n"
# files, and the one to change; the function that is asked for lies in the first, as `score`
COUNTED = {
    "a function": ({"m.py": "def score(e):\n    return 1\n"}, "m.py"),
    "a partial function": ({"m.py": "from functools import partial\nscore = partial(dict, a=1)\n"}, "m.py"),
    "an object that is called": (
        {"m.py": "class Score:\n    a = 1\n    def __call__(self, e): ...\nscore = Score()\n"},
        "m.py",
    ),
    "what a neighbour wraps": (
        {"m.py": "from deco import wrapped\n@wrapped\ndef score(e):\n    return 1\n", "deco.py": WRAPPING},
        "m.py",
    ),
    "what a neighbour defines": (
        {"m.py": "from low import score\n", "low.py": "def score(e):\n    return 1\n"},
        "low.py",
    ),
    "a neighbour's neighbour, a package": (
        {
            "m.py": "import low\ndef score(e): ...\n",
            "low/__init__.py": "from .deep import A\n",
            "low/deep.py": "A = 1\n",
        },
        "low/deep.py",
    ),
    "its package, named in full": (
        {
            "pack/m.py": "from pack.low import A\ndef score(e): ...\n",
            "pack/__init__.py": "",
            "pack/low.py": "A = 1\n",
        },
        "pack/low.py",
    ),
    "the package itself": (
        {"pack/m.py": "from pack import A\ndef score(e): ...\n", "pack/__init__.py": "A = 1\n"},
        "pack/__init__.py",
    ),
    "the package above, by dots": (
        {
            "pack/within/m.py": "from ..low import A\ndef score(e): ...\n",
            "pack/within/__init__.py": "",
            "pack/__init__.py": "",
            "pack/low.py": "A = 1\n",
        },
        "pack/low.py",
    ),
}


@pytest.mark.parametrize("what", COUNTED)
def test_another_text_is_another_digest(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, changed = COUNTED[what]
    monkeypatch.syspath_prepend(str(tmp_path))
    first = _written(tmp_path, files, monkeypatch)
    other = _written(tmp_path, {**files, changed: files[changed].replace("1", "2") + "# changed\n"}, monkeypatch)
    assert len(first) == 64 and first != other
    assert _written(tmp_path, {**files, "unread.py": "B = 1\n"}, monkeypatch) == first


def test_what_nobody_can_parse_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "try:\n    import low\nexcept SyntaxError:\n    pass\ndef score(e): ...\n"
    assert _written(tmp_path, {"m.py": text, "low.py": 'print "old"\n'}, monkeypatch)


def _written(folder: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of `score` in the first of these files, as a new process would see it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = set(sys.modules)
    try:
        return source_digest(_named(folder, next(iter(files))), "criterion")
    finally:
        for new in set(sys.modules) - before:
            del sys.modules[new]


def _named(folder: Path, name: str) -> str:
    """A module of a package by its name, a file alone by its path."""
    return f"{name.removesuffix('.py').replace('/', '.')}:score" if "/" in name else f"{folder / name}:score"


def test_code_of_a_main_module_without_a_file_is_refused_in_words(monkeypatch) -> None:
    """A notebook's, or that of `python -c`: an address could not tell changed code from old."""
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "score", lambda: 1, raising=False)
    monkeypatch.delattr(main, "__file__", raising=False)
    with pytest.raises(SpecError, match=r"model '__main__:score': it is in no file, .* as 'mine\.py:score'"):
        source_digest("__main__:score", "model")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which files are found by name, and modules by import; none of them stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for new in set(sys.modules) - before:
        del sys.modules[new]


def _score(value: object, head: str = "") -> bytes:
    return f"{head}def score(e):\n    return {value}\n".encode()


def _answers(path: str) -> tuple[object, str]:
    return own(path, "criterion")(None), source_digest(path, "criterion")


def test_a_digest_is_of_what_was_executed_until_the_edited_file_is_executed_anew(here: Path) -> None:
    file, path = here / "mine.py", "mine.py:score"
    texts = {value: _score(value) for value in (1, 2)}  # of one length, which compiled code kept of a file may mistake
    expected = {value: (value, hashlib.sha256(text).hexdigest()) for value, text in texts.items()}
    file.write_bytes(texts[1])
    assert _answers(path) == expected[1]
    old = own(path, "criterion")
    file.write_bytes(texts[2])
    assert _answers(path) == expected[1], "nothing changes in the middle of a step"
    assert source_digest(path, "criterion", anew=True) == expected[2][1]
    assert _answers(path) == expected[2] and old(None) == 1
    again = own(path, "criterion")
    renew(path, "criterion")
    assert own(path, "criterion") is again, "executed anew only if edited"
    (here / "alias.py").symlink_to(file)
    for other in (f"{file}:score", "alias.py:score"):
        assert source_digest(other, "criterion", anew=True) == expected[2][1]
        assert own(other, "criterion") is again, "one file by another name"
    file.write_text("def score(e:\n")
    with pytest.raises(SpecError, match="criterion 'mine.py:score': running mine.py failed: SyntaxError"):
        renew(path, "criterion")
    file.write_bytes(texts[1])
    renew(path, "criterion")
    assert _answers(path) == expected[1]
    file.unlink()
    assert _answers(path) == expected[1]
    with pytest.raises(SpecError, match="no such file: mine.py"):
        renew(path, "criterion")


@pytest.mark.parametrize("path", ["mine.py:score", "mine:score"])
def test_what_was_imported_in_the_usual_way_is_not_executed_anew(here: Path, path: str) -> None:
    (here / "mine.py").write_bytes(_score("A", "from low import A\n"))
    (here / "low.py").write_text("A = 1\n")
    first = _answers(path)
    (here / "low.py").write_text("A = 2  # edited\n")
    importlib.invalidate_caches()
    for _ in range(2):
        with pytest.raises(SpecError, match=r"low\.py changed since it was imported; restart Python"):
            renew(path, "criterion")
    assert _answers(path) == first and first[0] == 1
    (here / "low.py").write_text("A = 1\n")
    renew(path, "criterion")
    assert _answers(path) == first


def test_a_module_that_was_edited_after_its_import_is_refused(here: Path) -> None:
    file, path = here / "mine.py", "mine:score"
    file.write_bytes(_score(1))
    first = _answers(path)
    file.write_bytes(_score(20))
    with pytest.raises(SpecError, match=r"mine\.py changed since it was imported; restart Python"):
        source_digest(path, "criterion", anew=True)
    assert _answers(path) == first


def test_a_module_that_was_edited_between_its_import_and_the_first_look_is_refused(here: Path) -> None:
    file = here / "mine.py"
    for text in (_score(1), b"class score:\n    def __init__(self, e):\n        self.e = e\n"):
        file.write_bytes(text)
        importlib.invalidate_caches()
        importlib.import_module("mine")
        file.write_bytes(text.replace(b"e):", b"e, f=0):"))
        with pytest.raises(SpecError, match=r"mine\.py changed since it was imported; restart Python"):
            source_digest("mine:score", "criterion")
        del sys.modules["mine"]


def test_what_is_imported_later_counts_as_it_was_when_it_was_looked_at(here: Path) -> None:
    """A file beside it that is not imported yet: edited, it makes other work; edited and imported, another digest."""
    late, path = here / "late.py", "mine.py:score"
    (here / "mine.py").write_text("def score(e):\n    from late import A\n    return A\n")
    late.write_text("A = 1\n")
    first = source_digest(path, "criterion")
    late.write_text("A = 2  # edited\n")
    assert source_digest(path, "criterion") == first, "nothing of it was run"
    second = source_digest(path, "criterion", anew=True)
    assert second != first and _answers(path) == (2, second)
    del sys.modules["late"]
    late.write_text("A = 3  # edited once more\n")
    importlib.invalidate_caches()
    value, digest = _answers(path)
    assert value == 3 and digest not in (first, second)


def test_a_module_that_was_missing_and_is_there_now_is_imported(here: Path) -> None:
    (here / "mine.py").write_text(
        "try:\n    from late import A\nexcept ImportError:\n    A = 0\n" + _score("A").decode()
    )
    before = _answers("mine.py:score")
    (here / "late.py").write_text("A = 1\n")
    importlib.invalidate_caches()
    renew("mine.py:score", "criterion")
    after = _answers("mine.py:score")
    assert (before[0], after[0]) == (0, 1) and before[1] != after[1]


def test_an_edited_file_may_import_what_was_imported_before(here: Path) -> None:
    (here / "low.py").write_text("A = 2\n")
    (here / "mine.py").write_bytes(_score(1))
    for name in ("low", "mine"):  # in the notebook itself, too
        importlib.import_module(name)
    assert _answers("mine.py:score")[0] == 1
    (here / "mine.py").write_bytes(_score("A", "from low import A\n"))
    renew("mine.py:score", "criterion")
    assert _answers("mine.py:score")[0] == 2


def test_the_main_module_of_a_program_is_what_it_was_when_it_began(here: Path, monkeypatch) -> None:
    file = here / "program.py"
    file.write_bytes(_score(1))
    program = importlib.import_module("program")
    monkeypatch.setitem(sys.modules, "__main__", program)
    first = source_digest("__main__:score", "criterion", anew=True)
    file.write_bytes(_score(20))
    assert source_digest("__main__:score", "criterion", anew=True) == first
