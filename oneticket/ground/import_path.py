"""A user's own function, named as `package.module:function` or `folder/file.py:function`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import reduce
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

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
    module = module_of(path, kind)
    place, _, name = path.rpartition(":")
    try:
        found = reduce(getattr, name.split("."), module)
    except AttributeError:
        near = difflib.get_close_matches(name, dir(module), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SpecError(f"{kind} {path!r}: {place!r} has no {name!r}{hint}") from None
    if not callable(found):
        raise SpecError(f"{kind} {path!r}: expected a function or class, got {found!r}")
    return found


def module_of(path: str, kind: str) -> ModuleType:
    """The module that a path names, executed once in a process, whatever becomes of its file. Raises as `own` does."""
    if not is_path(path):
        raise SpecError(f"{kind} {path!r}: expected 'file.py:function' or 'package.module:function'")
    place = path.rpartition(":")[0]
    return _file(Path(place), path, kind) if place.endswith(".py") else _module(place, path, kind)


def again(path: str, kind: str) -> None:
    """Execute the file that a path names anew, as a new module; what the old one defined stays as it is."""
    sys.modules.pop(_name(Path(path.rpartition(":")[0])), None)
    module_of(path, kind)


def executed_text(module: ModuleType) -> bytes | None:
    """The very text that was executed, of a module in a file; None for one that was imported in the usual way."""
    loader = getattr(module.__spec__, "loader", None)
    return loader.text if isinstance(loader, _Loader) else None


def _module(name: str, path: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SpecError(
            f"{kind} {path!r}: cannot import {name!r} ({error}); put its folder on PYTHONPATH, or name its file"
        ) from error
    except Exception as error:
        raise SpecError(f"{kind} {path!r}: running {name} failed: {type(error).__name__}: {error}") from error


def _name(file: Path) -> str:
    return f"oneticket_own_{file.resolve().as_posix()}"


def _file(file: Path, path: str, kind: str) -> ModuleType:
    """The module in a file, executed once."""
    name = _name(file)
    if name in sys.modules:
        return sys.modules[name]
    if not file.is_file():
        raise SpecError(f"{kind} {path!r}: no such file: {file}")
    loader = _Loader(name, str(file.absolute()), file.read_bytes())
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    beside = str(file.resolve().parent)
    if beside not in sys.path:
        sys.path.append(beside)  # last, so that a neighbouring file hides no installed module
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SpecError(f"{kind} {path!r}: running {file} failed: {type(error).__name__}: {error}") from error
    return module


class _Loader(SourceFileLoader):
    """Executes the text that was read, and keeps it: neither a later text of the file nor compiled code kept of it."""

    def __init__(self, name: str, file: str, text: bytes) -> None:
        super().__init__(name, file)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # its name in importlib
        code: CodeType = self.source_to_code(self.text, self.path)
        return code
