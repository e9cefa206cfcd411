"""Selection: what pruning 100 million weights costs, in time and in memory.

`python -m benchmarks.selection [ROUNDS]` prints seconds at 100 million weights, the selection's time over that of
torch.sort and torch.kthvalue on the same scores (10 million, the sides in turn), and the peak of memory, with median,
lowest, highest and n, under torch's own threads. The peak counts all that a process of its own holds above what it held
with everything imported: weights, scores, the mask before and after, and temporaries; over the bytes of the weights.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.row import Row, absent, row
from benchmarks.side import ENVIRONMENT, ROOT
from oneticket.pruning.allocate import allocate
from oneticket.pruning.criteria import score
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.select import select
from oneticket.ticket.mask import Mask

LARGE, SMALL, FRACTION = 100_000_000, 10_000_000, 0.2
ROUNDS, PEAKS = 9, 3
CUTS = {1: "one tensor", 1000: "1,000 tensors"}
STATUS = Path("/proc/self/status")


def weights(count: int, tensors: int = 1) -> dict[str, Tensor]:
    """Normal weights in so many tensors."""
    generator = torch.Generator().manual_seed(0)
    return {f"{i:04}": torch.randn(count // tensors, generator=generator) for i in range(tensors)}


def prune(trained: Mapping[str, Tensor], mask: Mask) -> Mask:
    """A level's pruning, as a search does it."""
    known = Evidence(mask=mask, trained=trained, initial_of=lambda: trained, generator=torch.Generator())
    scores = score("magnitude", known)
    return select(mask, scores, allocate("global", counts=mask.counts, fraction=FRACTION))


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def large(tensors: int, rounds: int) -> list[Row]:
    """Seconds at the size of the target: the selection from a full and from a sparse mask, and a level's pruning."""
    trained = weights(LARGE, tensors)
    full = Mask.full(trained)
    scores = {name: weight.abs() for name, weight in trained.items()}
    sparse = select(full, scores, allocate("global", counts=full.counts, fraction=0.9))
    found = []
    for mask, density in ((full, "all"), (sparse, "10 %")):
        shares = allocate("global", counts=mask.counts, fraction=FRACTION)
        taken = [seconds(lambda m=mask, s=shares: select(m, scores, s)) for _ in range(rounds)]  # type: ignore[misc]
        found.append(row(f"select, 100 M weights, {CUTS[tensors]}, {density} live", taken, "s", target="<= 1"))
    taken = [seconds(lambda: prune(trained, full)) for _ in range(rounds)]
    return [*found, row(f"score, allocate and select, 100 M weights, {CUTS[tensors]}", taken, "s", target="<= 1")]


def against(rounds: int) -> list[Row]:
    """The selection over torch's own ways to order the same scores, and over itself on the hardest scores."""
    scores = {name: weight.abs() for name, weight in weights(SMALL).items()}
    mask, (values,) = Mask.full(scores), scores.values()
    shares = allocate("global", counts=mask.counts, fraction=FRACTION)
    equal = {name: torch.ones_like(each) for name, each in scores.items()}
    others: dict[str, Callable[[], object]] = {
        "torch.sort": lambda: values.sort(),
        "torch.kthvalue": lambda: values.kthvalue(shares[0].prune),
        "select, all scores equal": lambda: select(mask, equal, shares),
    }
    taken: dict[str, list[float]] = {name: [] for name in others}
    for _ in range(rounds):
        for name, other in others.items():
            taken[name].append(seconds(lambda: select(mask, scores, shares)) / seconds(other))
    return [row(f"select / {name}, 10 M weights", ratios) for name, ratios in taken.items()]


def memory(name: str) -> int:
    """What Linux says of this process's memory, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    assert found
    return 1024 * int(found[1])


def peak(tensors: int) -> float:
    """The most that this process ever held while pruning, above what it held before, over the weights."""
    small = weights(LARGE // 1000)
    prune(small, Mask.full(small))
    before = memory("VmRSS")
    trained = weights(LARGE, tensors)
    prune(trained, Mask.full(trained))
    return (memory("VmHWM") - before) / (4 * LARGE)


def apart(tensors: int) -> float:
    """The same in a process of its own."""
    asked = [sys.executable, "-m", "benchmarks.selection", "peak", str(tensors)]
    return float(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT).stdout)


def rows(rounds: int = ROUNDS) -> list[Row]:
    """All that is measured."""
    found = [each for tensors in CUTS for each in large(tensors, rounds)] + against(rounds)
    for tensors, cut in CUTS.items():
        what = f"peak memory / weights, score, allocate and select, 100 M weights, {cut}"
        if STATUS.exists():
            found.append(row(what, [apart(tensors) for _ in range(PEAKS)], target="<= 3", note="peak (VmHWM)"))
        else:
            found.append(absent(what, "it takes Linux", target="<= 3"))
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["peak"]:
        print(peak(int(sys.argv[2])))
    else:
        for each in rows(*map(int, sys.argv[1:2])):
            spread = f"{each['low']:.3f} to {each['high']:.3f}, n = {each['n']}"
            print(f"{each['what']:76} {each['value']:6.3f} {each['unit']:2} {spread}")
