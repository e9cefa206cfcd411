"""The walk through a traced graph: which unit fills each place of dimension 1 of every tensor.

At the bottom stands what is known of layers, functions and methods; all else is unknown and may do anything.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from oneticket.models.layers import Halve


class Walk(fx.Interpreter):
    """Runs a model and follows the units, one number each.

    - `layers`: per layer that makes units out of units, those that go in and those that come out.
    - `norms`: per BatchNorm layer, its units.
    - `followed`: per layer that a BatchNorm alone reads, that one.
    - `reaching`: units that reach the output, or something unknown.
    - `bound`: layers that must stay whole, since their tensors are shared or used outside them.
    """

    def __init__(self, model: nn.Module) -> None:
        graph = _Tracer().trace(model)
        super().__init__(model, graph=graph)
        self.ids: dict[fx.Node, list[int]] = {}
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.layers: dict[str, tuple[list[int], list[int]]] = {}
        self.norms: dict[str, list[int]] = {}
        self.followed: dict[str, str] = {}
        self.reaching: list[int] = []
        self.bound = _bound(model, graph)
        self._parents: list[int] = []

    def run_node(self, node: fx.Node) -> Any:
        """The node's value; on the way, the units behind it."""
        value = super().run_node(node)
        if node.op == "output" and not isinstance(value, Tensor):
            raise TypeError(f"the model returns a {type(value).__name__}, not one tensor")
        rule = self._rule(node)
        if isinstance(value, Tensor):
            self.shapes[node] = tuple(value.shape)
            ids = rule(self, node) if rule is not None else None
            known = ids is not None and len(ids) == self._width(node)
        else:
            ids, known = [], rule is _size and _size(self, node) is not None
        if not known:
            self.reaching += [one for source in node.all_input_nodes for one in self.ids[source]]
            ids = self.new(node)
            self.reaching += ids
        self.ids[node] = ids or []
        return value

    def new(self, node: fx.Node) -> list[int]:
        """Fresh units for a node's value."""
        first = len(self._parents)
        self._parents.extend(range(first, first + self._width(node)))
        return list(range(first, len(self._parents)))

    def join(self, one: int, other: int) -> None:
        """Make two units one."""
        self._parents[self._root(one)] = self._root(other)

    def roots(self) -> Tensor:
        """Per unit the one that stands for all that are one with it."""
        return torch.tensor([self._root(unit) for unit in range(len(self._parents))], dtype=torch.long)

    def rank(self, node: fx.Node) -> int:
        """The number of dimensions of a node's value, 0 if it is no tensor."""
        return len(self.shapes.get(node, ()))

    def _root(self, unit: int) -> int:
        while self._parents[unit] != unit:
            self._parents[unit] = self._parents[self._parents[unit]]
            unit = self._parents[unit]
        return unit

    def _width(self, node: fx.Node) -> int:
        return self.shapes[node][1] if self.rank(node) > 1 else 0

    def _rule(self, node: fx.Node) -> Rule | None:
        if node.op == "call_module":
            return _MODULES.get(type(self.module.get_submodule(str(node.target))))
        if node.op == "call_function":
            return _FUNCTIONS.get(node.target)
        return _METHODS.get(str(node.target)) if node.op == "call_method" else None


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Halve) or super().is_leaf_module(module, name)


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


def _bound(model: nn.Module, graph: fx.Graph) -> frozenset[str]:
    """What is shared, called twice, or has a tensor that is used directly."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    direct = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    return shared(model) | direct | {name for name, count in calls.items() if count > 1}


Rule = Callable[[Walk, fx.Node], "list[int] | None"]
"""From a node to the units along dimension 1 of its value, or None if that is not known."""


def _layer(walk: Walk, node: fx.Node) -> list[int] | None:
    """A layer whose weight is (outputs, inputs, ...), with a batch of images or rows."""
    name, source = str(node.target), node.all_input_nodes[0]
    layer = walk.module.get_submodule(name)
    whole = name in walk.bound or getattr(layer, "groups", 1) != 1
    if whole or walk.rank(source) != layer.weight.dim():  # type: ignore[operator]
        return None
    walk.layers[name] = (walk.ids[source], walk.new(node))
    return walk.layers[name][1]


def _norm(walk: Walk, node: fx.Node) -> list[int] | None:
    name, source = str(node.target), node.all_input_nodes[0]
    if name in walk.bound:
        return None
    if source.op == "call_module" and len(source.users) == 1:
        walk.followed[str(source.target)] = name
    walk.norms[name] = walk.ids[source]
    return walk.norms[name]


def _same(walk: Walk, node: fx.Node, *, rank: int | None = None) -> list[int] | None:
    """Each unit by itself; further arguments are numbers."""
    first, *rest = node.all_input_nodes
    alone = not any(walk.rank(other) for other in rest)
    return walk.ids[first] if alone and rank in (None, walk.rank(first)) else None


def _merge(walk: Walk, node: fx.Node) -> list[int] | None:
    """Two tensors elementwise, or a tensor and a number."""
    tensors = [source for source in node.all_input_nodes if source in walk.shapes]
    one, other = tensors[0], tensors[-1]
    if len(tensors) > 2 or walk.rank(one) != walk.rank(other) or len(walk.ids[one]) != len(walk.ids[other]):
        return None
    for pair in zip(walk.ids[one], walk.ids[other], strict=True):
        walk.join(*pair)
    return walk.ids[one]


def _cat(walk: Walk, node: fx.Node) -> list[int] | None:
    tensors = _argument(node, 0, "tensors")
    dim = _argument(node, 1, "dim")
    if not isinstance(tensors, list | tuple) or not isinstance(dim, int) or dim % walk.rank(node) != 1:
        return None
    return [unit for tensor in tensors for unit in walk.ids[tensor]]


def _flatten(walk: Walk, node: fx.Node) -> list[int] | None:
    """(N, C, ...) to (N, C * ...), or dimensions behind C: a unit fills as many places as it has numbers."""
    source = node.all_input_nodes[0]
    shape, now = walk.shapes[source], walk.shapes[node]
    if shape[:2] == now[:2]:
        return walk.ids[source]
    if len(shape) < 2 or now != (shape[0], math.prod(shape[1:])):
        return None
    return [unit for unit in walk.ids[source] for _ in range(math.prod(shape[2:]))]


def _view(walk: Walk, node: fx.Node) -> list[int] | None:
    """A flatten whose last size is left open; a size in figures would not fit fewer units."""
    sizes = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], list | tuple) else node.args[1:]
    return _flatten(walk, node) if not node.kwargs and len(sizes) == 2 and sizes[1] == -1 else None


def _behind(walk: Walk, node: fx.Node) -> list[int] | None:
    """Something over dimensions behind the units."""
    dims = _argument(node, 1, "dim")
    each = dims if isinstance(dims, list | tuple) else (dims,)
    rank = walk.rank(node.all_input_nodes[0])
    return _same(walk, node) if all(isinstance(dim, int) and dim % rank > 1 for dim in each) else None


def _size(walk: Walk, node: fx.Node) -> list[int] | None:
    """A shape or a part of it: harmless unless it tells the number of units."""
    places = range(walk.rank(node.all_input_nodes[0]))
    asked = _argument(node, 1, "dim")
    if node.target is getattr and asked != "shape":
        return [] if asked in ("device", "dtype", "ndim") else None
    parts = [asked] if isinstance(asked, int) else [_argument(user, 1, "") for user in node.users]
    if not isinstance(asked, int) and not all(user.target is operator.getitem for user in node.users):
        return None
    for part in parts:
        if not isinstance(part, int | slice):
            return None
        told = places[part]
        if 1 in (told if isinstance(told, range) else (told,)):
            return None
    return []


def _argument(node: fx.Node, place: int, name: str) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name)


_rows, _images = partial(_same, rank=3), partial(_same, rank=4)

_MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d), _layer),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), _norm),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Identity), _same),
    **dict.fromkeys((nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus), _same),
    **dict.fromkeys((nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d), _rows),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, Halve), _images),
    nn.Flatten: _flatten,
}
_FUNCTIONS: dict[Any, Rule] = {
    **dict.fromkeys((F.relu, torch.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.gelu, F.silu, F.mish), _same),
    **dict.fromkeys((torch.sigmoid, torch.tanh, F.hardswish, F.hardtanh, F.softplus, torch.neg, operator.neg), _same),
    **dict.fromkeys((F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d), _images),
    **dict.fromkeys((operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv), _merge),
    **dict.fromkeys((torch.add, torch.sub, torch.mul), _merge),
    **dict.fromkeys((torch.cat, torch.concat), _cat),
    **dict.fromkeys((torch.mean, torch.sum, torch.amax, torch.squeeze), _behind),
    torch.flatten: _flatten,
    torch.reshape: _view,
    getattr: _size,
}
_METHODS: dict[str, Rule] = {
    **dict.fromkeys(("relu", "relu_", "sigmoid", "tanh", "contiguous", "clone"), _same),
    **dict.fromkeys(("add", "add_", "sub", "sub_", "mul", "mul_"), _merge),
    **dict.fromkeys(("mean", "sum", "amax", "squeeze"), _behind),
    **dict.fromkeys(("view", "reshape"), _view),
    "flatten": _flatten,
    "size": _size,
}
