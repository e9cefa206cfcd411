"""Write a results page from rows: `python results/page.py NAME ROWS... < words.md`, run in the repository's root.

The words come on standard input; tables, verdict, chart and the facts of the run are made from the rows alone.
Several files of rows, as a divided study leaves them, are joined; those that contradict each other are refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from oneticket.charts.chart import write
from oneticket.charts.scores import scores_chart
from oneticket.ground.errors import SpecError
from oneticket.report.export import join_rows, write_rows
from oneticket.report.verdict import sentence
from oneticket.stats.sources import source_tables
from oneticket.stats.table import ReportTable, tables


def page(name: str, rows: list[dict[str, object]], words: str, folder: Path) -> None:
    """`folder/NAME/`: README.md, rows.csv, scores.svg and scores.png."""
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(rows, folder / "rows.csv")
    shown = SHOWN if len({row["source_data"] for row in rows if row["arm"] == "ticket"}) <= FEW else SHOWN[:3]
    write(scores_chart([row for row in rows if row["arm"] in shown]), folder, "scores")
    lines = [words.strip(), "", "## What was seen", "", *sentence(rows).replace(". At ", ".\n\nAt ").split("\n"), ""]
    if beside := source_tables(rows):
        lines += ["## Sources beside each other", ""]
    for table in [*beside, *tables(rows), *tables(rows, show="over-dense")]:
        lines += table_lines(table)
    seconds = sum(float(str(row["seconds"])) for row in rows)
    lines += ["![Scores over density](scores.svg)", ""]
    lines += [
        f"{len(rows)} trained networks, {seconds / 60:.0f} min of training in all; every one is a row of `rows.csv`."
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def table_lines(table: ReportTable) -> list[str]:
    """A table as Markdown."""
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.header) + " |", "|---" * len(table.header) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in table.rows), "", table.caption, ""]


# More cannot be told apart in one chart, and beside many sources only the tickets; the tables have all.
FEW = 3
SHOWN = ("dense", "ticket", "own", "reinit", "layerwise-random", "global-random")

if __name__ == "__main__":
    try:
        joined = join_rows([Path(file) for file in sys.argv[2:]])
    except SpecError as error:
        sys.exit(str(error))
    page(sys.argv[1], joined, sys.stdin.read(), Path("results"))
