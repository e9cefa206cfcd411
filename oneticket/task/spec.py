"""Which task: a name from the table, or your own by import path."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from oneticket.ground.spec import Spec
from oneticket.ground.table import Table

Kind = Literal["images", "vectors", "series", "tokens"]
"""What one input of a network is; `task/inputs` says in which shapes."""

Targets = Literal["classes", "numbers", "tokens", "given"]
"""What a task asks of the data beside inputs; `task/task` says in which shapes."""

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
