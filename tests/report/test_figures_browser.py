"""Figures in a real browser: nothing small, clipped, overlapping or beside the page, on screens and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import NEEDED, browser, colours, screen, visit
from made_report import reported
from selenium.webdriver.support.ui import WebDriverWait
from waiting import FOREVER

from oneticket.charts.theme import DARK, INK, PALETTE, PAPER
from oneticket.report.page import write_report
from oneticket.study.findings import Findings

pytestmark = NEEDED
WIDTHS = (390, 768, 1440)
PAPER_WIDTH = 680  # pixels of A4 within its margins
ARMS = ("dense", "ticket", "own", "mask-only", "weights-only", "dense-rewound", "mask-init", "reinit", "own-reinit")
ARMS += ("trained-signs", "signs", "layerwise-random", "layerwise-random-kept", "corrected-random", "global-random")


def _many() -> Findings:
    """15 arms, three sources and three targets."""
    sets = ("cifar10", "svhn", "fashion_mnist")
    found = reported(sources=sets, targets=sets, arms=ARMS, levels=(5, 20), layers=6, lost=[("reinit", 20, 1)])
    figures = ("scores", "sources-and-targets", "controls", "mask-or-weights")
    return replace(found, plan=replace(found.plan, claims=(), figures=figures))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(_many(), tmp_path_factory.mktemp("report"))[0]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def _opened(driver: Any, page: Path, width: int, scheme: str = "light") -> None:
    """The page with every panel unfolded and drawn for that width."""
    screen(driver, width)
    colours(driver, scheme)
    visit(driver, page)
    driver.execute_script("for (const one of document.querySelectorAll('figure details')) one.open = true")
    left = "return document.querySelectorAll('.panel:not(.drawn)').length"
    WebDriverWait(driver, FOREVER).until(lambda _: driver.execute_script(left) == 0)


@pytest.mark.parametrize("width", WIDTHS)
def test_words_of_figures_are_large_whole_and_apart(driver: Any, page: Path, width: int) -> None:
    _opened(driver, page, width)
    found = driver.execute_script(MEASURE)
    assert found["texts"] > 300 and found["smallest"] >= 10
    assert found["clipped"] == [] and found["overlapping"] == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert found["beside"] == []


def test_words_of_figures_are_large_whole_and_apart_on_paper(driver: Any, page: Path) -> None:
    _opened(driver, page, 1440)
    colours(driver, "light", "print")
    screen(driver, PAPER_WIDTH)
    found = driver.execute_script(MEASURE)
    assert found["texts"] > 100 and found["smallest"] * 72 / 96 >= 7
    assert found["clipped"] == [] and found["overlapping"] == [] and found["beside"] == []
    shown = driver.execute_script(
        "return [...document.querySelectorAll('.panel')].map(p => ['.still', '.chart'].map(part => "
        "getComputedStyle(p.querySelector(part)).display))"
    )
    assert {tuple(each) for each in shown} == {("block", "none")}, "paper has the stills, whatever was on the screen"


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (768, 2), (1440, 3)])
def test_panels_are_laid_out_anew_at_every_width(driver: Any, page: Path, width: int, columns: int) -> None:
    _opened(driver, page, width)
    rows = driver.execute_script(
        "return [...document.querySelectorAll('#figure-scores .panels')].map(p => "
        "getComputedStyle(p).gridTemplateColumns.split(' ').length)"
    )
    assert set(rows) <= {columns, *range(1, columns)} and max(rows) == columns
    small = "return [...document.querySelectorAll('.panel .chart svg')].map(s => s.getBoundingClientRect().width)"
    before = driver.execute_script(small)
    assert min(before) >= 300
    screen(driver, width - 40)
    WebDriverWait(driver, FOREVER).until(lambda _: driver.execute_script(small) != before)


def test_figures_are_dark_on_dark_pages(driver: Any, page: Path) -> None:
    wanted = {colour.lower(): DARK[colour].lower() for colour in (INK, *PALETTE[:3])}
    for scheme in ("light", "dark"):
        _opened(driver, page, 1440, scheme)
        found = driver.execute_script(
            "const seen = {}; for (const mark of document.querySelectorAll('.panel .chart svg [fill]')) "
            "seen[mark.getAttribute('fill').toLowerCase()] = getComputedStyle(mark).fill; return seen"
        )
        for light, dark in wanted.items():
            assert found[light] == _rgb(dark if scheme == "dark" else light)
        assert _rgb(DARK[PAPER] if scheme == "dark" else PAPER) == driver.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
    _opened(driver, page, 1440, "dark")
    colours(driver, "dark", "print")
    inks = driver.execute_script(
        "return [...new Set([...document.querySelectorAll('.panel .still text')].map(t => getComputedStyle(t).fill))]"
    )
    assert _rgb(INK) in inks and _rgb(DARK[INK]) not in inks, "paper is white"


def test_marks_speak_what_is_true(driver: Any, page: Path) -> None:
    _opened(driver, page, 1440)
    spoken = driver.execute_script(
        "return [...document.querySelectorAll('#figure-scores .chart .mark-symbol.role-mark path')]"
        ".map(mark => mark.getAttribute('aria-label'))"
    )
    densities = {percent for label in spoken for percent in re.findall(r"weights kept: ([\d.]+ %)", label)}
    assert len(spoken) > 20 and {"33 %", "1.2 %"} <= densities
    label_of_a_point = re.compile(
        r"arm: .+; accuracy \(%\) \[95 %\]: (\d+\.\d+) (\[\d+\.\d+, \d+\.\d+\]|\(n = 1\)); n: \d"
    )
    found = [label_of_a_point.search(label) for label in spoken]
    assert [label for label, one in zip(spoken, found, strict=True) if not one] == []
    assert max(float(one[1]) for one in found if one) > 50


def test_axes_are_written_and_spoken_in_percent_and_points(driver: Any, page: Path) -> None:
    _opened(driver, page, 1440)
    axes = driver.execute_script(
        "return [...document.querySelectorAll('.panel .chart .role-axis[aria-label]')].map(axis => "
        "[axis.closest('figure').id, axis.getAttribute('aria-label'), "
        "[...axis.querySelectorAll('.role-axis-label text')].map(text => text.textContent)])"
    )
    twice = "return document.querySelectorAll('.panel .role-axis [aria-label]').length"
    assert driver.execute_script(twice) == 0, "an axis is spoken once"
    kept = {label for _, label, _ in axes if label.startswith("weights kept")}
    assert kept == {"weights kept, from 33 % to 1.2 %, logarithmic"}
    known = {"figure-hero": "test accuracy (%)", "figure-scores": "test accuracy (%)"}
    known |= {"figure-controls": "ticket better by (points)", "figure-mask-or-weights": "gain in points of accuracy"}
    for figure, title in known.items():
        found = [(label, ticks) for name, label, ticks in axes if name == figure and label.startswith(title)]
        assert found, figure
        for label, ticks in found:
            low, high = re.fullmatch(rf"{re.escape(title)}, from (.+) to (.+)", label).groups()
            low, high = (float(end.replace("−", "-")) for end in (low, high))
            numbers = [float(tick.replace("−", "-")) for tick in ticks]
            assert len(numbers) > 1 and max(map(abs, numbers)) > 1, "percent and points, not shares"
            assert min(numbers) <= high and low <= max(numbers), "both are of one axis"


def test_headings_and_plots_of_one_row_stand_side_by_side(driver: Any, page: Path) -> None:
    _opened(driver, page, 1440)
    frames = driver.execute_script(
        "return [...document.querySelectorAll('#figure-scores .panels')].map(panels => [...panels.children].map("
        "panel => { const box = panel.querySelector('.chart .background').getBoundingClientRect(); "
        "const heading = panel.querySelector('.heading').getBoundingClientRect(); "
        "return [panel.getBoundingClientRect().bottom, heading.top, heading.height, box.top, box.bottom]; }))"
    )
    rows: dict[tuple[int, int], list[list[float]]] = {}
    for number, panels in enumerate(frames):
        for end, *places in panels:
            rows.setdefault((number, round(end)), []).append(places)
    assert max(map(len, rows.values())) == 3
    for places in rows.values():
        headings, heights, tops, bottoms = zip(*places, strict=True)
        assert min(heights) > 12, "every panel says what it is"
        for edge in (headings, tops, bottoms):
            assert max(edge) - min(edge) < 2


def test_the_hero_stands_under_the_verdicts_with_a_name_and_a_number_at_every_point(driver: Any, page: Path) -> None:
    _opened(driver, page, 1440)
    order = driver.execute_script("return [...document.querySelectorAll('main > section')].map(s => s.id)")
    assert order.index("hero") == order.index("answer") + 1
    panels = driver.execute_script(
        "return [...document.querySelectorAll('#hero .panel')].map(p => [p.querySelectorAll("
        "'.chart .mark-symbol.role-mark path').length, [...p.querySelectorAll('.chart text')].map(t => t.textContent)])"
    )
    assert len(panels) >= 2
    for points, words in panels:
        assert points >= 4 and len([word for word in words if re.fullmatch(r"[\d.]+ ± [\d.]+.*", word)]) == points
        assert "dense" in words and any("ticket" in word for word in words) and "global random" in words


def test_all_panels_of_a_matrix_have_one_scale(driver: Any, page: Path) -> None:
    _opened(driver, page, 1440)
    legends = driver.execute_script(
        "return [...document.querySelectorAll('#figure-sources-and-targets .chart .role-legend')]"
        ".map(legend => legend.textContent)"
    )
    assert len(set(legends)) <= 1


def _rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[start : start + 2], 16)) for start in (1, 3, 5))})"


# Every visible word of every visible panel: its size on the page, whether it leaves the panel, or meets another.
MEASURE = """
const found = {texts: 0, smallest: 1e9, clipped: [], overlapping: [], beside: []};
for (const svg of document.querySelectorAll('.panel svg')) {
  if (!svg.getClientRects().length) continue;
  const frame = svg.getBoundingClientRect(), boxes = [];
  if (frame.left < -1 || frame.right > innerWidth + 1) found.beside.push(svg.closest('figure').id);
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect();
    if (!text.textContent.trim() || !box.width || Number(getComputedStyle(text).opacity) === 0) continue;
    const scale = text.getScreenCTM(), size = parseFloat(getComputedStyle(text).fontSize);
    found.texts += 1;
    found.smallest = Math.min(found.smallest, size * Math.hypot(scale.a, scale.b));
    const said = svg.closest('figure').id + ': ' + text.textContent;
    const out = [frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom];
    if (Math.max(...out) > 1) found.clipped.push(said);
    for (const [other, before] of boxes)
      if (Math.min(box.right, before.right) - Math.max(box.left, before.left) > 1
          && Math.min(box.bottom, before.bottom) - Math.max(box.top, before.top) > 3)
        found.overlapping.push(said + ' | ' + other);
    boxes.push([said, box]);
  }
}
return found;
"""
