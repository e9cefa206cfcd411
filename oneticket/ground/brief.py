"""One short line for a value: its class, and the fields that differ from their defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from types import MappingProxyType
from typing import Any

WIDEST = 160
"""Characters of a line."""


def brief(thing: Any) -> str:
    """The line of a dataclass; as its `__repr__`, in the place of one that shows all it holds.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Run:
    ...     name: str
    ...     steps: int = 0
    ...     notes: tuple[str, ...] = ()
    ...     __repr__ = brief
    >>> Run("a"), Run("b", 3, tuple("abcdefghi"))
    (Run(name='a'), Run(name='b', steps=3, notes=9 values))
    """
    shown = ((field.name, getattr(thing, field.name)) for field in fields(thing) if field.repr)
    defaults = {field.name: _default(field) for field in fields(thing)}
    return line(type(thing).__name__, ((name, value) for name, value in shown if not _same(value, defaults[name])))


def line(name: str, given: Iterable[tuple[str, object]]) -> str:
    """`Name(field=value, ...)`, cut to `WIDEST` characters."""
    text = f"{name}({', '.join(f'{field}={word(value)}' for field, value in given)})"
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 2]}…)"


def word(value: object) -> str:
    """A value in a word or two: of what holds many, how many; of a function its name.

    >>> word({"a": 1}), word(range(3)), word("x" * 99)
    ("{'a': 1}", 'range(0, 3)', "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…")
    >>> word(brief)
    'brief'
    """
    many = isinstance(value, dict | MappingProxyType | list | tuple | set | frozenset)
    if many and (len(value) > MANY or any(hasattr(one, "shape") for one in _inner(value))):  # type: ignore[arg-type]
        return f"{len(value)} values"  # type: ignore[arg-type]
    if hasattr(value, "shape") and not isinstance(value, type):
        return f"{type(value).__name__}{tuple(value.shape)}"
    named = getattr(value, "__qualname__", None) if callable(value) else None
    text = named or " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:38]}…"


def _inner(value: Any) -> Iterable[object]:
    return value.values() if isinstance(value, Mapping) else value


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _same(value: object, default: object) -> bool:
    return type(value) is type(default) and not hasattr(value, "shape") and bool(value == default)


MANY = 6
"""So many values of a list are shown."""
