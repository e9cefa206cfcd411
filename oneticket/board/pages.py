"""Pages over the whole store: the overview, and the list of outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from oneticket.board.board import Board
from oneticket.board.drawn import progress
from oneticket.board.elements import Html, Part, joined, link, note, page, section, table, tag
from oneticket.board.gate import Answer, Request
from oneticket.board.index import Entry
from oneticket.board.pieces import (
    EVERY,
    LISTED,
    SHORT,
    counts_of,
    failed,
    legend,
    moment,
    notice,
    running,
    several,
    size,
)
from oneticket.board.view import Seen
from oneticket.ground.errors import SpecError
from oneticket.store import names
from oneticket.store.plans import KeptPlan
from oneticket.store.step import VERSIONS
from oneticket.ticket.names import natural

PAGE = 50  # outcomes on a page


def overview(board: Board, _request: Request) -> Answer:
    """Studies with their progress, what runs now, what failed, what is damaged, and how much there is."""
    seen = board.view.look()
    return Answer(
        body=page(
            "Overview",
            section("state", "Store", *_state(board, seen)),
            section("running", "Under way", running(board, seen.under_way)),
            section("studies", "Studies", _studies(board, seen)),
            section("failures", "Failed", failed(board, seen, seen.failures)) if seen.failures else None,
            store=board.store.url,
            every=EVERY,
        )
    )


def outcomes(board: Board, request: Request) -> Answer:
    """The outcomes, some at a time, those of a kind or with some words."""
    seen, query = board.view.look(), request.query
    kind, words = query.get("kind", ""), query.get("q", "").strip()
    if kind and kind not in VERSIONS:
        raise SpecError(f"kind: expected one of {', '.join(VERSIONS)}, got {kind!r}")
    every = board.index.entries(seen)
    found = [entry for entry in every if kind in ("", entry.kind) and fits(entry, words)]
    pages = max(1, -(-len(found) // PAGE))
    number = min(_number(query, "page", 1), pages)
    shown = found[PAGE * (number - 1) : PAGE * number]
    lacking = len(seen.outcomes) - len(every)
    what = f"{len(found):,} of {len(seen.outcomes):,} outcomes"
    rows = [
        (
            link(entry.what, "steps", entry.key),
            entry.source or "—",
            entry.score or ("damaged" if entry.trouble else "—"),
            entry.density or "—",
            entry.kind,
            size(entry.size).replace(" ", "\N{NO-BREAK SPACE}"),
            tag("code", entry.key[:SHORT]),
        )
        for entry in shown
    ]
    header = ("what", "ticket found on", "score", "weights kept", "kind", "size", "address")
    said = f"{what}, page {number} of {pages}"
    body = joined(
        note(f"{len(every):,} of {len(seen.outcomes):,} outcomes are read so far; the others follow.")
        if lacking
        else None,
        tag("div", table(said, header, rows, words=2), class_="outcomes")
        if rows
        else note("No outcome fits." if every else "No outcomes yet."),
        _turn(("outcomes",), number, pages, {"kind": kind, "q": words}),
    )
    listed = section("list", "List", body)
    every_seconds = EVERY if lacking else None
    return Answer(body=page("Outcomes", _filter(kind, words), listed, store=board.store.url, every=every_seconds))


def planned(board: Board, request: Request) -> Answer:
    """The steps that are planned and not done, some at a time, and the state of each."""
    seen = board.view.look()
    waiting = sorted(seen.defined - seen.outcomes.keys())
    pages = max(1, -(-len(waiting) // PAGE))
    number = min(_number(request.query, "page", 1), pages)
    words = board.index.words(waiting[PAGE * (number - 1) : PAGE * number])
    rows = [
        (link(what, "steps", key), seen.state(key), tag("code", key[:SHORT]))
        for key, what in sorted(words.items(), key=lambda each: (natural(each[1]), each[0]))
    ]
    said = f"{several(len(waiting), 'step')}, page {number} of {pages}"
    body = joined(
        table(said, ("what", "state", "address"), rows, words=2) if rows else note("Nothing is planned."),
        _turn(("planned",), number, pages, {}),
    )
    listed = section("list", "List", body)
    return Answer(body=page("Planned and not done", listed, store=board.store.url, every=EVERY))


def _state(board: Board, seen: Seen) -> Iterator[Part]:
    """What there is in the store, and what is wrong with it."""
    if seen.error:
        yield notice([f"The store cannot be read now: {seen.error}. What follows is as it was last seen."])
    if not seen.there:
        yield note("There is no store here yet. It is made by the first run, and shows up here by itself.")
        return
    troubles = board.index.troubles(seen)
    known = {names.name(key, names.OUTCOME) for key in troubles}
    unread = [f"{name}: {why}" for name, why in list(board.store.ignored.items()) if name not in known]
    bad = [f"{key[:SHORT]}: {why}; a run makes it anew" for key, why in troubles.items()]
    aside = [f"{name}: damaged, and set aside; `oneticket store gc` removes it" for name in seen.aside]
    lines = [*bad, *unread, *aside]
    more = [f"And {len(lines) - LISTED:,} more; `oneticket store verify` finds all."] if len(lines) > LISTED else []
    if lines:
        yield notice([f"{len(lines):,} damaged or unreadable:", *lines[:LISTED], *more])
    waiting = len(seen.defined - seen.outcomes.keys())
    counts = [
        f"{several(len(seen.outcomes), 'outcome')} ({size(sum(mark.size for mark in seen.outcomes.values()))})",
        f"{len(seen.under_way):,} under way",
    ]
    told = f"{waiting:,} planned and not done"
    there = link(told, "planned") if waiting else told
    yield tag("p", link(counts[0], "outcomes"), f", {counts[1]}, ", there, ".")
    if not seen.outcomes and not seen.under_way:
        yield note("Nothing is done here yet: `oneticket study demo` takes a minute.")
    kinds = board.index.kinds(seen)
    if kinds:
        named = [
            joined(link(kind, "outcomes", kind=kind), f" ({count:,})")
            for kind, count in sorted(kinds.items())
            if kind in VERSIONS
        ]
        yield tag(
            "p", "Kinds read so far: " if board.index.lacking(seen) else "Kinds: ", *_between(named), class_="soft"
        )
    for version, count in seen.formats.items():
        yield note(f"{several(count, 'file')} of format {version}, which this version does not read: left alone.")


def _studies(board: Board, seen: Seen) -> Html:
    kept = {plan.study for plan in seen.plans}
    cards = [_card(seen, plan) for plan in seen.plans]
    cards += [
        tag("li", tag("p", link(name, "studies", name)), note("Not run yet."))
        for name in board.given
        if name not in kept
    ]
    if not cards:
        return note("No study has been run in this store since it keeps what a study asks for.")
    return joined(tag("ul", *cards, class_="cards"), legend())


def _card(seen: Seen, plan: KeptPlan) -> Html:
    counts = counts_of(seen, plan.steps)
    done = sum(key in seen.outcomes for key in plan.cells)
    lacking = len(plan.cells) - done
    cells = f"{done:,} of {len(plan.cells):,} cells" + (f", {lacking:,} missing" if lacking else "")
    steps = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    return tag(
        "li",
        tag("p", tag("b", link(plan.study, "studies", plan.study))),
        note(plan.title) if plan.title else None,
        progress(counts),
        tag("p", cells),
        note(joined(f"Steps: {steps}. Last run begun ", moment(plan.date), ".")),
    )


def _filter(kind: str, words: str) -> Html:
    options = [tag("option", "all kinds", value="")]
    options += [tag("option", name, value=name, selected=name == kind) for name in VERSIONS]
    search = tag("input", type="search", name="q", value=words, placeholder="words of it, such as ticket digits:b")
    return tag(
        "form",
        tag("label", "Words or address", search, class_="wide"),
        tag("label", "Kind", tag("select", *options, name="kind")),
        tag("button", "Filter", type="submit"),
        method="get",
        role="search",
    )


def _turn(steps: tuple[str, ...], number: int, pages: int, query: Mapping[str, str]) -> Html:
    given = {name: value for name, value in query.items() if value}
    before = link("← before", *steps, **given, page=number - 1) if number > 1 else None
    after = link("after →", *steps, **given, page=number + 1) if number < pages else None
    return tag("p", before, " " if before and after else None, after)


def fits(entry: Entry, words: str) -> bool:
    """Whether each word is part of what is shown of it or begins its address."""
    text = f"{entry.what} {entry.source} {entry.kind} {'damaged' if entry.trouble else ''}".lower()
    return all(word in text or entry.key.startswith(word) for word in words.lower().split())


def _number(query: Mapping[str, str], name: str, least: int) -> int:
    """A whole number from the query; the least where it is none."""
    given = query.get(name, "")
    return max(least, int(given)) if given.isascii() and given.isdigit() and len(given) < 9 else least


def _between(parts: Iterable[Html]) -> Iterator[Part]:
    for number, part in enumerate(parts):
        yield ", " if number else None
        yield part
