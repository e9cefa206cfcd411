"""One parameter's hold: its pattern of pruned weights, the gate on its gradient, and what is known to be zero there.

Zeroing is a bitwise AND with a pattern of 0 and -1 on the tensor seen as whole numbers: exact +0.0 whatever stood
there (NaN and infinity too), in place. The pattern is one byte per weight and is widened block by block, in room that
is borrowed for the pass. Medians for 300 x 784 weights of which 10 % live, one thread, blocks of 128 KiB: so 46 us,
and 26 us with a pattern as wide as the weights, which would take four bytes; widened in one piece 69. Slower:
`mul_(bool)`, which keeps NaN, 120, `masked_fill_` 280, `torch.where` 310. Four bytes to a word, shifted out as they
are used, took 55, and 34 with two read by each of torch's `threshold` and `hardshrink`; within a training step, where
caches are cold, neither was faster. There larger blocks are: all gates of a step of an MLP of 1 M weights took 0.48 ms
with blocks of 1 MiB, 0.58 with 256 KiB, and 0.66 with 128 KiB in room that was kept (in turn, busy machine, n = 60).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from oneticket.ground.errors import GuardError
from oneticket.guard.packed import clear, packed, values
from oneticket.ticket.shards import local, shard, sharded

MANY = 16  # tensors that a hold remembers before it forgets those that are gone


class ParameterGuard:
    """Keeps the pruned weights of one parameter at zero. It refers to the parameter weakly, so it keeps none alive.

    Of a sharded parameter it holds what lies on this rank.
    """

    __slots__ = ("_gated", "_handle", "_places", "_seen", "keep", "shape", "sharded")

    def __init__(self, like: Tensor, living: Tensor) -> None:
        self.shape, self.sharded = living.shape, sharded(like)
        living, here = shard(living, like), local(like).detach()
        self.keep = torch.empty_like(here, dtype=torch.int8)
        self.keep.copy_(living).neg_()
        self._places = _some(~living.flatten()).to(here.device)
        self._handle: RemovableHandle | None = None
        self._gated: weakref.ref[Tensor] | None = None
        self._seen: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}

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
        if not self.trusts(parameter):
            self.keep = self.keep.to(local(parameter).device)
        if gate and not self.gates(parameter):
            self.ungate()
            self._gated = weakref.ref(parameter)
            hook = eager(self.gate)
            self._handle = parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    def gate(self, parameter: Tensor) -> None:
        """Zero the gradient at pruned weights."""
        if parameter.grad is None:
            return
        if parameter.grad.layout != torch.strided:
            raise GuardError(
                f"a {parameter.grad.layout} gradient cannot be gated; use sparse=False or prune other weights"
            )
        self.clear(parameter.grad)

    def gates(self, parameter: Tensor) -> bool:
        """Whether the gate hangs on this very parameter."""
        hooks = getattr(parameter, "_post_accumulate_grad_hooks", None) or {}
        return self._handle is not None and self._handle.id in hooks

    def ungate(self) -> None:
        """Take the gate off, and the place where it hung if nothing else hangs there."""
        if self._handle is not None:
            self._handle.remove()
            parameter = self._gated() if self._gated is not None else None
            if parameter is not None and not parameter._post_accumulate_grad_hooks:
                parameter._post_accumulate_grad_hooks = None  # type: ignore[assignment]
        self._handle = self._gated = None

    def clear(self, tensor: Tensor) -> None:
        """Zero weights, gradient or a moment at pruned weights."""
        here = local(tensor)
        if packed(here):
            clear(here, self.keep)
            return
        if here.shape != self.keep.shape:
            raise GuardError(
                f"here lie {tuple(here.shape)} of a gradient or moment and {tuple(self.keep.shape)} of its parameter; "
                f"both must be sharded alike"
            )
        zero(here, self.keep)
        self.trust(here)

    def trust(self, tensor: Tensor) -> None:
        """Take a tensor for zero at pruned weights, as it is now."""
        if len(self._seen) > MANY:
            self._seen = {key: seen for key, seen in self._seen.items() if seen[0]() is not None}
        here = local(tensor)
        self._seen[id(here)] = (weakref.ref(here), here._version, here.data_ptr())

    def trusts(self, tensor: Tensor) -> bool:
        """Whether torch counted no write to the tensor since then."""
        here = local(tensor)
        seen = self._seen.get(id(here))
        return seen is not None and seen[0]() is here and seen[1] == here._version and seen[2] == here.data_ptr()

    def calm(self, parameter: Tensor) -> bool:
        """Whether a step that keeps zeros kept these: the gradient is as it was gated, and no sign of a write unseen.

        What torch does not count (`.data`, NumPy) mostly goes everywhere, so some pruned weights are looked at; on the
        CPU only: elsewhere the step would have to wait, and nothing is calm. In float16 an optimizer may divide by 0.
        """
        here = local(parameter)
        if not here.is_cpu or here.dtype == torch.float16:
            return False
        seen = parameter.grad is None or self.trusts(parameter.grad)
        return seen and not torch.take(here.detach(), self._places).any()


def eager(hook: Callable[..., None]) -> Callable[..., None]:
    """The hook, kept out of graphs where a whole step is compiled: it asks what none knows. Costs 0.3 us a call."""
    return torch.compiler.disable(hook)  # type: ignore[no-any-return, no-untyped-call]


def zero(tensor: Tensor, keep: Tensor, *, room: int | None = None) -> None:
    """Set entries to exactly +0.0 where `keep` is 0, in place; others keep their bits where `keep` is -1.

    `room`: bytes of a block, `ROOM` unless told.
    """
    bits, keep = tensor.detach().view(WORDS[tensor.dtype]), keep.to(tensor.device)
    if not bits.is_cpu or bits.stride() != keep.stride():
        bits.bitwise_and_(keep)
        return
    # Block by block, so that what is widened stays in the cache; what has the strides of `keep` lies without gaps.
    count = bits.numel()
    wide = torch.empty(max(1, min(count, (room or ROOM) // bits.element_size())), dtype=bits.dtype)
    bits, keep = (each.as_strided((count,), (1,)) for each in (bits, keep))
    for at in range(0, count, len(wide)):
        block = bits[at : at + len(wide)]
        block.bitwise_and_(wide[: len(block)].copy_(keep[at : at + len(wide)]))


def _some(dead: Tensor) -> Tensor:
    """Flat positions of some pruned weights, the first among them, spread over the tensor."""
    among = torch.arange(0, len(dead), max(1, len(dead) // (64 * PLACES)))
    found = among[dead[among]]
    found = found[:: max(1, len(found) // PLACES)][:PLACES]
    first = dead.view(torch.uint8).argmax().view(1) if dead.any() else among[:0]
    return torch.cat([first, found])


def leaks(tensor: Tensor, keep: Tensor) -> int:
    """The number of entries on this rank that are not zero where `keep` is 0."""
    here = values(local(tensor)).detach()
    return int(((here != 0) & (keep.to(here.device) == 0)).count_nonzero())


WORDS: dict[torch.dtype, torch.dtype] = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


def parameter_at(model: nn.Module, name: str) -> nn.Parameter | None:
    """`model.get_parameter(name)`, which takes 6 us where this takes one."""
    *path, last = name.split(".")
    module: nn.Module | None = model
    for part in path:
        module = module._modules.get(part) if module is not None else None
    return module._parameters.get(last) if module is not None else None


PLACES = 64
"""Pruned weights of a parameter that are looked at after a step."""

ROOM = 2**20
"""Bytes of a block of the pattern that is widened at once."""
