"""A worker: one process with its share of a machine, which does one step after the other by address."""

from __future__ import annotations

import threading
import warnings
from functools import cached_property, partial
from typing import TypedDict

import torch

from oneticket.engine.cluster import ClusterShare
from oneticket.engine.execute import Broken, Lost, Make, attempt, make
from oneticket.engine.ranks import make_together
from oneticket.ground.allocator import keep_freed
from oneticket.ground.errors import KeptWarning, OneticketError
from oneticket.lottery.run_context import RunContext, device
from oneticket.store.store import Store


class Answer(TypedDict):
    """The result of a step: that of `attempt`, or "stopped", "failed", "broke" or "lost" with an error's kind and text.

    Of the worker itself, "up" once it has started, and "gone" if it is no more. `warnings`: the warnings about files
    that were not used.
    """

    said: str
    error: str
    text: str
    warnings: list[str]


class Worker:
    """Keeps store and data between steps, since a new process must read them again."""

    def __init__(
        self,
        *,
        url: str,
        device: str,
        every: float,
        compact: bool,
        compiled: str | None,
        threads: int,
        share: ClusterShare,
        ranks: int,
    ) -> None:
        keep_freed()
        self.store = Store(url)
        self._device, self._every, self._share, self._ranks = device, every, share, ranks
        self._compact, self._compiled, self._threads = compact, compiled, threads
        self._asked = threading.Event()

    @cached_property
    def context(self) -> RunContext:
        """Made at the first step: a device that is not there fails steps, not the worker."""
        return RunContext(
            device=device(self._device),
            every=self._every,
            stop=self._asked.is_set,
            compact=self._compact,
            compiled=self._compiled,
            threads=self._threads,
        )

    def hello(self) -> Answer:
        """Answer, once this process is up."""
        return answer("up")

    def do(self, key: str) -> Answer:
        """Do the step at an address."""
        torch.set_num_threads(self._threads)  # holds for the thread that calls it
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", KeptWarning)
            said = self._do(key)
        return {**said, "warnings": [str(one.message) for one in heard if issubclass(one.category, KeptWarning)]}

    def _do(self, key: str) -> Answer:
        try:
            return answer(attempt(self.store.step(key), self.store, self.context, self._make))
        except KeyboardInterrupt:
            return answer("stopped")
        except Lost as error:
            return answer("lost", error)
        except Broken as error:
            return answer("broke", error)
        except OneticketError as error:
            return answer("failed", error)

    def stop(self) -> None:
        """Ask the step under way to write a checkpoint and stop; called while `do` runs."""
        self._asked.set()

    def asked(self) -> bool:
        """Whether `stop` was called; called while `do` runs."""
        return self._asked.is_set()

    @property
    def _make(self) -> Make:
        return make if self._ranks == 1 else partial(make_together, ranks=self._ranks, share=self._share)


def answer(said: str, error: BaseException | None = None, *, text: str = "") -> Answer:
    """An answer without warnings; its text is that of the error, unless given."""
    return {"said": said, "error": type(error).__name__, "text": text or str(error or ""), "warnings": []}
