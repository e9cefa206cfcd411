"""`oneticket import`: a ticket out of another tool's file, and what was found in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oneticket.cli.show import layers
from oneticket.cli.tables import out as stdout
from oneticket.cli.tables import print_facts, print_table
from oneticket.integrations.masks import GIVEN, read_ticket


def import_ticket(file: Path, *, out: Path, weights: Path | None, format: str, step: int, head: tuple[str, ...]) -> int:
    """Read, say what was found and what was only inferred, write the ticket."""
    contract = replace(GIVEN, rewind=f"{step}it", step=step, head=head)
    ticket = read_ticket(file, weights=weights, format=format, contract=contract)
    ticket.save(out)
    imported = ticket.lineage["imported"]
    living = f"{ticket.mask.living:,} of {ticket.mask.total:,} weights"
    facts: list[tuple[str, object]] = [("ticket", out), ("id", ticket.id), ("read as", imported["from"])]
    facts += [
        ("density", f"{ticket.density:.4g} ({living})"),
        ("rewind", f"{contract.rewind}: as the weights were given"),
    ]
    facts.append(("head", ", ".join(head) or "not named: carry it with head='keep'"))
    print_facts(facts)
    print_table(layers(ticket))
    if imported["inferred"]:
        said = "Inferred, not told: every exact zero counts as pruned, and tensors without zeros as dense."
        if imported["all_zero"]:
            said += f" Nothing but zeros, kept dense: {', '.join(imported['all_zero'])}."
        stdout().print(said, highlight=False, soft_wrap=True)
    return 0
