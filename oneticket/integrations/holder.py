"""What every adapter does with what it holds: attach it when there are optimizers, count, prove, remember, let go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.apply.apply import plan
from oneticket.ground.errors import FileError, GuardError
from oneticket.guard.audit import Audit
from oneticket.guard.check import digest, named
from oneticket.guard.guard import Guard, attach
from oneticket.lottery.level import Level, Searching
from oneticket.ticket import container
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

if TYPE_CHECKING:
    from oneticket.lottery.loop_search import Search

Held = Ticket | Mapping[str, Tensor] | Level
"""A ticket that was applied already, a mask, or the open level of a search."""


class Holding:
    """One ticket, mask or level, through one training after another; between them it keeps no model.

    A level counts the optimizers' steps itself, behind accumulation and without those that a GradScaler leaves out; a
    round of several optimizers is one.
    """

    def __init__(
        self, held: Held, *, head: str, names: Mapping[str, str | None] | None, fresh: Sequence[str], rule: str
    ) -> None:
        if not isinstance(held, Ticket | Mapping | Level):
            raise GuardError(f"expected a ticket, a mask or a level of a search, got {type(held).__name__}")
        if not isinstance(held, Ticket) and (head != "fresh" or names or fresh):
            raise GuardError(f"head, names and fresh say where a ticket goes, and this is a {type(held).__name__}")
        self.held = held
        self.guard: Guard | None = None
        self.audit: Audit | None = None
        self._head, self._names, self._fresh, self._rule = head, names, fresh, rule
        self._said: dict[str, Any] = {}

    def attach(
        self, model: nn.Module, optimizers: Iterable[Optimizer], *, expected: Mapping[str, Any] | None = None
    ) -> Guard:
        """Hold from now on, in place of what a training that broke off left; GuardError unless as `expected`."""
        self.detach()
        self.audit = None
        steppers, held = [*optimizers], self.held
        if expected:  # asked first, because a guard zeroes at once
            check(self._facts(model), expected)
        if isinstance(held, Level):
            guard = held.attach(steppers)
        elif isinstance(held, Ticket):
            guard = held.attach(model, steppers, head=self._head, names=self._names, fresh=self._fresh, rule=self._rule)
        else:
            guard = attach(model, steppers, held, rule=self._rule)
        self.guard, self._said = guard, guard.state_dict()
        return guard

    def finish(self) -> None:
        """Prove that the mask was held, then let go; GuardError if it was not."""
        try:
            if self.guard is not None:
                self.audit = self.guard.audit()
        except BaseException:
            self.detach()
            raise
        if isinstance(self.held, Level):
            self.guard = None  # the search detaches it at the end of the level
        self.detach()

    def detach(self) -> None:
        """Let go."""
        if self.guard is not None:
            self.guard.detach()
        self.guard = None

    def facts(self) -> dict[str, Any]:
        """The facts for a checkpoint: the mask and the rule as last attached, and the position of a search."""
        if self.guard is not None:  # a search may learn which layers are the output's while level 0 is open
            self._said = self.guard.state_dict()
        return facts(self._said, self.held)

    def _facts(self, model: nn.Module) -> dict[str, Any]:
        """What they will be, with nothing attached."""
        held, rule = self.held, self._rule
        if isinstance(held, Level):
            model, mask, rule = held.model, held.mask, held.rule
        elif isinstance(held, Ticket):
            mask = plan(held, model, head=self._head, names=self._names, fresh=self._fresh).mask
        else:
            mask = Mask(held)
        return facts({"mask": digest(named(model, mask)), "rule": rule}, held)


def facts(said: Mapping[str, Any], held: Held | None) -> dict[str, Any]:
    """A guard's state, and the place of its level, as plain JSON."""
    return {**said, "level": held.number, "steps": held.steps} if isinstance(held, Level) else dict(said)


def check(mine: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare a checkpoint's facts with what is held; raises GuardError that names the difference."""
    here, there = (
        f"level {found['level']}, step {found.get('steps')} of a search" if "level" in found else "no search"
        for found in (mine, expected)
    )
    if here != there:
        raise GuardError(
            f"the checkpoint was saved at {there}, but the mask held now is at {here}; for a search call "
            "`resume(search, checkpoint)` before its loop"
        )
    differ = [name for name in sorted({*mine, *expected}) if mine.get(name) != expected.get(name)]
    if wrong := [f"{name} is {mine.get(name)}, there it was {expected.get(name)}" for name in differ]:
        raise GuardError(f"the checkpoint was written under another guard: {'; '.join(wrong)}")


def save(folder: str | Path, said: Sequence[Mapping[str, Any]], search: Searching | None) -> None:
    """Write what is held, and a search's state, into the folder of a checkpoint; raises FileError."""
    state = {"tensors": {}, "facts": None} if search is None else search.state_dict()
    meta = {"kind": KIND, "held": [*map(dict, said)], "search": state["facts"]}
    container.write(Path(folder) / FILE, container.encode(meta, state["tensors"]))


def load(folder: str | Path) -> tuple[list[dict[str, Any]], dict[str, Any] | None] | None:
    """What `save` wrote: the facts, and the search's state if there was one; None if there is no such file."""
    path = Path(folder) / FILE
    if not path.exists():
        return None
    meta, tensors = container.read(path)
    if meta.get("kind") != KIND or meta["format"] != 1:
        raise FileError(
            f"{path}: expected a {KIND} of format 1, got kind {meta.get('kind')!r}, format {meta['format']}"
        )
    return meta["held"], None if meta["search"] is None else {"tensors": tensors, "facts": meta["search"]}


def resume(search: Search, checkpoint: str | Path) -> None:
    """Bring a search to a checkpoint's position before its loop; its first turn is the rest of that level.

    In that turn let the framework load the same checkpoint's weights and optimizer. Raises FileError if the folder has
    no has no search's state, and what `Search.load_state_dict` raises.
    """
    found = load(checkpoint)
    if found is None or found[1] is None:
        raise FileError(f"{checkpoint}: no search's state in {FILE}; it was not saved in a loop over a search")
    search.load_state_dict(found[1])


FILE = "oneticket.safetensors"
"""Where it lies in a checkpoint that is a folder."""

KIND = "checkpoint"
