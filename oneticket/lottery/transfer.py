"""Transfer: a ticket, or a control in its place, trained on the target. Nothing is pruned there.

All arms of a replicate get the same new output layer, the same data order and augmentation, and the same number of
steps, so that they differ in nothing but what the arm says (Morcos et al., 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from oneticket.ground.errors import CarryError, SpecError, unknown
from oneticket.ground.streams import Streams
from oneticket.lottery.controls import ARMS, Source
from oneticket.lottery.job import Job, Task, Trained
from oneticket.lottery.place import Place
from oneticket.lottery.spec import TransferSpec
from oneticket.lottery.training import do
from oneticket.models.build import build
from oneticket.models.parts import head, prunable
from oneticket.models.spec import ModelSpec
from oneticket.ticket.carry import apply
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket


def blank(network: Mapping[str, Any], living: int | None = None) -> Ticket:
    """A ticket of that network (spec, shape, classes) that was never searched for: its first `living` weights, or all.

    It is what those arms start from that keep nothing of a ticket but its network and its density.
    """
    model = _build(network, seed=0)
    mask = Mask.full({name: model.get_parameter(name) for name in prunable(model, network["spec"]["prunable"])})
    if living is not None:
        left, first = living, {}
        for name, full in mask.items():
            first[name] = (torch.arange(full.numel()) < left).view(full.shape)
            left -= min(left, full.numel())
        mask = Mask(first)
    contract = Contract(rewind="0it", step=0, head=head(model))
    return Ticket(mask=mask, weights=model.state_dict(), contract=contract, model=network)


def transfer(
    spec: TransferSpec,
    *,
    source: Source,
    arm: str = "ticket",
    replicate: int | None = None,
    place: Place | None = None,
    run_code: bool = False,
) -> Trained:
    """Train one arm on the target and measure it.

    The network is the source's, built anew with an output layer for the target's classes; the target's images are
    brought to the size and channels that the source's network was found with, unless `spec.data` says otherwise.

    The target's schedule begins at its step 0. `replicate`: the source's own unless given. An arm and its `-kept` twin
    draw the same masks, and so do global-random and corrected-random where training leaves no natural zeros.

    `run_code`: whether the ticket's network may be code that it names by import path: any file could name any code.

    Raises SpecError for an unknown arm, CarryError if the source does not say its network or does not fit, or names
    code that may not be run.

    >>> from oneticket.lottery.search import search
    >>> from oneticket.lottery.spec import SearchSpec
    >>> quick = {"budget": "1ep"}
    >>> book = search(SearchSpec(data="digits:a", model="lenet-300-100", training=quick, rewind="1it"), levels=1)
    >>> spec = TransferSpec(data="digits:b", optimizer="adam", training=quick)
    >>> round(transfer(spec, source=Source(ticket=book[1], rewind=book.weights), arm="reinit").record["density"], 2)
    0.8
    """
    place = place or Place()
    check_code(source.ticket.model, run_code=run_code, how="run_code=True")
    return do(train_arm(spec, source=source, arm=arm, replicate=replicate, place=place), place)


def check_code(network: Mapping[str, Any], *, run_code: bool, how: str) -> None:
    """Refuse a network that is somebody's code, unless it may be run: a ticket's file can name any function."""
    if network and not run_code and (spec := ModelSpec.read(network["spec"])).own:
        raise CarryError(
            f"the source's network is code that it names, {spec.name} with arguments {spec.args}; it is run only if "
            f"you say so: {how}, for a source that you trust"
        )


def train_arm(spec: TransferSpec, *, source: Source, arm: str, replicate: int | None, place: Place) -> Task[Trained]:
    """What `transfer` does, as a task."""
    replicate = int(source.ticket.lineage.get("replicate", 0)) if replicate is None else replicate
    if arm not in ARMS:
        raise SpecError(unknown("arm", arm, ARMS))
    known = source.ticket.model
    if not known:
        raise CarryError("the ticket does not say which network it is for; apply it to your model with Ticket.apply")
    network, shape = ModelSpec.read(known["spec"]), tuple(known["shape"])
    data, streams = place.data(spec.data, like=shape), Streams(root=spec.seed, replicate=replicate)
    stream = "init" if arm == "dense" else "reinit"
    new = _build(known, seed=streams.seed(stream)).state_dict()
    carried = ARMS[arm](source, new, streams.generator("shuffle", DRAWS.get(arm, arm)))
    model = build(network, shape=data.shape, classes=len(data.classes), seed=streams.seed("head"))
    held = apply(carried, model, head=spec.head).mask
    return (
        yield Job(model=model, mask=held, data=data, optimizer=spec.optimizer, training=spec.training, streams=streams)
    )


# Arms that are set against each other draw the same.
DRAWS = {"layerwise-random-kept": "layerwise-random", "corrected-random": "global-random"}


def _build(network: Mapping[str, Any], seed: int) -> nn.Module:
    spec = ModelSpec.read(network["spec"])
    return build(spec, shape=tuple(network["shape"]), classes=network["classes"], seed=seed)
