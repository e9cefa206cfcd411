"""What is being done now, in words, for a listener: reading, planning, measuring. Silent without a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Listener = Callable[[str], AbstractContextManager[None]]
"""Shows the words as long as the context is open."""


@contextmanager
def phase(words: str) -> Iterator[None]:
    """Tell the listener, if there is one, what is done within.

    >>> heard = []
    >>> @contextmanager
    ... def note(words):
    ...     heard.append(words)
    ...     yield
    >>> with listening(note), phase("reading digits"):
    ...     pass
    >>> with phase("reading more"):
    ...     pass
    >>> heard
    ['reading digits']
    """
    listener = _LISTENER.get()
    if listener is None:
        yield
        return
    with listener(words):
        yield


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let this listener receive every phase within, in this thread; None for no listener."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
