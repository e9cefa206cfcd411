"""What an address holds of a user's own code: another text of what is run, or of what that imports, is other work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oneticket.ground.errors import SpecError
from oneticket.ground.import_path import source_digest

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
