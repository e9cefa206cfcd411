"""The curve that a training tells others of: means of its losses, wherever it begins, and what no mean can be."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from waiting import until

from oneticket.engine.inline import run
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store import claim
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.training import curve
from oneticket.training.curve import POINTS, Curve
from oneticket.training.loop import Run


@pytest.fixture(autouse=True)
def _at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "EVERY", 0.0)


def begun(total: int, start: int = 0) -> Run:
    with torch.random.fork_rng():
        model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return Run.begin(model, [optimizer], precision="float32", position=start, total=total)


def report_after(seen: Curve, made: Run, position: int) -> dict[str, object]:
    made.position = position
    seen(made)
    report = seen.report()
    assert report is not None
    return report


def test_each_point_is_the_mean_of_as_many_losses() -> None:
    seen, made = Curve(), begun(3 * POINTS)
    assert seen.report() is None
    made.losses[:] = torch.arange(3 * POINTS)
    assert report_after(seen, made, 2)["losses"] == []
    report = report_after(seen, made, 7)
    assert (report["losses"], report["each"], report["position"], report["total"]) == ([1.0, 4.0], 3, 7, 600)
    assert report["lr"] == 0.5
    assert report_after(seen, made, 600)["losses"] == [1.0 + 3 * n for n in range(POINTS)]


def test_it_begins_where_the_training_does_and_anew_with_another() -> None:
    seen, made = Curve(), begun(10, start=4)
    made.losses[4:] = 2.0
    report = report_after(seen, made, 6)
    assert (report["start"], report["losses"]) == (4, [2.0, 2.0])
    other = begun(5)
    assert report_after(seen, other, 1)["losses"] == [0.0]


def test_what_is_not_finite_is_no_point() -> None:
    seen, made = Curve(), begun(4)
    made.losses[0], made.losses[1] = math.nan, math.inf
    assert report_after(seen, made, 3)["losses"] == [None, None, 0.0]


def test_others_see_a_step_while_it_trains_and_its_result_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "EARLY", (0.01,) * 1000)
    spec = SearchSpec(
        data={"name": "digits:a", "per_class": 10},
        model={"name": "mlp", "widths": (12,)},
        training={"budget": "30it", "batch": 32},
        rewind="2it",
    )
    steps = search_origin(spec, levels=0, replicate=0, context=RunContext()).levels
    other, seen = Store(tmp_path / "seen"), []

    def watch(made: Run) -> None:
        if len(made.losses) == made.position + 10:

            def position() -> object:
                (held,) = other.claims.holders().values()
                return held.position and held.position.position == 20 and held

            until(position, "a beat that tells of step 20")
            seen.append(position())

    run(steps, store=Store(tmp_path / "seen"), context=RunContext(watchers=(watch,)))
    run(steps, store=Store(tmp_path / "alone"), context=RunContext())
    ((shown),) = seen
    assert str(shown).endswith("step 20 of 30")
    kept, alone = (Store(tmp_path / name).get(steps[0]) for name in ("seen", "alone"))
    assert [round(loss, 4) for _, loss in shown.position.losses] == [
        round(float(loss), 4) for loss in kept.tensors["losses"][:18]
    ]
    assert shown.position.start == 2
    assert all(torch.equal(kept.tensors[name], value) for name, value in alone.tensors.items())
    assert not other.claims.holders()
