from __future__ import annotations

import math
import random

import pytest

from oneticket.ground.errors import SpecError
from oneticket.stats.summary import Line, labels, over, places, summary
from oneticket.stats.words import counts, number, percent


def test_one_summary_per_setting_line_and_level(study) -> None:
    got = summary(study())
    assert len(got) == 2 * (1 + 3 * 21)
    assert all(one.score.n == 3 and set(one.values) == {0, 1, 2} for one in got)
    assert all((one.over_dense is None) == (one.line.arm == "dense") for one in got)


def test_the_order_of_rows_does_not_matter(study) -> None:
    rows = study(sources=[("digits:a", "sgd"), ("mnist1d", "adam")], levels=(0, 10))
    shuffled = random.Random(1).sample(rows, len(rows))
    assert summary(rows) == summary(shuffled)


def test_differences_are_paired_by_replicate(study) -> None:
    rows = [row for row in study(optimizers=["sgd"], levels=[20]) if (row["arm"], row["replicate"]) != ("dense", 1)]
    ticket = next(one for one in summary(rows) if one.line.arm == "ticket")
    dense = {row["replicate"]: row["accuracy"] for row in rows if row["arm"] == "dense"}
    expected = [ticket.values[replicate] - dense[replicate] for replicate in (0, 2)]
    assert ticket.over_dense.difference.n == 2
    assert ticket.over_dense.difference.mean == pytest.approx(sum(expected) / 2)


def test_without_a_shared_replicate_there_is_no_difference(study) -> None:
    rows = study(arms=["dense"], optimizers=["sgd"]) + study(arms=["ticket"], optimizers=["sgd"], replicates=[5])
    dense, *tickets = summary(rows)
    assert {one.over_dense for one in tickets} == {over(dense, tickets[0])} == {None}


def test_a_search_is_compared_with_its_own_dense_network(searched) -> None:
    dense, *tickets = summary(searched(levels=range(3)))
    assert dense.line == Line(arm="dense")
    assert [one.over_dense.difference.n for one in tickets] == [3, 3]


def test_a_transfers_dense_network_comes_before_a_searchs(searched, study) -> None:
    there = {"target_data": "digits:a", "head": "keep"}
    rows = searched(levels=[1]) + [{**row, **there} for row in study(arms=["dense"], optimizers=["sgd"])]
    assert sorted(labels(summary(rows)).values()) == ["dense", "dense in the search", "ticket from digits:a (sgd)"]


def test_a_row_given_twice_counts_once(study) -> None:
    rows = [{**row, "key": str(n)} for n, row in enumerate(study(levels=[3]))]
    assert summary(rows + rows) == summary(rows)
    assert summary(rows + [{**row, "seconds": 1.0} for row in rows]) == summary(rows)


def test_parts_that_disagree_are_set_apart(study) -> None:
    rows = [{**row, "key": str(n), "part": "here"} for n, row in enumerate(study(levels=[3], optimizers=["sgd"]))]
    again = [{**row, "part": "there"} for row in rows]
    assert summary(rows + again) == summary(rows), "one network in two parts is one network"
    other = [{**row, "key": f"{row['key']} longer"} for row in again]
    assert list(places(summary(rows + other)).values()) == [
        f"digits:b under sgd in {part}" for part in ("here", "there")
    ]


def test_two_networks_for_one_replicate_are_refused(study) -> None:
    rows = study(levels=[3], optimizers=["sgd"])
    with pytest.raises(SpecError, match="two networks for ticket, level 3, replicate 0 on digits:b.*differ in seed"):
        summary([*rows, *({**row, "seed": 1} for row in rows if row["arm"] == "ticket")])


@pytest.mark.parametrize("accuracy", [math.nan, None, 1.5, -0.1])
def test_an_accuracy_that_is_none_is_refused(study, accuracy) -> None:
    rows = study(levels=[3])
    rows[1]["accuracy"] = accuracy
    with pytest.raises(SpecError, match="accuracy of ticket, level 3, replicate 0: expected 0 to 1"):
        summary(rows)


def test_no_rows_and_unknown_arms_are_refused(study) -> None:
    with pytest.raises(SpecError, match="expected rows"):
        summary([])
    with pytest.raises(SpecError, match="did you mean 'ticket'"):
        summary([{**study()[0], "arm": "tickets"}])


def test_controls_name_their_source_among_several(study) -> None:
    alone = labels(summary(study(arms=["dense", "ticket", "own", "reinit"])))
    assert list(alone.values()) == [
        "dense",
        "ticket from digits:a (sgd)",
        "the target's own ticket",
        "the target's own ticket",
        "new weights, same mask",
    ]
    several = labels(summary(study(sources=[("digits:a", "sgd"), ("digits:a", "adam")], arms=["reinit"])))
    assert list(several.values()) == [f"new weights, same mask from digits:a ({by})" for by in ("adam", "sgd")]


def test_heads_are_named_where_both_are_there(study) -> None:
    rows = study(optimizers=["sgd"])
    assert list(places(summary(rows)).values()) == ["digits:b under sgd"]
    both = places(summary(rows + [{**row, "head": "keep"} for row in rows]))
    assert sorted(both.values()) == ["digits:b under sgd (fresh head)", "digits:b under sgd (keep head)"]


def test_models_are_never_mixed(study) -> None:
    rows = study(optimizers=["sgd"])
    got = summary(rows + [{**row, "model": "conv-4"} for row in rows])
    assert all(one.score.n == 3 for one in got)


@pytest.mark.parametrize(
    ("density", "words"),
    [(1, "100 %"), (0.999, "100 %"), (0.8**20, "1.2 %"), (0.8**30, "0.12 %"), (1e-5, "0.001 %"), (0.8, "80 %")],
)
def test_percent(density: float, words: str) -> None:
    assert percent(density) == words


def test_numbers_and_counts() -> None:
    assert [number(value) for value in (-0.0, -0.0004, -0.0006, 1)] == ["0.000", "−0.0004", "−0.001", "1.000"]
    assert [counts(n) for n in ([1], [3, 1])] == ["n = 1 replicate", "n = 1 to 3 replicates"]
