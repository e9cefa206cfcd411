"""Which task: a name from the table, or your own by import path."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from oneticket.ground.spec import Spec
from oneticket.ground.table import Table

TASKS = Table(
    kind="task",
    rows={
        "classification": "one of several classes; cross-entropy, measured by accuracy",
    },
)
"""The tasks known by name, each in one line."""


class TaskSpec(Spec):
    """What a network is trained for.

    >>> TaskSpec().name, TaskSpec(name="mine.py:task").name
    ('classification', 'mine.py:task')
    >>> TaskSpec(name="class")
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: task.name: unknown task 'class'; did you mean 'classification'? Known: \
classification; your own: 'file.py:function' or 'package.module:function'
    """

    kind: ClassVar[str] = "task"
    name: Annotated[str, TASKS] = Field(
        "classification",
        description="What is trained for: classification, or your own loss and measures as 'file.py:function'.",
    )
