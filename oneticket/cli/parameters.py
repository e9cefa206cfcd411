"""What several commands take: their common flags."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from oneticket.ground.errors import SpecError

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
            raise ValueError("It contains a NUL character, which no name can contain.")
        lengths = [len(os.fsencode(part)) for part in each.parts] if isinstance(each, Path) else []
        if max(lengths, default=0) > NAME_MAX:
            raise ValueError(f"A file or folder has a name of at most {NAME_MAX} bytes, one here has {max(lengths)}.")


def local(_type: Any, value: str) -> None:
    """`sound` for a text that is a path unless it is a URL."""
    sound(None, value if "://" in value else Path(value))


SpecFile = Annotated[
    Path | None, Parameter(help="A TOML file with the same settings; command-line flags override the file.")
]
Rows = Annotated[Path | None, Parameter(help="Write one row per trained network to this .csv, .json or .parquet file.")]
Keep = Annotated[
    str,
    Parameter(
        help="Folder or s3://bucket/prefix where finished work is kept and reused.",
        env_var="ONETICKET_STORE",
        metavar="FOLDER|URL",
        validator=local,
    ),
]
Quiet = Annotated[bool, Parameter(help="Print no progress and no tables.", negative="")]
Track = Annotated[
    list[str] | None,
    Parameter(
        help="Also log to tensorboard:FOLDER, mlflow:FOLDER, wandb:FOLDER or your own file.py:function:WHERE. May be "
        "repeated.",
        negative="",
        metavar="TRACKER...",
    ),
]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.", negative="")]
KEEP = ".oneticket"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class How:
    """Where and how to compute. None of it is part of what is asked for: results differ by rounding alone."""

    device: Annotated[
        str,
        Parameter(help="Where to compute: auto, cpu, cuda or mps.", env_var="ONETICKET_DEVICE", metavar="NAME"),
    ] = "auto"
    threads: Annotated[
        int | None,
        Parameter(
            help="CPU threads of one training; equal numbers give equal bits. Default for a study: the number in its "
            "file, or 1; for a single search or transfer: all cores."
        ),
    ] = None
    together: Annotated[
        int,
        Parameter(help="Train up to this many similar networks as one program; meant for small networks on a GPU."),
    ] = 1
    compact: Annotated[
        bool,
        Parameter(help="Skip dead units, and compute with remaining weights only where that is faster."),
    ] = True
    compile: Annotated[
        Literal["default", "reduce-overhead", "max-autotune"] | None,
        Parameter(help="Compile networks with torch.compile in this mode; layers then stay masked."),
    ] = None

    def context(self, **more: Any) -> RunContext:
        """The run context they describe; SpecError for a missing device."""
        from oneticket.lottery.run_context import RunContext, device

        try:
            chosen = device(self.device)
        except SpecError as error:
            raise SpecError(f"--{error}") from None
        return RunContext(device=chosen, compact=self.compact, compiled=self.compile, threads=self.threads, **more)


HOW = How()
