"""Make the tickets that ship, and their page: `python results/shipped.py FOLDER [search|carry|page] [NAME ...]`.

1. `search`: replicates 0 to n - 1 of one search, by `oneticket find`.
2. `carry`: the level by `chosen_level`, of replicate 0, not of the best replicate; then that very ticket on sets
   that it did not see, by `oneticket transfer`, beside the dense network, the target's own ticket and controls.
3. `page`: into the package with it, and `results/zoo` written anew.

Without a word all three. Everything that is done lies in FOLDER/store: run it again, and it goes on. One thread.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from page import table_lines

from oneticket.ground.metric import METRICS
from oneticket.publish.card_scores import card_scores
from oneticket.publish.shipped import ZOO
from oneticket.report.export import read_rows, write_rows
from oneticket.stats.equivalence import Equivalence, non_inferior
from oneticket.stats.table import ReportTable
from oneticket.stats.words import number, percent, within
from oneticket.ticket.describe import data, network
from oneticket.ticket.ticket import Ticket

ACCURACY = METRICS["accuracy"]
CONTROLS = "own,reinit,layerwise-random"
MARGIN = 0.01
"""Half of what counts as no difference elsewhere: who takes a ticket wants next to nothing lost."""
SPARSEST = 0.1
"""No ticket ships below this density, whatever holds on its own data: a target may be harder than the source."""
PAGE = Path(__file__).parent / "zoo"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one shipped ticket is made: `find`'s flags, `searches` replicates of `levels` levels, and `transfer`'s flags.

    `training`: flags of all its transfers; `replicates`: how often the ticket is trained on each target.
    """

    find: str
    searches: int
    levels: int
    targets: tuple[str, ...]
    training: str
    replicates: int


def search(name: str, folder: Path) -> None:
    """The searches, into `folder/find/NAME`."""
    recipe = RECIPES[name]
    oneticket(
        f"find {recipe.find} --replicates {recipe.searches} --levels {recipe.levels} --out {folder / 'find' / name}",
        folder,
    )


def carry(name: str, folder: Path) -> None:
    """The chosen level as `folder/NAME.safetensors`, with the scores of its transfers in it; rows beside it."""
    recipe, file = RECIPES[name], folder / f"{name}.safetensors"
    level = chosen_level(read_rows(folder / "find" / name / "rows.csv"))
    if level == 0:
        raise SystemExit(f"{name}: no level is shown to hold; nothing to ship")
    oneticket(f"pull {folder / 'find' / name / 'book-0.safetensors'} --level {level} --out {file}", folder)
    there = []
    for target in recipe.targets:
        rows = rows_of(name, target, folder)
        asked = f"{target} {recipe.training} --controls {CONTROLS} --replicates {recipe.replicates}"
        oneticket(f"transfer {file} --data {asked} --rows {rows}", folder)
        there.append(str(rows))
    oneticket(f"score {file} {' '.join(there)}", folder)


def chosen_level(rows: Sequence[Mapping[str, Any]]) -> int:
    """The last level, from dense to sparse, before the first that is not shown to be non-inferior to the dense one.

    The dense one is level 0 of the same replicate. Each is tested at 5 % and none after one that failed (a fixed
    sequence), so that the chance of shipping a level that lost more than the margin is 5 % in all. None below
    `SPARSEST` is taken.
    """
    held, density = 0, {row["level"]: row["density"] for row in rows}
    for level, test in sorted(tests(rows).items()):
        if not test.shown or density[level] < SPARSEST:
            break
        held = level
    return held


def tests(rows: Sequence[Mapping[str, Any]]) -> dict[int, Equivalence]:
    """Level -> whether its tickets are at most the margin below the dense network, on the data they were found on."""
    scores: dict[int, dict[int, float]] = {}
    for row in rows:
        scores.setdefault(row["level"], {})[row["replicate"]] = row["score"]
    return {level: non_inferior(scores[level], scores[0], MARGIN) for level in scores if level}


def rows_of(name: str, target: str, folder: Path) -> Path:
    """Where the rows of a ticket's transfers to a target lie."""
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    return folder / "rows" / f"{name}-on-{target.split()[0].replace(':', '-').replace('/', '-')}.csv"


def oneticket(words: str, folder: Path) -> None:
    """Run the command line as a user would, over the folder's store, and show what is run."""
    flags = " --threads 1 --quiet" if words.split()[0] in ("find", "transfer") else ""
    sys.stdout.write(f"oneticket {words}{flags}\n")
    sys.stdout.flush()
    where = {**os.environ, "ONETICKET_STORE": str(folder / "store")}
    done = subprocess.run([sys.executable, "-m", "oneticket", *shlex.split(words + flags)], env=where, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def page(names: Iterable[str], folder: Path) -> None:
    """Put the tickets into the package, and write `results/zoo`: rows.csv, and README.md below the words kept there."""
    words = (PAGE / "words.md").read_text().strip()
    lines, rows = [words, ""], []
    for path in ZOO.glob("*.safetensors"):
        path.unlink()
    for name in names:
        shutil.copy(folder / f"{name}.safetensors", ZOO)
        searched = read_rows(folder / "find" / name / "rows.csv")
        carried = [row for target in RECIPES[name].targets for row in read_rows(rows_of(name, target, folder))]
        rows += [*searched, *carried]
        lines += section(name, ZOO / f"{name}.safetensors", searched)
    write_rows(rows, PAGE / "rows.csv")
    (PAGE / "README.md").write_text("\n".join(lines).strip() + "\n")


def section(name: str, path: Path, searched: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the page tells of one ticket."""
    ticket, recipe = Ticket.load(path), RECIPES[name]
    text = (
        f"{network(ticket)}, found on {data(ticket)}, level {ticket.lineage['level']}: {ticket.mask.remaining:,} of "
        f"{ticket.mask.total:,} prunable weights remain, {percent(ticket.density)}; {path.stat().st_size:,} bytes."
    )
    made = [
        f"oneticket find {recipe.find} --replicates {recipe.searches} --levels {recipe.levels} --out searches/{name}"
    ]
    made += [
        f"oneticket transfer {name} --data {target} {recipe.training} --controls {CONTROLS} "
        f"--replicates {recipe.replicates}"
        for target in recipe.targets
    ]
    scores = ["### Transfers", "", card_scores(ticket).replace("### ", "#### "), ""]
    return [f"## {name}", "", text, "", "```bash", *made, "```", "", *table_lines(levels(searched)), *scores]


def levels(searched: Sequence[Mapping[str, Any]]) -> ReportTable:
    """How the searches' tickets did on their own data, level by level, and which level ships."""
    chosen, found = chosen_level(searched), tests(searched)
    density = {row["level"]: row["density"] for row in searched}
    body = [
        (
            str(level),
            percent(density[level]),
            within(test.difference, ACCURACY, signed=True),
            "—" if test.p is None else number(test.p),
            "ships" if level == chosen else "",
        )
        for level, test in sorted(found.items())
    ]
    n = next(iter(found.values())).difference.n
    return ReportTable(
        title="The searches, on their own data",
        header=("level", "density", "minus dense (points)", "p", ""),
        rows=tuple(body),
        caption="Accuracy minus the dense network's in the same search, with its 90 % interval; "
        f"n = {n} searches. p: of the one-sided t-test against a loss of {ACCURACY.size(MARGIN)}. Levels are tested in "
        f"order until one is above 0.05; none below a density of {percent(SPARSEST)} ships.",
    )


RECIPES = {
    "lenet-fashion_mnist": Recipe(
        find="--data fashion_mnist --per-class 2000 --model lenet-300-100 --optimizer sgd --budget 6ep",
        searches=5,
        levels=11,
        targets=("digits --per-class 50", "cifar10 --per-class 50", "cifar100 --classes 20 --per-class 50", "svhn"),
        training="--budget 500it --batch 32",
        replicates=5,
    ),
    "digits-a": Recipe(
        find="--data digits:a --model lenet-300-100 --optimizer sgd",
        searches=10,
        levels=16,
        targets=("digits:b --per-class 20", "fashion_mnist --per-class 50", "cifar10 --per-class 50", "svhn"),
        training="--budget 500it --batch 32",
        replicates=5,
    ),
    "mlp-letter": Recipe(
        find="--data tabular/letter --model mlp --widths 300,100 --optimizer sgd --budget 20ep",
        searches=5,
        levels=14,
        targets=("tabular/penbased --per-class 20",),
        training="--budget 500it --batch 32",
        replicates=10,
    ),
    "mlp-penbased": Recipe(
        find="--data tabular/penbased --model mlp --widths 300,100 --optimizer sgd --budget 20ep",
        searches=5,
        levels=14,
        targets=("tabular/letter --per-class 20",),
        training="--budget 500it --batch 32",
        replicates=10,
    ),
    "conv-4-cifar10": Recipe(
        find="--data cifar10 --per-class 500 --model conv-4 --width 0.5 --optimizer sgd --fraction 0.5 --budget 8ep",
        searches=3,
        levels=3,
        targets=(
            "digits --per-class 50",
            "fashion_mnist --per-class 50",
            "cifar100 --classes 20 --per-class 50",
            "svhn",
        ),
        training="--budget 300it --batch 32",
        replicates=3,
    ),
    "resnet-20-cifar10": Recipe(
        find="--data cifar10 --size 16 --model resnet-20 --optimizer sgd --lr 0.05 --schedule cosine --fraction 0.5 "
        "--budget 5ep",
        searches=3,
        levels=3,
        targets=(
            "digits --per-class 50",
            "fashion_mnist --per-class 50",
            "cifar100 --classes 20 --per-class 50",
            "svhn",
        ),
        training="--budget 200it --batch 32",
        replicates=5,
    ),
}
"""What ships. No ticket is found on SVHN, whose licence is non-commercial; as a target it tells something."""


if __name__ == "__main__":
    place, *asked = sys.argv[1:] or [sys.exit(__doc__)]
    work, stages = Path(place).absolute(), ("search", "carry", "page")
    names = [word for word in asked if word not in stages] or [*RECIPES]
    if strange := sorted({*names} - RECIPES.keys()):
        sys.exit(f"unknown ticket {strange[0]!r}; known: {', '.join(RECIPES)}")
    todo = [word for word in stages if word in asked] or stages
    for each in names:
        if "search" in todo:
            search(each, work)
        if "carry" in todo:
            carry(each, work)
    if "page" in todo:
        page(names, work)
