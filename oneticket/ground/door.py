"""Doors: methods of a value whose work is done on a higher floor, such as `Ticket.push_to_hub`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def door(path: str) -> Any:
    """The function at `room.file:name` of this package, imported when it is asked for.

    Users expect some methods on a ticket or a book that need more than its floor may know. These methods, and the
    package's face, are the only ones that reach up, and each names here where to; so do the cards of `ground/card`.

    >>> door("ground.canon:dumps")({"a": 1})
    '{"a":1}'
    """
    module, _, name = path.partition(":")
    return getattr(import_module(f"oneticket.{module}"), name)
