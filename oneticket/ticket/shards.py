"""Shards: what of a tensor lies on this rank where ranks share it (DTensor), and what ranks must agree upon."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from oneticket.ground.errors import GuardError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether ranks share the tensor; False if DTensor was never imported, which would take a second."""
    if type(tensor) in PLAIN or "torch.distributed.tensor" not in sys.modules:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this rank, the same object every time; a plain tensor is its own.

    >>> weight = torch.ones(2)
    >>> local(weight) is weight
    True
    """
    return tensor if type(tensor) in PLAIN or not sharded(tensor) else tensor._local_tensor


def shard(value: Tensor, like: Tensor) -> Tensor:
    """The part of a whole value on this rank, cut as `like` is; the value itself for a plain tensor.

    Raises GuardError for placements other than `Shard` and `Replicate`.
    """
    if not sharded(like):
        return value
    if words := refusal(like):
        raise GuardError(words)
    from torch.distributed.tensor import Shard

    where = like.device_mesh.get_coordinate()
    if where is None:
        return value.new_empty(0)
    for at, count, placement in zip(where, like.device_mesh.shape, like.placements, strict=True):
        if isinstance(placement, Shard):
            # DTensor cuts as `chunk` does: the last pieces may be smaller, or be none.
            pieces, dim = value.chunk(count, placement.dim), placement.dim
            value = pieces[at] if at < len(pieces) else value.narrow(dim, 0, 0)
    return value


def refusal(tensor: Tensor) -> str:
    """Why a tensor's shards cannot be cut, in words; empty if they can, or if there are none."""
    if not sharded(tensor) or {type(placement).__name__ for placement in tensor.placements} <= {"Shard", "Replicate"}:
        return ""
    return (
        f"it lies on the ranks as {tuple(tensor.placements)}, and only Shard and Replicate can be held and written: "
        f"let one wrapper alone shard it, for example `fully_shard`"
    )


def write(target: Tensor, value: Tensor) -> None:
    """Write a whole value into a tensor in place; each rank writes what lies on it, and none is asked.

    >>> weight = torch.zeros(2)
    >>> write(weight, torch.tensor([1.0, 2.0]))
    >>> weight
    tensor([1., 2.])
    """
    with torch.no_grad():
        local(target).copy_(shard(value, target))


def reshard(model: nn.Module) -> None:
    """Give back the whole copies that FSDP lends its modules from a forward pass on: names then mean the shards."""
    if "torch.distributed.fsdp" in sys.modules:
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def agree(model: nn.Module, word: str) -> None:
    """Raise GuardError on every rank that shares the model unless all of them give the same word.

    One collective per process group; none for a model that is this process's own.
    """
    said = [(_rank(), word)]
    for group in _groups(model):
        heard: list[list[tuple[int, str]]] = [[] for _ in range(dist.get_world_size(group))]
        dist.all_gather_object(heard, said, group=group)
        said = sorted({each for one in heard for each in one})
    if len({word for _, word in said}) > 1:
        lines = "\n".join(f"rank {rank}: {word}" for rank, word in said)
        raise GuardError(f"the ranks do not agree, and nothing was written:\n{lines}")


def overlaps(tensor: Tensor) -> bool:
    """Whether entries share memory, as those of an expanded tensor do; torch would refuse in the midst of writing."""
    return any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))


def _groups(model: nn.Module) -> list[dist.ProcessGroup]:
    """Those whose members hold parts or copies of this model."""
    if not (dist.is_available() and dist.is_initialized()):
        return []
    copies = [module.process_group for module in model.modules() if isinstance(module, DistributedDataParallel)]
    meshes = dict.fromkeys(parameter.device_mesh for parameter in model.parameters() if sharded(parameter))
    parts = [mesh.get_group(dim) for mesh in meshes if mesh.get_coordinate() is not None for dim in range(mesh.ndim)]
    return [*copies, *parts]


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


PLAIN = (Tensor, nn.Parameter)
