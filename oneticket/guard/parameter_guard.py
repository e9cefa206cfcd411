"""The guard of one parameter: its pattern of pruned weights, its gradient gate, and what is known to be zero."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from oneticket.ground.errors import GuardError
from oneticket.guard.packed import clear, packed
from oneticket.guard.zero import WORDS, Lies, hastened, some, written, zero
from oneticket.ticket.shards import PLAIN, local, shard, sharded


class ParameterGuard:
    """Keeps the pruned weights of one parameter at zero. It holds only a weak reference to the parameter.

    Of a sharded parameter it holds the part on this rank. `handle`: the gate's, if there is one.
    """

    __slots__ = ("_gated", "_lies", "_places", "_read", "handle", "keep", "shape", "sharded")

    def __init__(self, like: Tensor, remaining: Tensor) -> None:
        self.shape, self.sharded = remaining.shape, sharded(like)
        remaining, here = shard(remaining, like), local(like).detach()
        self.keep = torch.empty_like(here, dtype=torch.int8)
        self.keep.copy_(remaining).neg_()
        self._lies = Lies(self.keep)
        self._places = some(self.keep.as_strided((self.keep.numel(),), (1,)) == 0)
        self.handle: RemovableHandle | None = None
        self._gated: weakref.ref[Tensor] | None = None
        self._read: tuple[Callable[[], Tensor | None], int, int] = (lambda: None, 0, 0)

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
            self.keep, self._places = self.keep.to(device), self._places.to(device)
            self._lies = Lies(self.keep)
        if gate and not self.gates(parameter):
            self.ungate()
            self._gated = weakref.ref(parameter)
            hook = eager(self.gate)
            self.handle = parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    def gate(self, parameter: Tensor) -> None:
        """Zero the gradient at pruned weights."""
        if (grad := parameter.grad) is None:
            return
        if hastened(grad, self._lies):  # at every step of every parameter, so nothing else is asked then
            self._read = weakref.ref(grad), grad._version, grad.data_ptr()
            return
        if grad.layout != torch.strided:
            raise GuardError(f"a {grad.layout} gradient cannot be gated; use sparse=False or prune other weights")
        here = local(grad)
        self.clear(here)
        self._read = weakref.ref(here), here._version, here.data_ptr()

    def gated(self, grad: Tensor) -> bool:
        """Whether torch counted no write to a gradient since it was gated."""
        here, (read, version, address) = local(grad), self._read
        return read() is here and here._version == version and here.data_ptr() == address

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
                "parameter; "
                f"shard both in the same way"
            )
        zero(here, self.keep)

    def plain(self, parameter: Tensor) -> bool:
        """Whether a parameter's values can be read cheaply: on the CPU, in the same layout as the pattern.

        On other devices the step would have to wait for the answer. In float16 an optimizer may divide zero by zero.
        """
        here = local(parameter)
        return here.is_cpu and here.dtype != torch.float16 and here.stride() == self.keep.stride()

    def calm(self, parameter: Tensor) -> bool:
        """Whether a step that keeps zeros kept those of a plain parameter: its gradient is unchanged since the gate.

        Writes that torch does not count (`.data`, NumPy) mostly go everywhere, so some pruned weights are checked too.
        """
        grad = parameter.grad
        return (grad is None or self.gated(grad)) and not written(local(parameter), self._places)


def eager(hook: Callable[..., None]) -> Callable[..., None]:
    """The hook, kept out of graphs where a whole step is compiled: it asks what none knows.

    Torch's own wrapper is entered only there. Between the other calls of a training step it takes some 8 us.
    """
    outside = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]

    def called(*arguments: object) -> None:
        if torch.compiler.is_compiling():
            outside(*arguments)
        else:
            hook(*arguments)

    return called


def parameter_at(model: nn.Module, name: str) -> nn.Parameter | None:
    """`model.get_parameter(name)`, which takes 6 us where this takes one."""
    *path, last = name.split(".")
    module: nn.Module | None = model
    for part in path:
        module = module._modules.get(part) if module is not None else None
    return module._parameters.get(last) if module is not None else None
