"""Time on a training schedule, as a value written in words: `2ep` (epochs) or `500it` (optimizer steps)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from oneticket.ground.errors import SpecError

_WORDS = re.compile(r"(\d{1,12})(ep|it)")


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """A position or a length on the schedule.

    >>> When.parse("2ep").steps(per_epoch=100)
    200
    >>> str(When.parse("500it"))
    '500it'
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: object) -> When:
        """Read `<whole number>ep` or `<whole number>it`; raises SpecError for anything else."""
        match = _WORDS.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise SpecError(f"expected a time such as '2ep' (epochs) or '500it' (steps), got {text!r}")
        return cls(count=int(match[1]), unit=match[2])

    def steps(self, per_epoch: int) -> int:
        """The number of optimizer steps, given how many make an epoch."""
        return self.count * (per_epoch if self.unit == "ep" else 1)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"
