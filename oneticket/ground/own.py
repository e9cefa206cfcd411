"""A user's own function, named as `package.module:function` or `folder/file.py:function`."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from oneticket.ground.canon import digest
from oneticket.ground.errors import SpecError


def own(path: str, kind: str) -> Callable[..., Any]:
    """The function (or class) at a path. Finding it runs the code around it: only name code that you trust.

    `kind` is what it was to be, in words. Raises SpecError if there is no such thing, or it cannot be called.

    >>> own("math:sqrt", "claim")(4)
    2.0
    """
    place, _, name = path.rpartition(":")
    if not place or not name:
        raise SpecError(f"{kind} {path!r}: expected 'package.module:function' or 'file.py:function'")
    module = _file(Path(place), path, kind) if place.endswith(".py") else _module(place, path, kind)
    try:
        found = reduce(getattr, name.split("."), module)
    except AttributeError:
        near = difflib.get_close_matches(name, dir(module), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SpecError(f"{kind} {path!r}: {place!r} has no {name!r}{hint}") from None
    if not callable(found):
        raise SpecError(f"{kind} {path!r}: expected a function or class, got {found!r}")
    return found


def source_digest(path: str, kind: str) -> str:
    """SHA-256 of the file that the function at a path is written in: another text may do other work.

    Modules that the file imports count too, as far as they lie beside it or in a folder beside it; a file without any
    counts alone. Installed packages, and what is found in any other place, do not. Empty where there is no file.

    >>> source_digest("torch.nn:Linear", "model") == source_digest("torch.nn:Bilinear", "model")
    True
    """
    try:
        written = inspect.getsourcefile(inspect.unwrap(own(path, kind)))
    except TypeError:  # built in, or an object that can be called
        written = None
    if written is None:
        return ""
    file = Path(written)
    own_text, beside = file.read_bytes(), {} if _installed(file) else _beside(file)
    digests = [hashlib.sha256(text).hexdigest() for text in (own_text, *(beside[name] for name in sorted(beside)))]
    return digests[0] if len(digests) == 1 else digest([digests[0], *zip(sorted(beside), digests[1:], strict=True)])


def _installed(file: Path) -> bool:
    """Whether a file belongs to a package that is installed, whose version is its own affair."""
    return any(part in ("site-packages", "dist-packages") for part in file.parts)


def _beside(file: Path) -> dict[str, bytes]:
    """The modules beside a file that it imports, and that those import in turn: name in that folder -> text."""
    root, found, waiting = file.parent, dict[str, bytes](), [file]
    while waiting:
        for name in _imported(waiting.pop()):
            for place in (root / f"{name}.py", root / name / "__init__.py"):
                known = place.relative_to(root).as_posix()
                if place.is_file() and place != file and known not in found:
                    found[known] = place.read_bytes()
                    waiting.append(place)
    return found


def _imported(file: Path) -> set[str]:
    """The modules that a file names in its imports, as paths: `a.b` is `a/b`, and its package `a` counts too."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = f"{node.module}." if node.module else ""
            names |= {within.rstrip("."), *(within + alias.name for alias in node.names)} - {""}
    parts = [name.split(".") for name in names]
    return {"/".join(each[:depth]) for each in parts for depth in range(1, len(each) + 1)}


def _module(name: str, path: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SpecError(
            f"{kind} {path!r}: cannot import {name!r} ({error}); put its folder on PYTHONPATH, or name its file"
        ) from error
    except Exception as error:
        raise SpecError(f"{kind} {path!r}: running {name} failed: {type(error).__name__}: {error}") from error


def _file(file: Path, path: str, kind: str) -> ModuleType:
    """The module in a file, run once in a process."""
    name = f"oneticket_own_{file.resolve().as_posix()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise SpecError(f"{kind} {path!r}: no such file: {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    beside = str(file.resolve().parent)
    if beside not in sys.path:
        sys.path.append(beside)  # last, so that a neighbour's name hides nothing: what the file imports lies there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SpecError(f"{kind} {path!r}: running {file} failed: {type(error).__name__}: {error}") from error
    return module
