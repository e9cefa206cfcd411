"""An entry: the one file of an outcome, bound to its address, its head readable without its tensors."""

from __future__ import annotations

from oneticket.store.step import Outcome
from oneticket.ticket import sealed
from oneticket.ticket.sealed import Head as Head
from oneticket.ticket.sealed import length as length

GUESS = 16 * 2**10  # bytes that hold most heads, so that one read is enough
KIND = "outcome"


def encode(key: str, outcome: Outcome) -> bytes:
    """The bytes of the file of the outcome at that address.

    >>> data = encode("ab" * 32, Outcome(record={"a": 1}, tensors={}))
    >>> decode("ab" * 32, data).record, head("ab" * 32, data).size == len(data)
    ({'a': 1}, True)
    """
    return sealed.encode(KIND, key, outcome.record, outcome.tensors)


def decode(key: str, data: bytes) -> Outcome:
    """The outcome in a whole file; StoreError if it is damaged or another's."""
    said, tensors = sealed.decode(data, KIND, key)
    return Outcome(record=said.record, tensors=tensors)


def head(key: str, start: bytes) -> Head:
    """The head from a file's first `length` bytes, or more; StoreError if it is damaged or another's."""
    return sealed.head(start, KIND, key)


def check(key: str, data: bytes) -> Head:
    """The head of a whole file, every bit of it checked as `decode` does."""
    return sealed.check(data, KIND, key)[0]
