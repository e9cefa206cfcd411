"""Lowering: from torch's trace of a network to the layers that C is written from, or the reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import getitem
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from oneticket.export.c.layers import Network
from oneticket.export.c.steps import STEPS
from oneticket.export.c.walk import Refused, Walk, where
from oneticket.export.example import Example, batch, batch_axes, leaves
from oneticket.ground.errors import ModelError, WrongModelError

MOST = 8
"""How many layers an error names."""

REMEDY = "write it with --to onnx, or with --to compact, which run any network"


def lower(network: nn.Module, example: Example) -> Network:
    """The layers of a network in evaluation mode, for one input at a time.

    `torch.export` traces the computation for one row of the example, so any code works that does not branch on values.
    BatchNorm is folded into the weights before it, activations into the layer before them; a weight that several layers
    share is written once for each. Raises ModelError with every layer that has no C form.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1)).eval()
    >>> [layer.name for layer in lower(net, torch.zeros(1, 2)).layers]
    ['0 (Linear)', '3 (Linear)']
    """
    tensors = leaves(example)
    if len(tensors) != 1 or tensors[0].dtype != torch.float32:
        got = " and ".join(f"{str(one.dtype).removeprefix('torch.')} {tuple(one.shape)}" for one in tensors)
        raise WrongModelError(f"c: expected one float32 tensor as input, got {got}; {REMEDY}")
    if other := {str(one.dtype) for one in network.parameters() if one.dtype != torch.float32}:
        raise WrongModelError(f"c: expected float32 weights, got {', '.join(sorted(other))}; convert it: model.float()")
    if batch_axes(network, example) != (0,):
        raise WrongModelError(f"c: the first axis of the input is not that of the batch; {REMEDY}")
    one = batch(example, 1)
    given = (one,) if isinstance(one, Tensor) else tuple(one) if isinstance(one, Sequence) else ()
    try:
        with torch.no_grad():
            program = torch.export.export(network, given, dict(one) if isinstance(one, Mapping) else {})
    except Exception as error:  # any error of torch.export on a forward pass
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"c: torch cannot trace {type(network).__name__}: {said[:200]}; {REMEDY}") from error
    return _layers(program)


def _layers(program: Any) -> Network:
    walk, refused = Walk(program), dict[str, str]()
    for node in program.graph.nodes:
        if node.op != "call_function" or (not node.users and (node.target is getitem or "_assert" in str(node.target))):
            continue
        try:
            _step(walk, node)
        except Refused as why:
            refused.setdefault(where(node), str(why))
            shape = tuple(getattr(node.meta.get("val"), "shape", (1, 1)))
            walk.value(node, shape[1:])  # so that later layers are checked as well
    outputs = [one for one in program.graph.output_node().args[0] if one is not None]
    if len(outputs) != 1:
        refused.setdefault("the network", f"it gives {len(outputs)} outputs, where one tensor is expected")
    elif outputs[0] not in walk.values:
        refused.setdefault("the network", "its output does not depend on its input")
    if refused:
        listed = [f"{name}: {why}" for name, why in refused.items()]
        more = [f"and {len(listed) - MOST} more"] if len(listed) > MOST else []
        raise WrongModelError("\n".join(["c: not every layer has a C form; " + REMEDY, *listed[:MOST], *more]))
    return walk.finished(outputs[0])


def _step(walk: Walk, node: Node) -> None:
    """One step: a constant, a layer, a change of the layer before, or another view of the same numbers."""
    name = "getitem" if node.target is getitem else str(node.target).removeprefix("aten.").partition(".")[0]
    plain = name.rstrip("_")
    if walk.folded(node):
        return
    if plain not in STEPS:
        raise Refused(f"{plain.lstrip('_')} has no C form here")
    STEPS[plain](walk, node, _arguments(node))
    if plain != name and isinstance(changed := node.args[0], Node):
        walk.values[changed] = walk.values[node]  # in place: later reads get the new value


def _arguments(node: Node) -> dict[str, Any]:
    schema: Any = getattr(node.target, "_schema", None)
    if schema is None:
        return {str(place): value for place, value in enumerate(node.args)}
    found = {one.name: one.default_value for one in schema.arguments if one.has_default_value()}
    found |= {one.name: value for one, value in zip(schema.arguments, node.args, strict=False)}
    return {**found, **node.kwargs}
