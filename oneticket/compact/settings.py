"""Settings of modules, such as a dropout rate: what changes in the model or in the smaller network, the other gets."""

from __future__ import annotations

from typing import Any

from torch import nn

from oneticket.compact.wide import Wide
from oneticket.ground.errors import GuardError
from oneticket.ticket.names import listed

SIMPLE = (bool, int, float, str, type(None))
"""What is passed on: numbers and words, and tuples of them."""


class Settings:
    """The plain attributes of a model's modules beside those of the smaller network's.

    What the loop sets in the model (`model.drop.p = 0.2`), the network gets before its next forward pass. What the
    network's own code sets in its forward pass, such as a count of calls, the model gets when the block ends; where
    both changed, both stay.

    >>> model, network = nn.Dropout(0.5), nn.Dropout(0.5)
    >>> settings = Settings(model, network)
    >>> model.p = 0.1
    >>> settings.pass_on()
    >>> network.p
    0.1
    """

    def __init__(self, model: nn.Module, network: nn.Module) -> None:
        self._all = [(name, module, network.get_submodule(name)) for name, module in model.named_modules()]
        self._theirs = [_simple(one) for _, one, _ in self._all]
        self._mine = [_simple(_inner(other)) for _, _, other in self._all]
        self._counts = [len(vars(one)) for _, one, _ in self._all]

    def pass_on(self) -> None:
        """Let the network have what was set in the model; GuardError for what it cannot follow, such as a stride."""
        for at, (name, one, other) in enumerate(self._all):
            was = self._theirs[at]
            if len(vars(one)) == self._counts[at] and _unchanged(vars(one), was):
                continue
            now, mine = _simple(one), self._mine[at]
            changed = {key: value for key, value in now.items() if key not in was or was[key] != value}
            if lost := [key for key in changed if key in was and key not in mine]:
                raise GuardError(
                    f"{name or 'the model'}: {listed(lost)} was changed, and the smaller network has a sparse layer "
                    "there, which has no such setting; close it, and make another"
                )
            for key, value in changed.items():
                for each in {other, _inner(other)}:
                    if vars(each).get(key) == mine.get(key) and (key in vars(each) or key not in was):
                        vars(each)[key] = value
            self._theirs[at], self._mine[at], self._counts[at] = now, mine | changed, len(vars(one))

    def give_back(self) -> None:
        """Let the model have what the network's own code has set since."""
        self.pass_on()
        for at, (_, one, other) in enumerate(self._all):
            was, now = self._mine[at], _simple(_inner(other))
            changed = {key: now[key] for key in was if key in now and key in self._theirs[at] and now[key] != was[key]}
            vars(one).update({key: value for key, value in changed.items() if key != "training"})


def _inner(module: nn.Module) -> nn.Module:
    """The layer within what stands for it, where units went that it draws random numbers for."""
    return module.layer if isinstance(module, Wide) else module


def _simple(module: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if _plain(value)}


def _plain(value: object) -> bool:
    return isinstance(value, SIMPLE) or (isinstance(value, tuple) and all(map(_plain, value)))


def _unchanged(now: dict[str, Any], was: dict[str, Any]) -> bool:
    return all(now.get(key) is value or now.get(key) == value for key, value in was.items())
