"""Steps of a traced program: the layer for each of torch's operations that has a C form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import Node

from oneticket.export.c.layers import (
    Adaptive,
    Conv,
    Linear,
    Pad,
    Pool,
    Prelu,
    Softmax,
    conv_shape,
)
from oneticket.export.c.several import (
    Step,
    binary,
    concat,
    divided,
    expanded,
    permuted,
    subtracted,
    transposed,
)
from oneticket.export.c.walk import Refused, Walk, shape_of


def _pair(value: Any, default: int, lines: bool) -> tuple[int, int]:
    """A size along rows and columns; for one-dimensional layers, whose height is 1, along the columns only."""
    given = list(value) if isinstance(value, list | tuple) else [value]
    given = given or [default]
    return (default, int(given[0])) if lines else (int(given[0]), int(given[-1]))


def _lines(walk: Walk, node: Node, of: Node) -> bool:
    """Whether a step is of one dimension, as its name says; raises Refused for one image without the batch's axis."""
    lines = "1d" in str(node.target)
    if len(walk.image(of)) != (2 if lines else 3):
        raise Refused("its input has no axis of the batch, or no channels")
    return lines


def _linear(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    weight = walk.constant(a["weight"])
    if len(shape_of(node)) != 1:
        raise Refused("a linear layer on several positions of one input has no C form here; flatten before it")
    bias = (
        torch.zeros(len(weight), dtype=torch.float32, device="cpu") if a["bias"] is None else walk.constant(a["bias"])
    )
    walk.add(node, Linear, [a["input"]], weight=weight, bias=bias)


def _conv(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    weight, lines = walk.constant(a["weight"]), _lines(walk, node, a["input"])
    kernel = weight.unsqueeze(2) if lines else weight
    stride, dilation = _pair(a["stride"], 1, lines), _pair(a["dilation"], 1, lines)
    if a["padding"] == "same":
        rows, columns = (step * (size - 1) // 2 for step, size in zip(dilation, kernel.shape[2:], strict=True))
        padding = (rows, columns)
    else:
        padding = (0, 0) if a["padding"] == "valid" else _pair(a["padding"], 0, lines)
    bias = (
        torch.zeros(len(weight), dtype=torch.float32, device="cpu") if a["bias"] is None else walk.constant(a["bias"])
    )
    size = {"stride": stride, "padding": padding, "dilation": dilation, "groups": a["groups"]}
    walk.add(node, Conv, [a["input"]], weight=kernel, bias=bias, image=conv_shape(walk.image(a["input"])), **size)


def _batch_norm(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    if a["training"] or a["running_mean"] is None:
        raise Refused("it has no running statistics, and a single input has no batch statistics")
    scale = (walk.constant(a["running_var"]).double() + a["eps"]).rsqrt()
    scale = scale if a["weight"] is None else scale * walk.constant(a["weight"]).double()
    shift = -walk.constant(a["running_mean"]).double() * scale
    shift = shift if a["bias"] is None else shift + walk.constant(a["bias"]).double()
    walk.affine(node, a["input"], scale.float(), shift.float())


def _max_pool(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    _pool(walk, node, a, kind="max", dilation=_pair(a["dilation"], 1, _lines(walk, node, a["self"])))


def _avg_pool(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    _pool(walk, node, a, kind="avg", padded=a["count_include_pad"], divisor=a.get("divisor_override") or 0)


def _pool(walk: Walk, node: Node, a: dict[str, Any], **more: Any) -> None:
    lines = _lines(walk, node, a["self"])
    kernel = _pair(a["kernel_size"], 1, lines)
    stride = _pair(a["stride"], 1, lines) if a["stride"] else kernel
    size = {"kernel": kernel, "stride": stride, "padding": _pair(a["padding"], 0, lines), "ceil": a["ceil_mode"]}
    walk.add(node, Pool, [a["self"]], image=conv_shape(walk.image(a["self"])), **size, **more)


def _adaptive(kind: str) -> Step:
    def step(walk: Walk, node: Node, a: dict[str, Any]) -> None:
        _lines(walk, node, a["self"])
        walk.add(node, Adaptive, [a["self"]], kind=kind, image=conv_shape(walk.image(a["self"])))

    return step


def _reduced(kind: str) -> Step:
    def step(walk: Walk, node: Node, a: dict[str, Any]) -> None:
        shape = walk.image(a["self"])
        axes = sorted(axis % (len(shape) + 1) for axis in a.get("dim") or range(len(shape) + 1))
        if len(shape) < 2 or axes != [*range(2, len(shape) + 1)]:
            raise Refused(f"only means and maxima over all positions of a channel have a C form, got the axes {axes}")
        walk.add(node, Adaptive, [a["self"]], kind=kind, image=conv_shape(shape))

    return step


def _softmax(log: bool) -> Step:
    def step(walk: Walk, node: Node, a: dict[str, Any]) -> None:
        axis = a["dim"] % (len(shape_of(node)) + 1) - 1
        if axis < 0:
            raise Refused("a softmax along the batch has no C form")
        walk.add(node, Softmax, [a["self"]], axis=axis, log=log)

    return step


def _prelu(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    slope = walk.constant(a["weight"])
    if len(slope) == 1:
        walk.activate(node, a["self"], "leaky_relu", float(slope[0]))
    else:
        walk.add(node, Prelu, [a["self"]], slope=slope)


def _activation(name: str, *settings: str | float) -> Step:
    def step(walk: Walk, node: Node, a: dict[str, Any]) -> None:
        values = [a[one] if isinstance(one, str) else one for one in settings]
        values = [
            bound if value is None else value for value, bound in zip(values, (-math.inf, math.inf), strict=False)
        ]
        walk.activate(node, a["self"], name, *values)

    return step


def _negated(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    walk.affine(
        node,
        a["self"],
        -torch.ones(1, dtype=torch.float32, device="cpu"),
        torch.zeros(1, dtype=torch.float32, device="cpu"),
    )


def _padded(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    image, pads = walk.image(a["self"]), [*a["pad"]]
    if a.get("mode", "constant") != "constant" or a.get("value"):
        raise Refused("only padding with zeros has a C form")
    left, right, top, below = (pads + [0] * 4)[:4]
    if len(image) not in (2, 3) or len(pads) > 2 * (len(image) - 1) or min(pads) < 0:
        raise Refused("only padding of rows and columns has a C form, and no negative padding")
    walk.add(node, Pad, [a["self"]], image=conv_shape(image), before=(top, left), behind=(below, right))


def _gelu(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    walk.activate(node, a["self"], "gelu" if a["approximate"] == "none" else "gelu_tanh")


def _elu(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    if a["scale"] != 1 or a["input_scale"] != 1:
        raise Refused("an ELU with a scale has no C form here")
    walk.activate(node, a["self"], "elu", a["alpha"])


def _dropout(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    if a["train"]:
        raise Refused("its dropout is active in evaluation mode")
    walk.view(node, a["input"])


def _copied(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    walk.view(node, a["self"])  # float32 to float32: `shape_of` refuses any other


def _first(walk: Walk, node: Node, _: dict[str, Any]) -> None:
    if node.args[1] != 0:
        raise Refused("only the first tensor of an operation with several outputs has a C form")
    walk.view(node, node.args[0])


def _view(walk: Walk, node: Node, _: dict[str, Any]) -> None:
    walk.view(node, node.args[0])


STEPS: dict[str, Step] = {
    "linear": _linear,
    **dict.fromkeys(("conv1d", "conv2d"), _conv),
    "batch_norm": _batch_norm,
    **dict.fromkeys((f"max_pool{n}d{more}" for n in (1, 2) for more in ("", "_with_indices")), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), _avg_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), _adaptive("avg")),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), _adaptive("max")),
    "getitem": _first,
    "pad": _padded,
    "mean": _reduced("avg"),
    "amax": _reduced("max"),
    "add": binary("add"),
    "sub": binary("sub"),
    "mul": binary("mul"),
    "div": divided,
    "rsub": subtracted,
    "neg": _negated,
    **dict.fromkeys(("expand", "expand_as"), expanded),
    "permute": permuted,
    "transpose": transposed,
    **dict.fromkeys(("cat", "concat"), concat),
    "softmax": _softmax(log=False),
    "log_softmax": _softmax(log=True),
    "relu": _activation("relu"),
    "relu6": _activation("clamp", 0.0, 6.0),
    "hardtanh": _activation("clamp", "min_val", "max_val"),
    "clamp": _activation("clamp", "min", "max"),
    "clamp_min": _activation("clamp", "min", math.inf),
    "clamp_max": _activation("clamp", -math.inf, "max"),
    "leaky_relu": _activation("leaky_relu", "negative_slope"),
    "prelu": _prelu,
    "elu": _elu,
    "gelu": _gelu,
    "sigmoid": _activation("sigmoid"),
    "tanh": _activation("tanh"),
    "silu": _activation("silu"),
    "softplus": _activation("softplus", "beta", "threshold"),
    "hardswish": _activation("hardswish"),
    "hardsigmoid": _activation("hardsigmoid"),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _dropout),
    **dict.fromkeys(("flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze"), _view),
    **dict.fromkeys(("to", "_to_copy"), _copied),
    **dict.fromkeys(("contiguous", "clone", "detach", "alias", "_unsafe_view"), _view),
}
"""Operation of torch -> the function that makes its layer."""
