"""Whether an optimizer's tensors are unchanged, so that nothing wrote to them in between."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter, is_
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from oneticket.guard.optimizer_state import moments
from oneticket.ticket.shards import PLAIN, local, sharded


class Steady:
    """Parameters under their names in a model, with their moments in an optimizer, as they are now.

    `same` compares torch's write counts of every tensor, and whether the same tensors and `hooks` are still in place.
    Moments that it cannot check (in lists, or of a class of their own) are never the same. It keeps references to all
    of them, so only the optimizer's hooks may hold it.

    >>> import torch
    >>> model = nn.Linear(2, 2)
    >>> sgd = torch.optim.SGD(model.parameters())
    >>> steady = Steady(model, ["weight"], sgd)
    >>> steady.same(sgd), nn.init.zeros_(model.weight) is model.weight, steady.same(sgd)
    (True, True, False)
    """

    __slots__ = (
        *("_addresses", "_dicts", "_keys", "_known", "_shards", "_sizes", "_state", "_states"),
        *("_tensors", "_things", "_trained", "_versions", "_weights"),
    )

    def __init__(
        self, model: nn.Module, names: Iterable[str], optimizer: Optimizer, hooks: Iterable[RemovableHandle] = ()
    ) -> None:
        hangs: list[tuple[Any, Any, Any]] = []
        self._state = optimizer.state
        self._weights: list[nn.Parameter] = []
        self._tensors: list[Tensor] = []
        self._states: list[Any] = []
        plain = True
        for name in names:
            *path, last = name.split(".")
            module: Any = model
            for part in path:
                hangs.append((module._modules, part, module._modules[part]))
                module = module._modules[part]
            weight = module._parameters[last]
            state = optimizer.state.get(weight)
            hangs += [(module._parameters, last, weight), (optimizer.state, weight, state)]
            hangs += [(state, key, value) for key, value in (state or {}).items()]
            plain &= not any(isinstance(value, list | tuple) for value in (state or {}).values())
            self._weights.append(weight)
            self._tensors += [weight, *moments(optimizer, weight)]
            self._states += [] if state is None else [state]
        for one in hooks:
            where = one.hooks_dict_ref()
            hangs += [] if where is None else [(where, one.id, where.get(one.id))]
        once = {(id(where), key): (where, key, thing) for where, key, thing in hangs}
        self._dicts, self._keys, self._things = zip(*once.values(), strict=True)
        here = [*map(local, self._tensors)]
        self._known = (
            plain and all(type(one) in PLAIN for one in here) and all(isinstance(one, dict) for one in self._dicts)
        )
        self._sizes = [*map(len, self._states)]
        self._shards = [(one, part) for one, part in zip(self._tensors, here, strict=True) if sharded(one)]
        self._tensors = here
        self._addresses = [*map(ADDRESS, self._tensors)] if self._known else []
        self._trained = [*map(TRAINED, self._weights)]
        self.renew()

    def renew(self) -> None:
        """Take what was written into the tensors, where they lie, for known."""
        if self._known:
            self._versions = [*map(VERSION, self._tensors)]

    def same(self, optimizer: Optimizer) -> bool:
        """Whether these are the very tensors, where they were, and torch counted no write to them."""
        return (
            self._known
            and optimizer.state is self._state
            and all(map(is_, map(dict.get, self._dicts, self._keys), self._things))
            and [*map(VERSION, self._tensors)] == self._versions
            and [*map(ADDRESS, self._tensors)] == self._addresses
            and [*map(TRAINED, self._weights)] == self._trained
            and [*map(len, self._states)] == self._sizes
            and not (self._shards and any(local(one) is not part for one, part in self._shards))
        )


VERSION, ADDRESS, TRAINED = attrgetter("_version"), Tensor.data_ptr, attrgetter("requires_grad")
