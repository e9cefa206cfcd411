"""Write a results page anew: `python results/page.py NAME [ROWS...]`, run in the repository's root.

The page's own words stay: all of `results/NAME/README.md` above its line `WRITTEN`. What follows is made from the rows
alone, and so are the charts, `claims.csv` and `mask-or-weights.csv` beside it. The rows are the page's own, or those of
the files given, as a divided study leaves them: they are joined, and refused where they contradict each other. Claims
are judged as `results/NAME/study.toml` states them, or `studies/NAME.toml`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from oneticket.charts.chart import write
from oneticket.charts.crossing import crossing_chart
from oneticket.charts.decomposition import decomposition_chart
from oneticket.charts.scores import scores_chart
from oneticket.charts.theme import Chart
from oneticket.claims.family import Family, family
from oneticket.ground.errors import SpecError
from oneticket.report.contents import MASK_OR_WEIGHTS, SOURCES
from oneticket.report.decomposition import COLUMNS, decomposition_rows, decomposition_tables
from oneticket.report.export import join_rows, write_rows
from oneticket.report.judged import every_level, verdict_table
from oneticket.report.page import CLAIMS, verdict_row
from oneticket.report.rivals import USUAL, rival_tables
from oneticket.stats.decomposition import decompositions
from oneticket.stats.regroup import settled
from oneticket.stats.report_table import ReportTable
from oneticket.stats.sources import source_tables
from oneticket.stats.table import tables
from oneticket.study.densities import nearest_level
from oneticket.study.file import read_study

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
WRITTEN = "<!-- what follows is written by `python results/page.py` -->"
# More arms, and beside many sources more than their tickets, make a chart of many panels; the tables have all.
SHOWN, BESIDE_MANY = ("ticket", *USUAL), ("dense", "ticket", "own")
FEW = 3
SIZED = ("ticket", "own", "dense", "dense-rewound")

Rows = Sequence[dict[str, Any]]


def pages() -> list[Path]:
    """The folders of results whose pages are written here."""
    return [file.parent for file in sorted(RESULTS.glob("*/README.md")) if WRITTEN in file.read_text()]


def own_rows(folder: Path) -> Path:
    """The file of a page's rows, `rows.csv` unless there is another."""
    return next((file for file in (folder / "rows.parquet",) if file.exists()), folder / "rows.csv")


def page(folder: Path, rows: Rows) -> str:
    """The page of these rows, below the words that it has."""
    words, written, _ = (folder / "README.md").read_text().partition(WRITTEN)
    if not written:
        raise SpecError(f"{folder / 'README.md'}: expected the line {WRITTEN} below the page's own words; write it")
    seconds = sum(float(row["seconds"]) for row in rows)
    facts = (
        f"{len(rows):,} trained networks, {seconds / 60:.0f} min of training in all; every one is a row of "
        f"`{own_rows(folder).name}`."
    )
    return "\n".join([words.rstrip(), "", WRITTEN, "", *_sections(folder, settled(rows)), facts]) + "\n"


def _sections(folder: Path, rows: Rows) -> Iterator[str]:
    found = judged(folder, rows)
    if verdicts := verdict_table(found.verdicts):
        yield "## Verdicts\n"
        yield from table_lines(verdicts)[2:]
        yield "`claims.csv` has each with its rule.\n"
        if not all(rung.stated for rung in found.ladder) and (ladder := every_level(found.ladder)):
            yield from table_lines(ladder)
    if crossing_chart(rows) is not None:
        yield "## Over the size of the target\n"
        yield "![Scores, and gains over the target's own ticket, over its number of training examples](crossing.svg)\n"
    yield "## Tickets beside other networks\n"
    yield from _tables(rival_tables(rows))
    yield "![Scores over density, of the networks that one chart can show](scores.svg)\n"
    if taken := decompositions(rows):
        yield f"## {MASK_OR_WEIGHTS}\n"
        yield f"![{MASK_OR_WEIGHTS}](mask-or-weights.svg)\n"
        yield from _tables(decomposition_tables(taken))
    if beside := source_tables(rows):
        yield f"## {SOURCES}\n"
        yield from _tables(beside)
    yield "## Scores\n"
    yield from _tables(tables(rows))
    yield "## Gains over the dense network\n"
    yield from _tables(tables(rows, show="over-dense"))


def _tables(made: Iterable[ReportTable]) -> Iterator[str]:
    for table in made:
        yield from table_lines(table)


def table_lines(table: ReportTable) -> list[str]:
    """A table as Markdown."""
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.header) + " |", "|---" * len(table.header) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in table.rows), "", table.caption, ""]


def judged(folder: Path, rows: Rows) -> Family:
    """The verdicts on the claims that the page's study asks about, and at every other level; none without a study."""
    files = folder / "study.toml", ROOT / "studies" / f"{folder.name}.toml"
    file = next((file for file in files if file.exists()), None)
    if file is None:
        return Family(verdicts=(), ladder=())
    study = read_study(file)
    levels = {row["level"]: row["density"] for row in rows if row["level"]}
    near = {density: nearest_level(density, levels) for density in study.densities or ()}
    stated = {density: level for density, level in near.items() if level is not None}
    return family(rows, study.claims, margin=study.margin, stated=stated, complexity=study.complexity)


def chart(drawn: Chart, file: Path) -> None:
    """A chart as an SVG, and as a PNG where there was one."""
    with TemporaryDirectory() as folder:
        for made in write(drawn, Path(folder), file.stem)[:2]:
            here = file.with_suffix(made.suffix)
            if made.suffix == ".svg" or here.exists():
                here.write_bytes(made.read_bytes())


def draw(folder: Path, rows: Rows) -> None:
    """The charts of a page."""
    few = len({row["source_data"] for row in rows if row["arm"] == "ticket"}) <= FEW
    arms = SHOWN if few else BESIDE_MANY
    chart(scores_chart([row for row in rows if row["arm"] in arms]), folder / "scores.svg")
    sized = crossing_chart([row for row in rows if row["arm"] in SIZED])
    for made, name in ((decomposition_chart(rows), "mask-or-weights"), (sized, "crossing")):
        if made is not None:
            chart(made, folder / f"{name}.svg")


def remake(folder: Path, files: Sequence[Path]) -> None:
    """The page, its rows, charts and tables as files; nothing is written where rows or words are refused."""
    rows = join_rows(files or [own_rows(folder)])
    text, verdicts, taken = page(folder, rows), judged(folder, settled(rows)).verdicts, decompositions(settled(rows))
    if files:
        write_rows(rows, own_rows(folder))
    draw(folder, rows)
    if verdicts:
        write_rows([verdict_row(verdict) for verdict in verdicts], folder / "claims.csv", CLAIMS)
    if taken:
        write_rows(decomposition_rows(taken), folder / "mask-or-weights.csv", COLUMNS)
    (folder / "README.md").write_text(text)


if __name__ == "__main__":
    try:
        remake(RESULTS / sys.argv[1], [Path(file) for file in sys.argv[2:]])
    except (SpecError, OSError, IndexError) as error:
        sys.exit(f"{error}\nusage: python results/page.py NAME [ROWS...]")
