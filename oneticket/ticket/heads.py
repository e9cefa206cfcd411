"""Heads: the names of the tensors of a model's output layers, one tuple of names for each output."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from oneticket.ground.errors import FileError, SpecError, WrongPruneError, unknown

Heads = tuple[tuple[str, ...], ...]
"""Per output the names of its last layers' own tensors; () for an output that comes from tensors with another role."""

Head = tuple[str, ...] | Heads
"""The form that a contract holds: where there is one output layer with tensors of its own, their names alone."""


def grouped(head: Head) -> Heads:
    """One tuple of names for each output.

    >>> grouped(("a", "b")), grouped((("a",), ("b",))), grouped(())
    ((('a', 'b'),), (('a',), ('b',)), ())
    """
    return (head,) if any(isinstance(name, str) for name in head) else head  # type: ignore[return-value]


def simplest(heads: Heads) -> Head:
    """The form that a contract holds.

    >>> simplest((("a", "b"),)), simplest(((),)), simplest((("a",), ("b",)))
    (('a', 'b'), ((),), (('a',), ('b',)))
    """
    return heads[0] if len(heads) == 1 and heads[0] else heads


def flat(heads: Heads) -> tuple[str, ...]:
    """The names of all of them."""
    return tuple(name for names in heads for name in names)


def check(head: object) -> Head:
    """The head in its simplest form; raises SpecError for what is none or names a tensor twice."""
    heads: Heads = grouped(head) if isinstance(head, tuple) else (head,)  # type: ignore[assignment]
    if not all(isinstance(names, tuple) and all(isinstance(n, str) and n for n in names) for names in heads):
        raise SpecError(
            f"contract.head: expected a tuple of parameter names, or a tuple of such tuples for several outputs, got "
            f"{head!r}"
        )
    names = flat(heads)
    if len(set(names)) != len(names):
        raise SpecError(f"contract.head: expected each name once, got {head!r}")
    return simplest(heads)


def named(names: Sequence[str], tensors: Collection[str]) -> Head:
    """The head as the user names it: layers, one for each output; or tensors, together one output's.

    Raises PruneError for a name that is neither a tensor nor a layer.

    >>> named(["a.w", "a.b"], ["a.w", "a.b", "b.w"]), named(["a", "b"], ["a.w", "a.b", "b.w"])
    (('a.w', 'a.b'), (('a.w', 'a.b'), ('b.w',)))
    """
    loose = tuple(name for name in names if name in tensors)
    layers = [(name, tuple(n for n in tensors if n.startswith(f"{name}."))) for name in names if name not in loose]
    for name, within in layers:
        if not within:
            raise WrongPruneError(f"head: {unknown('tensor or layer', name, tensors)}")
    return check(tuple([loose] * bool(loose) + [within for _, within in layers]))


def plain(heads: Heads) -> list[Any]:
    """The JSON form: a list of names; for several outputs, and for one without tensors of its own, a list of lists.

    >>> plain((("a", "b"),)), plain((("a",), ("b",))), plain(((),)), plain(())
    (['a', 'b'], [['a'], ['b']], [[]], [])
    """
    return [list(each) if isinstance(each, tuple) else each for each in simplest(heads)]


def read(plain: object) -> Head:
    """The head of its JSON form; raises FileError for what is no list, SpecError as `check`."""
    if not isinstance(plain, list):
        raise FileError(
            f"contract.head: expected a list of parameter names, or one list for each output, got {plain!r}"
        )
    head = tuple(tuple(each) if isinstance(each, list) else each for each in plain)
    if len(head) == 1 and head[0] and isinstance(head[0], tuple):
        raise FileError(f"contract.head: expected a list of names, as for one output layer, got {plain!r}")
    return check(head)
