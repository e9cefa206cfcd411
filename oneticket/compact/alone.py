"""While a smaller network trains, the model's own copy of its weights takes no memory, and nobody can read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Never, final

import torch
from torch import nn

from oneticket.compact.compact import Compact
from oneticket.compact.proof import known
from oneticket.ground.errors import WrongPruneError


@contextmanager
def alone(small: Compact) -> Iterator[None]:
    """Within, the model's masked weights are `Absent`; then, also after an error, the model is `restore`d.

    The network has all of them, and the model's would be as they were before the training. Parameters stay the same
    objects. Weights stay where they are if not on the CPU, if they share memory with others, or if the model has code
    other than torch's or ours, which might read them.
    """
    away: list[tuple[Any, torch.Size, tuple[int, ...]]] = []
    try:
        if small.network is not small.model and known(small.model):
            for name in small.whole:
                one: Any = small.model.get_parameter(name)
                if _whole(small, name, one):
                    away.append((one, one.shape, one.stride()))
                    one.data = one.new_empty(0)
                    one.__class__ = Absent
        yield
    finally:
        for one, shape, stride in away:
            one.__class__ = nn.Parameter
            one.data = torch.empty_strided(shape, stride, dtype=one.dtype, device="cpu").zero_()
        small.restore()


@final
class Absent(nn.Parameter):
    """A parameter whose values are elsewhere: any use raises PruneError.

    An empty parameter sums to 0, and a layer with one on the meta device gives whatever its memory holds.
    """

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Never:
        """Raise for whatever torch is asked to do with it."""
        raise WrongPruneError(
            f"{getattr(func, '__name__', 'torch')}: a smaller network has this model's weights while it trains; "
            "read them from that network, or after the training"
        )


def _whole(small: Compact, name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter's memory is its own, and the network has all of it: of frozen ones it lacks what is cut."""
    if type(parameter) is not nn.Parameter or parameter.device.type != "cpu":
        return False
    own = parameter.untyped_storage().nbytes() == parameter.numel() * parameter.element_size()
    return own and (name not in small.cuts or parameter.requires_grad)
