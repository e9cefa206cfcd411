"""`oneticket score`: what transfers of a ticket showed, written into its file as evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from oneticket.cli.tables import out as stdout
from oneticket.cli.tables import print_table
from oneticket.ground.errors import FileError, SpecError
from oneticket.report.export import read_rows
from oneticket.stats.scores import score_table, scores
from oneticket.ticket.file import load
from oneticket.ticket.ticket import Ticket


def score(file: Path, rows: Sequence[Path], *, out: Path | None) -> int:
    """Replace the ticket's scores; its id stays, because evidence is no part of it."""
    ticket = load(file)
    if not isinstance(ticket, Ticket):
        raise FileError(
            f"{file}: is a book; scores belong to one ticket: `oneticket pull {file} --level N` takes it out"
        )
    if not rows:
        raise SpecError("expected at least one file of rows, as `oneticket transfer ... --rows` writes them")
    found = scores(ticket, [row for each in rows for row in read_rows(each)])
    scored = Ticket(
        mask=ticket.mask,
        weights=ticket.weights,
        contract=ticket.contract,
        model=ticket.model,
        lineage=ticket.lineage,
        evidence={**ticket.evidence, "scores": found},
    )
    scored.save(out or file)
    print_table(score_table(found))
    stdout().print(f"written into {os.fspath(out or file)}", highlight=False, soft_wrap=True)
    return 0
