"""A page that stays open: sections come and go by themselves, and the reader is not disturbed."""

from __future__ import annotations

import shutil
from pathlib import Path

from boards import serving
from chromium import NEEDED, browser
from test_pages import RECORD, trained
from waiting import until

from oneticket.lottery.spec import TransferSpec
from oneticket.store.step import Outcome
from oneticket.store.store import Store

pytestmark = NEEDED


def test_an_open_page_keeps_up_and_keeps_the_readers_place(tmp_path: Path) -> None:
    place = tmp_path / "store"
    store, steps = Store(place), [trained(number, TransferSpec(data="digits:b")) for number in range(2)]
    store.define(*steps)
    keys = [step.key for step in steps]
    store.plans.write("kept", title="", parts={"x": keys}, steps=keys)
    with serving(place) as served, browser(tmp_path / "profile") as driver:

        def shows(words: str) -> bool:
            return words in driver.execute_script("return document.body.innerText")

        url = f"http://127.0.0.1:{served.port}"
        driver.get(f"{url}/")
        driver.execute_script("window.reached = document.querySelector('#studies a'); window.reached.focus()")
        store.note_failure(steps[0], "it broke")
        until(lambda: shows("it broke"), "a section that was not there at first")
        assert driver.execute_script("return document.activeElement === window.reached && window.reached.isConnected")
        order = "return [...document.querySelectorAll('main > section')].map(section => section.id)"
        assert driver.execute_script(order) == ["state", "running", "studies", "failures"]
        driver.get(f"{url}/steps/{keys[1]}")
        until(lambda: shows("planned and not done yet"), "the state")
        store.put(steps[1], Outcome(record=RECORD, tensors={}), seconds=1.0, device="cpu")
        until(lambda: shows("Record") and not shows("planned and not done yet"), "the record in place of the state")
        assert driver.execute_script("return document.querySelectorAll('main > h1, main > p').length") == 2
        driver.get(f"{url}/steps/{keys[0]}")
        until(lambda: shows("it broke"), "the failure")
        shutil.rmtree(place)
        until(lambda: shows("There is nothing at this address any more."), "the word that it is gone")
        assert shows("it broke")
