"""The page in a real browser: drawn, silent, alone, narrow, on paper, without scripts, and under the pointer."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import NEEDED, browser, colours, screen, visit
from made_report import EVIL, reported
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from waiting import FOREVER

from oneticket.report.page import write_report

pytestmark = NEEDED
SCORES = "#figure-scores .panel:first-child .chart"
MARKS = ".mark-symbol path, .mark-line path, .mark-rect path, .mark-rule line, .mark-text text"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study that has every figure, one missing cell, and attacks for words."""
    folder = tmp_path_factory.mktemp("report")
    found = reported(title=EVIL, note=EVIL, optimizers=("sgd", "adam"), sources=("cifar10", "svhn"), **PLACES)
    return write_report(found, folder)[0]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def opened(driver: Any, page: Path) -> Iterator[Any]:
    """The page, freshly opened and drawn, on a desktop; what was logged before is forgotten."""
    driver.get("about:blank")
    for log in ("browser", "performance"):
        driver.get_log(log)
    screen(driver, 1280)
    visit(driver, page)
    yield driver
    colours(driver, "light")


def test_every_chart_is_drawn_and_nothing_is_complained_of(opened: Any) -> None:
    charts = opened.execute_script(
        "return [...document.querySelectorAll('.panel')].filter(p => p.offsetParent).map(p => "
        "[p.closest('figure').id, p.classList.contains('drawn'), p.querySelectorAll(arguments[0]).length])",
        MARKS,
    )
    assert len({name for name, *_ in charts}) >= 9, "a figure is missing"
    for name, drawn, marks in charts:
        assert drawn and marks > 3, name
    assert opened.get_log("browser") == []


def test_no_word_of_a_user_runs(opened: Any) -> None:
    assert opened.title == " ".join(EVIL.split())
    assert opened.execute_script("return document.querySelectorAll('main img, header img, header script').length") == 0


def test_no_request_leaves_the_page(opened: Any, page: Path) -> None:
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert opened.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    refused = opened.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', e => done(e.violatedDirective));"
        "fetch('http://127.0.0.1:9/').catch(() => {});"
    )
    assert refused == "connect-src"


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_page_itself_never_scrolls_sideways(opened: Any, width: int) -> None:
    screen(opened, width)
    assert opened.execute_script("return innerWidth") == width
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    inside = opened.execute_script(
        "return [...document.querySelectorAll('.scroll')].filter(b => b.clientWidth > innerWidth).length"
    )
    assert inside == 0


def test_hovering_shows_the_numbers(opened: Any) -> None:
    point = _seen(opened, f"{SCORES} .mark-symbol.role-mark path")
    ActionChains(opened).move_to_element(point).perform()
    tip = "return (document.querySelector('#vg-tooltip-element.visible') || {}).innerText"
    WebDriverWait(opened, FOREVER).until(lambda _: opened.execute_script(tip))
    assert len(re.findall(r"\d\d\.\d", opened.execute_script(tip))) >= 3


def test_a_click_in_the_legend_toggles_lines(opened: Any) -> None:
    shown = f"return document.querySelectorAll('{SCORES} .mark-line path').length"
    symbol, every = f"{SCORES} .role-legend-symbol path", opened.execute_script(shown)
    ActionChains(opened).move_to_element(_seen(opened, symbol)).click().perform()
    WebDriverWait(opened, FOREVER).until(lambda _: 0 < opened.execute_script(shown) < every)
    again = ActionChains(opened).move_to_element(_seen(opened, symbol))
    again.key_down(Keys.SHIFT).click().key_up(Keys.SHIFT).perform()
    WebDriverWait(opened, FOREVER).until(lambda _: opened.execute_script(shown) == every)


def test_paper_shows_everything_whole(opened: Any) -> None:
    screen(opened, 680, 960)  # A4 within its margins
    colours(opened, "light", "print")
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    # Paper leaves to the page what is marked as more, and names it.
    closed = "return document.querySelectorAll('main details:not([open]):not(.more)').length"
    assert opened.execute_script(closed) == 0
    assert opened.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    widths = opened.execute_script(
        "return [...document.querySelectorAll('.panel svg, table')].map(e => e.getBoundingClientRect().width)"
    )
    assert widths and max(widths) <= 680
    opened.execute_script("dispatchEvent(new Event('afterprint'))")
    assert opened.execute_script(closed) > 0
    printed = base64.b64decode(opened.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", printed)) >= 3


def test_without_scripts_stills_take_the_charts_place(driver: Any, page: Path) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(page.as_uri())
        # Under load a page of some megabytes is told to be there before all of it is.
        shown = "figure > .panels .still > svg"
        WebDriverWait(driver, FOREVER).until(lambda _: len(driver.find_elements("css selector", shown)) >= 9)
        stills = driver.find_elements("css selector", shown)
        assert all(still.size["width"] > 200 and still.size["height"] > 100 for still in stills)
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def _seen(driver: Any, selector: str) -> Any:
    found = driver.find_element("css selector", selector)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", found)
    return found


PLACES: dict[str, Any] = {"targets": ("cifar10", "svhn"), "levels": (11, 20), "lost": [("reinit", 20, 1)]}
