"""Pages of a study: how far it is, its verdicts and its figures as they fill."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from oneticket.board.board import Board
from oneticket.board.drawn import progress
from oneticket.board.elements import Html, Part, address, joined, note, page, section, table, tag
from oneticket.board.gate import Answer, Request
from oneticket.board.pieces import EVERY, counts_of, failed, legend, running, told
from oneticket.board.reports import Drawn, Report
from oneticket.board.view import STATES, Seen
from oneticket.report.judged import short
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
    mine = {key: held for key, held in seen.under_way.items() if key in set(steps)}
    lost = {key: why for key, why in seen.failures.items() if key in set(steps) and key not in seen.outcomes}
    title = kept.title if kept else report.plan.title if report and report.plan else ""
    figures = report.figures if report else ()
    body = [
        note(title) if title else None,
        section("progress", "Progress", _progress(seen, parts, steps, kept)),
        section("running", "Under way", running(board, mine)),
        section("failures", "Failed", failed(board, seen, lost)) if lost else None,
        section("verdicts", "Verdicts so far", _verdicts(report, kept)),
        section("figures", "Figures", _figures(name, report, figures)),
    ]
    return Answer(body=page(name, *body, store=board.store.url, every=EVERY))


def figure(board: Board, request: Request) -> Answer | None:
    """The picture of a study's figure."""
    name, number = request.steps[1], int(request.steps[3])
    figures = board.reports.ask(name).figures if board.reports.knows(name) else ()
    if number >= len(figures) or not figures[number].picture:
        return None
    lasting = request.query.get("v") == _version(figures[number])
    return Answer(body=figures[number].picture, kind="image/svg+xml; charset=utf-8", lasting=lasting)


def _progress(seen: Seen, parts: Mapping[str, Iterable[str]], steps: Iterable[str], kept: KeptPlan | None) -> Html:
    rows: list[tuple[Part, ...]] = []
    for part, keys in [*parts.items(), ("all steps", steps)]:
        counts = counts_of(seen, keys)
        rows.append((part, progress(counts), *(f"{counts[state]:,}" for state in STATES), f"{sum(counts.values()):,}"))
    header = ("part", "", *STATES, "in all")
    begun = note(f"Last run begun {kept.date}.") if kept else note("The store has no plan of it: it was not run yet.")
    return joined(tag("div", table("Cells by part", header, rows, words=2, most=4), class_="layers"), legend(), begun)


def _verdicts(report: Report | None, kept: KeptPlan | None) -> Html:
    if report is None:
        name = kept.study if kept else "STUDY"
        return note(f"Name the study's file to have its verdicts and figures: oneticket board {name}.toml")
    if report.error:
        return told([f"Its report cannot be made: {report.error}"])
    if report.done < 0:
        return note(f"The report is being made: {report.doing}.")
    known = {cell.step.key for cell in report.plan.cells} if report.plan else set()
    other = kept is not None and known != set(kept.cells)
    cards = [
        tag(
            "li",
            tag("b", verdict.name),
            " ",
            tag("span", verdict.outcome, class_="outcome"),
            tag("p", verdict.statement),
            note(short(verdict)),
            class_=MARKS.get(verdict.outcome),
        )
        for verdict in report.verdicts
    ]
    doing = f" {report.doing.capitalize()} what came since." if report.doing else ""
    return joined(
        told(["The store was last run with another plan of this study: other data, another file, or another version."])
        if other
        else None,
        note(f"From {report.done:,} of {report.cells:,} cells; they may change until all are there.{doing}"),
        tag("ol", *cards, class_="answers") if cards else note("No claim can be judged yet."),
    )


def _figures(name: str, report: Report | None, figures: Iterable[Drawn]) -> Html:
    if report is None or report.error or report.done < 0:
        return note("None yet.")
    drawn = [_figure(name, number, each) for number, each in enumerate(figures)]
    return joined(note("Stills; those of the report answer to the pointer."), *drawn) if drawn else note("None yet.")


def _figure(name: str, number: int, drawn: Drawn) -> Html:
    if not drawn.picture:
        return tag("figure", tag("h3", drawn.title), note(drawn.lacking))
    source = address("studies", name, "figures", str(number), v=_version(drawn))
    image = tag("img", src=source, alt=drawn.title)
    box = tag("div", image, class_="still scroll", role="region", aria_label=drawn.title, tabindex="0")
    return tag("figure", tag("h3", drawn.title), box, tag("figcaption", drawn.caption))


def _version(drawn: Drawn) -> str:
    return hashlib.sha256(drawn.picture.encode()).hexdigest()[:16]


def _parts(report: Report | None) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for cell in report.plan.cells if report and report.plan else ():
        parts.setdefault(cell.part or "study", []).append(cell.step.key)
    return parts


MARKS = {"holds": "holds", "fails": "fails", "undecided": "undecided", "not tested": "untested"}
