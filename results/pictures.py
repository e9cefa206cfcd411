"""Draw the pictures of README, docs and results, and write README's headline, from committed rows: `make pictures`.

`results/demo/rows.csv` is what `oneticket demo` left. Everything here is made from rows alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from page import chart, draw, own_rows, pages

from oneticket.charts.method import method_picture
from oneticket.charts.scores import scores_chart
from oneticket.report.export import read_rows
from oneticket.stats.summary import Row, Summary, summary
from oneticket.stats.words import percent

ROOT = Path(__file__).parents[1]
ROWS, PICTURES, README = ROOT / "results" / "demo" / "rows.csv", ROOT / "docs" / "pictures", ROOT / "README.md"
BEGINS, ENDS = "<!-- headline: written by `make pictures` -->\n", "<!-- end of headline -->"
OPTIMIZER = "sgd"


def shown(rows: Sequence[Row]) -> list[Row]:
    """The rows under one optimizer, in the search and on the target: one panel of a chart."""
    return [row for row in rows if {row["source_optimizer"], row["target_optimizer"]} <= {None, OPTIMIZER}]


def methods(rows: Sequence[Row]) -> dict[str, str]:
    """File name -> SVG of the method's picture."""
    levels = max(int(row["level"]) for row in rows)
    return {f"method-{theme}.svg": method_picture(shown(rows), levels=levels, theme=theme) for theme in THEMES}


def headline(rows: Sequence[Row]) -> str:
    """What the sparsest tickets reach beside the controls, in one sentence."""
    found = summary(shown(rows))
    last = max(one.level for one in found)
    dense, ticket, reinit, random = (
        next(one for one in found if one.line.arm == arm and one.level == (last if arm != "dense" else 0))
        for arm in ("dense", "ticket", "reinit", "global-random")
    )
    (n,) = {one.score.n for one in (dense, ticket, reinit, random)}
    return (
        f"**{percent(ticket.density)} of the weights reach {_score(ticket)} test accuracy on data that the search "
        f"never saw; the same mask with new weights reaches {_score(reinit)}, a random mask of that size "
        f"{_score(random)}, the dense network {_score(dense)}** (mean ± half the 95 % t interval, n = {n})."
    )


def with_headline(page: str, sentence: str) -> str:
    """The page with this sentence between its two markers."""
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        sys.exit(f"README.md: expected the lines {BEGINS.strip()!r} and {ENDS!r}, and found them not both; write them")
    return f"{before}{begins}{sentence}\n{ends}{after}"


def _score(one: Summary) -> str:
    spread = "" if one.score.half is None else f" ± {100 * one.score.half:.1f}"
    return f"{100 * one.score.mean:.1f} %{spread}"


THEMES = ("light", "dark")

if __name__ == "__main__":
    rows = read_rows(ROWS)
    PICTURES.mkdir(exist_ok=True)
    for name, picture in methods(rows).items():
        (PICTURES / name).write_text(picture)
    chart(scores_chart(shown(rows)), PICTURES / "demo.svg")
    chart(scores_chart(rows), ROWS.with_name("accuracy.svg"))
    for folder in pages():
        draw(folder, read_rows(own_rows(folder)))
    README.write_text(with_headline(README.read_text(), headline(rows)))
