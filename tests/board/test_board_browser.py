"""The board in a real browser while a study runs: it keeps up, stays silent, asks nobody else and fits the screen."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import NEEDED, browser, colours, screen
from PIL import Image
from waiting import FOREVER, until

pytestmark = NEEDED
COMMAND = [sys.executable, "-m", "oneticket"]
STUDY = """
name = "evil"
title = "<img src=x onerror=alert(1)>"
levels = [1]
arms = ["dense", "ticket", "global-random"]
replicates = 2
rewind = "2it"
figures = ["scores", "layers"]
training = {budget = "BUDGET"}
[models]
small = {name = "mlp", widths = [12]}
[parts.x]
sources = ["digits:a"]
targets = ["digits:b"]
models = ["small"]
optimizers = ["sgd"]
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def opened(driver: Any) -> Any:
    """The browser on a light desktop; what was logged before is forgotten."""
    driver.get("about:blank")
    screen(driver, 1440)
    colours(driver, "light")
    for log in ("browser", "performance"):
        driver.get_log(log)
    return driver


@pytest.fixture
def board(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`oneticket board` of a store that is not there yet, in a process of its own, and where it is."""
    (tmp_path / "mine.toml").write_text(STUDY.replace("BUDGET", "2ep"))
    command = [*COMMAND, "board", "mine.toml", "--store", "kept", "--port", "0", "--no-open"]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = (process.stdout.readline().split() or [""])[0]
        assert url.startswith("http://127.0.0.1:"), process.communicate(timeout=FOREVER)
        yield url, process
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=FOREVER)
    assert process.returncode == 0 and "the board has ended" in err and "Traceback" not in err, out + err


def test_a_study_is_followed_while_it_runs(opened: Any, board: tuple[str, Any], tmp_path: Path) -> None:
    url, _ = board

    def shows(words: str) -> bool:
        return words in opened.execute_script("return document.querySelector('main').innerText")

    opened.get(url)
    until(lambda: shows("There is no store here yet"), "the empty board")
    opened.execute_script("window.stays = true")  # gone if the page were loaded anew
    # A training that lasts until it is stopped: the page must come to show its curve by itself.
    (tmp_path / "long.toml").write_text(STUDY.replace("BUDGET", "100000ep"))
    endless = [*COMMAND, "study", "long.toml", "--engine", "inline", "--store", "kept", "--quiet"]
    with subprocess.Popen(endless, cwd=tmp_path, stderr=subprocess.DEVNULL) as run:
        points = "return (document.querySelector('#running .curve polyline') || {points: []}).points.length"
        until(lambda: opened.execute_script(points) > 1 or run.poll() is not None, "a curve")
        first = opened.execute_script(points)
        until(lambda: opened.execute_script(points) > first or run.poll() is not None, "more of the curve")
        run.send_signal(signal.SIGTERM)
    assert run.returncode == 130
    until(lambda: shows("Nothing is under way now"), "the end of the run")
    done = [*COMMAND, "study", "mine.toml", "--engine", "inline", "--store", "kept", "--quiet"]
    assert subprocess.run(done, cwd=tmp_path, check=False).returncode == 0
    until(lambda: shows("6 of 6 cells"), "all cells")
    assert opened.execute_script("return window.stays")
    assert shows("<img src=x onerror=alert(1)>")
    assert opened.execute_script("return document.querySelectorAll('[onerror]').length") == 0

    opened.execute_script("document.querySelector('#studies a').click()")
    until(lambda: shows("From 6 of 6 cells"), "the report")
    for place in ("#verdicts", "#figures"):
        drawn = f"return [...document.querySelectorAll('{place} > figure > .panels img')].map(i => i.naturalWidth)"
        until(lambda drawn=drawn: min(opened.execute_script(drawn), default=0) > 100, f"figures in {place}")
    panel = opened.find_element("css selector", "#figures .panel img")
    for scheme in ("light", "dark"):
        colours(opened, scheme)
        until(lambda scheme=scheme: _ground_and_ink(panel) == DRAWN[scheme], f"a {scheme} figure")
    fold = "document.querySelector('#figures details')"
    opened.execute_script(f"{fold} && ({fold}.open = true)")

    for width in (390, 768, 1440):
        screen(opened, width)
        for path in ("", "outcomes", "compare", "studies/evil"):
            opened.get(url + path)
            # Right after loading, on a busy machine, it was once 10 px wider, and not again; why is not known.
            wide = "return document.documentElement.scrollWidth"
            until(lambda wide=wide, width=width: opened.execute_script(wide) <= width, f"{path} as wide as {width}")
            beside = (
                "return [...document.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth).length"
            )
            assert opened.execute_script(beside) == 0, (path, width)

    said = [entry for entry in opened.get_log("browser") if "ERR_CONNECTION" not in entry["message"]]
    assert said == []
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert url in asked and {one for one in asked if not one.startswith((url, "data:"))} == set()


def test_a_board_that_has_ended_is_said_to(opened: Any, board: tuple[str, Any]) -> None:
    url, process = board
    opened.get(url)
    process.send_signal(signal.SIGTERM)
    lost = "return !document.getElementById('lost').hidden && document.getElementById('lost').innerText"
    until(lambda: opened.execute_script(lost), "the line that it is gone")
    assert "does not answer any more" in opened.execute_script(lost)
    process.wait(timeout=FOREVER)


DRAWN = {"light": ("light", "dark"), "dark": ("dark", "light")}


def _ground_and_ink(element: Any) -> tuple[str, str]:
    """Of what colour most of what is seen is, and what stands out most from it."""
    grey = Image.open(io.BytesIO(element.screenshot_as_png)).convert("L")
    counts = grey.histogram()
    ground = counts.index(max(counts))
    ink = max(grey.getextrema(), key=lambda tone: abs(tone - ground))
    return "light" if ground > 128 else "dark", "light" if ink > 128 else "dark"
