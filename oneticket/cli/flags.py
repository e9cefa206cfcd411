"""Flags made from specs: every field of every spec is one flag, so that nothing is described or checked twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter as Argument
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from cyclopts import Group, Parameter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from oneticket.ground.errors import SpecError
from oneticket.ground.spec import Spec, over, tables
from oneticket.ground.when import When
from oneticket.study.toml import toml

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One field as a flag: where it stands in the spec, and what the command line says of it.

    `repeated`: what is told of one that may be given several times; empty of others.
    """

    name: str
    path: tuple[str, ...]
    field: FieldInfo
    group: str
    required: bool
    repeated: str = ""

    @property
    def variable(self) -> str:
        """The name under which its value reaches the command's function."""
        return "__".join(self.path)

    @property
    def switch(self) -> bool:
        """Whether it is given as --name or --no-name."""
        return bool in (self.field.annotation, *get_args(self.field.annotation))

    def argument(self) -> Argument:
        """The flag as a keyword argument that cyclopts understands."""
        shown = self.field.default
        known = [] if shown in (None, (), PydanticUndefined, "") or self.switch else [f"[default: {_text(shown)}]"]
        choices = [f"[{'|'.join(map(str, options))}]"] if (options := _choices(self.field.annotation)) else []
        choices += [f"Known: {', '.join(table)}." for table in tables(self.field)]
        needed = ["[required]"] if self.required else []
        words = " ".join(filter(None, [self.field.description, self.repeated, *choices, *known, *needed]))
        meta = Parameter(
            name=f"--{self.name}",
            help=words,
            group=Group(self.group.capitalize(), sort_key=1 if self.group == "data" else 2),
            show_default=False,
            negative=None if self.switch else "",
        )
        kind: Any = bool | None if self.switch else list[str] | None if self.repeated else str | None
        return Argument(self.variable, Argument.KEYWORD_ONLY, default=None, annotation=Annotated[kind, meta])


def flags(spec: type[Spec], path: tuple[str, ...] = (), *, required: bool = True) -> Iterator[Flag]:
    """The flags of a spec, those of its inner specs among them; a `name` field takes its spec's kind as its flag."""
    for name, field in spec.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Spec):
            yield from flags(inner, (*path, name), required=required and field.is_required())
        elif not any(isinstance(one, type) and issubclass(one, Spec) for one in get_args(inner)):
            flag, repeated = (spec.kind, spec.repeated) if name == "name" else (name.replace("_", "-"), "")
            needed = required and field.is_required()
            yield Flag(name=flag, path=(*path, name), field=field, group=spec.kind, required=needed, repeated=repeated)


def collect(spec: type[Spec], given: Mapping[str, Any], *under: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping of a spec: the flags given, laid over a file, laid over what a source was trained with."""
    asked: dict[str, Any] = {}
    for flag in flags(spec):
        value = given.get(flag.variable)
        if value is not None:
            place = asked
            for part in flag.path[:-1]:
                place = place.setdefault(part, {})
            place[flag.path[-1]] = value if flag.switch or flag.repeated else _value(value, flag)
    merged: Any = {}
    for layer in (*under, asked):
        merged = over(merged, layer)
    made: dict[str, Any] = _complete(spec, merged)
    return made


def _complete(spec: type[Spec], given: Any) -> Any:
    """Add empty tables, so that what they lack is named."""
    if not isinstance(given, Mapping):
        return given
    made = dict(given)
    for name, field in spec.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Spec) and (field.is_required() or name in made):
            made[name] = _complete(inner, made.get(name, {}))
    return made


def read(spec: type[S], given: Mapping[str, Any]) -> S:
    """The spec of that mapping; a mistake is named by its flag, or by its place in the file if no flag is at fault."""
    try:
        return spec.read(given)
    except SpecError as error:
        names = {".".join((spec.kind, *flag.path)): f"--{flag.name}" for flag in flags(spec)}
        for flag in flags(spec):
            if flag.path[-1] == "name":
                names[".".join((spec.kind, *flag.path[:-1]))] = f"--{flag.name}"
        lines = []
        for line in str(error).splitlines():
            where, _, rest = line.partition(": ")
            field = where
            while field and field not in names:
                field = field.rpartition(".")[0]
            in_file = where.removeprefix(f"{spec.kind}.") + ": "
            told = f"{names[field]}: " if field and not rest.startswith("unknown field") else in_file
            lines.append(told + rest)
        raise SpecError("\n".join(lines)) from None


def from_file(path: Path | None) -> dict[str, Any]:
    """The settings in a TOML file, if one is given."""
    return {} if path is None else toml(path)


def _value(text: str, flag: Flag) -> Any:
    """The text of a flag as TOML would hold it: words stay words, numbers become numbers, commas separate."""
    kind = flag.field.annotation
    if kind is str:
        return text
    if get_origin(kind) is tuple or any(get_origin(option) is tuple for option in get_args(kind)):
        return [_plain(part.strip()) for part in text.split(",") if part.strip() not in ("", "none")]
    return _plain(text)


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _choices(kind: Any) -> list[Any]:
    """The words that a field allows, where it allows only some."""
    options = [kind, *get_args(kind)]
    return [word for option in options if get_origin(option) is Literal for word in get_args(option)]


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, str | int | float | When) else json.dumps(value)
