"""oneticket: find a lottery ticket once, keep it in a safe file, transfer it anywhere, and know whether it won.

The names here are the whole public face; each is imported from its room when it is first asked for. So are
`oneticket.study`, whose `run` runs a study, and `oneticket.plot`, which draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneticket import plot as plot
    from oneticket import study as study
    from oneticket.data.spec import DataSpec as DataSpec
    from oneticket.ground.errors import OneticketError as OneticketError
    from oneticket.ground.errors import RequestError as RequestError
    from oneticket.guard.guard import Guard as Guard
    from oneticket.guard.guard import attach as attach
    from oneticket.lottery.controls import Source as Source
    from oneticket.lottery.loop_search import Search as Search
    from oneticket.lottery.run_context import RunContext as RunContext
    from oneticket.lottery.spec import SearchSpec as SearchSpec
    from oneticket.lottery.spec import TransferSpec as TransferSpec
    from oneticket.models.spec import ModelSpec as ModelSpec
    from oneticket.optim.spec import OptimizerSpec as OptimizerSpec
    from oneticket.pruning.spec import PruningSpec as PruningSpec
    from oneticket.session.search import search as search
    from oneticket.session.transfer import transfer as transfer
    from oneticket.task.task import Task as Task
    from oneticket.ticket.book import Book as Book
    from oneticket.ticket.contract import Contract as Contract
    from oneticket.ticket.mask import Mask as Mask
    from oneticket.ticket.ticket import Ticket as Ticket
    from oneticket.training.spec import TrainingSpec as TrainingSpec

__version__ = "0.2.0"

_ROOMS = {
    "Book": "ticket.book",
    "Contract": "ticket.contract",
    "DataSpec": "data.spec",
    "Guard": "guard.guard",
    "Mask": "ticket.mask",
    "ModelSpec": "models.spec",
    "OneticketError": "ground.errors",
    "OptimizerSpec": "optim.spec",
    "RunContext": "lottery.run_context",
    "PruningSpec": "pruning.spec",
    "RequestError": "ground.errors",
    "Search": "lottery.loop_search",
    "SearchSpec": "lottery.spec",
    "Source": "lottery.controls",
    "Task": "task.task",
    "Ticket": "ticket.ticket",
    "TrainingSpec": "training.spec",
    "TransferSpec": "lottery.spec",
    "attach": "guard.guard",
    "search": "session.search",
    "transfer": "session.transfer",
}
__all__ = sorted(_ROOMS)
_MODULES = ("plot", "study")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        from importlib import import_module

        return import_module(f"oneticket.{name}")
    if name not in _ROOMS:
        raise AttributeError(f"module 'oneticket' has no attribute {name!r}; it has {', '.join(__all__)}")
    from oneticket.ground.door import door
    from oneticket.ground.extras import naming_extras

    with naming_extras():
        return door(f"{_ROOMS[name]}:{name}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "__version__"]
