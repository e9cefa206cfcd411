"""Fit: which tickets fit a model or a dataset, and why the others do not."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from oneticket.apply.by_shape import by_shape
from oneticket.apply.named_tensors import tensors
from oneticket.data.facts import Facts
from oneticket.data.load import load
from oneticket.data.spec import USUAL, DataSpec, own_path
from oneticket.ground.errors import DataError, OneticketError, SpecError, TransferError, WrongModelError, unknown
from oneticket.ground.own_source import renew
from oneticket.lottery.transfer import network_of
from oneticket.models.build import build, layout
from oneticket.models.spec import KINDS, MODELS, ModelSpec, library_of
from oneticket.task.inputs import Inputs
from oneticket.ticket.describe import at, data, scores, word
from oneticket.ticket.match import match, name_changes
from oneticket.ticket.names import listed, separate
from oneticket.ticket.ticket import Ticket

Make = Callable[[Inputs, int], nn.Module]
OUTPUTS = ("classes", "num_classes", "outputs")
"""Names of a factory's argument for the number of outputs; see `models.factory.call`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The result for one ticket. `problem`: why it does not fit, empty if it does. `notes`: whole sentences.

    `alike`: among the datasets with scores of the ticket, the one most like the user's; empty without any. `loses`:
    whether the user's images lose their colours. `unmade`: whether the model could not be made. `names`: the map that
    `apply` and `attach` need for it; empty if names are found.
    """

    name: str
    ticket: Ticket
    problem: str = ""
    notes: tuple[str, ...] = ()
    alike: str = ""
    loses: bool = False
    unmade: bool = False
    names: Mapping[str, str] = field(default_factory=dict)


def wanted(what: str) -> Make | DataSpec:
    """The function that makes the named model, or the data's spec, from a known name, a path, or a function's path.

    A function (or class, or module of torch) is a model's if it takes a number of outputs, as for `--model`, or if it
    returns a model without arguments; else it is a dataset's. Its code is run. Raises SpecError for anything else.

    >>> wanted("digits").name, wanted("resnet-20")(Inputs(shape=(3, 8, 8)), 10).fc.out_features
    ('digits', 10)
    """
    if what in MODELS or library_of(what):
        return _built(what)
    if path := own_path(what):
        return DataSpec(name=what) if path != what else _of_function(what)
    try:
        return DataSpec(name=what)
    except SpecError:
        here = f"; to name the folder here, say ./{what}" if os.path.isdir(what) else ""
        raise SpecError(
            f"{unknown('model or dataset', what, (*MODELS, *USUAL))}; or org/name on the Hub, ./folder, a file, or "
            f"your own: 'file.py:function'{here}"
        ) from None


def _of_function(path: str) -> Make | DataSpec:
    found = renew(path, "model or dataset")
    if isinstance(found, nn.Module):
        return _copied(found)
    try:
        slots = inspect.signature(found).parameters.values()
    except ValueError as error:
        raise SpecError(f"{path!r}: its signature cannot be read ({error}); wrap it in a function") from None
    if any(slot.name in OUTPUTS or slot.kind is slot.VAR_KEYWORD for slot in slots):
        return _built(path)
    needed = [s.name for s in slots if s.default is s.empty and s.kind not in (s.VAR_POSITIONAL, s.VAR_KEYWORD)]
    if needed:
        raise SpecError(
            f"{path!r}: needs {listed(needed)}; a model's function takes the number of outputs as one of "
            f"{', '.join(OUTPUTS)}, and `shape` if it wants it; a dataset's takes nothing"
        )
    with torch.random.fork_rng(devices=[]), MODELS.blamed(path):
        made = found()
    return _copied(made) if isinstance(made, nn.Module) else DataSpec(name=path)


def _built(name: str) -> Make:
    def make(inputs: Inputs, outputs: int) -> nn.Module:
        kinds = KINDS.get(name, (inputs.kind,))
        if inputs.kind not in kinds:
            raise WrongModelError(f"takes {inputs}, the model takes {' or '.join(kinds)}")
        return build(ModelSpec(name=name), inputs=inputs, outputs=outputs, seed=0)

    return make


def _copied(model: nn.Module) -> Make:
    def make(_inputs: Inputs, _outputs: int) -> nn.Module:
        return deepcopy(model)

    return make


def into_model(tickets: Iterable[tuple[str, Ticket]], make: Make) -> list[Fit]:
    """Each ticket tried on the model, which is made for the inputs and outputs of the ticket's network.

    A ticket fits if its weights, except the output layer, can be written by name and shape, or by shape in the order of
    the layers, and the model then takes the inputs that the ticket was found on. The models are new ones from the
    function; no model of the user's is written to. Raises ModelError for a model that cannot be made for any inputs.
    """
    fits = [_into(name, ticket, make) for name, ticket in tickets]
    reasons = {fit.problem for fit in fits}
    if len(fits) > 1 and len(reasons) == 1 and all(fit.unmade for fit in fits):
        raise WrongModelError(reasons.pop())
    return fits


def _into(name: str, ticket: Ticket, make: Make) -> Fit:
    try:
        spec, inputs, outputs = network_of(ticket)
        try:
            model = make(inputs, outputs)
        except OneticketError as error:
            return Fit(name=name, ticket=ticket, problem=" ".join(str(error).split()), unmade=True)
        names = {}
        if problem := _misfit(ticket, model):
            names = _map(ticket, spec, inputs, model)
            if not names:
                return Fit(name=name, ticket=ticket, problem=problem)
        applied = ticket.apply(model, names=names or None)
    except OneticketError as error:
        return Fit(name=name, ticket=ticket, problem=" ".join(str(error).split()))
    if problem := _fails(model, inputs):
        return Fit(name=name, ticket=ticket, problem=problem)
    how = f", {words}" if (words := name_changes(applied.names)) else ""
    stays = f"; the output layer ({listed(applied.fresh)}) stays yours" if applied.fresh else ""
    if names:
        how = " by their shapes, layer after layer, under other names: check that the layers do the same"
    note = f"All of its {len(applied.matched)} tensors match{how}{stays}."
    return Fit(name=name, ticket=ticket, notes=(note,), names=names)


def _map(ticket: Ticket, spec: ModelSpec, inputs: Inputs, model: nn.Module) -> dict[str, str]:
    """The map from the ticket's layers to a model that has the same shapes in the same order; else empty."""
    order = (
        layout(spec, inputs=inputs, outputs=ticket.model["classes"]) if not MODELS.is_own(spec.name) else ticket.weights
    )
    body = {name: tuple(ticket.weights[name].shape) for name in order if name not in ticket.contract.head_names}
    return by_shape(body, {name: tuple(value.shape) for name, value in tensors(model).items()})


def _misfit(ticket: Ticket, model: nn.Module) -> str:
    """Why the ticket's weights, without its output layers, do not fit the model; empty if they do."""
    heads, found = ticket.contract.head_names, tensors(model)
    body = [name for name in ticket.weights if name not in heads]
    pairs = match(body, found)
    if missing := [name for name in body if name not in pairs]:
        all_of = len(missing) == len(body)
        some = f"none of its {len(body)} tensors has a" if all_of else f"{len(missing)} of {len(body)} tensors have no"
        return f"another architecture: {some} match in the model, such as {word(missing[0])}"
    differ = [name for name in body if ticket.weights[name].shape != found[pairs[name]].shape]
    differ.sort(key=lambda name: -ticket.weights[name].ndim)  # weights are more informative than biases
    if not differ:
        return ""
    theirs, yours = (
        " x ".join(map(str, shape)) for shape in (ticket.weights[differ[0]].shape, found[pairs[differ[0]]].shape)
    )
    more = f", and {len(differ) - 1} more differ" if differ[1:] else ""
    return f"{word(differ[0])} is {theirs} in the ticket, {yours} in the model{more}"


def _fails(model: nn.Module, inputs: Inputs) -> str:
    """Why the model does not take the inputs; empty if it does."""
    model.eval()
    try:
        with torch.no_grad():
            model(inputs.example(2))
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        return f"its weights match, but the model fails on the ticket's inputs, {inputs}: {said}"
    return ""


def facts_of(spec: DataSpec, tickets: Iterable[tuple[str, Ticket]]) -> tuple[Facts, bool]:
    """The set's facts, and whether all its inputs have one size; raises DataError.

    Images of several sizes are read at the size of the first ticket.
    """
    try:
        return load(spec, targets="given").facts, True
    except DataError as error:
        for _, ticket in tickets:
            try:
                return load(spec, targets="given", inputs=network_of(ticket)[1]).facts, False
            except (TransferError, DataError):
                continue
        raise error


def onto_data(tickets: Iterable[tuple[str, Ticket]], spec: DataSpec, facts: Facts, *, sized: bool = True) -> list[Fit]:
    """Each ticket and the set: whether its network takes the set's inputs, and its scores on the most similar dataset.

    Images are brought to the size and channels that the ticket was found at; vectors, series and tokens must have its
    shape. `sized`: whether all images have the size in `facts`.
    """
    return [_onto(name, ticket, spec, facts, sized) for name, ticket in tickets]


def _onto(name: str, ticket: Ticket, spec: DataSpec, facts: Facts, sized: bool) -> Fit:
    try:
        network, like, _ = network_of(ticket)
    except TransferError as error:
        return Fit(name=name, ticket=ticket, problem=str(error))
    yours = facts.inputs
    if like.kind != yours.kind or (like.kind != "images" and like != yours):
        return Fit(name=name, ticket=ticket, problem=f"takes {like}, the data holds {yours}")
    notes = _brought(ticket, network, like, facts) if like.kind == "images" and sized else ()
    own_data = (f"It was found on {data(ticket)}.",) if same_set(data(ticket), spec) else ()
    return Fit(
        name=name,
        ticket=ticket,
        notes=(*notes, *own_data),
        alike=_most_alike(ticket, spec, facts),
        loses=like.kind == "images" and sized and like.shape[0] < yours.shape[0],
    )


def _brought(ticket: Ticket, network: ModelSpec, like: Inputs, facts: Facts) -> tuple[str, ...]:
    """How images are changed for the ticket's network."""
    if like == facts.inputs:
        return (f"It takes your {like} as they are.",)
    (channels, *_), (theirs, height, width) = facts.inputs.shape, like.shape
    size = facts.inputs.shape[1:] != like.shape[1:]
    done = [f"are brought to {height} x {width} pixels"] if size else []
    done += ["lose their colours" if theirs < channels else "get three equal channels"] if theirs != channels else []
    free = size and _any_size(ticket, network, Inputs(shape=(theirs, *facts.inputs.shape[1:])))
    keep = f"; its weights fit any size: --size {facts.inputs.shape[1]} keeps yours" if free else ""
    return (f"It takes {like}: yours {' and '.join(done)}{keep}.",)


def _any_size(ticket: Ticket, network: ModelSpec, inputs: Inputs) -> bool:
    """Whether a known network for those inputs has exactly the ticket's weights."""
    if MODELS.is_own(network.name) or inputs.shape[1] != inputs.shape[2]:
        return False
    try:
        shapes = layout(network, inputs=inputs, outputs=ticket.model["classes"])
    except OneticketError:
        return False
    return shapes == {name: tuple(weight.shape) for name, weight in ticket.weights.items()}


def _most_alike(ticket: Ticket, spec: DataSpec, facts: Facts) -> str:
    """Among the datasets with scores of the ticket the same one, or the nearest in numbers of classes and examples.

    The distance is by ratio: twice as many classes is as far as twice as many examples.
    """
    rows = {row["data"]: row for row in scores(ticket)}
    return min(rows, key=lambda label: (not same_set(label, spec), _distance(rows[label], facts)), default="")


def _distance(row: Mapping[str, Any], facts: Facts) -> float:
    there = [(row.get("classes"), facts.outputs), (row.get("examples"), facts.examples)]
    ratios = [abs(math.log2(a / b)) for a, b in there if type(a) is int and 0 < a < 2**53]
    return sum(ratios) if len(ratios) == len(there) else math.inf


def same_set(label: str, spec: DataSpec) -> bool:
    """Whether a set's label, with its settings, or one of several joined by `+`, is of the same set."""
    return any(one.partition("(")[0].removesuffix(":a").removesuffix(":b") == spec.set for one in separate(label))


def network_words(ticket: Ticket) -> str:
    """The ticket's network, with its settings other than the defaults.

    >>> from oneticket.ticket.ticket import Ticket
    >>> network_words(Ticket.load("conv-4-cifar10"))
    'conv-4 (width 0.5)'
    """
    try:
        network = network_of(ticket)[0]
    except TransferError:
        return word(at(ticket.model, "spec", "name")) or "a network that it does not name"
    usual = ModelSpec(name=network.name).plain()
    given = {name: value for name, value in network.plain().items() if name != "name" and value != usual[name]}
    said = ", ".join(f"{name} {word(value)}" for name, value in given.items())
    return f"{network.name} ({said})" if said else network.name
