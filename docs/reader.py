"""A second reader of ticket and book files, written from `file-format.md` alone: NumPy, json, hashlib, no oneticket.

It keeps the page's rules on layout, digest and id. Its rules on content (contract, finite values) are left out.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

Groups = dict[str, dict[str, np.ndarray]]

# BF16 has no NumPy type: its 16 bits are read as they are.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
DTYPES |= {"I8": "i1", "U8": "u1", "BOOL": "u1"}
GROUPS = {"ticket": ("mask", "live", "full"), "book": ("full", "pruned")}
SHARED = {"format", "kind", "id", "digest", "contract", "model", "lineage"}
FIELDS = {"ticket": SHARED | {"shapes", "evidence"}, "book": SHARED | {"levels", "records"}}


def read(path: str | Path) -> tuple[dict[str, Any], Groups]:
    """Metadata, and group -> name -> array, of a file that keeps the rules; raises for any other."""
    data = Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    check(8 < end <= len(data), "the header is longer than the file")
    table = json.loads(data[8:end])
    text = table.pop("__metadata__")["oneticket"]
    meta = json.loads(text)
    check(meta["format"] is not True and meta["format"] in (1, 2), "another format")
    check(meta["format"] == lowest(meta["contract"]["head"]), "not the lowest format that can say it")
    check(canonical(meta) == text and set(meta) == FIELDS[meta["kind"]], "the metadata is not canonical")

    groups: Groups = {group: {} for group in GROUPS[meta["kind"]]}
    laid, at = {"__metadata__": {"oneticket": text}}, 0
    for full in sorted(table, key=lambda name: (-np.dtype(DTYPES[table[name]["dtype"]]).itemsize, name)):
        code, shape = table[full]["dtype"], table[full]["shape"]
        size = math.prod(shape) * np.dtype(DTYPES[code]).itemsize
        laid[full] = {"dtype": code, "shape": shape, "data_offsets": [at, at + size]}
        group, _, name = full.partition("/")
        groups[group][name] = np.frombuffer(data[end + at : end + at + size], DTYPES[code]).reshape(shape)
        at += size
    header = canonical(laid).encode()
    check(data[8:end] == header + b" " * (-len(header) % 8), "order, offsets or padding")
    check(len(data) == end + at, "truncated or overlong")
    unsigned = data[:end].replace(meta["digest"].encode(), b"0" * 64, 1) + data[end:]
    check(sha256(unsigned) == meta["digest"], "the digest does not match")
    codes = {name.partition("/")[2]: entry["dtype"] for name, entry in table.items() if name[:5] in ("live/", "full/")}
    check(identity(meta, groups, codes) == meta["id"], "the id is not the id of the content")
    return meta, groups


def lowest(head: list[Any]) -> int:
    """The format of a contract's head: 1 for a list of names, 2 for one list for each output."""
    check(all(isinstance(each, str) for each in head) or all(isinstance(each, list) for each in head), "a mixed head")
    check(not (len(head) == 1 and isinstance(head[0], list) and head[0]), "one output layer as a list of lists")
    return 2 if head and isinstance(head[0], list) else 1


def weights(meta: dict[str, Any], groups: Groups) -> dict[str, np.ndarray]:
    """The weights to start from: a ticket's with zeros where its mask has them, a book's as they are."""
    made = dict(groups["full"])
    for name, shape in meta.get("shapes", {}).items():
        check(name not in made, f"{name}: both masked and whole")
        total = math.prod(shape)
        bits = np.unpackbits(groups["mask"][name], bitorder="little")
        check(len(bits) == -(-total // 8) * 8 and not bits[total:].any(), f"{name}: padding bits that are not zero")
        values = np.zeros(total, groups["live"][name].dtype)
        values[bits[:total].astype(bool)] = groups["live"][name]
        made[name] = values.reshape(shape)
    return made


def identity(meta: dict[str, Any], groups: Groups, codes: dict[str, str]) -> str:
    """The id, by the rule of the page."""
    prints = {name: [codes[name], [*a.shape], sha256(a.tobytes())] for name, a in weights(meta, groups).items()}
    thing = {name: meta[name] for name in ("kind", "contract", "model", "lineage")} | {"weights": prints}
    if meta["kind"] == "ticket":
        bits = {name: [meta["shapes"][name], sha256(a.tobytes())] for name, a in groups["mask"].items()}
        return sha256(canonical(thing | {"mask": sha256(canonical(bits).encode())}).encode())
    pruned = {name: ["U8", [*a.shape], sha256(a.tobytes())] for name, a in groups["pruned"].items()}
    return sha256(canonical(thing | {"pruned_at": pruned, "levels": meta["levels"]}).encode())


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def check(good: bool, reason: str) -> None:
    if not good:
        raise ValueError(reason)
