"""A user's own function, named as `package.module:function` or `folder/file.py:function`."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from oneticket.ground.canon import digest
from oneticket.ground.errors import SpecError


def is_path(text: str) -> bool:
    """Whether a text may name a function: nothing is looked up. A function within another has a name, too.

    >>> is_path("folder/mine.py:score"), is_path("torch.nn:Linear"), is_path("mine:"), is_path("a b:c")
    (True, True, False, False)
    """
    place, _, name = text.rpartition(":")
    named = name if place.endswith(".py") else f"{place}.{name}"
    return bool(place) and all(part.strip("<>").isidentifier() for part in named.split("."))


def own(path: str, kind: str) -> Callable[..., Any]:
    """The function (or class) at a path. Finding it runs the code around it: only name code that you trust.

    `kind` is what it was to be, in words. Raises SpecError if there is no such thing, or it cannot be called.

    >>> own("math:sqrt", "claim")(4)
    2.0
    """
    if not is_path(path):
        raise SpecError(f"{kind} {path!r}: expected 'file.py:function' or 'package.module:function'")
    place, _, name = path.rpartition(":")
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
    """SHA-256 over the file that the path names and the file that defines the function: changed text is changed work.

    Modules that these files import count too if they lie in the same folder, next to the package that they are part of,
    or in a folder there. Installed packages and modules from other places do not count, except the file that defines
    the function. Empty without a file.

    >>> source_digest("torch.nn:Linear", "model") == source_digest("torch.nn:Bilinear", "model")
    True
    """
    texts = set[tuple[str, bytes]]()
    for file in _files(path, kind):
        texts |= {(file.name, file.read_bytes()), *(() if _installed(file) else _beside(file.resolve()).items())}
    digests = sorted((name, hashlib.sha256(text).hexdigest()) for name, text in texts)
    return digests[0][1] if len(digests) == 1 else digest(digests) if digests else ""


def _files(path: str, kind: str) -> list[Path]:
    """The file that defines a function, and the user's file that names it, which decides which function it is."""
    found = own(path, kind)
    if path.startswith("__main__:") and not hasattr(sys.modules["__main__"], "__file__"):  # a notebook, python -c
        name = path.partition(":")[2]
        raise SpecError(
            f"{kind} {path!r}: it is in no file, so changed code could not be told from old; write it to a file and "
            f"name it as 'mine.py:{name}'"
        )
    try:
        written = inspect.getsourcefile(inspect.unwrap(found))
    except TypeError:  # built in, or an object that can be called
        written = None
    place = path.rpartition(":")[0]
    named = place if place.endswith(".py") else getattr(sys.modules[place], "__file__", None)
    files = [Path(written)] if written else []
    if named and not _installed(Path(named)) and not any(file.samefile(named) for file in files):
        files.append(Path(named))
    return files


def _installed(file: Path) -> bool:
    """Whether a file belongs to a package that is installed, whose version is its own affair."""
    return any(part in ("site-packages", "dist-packages") for part in file.parts)


def _beside(file: Path) -> dict[str, bytes]:
    """The modules that a file imports, and those that they import in turn: name below the outermost folder -> text."""
    top = next(folder for folder in file.parents if not (folder / "__init__.py").is_file())
    found, waiting = dict[str, bytes](), [file]
    while waiting:
        for place in _imported(waiting.pop(), (file.parent, top)):
            for each in (place.with_suffix(".py"), place / "__init__.py") if top in place.parents else ():
                known = each.relative_to(top).as_posix()
                if known not in found and each != file and each.is_file():
                    found[known] = each.read_bytes()
                    waiting.append(each)
    return found


def _imported(file: Path, roots: Iterable[Path]) -> set[Path]:
    """The places, without ending, that a file's imports may mean below the roots or, with dots, from its own folder.

    The packages that they lie in are imported too. What no parser reads imports nothing.
    """
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return set()
    places = set[Path]()
    for node in nodes:
        if isinstance(node, ast.Import):
            places |= {_below(root, alias.name) for root in roots for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = [file, *file.parents][node.level :][:1] if node.level else roots
            places |= {_below(root, f"{node.module or ''}.{alias.name}") for root in start for alias in node.names}
    return places.union(*(place.parents for place in places))


def _below(root: Path, name: str) -> Path:
    return root.joinpath(*filter(None, name.split(".")))


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
        sys.path.append(beside)  # last, so that a neighbouring file hides no installed module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SpecError(f"{kind} {path!r}: running {file} failed: {type(error).__name__}: {error}") from error
    return module
