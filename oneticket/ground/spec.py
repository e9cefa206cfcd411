"""The base of all specs: frozen, typed, read from Python, TOML and flags alike (long: with its error messages)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from oneticket.ground.brief import line
from oneticket.ground.canon import Written
from oneticket.ground.errors import SpecError, unknown
from oneticket.ground.table import Table
from oneticket.ground.when import When


def _when(value: object) -> When:
    if isinstance(value, When):
        return value
    try:
        return When.parse(value)
    except SpecError as error:
        raise ValueError(str(error)) from None


Time = Annotated[When, BeforeValidator(_when), PlainSerializer(str, return_type=str)]
"""A `When` as a spec field: given and written as text."""


@dataclass(frozen=True, kw_only=True)
class Later:
    """Marks a field that a spec got after its first release: `name: Annotated[int, Later(neutral=1, since="0.2")] = 4`.

    `neutral`: the plain value at which the work is the same as before the field existed, or a function of the other
    plain fields. It never changes, whatever the default. `since`: the first version with the field.
    """

    neutral: Any
    since: str

    def at(self, others: Mapping[str, Any]) -> Any:
        """The neutral value, given these other fields."""
        given: Callable[[Mapping[str, Any]], Any] | Any = self.neutral
        return given(others) if callable(given) else given


@dataclass(frozen=True, kw_only=True, eq=False)
class Code:
    """Marks a field whose text may contain a path to the user's own code: `name: Annotated[str, Code(...)]`.

    `path`: from the field's text to the path in it, empty if it contains none. `table`: its table of names.
    """

    table: Table[Any]
    path: Callable[[str], str]


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


class _Speaking(ModelMetaclass):
    """Makes `SomeSpec(...)` raise SpecError, while an inner spec's mistakes reach the outer one with their path."""

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        try:
            return super().__call__(*args, **fields)
        except ValidationError as error:
            raise SpecError(_words(cls, error)) from None  # type: ignore[arg-type]


_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
"""What no file name may hold, or UTF-8 cannot write: bytes of a name that were no text come as such halves."""


class Spec(BaseModel, metaclass=_Speaking):
    """A frozen, validated value that specifies work. Equal specs mean equal work.

    A spec with a `name` can be given as that name alone. `plain()` is its complete JSON form; `identity()` is what
    addresses and ids hash, and `recall()` reads it back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
    kind: ClassVar[str] = "spec"
    repeated: ClassVar[str] = ""
    """The help text of its name as a flag, if it may be given several times."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) and "name" in cls.model_fields else given

    @field_validator("*")
    @classmethod
    def _writable(cls, value: Any) -> Any:
        if value is None or isinstance(value, int | float | BaseModel):  # most fields, which hold no text of their own
            return value
        for text in texts(value):
            if _UNWRITABLE.search(text):
                raise ValueError(f"expected text without a NUL that UTF-8 can write, got {short(text)}")
        return value

    @classmethod
    def read(cls, given: object) -> Self:
        """Build from a name, a mapping (of a TOML table, of flags) or a spec; raises SpecError naming the field."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SpecError(_words(cls, error)) from None

    def __repr__(self) -> str:
        """What differs from the defaults, in one short line; of a spec within, its name if that is all."""
        changed = _changed(self)
        return line(type(self).__name__, ((name, _named(value)) for name, value in changed.items()))

    __str__ = __repr__

    def plain(self) -> dict[str, Any]:
        """The complete JSON form: `read(spec.plain()) == spec`."""
        return self.model_dump(mode="json")

    def identity(self) -> Written:
        """What is hashed: the plain form without the later fields that are neutral; `recall(spec.identity()) == spec`.

        So a spec that gets a field keeps its addresses. Fields of the first release are all there, and so are specs
        within the spec, if they are its fields or tuples of them are. It is made and written once.
        """
        if "_identity" not in self.__dict__:  # where pydantic lets a frozen value keep what is found once
            self.__dict__["_identity"] = Written(self._hashed())
        known: Written = self.__dict__["_identity"]
        return known

    def _hashed(self) -> dict[str, Any]:
        inner = {name: found for name, value in self if (found := _identity(value)) is not None}
        plain = {**self.plain(), **inner}
        neutral = {name for name, later in _later(type(self)).items() if plain[name] == later.at(plain)}
        return {name: value for name, value in plain.items() if name not in neutral}

    @classmethod
    def recall(cls, given: object) -> Self:
        """Build from what was written down, by any earlier version: a later field that is not there is neutral.

        Raises SpecError naming the field, also for one that a newer version wrote.
        """
        return cls.read(_recalled(cls, given))

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again."""
        return type(self).read({**dict(self), **changes})


def texts(value: object) -> Iterator[str]:
    """The texts in a plain value, names of mappings among them, however deep."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            left += [*one, *one.values()]
        elif isinstance(one, list | tuple):
            left += one


def _identity(value: object) -> Any:
    """The identity of a spec, or of each in a tuple of them; None of anything else."""
    if isinstance(value, tuple) and value and all(isinstance(one, Spec) for one in value):
        return [one.identity() for one in value]
    return value.identity() if isinstance(value, Spec) else None


def _changed(spec: Spec) -> dict[str, Any]:
    """The fields that were given and differ from their defaults."""
    known, given = type(spec).model_fields, spec.model_fields_set
    return {n: value for n, value in spec if n in given and value != known[n].get_default(call_default_factory=True)}


def _named(value: object) -> object:
    return value.name if isinstance(value, Spec) and [*_changed(value)] == ["name"] else value  # type: ignore[attr-defined]


@lru_cache
def _later(cls: type[BaseModel]) -> dict[str, Later]:
    """The fields of a spec that were added later."""
    fields = cls.model_fields.items()
    return {name: mark for name, field in fields for mark in field.metadata if isinstance(mark, Later)}


def _recalled(cls: type[BaseModel], given: object) -> object:
    """What was written down, with the neutral values of the fields that it lacks."""
    if not isinstance(given, Mapping):
        return given
    lacking = {name: later.at(given) for name, later in _later(cls).items() if name not in given}
    inner = {
        name: [_recalled(kind, one) for one in was] if isinstance(was := given[name], list) else _recalled(kind, was)
        for name, field in cls.model_fields.items()
        for kind in (field.annotation, *get_args(field.annotation))
        if name in given and isinstance(kind, type) and issubclass(kind, Spec)
    }
    return {**lacking, **given, **inner}


def tables(field: FieldInfo) -> Iterator[Table[Any]]:
    """The open tables that the names in a field are rows of; of most fields none."""
    left: list[Any] = [field.annotation, *field.metadata]
    while left:
        one = left.pop()
        if isinstance(one, Table):
            yield one
        else:
            left += get_args(one)


def own_code(spec: Spec) -> tuple[tuple[Table[Any], str], ...]:
    """Each path to the user's own code in a spec or a spec within it, with its table of names; found once.

    >>> class Search(Spec):
    ...     criterion: Annotated[str, Table(kind="criterion", rows={"magnitude": "the smallest"})] = "magnitude"
    >>> [(table.kind, path) for table, path in own_code(Search(criterion="mine.py:score"))]
    [('criterion', 'mine.py:score')]
    """
    if "_own_code" not in spec.__dict__:
        spec.__dict__["_own_code"] = tuple(_own_code(spec))
    known: tuple[tuple[Table[Any], str], ...] = spec.__dict__["_own_code"]
    return known


def _own_code(spec: Spec) -> Iterator[tuple[Table[Any], str]]:
    for name, places, marks in _coded(type(spec)):
        value = getattr(spec, name)
        named = value if isinstance(value, tuple) else (value,)
        for one in named:
            if isinstance(one, Spec):
                yield from own_code(one)
        for table in places:
            yield from ((table, one) for one in named if isinstance(one, str) and table.is_own(one))
        for mark in marks:
            if path := mark.path(value):
                yield mark.table, path


@lru_cache
def _coded(cls: type[Spec]) -> tuple[tuple[str, tuple[Table[Any], ...], tuple[Code, ...]], ...]:
    """Each field with the open tables that its names stand in, and the marks of other code in it."""
    return tuple(
        (name, tuple(tables(field)), tuple(mark for mark in field.metadata if isinstance(mark, Code)))
        for name, field in cls.model_fields.items()
    )


def over(below: Any, above: Any) -> Any:
    """One plain setting over another, table by table. A name alone stands for a table.

    Another optimizer or model does not inherit the settings of the one it replaces, except for the schedule.
    """
    if isinstance(above, Mapping) and isinstance(below, str):
        below = {"name": below}
    if isinstance(below, Mapping) and isinstance(above, str):
        above = {"name": above}
    if isinstance(above, Mapping) and not isinstance(below, Mapping):
        return below  # a mistake, which validation is to find
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if "name" in above and below.get("name", above["name"]) != above["name"]:
        below = {name: below[name] for name in ("schedule", "milestones", "gamma", "warmup") if name in below}
    return {**below, **{name: over(below[name], value) if name in below else value for name, value in above.items()}}


EXPECTED = {
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
}
"""What is said of a value that is no number."""

MOST_MISTAKES = 20
"""How many mistakes of one spec are listed."""


def _words(cls: type[Spec], error: ValidationError) -> str:
    """Every mistake on a line of its own: the field, what came, what is allowed; of very many the first."""
    lines = [_mistake(cls, mistake)[:1000] for mistake in error.errors()[:MOST_MISTAKES]]
    more = error.error_count() - len(lines)
    return "\n".join([*lines, f"{cls.kind}: {more} more mistakes"] if more else lines)


def _mistake(cls: type[Spec], mistake: Mapping[str, Any]) -> str:
    path = [str(part) for part in mistake["loc"] if not str(part).startswith("function-")]
    if mistake["type"] == "extra_forbidden":
        return f"{'.'.join([cls.kind, *path[:-1]])}: {unknown('field', path[-1], _fields(cls, path[:-1]))}"
    if mistake["type"] == "missing" and mistake["loc"] and isinstance(mistake["loc"][-1], int):
        # A tuple of fixed length is too short: the mistake is that of the whole value.
        return f"{'.'.join([cls.kind, *path[:-1]])}: {_too_few(cls, path[:-1])}, got {short(mistake['input'])}"
    reason = EXPECTED.get(mistake["type"], mistake["msg"])
    reason = reason.removeprefix("Value error, ").replace("a valid tuple", "a list")
    shown = "" if mistake["type"] in ("missing", "value_error") else f", got {short(mistake['input'])}"
    return f"{'.'.join([cls.kind, *path])}: {reason[:1].lower()}{reason[1:]}{shown}"


def _fields(cls: type[BaseModel], path: list[str]) -> list[str]:
    """The fields of the spec at that path."""
    return list(_model(cls, path).model_fields)


def _model(cls: type[BaseModel], path: list[str]) -> type[BaseModel]:
    """The spec at that path, through tables of named specs too."""
    parts = iter(path)
    for part in parts:
        field = cls.model_fields.get(part)
        inner = field.annotation if field else None
        if get_origin(inner) is dict:
            inner = get_args(inner)[1]
            next(parts, None)  # its name in the table
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        cls = inner
    return cls


def _too_few(cls: type[BaseModel], path: list[str]) -> str:
    """How many values the field at that path takes, with an example if it has one."""
    *outer, name = path
    field = _model(cls, outer).model_fields.get(name)
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    count = next((len(get_args(kind)) for kind in kinds if get_origin(kind) is tuple), None)
    example = f", such as {field.examples[0]}" if field and field.examples else ""
    return f"expected {count or 'more'} values{example}"


def short(value: object) -> str:
    """A value that was given, in at most 80 characters.

    >>> short("x" * 100)[-10:]
    'xxxxxx...'
    """
    try:
        text = repr(dict(value) if isinstance(value, Mapping) else value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or brackets thousands deep
        text = f"a {type(value).__name__} too long to be shown"
    return text if len(text) <= 80 else text[:77] + "..."
