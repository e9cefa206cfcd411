"""What a plan, a look and a first search take before anything is trained, as whole processes beside `import torch`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.process import Spent, first_words, in_turn, over_torch, spent
from benchmarks.row import Row, absent, row
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
    shown += [heard(words, rounds) for words in (("status", "paper"), ("study", "paper", "--dry-run"))]
    if why:
        return [*shown, absent(f"{FIRST} / import torch", why, target="<= 2.5")]
    return [*shown, over_torch(FIRST, found, FIRST, "<= 2.5"), over_torch(WHOLE, found, WHOLE, "")]


def heard(words: Sequence[str], rounds: int) -> Row:
    """When a command first says something, with an empty store and an empty cache."""
    taken = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            asked = ["-m", "oneticket", *words, "--store", f"{folder}/store"]
            taken.append(first_words(asked, cache=f"{folder}/cache"))
    what = f"oneticket {' '.join(words)}, first time: to its first words on a terminal"
    return row(what, taken, "s", target="<= 0.5", note="wall time")


def find(data: str, out: Path, folder: str, *, module: str = "oneticket") -> Spent:
    """A search of one step."""
    asked = ["find", "--data", data, *STEP, "--out", str(out), "--store", f"{folder}/store", "--device", "cpu"]
    return spent(["-m", module, *asked], cache=f"{folder}/cache")
