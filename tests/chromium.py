"""A headless Chromium for tests of the page, and what they ask it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402 - after the check that it is there
from waiting import FOREVER  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NEEDED = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="no Chromium with its driver; Debian has both in chromium-driver"
    ),
]


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """A browser of its own; none of its processes stays."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    running = webdriver.Chrome(options=options, service=service)
    yield running
    running.quit()
    assert service.process.poll() is not None


def screen(driver: Any, width: int, height: int = 900) -> None:
    """A screen of that size; below 500 pixels a phone."""
    given = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", given)


def colours(driver: Any, scheme: str, media: str = "") -> None:
    """A reader who likes `light` or `dark` pages, on a screen or on paper."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def visit(driver: Any, page: Path) -> None:
    """The page, drawn."""
    driver.get("about:blank")
    driver.get(page.as_uri())
    WebDriverWait(driver, FOREVER).until(lambda _: driver.execute_script("return document.body.dataset.drawn"))
