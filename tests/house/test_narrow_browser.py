"""Tables of the docs on a telephone: what would be cut becomes a list, what fits stays a table."""

from __future__ import annotations

from pathlib import Path

from chromium import NEEDED, browser, screen

pytestmark = NEEDED
STATIC = Path(__file__).parents[2] / "docs" / "_static"


def _table(*names: str) -> str:
    head, body = ("".join(f"<{cell}><p>{name}</p></{cell}>" for name in names) for cell in ("th", "td"))
    return f'<table class="docutils"><thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>'


def test_a_table_that_would_be_cut_becomes_a_list(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    tables = _table("tool", "torch.nn.utils.prune", "documentation", "experimental", "statistics") + _table("a", "b")
    page.write_text(
        '<!DOCTYPE html><meta name="viewport" content="width=device-width">'
        f'<link rel="stylesheet" href="{(STATIC / "narrow.css").as_uri()}">'
        f'<script src="{(STATIC / "narrow.js").as_uri()}"></script><article>{tables}</article>'
    )
    with browser(tmp_path / "profile") as driver:
        for width, stacked in ((390, [True, False]), (1440, [False, False])):
            screen(driver, width)
            driver.get(page.as_uri())
            asked = "return [...document.querySelectorAll('table')].map(one => one.classList.contains('stacked'))"
            assert driver.execute_script(asked) == stacked
            assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
            label = driver.execute_script(
                "return getComputedStyle(document.querySelectorAll('td')[1], '::before').content"
            )
            assert ("torch.nn.utils.prune" in label) == stacked[0]
