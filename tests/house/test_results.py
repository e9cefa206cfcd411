"""The pages of results say what their rows say; whoever changes a table writes them anew by `results/page.py`."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from oneticket.ground.errors import SpecError
from oneticket.report.export import join_rows

RESULTS = Path(__file__).parents[2] / "results"
PAGES = ("beyond-images", "crossing", "images", "images-paper", "minutes", "several")


@pytest.fixture(scope="module")
def page() -> ModuleType:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(RESULTS))
        return importlib.import_module("page")


def test_these_are_the_pages(page: ModuleType) -> None:
    assert {*PAGES} == {folder.name for folder in page.pages()}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_rows_say(page: ModuleType, name: str) -> None:
    folder = RESULTS / name
    assert page.page(folder, join_rows([page.own_rows(folder)])) == (folder / "README.md").read_text()


def test_words_are_kept_and_a_page_without_the_line_is_refused(page: ModuleType, tmp_path: Path) -> None:
    rows = join_rows([page.own_rows(RESULTS / "images")])
    (tmp_path / "README.md").write_text(f"# Mine\n\nMy words.\n\n{page.WRITTEN}\n\nolder\n")
    text = page.page(tmp_path, rows)
    assert text.startswith(f"# Mine\n\nMy words.\n\n{page.WRITTEN}\n\n## ") and "older" not in text
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(SpecError, match="expected the line"):
        page.page(tmp_path, rows)
