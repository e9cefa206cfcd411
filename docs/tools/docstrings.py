"""Docstrings for autodoc: ours are plain text with single backticks, `- ` lists, indented formulas and doctests."""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, is_dataclass
from dataclasses import fields as value_fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sphinx.application import Sphinx

from oneticket.ground.spec import Spec

_CODE = re.compile(r"(`+)(.+?)\1")


def plain(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Make the lines mean to reST what they mean to a reader; a spec gets its fields, which are described in place."""
    del app, what, name, options
    lines[:] = marked(lines)
    if isinstance(thing, type) and issubclass(thing, Spec) and thing is not Spec:
        lines += ["", *fields(thing), ""]


def marked(lines: list[str]) -> list[str]:
    """Backticks as literals, `*` and `|` as themselves, tables and deeper indented text kept as they are.

    >>> marked(["`Book`s of a*b", "", "    w <- w * m", "", "end"])
    ['``Book``\\\\ s of a\\\\*b', '', '::', '', '    w <- w * m', '', 'end']
    """
    made: list[str] = []
    doctest = kept = listed = False
    for line in lines:
        text, indent = line.strip(), len(line) - len(line.lstrip())
        begins = not made or not made[-1]
        doctest = bool(text) and (doctest or text.startswith(">>> "))
        listed = text.startswith("- ") or (listed and (not text or indent > 0))
        here = bool(text) and not doctest and ((begins and text.startswith("|")) or (indent >= 4 and not listed))
        if here and begins and not kept:
            made += ["::", ""]
        kept = here or (kept and (not text or indent > 0 or text.startswith("|")))
        shift = "    " if kept and text and indent == 0 else ""
        made.append(shift + line if doctest or kept else _inline(line))
    return made


def fields(spec: type[Spec]) -> list[str]:
    """One line for each field of a spec: its type, what it is, and its default."""
    made = []
    for name, field in spec.model_fields.items():
        kind = field.annotation
        usual = field.get_default(call_default_factory=True)
        shown = repr(usual) if isinstance(usual, str | None) else str(usual)
        given = "" if isinstance(usual, Spec) else f" Unless given: ``{shown}``."
        said = f": {_inline(field.description)}" if field.description else "."
        made.append(f"- ``{name}`` (``{typed(kind)}``){said}" + (" Required." if field.is_required() else given))
    return made


def typed(kind: Any) -> str:
    """A type in short words, without what only checks its values.

    >>> typed(tuple[Annotated[int, "above 0"], ...] | Literal["all"] | None)
    "tuple[int, ...] | 'all' | None"
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return typed(args[0])
    if origin in (Union, UnionType, Literal):
        return " | ".join(repr(arg) if origin is Literal else typed(arg) for arg in args)
    if kind in (Ellipsis, None, NoneType):
        return "..." if kind is Ellipsis else "None"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{name}[{', '.join(map(typed, args))}]" if args else name


def short(app: Sphinx, what: str, name: str, thing: object, *rest: object) -> tuple[str, str | None] | None:
    """A spec's fields are listed below it, with their types; a value's are those of its class as they are written."""
    del app, what, name, rest
    if isinstance(thing, type) and issubclass(thing, Spec):
        return "(**fields)", None
    if isinstance(thing, type) and is_dataclass(thing):
        made = [f"{f.name}: {f.type}{_default(f)}" for f in value_fields(thing) if f.init]
        return f"(*, {', '.join(made)})", None
    return None


def _default(field: Field[Any]) -> str:
    if field.default is field.default_factory is MISSING:
        return ""
    plain = isinstance(field.default, bool | int | float | str | None | tuple)
    return f" = {field.default!r}" if plain else " = ..."


def _inline(line: str) -> str:
    made, at = "", 0
    for match in _CODE.finditer(line):
        glued = line[match.end() : match.end() + 1]
        made += _plain(line[at : match.start()]) + f"``{match[2]}``" + ("\\ " if glued.isalnum() else "")
        at = match.end()
    return made + _plain(line[at:])


def _plain(text: str) -> str:
    return re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", plain)
    app.connect("autodoc-process-signature", short)
    return {"parallel_read_safe": True}
