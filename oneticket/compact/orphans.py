"""Orphans: parameters that reach no loss, but still feel momentum and weight decay."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

NAME = "orphans"


def adopt(network: nn.Module, values: Tensor) -> None:
    """Give the network one more parameter, of one dimension, whose gradient is exactly zero at every backward pass.

    Not None, so that optimizers step it as they step a parameter whose gradient is zero.

    >>> net = nn.Linear(2, 1)
    >>> adopt(net, torch.tensor([3.0, 4.0]))
    >>> net(torch.ones(1, 2)).sum().backward()
    >>> orphans(net), net.orphans.grad
    (tensor([3., 4.]), tensor([0., 0.]))
    """
    network.register_parameter(NAME, nn.Parameter(values))
    network.register_forward_hook(_pass)


def orphans(network: nn.Module) -> Tensor:
    """The values of the orphans; none if none were adopted."""
    adopted = network._parameters.get(NAME)
    return torch.empty(0, device="cpu") if adopted is None else adopted.detach()


class _Beside(Function):
    """The output unchanged; the orphans are only attached to its graph."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, adopted: Tensor) -> Tensor:
        ctx.save_for_backward(adopted)
        return out.view_as(out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, torch.zeros_like(ctx.saved_tensors[0])


def _pass(network: nn.Module, _: object, out: Tensor) -> Tensor:
    return cast("Tensor", _Beside.apply(out, network.get_parameter(NAME)))  # type: ignore[no-untyped-call]
