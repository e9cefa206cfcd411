"""The laws of crossed arms: one work by every way to ask for it, and only masks and weights of one initialisation."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pandas
import pytest
from commands import oneticket_cli

from oneticket.charts.overlap import overlap_chart
from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError
from oneticket.lottery.arms import CROSSED, OF_TARGET
from oneticket.lottery.controls import Source
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import initial_weights, search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import transfer
from oneticket.store.store import Store
from oneticket.study.findings import findings
from oneticket.study.grid import plan
from oneticket.study.origins import file_origin, search_origin
from oneticket.study.plan import transfer_cells
from oneticket.study.rows import rows
from oneticket.study.spec import StudySpec
from oneticket.study.steps import read_step

QUICK: dict[str, Any] = {"budget": "6it", "batch": 32}
SPEC = SearchSpec(
    data={"name": "digits:a", "per_class": 10}, model={"name": "mlp", "widths": (12,)}, training=QUICK, rewind="2it"
)
# Of three classes, so that the two searches differ in their output layers.
THREE = {"name": "digits", "classes": 3, "per_class": 10}
TARGET = TransferSpec(data=THREE, training=QUICK)
ARMS = ("ticket", "own", "mask-only", "weights-only", "dense-rewound", "own-reinit", "mask-init")
PLACE = RunContext()


def test_studies_and_books_and_python_train_the_same_networks(tmp_path: Path) -> None:
    book, home = search(SPEC, levels=2, replicate=1), search(SPEC.but(data=TARGET.data), levels=2, replicate=1)
    book.save(tmp_path / "book.safetensors")
    planned = search_origin(SPEC, levels=2, replicate=1, context=PLACE)
    own = search_origin(SPEC.but(data=TARGET.data), levels=2, replicate=1, context=PLACE)
    store, tables = Store(tmp_path / "store"), []
    for origin in (planned, file_origin(book, tmp_path / "book.safetensors", 1)):
        cells = transfer_cells(TARGET, origin=origin, own=own, arms=ARMS, levels=(1, 2), context=PLACE)
        assert not run([cell.step for cell in cells], store=store, context=RunContext()).failed
        assert all(read_step(cell.step).step == cell.step for cell in cells)
        tables.append({(row["arm"], row["level"]): row for row in rows(cells, store)})
    assert [*tables[0]] == [(arm, level) for arm in ARMS for level in ((0,) if arm == "dense-rewound" else (1, 2))], (
        "what keeps all weights is trained once"
    )
    target = Source(ticket=home[2], rewind=home.weights)
    for table in tables:
        for arm in ARMS:
            level = 0 if arm == "dense-rewound" else 2
            source = Source(
                ticket=book[level],
                rewind=book.weights,
                initial=initial_weights(book.model, seed=0, replicate=1),
                own=target,
            )
            done = transfer(TARGET, source=target if arm in OF_TARGET else source, arm=arm, replicate=1).record
            row = table[arm, level]
            assert (row["accuracy"], row["loss"]) == (done["accuracy"], done["loss"]), arm
            assert row["density"] == done["density"]
            found = {"own": "digits(classes=3, per_class=10)", "own-reinit": None}.get(arm, "digits:a(per_class=10)")
            assert row["source_data"] == found, arm
    assert len({(row["accuracy"], row["loss"]) for (_, level), row in tables[0].items() if level != 1}) == len(ARMS)


def test_own_reinit_is_reinit_of_the_target_s_own_search_whatever_the_source() -> None:
    own = search_origin(SPEC.but(data=TARGET.data), levels=2, replicate=0, context=PLACE)
    keys = []
    for data in (SPEC.data, SPEC.data.but(name="digits:b")):
        origin = search_origin(SPEC.but(data=data), levels=2, replicate=0, context=PLACE)
        (cell,) = transfer_cells(TARGET, origin=origin, own=own, arms=("own-reinit",), levels=(2,), context=PLACE)
        keys.append(cell.step.key)
    (home,) = transfer_cells(TARGET, origin=own, own=None, arms=("reinit",), levels=(2,), context=PLACE)
    assert keys == [home.step.key] * 2


def test_what_crosses_nothing_in_common_is_refused() -> None:
    origin = search_origin(SPEC, levels=1, replicate=0, context=PLACE)

    def refusal(own: SearchSpec, arm: str) -> str:
        target = search_origin(own, levels=1, replicate=0, context=PLACE)
        with pytest.raises(SpecError) as error:
            transfer_cells(TARGET, origin=origin, own=target, arms=(arm,), levels=(1,), context=PLACE)
        return str(error.value)

    at = SPEC.but(data=TARGET.data)
    for arm in CROSSED:
        assert "has seed 0, the target's own 3, so they begin from other weights" in refusal(at.but(seed=3), arm)
        assert "give sets of the same inputs" in refusal(at.but(data=TARGET.data.but(size=16)), arm)
        with pytest.raises(SpecError, match=f"arm {arm}: the target's own search is not planned"):
            transfer_cells(TARGET, origin=origin, own=None, arms=(arm,), levels=(1,), context=PLACE)
    whole = SPEC.but(model=SPEC.model.but(prunable=("*", "fc2.weight")))
    origin = search_origin(whole, levels=1, replicate=0, context=PLACE)
    assert "prunable weights" in refusal(whole.but(data=TARGET.data), "mask-only")


HEAD_FIRST = """from torch import nn


class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.out = nn.Linear(4, classes)
        self.hidden = nn.Linear(shape[1] * shape[2], 4)

    def forward(self, images):
        return self.out(self.hidden(images.flatten(1)).relu())
"""


def test_a_model_that_draws_its_weights_by_its_outputs_is_crossed_among_as_many_classes_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD_FIRST)
    spec = SPEC.but(model={"name": f"{tmp_path}/mine.py:Net", "head": "out"})
    origin = search_origin(spec, levels=1, replicate=0, context=PLACE)
    own = search_origin(spec.but(data=THREE), levels=1, replicate=0, context=PLACE)
    begun = [initial_weights(each.network, seed=0, replicate=0)["hidden.weight"] for each in (origin, own)]
    assert not begun[0].equal(begun[1]), "one seed, other weights"
    for arm in CROSSED:
        with pytest.raises(SpecError, match=f"arm {arm}: the source has 10 outputs, the target's own 3, and .* draws"):
            transfer_cells(TARGET, origin=origin, own=own, arms=(arm,), levels=(1,), context=PLACE)
    other = search_origin(spec.but(data="digits:b"), levels=1, replicate=0, context=PLACE)
    to = TARGET.but(data="digits:b")
    assert len(transfer_cells(to, origin=origin, own=other, arms=CROSSED, levels=(1,), context=PLACE)) == len(CROSSED)


def test_masks_of_searches_that_began_from_other_weights_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HEAD_FIRST)
    sources = ["digits:a", "digits:b", {"name": "digits", "classes": 3, "per_class": 10}]
    study = StudySpec(
        name="mine",
        levels=[1],
        arms=["dense", "ticket"],
        replicates=2,
        training=QUICK,
        rewind="2it",
        models={"mine": {"name": f"{tmp_path}/mine.py:Net", "head": "out"}, "known": {"name": "mlp", "widths": [4]}},
        sets={name: {"data": data} for name, data in zip("abc", sources, strict=True)},
        parts={"all": {"sources": [*"abc"], "targets": ["b"], "models": ["mine", "known"]}},
        optimizers={"sgd": {"name": "sgd"}},
    )
    planned, store = plan(study, PLACE), Store(tmp_path / "store")
    assert not run([cell.step for cell in planned.cells], store=store, context=RunContext()).failed
    found = findings(planned, store)
    compared = {(row["model"], row["a"], row["b"]) for row in found.overlaps}
    names = ["a (sgd)", "b (sgd)", "c (sgd)"]
    assert compared == {("mine", *names[:2]), *(("known", *pair) for pair in combinations(names, 2))}
    assert found.not_compared == [
        f"{name} and c (sgd) are not compared: their searches begin from other weights, since mine draws others for "
        "10 and 3 outputs, though from one seed."
        for name in names[:2]
    ]
    subtitle = " ".join(overlap_chart(found.overlaps, found.not_compared).to_dict()["title"]["subtitle"])
    assert all(sentence in subtitle for sentence in found.not_compared)


def test_a_target_that_is_its_own_source_has_no_crossed_arms() -> None:
    study = StudySpec(
        name="mine",
        levels=[1],
        arms=["dense", *ARMS],
        replicates=1,
        training=QUICK,
        rewind="2it",
        parts={
            "both": {"sources": ["digits:a", "digits:b"], "targets": ["digits:b"], "models": ["mlp"]},
        },
        optimizers={"sgd": {"name": "sgd"}},
    )
    made: dict[str | None, list[str]] = {}
    for cell in plan(study, PLACE).cells:
        made.setdefault(cell.labels["source_data"], []).append(cell.arm)
    assert made == {
        None: ["dense", "own-reinit"],
        "digits:a": ["ticket", "mask-only", "weights-only", "dense-rewound", "mask-init"],
        "digits:b": ["own", "ticket", "dense-rewound", "mask-init"],
    }


def test_the_command_carries_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    search(SPEC, levels=1).save("book.safetensors")
    search(SPEC, levels=1)[1].save("ticket.safetensors")
    crossed = "own,mask-only,weights-only,dense-rewound,own-reinit,mask-init"

    words = f"--data digits:b --controls {crossed} --rows rows.csv"
    code, out, err = oneticket_cli(f"transfer book.safetensors {words}", capsys)
    assert code == 0, err
    assert "the target's mask, same weights" in out + err and "rewound dense" in out + err
    assert "Mask or weights, at 80 % of the weights on digits:b" in " ".join(out.split()), out
    assert "accuracy, is mask " in out and "without any mask the source's weights bring" in out
    table = pandas.read_csv("rows.csv")
    assert sorted(table.arm) == sorted(["dense", "ticket", *crossed.split(",")])
    code, _, err = oneticket_cli(f"transfer book.safetensors {words} --replicates 2", capsys)
    assert code == 2 and "would begin from the weights of replicate 1; leave out --replicates" in " ".join(err.split())
    code, _, err = oneticket_cli(f"transfer ticket.safetensors {words}", capsys)
    assert code == 2 and "does not hold the weights that its mask prunes; give a book" in " ".join(err.split())
