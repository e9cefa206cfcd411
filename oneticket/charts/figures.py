"""The figures of a report, in the order of its page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

import altair as alt

from oneticket.charts.cost import cost_chart
from oneticket.charts.crossing import crossing_chart
from oneticket.charts.curves import curves_chart
from oneticket.charts.decomposition import decomposition_chart
from oneticket.charts.forest import controls_chart
from oneticket.charts.hero import hero_chart
from oneticket.charts.layers import layers_chart
from oneticket.charts.matrices import optimizers_chart, sources_chart
from oneticket.charts.overlap import overlap_chart
from oneticket.charts.scores import scores_chart
from oneticket.charts.theme import Chart
from oneticket.ground.errors import SpecError
from oneticket.ground.table import Table
from oneticket.study.findings import Findings
from oneticket.study.spec import FIGURES as NAMES


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The name of a figure's file, its title and caption, and the function that draws it.

    `caption`: what is shown and how to use it. The numbers of replicates and missing cells stand in the chart itself,
    so that its file shows them too. `needs`: what is missing where `draw` gives None.
    """

    name: str
    title: str
    caption: str
    needs: str
    draw: Callable[[Findings], Chart | None]


def figure_named(name: str) -> Figure:
    """The figure of that name, or your own by its path.

    Your own is a function from `Findings` to an Altair chart, or None where there is nothing to draw. Its docstring's
    first line is the figure's title, the rest its caption. Raises SpecError for an unknown name, and when it is drawn
    for a function that fails or makes something else.

    >>> figure_named("curves").title
    'Training curves'
    """
    FIGURES.known(name)
    if not FIGURES.is_own(name):
        return FIGURES[name]
    FIGURES.renew(name)
    function = FIGURES.own(name)
    title, _, caption = (inspect.getdoc(function) or function.__name__).partition("\n")

    def draw(found: Findings) -> Chart | None:
        with FIGURES.blamed(name):
            chart: Chart | None = function(found)
        if chart is not None and not isinstance(chart, alt.TopLevelMixin):
            raise SpecError(f"figure {name!r}: expected an Altair chart or None, got {type(chart).__name__}")
        return chart

    return Figure(
        name=re.sub(r"\W+", "-", name.rpartition(":")[2]),
        title=title.rstrip("."),
        caption=" ".join(caption.split()),
        needs=f"what {name} draws",
        draw=draw,
    )


def _figure(name: str, *, caption: str, needs: str, draw: Callable[[Findings], Chart | None]) -> Figure:
    return Figure(name=name, title=NAMES[name], caption=caption, needs=needs, draw=draw)


HERO = Figure(
    name="hero",
    title="Tickets beside their controls",
    caption="Test scores at the density that the study states, else at the sparsest: each ticket, its mask with new "
    "weights, a random ticket of the same density, and the dense network, whose mean is the dashed line. Points are "
    "means over replicates, bars their 95 % Student t intervals; the numbers are the mean and half its interval.",
    needs="a ticket",
    draw=lambda found: hero_chart(found.rows, found.plan.densities.values()) if found.rows else None,
)
"""The figure under the verdicts, which every report has."""

FIGURES: Table[Figure] = NAMES.filled(
    {
        "scores": _figure(
            "scores",
            caption="Test scores as weights are pruned. Each line of a panel has its own colour, shape and dash; the "
            "dashed rule and its grey band are the dense network. Where there are several sources, the first panels "
            "have every ticket of a target, and further ones the arms of each source. Points are means over "
            "replicates, bars and bands their 95 % Student t intervals; points of one density stand side by side. "
            "Shaded: densities at which pruning takes only what training brought to zero by itself. A click in the "
            "legend shows one line alone, with shift one more; the wheel and dragging zoom, a double click goes back.",
            needs="a trained network",
            draw=lambda found: scores_chart(found.rows, missing=found.missing) if found.rows else None,
        ),
        "sources-and-targets": _figure(
            "sources-and-targets",
            caption="By how much a ticket of each source is better (blue) or worse (orange) than the target's own, at "
            "the sparsest level or another one from the menu: the mean difference paired by replicate, half its 95 % "
            "Student t interval, and n. A frame says that the interval excludes 0. Where a source is the target "
            "itself stands its score.",
            needs="a ticket transferred to other data, and that data's own ticket",
            draw=lambda found: sources_chart(found.rows, found.missing) if found.rows else None,
        ),
        "optimizers": _figure(
            "optimizers",
            caption="By how much a ticket found with one optimizer and trained with another on the same data is better "
            "(blue) or worse (orange) than the target's own ticket, and than the global random ticket: the mean "
            "difference paired by replicate, half its 95 % Student t interval, and n. A frame says that the interval "
            "excludes 0.",
            needs="a ticket transferred to another optimizer on its own data",
            draw=lambda found: optimizers_chart(found.rows, found.missing) if found.rows else None,
        ),
        "controls": _figure(
            "controls",
            caption="By how much each ticket is better than its controls, the target's own ticket, and the dense "
            "network: mean paired differences with their 95 % Student t intervals, filled where those exclude 0. One "
            "panel per target and level, from the densest level shown to the sparsest. n is in the chart.",
            needs="a ticket and a control with a replicate in common",
            draw=lambda found: controls_chart(found.rows, found.missing) if found.rows else None,
        ),
        "mask-or-weights": _figure(
            "mask-or-weights",
            caption="By how much each ticket is better than the target's own (black), and what of it the source's mask "
            "brings over the target's own rewound weights, the source's rewound weights bring under the target's own "
            "mask, and only the two together: mean differences paired by replicate, over density, with their 95 % "
            "Student t intervals. The three coloured values of a density add up to the black one.",
            needs="a ticket, the target's own, and one of them crossed: mask-only or weights-only",
            draw=lambda found: decomposition_chart(found.rows, found.missing) if found.rows else None,
        ),
        "crossing": _figure(
            "crossing",
            caption="Targets that are one set cut to several sizes: test scores over the number of the target's "
            "training examples, and by how much each ticket is better than the target's own, paired by replicate. "
            "Points are means over replicates, bars their 95 % Student t intervals.",
            needs="a ticket transferred to one set at several sizes, and that set's own tickets",
            draw=lambda found: crossing_chart(found.rows, found.missing) if found.rows else None,
        ),
        "layers": _figure(
            "layers",
            caption="The share of each layer's weights that remain at every level of a search, as means over "
            "replicates: pruning over all layers at once empties some of them early. Intervals and counts are under "
            "the pointer.",
            needs="a search",
            draw=lambda found: layers_chart(found.layers),
        ),
        "overlap": _figure(
            "overlap",
            caption="The share of a mask's remaining weights that another search's mask keeps, too, by density, beside "
            "what two random masks of that density share (dashed). Points are means over replicates, bars their 95 % "
            "Student t intervals.",
            needs="two searches of one model that begin from the same weights",
            draw=lambda found: overlap_chart(found.overlaps, found.not_compared),
        ),
        "curves": _figure(
            "curves",
            caption="Training loss at the sparsest level of each target, on a logarithmic axis: means over replicates "
            "with their 95 % Student t intervals; each line of a panel has its own colour and dash, the dense "
            "network is the plain line in black.",
            needs="a training whose loss was kept",
            draw=lambda found: curves_chart(found.curves),
        ),
        "ledger": _figure(
            "ledger",
            caption="What each search cost in all its replicates, and what as many searches would have cost as there "
            "are targets and optimizers that took its tickets instead. Sums of measured times, so without intervals.",
            needs="a search",
            draw=lambda found: cost_chart(found.ledger),
        ),
    }
)
