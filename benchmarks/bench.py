"""`make bench`: every benchmark, each in a process of its own, one table, and the page `results/speed.md`.

`python -m benchmarks.bench [PART ...]` measures these parts (all unless given) and puts what each found into
`results/speed/PART.json`, as soon as it is there; the page is made from all that lie there. `--resume` leaves out what
was measured less than so many hours ago, `--page` measures nothing.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.page import HEADER, KEPT, ROOT, cells, kept, page
from benchmarks.row import value
from benchmarks.side import ENVIRONMENT

PARTS = (
    *(
        "step",
        "guard",
        "own_loop",
        "small",
        "shrunk",
        "whole",
        "replicates",
        "levels",
        "deep",
        "gpu",
        "memory",
        "selection",
        "imports",
        "where",
    ),
    *("together", "engines", "export", "planning", "stores", "demo"),
)
"""The modules beside this one that have `rows()`, in the order of the page."""


def machine() -> str:
    """The hardware and the versions, in words."""
    import numba
    import torch

    from oneticket import __version__

    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    named = re.search(r"model name\s*: (.+)", said)
    kind = re.search(r"cpu family\s*: (\d+)\s+model\s*: (\d+)", said)  # names alone do not tell generations apart
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    last, edited = (git(*asked, "--", "oneticket", "benchmarks") for asked in (["log", "-1", "--format=%h"], ["diff"]))
    versions = f"torch {torch.__version__}, numba {numba.__version__}, Python {platform.python_version()}"
    cpu = named[1].strip() if named else platform.machine()
    cpu += f" (family {kind[1]}, model {kind[2]})" if kind else ""
    return f"{os.cpu_count()} cores of {cpu}{gpu}; {versions}, oneticket {__version__} {last}{'+' * bool(edited)}"


def git(*asked: str) -> str:
    """What git says; nothing where it knows nothing of this."""
    return subprocess.run(["git", *asked], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def about(part: str) -> str:
    """The first line of its file."""
    text = (Path(__file__).parent / f"{part}.py").read_text()
    return (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]


def measure(part: str) -> None:
    """Measure a part in this process, and keep what was found."""
    began = time.monotonic()
    found = importlib.import_module(f"benchmarks.{part}").rows()
    if all(value(each) is None for each in found) and (KEPT / f"{part}.json").exists():
        return  # what cannot be measured here was measured elsewhere, and says where
    when = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine()}
    measured = {"part": part, **when, "seconds": round(time.monotonic() - began), "rows": found}
    KEPT.mkdir(parents=True, exist_ok=True)
    whole = KEPT / f"{part}.json.part"
    whole.write_text(json.dumps(measured, indent=1) + "\n")
    whole.replace(KEPT / f"{part}.json")


def main() -> int:
    """Measure what is asked for, print one table, write the page; 1 if a part failed."""
    flags = argparse.ArgumentParser(description="Measure how fast oneticket is, beside the floor and the usual stack.")
    flags.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}")
    flags.add_argument("--resume", type=float, metavar="HOURS", help="leave out what was measured since")
    flags.add_argument("--page", action="store_true", help="only write the page")
    asked = flags.parse_args()
    console, failed = Console(stderr=True, highlight=False), []
    for part in () if asked.page else asked.parts or PARTS:
        file = KEPT / f"{part}.json"
        if asked.resume and file.exists() and time.time() - file.stat().st_mtime < 3600 * asked.resume:
            console.print(f"{part}: as measured before")
            continue
        began = time.monotonic()
        code = f"from benchmarks.bench import measure; measure({part!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, check=False)
        failed += [part] if done.returncode else []
        console.print(f"{part}: {'failed' if done.returncode else 'measured'} in {time.monotonic() - began:.0f} s")
    parts = kept(PARTS)
    page(parts, {part: about(part) for part in PARTS})
    for name, part in parts.items():
        shown = Table(*HEADER[:-1], title=f"{name}, {part['date']}", title_justify="left", min_width=100)
        for found in part["rows"]:
            shown.add_row(*cells(found)[:-1])
        Console().print(shown)
    console.print("results/speed.md is written" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
