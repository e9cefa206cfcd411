"""Which task: a name from the table, or your own by import path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from oneticket.ground.spec import Spec
from oneticket.ground.table import Table

Kind = Literal["images", "vectors", "series", "tokens"]
"""The kind of a network's inputs; `task/inputs` gives their shapes."""

Targets = Literal["classes", "numbers", "tokens", "given"]
"""The targets that a task needs; `task/task` gives their shapes."""

TASKS = Table(
    kind="task",
    rows={
        "classification": "one of several classes; cross-entropy, measured by accuracy",
        "regression": "numbers; mean squared error, measured by its root in their own unit, of which less is better",
        "language": "the token that follows each; cross-entropy, measured by bits per byte, of which fewer are better",
    },
)
"""The tasks known by name, each in one line."""

TARGETS: Table[Targets] = TASKS.filled({"classification": "classes", "regression": "numbers", "language": "tokens"})
"""The targets that each known task needs."""

USUAL: dict[str, Mapping[str, Any]] = {
    "language": {
        "optimizer": {"name": "adamw", "lr": 5e-3, "betas": [0.9, 0.98], "schedule": "cosine", "warmup": "200it"},
        "training": {"budget": "1000it", "batch": 16},
        "rewind": "50it",
    },
}
"""Default settings of searches and transfers for a task, which override the general ones."""


def usual(name: str) -> str:
    """The same in words; empty for a task that has no settings of its own.

    >>> usual("language")
    'adamw, lr 0.005, betas 0.9,0.98, schedule cosine, warmup 200it; budget 1000it, batch 16; rewind 50it'
    """
    return "; ".join(_words(value) for value in USUAL.get(name, {}).values() if isinstance(value, Mapping)) + "".join(
        f"; {field} {value}" for field, value in USUAL.get(name, {}).items() if not isinstance(value, Mapping)
    )


def _words(settings: Mapping[str, Any]) -> str:
    shown = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in settings.items()}
    return ", ".join(str(value) if name == "name" else f"{name} {value}" for name, value in shown.items())


class TaskSpec(Spec):
    """What a network is trained for: a loss, measures, and the targets that the data must give.
    >>> TaskSpec().name, TaskSpec(name="mine.py:task").name
    ('classification', 'mine.py:task')
    >>> TaskSpec(name="class")
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: task.name: unknown task 'class'; did you mean 'classification'? Known: \
classification, language, regression; your own: 'file.py:function' or 'package.module:function'
    """

    kind: ClassVar[str] = "task"
    name: Annotated[str, TASKS] = Field(
        "classification",
        description="What the network learns: classification, regression or language, or your own loss and measures as "
        f"'file.py:function'. Usual settings of language: {usual('language')}.",
    )
