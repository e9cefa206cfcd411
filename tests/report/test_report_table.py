from __future__ import annotations

import json

import pytest

from oneticket.charts.scores import scores_chart
from oneticket.charts.theme import BAR
from oneticket.ground.errors import SpecError
from oneticket.stats.regroup import sources_of
from oneticket.stats.summary import summary
from oneticket.stats.table import SHOWN, tables, text


def test_a_table_per_optimizer_with_densities_in_columns(study) -> None:
    adam, sgd = tables(study())
    assert [adam.title, sgd.title] == [f"lenet-300-100 on digits:b under {by}" for by in ("adam", "sgd")]
    assert sgd.header == ("arm", "100 %", "33 %", "11 %", "3.5 %", "1.2 %")
    assert [row[0] for row in sgd.rows] == [
        "dense",
        "ticket from digits:a (sgd)",
        "new weights, same mask",
        "global random",
    ]
    assert "n = 3 replicates" in sgd.caption
    assert "95 % Student t" in sgd.caption


def test_cells_are_the_summaries(study) -> None:
    rows = study(optimizers=["sgd"])
    (table,) = tables(rows, levels=[20])
    ticket = next(one for one in summary(rows) if one.line.arm == "ticket" and one.level == 20)
    assert table.header == ("arm", "100 %", "1.2 %")
    assert table.rows[1] == (
        "ticket from digits:a (sgd)",
        "—",
        f"{100 * ticket.score.mean:.1f} ± {100 * ticket.score.half:.1f}",
    )


@pytest.mark.parametrize("show", list(SHOWN))
@pytest.mark.parametrize("replicates", [1, 2, 3])
def test_a_mean_is_never_bare(study, show: str, replicates: int) -> None:
    for table in tables(study(replicates=range(replicates)), show=show):
        cells = [cell for row in table.rows for cell in row[1:]]
        assert all(cell == "—" or "±" in cell or "(n = 1)" in cell for cell in cells)
        assert f"n = {replicates} replicate" in table.caption
        assert ("no interval" in table.caption) == (replicates == 1)


def test_a_cell_with_fewer_replicates_says_so(study) -> None:
    rows = study(optimizers=["sgd"], levels=[10, 20])
    rows = [row for row in rows if row["level"] < 20 or row["replicate"] < 2]
    rows = [row for row in rows if row["arm"] != "reinit" or row["level"] < 20]
    (table,) = tables(rows)
    assert [row[-1].endswith("(n = 2)") for row in table.rows] == [False, True, False, True]
    assert table.rows[2][-1] == "—"
    assert "— where there is none" in table.caption


def test_differences_to_the_dense_network(study) -> None:
    rows = study(optimizers=["sgd"])
    (table,) = tables(rows, levels=[20], show="over-dense")
    assert [row[0] for row in table.rows] == ["ticket from digits:a (sgd)", "new weights, same mask", "global random"]
    random = next(one for one in summary(rows) if one.line.arm == "global-random" and one.level == 20)
    difference = random.over_dense.difference
    assert table.rows[-1][1] == f"−{-100 * difference.mean:.1f} ± {100 * difference.half:.1f}"
    assert tables(study(arms=["dense"]), show="over-dense") == []


def test_one_level_at_two_densities_makes_two_columns(study) -> None:
    rows = study(optimizers=["sgd"], levels=[20], arms=["dense", "ticket", "own"])
    rows = [{**row, "density": 0.5 if row["arm"] == "own" else row["density"]} for row in rows]
    (table,) = tables(rows)
    assert table.header == ("arm", "100 %", "50 %", "1.2 %")
    assert [[cell == "—" for cell in row[1:]] for row in table.rows] == [
        [False, True, True],
        [True, True, False],
        [True, False, True],
    ]


def test_a_setting_without_the_chosen_levels_is_left_out(study) -> None:
    rows = study(arms=["ticket"], optimizers=["sgd"], levels=[5])
    rows += study(arms=["ticket"], optimizers=["adam"], levels=[20])
    assert [table.title for table in tables(rows, levels=[20])] == ["lenet-300-100 on digits:b under adam"]


def test_strange_requests_are_refused(study) -> None:
    rows = study(levels=[0, 5])
    with pytest.raises(SpecError, match=r"levels: expected some of \[0, 5\], got \[4\]"):
        tables(rows, levels=[4, 5])
    with pytest.raises(SpecError, match="Known: over-dense, score"):
        tables(rows, show="loss")


def test_text_is_aligned(study) -> None:
    (table,) = tables(study(optimizers=["sgd"]))
    title, *lines, caption = text(table).splitlines()
    assert (title, caption) == (table.title, table.caption)
    assert len({len(line) for line in lines}) == 1


def test_names_with_numbers_stand_in_the_order_of_their_numbers(study) -> None:
    rows = study(optimizers=["sgd"])
    both = [
        {**row, **{end: f"set-{size}" if row[end] else None for end in ("source_data", "target_data")}}
        for size in (100, 20)
        for row in rows
    ]
    assert [table.title.split(" ")[2] for table in tables(both)] == ["set-20", "set-100"]
    assert sources_of(both) == ["set-20 (sgd)", "set-100 (sgd)"]
    moved = [{**row, "target_data": "elsewhere"} for row in both if row["arm"] == "ticket"]
    (table,) = tables(moved)
    assert [row[0] for row in table.rows] == ["ticket from set-20 (sgd)", "ticket from set-100 (sgd)"]


def test_the_legend_shows_a_level_line_as_a_line(study) -> None:
    rows = study(optimizers=["sgd"])
    level = [{**row, "arm": "dense-rewound"} for row in rows if row["arm"] == "dense"]
    whose = {
        name: next(row[name] for row in rows if row["arm"] == "ticket") for name in ("source_data", "source_optimizer")
    }
    drawn = json.dumps(scores_chart([*rows, *({**row, **whose} for row in level)]).to_dict())
    assert drawn.count(json.dumps(BAR)) == 1
