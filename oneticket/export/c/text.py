"""The text of a program while it is written: functions, tables and calls."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from oneticket.export.c.layers import ACTIVATIONS, Activation, Network
from oneticket.export.c.memory import Memory
from oneticket.export.c.packing import Array

WIDE = 116
"""Characters of a line."""

C_TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t", "uint16": "uint16_t", "uint32": "uint32_t"}


IN_NAMES = {ord("-"): "m", ord("."): "_", ord("+"): None}
"""How a number is written within a name, each in a way of its own."""


class Table(NamedTuple):
    """An array of the program; `weights`: whether it holds weights rather than places."""

    name: str
    array: Array
    weights: bool


@dataclass
class Text:
    """The text so far: functions by name, tables, and the calls of one run."""

    network: Network
    memory: Memory
    functions: dict[str, str] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def at(self, value: int) -> str:
        """A value's address, as an expression."""
        if value in (0, self.network.output):
            return "out" if value else "in"
        return f"scratch + {self.memory.values[value]}"

    def kernel(self, file: str, name: str = "", **words: object) -> str:
        """A function from `kernels/`, with these words for its capital ones."""
        text = filled(kernel(f"{file}.c"), NAME=name, **words)
        self.functions[name or file] = re.sub(r"^static [^{]+(?=\n{)", lambda head: wrapped(head[0]), text, flags=re.M)
        return name or file

    def table(self, name: str, array: Array, *, weights: bool = False) -> str:
        """A new array, by its name."""
        self.tables.append(Table(name, np.ascontiguousarray(array), weights))
        return name

    def call(self, function: str, *arguments: object) -> None:
        """A new line."""
        self.calls.append(wrapped(f"    {function}({', '.join(map(str, arguments))});"))

    def activation(self, made: Activation) -> str:
        """The function of an activation, which layers share."""
        first, second = number(made.first), number(made.second)
        said = ACTIVATIONS[made.name].c.replace("FIRST", first).replace("SECOND", second)
        settings = f"_{first}_{second}".translate(IN_NAMES) if said != ACTIVATIONS[made.name].c else ""
        return self.kernel("activation", f"activate_{made.name}{settings}", EXPRESSION=said)


def filled(text: str, **words: object) -> str:
    """A kernel with its words; `VALUE` also determines how values are read and whether they are scaled.

    >>> filled("VALUE *values,SCALE float sum; sum SCALED(i)", VALUE="int8_t")
    'int8_t *values, const float *scale, float sum; sum * scale[i]'
    >>> filled("VALUE *values,SCALE float sum; sum SCALED(i)", VALUE="float")
    'float *values, float sum; sum'
    """
    whole = words.get("VALUE") == "float"
    text = re.sub(r" ?SCALED\(([^)]*)\)", "" if whole else r" * scale[\1]", text)
    text = text.replace("LOAD;", WHOLE if whole else ROUNDED)
    words = {"SCALE": "" if whole else " const float *scale,", **words}
    return re.sub(r"\b[A-Z]+\b", lambda found: str(words.get(found[0], found[0])), text)


def wrapped(line: str) -> str:
    """A call or a function's head in lines of WIDE characters, later lines below its first argument."""
    first = len(line) - len(line.lstrip())
    whole = re.sub(r"(?<!,) ", "\0", " ".join(line.split()))  # lines break after commas only
    under = " " * (line.index("(") + 1)
    lines = textwrap.wrap(whole, WIDE, initial_indent=" " * first, subsequent_indent=under, break_long_words=False)
    return "\n".join(lines).replace("\0", " ")


def number(value: float) -> str:
    """A float32 in the fewest digits that restore it.

    >>> number(0.1), number(1e-9), number(3)
    ('0.1f', '1e-09f', '3.0f')
    >>> number(-math.inf)
    '-INFINITY'
    """
    return str(np.float32(value)).replace("inf", "INFINITY") + "f" * math.isfinite(np.float32(value))


def c_type(array: Array) -> str:
    """The C type of an array's numbers."""
    return C_TYPES[str(array.dtype)]


@cache
def kernel(name: str) -> str:
    """A file of C text from this folder."""
    return (files("oneticket.export.c") / "kernels" / name).read_text()


WHOLE = "const float *row = values;"
ROUNDED = "float row[TILE]; for (int t = 0; t < TILE; t++) row[t] = (float)values[t];"
"""How a tile of weights is read: directly, or converted from int8."""
