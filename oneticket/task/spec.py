"""Which task: a name from the table, or your own by import path."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from oneticket.ground.spec import Spec, known_or_own

KNOWN: dict[str, str] = {
    "classification": "one of several classes; cross-entropy, measured by accuracy",
}
"""The tasks known by name, each in one line."""


class TaskSpec(Spec):
    """What a network is trained for.

    >>> TaskSpec().name, TaskSpec(name="mine.py:task").own
    ('classification', True)
    >>> TaskSpec(name="class")
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: task.name: unknown task 'class'; did you mean 'classification'? Known: \
classification; your own: 'file.py:function' or 'package.module:function'
    """

    kind: ClassVar[str] = "task"
    name: str = Field(
        "classification",
        description="What is trained for: classification, or your own loss and measures as 'file.py:function'.",
    )

    @property
    def own(self) -> bool:
        """Whether the name is an import path rather than a known task."""
        return ":" in self.name

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return known_or_own("task", name, KNOWN)
