"""Pieces that several pages have: what is under way, what failed, colours, warnings, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from oneticket.board.board import Board
from oneticket.board.drawn import curve, share
from oneticket.board.elements import Html, Part, joined, link, note, table, tag
from oneticket.board.view import STATES, Seen
from oneticket.ground import clock
from oneticket.store.under_way import UnderWay

EVERY = 2.0  # seconds after which a page is looked at again
LISTED = 20  # failures, damaged files and the like that are named
SHORT = 12  # digits of an address, enough to be unique


def running(board: Board, held: Mapping[str, UnderWay]) -> Html:
    """A card for each running step, with its curve so far."""
    if not held:
        return note("Nothing is under way now.")
    words = board.index.words(held)
    cards = [
        tag("li", tag("p", link(words[key], "steps", key)), *_position(held[key]))
        for key in sorted(held, key=lambda key: (words[key], key))[:LISTED]
    ]
    more = note(f"And {len(held) - LISTED:,} more.") if len(held) > LISTED else None
    return joined(tag("ul", *cards, class_="cards"), more)


def failed(board: Board, seen: Seen, failures: Mapping[str, str]) -> Html:
    """A table of the steps that failed, with their reasons."""
    lost = {key: why for key, why in failures.items() if key not in seen.outcomes}
    words = board.index.words(list(lost)[:LISTED])
    rows = [(link(what, "steps", key), (lost[key].splitlines() or [""])[0][:300]) for key, what in words.items()]
    more = note(f"And {len(lost) - LISTED:,} more.") if len(lost) > LISTED else None
    return joined(table(f"{several(len(lost), 'step')} failed at the last try", ("step", "why"), rows, words=2), more)


def counts_of(seen: Seen, keys: Iterable[str]) -> dict[str, int]:
    """How many of these steps are in each state."""
    counts = Counter(map(seen.state, keys))
    return {state: counts[state] for state in STATES}


def legend() -> Html:
    """What the colours of bars mean."""
    return tag("ul", *(tag("li", state, class_=state.replace(" ", "-")) for state in STATES), class_="legend")


def notice(lines: Iterable[str]) -> Html:
    """Lines that a reader must see."""
    return tag("div", *(tag("p", line) for line in lines), class_="notice", role="status")


def moment(date: str) -> Html:
    """A time as it is read; a style keeps it in one line.

    >>> moment("2026-05-01T20:16:02Z")
    '<time datetime="2026-05-01T20:16:02Z">2026-05-01, 20:16 UTC</time>'
    """
    day, _, clocked = date.partition("T")
    return tag("time", f"{day}, {clocked[:5]} UTC", datetime=date)


def several(count: int, word: str) -> str:
    """A number of things.

    >>> several(1, "file"), several(2000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Bytes in the unit that suits them.

    >>> size(900), size(1_500_000)
    ('900 B', '1.5 MB')
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def _position(held: UnderWay) -> Iterator[Part]:
    at = held.position
    if at is None:
        yield note(f"{held.who}; it has not reported its progress yet.")
        return
    said = f"step {at.position:,} of {at.total:,}"
    yield share(at.share, said)
    loss = f", loss {at.losses[-1][1]:.4g}" if at.losses else ""
    yield note(f"{said}{loss}, learning rate {at.lr:.3g}, {clock.spoken(at.seconds)} so far; {held.who}")
    yield curve(at.losses, start=at.start, total=at.total)
