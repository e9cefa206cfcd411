"""What it takes to begin: `import oneticket` beside `import torch`, and `oneticket --help`, as whole processes."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.row import Row, row
from benchmarks.side import ROOT

ROUNDS = 10
CODE = {
    "torch": "import torch",
    "oneticket": "import oneticket",
    "used": "import oneticket; oneticket.Ticket, oneticket.Book, oneticket.attach",
    "help": "import sys; sys.argv = ['oneticket', '--help']; from oneticket.cli.app import main; main()",
}


def seconds(code: str) -> float:
    """Of a process that runs this."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def rows(rounds: int = ROUNDS) -> list[Row]:
    """Whole processes, interpreter included, files warm."""
    taken: dict[str, list[float]] = {name: [] for name in CODE}
    for _ in range(rounds + 1):
        for name, code in CODE.items():
            taken[name].append(seconds(code))
    torch, plain, used, helped = (each[1:] for each in taken.values())  # the first round warms the files
    return [
        row("import oneticket / import torch", [a / b for a, b in zip(plain, torch, strict=True)], target="<= 1.1"),
        row(
            "import oneticket and use Ticket, Book, attach / import torch",
            [a / b for a, b in zip(used, torch, strict=True)],
            target="<= 1.1",
            note="`import oneticket` alone imports nothing heavy; this is what it comes to",
        ),
        row("oneticket --help", helped, "s", target="<= 0.5"),
        row("import torch", torch, "s"),
    ]
