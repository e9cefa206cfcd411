"""`oneticket score`: what transfers of a ticket showed, written into its file as evidence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from oneticket.cli.tables import print_scores
from oneticket.ground.errors import SpecError, WrongFileError
from oneticket.report.export import read_rows
from oneticket.session.terminal import say
from oneticket.stats.scores import scores, target_of
from oneticket.stats.words import listed
from oneticket.ticket.file import load
from oneticket.ticket.ticket import Ticket


def score(file: Path, rows: Sequence[Path], *, out: Path | None) -> int:
    """Add scores to the ticket; new scores of a target replace old ones. The id stays: it covers no evidence."""
    ticket = load(file)
    if not isinstance(ticket, Ticket):
        raise WrongFileError(
            f"{file}: is a book; scores belong to one ticket: `oneticket pull {file} --level N` takes it out"
        )
    if not rows:
        raise SpecError("expected at least one file of rows, as `oneticket transfer ... --rows` writes them")
    found = scores(ticket, [row for each in rows for row in read_rows(each)])
    before, new = ticket.evidence.get("scores", []), {target_of(one) for one in found}
    kept = [one for one in before if target_of(one) not in new]
    scored = Ticket(
        mask=ticket.mask,
        weights=ticket.weights,
        contract=ticket.contract,
        model=ticket.model,
        lineage=ticket.lineage,
        evidence={**ticket.evidence, "scores": [*kept, *found]},
    )
    scored.save(out or file)
    print_scores(scored)
    again = sorted(new & {target_of(one) for one in before})
    said = [f"written into {os.fspath(out or file)}"]
    said += [f"in the place of earlier scores: {listed([f'{data} ({how})' for data, how in again])}"] if again else []
    say("; ".join(said))
    return 0
