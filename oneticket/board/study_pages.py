"""Pages of a study: how far it is, its verdicts and its figures as they fill."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from oneticket.board.board import Board
from oneticket.board.drawn import progress
from oneticket.board.elements import Html, Part, address, joined, note, page, section, table, tag
from oneticket.board.gate import Answer, Request
from oneticket.board.pieces import EVERY, counts_of, failed, legend, moment, notice, running, several
from oneticket.board.reports import Drawn, Report
from oneticket.board.view import STATES, Seen
from oneticket.charts.chart import turning_dark
from oneticket.charts.picture import Panel
from oneticket.report.answers import answers
from oneticket.store.plans import KeptPlan


def study(board: Board, request: Request) -> Answer | None:
    """A study: how far each of its parts is, its verdicts and figures as they fill."""
    seen, name = board.view.look(), request.steps[1]
    kept = next((plan for plan in seen.plans if plan.study == name), None)
    if kept is None and name not in board.given:
        return None
    report = board.reports.ask(name) if board.reports.knows(name) else None
    parts = kept.parts if kept else _parts(report)
    steps = kept.steps if kept else [key for keys in parts.values() for key in keys]
    own = set(steps)
    mine = {key: held for key, held in seen.under_way.items() if key in own}
    lost = {key: why for key, why in seen.failures.items() if key in own and key not in seen.outcomes}
    title = kept.title if kept else report.plan.title if report and report.plan else ""
    body = [
        note(title) if title else None,
        section("progress", "Progress", _progress(seen, parts, steps, kept)),
        section("running", "Under way", running(board, mine)),
        section("failures", "Failed", failed(board, seen, lost)) if lost else None,
        section("verdicts", "Verdicts so far", _verdicts(report, kept), _hero(name, report)),
        section("figures", "Figures", _figures(name, report)),
    ]
    return Answer(body=page(name, *body, store=board.store.url, every=EVERY))


def panel(board: Board, request: Request) -> Answer | None:
    """A panel of a study's figure, which turns dark with the page unless it is a user's own chart."""
    name, number, place = request.steps[1], int(request.steps[3]), int(request.steps[4])
    figures = board.reports.ask(name).figures if board.reports.knows(name) else ()
    picture = figures[number].picture if number < len(figures) else None
    if picture is None or place >= len(picture.panels):
        return None
    asked = picture.panels[place]
    lasting = request.query.get("v") == _version(asked)
    return Answer(body=_svg(asked), kind="image/svg+xml; charset=utf-8", lasting=lasting)


def _progress(seen: Seen, parts: Mapping[str, Iterable[str]], steps: Iterable[str], kept: KeptPlan | None) -> Html:
    rows: list[tuple[Part, ...]] = []
    for part, keys in [*parts.items(), ("all steps", steps)]:
        counts = counts_of(seen, keys)
        rows.append((part, progress(counts), *(f"{counts[state]:,}" for state in STATES), f"{sum(counts.values()):,}"))
    header = ("part", "", *STATES, "in all")
    begun = (
        note(joined("Last run begun ", moment(kept.date), "."))
        if kept
        else note("The store has no plan of it: it was not run yet.")
    )
    return joined(tag("div", table("Cells by part", header, rows, words=2), class_="layers"), legend(), begun)


def _verdicts(report: Report | None, kept: KeptPlan | None) -> Html:
    if report is None:
        name = kept.study if kept else "STUDY"
        return note(f"Name the study's file to have its verdicts and figures: oneticket board {name}.toml")
    if report.error:
        return notice([f"Its report cannot be made: {report.error}"])
    if report.done < 0:
        return note(f"The report is being made: {report.doing}.")
    known = {cell.step.key for cell in report.plan.cells} if report.plan else set()
    other = kept is not None and known != set(kept.cells)
    cards = Html(answers(report.verdicts, linked=False))
    doing = f" {report.doing.capitalize()} what came since." if report.doing else ""
    partly = "; they may change until all are there" if report.done < report.cells else ""
    return joined(
        notice(
            ["The store was last run with another plan of this study: other data, another file, or another version."]
        )
        if other
        else None,
        note(f"From {report.done:,} of {report.cells:,} cells{partly}.{doing}"),
        cards or note("No claim can be judged yet."),
    )


def _hero(name: str, report: Report | None) -> Html | None:
    """The figure under the verdicts."""
    drawn = bool(report and not report.error and report.figures and report.figures[0].picture)
    return _figure(name, 0, report.figures[0]) if report and drawn else None


def _figures(name: str, report: Report | None) -> Html:
    if report is None or report.error or report.done < 0:
        return note("None yet.")
    drawn = [_figure(name, number, each) for number, each in enumerate(report.figures) if number]
    said = note("These are stills; what their captions say of the pointer holds in the report.")
    return joined(said, *drawn) if drawn else note("None yet.")


def _figure(name: str, number: int, drawn: Drawn) -> Html:
    title = tag("h3", drawn.figure.title) if number else None
    picture = drawn.picture
    if picture is None:
        return tag("figure", title, note(drawn.lacking))
    where = ("studies", name, "figures", str(number))
    panels = [
        _panel(address(*where, str(place), v=_version(each)), each, picture.title)
        for place, each in enumerate(picture.panels)
    ]
    shown, others = panels[: picture.first], panels[picture.first :]
    summary = tag("summary", f"{several(len(others), 'more panel')}: {picture.title}")
    return tag(
        "figure",
        title,
        note(picture.notes) if picture.notes else None,
        tag("div", *shown, class_="panels"),
        tag("details", summary, tag("div", *others, class_="panels")) if others else None,
        tag("figcaption", picture.caption),
    )


def _panel(source: str, panel: Panel, title: str) -> Html:
    """A panel as a picture, whose space is reserved until it has loaded."""
    size = re.search(r'<svg[^>]* width="(\d+)[^"]*" height="(\d+)', panel.still)
    width, height = size.groups() if size else (None, None)
    said = f"{title}: {panel.heading.title}" if panel.heading.title else title
    image = tag("img", src=source, alt=said, width=width, height=height)
    if _own(panel):
        return tag("div", image, class_="panel own", role="region", aria_label=title, tabindex="0")
    heading = panel.heading
    words = tag("p", heading.title, *(tag("span", line) for line in heading.below), class_="heading")
    return tag("div", words if heading.title else None, image, class_="panel")


def _own(panel: Panel) -> bool:
    """Whether it is a chart with a fixed layout and its own colours."""
    return "autosize" not in panel.chart


def _svg(panel: Panel) -> str:
    return panel.still if _own(panel) else turning_dark(panel.still)


def _version(panel: Panel) -> str:
    return hashlib.sha256(_svg(panel).encode()).hexdigest()[:16]


def _parts(report: Report | None) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for cell in report.plan.cells if report and report.plan else ():
        parts.setdefault(cell.part or "study", []).append(cell.step.key)
    return parts
