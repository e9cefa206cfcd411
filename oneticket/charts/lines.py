"""Lines: which of them share a panel, so that few do, and how each looks there: its colour, its shape, its dash."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt

from oneticket.charts import theme
from oneticket.charts.legends import legend
from oneticket.lottery.arms import OF_TARGET, words_of
from oneticket.stats.summary import Line, rank
from oneticket.ticket.names import natural


@dataclass(frozen=True, kw_only=True)
class Group:
    """Lines of one panel and what they are called there; `title`: what they have in common, if anything.

    `detail`: whether they say more of what another group has already.
    """

    title: str
    called: Mapping[Line, str]
    detail: bool = False

    @property
    def places(self) -> list[int]:
        """The place of each line's look: an arm has the same in all panels, as far as `FIXED` and the panel allow.

        Several tickets of a panel are told apart by their sources, with looks that are no arm's: from the last on.
        """
        arms = ["own" if name == OWN else line.arm for line, name in self.called.items()]
        fixed = {arm: place for arm, place in FIXED.items() if arms.count(arm) == 1}
        free = iter(place for place in reversed(range(theme.MOST)) if place not in {fixed.get(arm) for arm in arms})
        return [fixed[arm] if arm in fixed else next(free) for arm in arms]


def groups(lines: Iterable[Line], target: Line | None = None) -> list[Group]:
    """The lines in groups of at most `theme.MOST`: first the tickets of all sources, then what belongs to each source.

    `target` is a line of the target itself, whose own arms belong to no source. If there is only one source, its arms
    are spread over the groups, and its ticket is in each of them. Arms without any source, such as random tickets,
    stand beside those of each source.

    >>> lines = [Line(arm=arm, data="svhn", optimizer="sgd") for arm in ("ticket", "reinit", "signs")]
    >>> [list(group.called.values()) for group in groups(lines)]
    [['ticket from svhn', 'new magnitudes, same mask and signs', 'new weights, same mask']]
    """
    ordered = sorted(set(lines), key=rank)
    here = [line for line in ordered if not line.source or line.arm == "own" or _alike(line, target)]
    away = [line for line in ordered if line not in here]
    tickets = [line for line in ordered if line.arm in ("ticket", "own")]
    own = [line for line in tickets if line in here and away][:1]
    by = {line.optimizer for line in ordered if line.source} | ({target.optimizer} if target else set())
    named = {line.source: (line.data or "") if len(by) == 1 else line.source for line in ordered}

    def group(title: str, lines: Sequence[Line], sourced: str = "", *, detail: bool = False) -> Group:
        """A group, with the source in the names of the arm `sourced`, and where two would be called alike."""
        arms, called = [line.arm for line in lines], {}
        for line in lines:
            said = line.source and line.arm != "own" and (line.arm == sourced or arms.count(line.arm) > 1)
            called[line] = words_of(line.arm).label + (f" from {named[line.source]}" if said else "")
        return Group(title=title, called={**called, **{line: OWN for line in own if line in called}}, detail=detail)

    sources = sorted({line.source for line in away}, key=natural)
    if len(sources) < 2:
        first = [line for line in tickets if line not in own][:1]
        return [group("", each, "ticket") for each in _spread(ordered, first)]
    made = [group("every ticket", each, "ticket") for each in _spread(tickets, own)]
    random = [line for line in here if not line.source and line.arm not in OF_TARGET][: theme.MOST - 2]
    for source in sources:
        of = [line for line in away if line.source == source]
        ticket = [line for line in of if line.arm == "ticket"]
        if [*of, *random] != ticket:
            for each in _spread([*of, *random], [*ticket, *random]):
                made.append(group(f"from {named[source]}", sorted(each, key=rank), detail=True))
    rest = [line for line in here if line not in tickets and (own or line not in random)]
    return made + [group("of the target", each, detail=True) for each in _spread([*own, *rest], own) if rest]


def looks(
    names: Sequence[str],
    colors: Sequence[str] = theme.PALETTE,
    *,
    places: Sequence[int] | None = None,
    levels: Collection[str] = (),
    drawn: Sequence[str] | None = None,
) -> tuple[alt.Color, alt.Shape, alt.StrokeDash]:
    """Colour, shape and dash of the field `line`, each name with its own; one legend above the panel has all three.

    The dense network is black. `places`: of each name's look, else one follows the other. `levels`: those that are
    drawn as a level line without points, and so in the legend, too. `drawn`: the names that the panel draws, where it
    does not draw all; the legend lists these alone.
    """
    listed: dict[str, Any] = {} if drawn is None else {"values": list(drawn)}
    shown = legend(names if drawn is None else drawn, symbolStrokeWidth=0, **listed)
    hues, shapes = theme.marks(names, colors, places), theme.marks(names, theme.SHAPES, places)
    hues.range = [theme.BLACK if name == DENSE else hue for name, hue in zip(names, hues.range, strict=True)]
    shapes.range = [theme.BAR if name in levels else shape for name, shape in zip(names, shapes.range, strict=True)]
    return (
        alt.Color("line:N", scale=hues, legend=shown),
        alt.Shape("line:N", scale=shapes, legend=shown),
        alt.StrokeDash("line:N", scale=theme.marks(names, theme.DASHES, places), legend=shown),
    )


def _spread(lines: Sequence[Line], always: Sequence[Line]) -> list[list[Line]]:
    """The lines in even parts that fit into a panel; those of `always` stand in every part."""
    others = [line for line in lines if line not in always]
    many = max(-(-len(others) // (theme.MOST - len(always))), 1)
    ends = [round(len(others) * part / many) for part in range(many + 1)]
    return [[*always, *others[start:end]] for start, end in pairwise(ends)]


def _alike(line: Line, target: Line | None) -> bool:
    return target is not None and (line.data, line.optimizer) == (target.data, target.optimizer)


FIXED = {"ticket": 0, "reinit": 1, "global-random": 2, "own": 3, "dense-rewound": 4, "layerwise-random": 5}
"""The place of an arm's look, where one line of a panel is of that arm."""
DENSE = words_of("dense").label
OWN = words_of("own").label
"""What the target's own ticket is called, also where its arm is `ticket`."""
