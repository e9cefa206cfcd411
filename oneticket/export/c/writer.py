"""The files of a C program: a header, a source, and one of values if there are too many for a source."""

from __future__ import annotations

import hashlib
import math
import re
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oneticket.export.c.calls import CALLS, describe
from oneticket.export.c.layers import Conv, Network
from oneticket.export.c.memory import plan
from oneticket.export.c.text import WIDE, Table, Text, c_type, filled, kernel, number
from oneticket.ground.errors import ModelError

EMBEDDED = 300_000
"""The most weights in a source; more are in a file of values."""

MAGIC, ALIGNED = b"oneticket c 1\0\0\0", 8
"""The first bytes of a file of values; its tables begin at multiples of so many bytes."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program's files and sizes. `values` is empty if the source holds all of them.

    - `floats`: of the input, the output and the scratch memory.
    - `tables`: the bytes of all tables; `numbers`: how many weights, biases and scales they hold.
    - `layers`: a line for each layer.
    """

    stem: str
    header: str
    source: str
    values: bytes
    floats: tuple[int, int, int]
    tables: bytes
    numbers: int
    layers: tuple[str, ...]


def write(network: Network, stem: str, *, embedded: int = EMBEDDED) -> Program:
    """The C program of a network: functions and files are named after `stem`, a C name; equal networks, equal bytes.

    Raises ModelError for weights that are not finite.
    """
    text, lines = Text(network=network, memory=plan(network)), list[str]()
    for place, layer in enumerate(network.layers, start=1):
        lines.append(describe(layer))
        text.calls.append(f"\n    /* {lines[-1]} */")
        CALLS[type(layer)](text, layer, f"layer{place}")
        if layer.activation and not isinstance(layer, Conv):
            text.call(text.activation(layer.activation), text.at(layer.output), math.prod(layer.shape))
    if wrong := [one.name for one in text.tables if not np.isfinite(one.array).all()]:
        raise ModelError(
            f"c: {lines[int(wrong[0].partition('_')[0][5:]) - 1]}: expected finite weights, got NaN or infinity"
        )
    beside = sum(one.array.size for one in text.tables if one.weights) > embedded
    whole, places = _payload(text.tables)
    payload = whole if beside else b""
    floats = (math.prod(network.input), math.prod(network.shape), max(1, text.memory.floats))  # no arrays of nothing
    calls = "\n".join(text.calls)
    begins = MAGIC + hashlib.sha256(calls.encode() + whole).digest()[: len(MAGIC)]
    words = _words(stem, network, floats, payload, lines)
    words["CHECK"] += "\n    (void)scratch;" * (not text.memory.floats)
    words |= {"EXPECTED": str(len(begins)), "BEGINNING": ", ".join(map(str, begins)), "CALLS": calls}
    tables = [_placed(one, places[one.name]) if beside else _literal(one) for one in text.tables]
    parts = [_opening(stem, text, beside=beside)]
    parts += [_part("expected.c", words)] * beside
    parts += ["\n".join(tables), *text.functions.values()]
    parts += [_part("load.c", words)] * beside
    parts += [_part("run.c", words)]
    return Program(
        stem=stem,
        header=_part("header.h", words),
        source="\n\n".join(part.strip("\n") for part in parts if part) + "\n",
        values=begins + payload if beside else b"",
        floats=floats,
        tables=whole,
        numbers=sum(one.array.size for one in text.tables if one.array.dtype.kind == "f" or one.weights),
        layers=tuple(lines),
    )


def _words(
    stem: str, network: Network, floats: tuple[int, int, int], payload: bytes, lines: Sequence[str]
) -> dict[str, str]:
    """Values of the capital words in the texts."""
    beside, upper = bool(payload), stem.upper()
    given = dict(zip(("IN", "OUT", "SCRATCH"), map(str, floats), strict=True))
    check = [f"    if (weights == NULL)\n        return {upper}_NOT_LOADED;"] * beside
    return {
        **given,
        "STEM": stem,
        "UPPER": upper,
        "SHAPE": " x ".join(map(str, network.input or (1,))),
        "GIVEN": " x ".join(map(str, network.shape or (1,))),
        "BYTES": str(len(payload)),
        "CHECKSUM": f"0x{zlib.crc32(payload):08x}u",
        "LAYERS": "\n".join(f"   {line}" for line in lines),
        "LOADING": kernel("loading.h") if beside else "",
        "RESULT": f", or {upper}_NOT_LOADED" if beside else "",
        "CHECK": "\n".join(check),
    }


def _part(name: str, words: Mapping[str, str]) -> str:
    """A text with its words filled in."""
    text = kernel(name)
    for parts in ("LOADING|RESULT", "STEM|UPPER"):  # within other words too
        text = re.sub(parts, lambda found: words[found[0]], text)
    return re.sub(r"\n{3,}", "\n\n", filled(text, **words))


def _opening(stem: str, text: Text, *, beside: bool) -> str:
    """The beginning of a source: only what its functions need."""
    written = "".join(text.functions.values())
    mathematics = re.search(r"\b(INFINITY|\w+f\()", written) is not None
    names = ["math.h"] * mathematics + ["stddef.h", "stdint.h"] + ["stdio.h"] * beside + ["string.h"]
    lines = [f'#include "{stem}.h"', "", *(f"#include <{name}>" for name in names)]
    return "\n".join(lines) + ("\n\n" + kernel("lanes.c") if re.search(r"\b(lanes|quad)\b", written) else "")


def _payload(tables: Sequence[Table]) -> tuple[bytes, dict[str, int]]:
    """All tables in a row, little-endian, and where each begins."""
    found, places = bytearray(), dict[str, int]()
    for table in tables:
        places[table.name] = len(found)
        found += table.array.astype(table.array.dtype.newbyteorder("<")).tobytes()
        found += bytes(-len(found) % ALIGNED)
    return bytes(found), places


def _placed(table: Table, place: int) -> str:
    return f"#define {table.name} ((const {c_type(table.array)} *)(weights + {place}))"


def _literal(table: Table) -> str:
    """A table as C text; one without numbers has a zero, since C has no empty arrays."""
    if table.array.dtype.kind == "f":
        said = [number(value) for value in table.array.ravel()]
    else:
        said = [str(value) for value in table.array.ravel().tolist()]
    lines = textwrap.wrap(", ".join(said or ["0"]), WIDE, break_long_words=False)
    body = "\n".join(f"    {line}" for line in lines)
    return f"static const {c_type(table.array)} {table.name}[{max(1, len(said))}] = {{\n{body}\n}};"
