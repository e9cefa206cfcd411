"""Draw the pictures of the board in the docs, as `make pictures` does: `python results/board.py [STORE]`.

It needs Chromium and its driver; where one of them is not there, it says so and leaves the pictures as they are.
Without a store of the demo the demo is run first, which takes a minute. What is shown holds no time and no path.
"""

from __future__ import annotations

import base64
import shutil
import sys
import threading
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from oneticket.board.board import Board
from oneticket.board.serve import BoardServer, listening
from oneticket.board.site import answer
from oneticket.cli.demo import demo

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH, PATIENCE = 900, 600  # pixels of the page, seconds until its figures are drawn
BROWSER = ("chromium", "chromedriver")
FROM, TO = "#running", "#verdicts .panels"  # what is shown
READY = """
const drawn = [...document.querySelectorAll("#verdicts img")];
return drawn.length > 0 && drawn.every(one => one.naturalWidth);
"""
PLACE = f"""
const [top, bottom] = ["{FROM}", "{TO}"].map(part => document.querySelector(part).getBoundingClientRect());
return {{x: 0, y: top.top + scrollY, width: {WIDTH}, height: bottom.bottom - top.top + 16, scale: 1}};
"""


def draw(address: str, theme: str) -> bytes:
    """A PNG of the study's page for a reader who likes `light` or `dark` ones."""
    options = webdriver.ChromeOptions()
    chromium, chromedriver = map(shutil.which, BROWSER)
    options.binary_location = str(chromium)
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver)) as driver:
        size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        liked = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", liked)
        driver.get(address)
        WebDriverWait(driver, PATIENCE).until(lambda _: driver.execute_script(READY))
        shot = {"captureBeyondViewport": True, "clip": driver.execute_script(PLACE)}
        return base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", shot)["data"])


def pictures(store: str) -> None:
    """Serve the board of a store of the demo, and write both pictures."""
    board, sockets = Board(store, ["demo"]), listening(0)
    server = BoardServer(partial(answer, board), sockets)
    thread = threading.Thread(target=server.run)
    with board.reading():
        thread.start()
        try:
            for theme in ("light", "dark"):
                (PICTURES / f"board-{theme}.png").write_bytes(draw(f"{server.url}studies/demo", theme))
        finally:
            server.stop()
            thread.join()


if __name__ == "__main__":
    if lacking := [name for name in BROWSER if shutil.which(name) is None]:
        why = f"no {' and no '.join(lacking)} here; Debian has both in chromium-driver"
        sys.stderr.write(f"the pictures of the board stay as they are: {why}\n")
        sys.exit()
    with TemporaryDirectory() as made:
        if not sys.argv[1:]:
            demo(out=Path(made), store=f"{made}/.oneticket", quiet=True)
        pictures(sys.argv[1] if sys.argv[1:] else f"{made}/.oneticket")
