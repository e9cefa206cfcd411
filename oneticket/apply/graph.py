"""The graph behind a model's outputs, and the last layers in it.

torch's graph leads from an output back to the parameters. The last layers are its first nodes that multiply with a
parameter: a linear layer, a convolution, a plain product with a matrix. What comes after them and adds or scales (a
bias, a norm) belongs to them. An output whose last layers feed into those of another is a feature that is handed out
(a cache, hidden states), and one that is a sum along a residual stream has no output layer: neither is a head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from oneticket.apply.named_tensors import tensors
from oneticket.ticket.heads import Heads


@dataclass(frozen=True, kw_only=True)
class Found:
    """What forward passes show: the heads; the names of what is used in them alone, and of what comes before them.

    `reached`: the names of all parameters that a gradient reaches, and of those that were frozen.
    """

    heads: Heads
    last: frozenset[str]
    before: frozenset[str]
    reached: frozenset[str]

    @classmethod
    def joined(cls, passes: Sequence[Found]) -> Found:
        """What several passes show, through the model or its parts: a layer before another head is no head.

        The order of the heads does not depend on the order of the passes, since a resumed search may pass differently.
        """
        before = frozenset[str]().union(*(one.before for one in passes))
        heads: list[tuple[str, ...]] = []
        widest_first = sorted(passes, key=lambda one: (-len(one.heads), one.heads))
        for head in (head for one in widest_first for head in one.heads if not one.last & before & {*head}):
            same = [other for other in heads if {*other} & {*head}]
            at = heads.index(same[0]) if same else len(heads)
            heads = [other for other in heads if other not in same]
            heads.insert(at, tuple(dict.fromkeys(name for each in (*same, head) for name in each)))
        return cls(
            heads=tuple(dict.fromkeys(heads)),
            last=frozenset[str]().union(*(one.last for one in passes)) - before,
            before=before,
            reached=frozenset[str]().union(*(one.reached for one in passes)),
        )


class Hidden(Exception):
    """A node that stands for many layers, which cannot be separated."""


@dataclass(frozen=True)
class _Output:
    """One output: the nodes of its last layers, those layers' parameters, and all parameters from there on."""

    nodes: frozenset[Any]
    layers: frozenset[int]
    all: frozenset[int]


class Graph:
    """The graph behind some outputs. Parameters go by their ids."""

    def __init__(self, model: nn.Module, ends: Iterable[Any]) -> None:
        self.model, self.ends = model, list(dict.fromkeys(ends))
        self.names: dict[int, list[str]] = {}
        self.weights: dict[int, Tensor] = {}
        for name, weight in model.named_parameters(remove_duplicate=False):
            self.names.setdefault(id(weight), []).append(name)
            self.weights[id(weight)] = weight
        self.frozen = {
            weight.untyped_storage().data_ptr(): key
            for key, weight in self.weights.items()
            if not weight.requires_grad and weight.dim() >= 2 and weight.device.type != "meta"
        }
        self.made: dict[Any, frozenset[int] | None] = {}
        for node in _postorder(self.ends):
            self.made[node] = self._made(node)

    def found(self) -> Found:
        """The heads of those outputs whose last layers feed no other output's."""
        outputs = [out for out in map(self._output, self.ends) if out.nodes]
        inner = self._inner(outputs)
        kept = [out for out in outputs if not out.nodes & inner]
        nodes = frozenset().union(*(out.nodes for out in kept))
        before = frozenset(key for node in self._below(nodes) - nodes for key in self._read_by(node))
        every = _merged(kept)
        return Found(
            heads=tuple(dict.fromkeys(self._head(one, before) for one in every)),
            last=self._all(frozenset().union(*every) - before),
            before=self._all(before),
            reached=self._all(self._reached()),
        )

    def _reached(self) -> Iterable[int]:
        """All parameters in the graph, and those that no graph would have; where a node hides its own, any."""
        if any(word in node.name() for node in self.made for word in HIDING):
            return self.names
        frozen = {key for key, weight in self.weights.items() if not weight.requires_grad}
        return frozen | {id(node.variable) for node in self.made if hasattr(node, "variable")} & self.names.keys()

    def _all(self, keys: Iterable[int]) -> frozenset[str]:
        return frozenset(name for key in keys for name in self.names[key])

    def _made(self, node: Any) -> frozenset[int] | None:
        """The parameters that alone make up what this node made; None if data did too."""
        variable = getattr(node, "variable", None)
        if variable is not None:
            return frozenset({id(variable)}) if id(variable) in self.weights else None
        edges = node.next_functions
        made = [self.made[parent] for parent, _ in edges if parent is not None]
        if not made or None in made or LOOKS_UP.match(node.name()):
            return None
        # What has no gradient is a constant, such as a mask on weights, or else the data.
        bare = any(parent is None for parent, _ in edges)
        if bare and (MIXES.match(node.name()) or not (VECTOR.match(node.name()) or self._keeps_shape(node))):
            return None
        return frozenset().union(*filter(None, made))

    def _keeps_shape(self, node: Any) -> bool:
        """Whether what it made has the shape of one of the things that it was made of."""
        here = _shape(node, 0)
        return any(_shape(parent, at) == here for parent, at in node.next_functions if parent is not None)

    def _output(self, end: Any) -> _Output:
        """Back from an output to the first nodes that multiply with parameters."""
        nodes, layers, after = set(), set[int](), set[int]()
        todo, seen = [end], {end}
        while todo:
            node = todo.pop()
            if self.made[node] is not None:
                continue
            if any(word in node.name() for word in HIDING):
                raise Hidden
            mine = self._read_by(node)
            if self._is_layer(node, mine):
                nodes.add(node)
                layers |= mine
                continue
            after |= mine
            fresh = [parent for parent in self._data(node) if parent not in seen]
            seen.update(fresh)
            todo += fresh
        return _Output(nodes=frozenset(nodes), layers=frozenset(layers), all=frozenset(layers | after))

    def _read_by(self, node: Any) -> set[int]:
        """The parameters that a data node reads in addition to its data."""
        mine = {key for parent, _ in node.next_functions for key in (parent is not None and self.made[parent]) or ()}
        if self.frozen and MIXES.match(node.name()) and any(parent is None for parent, _ in node.next_functions):
            # A frozen weight is no part of the graph, but is kept for the gradient of what it multiplies.
            kept = (getattr(node, name, None) for name in SAVED)
            found = (self.frozen.get(t.untyped_storage().data_ptr()) for t in kept if isinstance(t, Tensor))
            mine |= {each for key in found if key is not None for each in self._with_bias(key)}
        return mine

    def _with_bias(self, key: int) -> Iterator[int]:
        """A frozen weight, and what else is frozen in its module."""
        owners = {name.rpartition(".")[0] for name in self.names[key]}
        for other, names in self.names.items():
            if not self.weights[other].requires_grad and owners & {name.rpartition(".")[0] for name in names}:
                yield other

    def _is_layer(self, node: Any, mine: Iterable[int]) -> bool:
        weights = [self.weights[key] for key in mine]
        if MIXES.match(node.name()):
            return any(weight.dim() >= 2 for weight in weights)
        multiplies = MULTIPLIES.match(node.name()) or isinstance(node, torch.autograd.function.FunctionCtx)
        return bool(multiplies) and any(sum(size > 1 for size in weight.shape) >= 2 for weight in weights)

    def _data(self, node: Any) -> list[Any]:
        return [parent for parent, _ in node.next_functions if parent is not None and self.made[parent] is None]

    def _below(self, nodes: Iterable[Any]) -> set[Any]:
        """All nodes of data that come before these."""
        todo = [parent for node in nodes for parent in self._data(node)]
        seen = set(todo)
        while todo:
            fresh = {parent for parent in self._data(todo.pop()) if parent not in seen}
            seen |= fresh
            todo += fresh
        return seen

    def _inner(self, outputs: Iterable[_Output]) -> set[Any]:
        """Nodes of last layers that come before those of other modules; one module may follow itself in time."""
        groups: dict[frozenset[str], set[Any]] = {}
        for node in {node for out in outputs for node in out.nodes}:
            names = [name for key in self._read_by(node) if self.weights[key].dim() >= 2 for name in self.names[key]]
            groups.setdefault(frozenset(name.rpartition(".")[0] for name in names), set()).add(node)
        nodes = set().union(*groups.values())
        return {each for group in groups.values() for each in (nodes - group) & self._below(group)}

    def _head(self, keys: Iterable[int], before: frozenset[int]) -> tuple[str, ...]:
        """The names of a head's own tensors, in the model's order; of one with another role its name as an output."""
        keys = set(keys)
        own = {name for key in keys - before for name in self.names[key]}
        beside = {name.rpartition(".")[0] for name in own}
        for key in keys & before:
            own |= {*self._roles(self.names[key], beside)}
        order = [name for name, _ in self.model.named_parameters(remove_duplicate=False)]
        return tuple([name for name in order if name in own] + [*self._buffers(own)])

    def _roles(self, names: list[str], beside: set[str]) -> list[str]:
        """Which one of several names of a tensor stands for the output: not an embedding's, and its bias's module's."""
        if len(names) < 2:
            return []
        layers = {name: self.model.get_submodule(name.rpartition(".")[0]) for name in names}
        names = [name for name in names if not isinstance(layers[name], nn.Embedding | nn.EmbeddingBag)]
        names = [name for name in names if name.rpartition(".")[0] in beside] or names
        return names[-1:]

    def _buffers(self, own: set[str]) -> Iterator[str]:
        """Saved buffers of modules that have no other parameters than the head's, such as a norm's statistics."""
        found = tensors(self.model)
        for at, module in self.model.named_modules(remove_duplicate=False):
            prefix = f"{at}." if at else ""
            whole = {prefix + name for name, _ in module.named_parameters(remove_duplicate=False)}
            leaf = not module._modules or isinstance(module, ParametrizationList)
            if leaf and whole and whole <= own:
                yield from (name for name in found if name.startswith(prefix) and name not in whole)


def _merged(outputs: Iterable[_Output]) -> list[frozenset[int]]:
    """All parameters of each output's head; outputs with a layer in common are one."""
    merged: list[tuple[frozenset[int], frozenset[int]]] = []
    for out in outputs:
        layers, every = out.layers, out.all
        for one in [one for one in merged if one[0] & layers]:
            merged.remove(one)
            layers, every = one[0] | layers, one[1] | every
        merged.append((layers, every))
    return [every for _, every in merged]


def _postorder(ends: Iterable[Any]) -> Iterator[Any]:
    """Every node behind these, once, after all that it was made of."""
    seen: set[Any] = set()
    todo = [(end, False) for end in ends]
    while todo:
        node, done = todo.pop()
        if done:
            yield node
        elif node not in seen:
            seen.add(node)
            todo.append((node, True))
            todo += [(parent, False) for parent, _ in node.next_functions if parent is not None]


def _shape(node: Any, at: int) -> tuple[int, ...] | None:
    variable = getattr(node, "variable", None)
    if variable is not None:
        return tuple(variable.shape)
    made = node._input_metadata
    return tuple(made[at].shape) if at < len(made) else None


MIXES = re.compile(
    r"(Sparse)?(Ba?d?d?b|Addb?|b)?mm|(Mkldnn)?Linear|.*Convolution|Trilinear|Cdist|.*Rnn|.*Lstm|.*Gru|Embedding",
    re.IGNORECASE,
)
"""Nodes that multiply inputs with a weight over channels, by torch's names for them."""

MULTIPLIES = re.compile(r"Mul|Sub|Div")
"""Nodes that do so element by element, as in a product that is summed up by hand; they may also just scale."""

VECTOR = re.compile(r"Mv|Dot|Vdot")
"""Nodes that combine weights with a stored vector, as spectral norms do."""

LOOKS_UP = re.compile(r"Embedding|Index|Gather|Take")
"""Nodes that read the entries of a parameter that data selects."""

HIDING = ("CompiledFunction", "CheckpointFunction")
"""Nodes that stand for many."""

SAVED = ("_saved_mat2", "_saved_weight", "_saved_self")
