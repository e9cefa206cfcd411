"""The demo's plan: digits half a to half b, SGD and Adam both ways, LeNet-300-100, 20 levels, 3 replicates."""

from __future__ import annotations

from oneticket.lottery.place import Place
from oneticket.lottery.search import network
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.study.plan import Origin, search_steps, transfer_steps
from oneticket.study.step import Step

LEVELS, REPLICATES = 20, 3
CARRIED = (5, 11, 17, 20)
ARMS = ("dense", "ticket", "reinit", "global-random")
OPTIMIZERS = {"sgd": OptimizerSpec(name="sgd", lr=0.1), "adam": OptimizerSpec(name="adam")}
SEARCHES = {
    name: SearchSpec(data="digits:a", model="lenet-300-100", optimizer=OPTIMIZERS[name], rewind="20it")
    for name in OPTIMIZERS
}
TARGETS = {name: TransferSpec(data="digits:b", optimizer=optimizer) for name, optimizer in OPTIMIZERS.items()}


def plan(place: Place) -> tuple[dict[tuple[str, int], tuple[Step, ...]], tuple[Step, ...]]:
    """The searches by (optimizer, replicate), and all transfers."""
    searches = {
        (name, replicate): search_steps(spec, levels=LEVELS, replicate=replicate, place=place)
        for name, spec in SEARCHES.items()
        for replicate in range(REPLICATES)
    }
    transfers: dict[str, Step] = {}
    for (name, replicate), levels in searches.items():
        origin = Origin(replicate=replicate, network=network(SEARCHES[name], place), levels=levels)
        for target in TARGETS.values():
            for step in transfer_steps(target, origin=origin, own=None, arms=ARMS, levels=CARRIED, place=place):
                transfers[step.key] = step
    return searches, tuple(transfers.values())
