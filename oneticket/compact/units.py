"""Units: which channels and features can affect the loss, and which dead ones cannot be removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from oneticket.compact import cut
from oneticket.compact.check import Check
from oneticket.compact.cut import Kept, Thinned
from oneticket.compact.labels import NONE
from oneticket.compact.ledger import LedgerHold
from oneticket.compact.record import Record
from oneticket.compact.walk import Decides, Walk

ANOTHER = "its forward pass may go another way by what"
MOST = 16
"""Ways that a forward pass may go by what tensors hold; with more, all units are kept."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Dead units of a layer that cannot be removed: how many, the layer that prevents it, and why.

    >>> print(Stop(layer="0", units=48, at="1 (LayerNorm)", why="an unread unit still enters its mean and variance"))
    48 units of 0, dead, cannot go because of 1 (LayerNorm): an unread unit still enters its mean and variance
    """

    layer: str
    units: int
    at: str
    why: str

    def __str__(self) -> str:
        """In a sentence."""
        count = f"{self.units} unit{'s' * (self.units > 1)} of {self.layer}"
        return f"{count}, dead, cannot go because of {self.at}: {self.why}"


@dataclass(frozen=True, kw_only=True)
class KeptUnits:
    """The result of `trace`.

    - `kept`: layer that loses units -> which of its outputs and inputs stay.
    - `removed`: layer -> how many of its own units are removed.
    - `thinned`: layer that draws random numbers for units, some of them removed -> which units stay.
    - `stopped`: dead units that stay.
    - `bound`: layers whose tensors are shared or used outside them.
    - `note`: why the model could not be traced and keeps all units; else empty.
    """

    kept: Mapping[str, Kept] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    thinned: Mapping[str, Thinned] = field(default_factory=dict)
    stopped: Sequence[Stop] = ()
    bound: frozenset[str] = frozenset()
    note: str = ""


def trace(
    model: nn.Module,
    remaining: Mapping[str, Tensor],
    *positional: Any,
    training: bool = True,
    **named: Any,
) -> KeptUnits:
    """Find the units of linear, convolution and normalising layers that can reach the model's output.

    A unit does so through a remaining weight into a unit that does; weights without a mask remain. Tensors that are
    added or multiplied elementwise have their units in common, and so have the groups of a grouped convolution or a
    GroupNorm. Anything unknown (other layers and operations, random numbers outside dropout layers, tensors used
    directly) counts as the output. Every layer keeps a unit.

    A real forward pass on the given inputs is followed, in training and evaluation mode or (`training` False) in
    evaluation mode only, on a copy that shares only the model's parameters. A network without the units is then
    compared with it: where it computes something else, because the code contains a size, units stay (`ledger.Check`).

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> trace(net, {"2.weight": torch.tensor([[True, False, True]])}, torch.zeros(4, 2)).kept["0"].outputs
    tensor([0, 2])
    """
    record = walked(model, *positional, training=training, **named)
    if isinstance(record, str):
        return KeptUnits(bound=shared(model), note=f"units not traced, so all are kept: {record}")
    while True:
        stays = reaching(record, record.roots(), remaining)[record.roots()]
        kept, thinned = _kept(record, stays)
        if not kept:
            break
        check = Check(record, stays)
        small = cut.smaller(model, cut.cuts(model, kept), shared=_weights(model), thinned=thinned)
        if _passes(small, check, positional, named):
            kept, thinned = _ordered(record, check, kept)
            break
        _stop(record, check, stays)
    gone = {name: int((~stays[outputs]).sum()) for name, (_, outputs) in record.layers.items()}
    return KeptUnits(
        kept=kept,
        removed={name: count for name, count in gone.items() if count},
        thinned=thinned,
        stopped=_stopped(record, remaining, stays),
        bound=record.bound,
    )


def walked(model: nn.Module, *positional: Any, training: bool = True, **named: Any) -> Record | str:
    """The record of a model's forward passes, or why there is none."""
    record = Record(model, shared(model))
    try:
        walk = _walk(cut.smaller(model, {}, shared=_weights(model)), record, positional, named, training=training)
    except Decides as error:
        return str(error)
    except Exception as error:  # any code may stand in a forward pass
        return _first_line(error)
    record.bound = frozenset(walk.bound)
    for name in walk.bound:
        for units in (*record.layers.get(name, ()), *record.calls.get(name, ())):
            record.keep(units, LedgerHold(at=name, why="its tensors are used elsewhere too"))
    return record


def _walk(
    network: nn.Module, record: Record, positional: Sequence[Any], named: Mapping[str, Any], *, training: bool
) -> Walk:
    """All ways that a forward pass can take, in evaluation mode and, if asked for, in training mode.

    Wherever the code tests a condition on a tensor, both branches are followed, unless an assertion ends one.
    """
    walk = Walk(network, record, record.shared)
    for mode in (True, False) if training else (False,):
        ways: list[list[bool]] = [[]]
        while ways:
            answers, before = ways.pop(), len(record.steps)
            record.open()
            try:
                asked = _pass(walk, network.train(mode), positional, named, answers)
            except Exception as error:
                if not answers or isinstance(error, Decides):
                    raise
                if not isinstance(error, AssertionError):
                    raise Decides(f"{ANOTHER} a tensor holds, which fails here: {_first_line(error)}") from error
                del record.steps[before:]
                continue
            record.ways.append((mode, asked))
            if len(record.ways) > MOST:
                raise Decides(f"{ANOTHER} tensors hold, more than {MOST} ways in all")
            ways += [[*asked[:place], not asked[place]] for place in range(len(answers), len(asked))]
    return walk


def _passes(small: nn.Module, check: Check, positional: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a smaller network does what was recorded, to its end."""
    walk = Walk(small, check, check.record.shared)
    try:
        for mode, answers in check.record.ways:
            _pass(walk, small.train(mode), positional, named, answers)
    except Exception:  # Deviates, or any error of code on sizes that it does not expect
        return False
    return len(check.steps) == len(check.record.steps)


def _pass(
    walk: Walk, network: nn.Module, positional: Sequence[Any], named: Mapping[str, Any], answers: Sequence[bool]
) -> list[bool]:
    devices = {each.device for each in network.parameters() if each.device.type == "cuda"}
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        return walk.run(_fresh(positional), _fresh(named), answers)


def _stop(record: Record, check: Check, stays: Tensor) -> None:
    """Keep the units of the step at which a smaller network differed; all units if none of that step are removed."""
    step = check.there
    units = (
        torch.cat([labels.flatten() for labels in step.units])
        if step.units
        else torch.empty(0, dtype=torch.long, device="cpu")
    )
    if bool(stays[units].all()):
        units = (~stays).nonzero().squeeze(1)
    record.keep(
        units, LedgerHold(at=step.at, why=f"{step.what} does not follow when units go: a size may stand in the code")
    )


def _kept(record: Record, stays: Tensor) -> tuple[dict[str, Kept], dict[str, Thinned]]:
    """What stays of each layer that loses something, in the model's order."""
    kept = {}
    for name, (inputs, outputs) in record.layers.items():
        if not (stays[inputs].all() and stays[outputs].all()):
            kept[name] = Kept(outputs=_places(stays[outputs]), inputs=_places(stays[inputs]))
    for name, carrier in record.carriers.items():
        if not stays[carrier.outputs].all():
            kept[name] = Kept(outputs=_places(stays[carrier.outputs]))
    thinned = {}
    for name, noise in record.noises.items():
        if not stays[noise.units].all():
            places, count = _places(stays[noise.units]), len(noise.units)
            thinned[name] = Thinned(kept=places, count=count, dim=noise.dim, order=noise.order)
    return kept, thinned


def _ordered(record: Record, check: Check, kept: Mapping[str, Kept]) -> tuple[dict[str, Kept], dict[str, Thinned]]:
    """The same in the order in which a smaller network has its units, which a channel shuffle may change."""
    found = {
        name: Kept(outputs=check.outputs[name], inputs=check.inputs[name] if each.inputs is not None else None)
        for name, each in kept.items()
    }
    thinned = {}
    for name, places in check.noises.items():
        noise = record.noises[name]
        thinned[name] = Thinned(kept=places, count=len(noise.units), dim=noise.dim, order=noise.order)
    return found, thinned


def _stopped(record: Record, remaining: Mapping[str, Tensor], stays: Tensor) -> list[Stop]:
    """Units that are kept although nothing that reaches the output reads them."""
    roots = record.roots()
    entering = {unit for inputs, _ in record.layers.values() for unit in inputs.tolist()}
    ends = record.read | (record.used - entering)  # whether units that enter a layer are read, the layer says
    read = reaching(record, roots, remaining, ends)[roots]
    first: dict[int, LedgerHold] = {}
    for unit, hold in record.holds.items():
        first.setdefault(int(roots[unit]), hold)
    found: Counter[tuple[str, str, str]] = Counter()
    for name, (_, outputs) in record.layers.items():
        for unit in outputs[stays[outputs] & ~read[outputs]].tolist():
            if (stop := first.get(int(roots[unit]))) is not None:
                found[name, stop.at, stop.why] += 1
    return [Stop(layer=layer, units=count, at=at, why=why) for (layer, at, why), count in found.items()]


def _fresh(given: Any) -> Any:
    return tree_map(lambda each: each.clone() if isinstance(each, Tensor) else each, given)


def _weights(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _places(there: Tensor) -> Tensor:
    return there.nonzero().squeeze(1)


def reaching(
    record: Record, roots: Tensor, remaining: Mapping[str, Tensor], ends: Collection[int] | None = None
) -> Tensor:
    """Whether each root reaches the output: bool, from there backward until nothing changes.

    `ends`: the units to begin with; if None, those in the output and all that are held.
    """
    layers = []
    for name, (inputs, outputs) in reversed(record.layers.items()):
        remains = remaining.get(f"{name}.weight", torch.ones(len(outputs), len(inputs), dtype=torch.bool, device="cpu"))
        layers.append((roots[inputs], roots[outputs], remains.flatten(2).any(2) if remains.dim() > 2 else remains))
    reaches = torch.zeros(len(roots), dtype=torch.bool, device="cpu")
    reaches[roots[[NONE, *(ends if ends is not None else {*record.read, *record.holds})]]] = True
    while True:
        count = -1
        while count != (count := int(reaches.sum())):
            for into, out, remains in layers:
                reaches[into[remains[reaches[out]].any(0)]] = True
        lost = next((out for _, out, _ in layers if not reaches[out].any()), None)
        if lost is None:
            return reaches
        reaches[lost[0]] = True  # torch warns about a layer without units


def shared(model: nn.Module) -> frozenset[str]:
    """Modules under two names, and modules with a parameter of another one."""
    named = list(model.named_modules(remove_duplicate=False))
    names = Counter(id(module) for _, module in named)
    owners = Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))
    return frozenset(
        name
        for name, module in named
        if names[id(module)] > 1 or any(owners[id(weight)] > 1 for weight in module.parameters(recurse=False))
    )
