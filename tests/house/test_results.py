"""The pages of results say what their rows say; whoever changes a table writes them anew by `results/page.py`."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from oneticket.ground.errors import SpecError
from oneticket.publish.zoo import entries
from oneticket.report.export import join_rows
from oneticket.ticket.describe import scores

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


def test_what_is_said_of_the_shipped_tickets_is_what_they_were_measured_to_be() -> None:
    table, page = (RESULTS / "README.md").read_text(), (RESULTS / "zoo" / "README.md").read_text()
    assert page.startswith((RESULTS / "zoo" / "words.md").read_text().strip())
    gains = {
        (entry.name, row["data"]): row["difference"]
        for entry in entries()
        for row in scores(entry.thing)
        if row["arm"] == "dense"
    }
    above = Counter(name for (name, _), gain in gains.items() if gain["low"] > 0)
    assert above == {"resnet-20-cifar10": 2, "lenet-fashion_mnist": 2}
    assert "ResNet-20 and LeNet beat the dense network on two targets each." in table
    mean, low, high = (100 * gains["conv-4-cifar10", "svhn"][name] for name in ("mean", "low", "high"))
    assert low < 0 < high
    said = f"({mean:.1f} points [{low:.0f}, {high:.0f}])".replace("-", "−")
    assert f"On SVHN nothing can be said of Conv-4 {said}" in table
    others = [gain["mean"] for (name, _), gain in gains.items() if name.startswith(("digits", "mlp"))]
    low, high = (-100 * end(others) for end in (max, min))
    assert f"The others are {low:.1f} to {high:.1f} points below the dense network." in table


def test_words_are_kept_and_a_page_without_the_line_is_refused(page: ModuleType, tmp_path: Path) -> None:
    rows = join_rows([page.own_rows(RESULTS / "images")])
    (tmp_path / "README.md").write_text(f"# Mine\n\nMy words.\n\n{page.WRITTEN}\n\nolder\n")
    text = page.page(tmp_path, rows)
    assert text.startswith(f"# Mine\n\nMy words.\n\n{page.WRITTEN}\n\n## ") and "older" not in text
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(SpecError, match="expected the line"):
        page.page(tmp_path, rows)
