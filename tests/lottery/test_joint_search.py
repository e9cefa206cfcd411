"""One search over several sets: one set alone is today's search, a killed one goes on, its ticket carries all heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from oneticket.engine.inline import run
from oneticket.ground.errors import OneticketError, SpecError, TransferError
from oneticket.lottery.controls import Source
from oneticket.lottery.grouping import do_together, placed
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import level, rewind_weights, search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.training import do
from oneticket.lottery.transfer import transfer
from oneticket.publish.card import card
from oneticket.store.store import Store
from oneticket.study.grid import plan
from oneticket.study.rows import rows
from oneticket.study.spec import StudySpec
from oneticket.training.checkpoint import File

QUICK: dict[str, Any] = {
    "model": {"name": "mlp", "widths": [16]},
    "training": {"budget": "12it", "batch": 32},
    "rewind": "3it",
}
SETS = [{"name": "digits:a", "per_class": 12}, {"name": "digits:b", "classes": 4, "per_class": 12}]


def joint(**more: Any) -> SearchSpec:
    return SearchSpec.read({"data": SETS, **QUICK, **more})


def test_one_set_in_a_list_is_searched_bit_for_bit_as_it_alone() -> None:
    one, listed = (search({"data": data, **QUICK}, levels=2) for data in (SETS[0], SETS[:1]))
    assert one.id == listed.id and one.records == listed.records and "heads" not in one.lineage


def test_a_book_of_several_sets_has_all_heads_and_says_whose_they_are() -> None:
    book = search(joint(), levels=2)
    assert book.lineage["heads"] == [["digits:a", 10], ["digits:b", 4]]
    assert book.contract.head == ("fc2.weight", "fc2.bias") and book.weights["fc2.weight"].shape == (14, 16)
    assert book.model["classes"] == 14 and "fc2.weight" not in book.pruned_at
    record = book.records[-1]
    shares = [record["accuracy on digits:a"], record["accuracy on digits:b"]]
    assert record["accuracy"] == record["score"] == pytest.approx(sum(shares) / 2, abs=1e-6)
    assert record["commonest"] == pytest.approx((0.1 + 0.25) / 2, abs=0.01)
    text = card(book, name="both")
    assert "outputs: digits:a 0 to 9, digits:b 10 to 13" in text and "; digits:b, classes 4" in text


def test_a_killed_search_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    spec = joint(data={"name": ["digits:a", "digits:b"], "per_class": 12, "temperature": 2})
    straight, slot, steps = search(spec, levels=1), File(tmp_path / "run"), list[int]()
    context = RunContext()
    rewound = do(rewind_weights(spec, 0, context), context)
    first = do(level(spec, 0, 0, rewound=rewound, pruned_at=None, context=context), context)
    for stop in (lambda: len(steps) >= 4, lambda: False):
        here = RunContext(checkpoint=slot, every=0, stop=stop, watchers=(lambda run: steps.append(run.position),))
        task = level(spec, 0, 1, rewound=rewound, pruned_at=first.pruned_at, context=here)
        try:
            done = do(task, here)
        except KeyboardInterrupt:
            assert steps == [4, 5, 6, 7]
    assert steps == [4, 5, 6, 7, 9, 10, 11, 12], "the step at which it stopped was saved, and is not done again"
    assert done.record == straight.records[1]


def test_several_at_once_come_out_as_one_alone() -> None:
    spec, context = joint(), RunContext()
    both = do_together([placed(rewind_weights(spec, number, context), context) for number in (0, 1)])
    for number, found in enumerate(both):
        alone = do(rewind_weights(spec, number, context), context)
        assert not isinstance(found, BaseException)
        assert all(torch.allclose(found.weights[name], value, atol=1e-5) for name, value in alone.weights.items())


def test_a_transfer_takes_no_head_or_all_of_them() -> None:
    book = search(joint(), levels=1)
    source = Source(ticket=book[1], rewind=book.weights)
    quick = {"training": QUICK["training"]}
    fresh = transfer(TransferSpec(data=SETS[0], **quick), source=source)
    assert fresh.record["classes"] == 10 and "accuracy on digits:a" not in fresh.record
    kept = transfer(TransferSpec(data=SETS, head="keep", **quick), source=source)
    assert kept.record["classes"] == 14 and "accuracy on digits:b" in kept.record
    with pytest.raises(TransferError):
        transfer(TransferSpec(data=SETS[0], head="keep", **quick), source=source)


STUDY: dict[str, Any] = {
    "name": "many",
    "levels": [1],
    "arms": ["ticket", "own", "mask-only"],
    "replicates": 1,
    **{name: QUICK[name] for name in ("training", "rewind")},
    "models": {"net": QUICK["model"]},
    "sets": {"first": {"data": SETS[0]}, "few": {"data": SETS[1]}},
    "parts": {"p": {"sources": [["first", "few"], "first"], "targets": ["few"], "optimizers": ["sgd"]}},
}


def test_a_study_takes_a_list_of_sets_as_one_source_and_resumes(tmp_path: Path) -> None:
    made = plan(StudySpec.read(STUDY), RunContext())
    done = run([cell.step for cell in made.cells], store=Store(tmp_path), context=RunContext())
    assert not done.failed
    again = run([cell.step for cell in made.cells], store=Store(tmp_path), context=RunContext())
    assert not again.done and len(again.reused) == len(done.done)
    found = rows(made.cells, Store(tmp_path))
    ticket = next(row for row in found if row["arm"] == "ticket" and row["source_data"] == "first+few")
    assert (ticket["source_name"], ticket["source_classes"]) == ("digits:a+digits:b", 14)
    assert (ticket["source_images"], ticket["target_classes"]) == (12 * 14, 4)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sets": {**STUDY["sets"], "few": {"data": SETS[1], "rewind": "1it"}}}, "write one set of all of them"),
        ({"parts": {"p": {**STUDY["parts"]["p"], "sources": [["first", "first"]]}}}, "datasets that differ"),
        ({"parts": {"p": {**STUDY["parts"]["p"], "sources": [["first", "fwe"]]}}}, "did you mean 'few'"),
        ({"parts": {"p": {**STUDY["parts"]["p"], "sources": [["first"]]}}}, "a list of two or more names"),
        ({"head": "keep"}, "head: keep .* which has 14 outputs, and the target needs 4; take head fresh"),
    ],
)
def test_a_study_refuses_lists_that_cannot_be(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(OneticketError, match=words) as caught:
        plan(StudySpec.read({**STUDY, **changed}), RunContext())
    assert isinstance(caught.value, SpecError)
