"""Charts and tables of rows, books and tickets: they hold the numbers, and are drawn without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import altair as alt
import pytest
import torch

import oneticket
from oneticket import Book, Contract, Mask, Ticket
from oneticket.ground.errors import SpecError
from oneticket.report.export import write_rows
from oneticket.study.rows import COLUMNS, Rows

RECORDS = [{"accuracy": 0.9, "steps": 7}, {"accuracy": 0.8, "steps": 7}, {"accuracy": 0.7, "steps": 7}]


def book(records: Any = RECORDS) -> Book:
    at = {
        "a.weight": torch.tensor([0, 2, 1, 0], dtype=torch.uint8),
        "b.weight": torch.tensor([0, 0], dtype=torch.uint8),
    }
    weights = {"a.weight": torch.ones(4), "b.weight": torch.ones(2), "b.bias": torch.ones(4)}
    contract = Contract(rewind="0it", step=0)
    return Book(weights=weights, pruned_at=at, levels=2, contract=contract, records=records)


def rows() -> Rows:
    one = {"model": "mlp", "target_data": "digits:b", "target_optimizer": "sgd", "metric": "accuracy", "unit": ""}
    one |= {"better": "higher", "source_data": "digits:a", "source_optimizer": "sgd"}
    made = []
    for replicate in range(3):
        made.append({**one, "arm": "dense", "level": 0, "density": 1.0, "replicate": replicate, "score": 0.9})
        made.append(
            {**one, "arm": "ticket", "level": 4, "density": 0.4, "replicate": replicate, "score": 0.7 + replicate / 10}
        )
    return Rows(made)


def values(chart: alt.ConcatChart) -> list[dict[str, Any]]:
    """All records that a chart draws, wherever they lie in it."""
    found: list[dict[str, Any]] = []
    left: list[Any] = [chart.to_dict()]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            found += [record for record in one.get("values", []) if isinstance(record, dict)]
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found + [record for data in chart.to_dict().get("datasets", {}).values() for record in data]


def test_a_chart_holds_the_means_of_the_rows(tmp_path: Path) -> None:
    chart = oneticket.plot.accuracy(rows())
    assert isinstance(chart, alt.ConcatChart)
    means = {round(record["mean"], 6) for record in values(chart) if "mean" in record}
    assert {0.9, 0.8} <= means, means
    file = tmp_path / "rows.csv"
    write_rows(rows(), file)
    drawn = [oneticket.plot.accuracy(each).to_dict() for each in (rows(), rows().table(), file)]
    assert drawn[0] == drawn[1] == drawn[2], "rows, a DataFrame and a file are the same"
    with pytest.raises(SpecError, match="rows: expected those of a transfer or a study, .* got 5"):
        oneticket.plot.accuracy(5)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="there are none"):
        oneticket.plot.accuracy([])


def test_a_book_draws_its_levels_and_layers() -> None:
    means = {round(record["mean"], 6) for record in values(book().plot()) if "mean" in record}
    assert {0.8, 0.7} <= means
    tiles = {
        (record["layer"], record["level"]): record["mean"]
        for record in values(book().plot_layers())
        if "layer" in record
    }
    assert tiles == {("a", 0): 1.0, ("a", 1): 0.75, ("a", 2): 0.5, ("b", 0): 1.0, ("b", 1): 1.0, ("b", 2): 1.0}
    with pytest.raises(SpecError, match=r"no scores; plot_layers\(\) shows"):
        book(records=()).plot()


def test_a_ticket_draws_its_layers() -> None:
    bars = {record["layer"]: record["share"] for record in values(book()[2].plot_layers()) if "share" in record}
    assert bars == {"a": 0.5, "b": 1.0}
    empty = Ticket(mask=Mask({}), weights={"w": torch.ones(1)}, contract=Contract(rewind="0it", step=0))
    with pytest.raises(SpecError, match="names no tensors"):
        empty.plot_layers()


def test_tables_have_the_numbers() -> None:
    table = book().table()
    assert table.index.tolist() == [0, 1, 2] and table["accuracy"].tolist() == [0.9, 0.8, 0.7]
    assert table["living"].tolist() == [6, 5, 4] and table["steps"].tolist() == [7, 7, 7]
    assert table["density"].tolist() == pytest.approx([1.0, 5 / 6, 4 / 6])
    assert table["model_density"].tolist() == pytest.approx([1.0, 0.9, 0.8])
    assert book(records=()).table()["living"].tolist() == [6, 5, 4]
    found = rows().table()
    assert tuple(found.columns) == COLUMNS and found["score"].tolist() == [row["score"] for row in rows()]


def test_a_notebook_draws_without_a_network_in_the_pages_colours() -> None:
    html = book().plot()._repr_mimebundle_()["text/html"]
    assert "<script" not in html and not re.search(r'(src|href)="(?!#)', html)
    spoken = re.findall(r'aria-label="((?:test accuracy|weights kept)[^"]*)"', html)
    assert "weights kept, from 83 % to 67 %, logarithmic" in spoken, spoken
    assert any(re.fullmatch(r"test accuracy \(%\), from \d\d(\.\d)? to \d\d(\.\d)?", each) for each in spoken), spoken
    assert 'fill="currentColor"' in html and not re.search(r'<rect[^>]*fill="(white|#ffffff)"', html)
    assert 'width="330"' in html and "width:100%;max-width:480px;min-width:320px" in html, "fits a telephone unshrunk"
    with alt.renderers.enable("mimetype"):
        bundle = book().plot()._repr_mimebundle_()
    assert "vegalite" in str(bundle) and "text/html" not in str(bundle), (
        "Altair's own renderers draw if they are chosen"
    )


WITHOUT = """
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("altair", "pandas"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Lacking())
import torch
from oneticket import Book, Contract
contract = Contract(rewind="0it", step=0)
book = Book(weights={}, pruned_at={}, levels=0, contract=contract, records=[{"accuracy": 1}])
assert "oneticket-card" in book._repr_html_()
for asked in (book.plot, book.plot_layers, book.table):
    try:
        asked()
    except ImportError as error:
        print(error)
"""


def test_what_is_not_installed_is_named_with_its_remedy() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    words = "is not installed, and this needs it: pip install 'oneticket[lab]'"
    assert done.stdout.splitlines() == [f"{lacking} {words}" for lacking in ("altair", "altair", "pandas")], done
