"""What several commands take: their common flags, and those that are made from a spec."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from oneticket.cli.flags import flags
from oneticket.ground.spec import Spec

Rows = Annotated[Path | None, Parameter(help="Write one row per trained network to this .csv, .json or .parquet file.")]
Device = Annotated[str, Parameter(help="Where to compute: auto, cpu, cuda or mps.", env_var="ONETICKET_DEVICE")]
Keep = Annotated[
    str,
    Parameter(
        help="Where finished work is kept for reuse: a folder, or s3://bucket/prefix.", env_var="ONETICKET_STORE"
    ),
]
Quiet = Annotated[bool, Parameter(help="No progress, no tables.", negative="")]
KEEP = ".oneticket"


def with_flags(spec: type[Spec]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command that takes `given: dict` one keyword argument per field of the spec instead."""

    def wrap(command: Callable[..., int]) -> Callable[..., int]:
        made = {flag.variable: flag.argument() for flag in flags(spec)}
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "given"]

        def wrapped(*args: Any, **kwargs: Any) -> int:
            given = {name: kwargs.pop(name, None) for name in made}
            return command(*args, given=given, **kwargs)

        wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
        wrapped.__signature__ = inspect.Signature([*own, *made.values()])  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *made.values()]}
        return wrapped

    return wrap
