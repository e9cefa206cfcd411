"""Transfer: a ticket, or a control, trained on the target. Nothing is pruned there.

All arms of a replicate get the same new output layer, data order and augmentation, and see as many steps of the target,
so that they differ only in what the arm names (Morcos et al., 2019; `lottery/accounting`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from math import prod
from typing import Any, TypeGuard, get_args

import torch
from torch import nn

from oneticket.apply.apply import apply
from oneticket.data.facts import per_epoch
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import ModelError, SpecError, TransferError, WrongTransferError
from oneticket.ground.extras import MissingExtra
from oneticket.ground.spec import Spec, own_code
from oneticket.ground.streams import Streams
from oneticket.lottery.accounting import Seen, check_start, first_step
from oneticket.lottery.arms import ARMS as ROWS
from oneticket.lottery.arms import OF_TARGET
from oneticket.lottery.controls import ARMS, Source
from oneticket.lottery.outline import seen_at
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import HeadStart, TransferSpec, check_outputs
from oneticket.lottery.training import do
from oneticket.lottery.training_request import Trained, TrainingRequest, Work
from oneticket.models.build import build, build_network, layout
from oneticket.models.parts import heads, prunable
from oneticket.models.spec import MODELS, ModelSpec
from oneticket.task.inputs import AXES, Inputs
from oneticket.task.spec import Kind
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.describe import at, replicate_of, word
from oneticket.ticket.heads import flat, simplest
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.ticket import Ticket


def blank(network: Mapping[str, Any], remaining: int | None = None) -> Ticket:
    """A ticket of that network (a `Ticket.model`) without a search: its first `remaining` weights, or all.

    It is the start of arms that keep only a ticket's network and density.
    """
    model = build_network(network, seed=0)
    mask = Mask.full(
        {name: model.get_parameter(name) for name in prunable(model, ModelSpec.recall(network["spec"]).prunable)}
    )
    if remaining is not None:
        left, first = remaining, {}
        for name, full in mask.items():
            first[name] = (torch.arange(full.numel(), device="cpu") < left).view(full.shape)
            left -= min(left, full.numel())
        mask = Mask(first)
    contract = Contract(rewind="0it", step=0, head=simplest(heads(model)))
    return Ticket(mask=mask, weights=model.state_dict(), contract=contract, model=network)


def transfer(
    spec: TransferSpec,
    *,
    source: Source,
    arm: str = "ticket",
    replicate: int | None = None,
    head_start: HeadStart = "equal",
    context: RunContext | None = None,
    run_code: bool = False,
) -> Trained:
    """Train one arm on the target and measure it.

    The network is the source's, built with a new output layer for the target's classes. The target's images are brought
    to the size and channels of the source's network, unless `spec.data` sets others; other inputs must have its kind
    and shape.

    `head_start`: "equal" begins arms with weights that k steps of the target's own data rewound at step k of the
    target's schedule, and all others at step 0, so that every arm sees as many target steps; "paper" begins all at step
    0. For the arms of the target's own search (own, own-search, own-reinit), `source` is that search.

    `replicate`: the source's own unless given. An arm and its `-kept` twin draw the same masks, and so do global-random
    and corrected-random where training leaves no natural zeros.

    `run_code`: whether the ticket's network may be code that it names by import path: any file could name any code.

    Raises SpecError for an unknown arm or a training that ends before step k; TransferError if the source does not say
    its network, does not fit, or names code that may not run; DataError if the target's inputs do not fit the network.

    >>> from oneticket.lottery.search import search
    >>> from oneticket.lottery.spec import SearchSpec
    >>> quick = {"budget": "1ep"}
    >>> book = search(SearchSpec(data="digits:a", model="lenet-300-100", training=quick, rewind="1it"), levels=1)
    >>> spec = TransferSpec(data="digits:b", optimizer="adam", training=quick)
    >>> round(transfer(spec, source=Source(ticket=book[1], rewind=book.weights), arm="reinit").record["density"], 2)
    0.8
    """
    context = context or RunContext()
    check_code(network_of(source.ticket)[0], run_code=run_code, how="run_code=True")
    start = _start(spec, source, ARMS.known(arm), head_start, context)
    return do(train_arm(spec, source=source, arm=arm, replicate=replicate, start=start, context=context), context)


def network_of(thing: Ticket | Book, *, whose: str = "the ticket") -> tuple[ModelSpec, Inputs, int]:
    """The network that a ticket or book names: its spec, inputs and number of outputs. Builds nothing, runs no code.

    A file may name any network, so a known network must have exactly the weights of the file. Raises TransferError that
    begins with `whose` and names the field.
    """
    if at(thing.model, "spec") is None:
        raise WrongTransferError(
            f"{whose} does not say which network it is for; apply it to your model with Ticket.apply"
        )
    known, outputs = thing.model["spec"], thing.model.get("classes")
    if not isinstance(known, Mapping):
        raise TransferError(f"{whose}: model.spec: expected a mapping, got {word(known)}")
    inputs = _inputs_of(thing.model, whose)
    if not _size(outputs):
        raise TransferError(f"{whose}: model.classes: expected a whole number from 1 to {MOST}, got {word(outputs)}")
    try:
        spec = ModelSpec.recall(known)
        named = None if MODELS.is_own(spec.name) else layout(spec, inputs=inputs, outputs=outputs)
    except (SpecError, ModelError, MissingExtra) as error:
        raise TransferError(f"{whose}: model.spec: {error}") from error
    there = {name: tuple(weight.shape) for name, weight in thing.weights.items()}
    if named is not None and named != there:
        name = min(name for name in {*named, *there} if named.get(name) != there.get(name))
        raise TransferError(
            f"{whose}: model: {spec.name} (model.spec) for {inputs} (model.shape) and {outputs} outputs "
            f"(model.classes) does not fit the weights: {word(name)} has the shape {named.get(name)} in the network "
            "and "
            f"{there.get(name)} in the weights"
        )
    return spec, inputs, outputs


def _inputs_of(model: Mapping[str, Any], whose: str) -> Inputs:
    """The inputs of the network in a file; TransferError for impossible ones."""
    kind, shape, words = model.get("kind", "images"), model.get("shape"), model.get("vocabulary")
    if kind not in get_args(Kind):
        raise TransferError(f"{whose}: model.kind: expected one of {', '.join(get_args(Kind))}, got {word(kind)}")
    axes = AXES[kind]
    called = " and ".join(", ".join(axes).rsplit(", ", 1))
    if not (
        isinstance(shape, list) and len(shape) == len(axes) and all(map(_size, shape)) and prod(shape) <= MOST_VALUES
    ):
        raise TransferError(
            f"{whose}: model.shape: expected {called} of {kind}, of at most {MOST_VALUES:,} values in all, "
            f"got {word(shape)}"
        )
    if not (_size(words) if kind == "tokens" else words is None):
        raise TransferError(
            f"{whose}: model.vocabulary: expected a whole number from 1 to {MOST} of tokens, none of {kind}, got "
            f"{word(words)}"
        )
    return Inputs(kind=kind, shape=tuple(shape), vocabulary=words)


def seen_by(thing: Ticket | Book) -> Seen:
    """The data that its weights have seen, according to the file."""
    digest, search, data = thing.lineage.get("data_digest"), thing.lineage.get("search"), None
    with suppress(SpecError):  # a file may contain anything
        data = DataSpec.recall(search["data"]) if isinstance(search, Mapping) and "data" in search else None
    return Seen(steps=thing.contract.step, digest=None, whole=digest if isinstance(digest, str) else None, data=data)


def check_code(spec: Spec, *, run_code: bool, how: str, named: Collection[str] = ()) -> None:
    """Refuse code that a source's spec names, unless it may run: a ticket's file can name any function.

    `named`: paths that the user wrote too, of data with or without a half.
    """
    theirs = {*named, *(one[:-2] for one in named if one.endswith((":a", ":b")))}
    found = [f"{table.kind} {path}" for table, path in own_code(spec) if path not in theirs]
    if found and not run_code:
        given = f" with arguments {spec.args}" if isinstance(spec, ModelSpec) and spec.args else ""
        raise WrongTransferError(
            f"the source names code: {', '.join(found)}{given}; if you trust the source, allow it to run: {how}"
        )


def train_arm(
    spec: TransferSpec, *, source: Source, arm: str, replicate: int | None, start: int = 0, context: RunContext
) -> Work[Trained]:
    """What `transfer` does, as a task; `start` is the step of the target's schedule at which it begins."""
    replicate = replicate_of(source.ticket) if replicate is None else replicate
    control = ARMS.resolve(arm)
    network, inputs, _ = network_of(source.ticket)
    try:
        check_outputs(spec.task, network)
    except ValueError as error:
        raise SpecError(f"transfer: {error}") from None
    data, streams = context.data(spec.data, spec.task, inputs), Streams(root=spec.seed, replicate=replicate)
    stream = "init" if arm == "dense" else "reinit"
    new = build_network(source.ticket.model, seed=streams.seed(stream)).state_dict()
    with ARMS.blamed(arm):
        made = control(source, new, streams.generator("shuffle", DRAWS.get(arm, arm)))
    if not isinstance(made, Ticket):
        raise SpecError(f"arm {arm!r}: expected a oneticket.Ticket, got {type(made).__name__}")
    model = build(network, inputs=data.inputs, outputs=data.outputs, seed=streams.seed("head"))
    _check_head(made, model)
    held = apply(made, model, head=_head(spec, arm, made)).mask
    return (
        yield TrainingRequest(
            model=model,
            mask=held,
            data=data,
            task=spec.task,
            optimizer=spec.optimizer,
            training=spec.training,
            streams=streams,
            start=check_start(arm, start, spec.training.budget.steps(per_epoch(data, spec.training.batch))),
        )
    )


def _start(spec: TransferSpec, source: Source, arm: str, head_start: HeadStart, context: RunContext) -> int:
    """The step at which an arm begins, by its source."""
    inputs = network_of(source.ticket)[1]
    own = source if arm in OF_TARGET else source.own
    target = seen_at(spec, seen_by(own.ticket), inputs, context) if own else None
    found = seen_at(spec, seen_by(source.ticket), inputs, context)
    digest = context.selection(spec.data, spec.task, inputs).digest
    return first_step(arm, source=found, own=target, digest=digest, head_start=head_start)


def _head(spec: TransferSpec, arm: str, made: Ticket) -> str:
    """What becomes of the output layer: what is asked for, or what a level of a search does (`rounds.open_level`)."""
    if ROWS.is_own(arm) or ROWS[arm].head == "asked":
        return spec.head
    return "sparse" if {*made.contract.head_names} & {*made.mask} else "keep"


def _check_head(ticket: Ticket, model: nn.Module) -> None:
    """Refuse a ticket that takes another layer for the output's than its network has; older versions wrote such."""
    named, right = ticket.contract.head_names, flat(heads(model))
    if named and {*named} != {*right} and {*right} <= ticket.weights.keys():
        line = f"oneticket.Book.load(path).with_head({', '.join(map(repr, right))}).save(path)"
        raise TransferError(
            f"the contract takes {listed(named)} for the output layer of its network, which is {listed(right)}; "
            f"correct the file: {line} (Ticket.load for a single ticket)"
        )


def _size(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= MOST


MOST = 65_536  # numbers, channels, rows, columns, steps, outputs, words
MOST_VALUES = 2**24  # of one input: 3 x 2048 x 2048 and more

# Arms that are set against each other draw the same.
DRAWS = {"layerwise-random-kept": "layerwise-random", "corrected-random": "global-random"}
