"""A pickle's opcodes, followed as far as plain values need them: nothing is imported, and called what is handed in.

`pickletools` lists them. One that is not in the tables at the bottom is refused by its name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oneticket.ground.errors import FileError


@dataclass(frozen=True)
class Call:
    """What may be called: it is handed the arguments that are in the file, and checks them with `need`."""

    make: Callable[..., Any]


def need(fits: bool) -> None:
    """Raise TypeError, which a `Machine` reports as damage, unless a condition holds."""
    if not fits:
        raise TypeError


class Machine:
    """The stack of a pickle, those below its marks, and its memo.

    `named` gives the value of a name that the file asks for, `stored` that of a persistent id; both raise FileError for
    unknown ones.
    """

    def __init__(self, *, named: Callable[[str], Any], stored: Callable[[Any], Any]) -> None:
        self.named, self.stored = named, stored
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        """Follow the opcodes to the end; what is on top then. Raises FileError."""
        try:
            for opcode, argument, _ in pickletools.genops(pickle):
                if opcode.name == "STOP":
                    return self.stack.pop()
                self.step(opcode.name, argument)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__} {error}".strip()[:120]
            raise FileError(f"damaged, or no state dict: its opcodes do not fit together ({reason})") from None
        raise FileError("its opcodes have no end")

    def step(self, name: str, argument: Any) -> None:
        """Follow one opcode."""
        if name in _VALUES:
            self.put(argument)
        elif name in _STEPS:
            _STEPS[name](self, argument)
        else:
            raise FileError(f"asks for the opcode {name}, which no tensor needs; nothing of it was run")

    def mark(self) -> None:
        """Begin a stack above this one."""
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """What was put since the last mark, taken off."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def put(self, value: Any) -> None:
        """Put a value on top."""
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """The last so many, taken off."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def note(self, key: int) -> None:
        """Remember what is on top."""
        self.memo[key] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        """Lengthen the list on top."""
        need(type(self.stack[-1]) is list)
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Fill the mapping on top with these names and values in turn."""
        need(type(self.stack[-1]) is dict and len(items) % 2 == 0)
        need(all(type(key) in (str, int) for key in items[::2]))
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def call(self) -> None:
        """Put what a call makes of its arguments on top."""
        called, arguments = self.pop(2)
        need(type(called) is Call and type(arguments) is tuple)
        self.put(called.make(*arguments))

    def build(self) -> None:
        """Skip the attributes of a mapping, such as a state dict's `_metadata`."""
        self.stack.pop()
        need(type(self.stack[-1]) is dict)


_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
}
"""Opcodes that bring their value along."""

_STEPS: dict[str, Callable[[Machine, Any], object]] = {
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    "NONE": lambda machine, _: machine.put(None),
    "NEWTRUE": lambda machine, _: machine.put(True),
    "NEWFALSE": lambda machine, _: machine.put(False),
    "EMPTY_TUPLE": lambda machine, _: machine.put(()),
    "EMPTY_LIST": lambda machine, _: machine.put([]),
    "EMPTY_DICT": lambda machine, _: machine.put({}),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.put(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.put(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.put(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.put(tuple(machine.pop(3))),
    "APPEND": lambda machine, _: machine.extend(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.marked()),
    "SETITEM": lambda machine, _: machine.update(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.marked()),
    "BINPUT": lambda machine, key: machine.note(key),
    "LONG_BINPUT": lambda machine, key: machine.note(key),
    "MEMOIZE": lambda machine, _: machine.note(len(machine.memo)),
    "BINGET": lambda machine, key: machine.put(machine.memo[key]),
    "LONG_BINGET": lambda machine, key: machine.put(machine.memo[key]),
    "GLOBAL": lambda machine, path: machine.put(machine.named(path.replace(" ", "."))),
    "STACK_GLOBAL": lambda machine, _: machine.put(machine.named(".".join(machine.pop(2)))),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.put(machine.stored(machine.stack.pop())),
}
"""What every other opcode does. One that is not here is refused."""
