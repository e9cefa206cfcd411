"""`oneticket export`: a ticket's network in a form to deploy, and what every form costs on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from oneticket.cli.tables import print_facts, print_table
from oneticket.export.c import CForm
from oneticket.export.costs import Row, measure
from oneticket.export.example import Example, batch
from oneticket.export.forms import export as bring
from oneticket.export.ratio import written
from oneticket.export.verdict import sentence
from oneticket.ground.errors import FileError, SpecError, WrongModelError
from oneticket.integrations.checkpoint import Checkpoint, by_names, check_key
from oneticket.integrations.foreign import read_checkpoint
from oneticket.lottery.transfer import check_code, network_of
from oneticket.models.build import build
from oneticket.session.terminal import say, say_json
from oneticket.stats.report_table import ReportTable
from oneticket.stats.words import MISSING, percent
from oneticket.task.inputs import Inputs
from oneticket.ticket.describe import at
from oneticket.ticket.ticket import Ticket

NOISE = 100
"""Rows of noise at least on which the error of int8 weights is measured."""


def export(
    path: Path,
    *,
    to: str | None,
    out: Path | None,
    weights: Path | None,
    key: str | None,
    level: int | None,
    density: float | None,
    dynamic: tuple[int, ...],
    build: bool,
    int8: bool,
    run_code: bool,
    batch_size: int,
    rounds: int,
    json: bool,
) -> int:
    """Write the requested form, measure all forms, and say in a sentence whether any is faster."""
    if (to is None) != (out is None):
        raise SpecError("--to and --out go together: the form and the file to write; leave both out to measure only")
    if (build or int8) and to != "c":
        raise SpecError("--build and --int8 belong to --to c")
    if (key and weights is None) or (dynamic and to is None):
        raise SpecError("--key belongs to --weights, and --dynamic to --to and --out")
    ticket = Ticket.load(path, level=level, density=density)
    read = None if weights is None else trained_weights(weights, ticket, key)
    trained = ticket if read is None else replace(ticket, weights=read.tensors)
    model = network(ticket, trained, run_code=run_code)
    example = inputs_like(Inputs.read(ticket.model), batch_size)
    whose = f"the ticket's own, of step {ticket.contract.step}"
    if read is not None:
        whose = f"trained, from {weights}" + (f", {read}" if str(read) else "")
    facts: list[tuple[str, object]] = [("ticket", path), ("weights", whose)]
    if to is not None:
        many = inputs_like(Inputs.read(ticket.model), max(batch_size, NOISE)) if int8 else example
        made = bring(model, ticket.mask, to=to, out=out, example=many, dynamic=dynamic, build=build, int8=int8)
        facts.append(("written", f"{', '.join(map(str, made.files))}, as {made.form}, {made.size:,} bytes"))
        held = f"outputs within {made.tolerance:.2g} of the masked network's, relative to the largest or 1"
        facts += c_facts(made.c, held) if made.c else [("checked", held)]
        gone = [f"{count} unit{'s' * (count > 1)} of {layer}" for layer, count in made.removed.items()]
        facts += [("removed", ", ".join(gone))] if gone else []
        facts += [("note", made.note)] if made.note else []
    rows = measure(model, ticket.mask, example, rounds=rounds, int8=int8)
    granularity = at(ticket.lineage, "search", "pruning", "granularity")
    said = sentence(rows, ticket.mask, granularity if isinstance(granularity, str) else "")
    if json:
        say_json({**dict(facts), "forms": [asdict(row) for row in rows], "sentence": said})
        return 0
    print_facts(facts)
    print_table(table(rows, batch_size))
    say(said)
    return 0


def c_facts(form: CForm, held: str) -> list[tuple[str, str]]:
    """What a C program was held to, and what it takes of a microcontroller's memory."""
    if form.error:
        same = f", and {percent(form.same)} of them with the same largest output" if form.program.floats[1] > 1 else ""
        held = (
            f"outputs of the program as of its rounded weights; on {form.rows} inputs of noise, {form.error:.2g} of the"
            f" largest from the masked network's{same}; measure on your own data too"
        )
    if form.library is None:
        held = (
            f"not compiled, since no C compiler was found (CC, cc, gcc or clang); its layers computed by torch: {held}"
        )
    values, said = len(form.program.values), ["size of the instructions unknown"]
    if form.code is not None:
        said = [f"{form.code:,} of instructions, as compiled here for size, without the C library's own"]
    if not values:
        said = [f"{form.data:,} of weights and where they belong", *said]
    floats = ", ".join(f"{count:,}" for count in form.program.floats)
    more = f"; {form.data:,} of values, read from the file of {values:,} bytes beside the source" if values else ""
    flash = (form.code or 0) + (0 if values else form.data)
    return [
        ("checked", held),
        ("flash", f"{flash:,} bytes: {'; '.join(said)}"),
        (
            "RAM",
            f"{form.ram:,} bytes: floats of input, output and scratch: {floats}{more}; about 1 kB of stack beside it",
        ),
    ]


def inputs_like(inputs: Inputs, count: int) -> Example:
    """A batch to compare and time by: noise, or all tokens in turn, since blank ones may be the padding.

    >>> inputs_like(Inputs(kind="tokens", shape=(3,), vocabulary=4), 2).tolist()
    [[0, 1, 2], [3, 0, 1]]
    """
    if inputs.vocabulary is None:
        return batch(inputs.example(1), count)
    blank = inputs.example(count)
    return torch.arange(blank.numel(), device="cpu").remainder(inputs.vocabulary).view_as(blank)


def trained_weights(path: Path, ticket: Ticket, key: str | None) -> Checkpoint:
    """The state dict in a file, by the ticket's names; raises FileError for one that is not of the ticket's network."""
    found = read_checkpoint(path, key=key)
    try:
        check_key(key, found)
        return replace(found, tensors=by_names(found.tensors, ticket.weights))
    except FileError as error:
        raise type(error)(f"{path}: {error}") from None


def network(ticket: Ticket, trained: Ticket, *, run_code: bool) -> nn.Module:
    """The network that a ticket names, with those weights; what is pruned has the values of a new network.

    Raises ModelError for a ticket that names none; TransferError for code that it names, unless it may be run, and as
    `network_of`.
    """
    if not ticket.model.get("spec"):
        raise WrongModelError(
            "the ticket names no network; in Python: oneticket.export.export(model, ticket.mask, ...)"
        )
    spec, inputs, outputs = network_of(ticket)
    check_code(spec, run_code=run_code, how="--run-code")
    model = build(spec, inputs=inputs, outputs=outputs, seed=0)
    new = {name: model.get_parameter(name).detach().clone() for name in ticket.mask if name in model.state_dict()}
    trained.apply(model, head="sparse" if set(ticket.contract.head_names) & set(ticket.mask) else "keep")
    values = {name: torch.where(ticket.mask[name], trained.weights[name], new[name]) for name in ticket.mask}
    model.load_state_dict({**model.state_dict(), **values})
    return model


def table(rows: Sequence[Row], batch_size: int) -> ReportTable:
    """The rows as a table, with the spread of the times after the medians."""
    cells = [
        (
            row.form,
            f"{row.size:,}",
            f"{row.zipped:,}",
            f"{row.numbers:,}",
            f"{row.remaining:,} ({percent(row.remaining / rows[0].numbers)})",
            MISSING if row.madds is None else f"{row.madds:,}",
            f"{1000 * row.seconds:.3g} ({1000 * row.spread[0]:.3g} to {1000 * row.spread[1]:.3g})",
            _ratio(row),
        )
        for row in rows
    ]
    many = torch.get_num_threads()
    threads = f"{many} thread{'s' * (many > 1)}"
    count = rows[0].ratio.n
    notes = "".join(f" {row.form}: {row.note}." for row in rows if row.note)
    return ReportTable(
        title="What each form costs on this machine",
        header=("form", "bytes", "zipped", "numbers", "remaining", "multiply-adds", "ms a batch", "ratio of times"),
        rows=tuple(cells),
        caption=(
            f"Batches of {batch_size} on the CPU, {threads}, n = {count} round{'s' * (count > 1)} in "
            "which all forms take turns: median and quartiles; ratios of times of one round: median and its 95 % "
            f"interval. Multiply-adds of one input; — not counted.{notes}"
        ),
    )


def _ratio(row: Row) -> str:
    """The ratio to the dense network, and that to the unpruned network in the same program, if it is another."""
    if row.form == "dense":
        return "1"
    said = [f"{written(row.to_dense.median)} ({row.to_dense.bounds}) to dense"]
    if row.baseline != "dense":
        said.append(f"{written(row.ratio.median)} ({row.ratio.bounds}) to {row.baseline}")
    return "; ".join(said)
