"""The search: iterative magnitude pruning with rewinding. Train, prune the smallest, rewind the rest, repeat.

    W_0 from the init distribution;  W_k = W_0 trained to step k
    level n:  train W_k x mask_n from step k to the end;  mask_{n+1} = prune(trained weights, mask_n)

Every level, the dense level 0 too, starts from the same W_k with a fresh optimizer and follows the schedule from step k
with the same data order, so levels differ in nothing but their masks. Frankle and Carbin (2019), Morcos et al. (2019).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.data.batches import batches
from oneticket.data.data import Data
from oneticket.data.facts import per_epoch
from oneticket.ground import canon
from oneticket.ground.allocator import give_back
from oneticket.ground.errors import SpecError
from oneticket.ground.streams import Streams
from oneticket.lottery.outline import network, rewind_step
from oneticket.lottery.rounds import close_level, level_mask, mask_at, open_level
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import MOST_LEVELS, SearchSpec
from oneticket.lottery.training import LARGE, do
from oneticket.lottery.training_request import TrainingRequest, Work
from oneticket.models.build import build_network
from oneticket.models.parts import heads, prunable
from oneticket.models.spec import MODELS, library_of
from oneticket.pruning.units import find
from oneticket.task.heads import with_heads
from oneticket.task.task import task_of
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.heads import flat, plain, read
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket
from oneticket.ticket.values import fingerprint

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Rewound:
    """W_k, and the facts that tickets from it must state.

    `weights`: parameters and buffers, on the CPU. `record`: network (spec, inputs, outputs), step k, names of the
    head's parameters, the data's digest, of a table what its columns are, and of several sets whose outputs are which.
    """

    weights: Tensors
    record: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrainedLevel:
    """The result of one level's training: the masks up to the next level, its losses, and its record.

    `pruned_at`: prunable weight -> the first level without it, 0 while it remains (uint8). `zeros`: the remaining
    weights that training itself brought to zero. `positive`: those that it left above zero; at exactly zero, the sign
    of the rewind weight counts. None if not kept.
    """

    pruned_at: Tensors
    zeros: Mask | None
    positive: Mask | None
    losses: Tensor
    record: Mapping[str, Any]


def rewind_weights(spec: SearchSpec, replicate: int, context: RunContext) -> Work[Rewound]:
    """W_k: the dense network after `spec.rewind` steps."""
    data, streams = context.data(spec.data, spec.task), Streams(root=spec.seed, replicate=replicate)
    model = _fresh(network(spec, context), streams)
    stop = rewind_step(spec, data.facts)
    if stop:
        yield TrainingRequest(
            model=model,
            mask=Mask({}),
            data=data,
            task=spec.task,
            optimizer=spec.optimizer,
            training=spec.training,
            streams=streams,
            stop=stop,
            measured=False,
        )
    return Rewound(
        weights={name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()},
        record={
            "network": network(spec, context),
            "step": stop,
            "head": plain(heads(model)),
            "data_digest": data.digest,
            **({"columns": dict(data.columns)} if data.columns else {}),
            **({"heads": [[head.name, head.outputs] for head in data.heads]} if data.heads else {}),
        },
    )


def level(
    spec: SearchSpec, replicate: int, number: int, *, rewound: Rewound, pruned_at: Tensors | None, context: RunContext
) -> Work[TrainedLevel]:
    """Train level `number` and prune for the next; `pruned_at` is what the level above it left (None for level 0)."""
    data, streams = context.data(spec.data, spec.task), Streams(root=spec.seed, replicate=replicate)
    model = _fresh(rewound.record["network"], streams)
    names = prunable(model, spec.model.prunable)
    shapes = {name: model.get_parameter(name).shape for name in names}
    units = find(spec.pruning, model, names)
    pruned_at = pruned_at or {
        name: torch.zeros(shape, dtype=torch.uint8, device="cpu") for name, shape in shapes.items()
    }
    mask, contract = level_mask(spec.pruning, pruned_at, number), _contract(spec, rewound)
    open_level(model, mask, rewound.weights, contract)
    trained = yield TrainingRequest(
        model=model,
        mask=mask,
        data=data,
        task=spec.task,
        optimizer=spec.optimizer,
        training=spec.training,
        streams=streams,
        start=contract.step,
    )
    ended = {name: model.get_parameter(name).detach().cpu() for name in mask}
    positive = mask.where(_positive, ended, rewound.weights)
    pruned_at = close_level(
        spec.pruning,
        model,
        mask,
        pruned_at,
        number,
        initial=lambda: dict(_fresh(rewound.record["network"], streams).named_parameters()),
        streams=streams,
        losses=lambda model: _losses(spec, model, data, streams),
        units=units,
    )
    if mask.total >= LARGE:
        give_back()  # what pruning took, before the next level is opened
    return TrainedLevel(
        pruned_at=pruned_at,
        zeros=trained.zeros,
        positive=positive,
        losses=trained.losses,
        record={"level": number, **trained.record},
    )


def book(
    spec: SearchSpec,
    replicate: int,
    *,
    rewound: Rewound,
    pruned_at: Tensors,
    levels: int | None = None,
    records: Sequence[Mapping[str, Any]] = (),
) -> Book:
    """Bind a search into a book, down to `levels` or as deep as there are records; deeper levels are left out."""
    deepest = len(records) - 1 if levels is None else levels
    return Book(
        weights=rewound.weights,
        pruned_at={name: torch.where(at > deepest, 0, at) for name, at in pruned_at.items()},
        levels=deepest,
        contract=_contract(spec, rewound),
        model=rewound.record["network"],
        lineage={
            "search": spec.identity(),
            "replicate": replicate,
            **{name: rewound.record[name] for name in ("data_digest", "columns", "heads") if name in rewound.record},
        },
        records=tuple(dict(each) for each in records),
    )


def level_ticket(spec: SearchSpec, number: int, *, rewound: Rewound, pruned_at: Tensors) -> Ticket:
    """The ticket of one level by itself, of what the level above it left; its book adds the lineage and the record."""
    return Ticket(
        mask=mask_at(pruned_at, number),
        weights=rewound.weights,
        contract=_contract(spec, rewound),
        model=rewound.record["network"],
    )


def _contract(spec: SearchSpec, rewound: Rewound) -> Contract:
    """What all tickets of a search state of their weights."""
    return Contract(
        rewind=str(spec.rewind),
        step=rewound.record["step"],
        head=read(rewound.record["head"]),
        dead="zero-held+folded" if spec.training.folds else "zero-held",
    )


def search(
    spec: SearchSpec | Mapping[str, Any], *, levels: int, replicate: int = 0, context: RunContext | None = None
) -> Book:
    """Search down to `levels` (0 to 100) and bind the book; the whole method in a few lines.

    Raises SpecError when the rewind point lies beyond the training, and what data, model and training raise.

    >>> quick = {"data": "digits:a", "model": "lenet-300-100", "training": {"budget": "1ep"}, "rewind": "1it"}
    >>> found = search(SearchSpec(**quick), levels=2)
    >>> [round(record["density"], 2) for record in found.records]
    [1.0, 0.8, 0.64]
    """
    spec = SearchSpec.read(spec)
    if not 0 <= levels <= MOST_LEVELS:
        raise SpecError(f"levels: expected 0 to {MOST_LEVELS}, got {levels}")
    context = context or RunContext()
    rewound = do(rewind_weights(spec, replicate, context), context)
    done: list[TrainedLevel] = []
    for number in range(levels + 1):
        pruned_at = done[-1].pruned_at if done else None
        task = level(spec, replicate, number, rewound=rewound, pruned_at=pruned_at, context=context)
        done.append(do(task, context))
    records = [each.record for each in done]
    return book(spec, replicate, rewound=rewound, pruned_at=done[-1].pruned_at, records=records)


def initial_weights(known: Mapping[str, Any], *, seed: int, replicate: int) -> Tensors:
    """W_0 of a search of that network (a `Ticket.model`) with that seed, drawn again.

    >>> known = {"spec": {"name": "mlp", "widths": [4]}, "shape": [1, 2, 2], "classes": 2}
    >>> one, other = (initial_weights(known, seed=0, replicate=number) for number in (0, 1))
    >>> bool((one["fc1.weight"] == other["fc1.weight"]).any())
    False
    """
    return _fresh(known, Streams(root=seed, replicate=replicate)).state_dict()


def unlike_start(networks: Sequence[Mapping[str, Any]], *, seed: int, replicate: int = 0) -> int | None:
    """The first network that does not begin from the first one's W_0, output layers apart; None if all do.

    `networks`: as in `Ticket.model`; the result is a position among them. Known networks draw their layers apart from
    the number of outputs, so theirs are equal. A user's own, or a library's, may draw the output layer before others:
    then one seed gives other weights for another number of outputs, and masks of the two share no coordinates.

    >>> known = {"spec": {"name": "mlp", "widths": [4]}, "shape": [1, 2, 2], "classes": 2}
    >>> [unlike_start([known, {**known, **other}], seed=0) for other in ({"classes": 3}, {"shape": [1, 2, 3]})]
    [None, 1]
    """
    first, *others = (_below(canon.dumps(dict(known)), seed, replicate, _module(known)) for known in networks)
    return next((at for at, mark in enumerate(others, start=1) if mark != first), None)


@lru_cache(maxsize=64)
def _below(known: str, seed: int, replicate: int, _module: ModuleType | None) -> str:
    """A digest of W_0 without its output layer; a user's edited code makes another one."""
    model = _fresh(json.loads(known), Streams(root=seed, replicate=replicate))
    above = {*flat(heads(model))}
    return canon.digest(fingerprint({name: w for name, w in model.state_dict().items() if name not in above}))


def _module(known: Mapping[str, Any]) -> ModuleType | None:
    """Where the user's own network comes from."""
    name = known["spec"]["name"]
    return MODELS.module(name) if MODELS.is_own(name) and not library_of(name) else None


def _fresh(known: Mapping[str, Any], streams: Streams) -> nn.Module:
    """The network at initialisation, W_0."""
    return build_network(known, seed=streams.seed("init"))


def _positive(weight: Tensor, first: Tensor) -> Tensor:
    """Which weights are above zero, those at exactly zero by their first values."""
    return (weight == 0).logical_and_(first > 0).logical_or_(weight > 0)


def _losses(spec: SearchSpec, model: nn.Module, data: Data, streams: Streams) -> Iterator[Tensor]:
    """The loss of each training batch, from the schedule's beginning on."""
    task = with_heads(task_of(spec.task), data.heads)
    stop = spec.training.budget.steps(per_epoch(data, spec.training.batch))
    for inputs, targets in batches(data, batch=spec.training.batch, streams=streams, start=0, stop=stop):
        yield task.loss(model(inputs), targets, "mean")
