"""`oneticket export`: a ticket's network in a form to deploy, and what every form costs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from oneticket.cli.tables import out as stdout
from oneticket.cli.tables import print_facts, print_table
from oneticket.export.costs import Row, measure
from oneticket.export.example import batch
from oneticket.export.forms import export as bring
from oneticket.export.verdict import sentence
from oneticket.ground.errors import ModelError, SpecError
from oneticket.integrations.foreign import read_tensors
from oneticket.lottery.transfer import network_of
from oneticket.models.build import build
from oneticket.stats.table import Table
from oneticket.stats.words import MISSING, percent
from oneticket.ticket.ticket import Ticket
from oneticket.ticket.told import at


def export(
    path: Path,
    *,
    to: str | None,
    out: Path | None,
    weights: Path | None,
    level: int | None,
    density: float | None,
    batch_size: int,
    rounds: int,
) -> int:
    """Write the form that was asked for, then measure all forms, and say in a sentence whether there is any speed."""
    if (to is None) != (out is None):
        raise SpecError(
            "--to and --out belong together: a form and the file to write it to; without both, only measure"
        )
    ticket = Ticket.load(path, level=level, density=density)
    trained = ticket
    if weights is not None:
        trained = Ticket(mask=ticket.mask, weights=read_tensors(weights), contract=ticket.contract)
    model = network(ticket, trained)
    example = batch(torch.zeros(1, *ticket.model["shape"]), batch_size)
    whose = f"trained, from {weights}" if weights is not None else f"the ticket's own, of step {ticket.contract.step}"
    facts: list[tuple[str, object]] = [("ticket", path), ("weights", whose)]
    if to is not None:
        made = bring(model, ticket.mask, to=to, out=out, example=example)
        facts.append(("written", f"{made.path}, as {made.form}, {made.size:,} bytes"))
        facts += [
            ("left out", f"{count} unit{'s' if count > 1 else ''} of {layer}") for layer, count in made.removed.items()
        ]
        facts += [("note", made.note)] if made.note else []
    rows = measure(model, ticket.mask, example, rounds=rounds)
    print_facts(facts)
    print_table(table(rows, batch_size))
    granularity = at(ticket.lineage, "search", "pruning", "granularity")
    said = sentence(rows, ticket.mask, granularity if isinstance(granularity, str) else "")
    stdout().print(said, highlight=False, markup=False, soft_wrap=True)
    return 0


def network(ticket: Ticket, trained: Ticket) -> nn.Module:
    """The network that a ticket names, with those weights; what is pruned has the values of a new network.

    Raises ModelError for a ticket that names none, or one whose code it would have to run; CarryError as `network_of`.
    """
    spec, shape, classes = network_of(ticket) if ticket.model.get("spec") else (None, (1, 1, 1), 1)
    if spec is None or spec.own:
        why = (
            "names no network" if spec is None else f"names code of its own ({spec.name}), which is not run for a file"
        )
        raise ModelError(f"the ticket {why}; in Python: oneticket.export.export(your_model, ticket.mask, ...)")
    model = build(spec, shape=shape, classes=classes, seed=0)
    new = {name: model.get_parameter(name).detach().clone() for name in ticket.mask if name in model.state_dict()}
    trained.apply(model, head="sparse" if set(ticket.contract.head) & set(ticket.mask) else "keep")
    values = {name: torch.where(ticket.mask[name], trained.weights[name], new[name]) for name in ticket.mask}
    model.load_state_dict({**model.state_dict(), **values})
    return model


def table(rows: Sequence[Row], batch_size: int) -> Table:
    """The rows as a table, the times' spread beside the medians."""
    cells = [
        (
            row.form,
            f"{row.size:,}",
            f"{row.zipped:,}",
            f"{row.numbers:,}",
            f"{row.living:,} ({percent(row.living / rows[0].numbers)})",
            MISSING if row.madds is None else f"{row.madds:,}",
            f"{1000 * row.seconds:.3g} ({1000 * row.spread[0]:.3g} to {1000 * row.spread[1]:.3g})",
            _ratio(row),
        )
        for row in rows
    ]
    notes = "".join(f" {row.form}: {row.note}." for row in rows if row.note)
    return Table(
        title="What each form costs on this machine",
        header=("form", "bytes", "zipped", "numbers", "living", "multiply-adds", "ms a batch", "ratio of times"),
        rows=tuple(cells),
        caption=(
            f"Batches of {batch_size} on the CPU, {torch.get_num_threads()} threads, n = {rows[0].ratio.n} rounds in "
            "which all forms take turns: median and quartiles; ratios of times of one round: median and its 95 % "
            f"interval. Multiply-adds of one input; — not counted.{notes}"
        ),
    )


def _ratio(row: Row) -> str:
    if row.form == row.beside:
        return "1"
    low, high = row.ratio.low, row.ratio.high
    bounds = "no interval" if low is None or high is None else f"{low:.2f} to {high:.2f}"
    return f"{row.ratio.median:.2f} ({bounds}) to {row.beside}"
