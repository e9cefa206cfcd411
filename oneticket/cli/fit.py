"""`oneticket zoo --for`: which ticket fits a model or a dataset, why the others do not, and the lines to use it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from oneticket.data.facts import Facts
from oneticket.data.spec import DataSpec, own_path
from oneticket.ground.errors import SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.transfer import network_of
from oneticket.publish.fit import Fit, facts_of, into_model, network_words, onto_data, same_set, wanted
from oneticket.publish.hub import parse
from oneticket.publish.shipped import named
from oneticket.publish.standing import ADJUSTED, standings
from oneticket.publish.zoo import ZooEntry
from oneticket.session.terminal import paragraph, say
from oneticket.study.overlaps import used
from oneticket.ticket.book import Book
from oneticket.ticket.describe import data, percent, scores, word
from oneticket.ticket.ticket import Ticket

ORDER = (
    "Order: first what keeps your colours, then by the lower end of the interval of a ticket's difference to its dense "
    "network, on that one of its sets that is most like yours: the same set, or the nearest in number of classes and "
    'examples. "Best" is said only if that end is above 0.'
)


SEVERAL = "Of several take the one that was found on inputs like yours: oneticket zoo --for DATASET."


def tell_fits(what: str, found: Sequence[ZooEntry], *, called: Mapping[str, str]) -> None:
    """Print which of the tickets fit a model or a dataset. `called`: how a user names each: a name, a path, a Hub id.

    Raises SpecError for a name that is neither model nor dataset, DataError for a dataset that cannot be read.
    """
    tickets = [(entry.name, ticket) for entry in found if (ticket := _ticket(entry)) is not None]
    try:
        asked = wanted(what)
    except SpecError as error:
        raise SpecError(f"--for: {error}") from None
    if isinstance(asked, DataSpec):
        facts, sized = facts_of(asked, tickets)
        if facts.reading is not None:
            paragraph(facts.reading)
        paragraph(_holds(facts, sized))
        context = RunContext()
        found_fits = (_with_use(one, asked, facts, context) for one in onto_data(tickets, asked, facts, sized=sized))
        fits = sorted(found_fits, key=_rank)
    else:
        facts, fits = None, into_model(tickets, asked)
    good, bad = [one for one in fits if not one.problem], [one for one in fits if one.problem]
    _tell_good(good, what, facts, called)
    if bad:
        say()
        say("These do not fit" if good else "None fits", style="bold")
    for one in bad:
        paragraph(f"{word(one.name)}, for {network_words(one.ticket)}: {word(one.problem)}.", indent=2)
    if not good:
        where = f"--data {shlex.quote(what)} --model MODEL" if facts else f"--data DATASET --model {shlex.quote(what)}"
        say()
        say(f"To find one:  oneticket find {where} --out tickets")


def _holds(facts: Facts, sized: bool) -> str:
    """What a set holds, in a sentence."""
    inputs = str(facts.inputs) if sized else f"{facts.inputs.kind} of several sizes"
    targets = f"{facts.outputs} classes" if _classes(facts) else "targets that are no classes (name the task: --task)"
    return f"It holds {inputs}, {targets}, {facts.examples:,} training examples."


def _with_use(one: Fit, spec: DataSpec, facts: Facts, context: RunContext) -> Fit:
    """With a note where the ticket's search trained on examples of the set: its scores there say less.

    Only asked of the same set, and of inputs of the same shape: sets are slow to read.
    """
    near = not one.problem and (same_set(data(one.ticket), spec) or network_of(one.ticket)[1] == facts.inputs)
    train, test = used(one.ticket, spec, context) if near else (0, 0)
    noun = "images" if facts.inputs.kind == "images" else "examples"
    parts = [f"{train:,} of these {noun}" if train else "", f"{test:,} of the test {noun}" if test else ""]
    said = " and ".join(filter(None, parts))
    return replace(one, notes=(*one.notes, f"The search used {said}.")) if said else one


def _classes(facts: Facts) -> bool:
    return facts.reading is None or bool(facts.reading.classes)


def _ticket(entry: ZooEntry) -> Ticket | None:
    return entry.thing[entry.thing.levels] if isinstance(entry.thing, Book) else entry.thing


def _tell_good(good: Sequence[Fit], what: str, facts: Facts | None, called: Mapping[str, str]) -> None:
    """The tickets that fit, the best one first, and the lines to use that one."""
    for number, one in enumerate(good):
        say()
        lead = None if facts is None else _lead(one)
        head = "Fits too" if facts and number else "Fits best" if lead and lead > 0 else "Fits"
        say(f"{head}: {word(one.name)}", style="bold")
        remains = f"{percent(one.ticket.density)} of its prunable weights remain"
        paragraph(f"A ticket for {network_words(one.ticket)}, found on {data(one.ticket) or '—'}; {remains}.", indent=2)
        for note in one.notes:
            paragraph(note, indent=2)
        for line in _showed(one, facts):
            paragraph(line, indent=2)
    if not good:
        return
    say()
    if any(True for one in good for _ in scores(one.ticket)):
        paragraph(f"Differences are above 0 where the ticket is better. {ADJUSTED}", style="dim")
    if good[1:]:
        paragraph(ORDER if facts is not None else SEVERAL, style="dim")
    say()
    first = good[0]
    say(f"To use {word(first.name)}", style="bold")
    for line in _use(called[first.name], what, facts, first.names):
        say(f"  {line}")


def _showed(one: Fit, facts: Facts | None) -> Iterator[str]:
    """Its scores in words: on the dataset most like the user's, or on its worst and best dataset for a model."""
    found = standings(scores(one.ticket))
    if not found:
        yield "It was not measured on any other set."
    elif facts is None:
        for one_rival in found:
            yield f"Beside {one_rival.rival_words}, {'; '.join(one_rival.lines)}."
    else:
        row = next(row for row in scores(one.ticket) if row["data"] == one.alike)
        sizes = [f"{row[name]:,} {name}" for name in ("classes", "examples") if type(row.get(name)) is int]
        yield f"Of the sets that it was measured on, {word(one.alike)} is most like yours{_in_brackets(sizes)}."
        for standing in found:
            for gain in (gain for gain in standing.gains if gain.data == one.alike):
                yield f"Beside {standing.rival_words}: {standing.amount(gain)}."


def _in_brackets(parts: Sequence[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _rank(one: Fit) -> tuple[bool, bool, float]:
    """The place of a ticket that fits a dataset: see `ORDER`."""
    return bool(one.problem), one.loses, -_lead(one)


def _lead(one: Fit) -> float:
    """What it is at least above its dense network on the set most like the user's: the lower end of the interval.

    Without an interval, or with one of no width, nothing is known.
    """
    found = (each for each in standings(scores(one.ticket)) if each.rival == "dense")
    gain = next((gain for each in found for gain in each.gains if gain.data == one.alike), None)
    return -math.inf if gain is None or gain.low is None or gain.low == gain.high else gain.low


def _use(name: str, what: str, facts: Facts | None, names: Mapping[str, str]) -> Iterator[str]:
    """The lines: on the command line, and in Python."""
    file = shlex.quote(name)
    if named(name) is None and isinstance(parse(name), str):
        file = f"{name.rpartition('/')[2]}.safetensors"
        yield f"oneticket pull {name} --out {file}"
    yield f"oneticket transfer {file} --data {'DATASET' if facts is None else shlex.quote(what)} \\"
    task = "" if facts is None or _classes(facts) else "--task TASK "
    yield f"  {task}--controls reinit --replicates 3 --rows rows.csv"
    yield ""
    yield "import oneticket"
    own = facts is None and bool(own_path(what))
    yield from _imported(what) if own else ("from oneticket.models.build import build_network",)
    yield f"ticket = oneticket.Ticket.from_pretrained({json.dumps(name)})"
    if own:
        yield f"model = {what.rpartition(':')[2]}(...)  # as you make it"
    else:
        outputs = 10 if facts is None else facts.outputs
        yield f'model = build_network({{**ticket.model, "classes": {outputs}}}, seed=0)'
    more = ", names=names" if names else ""
    if names:
        yield f"names = {dict(names)}  # the ticket's names -> your model's"
    yield f"print(ticket.apply(model{more}))  # what matched; the output layer stays new"
    yield f"guard = ticket.attach(model, optimizer{more})  # pruned weights stay zero"


def _imported(what: str) -> Iterator[str]:
    """The import of the user's own function."""
    place, _, function = what.rpartition(":")
    file = place.endswith(".py")
    folder = place.rpartition("/")[0] if file else ""
    beside = f"  # with {folder} on PYTHONPATH" if folder else ""
    module = place.removesuffix(".py").rpartition("/")[2] if file else place
    yield f"from {module} import {function.partition('.')[0]}{beside}"
