"""What a plan, a look and a first search take before anything is trained, as whole processes beside `import torch`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.process import Spent, in_turn, over_torch, spent
from benchmarks.row import Row, absent
from benchmarks.side import lacking

ROUNDS = 5
TARGETS = {
    "oneticket status paper, first time": "<= 2",
    "oneticket study paper --dry-run, first time": "<= 3",
    "oneticket show, a ticket with scores": "<= 0.2",
    "oneticket show, a book": "<= 0.2",
}
FIRST = "oneticket find on Fashion-MNIST, nothing cached, to its first training step"
WHOLE = "oneticket find on Fashion-MNIST, nothing cached, one step, its evaluation and its files"
STEP = ("--model", "lenet-300-100", "--budget", "1it", "--rewind", "0it", "--levels", "0", "--quiet")


def rows(rounds: int = ROUNDS) -> list[Row]:
    """Each of them with an empty store and an empty cache, interpreter included, files warm."""
    with tempfile.TemporaryDirectory() as place:
        book, ticket = Path(place, "book"), "lenet-fashion_mnist"
        find("digits:a", book, place)

        def fresh(*words: str) -> Spent:
            with tempfile.TemporaryDirectory() as folder:
                return spent(["-m", "oneticket", *words, "--store", f"{folder}/store"], cache=f"{folder}/cache")

        def anew(module: str) -> Spent:
            with tempfile.TemporaryDirectory() as folder:
                return find("fashion_mnist", Path(folder, "book"), folder, module=module)

        status, dry, scores, levels = TARGETS
        sides = {
            status: lambda: fresh("status", "paper"),
            dry: lambda: fresh("study", "paper", "--dry-run"),
            scores: lambda: spent(["-m", "oneticket", "show", ticket]),
            levels: lambda: spent(["-m", "oneticket", "show", str(book)]),
        }
        why = lacking()
        searches = {FIRST: lambda: anew("benchmarks.first"), WHOLE: lambda: anew("oneticket")}
        found = in_turn(sides if why else {**sides, **searches}, rounds)
    shown = [over_torch(name, found, name, target) for name, target in TARGETS.items()]
    if why:
        return [*shown, absent(f"{FIRST} / import torch", why, target="<= 2.5")]
    return [*shown, over_torch(FIRST, found, FIRST, "<= 2.5"), over_torch(WHOLE, found, WHOLE, "")]


def find(data: str, out: Path, folder: str, *, module: str = "oneticket") -> Spent:
    """A search of one step."""
    asked = ["find", "--data", data, *STEP, "--out", str(out), "--store", f"{folder}/store", "--device", "cpu"]
    return spent(["-m", module, *asked], cache=f"{folder}/cache")
