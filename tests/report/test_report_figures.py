from __future__ import annotations

import json
from dataclasses import replace

import pytest
from made import SETS, findings

from oneticket.charts.chart import still, write
from oneticket.charts.figures import FIGURES, HERO
from oneticket.charts.hero import hero_chart
from oneticket.charts.sheet import apart, first
from oneticket.charts.theme import BLACK, PALETTE, SHAPES
from oneticket.stats.stats import paired

PAIR = ("cifar10", "svhn")
ARMS = ("dense", "ticket", "own", "mask-only", "weights-only", "reinit", "layerwise-random", "global-random")
SMALL = {"sources": PAIR, "targets": PAIR, "layers": 3, "arms": ARMS}
BOTH = {"sources": PAIR[:1], "targets": PAIR[:1], "optimizers": ("sgd", "adam"), "layers": 3}
LONE = {"sources": ("cifar10",), "targets": ("fashion_mnist",), "replicates": 1, "layers": 30, "levels": range(1, 21)}
ALL = set(FIGURES) - {"crossing"}
SIZED = "crossing"


def spec(name: str, found) -> dict:
    return FIGURES[name].draw(found).to_dict()


def records(drawn: dict) -> list[dict]:
    return [record for values in drawn["datasets"].values() for record in values]


def sized(sizes=(100, 1000), *, arms=("dense", "ticket", "own"), replicates=2, lost=()):
    """Findings of one source carried to one set at several sizes: own tickets gain a tenth for each tenfold."""
    found = findings(sources=PAIR[:1], targets=[f"svhn-{size}" for size in sizes], arms=arms, replicates=replicates)
    rows = []
    for row in found.rows:
        size = int(row["target_data"].rpartition("-")[2])
        own = {"own": 0.1 * len(str(size)) - 0.35, "ticket": 0.0, "dense": 0.05}.get(row["arm"], -0.2)
        gone = (row["arm"], size) in lost
        named = {"target_name": "svhn", "target_classes": 10, "target_images": size}
        rows += [] if gone else [{**row, **named, "accuracy": 0.5 + own + 0.01 * row["replicate"]}]
    return replace(found, rows=rows)


def test_the_crossing_shows_scores_and_gains_at_every_size() -> None:
    drawn = spec(SIZED, sized())
    titles = [" ".join(panel["title"]["text"]) for panel in drawn["concat"]]
    assert titles[0] == "vgg-11 at 8.6 %: accuracy"
    assert titles[1] == "vgg-11 at 8.6 %: gain over the target's own ticket"
    assert len(titles) == 6
    gains = [record for record in drawn["datasets"][drawn["concat"][1]["data"]["name"]] if "from" in record["line"]]
    assert {record["size"]: round(record["mean"], 3) for record in gains} == {100: 0.05, 1000: -0.05}
    assert all(record["n"] == 2 for record in records(drawn) if "n" in record)


def test_the_crossing_lists_the_lines_of_a_panel_alone_in_the_same_colours() -> None:
    looks = []
    for panel in spec(SIZED, sized())["concat"][:2]:
        colors = [layer["encoding"]["color"] for layer in panel["layer"] if "color" in layer["encoding"]]
        assert all(color == colors[0] for color in colors)
        looks.append((colors[0]["legend"]["values"], colors[0]["scale"]))
    (scores, of_scores), (gains, of_gains) = looks
    own = "the target's own ticket"
    assert own in scores and gains == [line for line in scores if line != own] and of_gains == of_scores


def test_scores_and_gains_of_the_crossing_stand_beside_each_other_and_dense_is_black() -> None:
    drawn = spec(SIZED, sized())
    assert drawn["columns"] == 2 and len(drawn["concat"]) > 4
    scales = [layer["encoding"]["color"]["scale"] for layer in drawn["concat"][0]["layer"]]
    assert {scale["range"][scale["domain"].index("dense")] for scale in scales} == {BLACK}


def test_the_crossing_needs_two_sizes_and_an_own_ticket() -> None:
    assert FIGURES[SIZED].draw(sized(sizes=(100,))) is None
    assert FIGURES[SIZED].draw(sized(arms=("dense", "ticket"))) is None
    drawn = spec(SIZED, sized(lost=[("own", 1000)]))
    gains = [record for record in drawn["datasets"][drawn["concat"][1]["data"]["name"]] if "line" in record]
    assert {record["size"] for record in gains} == {100}


@pytest.mark.parametrize("name", ["scores", "sources-and-targets", "optimizers", "controls", "curves", SIZED])
def test_equal_epochs_and_equal_steps_are_never_in_one_panel(name: str) -> None:
    found = sized() if name == SIZED else findings(**(BOTH if name == "optimizers" else SMALL))
    rows = [{**row, "equal": "epochs"} for row in found.rows]
    rows += [{**row, "accuracy": 0.9 * row["accuracy"], "equal": "steps", "key": None} for row in found.rows]
    curves = [{**row, "equal": "epochs"} for row in found.curves]
    curves += [{**row, "loss": 0.9 * row["loss"], "equal": "steps"} for row in found.curves]
    alone, drawn = spec(name, found), spec(name, replace(found, rows=rows, curves=curves))
    if name != SIZED:  # whose panels of gains are alike, and held once
        assert len(records(drawn)) == 2 * len(records(alone))
    assert len(drawn["concat"]) == 2 * len(alone["concat"])
    said = json.dumps(drawn["concat"])
    assert "equal epochs" in said and "equal steps" in said


def words(drawn: dict) -> str:
    return " ".join(drawn["title"]["subtitle"])


def test_figures_are_called_what_they_are() -> None:
    order = ["scores", "sources-and-targets", "optimizers", "controls", "mask-or-weights", "crossing"]
    order += ["layers", "overlap", "curves", "ledger"]
    assert list(FIGURES) == order
    assert all(figure.name == name and figure.title for name, figure in FIGURES.items())
    means = set(FIGURES) - {"ledger", "layers"}
    assert all("95 % Student t" in FIGURES[name].caption for name in means)


@pytest.mark.parametrize("name", list(FIGURES))
def test_a_figure_is_written_three_times_with_the_same_bytes(name: str, tmp_path) -> None:
    made = BOTH if name == "optimizers" else SMALL
    found = sized() if name == SIZED else findings(**made, zeros=0.3, lost=[("reinit", 20, 1)])
    first, second = (
        [file.read_bytes() for file in write(FIGURES[name].draw(found), tmp_path / folder, name)] for folder in "ab"
    )
    assert first == second
    assert [data[:4] for data in first] == [b"<svg", b"\x89PNG", b"%PDF"]
    assert spec(name, found) == spec(name, found)


@pytest.mark.parametrize(
    ("made", "drawn"),
    [
        (SMALL, ALL - {"optimizers"}),
        (BOTH, ALL - {"sources-and-targets", "mask-or-weights"}),
        (LONE, ALL - {"optimizers", "overlap", "mask-or-weights"}),
        ({**SMALL, "arms": ("dense",)}, {"scores", "layers", "overlap", "curves", "ledger"}),
    ],
)
def test_what_cannot_be_drawn_is_not(made: dict, drawn: set[str], tmp_path) -> None:
    found = findings(**made)
    assert {name for name, figure in FIGURES.items() if figure.draw(found) is not None} == drawn


def test_nothing_is_drawn_of_nothing() -> None:
    nothing = dict.fromkeys(("rows", "missing", "layers", "overlaps", "curves", "ledger"), ())
    found = replace(findings(**LONE), **nothing)
    assert [figure.draw(found) for figure in FIGURES.values()] == [None] * len(FIGURES)


@pytest.mark.parametrize("name", sorted(ALL - {"ledger"}))
@pytest.mark.parametrize("replicates", [1, 3])
def test_a_mean_is_never_without_its_n(name: str, replicates: int) -> None:
    drawn = spec(name, findings(**{**(BOTH if name == "optimizers" else SMALL), "replicates": replicates}))
    assert f"n = {replicates} replicate" in words(drawn)
    means = [record for record in records(drawn) if "mean" in record]
    assert {str(record["n"]) for record in records(drawn) if record["n"] != "—"} == {str(replicates)}
    if name != "layers":
        assert all((record["low"] is None) == (replicates == 1) for record in means)


def test_the_answer_on_the_tile_is_the_paired_difference() -> None:
    found = findings()
    tiles = records(spec("sources-and-targets", found))
    assert len(tiles) == 3 * len(SETS) ** 2
    tile = next(t for t in tiles if (t["source"], t["target"], t["level"]) == ("svhn", "cifar10", 20))
    ticket, own = (
        {
            row["replicate"]: row["accuracy"]
            for row in found.rows
            if (row["arm"], row["source_data"], row["target_data"], row["level"]) == ("ticket", source, "cifar10", 20)
        }
        for source in ("svhn", "cifar10")
    )
    known = paired(ticket, own)
    assert tile["value"] == known.difference.mean
    assert tile["seen"] == bool(known.sign)
    home = [tile for tile in tiles if tile["source"] == tile["target"]]
    assert {(tile["value"], tile["third"]) for tile in home} == {(None, "own, n = 3")}
    most = max(abs(tile["value"] or 0) for tile in tiles)
    assert domains(spec("sources-and-targets", found)) == {(-most, 0, most)}


def domains(drawn: dict) -> set[tuple[float, ...]]:
    """What the colours of all panels span."""
    layers = [layer for panel in drawn["concat"] for layer in panel["layer"]]
    colors = [layer["encoding"]["color"] for layer in layers if "color" in layer["encoding"]]
    return {tuple(color["scale"]["domain"]) for color in colors}


def test_all_panels_of_a_matrix_have_one_scale_of_colours() -> None:
    drawn = spec("optimizers", findings(**BOTH))
    values = [abs(tile["value"]) for tile in records(drawn) if tile["value"] is not None]
    assert len(drawn["concat"]) == 2 and domains(drawn) == {(-max(values), 0, max(values))}


def test_a_missing_tile_is_shown_as_missing() -> None:
    lost = [(arm, 20, replicate) for arm in ("ticket", "own") for replicate in range(3)]
    drawn = spec("sources-and-targets", findings(**SMALL, lost=lost))
    tiles = records(drawn)
    assert {tile["first"] for tile in tiles if tile["level"] == 20} == {"missing"}
    assert "missing" not in {tile["first"] for tile in tiles if tile["level"] < 20}
    assert [param["value"] for param in drawn["params"]] == [17], "begins where there is something to see"
    assert drawn["params"][0]["bind"]["options"] == [20, 17, 11]


def test_optimizers_are_set_beside_each_other_on_one_set() -> None:
    drawn = spec("optimizers", findings(**BOTH))
    assert [" ".join(panel["title"]["text"]) for panel in drawn["concat"]] == [
        f"vgg-11 on cifar10, against {rival}" for rival in ("the target's own ticket", "the global random ticket")
    ]
    own = [tile for tile in records(drawn) if tile["third"].startswith("own")]
    assert {tile["source"] == tile["target"] for tile in own} == {True}
    assert words(drawn).startswith("At 1.2 % of the weights, or what the menu says. ")


def test_a_matrix_says_which_levels_of_the_menu_it_has() -> None:
    here, there = (findings(**SMALL, part=part, levels=levels) for part, levels in (("a", (11, 20)), ("b", (11,))))
    drawn = spec("sources-and-targets", replace(here, rows=[*here.rows, *there.rows]))
    below = {panel["title"]["text"][0][:2]: panel["title"].get("subtitle") for panel in drawn["concat"]}
    assert below == {"a:": None, "b:": ["Only at 8.6 % of the weights"]}


@pytest.mark.parametrize(("zeros", "shaded"), [(0.0, False), (0.0005, False), (0.9, True)])
def test_what_training_drops_itself_is_shaded(zeros: float, shaded: bool) -> None:
    drawn = spec("scores", findings(**SMALL, zeros=zeros))
    marks = [layer["mark"] for panel in drawn["concat"] for layer in panel["layer"] if "data" in layer]
    assert len(marks) == (len(drawn["concat"]) if shaded else 0)
    assert ("brought to zero by itself (90 % of" in words(drawn)) == ("zero" in words(drawn)) == shaded


def test_missing_cells_are_named_in_their_panel() -> None:
    drawn = spec("scores", findings(**SMALL, lost=[("reinit", 20, 1)]))
    said = [" ".join(panel["title"].get("subtitle", ())) for panel in drawn["concat"]]
    assert [one for one in said if one] == ["Missing: new weights, same mask at level 20 (2 networks)."] * 2
    assert "4 of " in words(drawn), "of all cells asked for"


def test_the_same_network_in_two_parts_counts_once_in_each() -> None:
    one, other = (findings(**SMALL, part=part) for part in ("here", "there"))
    both = replace(one, rows=[*one.rows, *({**row, "accuracy": 0.5} for row in other.rows)])
    titles = [" ".join(panel["title"]["text"]) for panel in spec("scores", both)["concat"]]
    assert list(dict.fromkeys(titles)) == [f"{part}: {data} under sgd" for part in ("here", "there") for data in PAIR]
    assert {record["n"] for record in records(spec("scores", both))} == {3}


def test_sources_differ_in_colour_and_shape_in_all_panels_alike() -> None:
    drawn = spec("controls", findings())
    looks = {
        (str(scale["domain"]), str(scale["range"]))
        for panel in drawn["concat"]
        for layer in panel["layer"]
        for channel in ("color", "shape")
        if (scale := layer["encoding"].get(channel, {}).get("scale"))
    }
    assert looks == {(str(sorted(SETS)), str(list(look[: len(SETS)]))) for look in (PALETTE, SHAPES)}


def test_of_many_sources_every_ticket_comes_first() -> None:
    for name in ("scores", "curves"):
        chart = FIGURES[name].draw(findings())
        titles = [" ".join(panel["title"]["text"]) for panel in chart.to_dict()["concat"]]
        assert first(chart.to_dict()) == len(SETS) < len(titles)
        assert all(title.endswith("every ticket") for title in titles[: len(SETS)])
        assert {title.rpartition(" from ")[2] for title in titles[len(SETS) :] if " from " in title} == set(SETS)


@pytest.mark.parametrize("levels", [(20,), (5, 20)])
def test_panels_apart_are_charts_of_their_own(levels: tuple[int, ...]) -> None:
    drawn = spec("controls", findings(sources=("svhn",), targets=("svhn",), levels=levels))
    panels = apart(drawn)
    assert len(panels) == len(drawn["concat"]) == len(levels)
    shown = [record for panel in panels for values in panel["datasets"].values() for record in values]
    assert len(shown) == len(records(drawn)), "each has its own records and no others"
    for panel in panels:
        views = [layer.get("name") for layer in panel["layer"]]
        assert all(set(param["views"]) & set(views) for param in panel["params"])
        assert panel["autosize"]["type"] == "fit-x" and still(panel, "panel").startswith("<svg")
    own = {"mark": "bar", "data": {"values": []}}
    assert apart(own) == [own], "a chart that is not ours is left as it is"


def test_the_hero_shows_the_stated_density_of_every_target() -> None:
    found = findings(sources=PAIR, targets=SETS)
    sparsest, stated = (hero_chart(found.rows, levels).to_dict() for levels in ((), (11,)))
    assert {record["kept"] for record in records(sparsest)} == {"100 %", "1.2 %"}
    assert {record["kept"] for record in records(stated)} == {"100 %", "8.6 %"}
    assert [" ".join(panel["title"]["text"]) for panel in stated["concat"]] == [
        f"{data} under sgd" for data in sorted(SETS)
    ]
    lines = {record["line"] for record in records(sparsest)}
    assert {"dense", "the target's own ticket", "ticket from svhn", "global random"} <= lines
    tickets = {row["replicate"]: row["accuracy"] for row in found.rows if _at(row, "ticket", "svhn", "cifar100", 20)}
    shown = next(
        record["mean"]
        for record in records(sparsest)
        if record["line"] == "ticket from svhn" and abs(record["mean"] - sum(tickets.values()) / 3) < 1e-12
    )
    assert shown and hero_chart([row for row in found.rows if row["arm"] != "ticket"]) is None


def test_panels_of_the_hero_have_one_scale_with_ticks_around_all_scores() -> None:
    found = findings(**BOTH)
    drawn = hero_chart([{**row, "accuracy": row["accuracy"] ** (3 if "adam" in str(row) else 1)} for row in found.rows])
    x = [layer["encoding"]["x"] for panel in drawn.to_dict()["concat"] for layer in panel["layer"]]
    scaled = {(str(axis["scale"]), str(axis["axis"]["values"])) for axis in x if "axis" in axis}
    assert len(drawn.to_dict()["concat"]) == 2 and len(scaled) == 1
    ticks = next(axis["axis"]["values"] for axis in x if "axis" in axis)
    means = [record["mean"] for record in records(drawn.to_dict())]
    assert len(ticks) >= 4 and ticks[0] <= min(means) and max(means) <= ticks[-1] <= 1


@pytest.mark.parametrize("replicates", [1, 3])
def test_captions_say_what_one_replicate_lacks_only_where_there_is_one(replicates: int) -> None:
    for name in ("controls", "mask-or-weights", "overlap", "curves"):
        said = words(spec(name, findings(**{**SMALL, "replicates": replicates})))
        assert ("one replicate has none" in said) == (replicates == 1), name


def _at(row: dict, *at: object) -> bool:
    return (row["arm"], row["source_data"], row["target_data"], row["level"]) == at


def test_controls_are_compared_with_their_own_ticket() -> None:
    drawn = spec("controls", findings(**SMALL))
    found = {(record["control"], record["line"]) for record in records(drawn)}
    controls = ["dense", "the target's own ticket", "new weights, same mask", "layerwise random", "global random"]
    controls += ["the target's weights, same mask", "the target's mask, same weights"]
    assert found == {(control, source) for control in controls for source in PAIR}
    assert len(records(drawn)) == 3 * (2 * 2 * len(controls) - 2 * 3), (
        "on its own data no ticket is compared with itself"
    )


def test_every_figure_has_its_own_title() -> None:
    """Both above the figure and in its picture."""
    titles = [HERO.title, *(figure.title for figure in FIGURES.values())]
    assert len(titles) == len(set(titles))
    drawn = [hero_chart(findings(**SMALL).rows).to_dict(), spec("controls", findings(**SMALL))]
    assert [each["title"]["text"] for each in drawn] == [HERO.title, FIGURES["controls"].title]


def test_nothing_can_be_fetched() -> None:
    for name in FIGURES:
        found = sized() if name == SIZED else findings(**(BOTH if name == "optimizers" else SMALL))
        drawn = spec(name, found)
        assert "url" not in json.dumps({key: value for key, value in drawn.items() if key != "$schema"}), name
