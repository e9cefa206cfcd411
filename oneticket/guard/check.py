"""What a guard can hold: the parameters that a mask names and the optimizers that step them; the rest is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer, SparseAdam

from oneticket.ground.errors import GuardError
from oneticket.guard.optimizer_state import flat, moments
from oneticket.guard.packed import packed
from oneticket.guard.zero import WORDS, leaks
from oneticket.ticket.mask import Mask
from oneticket.ticket.match import match, plain
from oneticket.ticket.names import listed
from oneticket.ticket.shards import local, overlaps, refusal


def steppers(given: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """The optimizers to watch: those given, those that they keep within, and what a `THIN` wrapper stands for."""
    todo = [*given] if isinstance(given, Sequence) else [given]
    found: list[Optimizer] = []
    while todo:
        one = todo.pop(0)
        inner = getattr(one, "optimizer", None)
        if type(one).__module__.partition(".")[0] in THIN and isinstance(inner, Optimizer):
            todo.insert(0, inner)
            continue
        within = {name: value for name, value in getattr(one, "__dict__", {}).items() if isinstance(value, Optimizer)}
        if not isinstance(one, Optimizer):
            raise GuardError(f"expected torch optimizers, got {type(one).__name__}{_advice(one, within)}")
        if not hasattr(one, "_optimizer_step_post_hooks") or not getattr(type(one).step, "hooked", False):
            raise GuardError(
                f"{type(one).__name__}.step runs no step hooks, so what it writes cannot be held; let its __init__ "
                f"call that of torch.optim.Optimizer{_advice(one, within)}"
            )
        if all(one is not other for other in found):
            found.append(one)
            todo[:0] = within.values()
    return found


def _advice(wrapper: object, within: Iterable[str]) -> str:
    return "".join(
        f"; hand over its `.{name}` instead, if {type(wrapper).__name__}.step writes no weights of its own"
        for name in within
    )


def named(model: nn.Module, mask: Mask) -> Mask:
    """The mask under the model's own names, which may differ by wrappers or a prefix; raises GuardError."""
    found = dict(model.named_parameters(remove_duplicate=False))
    goes = match(mask, found, error=GuardError)
    if absent := set(mask) - set(goes):
        raise GuardError(
            f"the mask has names that are no parameters of the model: {listed(absent)}; the model has {listed(found)}"
        )
    return renamed(mask, goes)


def renamed(mask: Mask, names: Mapping[str, str]) -> Mask:
    """The same mask under other names."""
    shapes = mask.shapes
    return Mask.unpack(
        {names[name]: bits for name, bits in mask.pack().items()}, {names[name]: shapes[name] for name in mask}
    )


def digest(mask: Mask) -> str:
    """The mask's digest, the same for any wrapper of the model."""
    names = {name: plain(name) for name in mask}
    return (renamed(mask, names) if len(set(names.values())) == len(names) else mask).digest


def to_hold(model: nn.Module, optimizers: Sequence[Optimizer], mask: Mask, *, gates: bool) -> list[str]:
    """The names to hold, each of tied ones, without those of a full mask; raises GuardError for what cannot be held."""
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise GuardError("FSDP1 flattens parameters, and a mask has no place in that; use FSDP2's `fully_shard`")
    found = dict(model.named_parameters(remove_duplicate=False))
    first: dict[int, str] = {}
    for name, shape in mask.shapes.items():
        if words := _unfit(found[name], shape):
            raise GuardError(f"{name}: {words}")
        other = first.setdefault(id(found[name]), name)
        if other != name and not torch.equal(mask[other], mask[name]):
            raise GuardError(f"{name}: tied to {other} in the model, but their masks differ")
    counts = mask.counts
    names = [name for name, shape in mask.shapes.items() if counts[name] < math.prod(shape)]
    loose = [n for n in names if found[n].requires_grad and not any(owns(one, found[n]) for one in optimizers)]
    if loose or not optimizers:
        raise GuardError(
            f"no optimizer has {listed(loose)}; hand over the optimizer that steps it, or freeze it; where the model "
            f"was sharded or converted after its optimizer was made, make the optimizer anew"
        )
    for name in names:
        for optimizer in optimizers:
            if words := _unlike(optimizer, found[name], mask[name], gates=gates):
                raise GuardError(f"{name}: {words}")
    return names


def owns(optimizer: Optimizer, parameter: Tensor) -> bool:
    """Whether the parameter is in one of the optimizer's groups."""
    return any(one is parameter for group in optimizer.param_groups for one in group["params"])


def _unfit(parameter: nn.Parameter, shape: tuple[int, ...]) -> str:
    if is_lazy(parameter) or parameter.is_meta:
        return "the parameter has no values yet; materialise the model first"
    if tuple(parameter.shape) != shape or parameter.dtype not in WORDS or parameter.layout != torch.strided:
        return (
            f"expected a dense parameter of shape {shape} and dtype {', '.join(map(str, WORDS))}, "
            f"got {tuple(parameter.shape)}, {parameter.dtype}, {parameter.layout}"
        )
    if packed(local(parameter)):
        return f"its values lie in a {type(local(parameter)).__name__}, of which no single one can be written"
    if overlaps(local(parameter)):
        return "an expanded tensor, whose entries share memory; make the parameter of its `.clone()`"
    if parameter.is_inference():
        return "made in inference mode, so nothing may write to it outside; make the model outside of it"
    return refusal(parameter)


def _unlike(optimizer: Optimizer, parameter: nn.Parameter, remaining: Tensor, *, gates: bool) -> str:
    """Why the gradient, or the optimizer's state of the parameter, cannot be held."""
    grad = parameter.grad
    sparse = (grad is not None and grad.layout != torch.strided) or (
        isinstance(optimizer, SparseAdam) and owns(optimizer, parameter)
    )
    if gates and sparse:
        return "a sparse gradient cannot be gated; use sparse=False and a dense optimizer, or rule='project'"
    for tensor in (*moments(optimizer, parameter), *([grad] if grad is not None and gates else [])):
        if local(tensor).shape != local(parameter).shape:
            return "its gradient or moments are not sharded as it is; make the optimizer after the model is sharded"
        if overlaps(local(tensor)):
            return "its gradient or a moment is an expanded tensor, whose entries share memory; make it its `.clone()`"
    if gates and any(leaks(part, remaining) for part in flat(optimizer, parameter)):
        return (
            f"{type(optimizer).__name__} has stepped, and its flat state would write to pruned weights; attach before "
            f"its first step, or make a new one"
        )
    return ""


THIN = frozenset({"accelerate", "lightning", "lightning_fabric", "pytorch_lightning"})
"""Packages whose wrappers of optimizers step the one inside, `.optimizer`, and write nothing themselves."""
