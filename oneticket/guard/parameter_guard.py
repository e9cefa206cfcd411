"""The guard of one parameter: its pattern of pruned weights, its gradient gate, and what is known to be zero."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.autograd.graph import increment_version
from torch.compiler import is_dynamo_compiling
from torch.utils.hooks import RemovableHandle

from oneticket.ground.errors import GuardError
from oneticket.guard.packed import clear, packed
from oneticket.guard.zero import WORDS, Lies, some, zero
from oneticket.ticket.shards import PLAIN, local, shard, sharded


class ParameterGuard:
    """Keeps the pruned weights of one parameter at zero. It holds only a weak reference to the parameter.

    Of a sharded parameter it holds the part on this rank. `handle`: the gate's, if there is one. `places`: some pruned
    weights, as indices into memory.
    """

    __slots__ = ("_gated", "_lies", "_outside", "handle", "keep", "places", "read", "shape", "sharded")

    def __init__(self, like: Tensor, remaining: Tensor) -> None:
        self.shape, self.sharded = remaining.shape, sharded(like)
        remaining, here = shard(remaining, like), local(like).detach()
        self.keep = torch.empty_like(here, dtype=torch.int8)
        self.keep.copy_(remaining).neg_()
        self._lies = Lies(self.keep)
        self.places = some(self.keep.as_strided((self.keep.numel(),), (1,)) == 0)
        self._outside = outside()
        self.handle: RemovableHandle | None = None
        self._gated: weakref.ref[Tensor] | None = None
        self.read: tuple[Callable[[], Tensor | None], int, int] = (lambda: None, 0, 0)

    def fits(self, parameter: Tensor) -> bool:
        """Whether the pattern lies over this parameter, of which the same part must be here."""
        return (
            parameter.shape == self.shape
            and parameter.dtype in WORDS
            and sharded(parameter) == self.sharded
            and local(parameter).shape == self.keep.shape
        )

    def follow(self, parameter: Tensor, *, gate: bool) -> None:
        """Take this parameter's device and width and, if asked, gate it; it may be another object than last time."""
        if (device := local(parameter).device) != self.keep.device:
            self.keep, self.places = self.keep.to(device), self.places.to(device)
            self._lies = Lies(self.keep)
        self._lies.follow(self.keep)
        if gate and not self.gates(parameter):
            self.ungate()
            self._gated = weakref.ref(parameter)
            self.handle = parameter.register_post_accumulate_grad_hook(self.gate)  # type: ignore[no-untyped-call]

    def gate(self, parameter: Tensor) -> None:
        """Zero the gradient at pruned weights."""
        if is_dynamo_compiling():
            self._outside(self.gate, parameter)
            return
        if (grad := parameter.grad) is None:
            return
        lies = self._lies
        if (  # at every step of every parameter, so all of it stands here, and nothing else is asked then
            lies.kernel is not None
            and type(grad) is Tensor
            and grad.is_cpu
            and grad.layout == STRIDED
            and grad.stride() == lies.stride
            and grad.numel() == lies.count
        ):
            address = grad.data_ptr()
            lies.kernel(address, lies.address, lies.count, grad.element_size())
            increment_version(grad)
            self.read = weakref.ref(grad), grad._version, address
            return
        if grad.layout != torch.strided:
            raise GuardError(f"a {grad.layout} gradient cannot be gated; use sparse=False or prune other weights")
        here = local(grad)
        self.clear(here)
        self.read = weakref.ref(here), here._version, here.data_ptr()

    def gated(self, grad: Tensor) -> bool:
        """Whether torch counted no write to a gradient since it was gated."""
        read, version, address = self.read
        here = read()
        if here is not grad and (here is None or here is not local(grad)):
            return False
        return here._version == version and here.data_ptr() == address

    def gates(self, parameter: Tensor) -> bool:
        """Whether the gate hangs on this very parameter."""
        hooks = getattr(parameter, "_post_accumulate_grad_hooks", None) or {}
        return self.handle is not None and self.handle.id in hooks

    def ungate(self) -> None:
        """Remove the gate, and its hook if it holds nothing else."""
        if self.handle is not None:
            self.handle.remove()
            parameter = self._gated() if self._gated is not None else None
            if parameter is not None and not parameter._post_accumulate_grad_hooks:
                parameter._post_accumulate_grad_hooks = None  # type: ignore[assignment]
        self.handle = self._gated = None

    def clear(self, tensor: Tensor) -> None:
        """Zero weights, gradient or a moment at pruned weights."""
        here = local(tensor)
        if type(here) not in PLAIN and packed(here):
            clear(here, self.keep)
            return
        if here.shape != self.keep.shape:
            raise GuardError(
                f"this rank has {tuple(here.shape)} of a gradient or moment, but {tuple(self.keep.shape)} of its "
                "parameter; shard both in the same way"
            )
        zero(here, self.keep)

    def plain(self, parameter: Tensor) -> bool:
        """Whether a parameter's values can be read cheaply: on the CPU, in the same layout as the pattern.

        On other devices the step would have to wait for the answer. In float16 an optimizer may divide zero by zero.
        """
        here = local(parameter)
        return here.is_cpu and here.dtype != torch.float16 and here.stride() == self.keep.stride()


def eager(hook: Callable[..., None]) -> Callable[..., None]:
    """The hook, kept out of graphs where a whole step is compiled: it asks what none knows.

    Torch's own wrapper is entered only there. Between the other calls of a training step it takes some 8 us.
    """
    away = outside()

    def called(*arguments: object) -> None:
        if is_dynamo_compiling():
            away(hook, *arguments)
        else:
            hook(*arguments)

    return called


@cache
def outside() -> Callable[..., None]:
    """Calls a hook with its arguments outside of any graph: what `eager` does, for hooks that ask by themselves.

    `torch.compiler.disable` would import torch's compiler, a second of CPU time, for loops too that compile nothing.
    What torch's optimizers use instead imports it with the first call, and this one is called only where it compiles.
    """
    return _disable_dynamo(_call)


def _call(hook: Callable[..., None], *arguments: object) -> None:
    hook(*arguments)


def parameter_at(model: nn.Module, name: str) -> nn.Parameter | None:
    """`model.get_parameter(name)`, which takes 6 us where this takes one."""
    *path, last = name.split(".")
    module: nn.Module | None = model
    for part in path:
        module = module._modules.get(part) if module is not None else None
    return module._parameters.get(last) if module is not None else None


STRIDED = torch.strided
