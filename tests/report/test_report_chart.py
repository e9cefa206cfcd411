from __future__ import annotations

import random
import re
import struct
import xml.etree.ElementTree as xml

import pytest

from oneticket.charts.chart import still, write
from oneticket.charts.legends import legend
from oneticket.charts.scores import scores_chart
from oneticket.charts.theme import DARK, LETTER, MOST, PALETTE
from oneticket.ground.errors import SpecError, StoreError
from oneticket.lottery.arms import ARMS


def panels(rows) -> list[dict]:
    return scores_chart(rows).to_dict()["concat"]


def test_the_same_rows_draw_the_same_bytes(study, tmp_path) -> None:
    rows = study(levels=[0, 10, 20])
    shuffled = random.Random(1).sample(rows, len(rows))
    first = [file.read_bytes() for file in write(scores_chart(rows), tmp_path / "a", "accuracy")]
    second = [file.read_bytes() for file in write(scores_chart(shuffled), tmp_path / "b", "accuracy")]
    assert first == second
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["accuracy.pdf", "accuracy.png", "accuracy.svg"]


def test_the_figure_says_what_it_shows(study, tmp_path) -> None:
    svg, png, _ = write(scores_chart(study(levels=[0, 10, 20]), title="Do tickets travel?"), tmp_path, "accuracy")
    words = [text.strip() for text in xml.fromstring(svg.read_text()).itertext() if text.strip()]
    for expected in (
        "Do tickets travel?",
        "lenet-300-100 on digits:b, n = 3 replicates.",
        "digits:b under adam",
        "digits:b under sgd",
        "weights kept (logarithmic)",
        "test accuracy (%)",
        "100 %",
        "1.2 %",
    ):
        assert expected in words
    assert "Dashed line: the dense network." in " ".join(words)
    assert {words.count(f"ticket from digits:a{found}") for found in ("", " (sgd)")} == {1}, "found with sgd"
    for name in ("new weights, same mask", "global random"):
        assert words.count(name) == 2, "each panel has its legend"
    width, _ = struct.unpack(">II", png.read_bytes()[16:24])
    assert width > 1300


def test_a_file_turns_dark_with_its_reader(study, tmp_path) -> None:
    svg = write(scores_chart(study(levels=[0, 20])), tmp_path, "accuracy")[0].read_text()
    style = svg[svg.index("<style>") : svg.index("</style>")]
    assert style.startswith("<style>@media (prefers-color-scheme: dark)")
    used = set(re.findall(r'(?:fill|stroke)="(#[0-9A-Fa-f]{6})"', svg.replace(style, "")))
    assert used and used <= set(DARK), "a colour that stays as it is on a dark page"


def test_a_point_speaks_its_own_density(study) -> None:
    rows = study(arms=["dense", "ticket", "reinit", "signs"], optimizers=["sgd"], levels=[5, 20])
    drawn = still(scores_chart(rows).to_dict(), "spoken")
    spoken = re.findall(r'aria-label="arm: ([^;"]+); weights kept: ([^;"]+); accuracy', drawn)
    assert {kept for _, kept in spoken} == {"100 %", "33 %", "1.2 %"}
    assert len(spoken) == 1 + 3 * 2, "points and the dense network alone speak of scores"


def test_bands_stay_within_accuracies(study) -> None:
    spec = scores_chart(study(replicates=range(2), spread=0.05)).to_dict()
    assert len(spec["datasets"]) == 2
    for values in spec["datasets"].values():
        assert min(value["low"] for value in values) == 0
        assert max(value["high"] for value in values) == 1


@pytest.mark.parametrize(
    ("fall", "spread", "domain"), [(0.86, 0.004, [0.0, 1.0]), (0.02, 0.001, [0.9, 1.0]), (0.0, 0.0, [0.95, 1.0])]
)
def test_the_accuracy_axis_fits(study, fall: float, spread: float, domain: list[float]) -> None:
    (panel,) = panels(study(optimizers=["sgd"], arms=["dense", "ticket"], fall={"ticket": fall}, spread=spread))
    found = [layer["encoding"]["y"]["scale"]["domain"] for layer in panel["layer"]]
    assert found == [domain] * len(panel["layer"])


def test_density_falls_to_the_right(study) -> None:
    left, right = panels(study())[0]["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    assert left > 0.8 > 0.8**20 > right


def test_one_replicate_has_no_band(study, tmp_path) -> None:
    chart = scores_chart(study(replicates=[0], levels=[0, 20]))
    assert chart.to_dict()["title"]["subtitle"][1].startswith("Points: means. No bars: one replicate")
    assert all(file.stat().st_size for file in write(chart, tmp_path, "one"))


def test_a_panel_per_setting_and_two_in_a_line(study, searched) -> None:
    spec = scores_chart(searched(levels=[1]) + study(levels=[1])).to_dict()
    titles = [" ".join(panel["title"]["text"]) for panel in spec["concat"]]
    assert (titles, spec["columns"]) == (["digits:a under sgd", "digits:b under adam", "digits:b under sgd"], 2)


def test_the_target_among_the_sources_has_one_line(study) -> None:
    sources = [("digits:a", "sgd"), ("digits:b", "sgd")]
    rows = study(arms=["dense", "ticket"], optimizers=["sgd"], sources=sources, levels=[20])
    home = [{**row, "arm": "own"} for row in rows if row["source_data"] == "digits:b"]
    rows = [{**row, "key": f"{row['source_data']} {row['replicate']}"} for row in rows + home]
    (values,) = scores_chart(rows).to_dict()["datasets"].values()
    drawn = [value["line"] for value in values if not value["dense"]]
    assert drawn == ["ticket from digits:a", "the target's own ticket"]


@pytest.mark.parametrize("sources", [[("digits:a", "sgd")], [("digits:a", "sgd"), ("digits:a", "adam")]])
def test_no_two_lines_of_a_panel_look_alike(study, sources) -> None:
    arms = [arm for arm in ARMS if arm not in ("own-search", "own-reinit")]
    rows = study(arms=arms, optimizers=["sgd"], sources=sources, levels=[0, 20])
    spec, shown = scores_chart(rows).to_dict(), []
    for panel in spec["concat"]:
        *_, line, point = panel["layer"]
        channels = (line["encoding"]["strokeDash"], point["encoding"]["shape"], point["encoding"]["color"])
        names = {record["line"] for record in spec["datasets"][panel["data"]["name"]] if not record["dense"]}
        for channel in channels:
            looks = [str(look) for look in channel["scale"]["range"]]
            assert set(channel["scale"]["domain"]) == names
            assert len(set(looks)) == len(looks) <= MOST, "colour, shape and dash each tell lines apart"
        shown += [(" ".join(panel["title"]["text"]), name) for name in names]
    assert len(spec["concat"]) > 2
    assert len({name for _, name in shown}) >= len(arms) - 1, "every arm stands somewhere"


def test_an_arm_has_one_colour_in_all_panels_and_a_random_ticket_stands_beside_each_ticket(study) -> None:
    sources = [("digits:a", "sgd"), ("digits:a", "adam")]
    spec = scores_chart(study(arms=["dense", "ticket", "reinit", "global-random"], sources=sources)).to_dict()
    titles = [" ".join(panel["title"]["text"]) for panel in spec["concat"]]
    assert not any("of the target" in title for title in titles)
    looks: dict[str, set[str]] = {}
    for panel in spec["concat"]:
        scale = panel["layer"][-1]["encoding"]["color"]["scale"]
        for name, color in zip(scale["domain"], scale["range"], strict=True):
            looks.setdefault(name, set()).add(color)
    arms = {"ticket": PALETTE[0], "new weights, same mask": PALETTE[1], "global random": PALETTE[2]}
    assert {name: looks[name] for name in arms} == {name: {color} for name, color in arms.items()}
    assert not {color for name in looks if " from " in name for color in looks[name]} & set(arms.values())
    beside = [panel["layer"][-1]["encoding"]["color"]["scale"]["domain"] for panel in spec["concat"]]
    assert beside.count(list(arms)) == len(sources) * 2


def test_headings_of_a_row_begin_at_one_height(study) -> None:
    arms = ["dense", "ticket", "reinit", "signs", "global-random"]
    sources = [("digits:a", "sgd"), ("a set with a name that takes two lines", "adam")]
    drawn = still(scores_chart(study(arms=arms, sources=sources, levels=[5, 20])).to_dict(), "row")
    places = re.findall(r'role-title"><g transform="translate\([-\d.]+,([-\d.]+)\)', drawn)[:-1]  # the sheet comes last
    assert len(places) == 6 and len(set(places[:3])) == len(set(places[3:])) == 1


def test_names_of_a_legend_do_not_run_into_each_other_in_a_wider_font() -> None:
    names = ["ticket from cifar10-20000", "dense", "rewound dense"]
    assert legend(names)["columns"] == 1
    two = legend(["new weights, mask", "ticket"])
    assert two["columns"] == 2 and two["columnPadding"] > 14 + 0.15 * LETTER * len("new weights, mask")


def test_a_rewound_dense_network_is_a_level_line_and_leaves_the_axis_to_what_is_pruned(study) -> None:
    arms = ["dense", "ticket", "reinit", "dense-rewound"]
    sources = [("digits:a", "sgd"), ("digits:c", "sgd")]
    rows = study(arms=arms, optimizers=["sgd"], sources=sources, levels=[5, 20])
    assert any(row["arm"] == "dense-rewound" and row["density"] == 1 for row in rows)
    spec = scores_chart(rows).to_dict()
    assert "Level line in colour: the rewound dense network." in " ".join(spec["title"]["subtitle"])
    drawn = still(spec, "level")
    axes = re.findall(r'aria-label="weights kept, from ([^"]+), logarithmic"', drawn)
    assert axes == ["33 % to 1.2 %"] * len(spec["concat"]), "each axis is spoken once"
    level = [line for line in re.findall(r"<[^>]+>", drawn) if 'aria-label="arm: rewound dense' in line]
    assert len(level) == len(sources)
    assert all(re.search(r' x2="-?270" y2="0"', line) for line in level), "from the left to the right"
    domain = spec["concat"][0]["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    assert domain[0] < 0.5


def test_what_cannot_be_written_is_refused(study, tmp_path) -> None:
    chart = scores_chart(study(levels=[20]))
    for name in ("", "a/b", ".", "a/"):
        with pytest.raises(SpecError, match="name: expected"):
            write(chart, tmp_path, name)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write charts"):
        write(chart, tmp_path / "file", "accuracy")
