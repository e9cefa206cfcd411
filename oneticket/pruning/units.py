"""Units: which weights are pruned together.

| granularity | a unit                                                                                                |
|-------------|-------------------------------------------------------------------------------------------------------|
| `channel`   | all weights of a layer that read one input channel: an unread channel cannot reach the loss           |
| `filter`    | all weights of a layer that make one output channel, of recurrent layers in all their gates           |
| `block:RxC` | R x C weights of the matrix (outputs, inputs * places of the kernel)                                  |
| `head`      | all weights of one attention head: its rows of query, key and value and its columns of the output     |
| `N:M`       | no whole unit is pruned: of each M weights of neighbouring inputs of one output, N stay               |

A unit's score is the mean of its remaining weights' scores. Units of one layer have one size. The packed query, key and
value of `nn.MultiheadAttention` are one layer, with inputs in common. Controls that shuffle a ticket's mask shuffle
single weights whatever its units: they keep the number of remaining weights, but not the units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from oneticket.ground.errors import WrongPruneError
from oneticket.pruning.layers import WeightLayout, along, layout
from oneticket.pruning.spec import PruningSpec

Parts = tuple[Tensor, Tensor]
"""Two whole-numbered tensors whose sum broadcasts to a weight's shape and is, per weight, the number of its unit."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Tensors with units in common, of which a level takes its share.

    `parts`: tensor name -> the numbers of its weights' units. `shapes`: tensor name -> shape. `count`: how many units.
    """

    parts: Mapping[str, Parts]
    shapes: Mapping[str, torch.Size]
    count: int

    def of(self, name: str) -> Tensor:
        """Per weight of that tensor, the number of its unit: int64 of the tensor's shape."""
        first, second = self.parts[name]
        return (first + second).expand(self.shapes[name])

    @property
    def size(self) -> int:
        """How many weights a unit has."""
        return sum(map(prod, self.shapes.values())) // self.count


@dataclass(frozen=True, kw_only=True)
class Units:
    """Families by the first of their tensors' names; tensors of no family are not pruned.

    `keep`: 0 where units go as a whole; else weights go singly, and so many of every unit stay.
    """

    families: Mapping[str, Family]
    keep: int = 0


def find(spec: PruningSpec, model: nn.Module, names: Iterable[str]) -> Units | None:
    """The units of the model's parameters of these names; None of single weights.

    Raises PruneError for a tensor that has no such units: sizes that do not divide, or a layer whose inputs and outputs
    are not known; for `head` also for a model without attention that is known.

    >>> net = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Flatten(), nn.Linear(8, 2))
    >>> found = find(PruningSpec(granularity="channel", scope="layerwise"), net, ["0.weight"])
    >>> found.families["0.weight"].of("0.weight")[:, :, 0, 0].tolist()
    [[0, 1], [0, 1], [0, 1], [0, 1], [2, 3], [2, 3], [2, 3], [2, 3]]
    """
    kind, keep, _ = spec.units
    if kind == "weight":
        return None
    wanted = set(names)
    if kind == "head":
        return _heads(model, wanted)
    families: dict[str, Family] = {}
    for name in sorted(wanted):
        shape, how = model.get_parameter(name).shape, layout(model, name)
        if how is None or not prod(shape):
            raise WrongPruneError(
                f"granularity {spec.granularity}: the inputs and outputs of {name} are not known; {_out(name)}"
            )
        if kind in ("channel", "filter"):
            parts = how.inputs(shape) if kind == "channel" else how.outputs(shape)
        else:
            parts = _grid(spec, name, how, shape)
        families[name] = _family({name: parts}, {name: shape})
    return Units(families=families, keep=keep if kind == "N:M" else 0)


def _grid(spec: PruningSpec, name: str, how: WeightLayout, shape: torch.Size) -> Parts:
    """Blocks of the matrix (outputs, inputs * places); or of each output and place, groups of neighbouring inputs."""
    kind, first, wide = spec.units
    outputs, inputs, places = shape[how.out], shape[1 - how.out], prod(shape[2:])
    high, width, what = (first, inputs * places, "weights") if kind == "block" else (1, inputs, "inputs")
    own = inputs // how.groups if how.inputs_first and kind == "N:M" else width
    if outputs % high or own % wide:
        raise WrongPruneError(
            f"granularity {spec.granularity}: {name} has {outputs} outputs of {own} {what} each, no multiple of "
            f"{high} x {wide}; {_out(name)}"
        )
    columns = torch.arange(width, device="cpu") // wide
    if kind == "N:M":
        columns = columns[:, None] * places + torch.arange(places, device="cpu")
    rows = torch.arange(outputs, device="cpu") // high * (inputs * places // wide)
    return along(rows, how.out, shape), columns.view([1 if n == how.out else size for n, size in enumerate(shape)])


def _heads(model: nn.Module, wanted: set[str]) -> Units:
    """Every known attention's heads, as far as its weights are among those wanted."""
    families: dict[str, Family] = {}
    for place, module in model.named_modules():
        for counted, makers, reader in ATTENTION:
            heads, prefix = _get(module, counted), f"{place}." if place else ""
            names = [f"{prefix}{name}" for name in (*makers, reader) if isinstance(_get(module, name), Tensor)]
            if not isinstance(heads, int) or len(names) < 2 or names[-1] != f"{prefix}{reader}":
                continue
            parts = {name: _head(model, name, heads, names[-1]) for name in names if name in wanted}
            if parts:
                families[min(parts)] = _family(parts, {name: model.get_parameter(name).shape for name in parts})
    if not families:
        raise WrongPruneError(
            f"granularity head: {type(model).__name__} has no attention that is known among the weights to be pruned: "
            "nn.MultiheadAttention and the attentions of Transformers and timm; take another granularity"
        )
    return Units(families=families)


def _head(model: nn.Module, name: str, heads: int, reader: str) -> Parts:
    """Head by head, what makes queries, keys and values, packed or not, and what reads the heads' outputs."""
    shapes, how = {each: model.get_parameter(each).shape for each in (name, reader)}, layout(model, name)
    end = layout(model, reader)
    if how is None or end is None:
        raise WrongPruneError(
            f"granularity head: the inputs and outputs of {name} and {reader} are not known; {_out(name)}"
        )
    whole, mine = shapes[reader][1 - end.out], shapes[name][(1 - how.out) if name == reader else how.out]
    if whole % heads or mine % whole:
        raise WrongPruneError(
            f"granularity head: {name} makes {mine} features where {heads} heads of {reader} read {whole}, so "
            f"that heads have weights in common; {_out(name)}"
        )
    dim = 1 - how.out if name == reader else how.out
    number = torch.arange(mine, device="cpu") % whole // (whole // heads)
    return along(number, dim, shapes[name]), torch.zeros(1, dtype=torch.long, device="cpu")


def _get(module: nn.Module, path: str) -> object:
    thing: object = module
    for part in path.split("."):
        thing = getattr(thing, part, None)
    return thing


def _family(parts: Mapping[str, Parts], shapes: Mapping[str, torch.Size]) -> Family:
    return Family(parts=parts, shapes=shapes, count=max(int(a.max() + b.max()) + 1 for a, b in parts.values()))


def _out(name: str) -> str:
    return f"leave it out with the pattern '!{name}' (model.prunable)"


ATTENTION: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("num_heads", ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"), "out_proj.weight"),
    ("num_heads", ("q_proj.weight", "k_proj.weight", "v_proj.weight"), "out_proj.weight"),
    ("num_attention_heads", ("q_proj.weight", "k_proj.weight", "v_proj.weight"), "o_proj.weight"),
    ("config.num_attention_heads", ("q_proj.weight", "k_proj.weight", "v_proj.weight"), "o_proj.weight"),
    ("self.num_attention_heads", ("self.query.weight", "self.key.weight", "self.value.weight"), "output.dense.weight"),
    ("num_heads", ("c_attn.weight", "q_attn.weight"), "c_proj.weight"),
    ("num_heads", ("qkv.weight",), "proj.weight"),
)
"""Attention by its parts: where it stores its number of heads, the layers that make them, the layer that reads them."""
