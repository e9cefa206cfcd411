from __future__ import annotations

import re

import pytest

from oneticket.ground.errors import SpecError
from oneticket.lottery.arms import words_of
from oneticket.report.rivals import rival_tables
from oneticket.report.verdict import sentence
from oneticket.stats.regroup import pooled

START = "At 1.2 % of the weights on digits:b under sgd, the ticket from digits:a (sgd) reached "
CI = r"95 % CI −?[\d.]+ to −?[\d.]+"


def said(rows) -> str:
    """The sentence with its numbers taken out: what is claimed."""
    text = re.sub(rf"[\d.]+ % \({CI}, n = 3\)", "#", sentence(rows).removeprefix(START))
    return re.sub(r"[+−]?[\d.]+ points", "#", re.sub(rf" \({CI}\)|, {CI}(?=\))", "", text))


def test_the_usual_case_with_its_numbers(study) -> None:
    assert sentence(study(optimizers=["sgd"])) == (
        "At 1.2 % of the weights on digits:b under sgd, the ticket from digits:a (sgd) reached 95.1 % "
        "(95 % CI 93.9 to 96.3, n = 3): 33.0 points above the same mask with new weights (95 % CI 32.0 to 34.0), "
        "84.2 points above the global random ticket (95 % CI 83.0 to 85.4), and 2.0 points below the dense network "
        "(95 % CI 1.3 to 2.7)."
    )


@pytest.mark.parametrize(
    ("arm", "fall", "claim"),
    [
        ("reinit", 0.3, "# above the same mask with new weights"),
        ("reinit", -0.02, "# below the same mask with new weights"),
        ("reinit", 0.0, "not shown to differ from the same mask with new weights (#)"),
        ("own", 0.3, "# above the target's own ticket"),
        ("signs", 0.3, "# above the same mask and signs with new magnitudes"),
        ("permuted-weights", 0.3, "# above the same mask with its weights permuted"),
        ("layerwise-random", 0.3, "# above the layerwise random ticket"),
        ("layerwise-random-kept", 0.3, "# above the layerwise random mask over rewound weights"),
        ("corrected-random", 0.3, "# above the random ticket that takes natural zeros last"),
        ("global-random", 0.3, "# above the global random ticket"),
    ],
)
def test_what_was_seen_is_what_is_said(study, arm: str, fall: float, claim: str) -> None:
    rows = study(optimizers=["sgd"], arms=["ticket", arm], fall={arm: fall}, spread=0.002)
    assert said(rows) == f"#: {claim}; the dense network was not trained."


@pytest.mark.parametrize(
    ("fall", "claim"),
    [(0.1, "# below"), (-0.02, "# above"), (0.0, "not shown to differ from")],
)
def test_the_dense_network_may_be_beaten(study, fall: float, claim: str) -> None:
    rows = study(optimizers=["sgd"], arms=["dense", "ticket"], fall={"ticket": fall}, spread=0.001)
    assert said(rows) == f"#: {claim} the dense network{'' if fall else ' (#)'}."


def test_bounds_of_a_fall_are_in_order(study) -> None:
    rows = study(arms=["dense", "ticket"], fall={"ticket": 0.3})
    got = re.search(r"(\S+) points below the dense network \(95 % CI (\S+) to (\S+)\)", sentence(rows))
    mean, low, high = (float(text) for text in got.groups())
    assert 0 < low < mean < high


def test_one_replicate_claims_nothing(study) -> None:
    got = sentence(study(optimizers=["sgd"], replicates=[0]))
    assert got.endswith(
        "in one replicate (n = 1): no interval can be given, and no claim is made about how it compares with "
        "the same mask with new weights, the global random ticket, or the dense network."
    )
    assert "above" not in got
    assert "below" not in got


def test_the_level_is_the_sparsest_of_all_arms(study) -> None:
    rows = [row for row in study(optimizers=["sgd"]) if row["arm"] != "reinit" or row["level"] <= 10]
    assert sentence(rows).startswith("At 11 % of the weights")


def test_an_arm_at_other_levels_only_is_named(study) -> None:
    rows = study(optimizers=["sgd"], levels=[5, 20])
    rows = [row for row in rows if row["arm"] == "dense" or (row["arm"] == "reinit") == (row["level"] == 5)]
    got = said(rows)
    assert got.startswith("#: # above the global random ticket and ")
    assert got.endswith("; not trained at this density: the same mask with new weights.")


@pytest.mark.parametrize(
    ("replicates", "words"),
    [
        ([0, 1], r"above the global random ticket \(95 % CI \S+ to \S+, 2 pairs\)\."),
        ([0], r": not comparable with the global random ticket \(only one replicate in common\)\."),
        ([8, 9], r": not comparable with the global random ticket \(no replicate in common\)\."),
    ],
)
def test_pairs_that_are_missing_are_said(study, replicates: list[int], words: str) -> None:
    rows = study(optimizers=["sgd"], arms=["ticket"])
    rows += study(optimizers=["sgd"], arms=["global-random"], replicates=replicates, spread=0.01)
    assert re.search(words.removesuffix(r"\.") + "; the dense network was not trained", sentence(rows))


def test_a_ticket_alone_and_no_ticket(study) -> None:
    assert said(study(optimizers=["sgd"], arms=["ticket"])) == ("#; the dense network was not trained.")
    assert sentence(study(optimizers=["sgd"], arms=["ticket"], replicates=[0])).endswith(
        "no claim is made about how it compares with anything; the dense network was not trained."
    )
    assert sentence(study(optimizers=["sgd"], arms=["dense"])) == (
        "On digits:b under sgd, no ticket was trained, so nothing can be said about one."
    )


def test_each_setting_and_ticket_has_its_sentence(study, searched) -> None:
    rows = searched() + study(sources=[("digits:a", "sgd"), ("digits:a", "adam")])
    got = re.findall(r"on (\S+ under \S+), the ticket from (\S+ \(\w+\))", sentence(rows))
    assert got == [
        ("digits:a under sgd", "digits:a (sgd)"),
        ("digits:b under adam", "digits:a (adam)"),
        ("digits:b under adam", "digits:a (sgd)"),
        ("digits:b under sgd", "digits:a (adam)"),
        ("digits:b under sgd", "digits:a (sgd)"),
    ]


def test_another_density_at_the_same_level_is_said(study) -> None:
    rows = study(optimizers=["sgd"], arms=["ticket", "own"], levels=[20], fall={"own": 0.3})
    rows = [{**row, "density": 0.5 if row["arm"] == "own" else row["density"]} for row in rows]
    assert "above the target's own ticket at 50 % of the weights (95 % CI " in sentence(rows)


def test_differences_without_spread_claim_no_interval(study) -> None:
    rows = study(optimizers=("sgd",), arms=("dense", "ticket", "reinit"), spread=0.0)
    assert (
        "33.0 points above the same mask with new weights in each of 3 pairs alike (no spread, so no interval)"
        in sentence(rows)
    )
    assert "2.0 points below the dense network in each of 3 pairs alike" in sentence(rows)


SHARED = {"source_data": None, "source_optimizer": None}


def shared(rows) -> list[dict]:
    """As a study has them: the global random ticket belongs to no source, and stands there once."""
    keyed = [{**row, **(SHARED if row["arm"] == "global-random" else {}), "accuracy": row["accuracy"]} for row in rows]
    once = {
        (row["arm"], row["source_optimizer"], row["target_optimizer"], row["level"], row["replicate"]): row
        for row in keyed
    }
    return list(once.values())


def test_a_control_of_no_source_is_every_tickets(study) -> None:
    rows = shared(study(optimizers=["sgd"], sources=[("digits:a", "sgd"), ("digits:a", "adam")]))
    assert sentence(rows).count("above the global random ticket") == 2
    pooled_too = sentence(pooled(shared(study(sources=[("digits:a", "sgd"), ("digits:a", "adam")]))))
    assert "above the global random ticket" in pooled_too


def test_the_targets_own_ticket_is_not_compared_with_itself(study) -> None:
    sources = [("digits:a", "sgd"), ("digits:b", "sgd")]
    rows = study(arms=["ticket"], optimizers=["sgd"], sources=sources, levels=[20])
    rows = [{**row, "key": f"{row['source_data']} {row['replicate']}"} for row in rows]
    rows += [{**row, "arm": "own"} for row in rows if row["source_data"] == "digits:b"]
    carried, home = sentence(rows).split(" At ")
    assert carried.count("the target's own ticket") == 1
    assert "own ticket" not in home


def test_pooling_averages_over_optimizers_and_needs_them_all(study) -> None:
    rows = study(sources=(("digits:a", "sgd"), ("digits:a", "adam")))
    said = sentence(pooled(rows))
    assert said.startswith(
        "At 1.2 % of the weights on digits:b under adam and sgd, the ticket from digits:a (adam and sgd)"
    )
    assert said.count("At ") == 1
    lacking = [row for row in rows if not (row["arm"] == "reinit" and row["source_optimizer"] == "adam")]
    with pytest.raises(SpecError, match="not every arm, level and replicate has every combination of optimizers"):
        pooled(lacking)


CROSSES = ["mask-only", "weights-only", "mask-init", "own-reinit", "layerwise-random-kept"]


def test_of_many_networks_the_usual_ones_are_told_and_the_others_counted(study) -> None:
    arms = ["dense", "ticket", "own", "reinit", "layerwise-random", "global-random", *CROSSES]
    rows = study(optimizers=["sgd"], arms=arms, spread=0.002)
    text = sentence(rows)
    assert text.endswith("; 5 other networks beside it are not listed here.")
    assert not [arm for arm in CROSSES if words_of(arm).phrase in text]
    (table,) = rival_tables(rows)
    usual = ("own", "reinit", "layerwise-random", "global-random", "dense")
    assert table.header[2:] == ("accuracy (%)", *(f"minus {words_of(arm).label}" for arm in usual))


def test_few_networks_are_told_whatever_they_are(study) -> None:
    text = sentence(study(optimizers=["sgd"], arms=["ticket", *CROSSES], spread=0.002))
    assert not [arm for arm in CROSSES if words_of(arm).phrase not in text]


def test_a_table_says_what_the_sentence_says(study) -> None:
    (table,) = rival_tables(study(optimizers=["sgd"]))
    assert table.title == "Tickets of 1.2 % of the weights"
    assert table.rows == (
        (
            *("digits:b under sgd", "digits:a (sgd)", "95.1 [93.9, 96.3]"),
            *("+33.0 [32.0, 34.0]", "+84.2 [83.0, 85.4]", "−2.0 [−2.7, −1.3]"),
        ),
    )


def test_a_table_says_where_fewer_replicates_have_both(study) -> None:
    rows = [one for one in study(optimizers=["sgd"]) if (one["arm"], one["replicate"]) != ("reinit", 0)]
    alone = [one for one in rows if one["arm"] != "reinit" or one["replicate"] == 1]
    nobody = [one for one in rows if one["arm"] != "reinit"]
    (cell,) = {row[3] for row in rival_tables(rows)[0].rows}
    assert cell.endswith("(n = 2)")
    assert {row[3][-7:] for row in rival_tables(alone)[0].rows} == {"(n = 1)"}
    assert "minus new weights, same mask" not in rival_tables(nobody)[0].header
    assert rival_tables([one for one in rows if one["arm"] == "dense"]) == []
