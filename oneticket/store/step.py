"""A step: one piece of work with an address. Equal addresses mean equal work, on any machine and in any study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneticket.ground.brief import brief
from oneticket.ground.canon import digest_of, joined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a step leaves: a JSON record and tensors by name."""

    record: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    __repr__ = brief


@dataclass(frozen=True, kw_only=True)
class Step:
    """One piece of work: its kind, its complete arguments as JSON, and the steps whose outcomes it needs.

    `file`: where a `book` or `ticket` step reads. Its arguments contain the id of the content; once that is in the
    store the file is not read again.

    >>> a = Step(kind="rewind", args={"seed": 0})
    >>> a.key == Step(kind="rewind", args={"seed": 0}).key, a.key == Step(kind="rewind", args={"seed": 1}).key
    (True, False)
    """

    kind: str
    args: Mapping[str, Any]
    needs: tuple[Step, ...] = ()
    file: Path | None = field(default=None, compare=False)

    __repr__ = brief

    @cached_property
    def key(self) -> str:
        """SHA-256 of kind, version, arguments and the keys of what it needs, as 64 hex digits."""
        needs = ",".join(f'"{need.key}"' for need in self.needs)
        return digest_of(f'["{self.kind}",{VERSIONS[self.kind]},{joined(self.args)},[{needs}]]')

    def __hash__(self) -> int:
        return hash(self.key)


# Raise a version when the same arguments come to mean other work: old outcomes are then left alone, not reused.
VERSIONS = {"book": 1, "ticket": 1, "rewind": 1, "level": 2, "transfer": 3, "consensus": 1}
