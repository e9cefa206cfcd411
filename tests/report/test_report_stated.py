"""The table of a study's design: its title says whether it stood before the rows, and both digests stand where not."""

from __future__ import annotations

from dataclasses import replace

from made import findings

from oneticket.report.stated import doubts, stated
from oneticket.study.design import Kept, design, digest_of


def test_the_design_is_titled_by_when_it_was_stated() -> None:
    found = findings(sources=("cifar10",), targets=("svhn",), replicates=2)
    plan = replace(found.plan, claims=("C3",), margin=0.02)
    kept = Kept(design=design(plan), date="2026-01-01", trained=0)
    before = replace(found, plan=plan, designs=(kept,))
    table = stated(before)
    assert table is not None and doubts(before) == ()
    assert table.title == "What was stated before the first run"
    assert [value for name, value in table.rows if "digest" in name] == [digest_of(kept.design)]

    after = replace(before, plan=replace(plan, margin=0.05))
    table = stated(after)
    assert table is not None and "margin from 0.02 to 0.05" in doubts(after)[0]
    assert table.title == "What the study states now"
    assert [value for name, value in table.rows if "digest" in name] == [
        digest_of(design(after.plan)),
        digest_of(kept.design),
    ]

    lost = stated(replace(before, designs=()))
    assert lost is not None and lost.title == "What the study states now"
