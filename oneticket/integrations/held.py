"""What every adapter does with what it holds: attach it when there are optimizers, count, prove, remember, let go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from oneticket.ground.errors import FileError, GuardError
from oneticket.lottery.level import Level
from oneticket.ticket import container
from oneticket.ticket.guard import Audit, Guard, attach
from oneticket.ticket.ticket import Ticket

if TYPE_CHECKING:
    from oneticket.lottery.driven import Search

Held = Ticket | Mapping[str, Tensor] | Level
"""A ticket that was applied already, a mask, or the open level of a search."""


class Holding:
    """One ticket, mask or level, through one training after another; between them it keeps no model.

    Of a level real optimizer steps are counted: those of the first optimizer, behind accumulation, and behind a
    GradScaler, which leaves steps out.
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
        inner, held = [torch_optimizer(optimizer) for optimizer in optimizers], self.held
        if isinstance(held, Level):
            guard = held.attach(inner)
            # A search audits when the loop's body is done, when the framework may have dropped its optimizers.
            held.optimizer = inner
            inner[0].register_step_post_hook(_counter(held, guard))
        elif isinstance(held, Ticket):
            guard = held.attach(model, inner, head=self._head, names=self._names, fresh=self._fresh, rule=self._rule)
        else:
            guard = attach(model, inner, held, rule=self._rule)
        self.guard, self._said = guard, guard.state_dict()
        try:
            check(guard, held, expected or {})
        except BaseException:
            self.detach()
            raise
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
        """What a checkpoint says: the mask and the rule as last attached, and where a search stands."""
        return facts(self._said, self.held)


def facts(said: Mapping[str, Any], held: Held | None) -> dict[str, Any]:
    """A guard's state, and beside it the place of a level; plain JSON."""
    return {**said, "level": held.number, "steps": held.steps} if isinstance(held, Level) else dict(said)


def check(guard: Guard, held: Held | None, expected: Mapping[str, Any]) -> None:
    """Whether a checkpoint's facts, if it has any, are those of what is held; raises GuardError that says what not."""
    if not expected:
        return
    here, there = (
        f"level {found['level']}, step {found['steps']} of a search" if "level" in found else "no search"
        for found in (facts({}, held), expected)
    )
    if here != there:
        raise GuardError(
            f"the checkpoint stands at {there}, what is held at {here}; for a search call "
            "`resume(search, checkpoint)` before its loop"
        )
    guard.load_state_dict({name: value for name, value in expected.items() if name not in ("level", "steps")})


def torch_optimizer(optimizer: Optimizer) -> Optimizer:
    """The optimizer that steps, out of a framework's wrapper."""
    while not hasattr(optimizer, "_optimizer_step_post_hooks") and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def save(folder: str | Path, said: Sequence[Mapping[str, Any]], search: Search | None) -> None:
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
    if meta.get("kind") != KIND:
        raise FileError(f"{path}: expected a {KIND}, got kind {meta.get('kind')!r}")
    return meta["held"], None if meta["search"] is None else {"tensors": tensors, "facts": meta["search"]}


def resume(search: Search, checkpoint: str | Path) -> None:
    """Bring a search to where a checkpoint's folder says, before its loop; its first turn is then that level's rest.

    In that turn let the framework load the same checkpoint's weights and optimizer. Raises FileError when the folder
    has no search's state, and what `Search.load_state_dict` raises.
    """
    found = load(checkpoint)
    if found is None or found[1] is None:
        raise FileError(f"{checkpoint}: no search's state in {FILE}; it was not saved in a loop over a search")
    search.load_state_dict(found[1])


def _counter(level: Level, guard: Guard) -> Any:
    """A hook that counts for as long as the level is open and this guard holds it."""

    def count(*_: object) -> None:
        if level.guard is guard and not level.over:
            level.step()

    return count


FILE = "oneticket.safetensors"
"""Where it lies in a checkpoint that is a folder."""

KIND = "checkpoint"
