"""ResNet-20 on CIFAR-10, batch 128: images a second over replicates on 2 cores, beside the usual stack and the floor.

Everything trains some steps in turn, without evaluations: oneticket as two workers of one thread each, with
augmentation, at level 0 and where a tenth and a hundredth of the weights live; the others in one process on both cores.
"""

from __future__ import annotations

from benchmarks.row import Row, absent, row
from benchmarks.side import Side, lacking, sides

MODEL, STEPS, ROUNDS, BATCH = "resnet-20", 12, 5, 128
LEVELS = {0: "level 0", 10: "level 10", 20: "level 20"}


def rows(rounds: int = ROUNDS, steps: int = STEPS) -> list[Row]:
    """Ratios of images a second, and the numbers themselves."""
    what = "ResNet-20, images/s over replicates: oneticket / usual stack"
    if why := lacking():
        return [absent(f"{what}, level 0", why, target=">= 1.8")]
    usual = {"usual stack": Side("usual", MODEL), "usual stack, 2 loading workers": Side("usual-2-workers", MODEL)}
    floors = {"floor": Side("floor", MODEL), "two floors side by side": Side("floor", MODEL, abreast=2)}
    ours = {name: Side("ours", MODEL, abreast=2, level=level) for level, name in LEVELS.items()}
    every = {**usual, **floors, **ours}
    pace: dict[str, list[float]] = {name: [] for name in every}
    with sides(list(every.values())):
        for _ in range(rounds):
            for name, side in every.items():
                pace[name].append(len(side.processes) * steps * BATCH / side.seconds(steps))
    best = max(usual, key=lambda name: sorted(pace[name])[rounds // 2])
    said = f"{best}, the faster with 0 or 2; two workers of one thread each"
    found = []
    for level, name in LEVELS.items():
        ratios = [a / b for a, b in zip(pace[name], pace[best], strict=True)]
        target = "" if level else ">= 1.8"
        found.append(row(f"{what}, {name}", ratios, target=target, note=f"{said}; {100 * 0.8**level:.3g} % live"))
    return found + [row(f"ResNet-20: {name}", taken, "images/s") for name, taken in pace.items()]
