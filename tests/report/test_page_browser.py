"""The page around its figures in a real browser: cards, contents, tables, dark mode and paper."""

from __future__ import annotations

import base64
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

from oneticket.report.answers import text as html_text
from oneticket.report.contents import contents
from oneticket.report.judged import beside, effect
from oneticket.report.page import write_report
from oneticket.study.findings import Findings

pytestmark = NEEDED
SETS = ("fashion_mnist", "svhn", "cifar10", "cifar100")
WIDTHS = (390, 768, 1440)


@pytest.fixture(scope="module")
def found() -> Findings:
    """A study of four sets: 12 tickets on other sets, so that their comparisons are folded target by target."""
    made = reported(sources=SETS, targets=(*SETS, "places365"), levels=(11, 20), layers=2)
    return replace(made, plan=replace(made.plan, figures=("scores",)))


@pytest.fixture(scope="module")
def page(found: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row for row in found.rows if row["target_data"] == "svhn" and row["source_data"] in (None, "cifar10")]
    return write_report(found, tmp_path_factory.mktemp("report"), method=rows)[0]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, page: Path) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        screen(running, 1440)
        visit(running, page)
        yield running


@pytest.fixture(autouse=True)
def usual(driver: Any) -> None:
    """A light desktop, at the top of the page, with everything as it was folded."""
    screen(driver, 1440)
    colours(driver, "light")
    driver.execute_script("history.replaceState(null, '', location.pathname); scrollTo(0, 0);")


def test_cards_say_the_effect_in_words_beside_a_bar_that_marks_zero(driver: Any, found: Findings, page: Path) -> None:
    cards = driver.execute_script(
        "return [...document.querySelectorAll('.answers li')].map(card => [card.innerText, "
        "...[...card.querySelectorAll('svg.bar')].map(bar => [bar.getAttribute('aria-label'), "
        "...['zero', 'interval', 'mean'].map(part => {const box = bar.querySelector('.' + part)"
        ".getBoundingClientRect(); return [box.left, box.right]})])])"
    )
    verdicts = contents(found).verdicts
    assert len(cards) == len(verdicts)
    markdown = (page.parent / "report.md").read_text("utf-8").replace("\\", "")
    for verdict, (text, *bars) in zip(verdicts, cards, strict=True):
        text = " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())
        for words in beside(verdict):
            assert words in text and words in markdown
        if verdict.effect is None:
            assert not bars
            continue
        words = effect(verdict)
        assert re.fullmatch(r"[+−]?[\d.]+ points over .+ \(95 % CI −?[\d.]+ to −?[\d.]+, n = 3\)", words)
        assert words in text and words in markdown
        ((label, zero, interval, mean),) = bars
        assert label.startswith(words) and "zero is marked" in label
        low, high, middle = verdict.effect.low, verdict.effect.high, sum(mean) / 2
        assert low is not None and high is not None
        assert (zero[1] <= interval[0]) == (low > 0) and (interval[1] <= zero[0]) == (high < 0)
        assert interval[0] < middle < interval[1]


@pytest.fixture
def stated(driver: Any, found: Findings, page: Path, tmp_path: Path) -> Iterator[Findings]:
    """The same study with two stated densities, whose report the browser shows."""
    plan = replace(found.plan, densities={0.086: 11, 0.012: 20}, figures=())
    visit(driver, write_report(replace(found, plan=plan), tmp_path)[0])
    yield replace(found, plan=plan)
    visit(driver, page)


def test_a_claim_has_one_card_whatever_densities_are_stated(driver: Any, stated: Findings) -> None:
    verdicts = contents(stated).verdicts
    assert [one.name for one in verdicts][:2] == ["C1 at 8.6 %", "C1 at 1.2 %"] and len(verdicts) == 6
    cards = driver.execute_script(
        "return [...document.querySelectorAll('.answers > li')].map(card => [card.innerText, "
        "[...card.querySelectorAll('.bar .zero')].map(zero => zero.getBoundingClientRect().left)])"
    )
    assert len(cards) == 3
    for text, zeros in cards:
        those = [one for one in verdicts if one.claim == text.split()[0]]
        words = " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())
        assert len(those) == 2 and words.count(those[0].statement) == 1
        for one in those:
            assert (effect(one) if one.effect else one.notes[0]) in words
            assert one.effect is None or one.at in words
            assert one.survives is not False or f"{one.outcome}, but not after correction" in words
        assert len(zeros) == sum(one.effect is not None for one in those)
        assert not zeros or max(zeros) - min(zeros) < 1, "bars of one claim have one scale"
    asked = "return [...document.querySelectorAll('nav ul ul a')].map(link => link.textContent)"
    assert driver.execute_script(asked) == ["C1", "C3", "C4"]
    folded = "return [...document.querySelectorAll('article > details')].filter(one => one.open === {open}).length"
    assert driver.execute_script(folded.format(open="true")) == 0
    driver.execute_script("location.hash = arguments[0]", "claim-C3-20-at-20-1-2e-2-20--25-")
    WebDriverWait(driver, FOREVER).until(lambda _: driver.execute_script(folded.format(open="true")) == 1)
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert driver.execute_script(folded.format(open="false")) == 2, "paper has the first of each, and what was open"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_and_words_can_be_read_on_light_and_dark_pages(driver: Any, scheme: str) -> None:
    colours(driver, scheme)
    found = driver.execute_script(
        "const card = document.querySelector('.answers li'), of = (what, name) => "
        "getComputedStyle(card.querySelector(what))[name];"
        "return [getComputedStyle(card).backgroundColor, of('.effect', 'color'), of('.soft', 'color'), "
        "of('.outcome', 'color'), of('.bar .zero', 'stroke'), of('.bar .interval', 'stroke'), of('.bar text', 'fill')]"
    )
    ground, *inks = map(_luminance, found)
    assert (ground < 0.2) == (scheme == "dark")
    for ink in inks:
        assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) >= 4.5


def test_the_methods_picture_lies_in_the_page_and_follows_its_colours(driver: Any) -> None:
    shown = "return document.querySelector('.method img').currentSrc"
    for scheme, ground in {"light": b'fill="#ffffff"', "dark": b'fill="#15181c"'}.items():
        colours(driver, scheme)
        WebDriverWait(driver, FOREVER).until(
            lambda _, ground=ground: ground in base64.b64decode(driver.execute_script(shown).partition(",")[2])
        )
        assert driver.execute_script(shown).startswith("data:image/svg+xml;base64,")
    assert "A dense network is trained" in driver.execute_script("return document.querySelector('.method img').alt")
    assert driver.execute_script("return document.querySelector('.method img').clientWidth") > 300


@pytest.mark.parametrize("width", WIDTHS)
def test_contents_stay_in_sight_and_lead_everywhere(driver: Any, width: int) -> None:
    screen(driver, width)
    wide = width >= 1024
    opened = "return document.querySelector('nav details').open"
    WebDriverWait(driver, FOREVER).until(lambda _: driver.execute_script(opened) == wide)
    driver.execute_script("scrollTo(0, document.querySelector('#tables').offsetTop)")
    left, top, right, bottom = driver.execute_script(
        "const box = document.querySelector('nav').getBoundingClientRect();"
        "return [box.left, box.top, box.right, box.bottom]"
    )
    assert top <= 32 and bottom > 0, "the contents scroll away"
    text = driver.execute_script("return document.querySelector('main').getBoundingClientRect().left")
    inside = driver.execute_script("return document.documentElement.clientWidth")
    assert right <= text if wide else (left, right) == pytest.approx((0, inside), abs=1)
    if not wide:
        driver.execute_script("document.querySelector('nav summary').click()")
    driver.execute_script("document.querySelector('nav a[href=\"#claim-C3\"]').click()")
    at = "return document.querySelector('#claim-C3').getBoundingClientRect().top"
    WebDriverWait(driver, FOREVER).until(lambda _: 0 <= driver.execute_script(at) < 120)
    WebDriverWait(driver, FOREVER).until(lambda _: driver.execute_script(opened) == wide)


def test_long_comparisons_are_folded_target_by_target(driver: Any, found: Findings) -> None:
    verdict = next(one for one in contents(found).verdicts if one.claim == "C3")
    assert len(verdict.comparisons) > 12
    folded = driver.execute_script(
        "return [...document.querySelectorAll('#claim-C3 details')].map(one => [one.open, "
        "one.querySelector('summary').innerText, one.querySelectorAll('tbody tr').length])"
    )
    assert len(folded) == len({one.where for one in verdict.comparisons}) > 3
    assert not any(opened for opened, *_ in folded)
    assert sum(rows for *_, rows in folded) == len(verdict.comparisons)
    assert all(any(one.where in title for one in verdict.comparisons) for _, title, _ in folded)


def test_columns_that_say_one_thing_are_told_below_the_table(driver: Any) -> None:
    tables = driver.execute_script(
        "return [...document.querySelectorAll('#claims table')].map(table => [...table.rows].map("
        "row => [...row.cells].map(cell => cell.textContent)))"
    )
    for header, *rows in tables:
        columns = list(zip(*rows, strict=True))
        same = [name for name, column in zip(header, columns, strict=True) if len(rows) > 1 and len(set(column)) == 1]
        assert not same
    assert "In every row: " in driver.execute_script("return document.querySelector('#claims').textContent")


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_are_a_screen_high_at_most_and_never_beside_it(driver: Any, width: int) -> None:
    screen(driver, width)
    driver.execute_script("document.querySelectorAll('main details').forEach(one => {one.open = true})")
    boxes = driver.execute_script(
        "return [...document.querySelectorAll('.table')].map(box => "
        "[box.clientHeight, box.scrollWidth - box.clientWidth, box.getAttribute('aria-label')])"
    )
    assert len(boxes) > 8
    for height, beside_it, name in boxes:
        assert 0 < height <= 900 and beside_it <= 0, name
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    driver.execute_script("document.querySelectorAll('main details').forEach(one => {one.open = false})")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_lies_upon_another(driver: Any, width: int) -> None:
    """Of the page around its figures: no two lines of text share more than a hair of the screen."""
    screen(driver, width)
    driver.execute_script("scrollTo(0, 0)")
    upon = driver.execute_script(OVERLAPS)
    assert upon == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_interval_breaks_inside_its_brackets(driver: Any, width: int) -> None:
    """In a table, also where a column has words between its numbers, as the best source of a table of sources."""
    screen(driver, width)
    driver.execute_script("document.querySelectorAll('main details').forEach(one => {one.open = true})")
    cell = html_text("best: 96.3"), html_text("+1.2 [−10.3, +12.7]")
    driver.execute_script(
        "const row = document.querySelector('#tables tbody tr'), old = row.innerHTML; row.dataset.old = old;"
        "[...row.querySelectorAll('td')].forEach(cell => {cell.className = 'word'; cell.innerHTML = arguments[0]})",
        " ".join(cell),
    )
    broken, seen = driver.execute_script(BROKEN)
    driver.execute_script(
        "const row = document.querySelector('#tables tbody tr'); row.innerHTML = row.dataset.old;"
        "document.querySelectorAll('main details').forEach(one => {one.open = false})"
    )
    assert seen > 20 and broken == []


def test_narrow_tables_name_the_column_of_every_cell(driver: Any) -> None:
    screen(driver, 390)
    cell = "#tables td:not(.none)"
    shown, named = driver.execute_script(
        f"const cell = document.querySelector('{cell}');"
        "return [getComputedStyle(cell, '::before').content, cell.dataset.label]"
    )
    assert shown == f'"{named}"' and "%" in named


def test_paper_is_short_whole_and_open(driver: Any) -> None:
    screen(driver, 688)  # A4 within its margins
    colours(driver, "light", media="print")
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    left = driver.execute_script(
        "return [...document.querySelectorAll('main details:not([open])')].map(one => [one.classList.contains('more'), "
        "getComputedStyle(one.querySelector('summary'), '::after').content])"
    )
    assert left and {tuple(each) for each in left} == {(True, '" (on the page)"')}, "says where the rest is"
    assert driver.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    edges = driver.execute_script(
        "return [...document.querySelectorAll('table, p, li, .bar, .method img')].map("
        "one => [one.getBoundingClientRect().right, one.textContent.slice(0, 60)])"
    )
    for right, words in edges:
        assert right <= 688.5, words
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert driver.execute_script("return document.querySelectorAll('main details:not([open])').length") > 0
    colours(driver, "light")
    printed = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    sheets = len(re.findall(rb"/Type /Page\b", printed))
    assert printed.startswith(b"%PDF") and 3 <= sheets <= 14, sheets
    height, width = (float(size) for size in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)[0][::-1])
    assert (round(width), round(height)) == (595, 842), "A4"


def _luminance(colour: str) -> float:
    """The relative luminance of `rgb(...)`, as WCAG has it."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


BROKEN = """
const broken = [];
let seen = 0;
const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode;
  if (!node.parentElement.closest('.table tbody')) continue;
  for (const found of node.data.matchAll(/\\[[^\\]]*\\]/g)) {
    const range = document.createRange();
    range.setStart(node, found.index);
    range.setEnd(node, found.index + found[0].length);
    const tops = new Set([...range.getClientRects()].map(line => Math.round(line.top)));
    seen += tops.size > 0;
    if (tops.size > 1) broken.push(found[0]);
  }
}
return [broken, seen];
"""
OVERLAPS = """
const lines = [];
const walk = document.createTreeWalker(document.querySelector('.page'), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode;
  const aside = 'figure, script, style, svg, noscript, thead, details:not([open])';
  if (!node.data.trim() || node.parentElement.closest(aside)) continue;
  const box = node.parentElement.closest('.table')?.getBoundingClientRect();
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const line of range.getClientRects()) {
    if (box && (line.bottom > box.bottom || line.top < box.top)) continue;
    if (line.width > 1) lines.push([line, node.data.trim().slice(0, 40)]);
  }
}
lines.sort((one, other) => one[0].top - other[0].top);
const found = [];
lines.forEach(([a, words], at) => {
  for (let next = at + 1; next < lines.length && lines[next][0].top < a.bottom - 3; next++) {
    const [b, others] = lines[next];
    if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && Math.min(a.bottom, b.bottom) - b.top > 3) {
      found.push(words + ' | ' + others);
    }
  }
});
return found;
"""
