"""A walk over a traced program: the values that it has met, and the layers made from its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from oneticket.export.c.layers import Activation, Affine, Layer, Network, Pointwise, Shape, Weighted


class Refused(Exception):
    """Why one step of a program has no C form."""


class Walk:
    """The state within a program: constants, numbered values and their shapes, and the layers.

    `repeated`: a value that only repeats another one's numbers over the positions of each channel -> that other one.
    """

    def __init__(self, program: Any) -> None:
        signature = program.graph_signature
        held = {**program.state_dict, **program.constants}
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        names |= getattr(signature, "inputs_to_lifted_tensor_constants", {})
        self.constants: dict[Node, Tensor] = {}
        self.values: dict[Node, int] = {}
        self.repeated: dict[Node, Node] = {}
        self.layers: dict[int, Layer] = {}
        self.shapes: dict[int, Shape] = {}
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in names:
                self.constants[node] = held[names[node.name]].detach().cpu()
            elif node.op == "placeholder" and isinstance(node.meta["val"], Tensor):  # not None
                self.values[node] = 0
                self.shapes[0] = tuple(node.meta["val"].shape[1:])

    def finished(self, node: Node) -> Network:
        """The layers that an output needs; an output that is the input is a copy of it."""
        layers, output = dict(self.layers), self.values[node]
        if output == 0:
            output = len(self.shapes)
            layers[output] = Pointwise(name="output", inputs=(0,), output=output, shape=self.shapes[0])
        needed, rest = {output}, list[Layer]()
        for layer in reversed(layers.values()):
            if layer.output in needed:
                needed |= set(layer.inputs)
                rest.append(layer)
        return Network(layers=tuple(reversed(rest)), input=self.shapes[0], output=output, shape=shape_of(node))

    def input(self, node: Any) -> int:
        """The number of a value; raises Refused for a constant."""
        if node not in self.values:
            raise Refused("it works on a constant of the network")
        return self.values[node]

    def image(self, node: Any) -> Shape:
        """The shape of a value as a step reads it, which may be a view of it."""
        self.input(node)
        return shape_of(node)

    def constant(self, node: Any) -> Tensor:
        """A weight or buffer; raises Refused for a value computed from the input."""
        if node not in self.constants:
            raise Refused("its weights are computed anew for every input")
        return self.constants[node].float()

    @torch.no_grad()
    def folded(self, node: Node) -> bool:
        """Whether a step works on constants alone, and so gives one; raises Refused for one that draws numbers."""
        target: Any = node.target
        held = all(one in self.constants for one in node.all_input_nodes)
        changes = getattr(getattr(target, "_schema", None), "is_mutable", False) and "detach_" not in str(target)
        if not held or changes:
            return False
        if torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()):
            raise Refused("it draws random numbers")
        args, named = map_arg((node.args, node.kwargs), lambda one: self.constants[one])
        self.constants[node] = target(*args, **named)
        return True

    def channels(self, value: Any, shape: Shape) -> Tensor:
        """A number or a constant as one number for all or for each channel of a shape; raises Refused otherwise."""
        if isinstance(value, int | float):
            return torch.tensor([float(value)], dtype=torch.float32, device="cpu")
        whole = self.constant(value).broadcast_to((1, *shape))[0].reshape(*shape[:1], -1)
        whole = whole if shape else whole[:, None]
        if not torch.equal(whole, whole[:, :1].expand_as(whole)):
            raise Refused("a constant that differs within a channel has no C form here")
        return whole[:, 0].contiguous()

    def setting(self, value: Any) -> float:
        """A number or a constant of one number; raises Refused otherwise, and for NaN."""
        found = (
            self.constant(value)
            if isinstance(value, Node)
            else torch.tensor([float(value)], dtype=torch.float32, device="cpu")
        )
        if found.numel() != 1 or bool(found.isnan()):
            raise Refused("it is set to NaN, or to several numbers")
        return float(found)

    def value(self, node: Node, shape: Shape) -> int:
        """A new value."""
        number = len(self.shapes)
        self.values[node], self.shapes[number] = number, shape
        return number

    def add(self, node: Node, made: type[Layer], inputs: Sequence[Any], **more: Any) -> None:
        """A new layer."""
        numbers, shape = tuple(self.input(one) for one in inputs), shape_of(node)
        number = self.value(node, shape)
        self.layers[number] = made(name=where(node), inputs=numbers, output=number, shape=shape, **more)

    def view(self, node: Node, of: Any) -> None:
        """The same numbers in another shape."""
        shape_of(node)
        self.values[node] = self.input(of)

    def before(self, node: Any) -> Layer | None:
        """The layer that makes a value with a single reader, so that it may still change; else None."""
        found = self.layers.get(self.values.get(node, -1))
        readers = [one for one, number in self.values.items() if found and number == found.output]
        alone = all(len(one.users) == 1 for one in readers)
        return found if found and alone and found.activation is None else None

    def activate(self, node: Node, of: Any, name: str, first: float = 0.0, second: float = 0.0) -> None:
        """An activation, in the layer before it where that can be."""
        made = Activation(name, self.setting(first), self.setting(second))
        if (layer := self.before(of)) is None:
            self.add(node, Pointwise, [of], activation=made)
        else:
            self.layers[layer.output] = replace(layer, activation=made)
            self.view(node, of)

    def affine(self, node: Node, of: Any, scale: Tensor, shift: Tensor) -> None:
        """A scale and a shift for each channel, in the weights of the layer before it if possible."""
        layer = self.before(of)
        if isinstance(layer, Weighted) and len(scale) in (1, len(layer.bias)):
            each = scale.expand(len(layer.bias))
            weight = layer.weight * each.view(-1, *[1] * (layer.weight.dim() - 1))
            self.layers[layer.output] = replace(layer, weight=weight, bias=layer.bias * each + shift)
            self.view(node, of)
        else:
            self.add(node, Affine, [of], scale=scale, shift=shift)


def shape_of(node: Node) -> Shape:
    """The shape of what a step gives, without the batch.

    Raises Refused where the first axis is not the batch's, and for numbers that are not float32.
    """
    made = node.meta["val"]
    made = made[0] if isinstance(made, tuple | list) else made  # of a pool, which gives places as well
    if not isinstance(made, Tensor) or made.dtype != torch.float32:
        raise Refused(f"it gives {str(getattr(made, 'dtype', 'no tensor')).removeprefix('torch.')}, not float32")
    shape = tuple(int(size) for size in made.shape)
    if not shape or shape[0] != 1:
        raise Refused(f"of one input it gives a shape of {shape}, whose first axis is not the batch's")
    return shape[1:]


def where(node: Node) -> str:
    """The module that a step belongs to, and its kind."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
    return f"{path} ({kind})" if path else kind or node.name
