"""Whether a resumed level continues with the weights that the search's state was saved with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn
from torch.optim import Optimizer

from oneticket.ground.canon import digest
from oneticket.ground.errors import GuardError
from oneticket.guard.optimizer_state import watching
from oneticket.lottery.snapshot import live
from oneticket.ticket.values import copied, fingerprint


def digest_of(model: nn.Module, names: Iterable[str]) -> str:
    """The SHA-256 of the values of these weights.

    >>> digest_of(nn.Linear(2, 2), ["weight"]) == digest_of(nn.Linear(2, 2), ["weight"])
    False
    """
    found = live(model)
    return digest(fingerprint({name: copied(found[name]) for name in names}))


class WeightsCheck:
    """Checks, before the first step of these optimizers, whether the model has the weights of that digest.

    A search's state does not contain the weights of its open level, which are in the loop's own checkpoint, loaded
    after the level is yielded. A forgotten checkpoint, or one of another state, is a GuardError.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], model: nn.Module, names: Iterable[str], *, expected: str, where: str
    ) -> None:
        self._model, self._names, self._expected, self._where = model, [*names], expected, where
        self.done = False
        self._handles = [one.register_step_pre_hook(watching(self._before)) for one in optimizers]

    def stop(self) -> None:
        """Look no more."""
        for handle in self._handles:
            handle.remove()

    def _before(self, *_: object) -> None:
        self.stop()
        if not self.done and digest_of(self._model, self._names) != self._expected:
            raise GuardError(
                f"{self._where}: the weights are not those that the search's state was saved with; load the model of "
                "the same checkpoint before the first step, or take the state that belongs to it"
            )
        self.done = True
