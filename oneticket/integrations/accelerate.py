"""Tickets in Accelerate: a guard over a prepared model and its optimizers, and its state in checkpoints."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from oneticket.ground.errors import GuardError
from oneticket.guard.guard import Guard, attached
from oneticket.integrations import holder as holds
from oneticket.integrations.holder import Held, Holding
from oneticket.integrations.holder import resume as resume
from oneticket.lottery.level import Level
from oneticket.lottery.retired import used


class _Attached(NamedTuple):
    """What a checkpoint needs of one guard, with weak references only."""

    guard: weakref.ref[Guard]
    level: weakref.ref[Level] | None
    said: dict[str, Any]


def attach(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    held: Held,
    *,
    head: str = "fresh",
    names: Mapping[str, str | None] | None = None,
    fresh: Sequence[str] = (),
    rule: str = "gate+project",
) -> Guard:
    """Hold a ticket, a mask or a search's level in a model while its optimizers step, all after `prepare`.

    It writes no weights: call `ticket.apply(model)` before; give the same `head`, `names` and `fresh`. Within
    `accelerator.accumulate` the optimizer makes one step of several; only that one is guarded, and counted by a level.
    Steps that a GradScaler skips do not count; a round of several optimizers is one step. `save_state` also writes what
    is held, and a level's search, to `oneticket.safetensors`, which holds no pickle. While something is held,
    `load_state` refuses another ticket's checkpoint before it loads anything; `resume` restores a search. A second
    `attach` to the model replaces the first.

    In a search prepare the model once and an optimizer, and its scheduler, per level: those of finished levels are
    removed from the accelerator, so that its checkpoints are the open level's.

    Raises what `oneticket.attach` raises, and GuardError, from `load_state` too.

    >>> import torch
    >>> accelerator, model = Accelerator(cpu=True), nn.PReLU(2)
    >>> model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9))
    >>> with attach(accelerator, model, optimizer, {"weight": torch.tensor([True, False])}) as guard:
    ...     accelerator.backward(model(-torch.ones(4, 2)).sum())
    ...     optimizer.step()
    ...     print(guard.audit())
    1 pruned weights in 1 parameters and 1 moments are exactly zero; density 0.5 of 2 prunable weights, 0.5 of all 2
    """
    holding = Holding(held, head=head, names=names, fresh=fresh, rule=rule)
    guard = holding.attach(model, optimizer if isinstance(optimizer, Sequence) else [optimizer])
    _forget(accelerator)
    if accelerator not in _ATTACHED:
        _ATTACHED[accelerator] = weakref.WeakKeyDictionary()
        _hook(accelerator)
    level = weakref.ref(held) if isinstance(held, Level) else None
    _ATTACHED[accelerator][model] = _Attached(weakref.ref(guard), level, guard.state_dict())
    return guard


def _forget(accelerator: Accelerator) -> None:
    """Take out the optimizers of levels that are over, and what schedules them."""
    # `free_memory`, the one public way, takes out models and data, too.
    for each in (accelerator._optimizers, accelerator._schedulers):
        each[:] = [one for one in each if not _over(one)]


def _over(one: Any) -> bool:
    """Whether a prepared optimizer or scheduler belongs to a level that is over."""
    inner = getattr(one, "scheduler", getattr(one, "optimizer", None))
    return used(one) or (inner is not None and _over(inner))


def _hook(accelerator: Accelerator) -> None:
    here = weakref.ref(accelerator)

    def save(_models: list[nn.Module], _weights: list[Any], folder: str) -> None:
        one = here()
        if one is not None and one.is_main_process:
            # Also if nothing is held, or an earlier checkpoint's file in this folder would stay.
            found = _open(one)
            search = next((level.search for level, _ in found if level is not None), None)
            holds.save(folder, [facts for _, facts in found], search)

    def load(_models: list[nn.Module], folder: str) -> None:
        one = here()
        found, saved = _open(one) if one is not None else [], holds.load(folder)
        if not found or saved is None or not saved[0]:
            return
        if len(saved[0]) != len(found):
            raise GuardError(
                f"{folder}: the checkpoint was saved with {len(saved[0])} masks held, and {len(found)} are held now; "
                "attach the same before load_state"
            )
        for (_, facts), expected in zip(found, saved[0], strict=True):
            holds.check(facts, expected)

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _open(accelerator: Accelerator) -> list[tuple[Level | None, dict[str, Any]]]:
    """For every guard that still holds something its level, if any, and its facts."""
    out: list[tuple[Level | None, dict[str, Any]]] = []
    for each in _ATTACHED[accelerator].values():
        guard, level = each.guard(), each.level() if each.level is not None else None
        if guard is None or guard not in attached() or (each.level is not None and (level is None or level.over)):
            continue
        out.append((level, holds.facts(each.said, level)))
    return out


_ATTACHED: weakref.WeakKeyDictionary[Accelerator, weakref.WeakKeyDictionary[nn.Module, _Attached]] = (
    weakref.WeakKeyDictionary()
)
