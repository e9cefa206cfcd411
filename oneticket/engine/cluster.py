"""The machines that Ray runs on: started here for one run and taken down again, or joined."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oneticket
from oneticket.ground.errors import SpecError, StoreError
from oneticket.ground.stop_signals import STOPS

CARRIED = ("ONETICKET_DATA", "ONETICKET_CACHE")
"""Variables that the workers' environment takes from here, besides the folders that Python imports from."""

OBJECTS = 80 * 2**20  # bytes for Ray's own object store, its minimum: only addresses go through it


@dataclass(frozen=True, kw_only=True)
class ClusterShare:
    """What one worker gets of a machine: CPU cores, GPUs (fractions of either are fine), and bytes of memory if given.

    Raises SpecError for a share of nothing.

    >>> ClusterShare(cpus=2, gpus=0.5).resources
    {'CPU': 2, 'GPU': 0.5}
    """

    cpus: float = 1
    gpus: float = 0
    memory: int | None = None

    def __post_init__(self) -> None:
        if min(self.cpus, self.gpus, self.memory or 0) < 0 or not (self.cpus or self.gpus):
            raise SpecError(f"a step's share: expected CPUs or GPUs above 0, got {self.cpus} CPUs and {self.gpus} GPUs")

    @property
    def resources(self) -> dict[str, float]:
        """The same under Ray's names."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return {name: amount for name, amount in named.items() if amount}


@contextlib.contextmanager
def cluster(address: str | None = None) -> Iterator[None]:
    """Ray, for as long as the block runs: on this machine only (None), or that of an address ("auto", "host:6379").

    Signals, environment and standard output do not change: Ray's own messages go to standard error. An existing
    connection of the caller is used and kept. Raises StoreError if Ray is missing or cannot be reached.
    """
    _knock(address)
    with contextlib.ExitStack() as after:
        after.enter_context(contextlib.redirect_stdout(sys.stderr))
        with _unchanged():
            try:
                import ray
            except ImportError as error:
                raise StoreError(f"the engine ray: {error}; `pip install 'oneticket[ray]'`") from error
            theirs = ray.is_initialized()
            where: dict[str, Any] = {"address": address}
            if address is None:
                short = "/tmp" if os.path.isdir("/tmp") else None  # a socket's path may have 107 bytes
                made = tempfile.TemporaryDirectory(prefix="ray-", dir=short, ignore_cleanup_errors=True)
                where = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECTS}
                where["_temp_dir"] = after.enter_context(made)
            runtime_env = {"env_vars": _environment()}
            try:
                if not theirs:
                    ray.init(**where, log_to_driver=False, configure_logging=False, runtime_env=runtime_env)
            except Exception as error:  # Ray raises plain ones too
                failed = "started on this machine" if address is None else f"reached at {address}"
                raise StoreError(f"Ray cannot be {failed}: {error}") from error
        try:
            yield
        finally:
            with _unchanged():
                if not theirs:
                    # Addresses of actors repeat from one session of a process to the next: a handle that outlived this
                    # one would take the next one's worker with it when it is collected.
                    gc.collect()
                    ray.shutdown()


def _knock(address: str | None) -> None:
    """Find out in seconds that nothing answers at `host:port`, which Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise StoreError(f"Ray cannot be reached at {address}: {error}") from error


def fitting(share: ClusterShare, *, each: int = 1) -> int:
    """How many workers of `each` such shares the machines hold that are up now.

    Raises SpecError, with what there is, if not even one does.
    """
    import ray

    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    shares = sum(
        min(int(has.get(name, 0) / amount + 1e-9) for name, amount in share.resources.items()) for has in there
    )
    if shares < each:
        asked = ", ".join(f"{amount:g} {name}" for name, amount in share.resources.items())
        names = ("CPU", "GPU", "memory")
        has = "; ".join(", ".join(f"{has[name]:g} {name}" for name in names if name in has) for has in there)
        raise SpecError(
            f"a step's share of {asked}{f', {each} times,' if each > 1 else ''} fits nowhere; there is {has}"
        )
    return shares // each


@contextlib.contextmanager
def _unchanged() -> Iterator[None]:
    """Let Ray come or go without its warnings and log, and keep signals and environment as they were."""
    environment, logged = dict(os.environ), logging.root.manager.disable
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in STOPS}
    logging.disable(logging.CRITICAL)
    os.environ.update(SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logged)
        os.environ.clear()
        os.environ.update(environment)
        for number, handler in handlers.items() if main else ():
            signal.signal(number, handler)


def _environment() -> dict[str, str]:
    """What the workers' environment takes from here; folders that belong to this Python are theirs already."""
    own = (sys.prefix, sys.base_prefix)
    paths = [str(Path(oneticket.__file__).parents[1]), *(os.path.abspath(path) for path in sys.path)]
    paths = [path for path in dict.fromkeys(paths) if not path.startswith(own)]
    named = {name: os.path.abspath(os.environ[name]) for name in CARRIED if name in os.environ}
    return {**named, **SILENT, "PYTHONPATH": os.pathsep.join(paths)}


SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU sees none, without a warning
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # ranks stay in the folder that relative paths mean
}
