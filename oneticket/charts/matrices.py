"""Transfers as heat maps: sources by targets, and optimizers by optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from oneticket.charts import theme
from oneticket.charts.heat import Matrix, Tile, heats, levels_of, scale_of
from oneticket.charts.sheet import sheet
from oneticket.charts.theme import Chart
from oneticket.ground.metric import Metric, named
from oneticket.lottery.arms import words_of
from oneticket.stats.regroup import parts, settled
from oneticket.stats.summary import Line, Row, Setting, Summary, over, summary
from oneticket.stats.words import counts, percent
from oneticket.ticket.names import natural, naturally

At = tuple[str, str, int]
OWN, RANDOM = "own", "global-random"


def sources_chart(rows: Sequence[Row], missing: Sequence[Row] = ()) -> Chart | None:
    """Every source's ticket compared with the target's own, at a selectable level; None without transferred tickets.

    A tile is the paired gain of the ticket over the target's own; for the target's own ticket it is its score. Only
    that were found with the target's optimizer. Raises SpecError as `summary` does.
    """
    made = []
    for title, found, lacking in _blocks(rows, missing):
        for optimizer in sorted({one.setting.optimizer for one in found}, key=natural):
            taken = [one for one in found if {one.setting.optimizer, one.line.optimizer} == {optimizer}]
            gone = [row for row in lacking if {row["target_optimizer"], row["source_optimizer"]} == {optimizer}]
            side = {(one.line.data or "", one.setting.data, one.level): one for one in taken}
            none = {(row["source_data"], row["target_data"], row["level"]) for row in gone}
            made.append(_matrix(f"{title} under {optimizer}", side, none, found, against=OWN))
    return _sheet(made, "Tickets elsewhere", ("transferred to", "ticket found on"), missing, named(rows))


def optimizers_chart(rows: Sequence[Row], missing: Sequence[Row] = ()) -> Chart | None:
    """Every optimizer's ticket trained by every other on the same data; None where none was.

    First the paired differences to the target's own ticket, then to the global random one, on one scale of colours.
    Raises SpecError as `summary` does.
    """
    made = []
    for title, found, lacking in _blocks(rows, missing):
        for data in sorted({one.setting.data for one in found}, key=natural):
            taken = [one for one in found if one.setting.data == data == one.line.data]
            gone = [row for row in lacking if row["target_data"] == data == row["source_data"]]
            side = {(one.line.optimizer or "", one.setting.optimizer, one.level): one for one in taken}
            none = {(row["source_optimizer"], row["target_optimizer"], row["level"]) for row in gone}
            made += [_matrix(f"{title} on {data}", side, none, found, against=against) for against in (OWN, RANDOM)]
    return _sheet(made, "Tickets under another optimizer", ("trained with", "ticket found with"), missing, named(rows))


def _sheet(
    made: Sequence[Matrix | None], title: str, sides: tuple[str, str], missing: Sequence[Row], metric: str
) -> Chart | None:
    matrices = [one for one in made if one is not None]
    if not matrices:
        return None
    tiles = [tile for one in matrices for tile in one.tiles]
    levels, (x, y) = levels_of(tiles), sides
    start = max([tile.level for tile in tiles if tile.difference is not None] or levels)
    numbers = [one.n for tile in tiles for one in [tile.difference or tile.score] if one is not None]
    subtitle = [
        f"At {levels[start]} of the weights{', or what the menu says' if len(levels) > 1 else ''}. Numbers: mean "
        f"paired difference in test {metric} ± half its 95 % Student t interval; {counts(numbers)}.",
        "Blue: better, orange: worse; framed: the interval excludes 0.",
        "Dashed: the target's own ticket with its score, a ticket without a pair, or a missing one.",
        f"{len(missing)} cells asked for are not trained." if missing else "",
    ]
    most = {
        metric: scale_of(tile for one in matrices if one.metric == metric for tile in one.tiles)
        for metric in {one.metric for one in matrices}
    }
    drawn = [panel for one in matrices for panel in heats(one, most=most[one.metric], x=x, y=y, levels=levels)]
    return sheet(drawn, title=title, subtitle=subtitle, params=[theme.menu(levels, start=start)])


def _blocks(rows: Sequence[Row], missing: Sequence[Row]) -> Iterator[tuple[str, list[Summary], list[Row]]]:
    """The tickets and random tickets of every part, model, head, kind of equal and metric, and the missing ones."""
    split = parts(settled(rows))
    gone = parts(row for row in missing if row["arm"] in ("ticket", "own"))
    for part, taken in split.items():
        found = [one for one in summary(taken) if one.line.arm in ("ticket", "own", RANDOM)]
        kinds: dict[tuple[str, str | None, str | None, Metric], list[Summary]] = {}
        for one in found:
            here = one.setting
            kinds.setdefault((here.model, here.head, here.equal, here.metric), []).append(one)
        usual = found[0].setting.head if found else None
        for (model, head, equal, _), block in kinds.items():
            title = f"{part}: {model}" if len(split) > 1 else model
            title += f" ({head} head)" if head != usual else ""
            title += f" at equal {equal}" if equal else ""
            others = {one.setting.data for one in found} - {one.setting.data for one in block}
            lacking = [row for row in gone.get(part, []) if (row["model"], row.get("equal")) == (model, equal)]
            lacking = [row for row in lacking if row["target_data"] not in others]
            yield title, block, lacking


def _matrix(
    title: str, side: Mapping[At, Summary], none: set[At], found: Iterable[Summary], *, against: str
) -> Matrix | None:
    """None without transferred tickets, or without anything to compare them with."""
    found = list(found)
    rivals = {(one.setting, one.level): one for one in found if _rival(one, against)}
    kept = {one.level: percent(one.density) for one in found}
    tickets = {at: one for at, one in side.items() if one.line.arm in ("ticket", "own")}
    tiles = [
        _tile(at, tickets.get(at), rivals, kept.get(at[2], f"level {at[2]}"), against)
        for at in sorted({*tickets, *none}, key=lambda at: (naturally(at[:2]), at[2]))
    ]
    if not rivals or all(tile.source == tile.target for tile in tiles):
        return None
    sources, targets = ({tile.source: None for tile in tiles}, {tile.target: None for tile in tiles})
    title = f"{title}, against {words_of(against).phrase}"
    metric = found[0].setting.metric
    ends = [sorted(names, key=natural) for names in (sources, targets)]
    return Matrix(title=title, metric=metric, sources=ends[0], targets=ends[1], tiles=tiles)


def _tile(at: At, one: Summary | None, rivals: Mapping[tuple[Setting, int], Summary], kept: str, against: str) -> Tile:
    source, target, level = at
    own = one is not None and one.is_own_ticket and against == OWN
    rival = rivals.get((one.setting, level)) if one is not None and not own else None
    compared = over(one, rival) if one is not None and rival is not None else None
    return Tile(
        source=source,
        target=target,
        level=level,
        kept=kept,
        score=one.score if one else None,
        difference=compared.difference if compared else None,
        own=own,
    )


def _rival(one: Summary, against: str) -> bool:
    return one.is_own_ticket if against == OWN else one.line == Line(arm=against)
