"""One step by several ranks: a job of Ray Train, in which each rank does `make` with its share of every batch."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from typing import Any

import torch

from oneticket.engine.cluster import ClusterShare
from oneticket.engine.execute import Lost, make
from oneticket.ground.allocator import keep_freed
from oneticket.ground.errors import OneticketError
from oneticket.lottery.run_context import RunContext, never
from oneticket.store.step import Step
from oneticket.store.store import Store

PAUSE = 0.5  # seconds between two questions whether to stop


def make_together(step: Step, store: Store, context: RunContext, *, ranks: int, share: ClusterShare) -> str:
    """What `attempt.make` does, with `ranks` workers that have a share each; must be called within a worker.

    Raises the OneticketError of whichever rank had one, KeyboardInterrupt when asked to stop, and Lost.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    given = {"url": store.location, "key": step.key, "every": context.every, "ranks": ranks, "threads": context.threads}
    scaling = ScalingConfig(num_workers=ranks, use_gpu=bool(share.gpus), resources_per_worker=share.resources)
    with tempfile.TemporaryDirectory(prefix="ranks-", ignore_cleanup_errors=True) as folder:
        trainer = TorchTrainer(
            _rank,
            train_loop_config={**given, "worker": ray.get_runtime_context().current_actor},
            torch_config=TorchConfig(backend="nccl" if share.gpus else "gloo"),
            scaling_config=scaling,
            run_config=RunConfig(name=step.key[:16], storage_path=folder),
        )
        try:
            result: Any = trainer.fit()
        except TrainingFailedError as error:
            raise _cause(error) from error
    if result.return_value is None:
        raise KeyboardInterrupt
    return str(result.return_value)


def _rank(given: dict[Any, Any]) -> Any:
    """What one rank does; what the first one returns is heard. None when asked to stop."""
    import ray.train
    from ray.train.torch import get_device

    rank, asked = ray.train.get_context().get_world_rank(), threading.Event()
    if rank == 0:
        threading.Thread(target=_listen, args=(given["worker"], asked), daemon=True).start()
    torch.set_num_threads(given["threads"])
    keep_freed()
    stop = never if rank else asked.is_set
    context = RunContext(device=get_device(), every=given["every"], stop=stop, rank=rank, ranks=given["ranks"])
    store = Store(given["url"])
    try:
        return make(store.step(given["key"]), store, context)
    except KeyboardInterrupt:
        return None


def _listen(worker: Any, asked: threading.Event) -> None:
    """Ask the worker that brought the ranks together, now and then, whether to stop."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        while not asked.wait(PAUSE):
            if ray.get(worker.asked.options(concurrency_group="ears").remote()):
                asked.set()


def _cause(error: Exception) -> Exception:
    """The error that a rank of the job had for itself, if one did."""
    failures = getattr(error, "worker_failures", {})
    found = [getattr(failure, "_base_exc", failure) for _, failure in sorted(failures.items())]
    ours = [each for each in found if isinstance(each, OneticketError)]
    words = "; ".join(f"rank {rank}: {str(failure).strip().splitlines()[-1]}" for rank, failure in failures.items())
    return ours[0] if ours else Lost(words or str(error))
