"""Charts for notebooks, as Altair charts: of rows, of a book, of a ticket. They need the extra `lab`.

A notebook shows them as pictures, without a network. `alt.renderers.enable("jupyter", offline=True)` makes them
interactive. `chart.save("chart.svg")` and the rest of Altair work as usual.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneticket.ground.door import door
from oneticket.ground.errors import SpecError
from oneticket.ground.extras import naming_extras
from oneticket.ticket.book import Book
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

if TYPE_CHECKING:
    from pandas import DataFrame

    from oneticket.charts.inline import Inline
    from oneticket.session.study import StudyRun


@naming_extras()
def accuracy(
    rows: Iterable[Mapping[str, Any]] | DataFrame | StudyRun | str | os.PathLike[str], *, title: str = ""
) -> Inline:
    """The scores of trained networks over the share of weights that remain, with 95 % intervals, in the rows' metric.

    `rows`: what `transfer` or `study.run` gives, a DataFrame of its rows, or a file that `--rows` wrote. There is a
    panel for each target and a line for each source and network; the dense network is dashed. Raises SpecError for no
    rows and for a table without the columns of our rows, MissingExtra without Altair.

    >>> row = {"model": "mlp", "target_data": "digits:b", "target_optimizer": "sgd", "replicate": 0}
    >>> dense = {**row, "arm": "dense", "level": 0, "density": 1.0, "accuracy": 0.9}
    >>> accuracy([dense]).to_dict()["title"]["text"]
    'Accuracy as weights are pruned'
    """
    if isinstance(rows, str | os.PathLike):
        found = door("report.export:read_rows")(Path(rows))
    else:
        found = door("stats.frame:plain")(rows)
    if not found:
        raise SpecError("rows: there are none, so there is nothing to draw")
    return _inline(door("charts.scores:scores_chart")(found, title))


@naming_extras()
def levels(book: Book) -> Inline:
    """The score of each level of a book over its density, which is `book.plot()`.

    Raises SpecError for a book whose records hold no scores, MissingExtra without Altair.
    """
    return _inline(door("charts.tickets:levels_chart")(book))


@naming_extras()
def layers(thing: Ticket | Book | Mask) -> Inline:
    """How many weights remain in each layer, which is `plot_layers()`: of a book at every level.

    Raises SpecError for a mask that names no tensors, MissingExtra without Altair.

    >>> import torch
    >>> chart = layers(Mask({"fc.weight": torch.tensor([[True, False]])}))
    >>> list(chart.to_dict()["datasets"].values())[0][0]["share"]
    0.5
    """
    if isinstance(thing, Book):
        return _inline(door("charts.tickets:book_layers_chart")(thing))
    return _inline(door("charts.tickets:mask_chart")(thing.mask if isinstance(thing, Ticket) else thing))


def _inline(chart: Any) -> Inline:
    made: Inline = door("charts.inline:inline")(chart)
    return made
