"""What several commands take: their common flags, and those that are made from a spec."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from oneticket.cli.flags import flags
from oneticket.ground.spec import Spec

if TYPE_CHECKING:
    from oneticket.lottery.run_context import RunContext

NAME_MAX = 255
"""Bytes of one name in a path that filesystems allow."""


def sound(_type: Any, value: Any) -> None:
    """Refuse what nothing on a disk can be called; the validator of every argument, whose name cyclopts adds.

    Raises ValueError for a NUL anywhere, and for a path with a name that is too long.
    """
    for each in value if isinstance(value, list | tuple) else [value]:
        if "\0" in str(each):
            raise ValueError("It holds a NUL, which no name can.")
        lengths = [len(os.fsencode(part)) for part in each.parts] if isinstance(each, Path) else []
        if max(lengths, default=0) > NAME_MAX:
            raise ValueError(f"A file or folder has a name of at most {NAME_MAX} bytes, one here has {max(lengths)}.")


def local(_type: Any, value: str) -> None:
    """`sound` for a text that is a path unless it is a URL."""
    sound(None, value if "://" in value else Path(value))


Rows = Annotated[Path | None, Parameter(help="Write one row per trained network to this .csv, .json or .parquet file.")]
Keep = Annotated[
    str,
    Parameter(
        help="Where finished work is kept for reuse: a folder, or s3://bucket/prefix.",
        env_var="ONETICKET_STORE",
        validator=local,
    ),
]
Quiet = Annotated[bool, Parameter(help="No progress, no tables.", negative="")]
KEEP = ".oneticket"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class How:
    """Where and how to compute. None of it is part of what is asked for: results differ by rounding alone."""

    device: Annotated[str, Parameter(help="Where to compute: auto, cpu, cuda or mps.", env_var="ONETICKET_DEVICE")] = (
        "auto"
    )
    threads: Annotated[
        int | None,
        Parameter(
            help="CPU threads of one training; equal numbers give equal bits. Unless given, a study takes what its "
            "file says or 1, and a single search or transfer all cores."
        ),
    ] = None
    together: Annotated[
        int,
        Parameter(
            help="Train up to so many alike networks as one program in this process: meant for small ones on a GPU."
        ),
    ] = 1
    compact: Annotated[
        bool,
        Parameter(help="Leave out what cannot reach the loss, and compute with living weights alone where that pays."),
    ] = True
    compile: Annotated[
        Literal["default", "reduce-overhead", "max-autotune"] | None,
        Parameter(help="Compile networks by torch.compile, in this mode; layers then stay masked."),
    ] = None

    def context(self, **more: Any) -> RunContext:
        """The place they describe; SpecError for a device that is not there."""
        from oneticket.lottery.run_context import RunContext, device

        return RunContext(
            device=device(self.device), compact=self.compact, compiled=self.compile, threads=self.threads, **more
        )


HOW = How()


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
