"""Memory: what training a ticket takes over the bare dense training of the same network, per prunable weight.

Every side is a process of its own that imports the same, builds the same network of 10 million weights and trains some
steps; its peak (VmHWM of Linux) minus the floor's, over the number of prunable weights. Lower bounds hold for nothing
but what is resident: allocators keep some memory that was freed, and pages of libraries count, as llvmlite's do. What
loading the kernels takes is a row of its own, and a part of every row in which a layer is sparse. The side "first" has
the data decoded, and nothing compiled or measured.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.row import Row, absent, row
from benchmarks.side import ENVIRONMENT, ROOT
from benchmarks.stacks import Floor
from oneticket.compact.sparse import Sparse
from oneticket.ground.streams import Streams
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import Rewound, level, network
from oneticket.lottery.spec import SearchSpec
from oneticket.lottery.training import do, run_training
from oneticket.lottery.training_request import TrainingRequest
from oneticket.models.build import build
from oneticket.models.parts import head, prunable
from oneticket.ticket.mask import Mask

STEPS, ROUNDS = 6, 3
LEVELS = (0, 3, 10, 20)
FIRST = 10
SPEC = {
    "data": "digits",
    "model": {"name": "mlp", "widths": (3100, 3100)},
    "training": {"budget": f"{STEPS}it", "batch": 64},
    "rewind": "0it",
}


def made_up(weights: dict[str, torch.Tensor], deepest: int) -> dict[str, torch.Tensor]:
    """For each weight the level that prunes it: a random fifth of the remaining ones each time, in little memory."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, weight in weights.items():
        found[name] = torch.zeros(weight.shape, dtype=torch.uint8)
        for line in found[name]:
            drawn = torch.rand(len(line), generator=generator)
            for number in range(deepest, 0, -1):
                line[drawn < 1 - 0.8**number] = number
    return found


def peak(side: str, deepest: int) -> int:
    """Train here, in this process, and say its peak in bytes."""
    torch.set_num_threads(1)
    if side == "kernels":
        dense = torch.nn.Linear(64, 64)
        optimizer = torch.optim.SGD(dense.parameters(), lr=0.1)
        dense(torch.ones(64, 64, requires_grad=True)).sum().backward()  # so that torch has loaded what it loads
        optimizer.step()
        before = resident("VmRSS")
        layer = Sparse(torch.nn.Linear(64, 64), torch.ones(64, 64, dtype=torch.bool))
        layer(torch.ones(64, 64, requires_grad=True)).sum().backward()
        return resident("VmRSS") - before
    spec, context = SearchSpec.read(SPEC), RunContext()
    data = context.data(spec.data, spec.task)
    model = build(spec.model, inputs=data.inputs, outputs=len(data.classes), seed=0)
    names = prunable(model)
    if side == "floor":
        Floor(model, data, batch=spec.training.batch).train(STEPS)
    elif side == "training":
        at = made_up({name: model.get_parameter(name) for name in names}, deepest)
        mask = Mask({name: each == 0 for name, each in at.items()})
        with torch.no_grad():
            for name, each in at.items():
                model.get_parameter(name).masked_fill_(each != 0, 0)
        del at, each
        asked = {"optimizer": spec.optimizer, "training": spec.training, "streams": Streams(root=0, replicate=0)}
        run_training(TrainingRequest(model=model, mask=mask, data=data, measured=False, **asked), context)  # type: ignore[arg-type]
    else:
        record = {"network": network(spec, context), "step": 0, "head": list(head(model)), "data_digest": data.digest}
        at = made_up({name: model.get_parameter(name) for name in names}, deepest)
        rewound = Rewound(weights={name: value.detach() for name, value in model.state_dict().items()}, record=record)
        del model
        do(level(spec, 0, deepest, rewound=rewound, pruned_at=at if deepest else None, context=context), context)
    return resident("VmHWM")


def resident(what: str) -> int:
    """Bytes of this process by the kernel's count: now ("VmRSS") or at most ("VmHWM")."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def apart(side: str, deepest: int = 0) -> int:
    """The same in a process of its own; side "first" is a training where nothing was compiled and measured before."""
    if side != "first":
        return _apart(side, deepest, {})
    with TemporaryDirectory() as empty:
        cache = {"ONETICKET_CACHE": empty, "NUMBA_CACHE_DIR": empty}
        _apart("floor", 0, cache)  # which decodes the data
        return _apart("training", deepest, cache)


def _apart(side: str, deepest: int, cache: dict[str, str]) -> int:
    asked, env = [sys.executable, "-m", "benchmarks.memory", side, str(deepest)], {**ENVIRONMENT, **cache}
    return int(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env).stdout)


def rows(rounds: int = ROUNDS, levels: tuple[int, ...] = LEVELS) -> list[Row]:
    """Bytes over the floor's peak: of a training alone, and of a whole level with rewind weights and pruning."""
    what = "memory over the dense training's, per prunable weight"
    if not Path("/proc/self/status").exists():
        return [absent(what, "it takes Linux", unit="bytes", target="<= 1")]
    spec = SearchSpec.read(SPEC)
    data = RunContext().data(spec.data, spec.task)
    model = build(spec.model, inputs=data.inputs, outputs=len(data.classes), seed=0)
    mask = Mask.full({name: model.get_parameter(name) for name in prunable(model)})
    taken: dict[tuple[str, int], list[float]] = {(side, n): [] for n in levels for side in ("training", "level")}
    taken["first", FIRST] = []
    kernels: list[float] = []
    for _ in range(rounds):
        floor = apart("floor")
        kernels.append(apart("kernels") / mask.total)
        for side, deepest in taken:
            taken[side, deepest].append((apart(side, deepest) - floor) / mask.total)
    stored = sum(bits.numel() for bits in mask.pack().values())
    note = {
        "training": "training alone",
        "first": "training alone, nothing compiled or measured before",
        "level": "with the rewind weights (4 bytes), their network and the pruning",
    }
    target = {"training": "<= 1.5", "first": "<= 2", "level": "<= 5"}
    return [
        row("mask as held and stored, per prunable weight", [8 * stored / mask.total], "bits", target="<= 1.001"),
        row("memory of numba and the kernels, loaded and run once, per prunable weight", kernels, "bytes"),
        *(
            row(f"{what}: {side}, level {n}", found, "bytes", target=target[side], note=f"{note[side]}; peak (VmHWM)")
            for (side, n), found in sorted(taken.items(), key=lambda each: each[0][0], reverse=True)
        ),
    ]


if __name__ == "__main__":
    print(peak(sys.argv[1], int(sys.argv[2])))
