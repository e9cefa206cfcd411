"""What the tests of the store share: two steps, their outcomes, a small search."""

from __future__ import annotations

import torch

from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store import names
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin

STEP = Step(kind="rewind", args={"seed": 0})
LEVEL = Step(kind="level", args={"level": 0, "rate": 0.1}, needs=(STEP,))
OUTCOME = Outcome(record={"a": 0.1, "b": [1, None]}, tensors={"t": torch.arange(3), "s": torch.tensor(1.5)})
OTHER = Outcome(record={"a": 0.2}, tensors={})
SPEC = SearchSpec(
    data={"name": "digits:a", "per_class": 10},
    model={"name": "mlp", "widths": (12,)},
    training={"budget": "6it", "batch": 32},
    rewind="2it",
)


def put(store: Store, step: Step = STEP, outcome: Outcome = OUTCOME) -> str:
    return store.put(step, outcome, seconds=1.5, device="cpu")


def search(levels: int = 1, replicates: int = 1) -> list[Step]:
    origins = [search_origin(SPEC, levels=levels, replicate=n, context=RunContext()) for n in range(replicates)]
    return [step for origin in origins for step in origin.levels]


def content(store: Store) -> dict[str, bytes]:
    """The bytes of all entries."""
    found = store.files.read(names.holding(names.OUTCOME, store.files.sizes()))
    assert found
    return found
