"""Draw the pictures of README, docs and results, and write README's headline, from committed rows: `make pictures`.

`results/demo/rows.csv` is what `oneticket demo` left. Everything here is made from rows alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from page import chart, draw, own_rows, pages

from oneticket.charts.method import method_picture
from oneticket.charts.scores import scores_chart
from oneticket.report.export import read_rows
from oneticket.report.verdict import compared
from oneticket.stats.regroup import pooled, same_optimizer
from oneticket.stats.summary import Row, Summary, summary
from oneticket.stats.words import listed, percent, plus_minus

ROOT = Path(__file__).parents[1]
ROWS, PICTURES, README = ROOT / "results" / "demo" / "rows.csv", ROOT / "docs" / "pictures", ROOT / "README.md"
BEGINS, ENDS = "<!-- headline: written by `make pictures` -->\n", "<!-- end of headline -->"
OPTIMIZER = "sgd"
CALLED = {"sgd": "SGD", "adam": "Adam"}  # the demo's optimizers
ARMS = "dense", "ticket", "reinit", "global-random"


def shown(rows: Sequence[Row]) -> list[Row]:
    """The rows under one optimizer, in the search and on the target: one panel of a chart."""
    return [row for row in rows if {row["source_optimizer"], row["target_optimizer"]} <= {None, OPTIMIZER}]


def methods(rows: Sequence[Row]) -> dict[str, str]:
    """File name -> SVG of the method's picture."""
    levels = max(int(row["level"]) for row in rows)
    return {f"method-{theme}.svg": method_picture(shown(rows), levels=levels, theme=theme) for theme in THEMES}


def headline(rows: Sequence[Row]) -> str:
    """What the sparsest ticket of the pictures reaches, beside its controls, and how far that holds over optimizers."""
    dense, ticket, reinit, random = _sparsest(shown(rows))
    (n,) = {one.score.n for one in (dense, ticket, reinit, random)}
    whole, each, *_ = _sparsest(pooled(same_optimizer(rows)))
    beside = [_compared(ticket, rival) for rival in (dense, random, reinit)]
    return (
        f"**Found and trained with {CALLED[OPTIMIZER]}, the ticket with {percent(ticket.density)} of the weights "
        f"reaches {plus_minus(ticket.score, ticket.setting.metric).replace(' ±', ' % ±')} test accuracy on the other "
        f"half**: {listed(beside)}. Over {listed([*CALLED.values()])}, each ticket with the optimizer that found it, "
        f"it is {_compared(each, whole)} (n = {n}, 95 % t intervals)."
    )


def _compared(ticket: Summary, rival: Summary) -> str:
    """As a report says it, with shorter intervals."""
    said = re.sub(r"\(95 % CI (\S+) to (\S+)\)", r"[\1, \2]", compared(ticket, rival))
    return re.sub(r", 95 % CI (\S+) to (\S+)\)", r" [\1, \2])", said)


def _sparsest(rows: Sequence[Row]) -> list[Summary]:
    """The dense network, and at the sparsest level the ticket and its controls, in the order of `ARMS`."""
    found = summary(rows)
    last = max(one.level for one in found)
    return [next(one for one in found if one.line.arm == arm and one.level in (0, last)) for arm in ARMS]


def with_headline(page: str, sentence: str) -> str:
    """The page with this sentence between its two markers."""
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        sys.exit(f"README.md: expected the lines {BEGINS.strip()!r} and {ENDS!r}, and found them not both; write them")
    return f"{before}{begins}{sentence}\n{ends}{after}"


THEMES = ("light", "dark")

if __name__ == "__main__":
    rows = read_rows(ROWS)
    PICTURES.mkdir(exist_ok=True)
    for name, picture in methods(rows).items():
        (PICTURES / name).write_text(picture)
    title = f"Test accuracy on digits:b, found and trained with {OPTIMIZER}"
    chart(scores_chart(shown(rows), title), PICTURES / "demo.svg")
    chart(scores_chart(rows), ROWS.with_name("accuracy.svg"))
    for folder in pages():
        draw(folder, read_rows(own_rows(folder)))
    README.write_text(with_headline(README.read_text(), headline(rows)))
