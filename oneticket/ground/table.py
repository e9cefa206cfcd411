"""An open table: rows known by name, and the user's own functions, named by their path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from oneticket.ground.errors import OneticketError, SpecError, unknown
from oneticket.ground.import_path import is_path, module_of, own
from oneticket.ground.own_source import renew, source_digest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

Row = TypeVar("Row", covariant=True)
Other = TypeVar("Other")


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Mapping[str, Row]):
    """Name -> row, for one kind of thing (`kind`, in a word), open for the user's own functions.

    A name without a row may be a path, `file.py:function` or `package.module:function`. Two tables of one kind have
    the same names: that of a spec's module, which needs no torch, and the one that is `filled` where the work is done.
    As an annotation, `name: Annotated[str, TABLE]`, it restricts a spec's field to its names and paths.

    `digests`: from a path, the kind and whether edited files are executed anew to the digest of the code there.

    >>> scopes = Table(kind="scope", rows={"global": "one threshold", "layerwise": "one in every layer"})
    >>> scopes.check("mine.py:scope"), scopes.is_own("mine.py:scope"), scopes.is_own("global")
    ('mine.py:scope', True, False)
    >>> scopes.check("globl")
    Traceback (most recent call last):
        ...
    ValueError: unknown scope 'globl'; did you mean 'global'? Known: global, layerwise; your own: 'file.py:function' \
or 'package.module:function'
    """

    kind: str
    rows: Mapping[str, Row]
    digests: Callable[[str, str, bool], str] = source_digest

    def __getitem__(self, name: str) -> Row:
        return self.rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Table({self.kind}: {', '.join(self)})"

    def filled(self, rows: Mapping[str, Other]) -> Table[Other]:
        """The table of the same names with other rows, such as those that do the work.

        >>> Table(kind="scope", rows={"global": "one threshold"}).filled({"global": sorted})["global"]([2, 1])
        [1, 2]
        """
        assert rows.keys() == self.rows.keys(), f"{self.kind}: {sorted(rows.keys() ^ self.rows.keys())}"
        return Table(kind=self.kind, rows=rows, digests=self.digests)

    def is_own(self, name: str) -> bool:
        """Whether the name is a path to the user's own code."""
        return name not in self.rows and is_path(name)

    def check(self, name: str) -> str:
        """The name, if it is a row's or a path; nothing is looked up and no code is run. Raises ValueError."""
        if name in self.rows or is_path(name):
            return name
        raise ValueError(
            f"{unknown(self.kind, name, self.rows)}; your own: 'file.py:function' or 'package.module:function'"
        )

    def known(self, name: str) -> str:
        """The same where no spec is validated: raises SpecError."""
        try:
            return self.check(name)
        except ValueError as error:
            raise SpecError(str(error)) from None

    def own(self, name: str) -> Callable[..., Any]:
        """The user's own function at that path, whose code is run to find it. Raises SpecError."""
        return own(name, self.kind)

    def resolve(self, name: str) -> Row:
        """The row, or the user's own function in a row's place. Raises SpecError for an unknown name.

        >>> Table(kind="criterion", rows={}).resolve("math:sqrt")(4)
        2.0
        """
        self.known(name)
        found: Row | Any = self.rows[name] if name in self.rows else self.own(name)
        return found

    def digest(self, name: str) -> str:
        """SHA-256 of the text of a user's own, for addresses; empty for a row, which is known by its name.

        An edited file is executed anew, so that what is planned is what the file says now.
        """
        return self.digests(name, self.kind, True) if self.is_own(name) else ""

    def executed(self, name: str) -> str:
        """The digest of what this process runs under that name, whatever became of the file."""
        return self.digests(name, self.kind, False) if self.is_own(name) else ""

    def module(self, name: str) -> ModuleType:
        """The module that a user's own is found in, another one after each time that an edited file was executed."""
        return module_of(name, self.kind)

    def renew(self, name: str) -> None:
        """Execute a user's edited file anew, for what is in no address."""
        if self.is_own(name):
            renew(name, self.kind)

    @contextmanager
    def blamed(self, name: str, error: type[OneticketError] = SpecError) -> Iterator[None]:
        """Report a failure within as a mistake of the user's own function; for a row it is ours, and passes unchanged.

        >>> with Table(kind="figure", rows={}).blamed("mine.py:figure"):
        ...     1 / 0
        Traceback (most recent call last):
            ...
        oneticket.ground.errors.SpecError: figure 'mine.py:figure' failed: ZeroDivisionError: division by zero
        """
        try:
            yield
        except OneticketError:
            raise
        except Exception as failed:
            if name in self.rows:
                raise
            raise error(f"{self.kind} {name!r} failed: {type(failed).__name__}: {failed}") from failed

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": [*self.rows]}, {**handler(schema), "pattern": ":"}]}
