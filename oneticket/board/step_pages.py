"""Pages of one step in any state, and of two tickets side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from oneticket.board.board import Board
from oneticket.board.drawn import curve, share
from oneticket.board.elements import Html, Part, joined, link, note, page, section, table, tag
from oneticket.board.gate import Answer, Request
from oneticket.board.layers import Layers, Shared, layers, losses, shared
from oneticket.board.pages import fits
from oneticket.board.pieces import EVERY, SHORT, running
from oneticket.board.view import Seen
from oneticket.ground.canon import dumps
from oneticket.ground.errors import SpecError, StoreError
from oneticket.stats.words import percent
from oneticket.store.step import VERSIONS

OFFERED = 200  # tickets to choose from
WITH_MASKS = ("level", "book", "ticket", "consensus")
LONGEST = 2000  # signs of a value that are shown


def step(board: Board, request: Request) -> Answer | None:
    """A step: under way with its curve, failed with its reason, or done with its record, curve and layers."""
    seen, key = board.view.look(), request.steps[1]
    defined = board.store.definitions([key]).get(key)
    if defined is None and key not in seen.outcomes and key not in seen.under_way:
        return None
    state, what = seen.state(key), board.index.words([key])[key]
    kind = str(defined["kind"]) if defined else ""
    parts: list[Part] = [note(f"{kind or 'unknown'}, {state}, address {key}")]
    if state == "under way":
        parts.append(section("running", "Under way", running(board, {key: seen.under_way[key]})))
    elif state == "done":
        parts += _done(board, seen, key, kind, request.query)
    else:
        parts.append(section("running", "State", _state(seen, key)))
    parts.append(section("asked", "What it is asked for", _asked(board, defined)))
    return Answer(body=page(what, *parts, store=board.store.url, every=None if state == "done" else EVERY))


def compare(board: Board, request: Request) -> Answer:
    """Two tickets: their overlap layer by layer, and the overlap of two random masks of the same densities."""
    seen, query = board.view.look(), request.query
    form = _form(board, seen, query)
    one, other = query.get("a", ""), query.get("b", "")
    if not (one and other):
        said = note("Choose two levels of searches, books or tickets of the same network.")
        return Answer(body=page("Compare two tickets", form, said, store=board.store.url))
    try:
        found = [_masks(board, seen, query, side) for side in ("a", "b")]
        rows = shared(*(masks.remaining(level) for masks, level in found))
    except (StoreError, SpecError) as error:
        body = section("notice", "Not compared", tag("p", str(error)))
        return Answer(body=page("Compare two tickets", form, body, store=board.store.url))
    words = board.index.words([one, other])
    names = [
        words[key] if words[key].startswith(f"level {level} of ") else f"{words[key]}, at level {level}"
        for key, (_, level) in zip((one, other), found, strict=True)
    ]
    body = section("shared", "Side by side", _side_by_side(rows, names))
    return Answer(body=page("Compare two tickets", form, body, store=board.store.url))


def _state(seen: Seen, key: str) -> Html:
    if key in seen.failures:
        return joined(
            note("It failed when it was last tried:"), tag("pre", seen.failures[key][:LONGEST], class_="scroll")
        )
    return note("It is planned and not done yet.")


def _done(board: Board, seen: Seen, key: str, kind: str, query: Mapping[str, str]) -> Iterator[Part]:
    whole = masks = None
    try:
        whole = board.outcomes.get(key, seen.outcomes[key]) if kind in (*WITH_MASKS, "transfer") else None
        masks = layers(kind, whole) if whole else None
    except StoreError as error:
        yield section("damaged", "Not readable", tag("p", f"Its tensors are not shown: {error}"))
    if whole is not None and (points := losses(kind, whole)):
        drawn = curve(points, start=0, total=points[-1][0])
        yield section("curve", "Training loss", drawn, note("Over the steps of this training."))
    if masks is not None:
        yield section("layers", "Density of each layer", *_layers(key, masks, query))
    head = board.store.heads([key]).get(key)
    if head is not None:
        yield section("record", "Record", _facts(head.record))
    provenance = board.store.provenances([key]).get(key)
    if provenance:
        yield section("made", "When, where and how", _facts(provenance))


def _layers(key: str, masks: Layers, query: Mapping[str, str]) -> Iterator[Part]:
    level = _level(masks, query.get("level", ""))
    counts = masks.counts(level)
    remaining, total = (sum(each) for each in zip(*counts.values(), strict=True)) if counts else (0, 0)
    chosen = (tag("b", n) if n == level else link(n, "steps", key, level=n) for n in masks.levels)
    if len(masks.levels) > 1:
        yield tag("p", "Level: ", *(part for one in chosen for part in (one, " ")))
    yield tag(
        "p",
        f"{remaining:,} of {total:,} prunable weights remain at level {level}: {percent(remaining / max(total, 1))}.",
    )
    rows = [
        (name, share(here / max(of, 1), percent(here / max(of, 1))), percent(here / max(of, 1)), f"{here:,}", f"{of:,}")
        for name, (here, of) in counts.items()
    ]
    header = ("layer", "", "density", "remaining", "weights")
    yield tag("div", table(f"Layers at level {level}", header, rows, words=2), class_="layers")
    yield tag("p", link("Compare with another ticket", "compare", a=key, a_level=level))


def _side_by_side(rows: list[Shared], names: list[str]) -> Html:
    first, second, both, total = (
        sum(getattr(row, name) for row in rows) for name in ("first", "second", "both", "total")
    )
    chance = second / max(total, 1)
    said = (
        f"Of the {first:,} weights that remain in the first, {both:,} remain in the second, too: "
        f"{percent(both / max(first, 1))}. Two random masks of these densities would share {percent(chance)}."
    )
    body = []
    for row in rows:
        one, other = row.first / max(row.total, 1), row.second / max(row.total, 1)
        bars = tag(
            "div", share(one, f"first {percent(one)}"), share(other, f"second {percent(other)}", kind="under-way")
        )
        overlap = percent(row.both / row.first) if row.first else "—"
        body.append((row.layer, bars, percent(one), percent(other), overlap, percent(other), f"{row.total:,}"))
    header = ("layer", "", "first", "second", "shared", "by chance", "weights")
    legend = tag(
        "ol",
        *(tag("li", name, class_=side) for name, side in zip(names, ("first", "second"), strict=True)),
        class_="legend",
    )
    assumed = note(
        "Weights are compared by their places, which is sound for searches that began from the same weights: of one "
        "seed and replicate, and of a network that does not draw others for another number of outputs."
    )
    return joined(
        legend, tag("p", said), assumed, tag("div", table("Density by layer", header, body, words=2), class_="layers")
    )


def _masks(board: Board, seen: Seen, query: Mapping[str, str], side: str) -> tuple[Layers, int]:
    """The masks at an address in the query, and the level of them that is asked for."""
    key = query[side]
    if not re.fullmatch("[0-9a-f]{64}", key) or key not in seen.outcomes:
        raise StoreError(f"{side}: no outcome of this store lies at {key[:80]!r}")
    defined = board.store.definitions([key]).get(key)
    found = layers(str(defined["kind"]), board.outcomes.get(key, seen.outcomes[key])) if defined else None
    if found is None:
        raise StoreError(f"{side}: {key[:SHORT]} has no masks; take a level, a book, a ticket or a consensus")
    return found, _level(found, query.get(f"{side}_level", ""))


def _level(masks: Layers, given: str) -> int:
    """The level asked for, or the sparsest; SpecError for a missing one."""
    if not given:
        return masks.levels[-1]
    known = {str(level): level for level in masks.levels}
    if given not in known:
        raise SpecError(f"level: expected {masks.levels[0]} to {masks.levels[-1]}, got {given[:20]!r}")
    return known[given]


def _form(board: Board, seen: Seen, query: Mapping[str, str]) -> Html:
    every = [entry for entry in board.index.entries(seen) if entry.kind in WITH_MASKS and not entry.trouble]
    words = query.get("q", "").strip()
    found = [entry for entry in every if fits(entry, words)]
    sides: list[Part] = []
    if len(every) > OFFERED or words:
        search = tag("input", type="search", name="q", value=words, placeholder="words of them, such as digits:b")
        sides.append(tag("label", "Offer only those with", search, class_="wide"))
    for side, name in (("a", "First"), ("b", "Second")):
        chosen = [entry for entry in every if entry.key == query.get(side)]
        offered = [*chosen, *(entry for entry in found[:OFFERED] if entry not in chosen)]
        options = [tag("option", "choose", value="")]
        options += [
            tag("option", f"{entry.what} · {entry.key[:SHORT]}", value=entry.key, selected=entry in chosen)
            for entry in offered
        ]
        sides.append(tag("label", name, tag("select", *options, name=side), class_="wide"))
        level = query.get(f"{side}_level", "")
        box = tag("input", name=f"{side}_level", value=level, inputmode="numeric", placeholder="sparsest", size=8)
        sides.append(tag("label", "at level", box))
    more = note(f"The first {OFFERED} of {len(found):,} are offered; words above find the others.")
    return joined(
        tag("form", *sides, tag("button", "Compare", type="submit"), method="get"),
        more if len(found) > OFFERED else None,
    )


def _asked(board: Board, defined: Mapping[str, Any] | None) -> Html:
    if defined is None:
        return note("Its definition is not in the store.")
    needs = board.index.words(defined["needs"])
    version = VERSIONS.get(defined["kind"])
    old = f"; this oneticket does version {version}" if version not in (None, defined["version"]) else ""
    links = [tag("li", link(what, "steps", key)) for key, what in needs.items()]
    return joined(
        note(f"{defined['kind']}, version {defined['version']}{old}"),
        _facts(defined["args"]),
        tag("p", "It needs:") if links else None,
        tag("ul", *links) if links else None,
    )


def _facts(facts: Mapping[str, Any]) -> Html:
    given = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    pairs = [(name, value if isinstance(value, str) else _text(value)) for name, value in given.items()]
    return tag(
        "dl", *(part for name, text in pairs for part in (tag("dt", name), tag("dd", text[:LONGEST]))), class_="facts"
    )


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        said = {name: each for name, each in value.items() if each not in (None, "", [], {})}
        return ", ".join(f"{name} {each if isinstance(each, str) else _text(each)}" for name, each in said.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return "—" if value is None else dumps(value)
