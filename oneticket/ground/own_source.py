"""The text behind a user's own function, as this process executed it: its digest, and what an edited file means."""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from oneticket.ground.canon import digest
from oneticket.ground.errors import SpecError
from oneticket.ground.import_path import again, executed_text, module_of, own

Texts = dict[Path, tuple[str, bytes]]
"""Each file that counts, by where it really lies: its name in a digest, and its text."""

_IMPORTED: WeakKeyDictionary[ModuleType, bytes] = WeakKeyDictionary()
"""The text of each module that was imported in the usual way, when first looked at."""

_COUNTED: WeakKeyDictionary[ModuleType, Texts] = WeakKeyDictionary()
"""What counts for a module, when first looked at: files that it has not imported yet may be edited meanwhile."""


def source_digest(path: str, kind: str, anew: bool = False) -> str:
    """SHA-256 over the file that the path names and the file that defines the function: changed text is changed work.

    Modules that these files import count too if they lie in the same folder, next to the package that they are part of,
    or in a folder there. Installed packages and modules from other places do not count, except the file that defines
    the function. Empty without a file.

    It is about the text that this process executed, which an edited file no longer has; `anew`: see `renew`, first.

    >>> source_digest("torch.nn:Linear", "model") == source_digest("torch.nn:Bilinear", "model")
    True
    """
    if path.startswith("__main__:") and not hasattr(sys.modules["__main__"], "__file__"):  # a notebook, python -c
        name = path.partition(":")[2]
        raise SpecError(
            f"{kind} {path!r}: it is in no file, so changed code could not be told from old; write it to a file and "
            f"name it as 'mine.py:{name}'"
        )
    if anew:
        renew(path, kind)
    texts = {named for each in _files(path, kind) for named in _executed(*each).values()}
    digests = sorted((name, hashlib.sha256(text).hexdigest()) for name, text in texts)
    return digests[0][1] if len(digests) == 1 else digest(digests) if digests else ""


def renew(path: str, kind: str) -> Callable[..., Any]:
    """The function at a path, whose file is executed anew if it was edited, or a file was that it may import later.

    What was imported in the usual way is not executed anew, since others hold what it defined. If its text is another
    by now, what would run is not what the user sees: SpecError. A program's main module is as it was when it began.
    """
    if executed_text(module := module_of(path, kind)) is not None:
        file = Path(path.rpartition(":")[0])
        edited = _edited(module, file)
        if edited and not any(map(_fixed, edited - {file.resolve()})):
            again(path, kind)
    for found, file in _files(path, kind):
        if found is not sys.modules["__main__"] and (edited := _edited(found, file)):
            raise _stale(min(edited, key=lambda each: (not _fixed(each), each)))
    return own(path, kind)


def _stale(file: Path) -> SpecError:
    return SpecError(f"{file} changed since it was imported; restart Python")


def _fixed(file: Path) -> bool:
    """Whether an older text of a file was imported in the usual way, where it stays."""
    module = _imported_from(file)
    return module is not None and _text(module, file) != _on_disk(file)


def _edited(module: ModuleType | None, file: Path) -> set[Path]:
    """The files behind a module whose text on disk is not the executed one."""
    executed, now = _executed(module, file), _walked(file, _on_disk)
    return {each for each in executed.keys() | now.keys() if executed.get(each) != now.get(each)}


def _executed(module: ModuleType | None, file: Path) -> Texts:
    """What counts for a module, as executed; of what is not imported, as it was when first looked at."""

    first = file.resolve()

    def read(each: Path) -> bytes:
        loaded = module if each == first else _imported_from(each)
        return _on_disk(each) if loaded is None else _text(loaded, each)

    if module is None:
        return _walked(file, read)
    if module not in _COUNTED:
        _COUNTED[module] = _walked(file, read)
    known = {**_COUNTED[module], first: (file.name, read(first))}  # it may have several names
    return {each: (name, read(each) if _imported_from(each) else text) for each, (name, text) in known.items()}


def _text(module: ModuleType, file: Path) -> bytes:
    """The text that a module was executed from."""
    if (text := executed_text(module)) is not None:
        return text
    if module not in _IMPORTED:
        now = _on_disk(file)
        if not _installed(file) and not _made_of(module, now):
            raise _stale(file)
        _IMPORTED[module] = now
    return _IMPORTED[module]


def _made_of(module: ModuleType, text: bytes) -> bool:
    """Whether a module's functions are compiled from this text, as far as can be told."""
    if type(getattr(module, "__loader__", None)) is not SourceFileLoader:
        return True  # it may rewrite what it compiles
    try:
        known = set(_codes(compile(text, "", "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return False
    spaces = [vars(module), *(vars(each) for each in vars(module).values() if issubclass(type(each), type))]
    functions = [each for space in spaces for each in space.values() if type(each) is FunctionType]
    return all(each.__code__ in known for each in functions if each.__code__.co_filename == module.__file__)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


def _files(path: str, kind: str) -> list[tuple[ModuleType | None, Path]]:
    """The file that defines a function, and the user's file that names it, which decides which function it is."""
    found, module = own(path, kind), module_of(path, kind)
    try:
        written = inspect.getsourcefile(inspect.unwrap(found))
    except TypeError:  # built in, or an object that can be called
        written = None
    place = path.rpartition(":")[0]
    named = place if place.endswith(".py") else getattr(module, "__file__", None)
    if written and named and _same(written, named):
        return [(module, Path(named))]
    files: list[tuple[ModuleType | None, Path]] = [(_imported_from(Path(written)), Path(written))] if written else []
    return [*files, (module, Path(named))] if named and not _installed(Path(named)) else files


def _imported_from(file: Path) -> ModuleType | None:
    """The module that was imported from a file in the usual way."""
    name = file.name  # thousands of modules are compared with it
    for module in [*sys.modules.values()]:
        where = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if (
            isinstance(where, str)
            and where.endswith(name)
            and os.path.basename(where) == name
            and executed_text(module) is None
            and _same(where, file)
        ):
            return module
    return None


def _same(one: str | Path, other: str | Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)


def _installed(file: Path) -> bool:
    """Whether a file belongs to a package that is installed, whose version is its own affair."""
    return any(part in ("site-packages", "dist-packages") for part in file.parts)


def _on_disk(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it was removed
        return b""


def _walked(file: Path, read: Callable[[Path], bytes]) -> Texts:
    """The text of a file and, of a user's, those of the modules that it imports, and that they import in turn.

    Modules are named by their place below the outermost folder.
    """
    first = file.resolve()
    found: Texts = {first: (file.name, read(first))}
    if _installed(file):
        return found
    top = next(folder for folder in first.parents if not (folder / "__init__.py").is_file())
    waiting = [first]
    while waiting:
        here = waiting.pop()
        for place in _imported(here, found[here][1], (first.parent, top)):
            for each in (place.with_suffix(".py"), place / "__init__.py") if top in place.parents else ():
                if each not in found and each.is_file():
                    found[each] = (each.relative_to(top).as_posix(), read(each))
                    waiting.append(each)
    return found


def _imported(file: Path, text: bytes, roots: Iterable[Path]) -> set[Path]:
    """The places, without ending, that a file's imports may mean below the roots or, with dots, from its own folder.

    The packages that they lie in are imported too. What no parser reads imports nothing.
    """
    try:
        nodes = list(ast.walk(ast.parse(text)))
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
