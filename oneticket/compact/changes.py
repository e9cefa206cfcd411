"""Changes of a model that no step of the smaller network in its place would follow: each is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from oneticket.compact.compact import HOOKS
from oneticket.compact.mirror import Mirrors
from oneticket.compact.shown import BARE
from oneticket.ground.errors import GuardError
from oneticket.ticket.names import listed


class Changes:
    """What the model was when the smaller network was made of it."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors, self._kind = mirrors, type(mirrors.small.model).__name__
        modules = [*mirrors.small.model.named_modules()]
        self._hooks = [(name, vars(module)[kind]) for name, module in modules for kind in HOOKS]
        self._count = sum(len(hooks) for _, hooks in self._hooks)
        self._parts = [
            (f"{name}.{last}".strip("."), held, last, part)
            for name, module in modules
            for held in (module._parameters, module._buffers, module._modules)
            for last, part in held.items()
        ]
        self._trains = [(pair, pair.whole.requires_grad) for pair in mirrors.pairs if pair.trains]

    def check(self, optimizer: Optimizer) -> None:
        """Raise GuardError for what a step would not follow."""
        with BARE():
            self.kept()
            self._requires()
            stepped = {id(one) for group in optimizer.param_groups for one in group["params"]}
            if added := [pair.name for pair, _ in self._trains if id(pair.whole) in stepped]:
                raise GuardError(
                    f"{listed(added)}: added to the optimizer from {self._kind}, in whose place a smaller network is "
                    "stepped now; close it, and make another"
                )
            self._gradients()

    def kept(self) -> None:
        """Raise GuardError where modules or tensors of the model were replaced, or hooked."""
        if gone := [name for name, held, last, part in self._parts if held.get(last) is not part]:
            raise GuardError(
                f"{listed(gone)}: replaced in {self._kind}, of which the smaller network knows nothing; close it, and "
                "make another"
            )
        if sum([len(hooks) for _, hooks in self._hooks]) != self._count:
            name = next((name for name, hooks in self._hooks if hooks), "")
            raise GuardError(
                f"{name or self._kind}: has hooks by now, which do not run in the smaller network; register them on "
                "the network's modules, or hold the mask by attach"
            )

    def _requires(self) -> None:
        if changed := [pair.name for pair, was in self._trains if pair.whole.requires_grad != was]:
            raise GuardError(
                f"{listed(changed)}: requires_grad was changed in {self._kind}, but the smaller network was made for "
                "what was trained then; close it, and make another"
            )

    def _gradients(self) -> None:
        """A gradient that is nowhere, or that some have and the rest of what belongs together has not."""
        if before := [pair.name for pair, _ in self._trains if pair.whole.grad is not None]:
            raise GuardError(
                f"{listed(before)}: the gradient is of a forward pass from before the smaller network was made; call "
                "backward before it is made, or not at all"
            )
        orphans = self._mirrors.orphans
        if orphans is None:
            return
        found = {pair.name: pair.part.grad is not None for pair, _ in self._trains if pair.lost}
        if {*found.values()} != {orphans.grad is not None}:
            raise GuardError(
                f"no gradient reached {listed(_without(found)) or 'units that were removed'}, but others: dead units "
                "are stepped together; call the whole smaller network, or hold the mask by attach"
            )


def _without(found: Mapping[str, Any]) -> list[str]:
    return [name for name, there in found.items() if not there]


def plain(model: nn.Module) -> str:
    """The first parameter or buffer that is more than torch's own class, or nothing."""
    kinds: dict[str, type] = {name: type(one) for name, one in model.named_parameters()}
    return next((f"{name} is a {kind.__name__}" for name, kind in kinds.items() if kind is not nn.Parameter), "")
