"""Flags made from specs: every field of every spec is one flag, so that nothing is described or checked twice."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter as Argument
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from cyclopts import Group, Parameter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from oneticket.cli.mistakes import needs
from oneticket.ground.errors import OneticketError, SpecError
from oneticket.ground.spec import Spec, over, tables
from oneticket.ground.when import When
from oneticket.study.spec import FROM_SOURCE
from oneticket.study.toml import located, toml

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One field as a flag: its path in the spec, and its help text.

    `repeated`: the help text of a flag that may be given several times; empty for others.
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

    @property
    def value(self) -> str:
        """What stands for its value in the help: INT, FLOAT, TIME, NAME and so on; several are joined by commas."""
        if self.path[-1] == "name":
            return self.group.upper()
        options = [kind for kind in (self.field.annotation, *get_args(self.field.annotation)) if kind is not NoneType]
        for kind in options:
            if get_origin(kind) is tuple:
                inner = get_args(kind)
                word = _value_word(inner[0], self.field)
                return f"{word},..." if inner[-1] is Ellipsis else ",".join([word] * len(inner))
        return next((word for kind in options if (word := _value_word(kind, self.field)) != "TEXT"), "TEXT")

    def argument(self, *, grouped: bool = True, starred: bool = False) -> Argument:
        """The flag as a keyword argument that cyclopts understands; in a group of its spec, or with all others.

        `starred`: shown as required. Where it is parsed it is not, since a file of settings may give it.
        """
        shown = self.field.default
        known = [] if shown in (None, (), PydanticUndefined, "") or self.switch else [f"[default: {_text(shown)}]"]
        if self.path[0] == "transfer" and self.path[1] in FROM_SOURCE:
            known = ["[default: as the source]"]
        choices = [f"[{'|'.join(map(str, options))}]"] if (options := _choices(self.field.annotation)) else []
        choices += [f"Known: {', '.join(table)}." for table in tables(self.field)]
        needed = ["[required]"] if self.required and not starred else []
        words = " ".join(filter(None, [self.field.description, self.repeated, *choices, *known, *needed]))
        group = Group(self.group.capitalize(), sort_key=1 if self.group == "data" else 2)
        meta = Parameter(
            name=f"--{self.name}",
            help=words,
            group=group if grouped else "Parameters",
            show_default=False,
            required=(self.required and starred) or None,
            metavar=None if self.switch else self.value,
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


def read(spec: type[S], given: Mapping[str, Any], *, flagged: Mapping[str, Any], file: Path | None = None) -> S:
    """The spec of that mapping.

    A mistake is named by its flag; one of `file` that no flag (`flagged`) overrides, by its line in the file.
    """
    try:
        return spec.read(given)
    except SpecError as error:
        raise SpecError("\n".join(_error_line(spec, line, flagged, file) for line in str(error).splitlines())) from None


def _error_line(spec: type[Spec], line: str, flagged: Mapping[str, Any], file: Path | None) -> str:
    """A mistake with where it was made."""
    where, _, rest = line.partition(": ")
    path = tuple(where.removeprefix(spec.kind).removeprefix(".").split(".")) if where != spec.kind else ()
    made = [flag for flag in flags(spec) if _names(flag, path)]
    flag = max(made, key=lambda one: len(one.path), default=None)
    if file is not None and (flag is None or flagged.get(flag.variable) is None):
        filed = from_file(file)
        if flag is None or within(filed, flag.path):
            return located(file, path, f"{'.'.join(path) or spec.kind}: {rest}")
    unnamed = flag is None or rest.startswith("unknown field")
    return f"{'.'.join(path) or spec.kind if unnamed or flag is None else f'--{flag.name}'}: {rest}"


def as_options(spec: type[Spec], words: str, *, flagged: Mapping[str, Any], file: Path | None = None) -> str:
    """The words of a mistake with options in place of settings: `scope = "layerwise"` is `--scope layerwise`.

    Settings that stand in `file`, and that no flag overrides, stay as they are written there.
    """
    lines = []
    for line in words.splitlines():
        where, _, rest = line.partition(": ")
        said = SETTING.sub(lambda found: _as_option(spec, found, flagged, file), rest or line)
        if rest and re.fullmatch(rf"({'|'.join(spec.model_fields)})(\.\w+)+", where):
            told = _error_line(spec, f"{spec.kind}.{where}: {said}", flagged, file)
            # What begins with an option needs no other name.
            said = said if said.startswith("`--") and told.startswith(where) else told
        elif rest:
            said = f"{where}: {said}"
        lines.append(said)
    return "\n".join(lines)


def _as_option(spec: type[Spec], found: re.Match[str], flagged: Mapping[str, Any], file: Path | None) -> str:
    path = tuple(found["path"].split("."))
    named = (flag for flag in flags(spec) if path in (flag.path[-len(path) :], (flag.name.replace("-", "_"),)))
    flag = next(named, None)
    if flag is None or (flagged.get(flag.variable) is None and within(from_file(file), flag.path)):
        return found[0]
    return f"`--{flag.name} {found['value']}`"


def _names(flag: Flag, path: tuple[str, ...]) -> bool:
    """Whether a mistake at that path concerns the flag's value; a mistake of a whole spec concerns its name."""
    return path[: len(flag.path)] == flag.path or (flag.path[-1] == "name" and path == flag.path[:-1])


def within(table: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Whether a setting is given in a table of tables; a name alone, or several, stand for a table."""
    inner: Any = table
    for part in path:
        if isinstance(inner, str | list):
            return part == "name"
        if not isinstance(inner, Mapping) or part not in inner:
            return False
        inner = inner[part]
    return True


def from_file(path: Path | None) -> dict[str, Any]:
    """The settings in a TOML file, if one is given."""
    return {} if path is None else toml(path)


def _value(text: str, flag: Flag) -> Any:
    """The text of a flag as TOML would hold it: words stay words, numbers become numbers, commas separate."""
    kind = flag.field.annotation
    if kind is str:
        return text
    if get_origin(kind) is tuple or any(get_origin(option) is tuple for option in get_args(kind)):
        return [_plain(part.strip()) for part in text.split(",") if part.strip()] if text.strip() != "none" else []
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


def _value_word(kind: Any, field: FieldInfo) -> str:
    """The word for one value of that kind."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind in WORDS:
        return WORDS[kind]
    if get_origin(kind) is Literal:
        return "CHOICE"
    if get_origin(kind) is dict:
        return "JSON"
    return "NAME" if next(tables(field), None) is not None else "TEXT"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, str | int | float | When) else json.dumps(value)


SETTING = re.compile(r'`(?P<path>[a-z_.]+) = (?P<quote>"?)(?P<value>[^`"]*)(?P=quote)`')
"""A setting in a message, as a file of settings would have it."""

WORDS: Mapping[Any, str] = {int: "INT", float: "FLOAT", When: "TIME"}
"""What stands for a value in the help, by its kind."""


def with_flags(
    spec: type[Spec], *, grouped: bool = True, starred: bool = False
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command that takes `given: dict` one keyword argument per field of the spec instead.

    Those that are required stand in `lacking(arguments)`, a function from arguments to the flags that are neither
    given nor in the file of `spec`.
    """

    def wrap(command: Callable[..., int]) -> Callable[..., int]:
        made = {flag.variable: flag.argument(grouped=grouped, starred=starred) for flag in flags(spec)}
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]

        def lacking(arguments: Mapping[str, Any]) -> list[str]:
            filed = from_file(arguments.get("spec"))
            asked = [flag for flag in flags(spec) if flag.required and arguments.get(flag.variable) is None]
            return [f"--{flag.name}" for flag in asked if not within(filed, flag.path)]

        def wrapped(*args: Any, **kwargs: Any) -> int:
            if absent := lacking(kwargs):
                raise SpecError(needs(command.__name__, absent))
            given = {name: kwargs.pop(name, None) for name in made}
            try:
                return command(*args, given=given, **kwargs)
            except OneticketError as error:
                error.args = (as_options(spec, str(error), flagged=given, file=kwargs.get("spec")),)
                raise

        wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
        wrapped.lacking = lacking  # type: ignore[attr-defined]
        wrapped.__signature__ = inspect.Signature([*own, *made.values()])  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *made.values()]}
        return wrapped

    return wrap
