"""A user's own function, named as `package.module:function` or `folder/file.py:function`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

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
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SpecError(f"{kind} {path!r}: running {file} failed: {type(error).__name__}: {error}") from error
    return module
