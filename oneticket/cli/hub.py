"""`oneticket push` and `oneticket pull`: a ticket into a folder or onto the Hub, and back into a file."""

from __future__ import annotations

import os
from pathlib import Path

from oneticket.cli.tables import print_markdown
from oneticket.ground.errors import WrongFileError
from oneticket.publish.card import card
from oneticket.publish.hub import NAMES, find, parse, publish
from oneticket.publish.shipped import DATA_LICENCES, located, named
from oneticket.session.terminal import say
from oneticket.ticket import file
from oneticket.ticket.book import Book
from oneticket.ticket.names import book_files
from oneticket.ticket.ticket import Ticket


def push(
    source: Path,
    where: str,
    *,
    license: str | None,
    data_license: str | None,
    revision: str | None,
    message: str | None,
    private: bool,
) -> int:
    """Check a ticket or book file, then publish it with its card."""
    thing = file.load(located(source))
    place = parse(where, writing=True)
    there = publish(
        thing,
        where,
        private=private or None,
        revision=revision,
        message=message,
        license=license,
        data_license=data_license or (DATA_LICENCES.get(str(source)) if named(source) else None),
    )
    said = f"Hub {place}" if isinstance(place, str) else f"folder {where}"
    say(f"{said}: {NAMES[isinstance(thing, Book)]} and its card" + (f", {there}" if isinstance(place, str) else ""))
    return 0


def pull(
    where: str, *, to: Path, revision: str | None, level: int | None, density: float | None, filename: str | None
) -> int:
    """Fetch, check, write the file, and print how the card of what was fetched begins."""
    if to.is_dir():
        raise WrongFileError(f"--out {to}: is a folder; expected the file to write, such as {to}/ticket.safetensors")
    thing: Ticket | Book
    where = _file(where)
    if level is None and density is None:
        thing = file.load(find(where, revision=revision, names=NAMES if filename is None else (filename,)))
    else:
        thing = Ticket.from_pretrained(where, revision=revision, level=level, density=density, filename=filename)
    file.save(thing, to)
    print_card(thing, where, before="## Scores")
    say(f"written to {to}; `oneticket zoo {to}` prints its whole card")
    return 0


def _file(where: str) -> str:
    """The file of replicate 0 in a folder that `find` made; anything else as it is."""
    return str(book_files(where).get(0, where)) if os.path.isdir(where) else where


def print_card(thing: Ticket | Book, where: str, *, before: str = "") -> None:
    """Print the card, or the part before a heading, without its YAML, made from the file and not from a stored card."""
    place = where if named(where) else parse(where)
    name = place if isinstance(place, str) else place.absolute().name
    ours = {"license": "mit", "data_license": DATA_LICENCES.get(where)} if named(where) else {}
    text = card(thing, name=name, where=where, **ours).split("---\n", 2)[2].strip()
    print_markdown(text.partition(f"\n{before}\n")[0] if before else text)
