"""Tickets in Transformers: a callback that holds one while a Trainer trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from oneticket.ground.errors import FileError, GuardError
from oneticket.guard.audit import Audit
from oneticket.guard.guard import Guard
from oneticket.integrations import holder as holds
from oneticket.integrations.holder import Held, Holding
from oneticket.integrations.holder import resume as resume
from oneticket.lottery.level import Level


class TicketCallback(TrainerCallback):
    """Holds a ticket, a mask or a search's level from the time a `train()` has its optimizer until it ends.

    It writes no weights: call `ticket.apply(model)` once, before the first `train()`, so that a second continues from
    the first; give the same `head`, `names` and `fresh`. While it trains, `guard` holds the mask; at the end the guard
    is removed, and `audit` has its last audit. A Trainer does not report that it failed: use the callback as a context
    manager around `train()`, call `detach()`, or train again with the same callback.

    Checkpoints say what was held, in `trainer_state.json`, and `resume_from_checkpoint` continues from them; a
    level's search is written next to it, to `oneticket.safetensors`, for `resume`. A level counts the optimizer's
    steps: accumulated batches and steps that a GradScaler skips do not count.

    Raises what `oneticket.attach` raises, from within `train()`, and GuardError for another ticket's checkpoint, whose
    weights are then in the model, and for a second such callback: masks of several layers are one mask.

    >>> import tempfile, torch
    >>> from transformers import Trainer, ViTConfig, ViTForImageClassification
    >>> model = ViTForImageClassification(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
    ...                                             intermediate_size=8, image_size=4, patch_size=4))
    >>> mask = {"classifier.weight": torch.arange(16).view(2, 8) < 4}
    >>> data = [{"pixel_values": torch.ones(3, 4, 4), "labels": 1}] * 8
    >>> with tempfile.TemporaryDirectory() as folder, TicketCallback(mask) as callback:
    ...     settings = TrainingArguments(folder, max_steps=2, use_cpu=True, report_to=[], disable_tqdm=True)
    ...     _ = Trainer(model, settings, train_dataset=data, callbacks=[callback]).train()
    {...}
    >>> print(callback.audit)
    12 pruned weights in 1 parameters and 2 moments are exactly zero; density 0.25 of 16 prunable ...
    """

    def __init__(
        self,
        held: Held,
        *,
        head: str = "fresh",
        names: Mapping[str, str | None] | None = None,
        fresh: Sequence[str] = (),
        rule: str = "gate+project",
    ) -> None:
        self._holding = Holding(held, head=head, names=names, fresh=fresh, rule=rule)

    @property
    def guard(self) -> Guard | None:
        """The guard of the mask while a training runs."""
        return self._holding.guard

    @property
    def audit(self) -> Audit | None:
        """What the audit at the end of the last training found."""
        return self._holding.audit

    def detach(self) -> None:
        """Let go of the model after a training that broke off."""
        self._holding.detach()

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **event: Any,
    ) -> None:
        """Attach: the optimizer is there, and what a checkpoint held is loaded."""
        said = _said(state).get(KEY)
        if said is not None and not state.global_step:  # then it is not from a checkpoint
            raise GuardError(
                "a Trainer takes only one TicketCallback; give it one mask with the masks of all parameters"
            )
        self._holding.attach(event["model"], [event["optimizer"]], expected=said)
        _said(state)[KEY] = self._holding.facts()

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **event: Any,  # noqa: ARG002
    ) -> None:
        """Record the training's position for the next checkpoint."""
        _said(state)[KEY] = self._holding.facts()

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **event: Any,  # noqa: ARG002
    ) -> None:
        """Write the search's state into the checkpoint's folder."""
        level = self._holding.held
        if not isinstance(level, Level) or not state.is_world_process_zero:
            return
        folder = Path(args.output_dir or ".") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if not folder.is_dir():
            raise FileError(f"{folder}: no such checkpoint, to keep a search's state in")
        holds.save(folder, [self._holding.facts()], level.search)

    def on_train_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **event: Any,  # noqa: ARG002
    ) -> None:
        """Audit and detach."""
        self._holding.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()


def _said(state: TrainerState) -> dict[str, Any]:
    """The callbacks' states in a checkpoint; declared as a list, but a mapping once a training has begun."""
    return cast(dict[str, Any], state.stateful_callbacks)


KEY = "oneticket"
"""The key of the facts in a checkpoint's `trainer_state.json`, under `stateful_callbacks`."""
