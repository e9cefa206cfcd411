"""Tickets in Lightning: a callback that holds one while a Trainer fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.fabric.utilities.cloud_io import get_filesystem

from oneticket.ground.errors import FileError
from oneticket.guard.audit import Audit
from oneticket.guard.guard import Guard
from oneticket.integrations import torch_files
from oneticket.integrations.holder import Held, Holding
from oneticket.lottery.level import Level

if TYPE_CHECKING:
    from oneticket.lottery.loop_search import Search


class TicketCallback(pl.Callback):
    """Holds a ticket, a mask or a search's level from the time a `fit` has its optimizers until it ends.

    It writes no weights: call `ticket.apply(module)` once, before the first `fit`, so that a second continues from the
    first; give the same `head`, `names` and `fresh`. While a `fit` runs, `guard` holds the mask. At its end, also after
    an exception or an interrupt, the guard is removed, and `audit` has its last audit. Checkpoints say what was held,
    and `fit(ckpt_path=...)` continues from them; those of a level also have the search's state, for `resume`. A level
    counts the optimizer's steps, a round of several optimizers as one.

    A Trainer takes one of these callbacks; masks of several layers are one mask. Raises what `oneticket.attach` raises,
    from within `fit`, and GuardError for another ticket's checkpoint, whose weights are then in the model.

    >>> import torch, warnings
    >>> class Net(pl.LightningModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = torch.nn.Linear(2, 1)
    ...     def training_step(self, batch):
    ...         return self.fc(batch).square().mean()
    ...     def configure_optimizers(self):
    ...         return torch.optim.AdamW(self.parameters(), lr=0.1)
    >>> callback, net = TicketCallback({"fc.weight": torch.tensor([[True, False]])}), Net()
    >>> trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], logger=False, barebones=True)
    >>> with warnings.catch_warnings(action="ignore"):
    ...     trainer.fit(net, torch.utils.data.DataLoader(torch.ones(4, 2)))
    >>> print(callback.audit)
    1 pruned weights in 1 parameters and 2 moments are exactly zero; density 0.5 of 2 prunable weights, 0.6667 of all 3
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
        self._expected: Mapping[str, Any] = {}

    @property
    def guard(self) -> Guard | None:
        """The guard of the mask while a fit runs."""
        return self._holding.guard

    @property
    def audit(self) -> Audit | None:
        """What the audit at the end of the last fit found."""
        return self._holding.audit

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Forget the facts of an earlier checkpoint."""
        self._expected = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Attach: the optimizers are there, and so are a checkpoint's weights."""
        model = trainer.strategy.model
        self._holding.attach(pl_module if model is None else model, trainer.optimizers, expected=self._expected)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Audit and detach, after every other callback."""
        self._holding.finish()

    def on_exception(
        self,
        trainer: pl.Trainer,  # noqa: ARG002
        pl_module: pl.LightningModule,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Detach."""
        self._holding.detach()

    def state_dict(self) -> dict[str, Any]:
        """What was held, and of a level its search's state."""
        level = self._holding.held
        search = {"search": level.search.state_dict()} if isinstance(level, Level) else {}
        return {"facts": self._holding.facts(), **search}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the fit that loads this attach nothing else."""
        self._expected = state_dict["facts"]


def resume(search: Search, checkpoint: str | Path) -> None:
    """Bring a search to where a checkpoint was saved, before its loop; then `fit(level.model, ckpt_path=checkpoint)`.

    It reads only tensors and plain values, so a hostile file runs no code. Raises FileError for a file without a
    search's state, and what `Search.load_state_dict` raises.
    """
    try:
        with get_filesystem(checkpoint).open(str(checkpoint), "rb") as file:
            found = torch_files.load(file)
    except (OSError, FileError) as error:
        raise FileError(f"{checkpoint}: cannot be read: {error}") from None
    for name in ("callbacks", TicketCallback.__qualname__, "search"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise FileError(f"{checkpoint}: it was not saved by a Trainer with TicketCallback(level), in a search's loop")
    search.load_state_dict(found)
