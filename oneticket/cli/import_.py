"""`oneticket import`: a ticket out of another tool's file, and what was found in it."""

from __future__ import annotations

from pathlib import Path

from oneticket.cli.show import density, layers
from oneticket.cli.tables import print_facts, print_table
from oneticket.integrations.masks import read_ticket
from oneticket.publish.preview import preview_of
from oneticket.session.terminal import say

STEPS = {
    "given": "as --step says",
    "file name": "as the file's name says",
    "assumed": "assumed, since nothing says which step the weights are of; --step does",
}
"""How the rewind step is known, in words."""


def import_ticket(
    file: Path,
    *,
    out: Path,
    weights: Path | None,
    format: str,
    key: str | None,
    step: int | None,
    head: tuple[str, ...],
) -> int:
    """Read the masks, print what was found and what was inferred, write the ticket."""
    ticket = read_ticket(file, weights=weights, format=format, key=key, step=step, head=head)
    ticket.save(out)
    shown = preview_of(ticket)
    imported, contract = ticket.lineage["imported"], ticket.contract
    facts: list[tuple[str, object]] = [("ticket", out), ("id", ticket.id), ("read as", imported["from"])]
    facts += [(f"read of the {name}", said) for name, said in imported.get("read", {}).items()]
    facts += [
        ("density", density(shown)),
        ("rewind", f"{contract.rewind} (step {contract.step}), {STEPS[imported['step']]}"),
    ]
    facts.append(("head", ", ".join(head) or "not named: transfer it with head='keep'"))
    print_facts(facts)
    print_table(layers(shown))
    if imported["inferred"]:
        said = "Inferred: every exact zero counts as pruned, and tensors without zeros as dense."
        if imported["all_zero"]:
            said += f" Nothing but zeros, kept dense: {', '.join(imported['all_zero'])}."
        say(said)
    return 0
