"""Steps that combine several values, or repeat and order the numbers of one: sums, products, concatenations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from oneticket.export.c.layers import Binary, Channelwise, Concat, Shape
from oneticket.export.c.walk import Refused, Walk, shape_of

Step = Callable[[Walk, Node, dict[str, Any]], None]


def binary(kind: str) -> Step:
    """Two values of one shape, a value and a number for each of its channels, or a value and a constant."""

    def step(walk: Walk, node: Node, a: dict[str, Any]) -> None:
        one, other = (walk.repeated.get(each, each) for each in (a["self"], a["other"]))
        if a.get("alpha", 1) != 1:
            raise Refused("a sum with a factor (alpha) has no C form here")
        if one in walk.values and other in walk.values:
            whole = shape_of(node)
            if kind != "sub" and walk.image(one) != whole:
                one, other = other, one
            if walk.image(one) == walk.image(other) == whole:
                walk.add(node, Binary, [one, other], kind=kind)
            elif walk.image(one) == whole and walk.image(other) == _per_channel(whole):
                walk.add(node, Channelwise, [one, other], kind=kind)
            else:
                raise Refused(f"it combines values of different shapes, {walk.image(one)} and {walk.image(other)}")
            return
        less = kind == "sub" and one not in walk.values
        one, other = (one, other) if one in walk.values else (other, one)
        if walk.image(one) != shape_of(node):
            raise Refused(f"a constant makes {shape_of(node)} of {walk.image(one)}")
        number = walk.channels(other, shape_of(node))
        scale, shift = (number, torch.zeros_like(number)) if kind == "mul" else (torch.ones_like(number), number)
        walk.affine(node, one, -scale if less else scale, -shift if kind == "sub" and not less else shift)

    return step


def _per_channel(shape: Shape) -> Shape:
    """The shape of one number for each channel."""
    return shape[:1] + (1,) * (len(shape) - 1)


def expanded(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    """A number for each channel, repeated: what combines it with another value reads it where it stands."""
    of, shape = walk.image(a["self"]), shape_of(node)
    if of == shape:
        walk.view(node, a["self"])
    elif of == _per_channel(shape) and all(str(one.target).partition(".")[2] in REPEATING for one in node.users):
        walk.repeated[node] = a["self"]
    else:
        raise Refused("only a number for each channel is repeated in C, for a sum, a difference or a product")


def permuted(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    """Another order of axes that leaves the numbers in theirs."""
    shape, order = (1, *walk.image(a["self"])), [axis % node.meta["val"].dim() for axis in a["dims"]]
    if (moved := [axis for axis in order if shape[axis] > 1]) != sorted(moved):
        raise Refused("only axes of one number may change their places in C")
    walk.view(node, a["self"])


def transposed(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    """As `permuted`, of two axes."""
    order = [*range(node.meta["val"].dim())]
    one, other = a["dim0"], a["dim1"]
    order[one], order[other] = order[other], order[one]
    permuted(walk, node, {**a, "dims": order})


def divided(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    """A value over a constant."""
    if a["other"] in walk.values or a.get("rounding_mode") or walk.image(a["self"]) != shape_of(node):
        raise Refused("only divisions by a constant have a C form")
    number = 1 / walk.channels(a["other"], shape_of(node))
    if not bool(number.isfinite().all()):
        raise Refused("it divides by zero, or by a number whose inverse is beyond float32")
    walk.affine(node, a["self"], number, torch.zeros_like(number))


def subtracted(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    """The second less the first."""
    binary("sub")(walk, node, {**a, "self": a["other"], "other": a["self"]})


def concat(walk: Walk, node: Node, a: dict[str, Any]) -> None:
    """Values one after the other, along the channels."""
    if a["dim"] % (len(shape_of(node)) + 1) != 1:
        raise Refused("only concatenations along the channels have a C form")
    walk.add(node, Concat, a["tensors"])


REPEATING = ("add.Tensor", "sub.Tensor", "mul.Tensor")
"""Operations that take a repeated number for each channel."""
