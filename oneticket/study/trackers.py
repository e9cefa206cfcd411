"""The kinds of trackers: TensorBoard, MLflow, Weights & Biases. Their packages are imported when one is opened."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from oneticket.ground.errors import SpecError, StoreError
from oneticket.ground.table import Table
from oneticket.study.tracked_run import TrackedRun

CURVE = "train_loss"


Points = Sequence[tuple[int, Mapping[str, float]]]
"""Steps, counted from the training's first, each with values by name."""


class LiveRun(Protocol):
    """A run under way."""

    def log(self, points: Points) -> None:
        """Show these points."""

    def end(self, run: TrackedRun) -> None:
        """Add the results; it is whole now."""

    def drop(self) -> None:
        """Leave it unfinished: it will be begun again."""


class TrackerRuns(Protocol):
    """One kind of tracker, with its runs; it may raise any error of its package.

    Your own is a function from a text, which says where to log, to an object with these methods. With a method
    `begin(run)` that returns a `LiveRun`, it is fed while networks are trained; `run` then gets no losses and results.
    """

    def has(self, run: TrackedRun) -> bool:
        """Whether it holds that run, whole, under its `key`."""

    def write(self, run: TrackedRun) -> None:
        """Log a run that it does not hold."""

    def close(self) -> None:
        """Write what is not written, and leave nothing open."""


class _TensorBoard:
    """A folder with one folder per run."""

    def __init__(self, where: str) -> None:
        from torch.utils.tensorboard import summary, writer

        self.folder, self.summary, self.writer = _folder("tensorboard", where), summary, writer

    def has(self, run: TrackedRun) -> bool:
        return (self.folder / run.name).exists()

    def write(self, run: TrackedRun) -> None:
        write_whole(self, run)

    def begin(self, run: TrackedRun) -> LiveRun:
        under_way = self.folder / f"{run.name}.under-way"
        shutil.rmtree(under_way, ignore_errors=True)
        made = self.writer.SummaryWriter(str(under_way), flush_secs=2)
        return _TensorBoardRun(made, self.summary, under_way, self.folder / run.name)

    def close(self) -> None: ...


class _TensorBoardRun:
    """A folder that gets its name when it is whole."""

    def __init__(self, made: Any, summary: Any, under_way: Path, whole: Path) -> None:
        self.made, self.summary, self.under_way, self.whole = made, summary, under_way, whole

    def log(self, points: Points) -> None:
        for at, values in points:
            for name, value in values.items():
                self.made.add_scalar(name, value, at)

    def end(self, run: TrackedRun) -> None:
        for part in self.summary.hparams(dict(run.settings), dict(run.results)):
            self.made.file_writer.add_summary(part)
        self.log([(run.losses[-1][0], run.results)])
        self.made.close()
        self.under_way.rename(self.whole)

    def drop(self) -> None:
        self.made.close()


class _MLflow:
    """A folder, or the server or database of a URI, with one experiment."""

    def __init__(self, where: str) -> None:
        with _environment(MLFLOW):
            import mlflow

            self.uri = where if "://" in where else _folder("mlflow", where).resolve().as_uri()
            try:
                self.client, self.entities = mlflow.MlflowClient(tracking_uri=self.uri), mlflow.entities
                there = self.client.get_experiment_by_name("oneticket")
                self.experiment = there.experiment_id if there else self.client.create_experiment("oneticket")
                self.finished, self.begun = self._there()
            except mlflow.exceptions.MlflowException as error:
                raise StoreError(f"tracker mlflow: {self.uri} cannot be opened: {error}") from error

    def has(self, run: TrackedRun) -> bool:
        return run.key in self.finished

    def write(self, run: TrackedRun) -> None:
        write_whole(self, run)

    def begin(self, run: TrackedRun) -> LiveRun:
        with _environment(MLFLOW):
            half = self.begun.pop(run.key, None)
            if half is not None:
                self.client.delete_run(half)
            info = self.client.create_run(self.experiment, run_name=run.name, tags={KEY: run.key}).info
            settings = [self.entities.Param(name, str(value)) for name, value in run.settings.items()]
            for some in _by(100, settings):
                self.client.log_batch(info.run_id, params=some)
            self.begun[run.key] = info.run_id
            return _MLflowRun(self, info)

    def close(self) -> None: ...

    def _there(self) -> tuple[set[str], dict[str, str]]:
        """The keys of the runs that are whole, and the ids of the others by key."""
        finished, begun, token = set[str](), dict[str, str](), None
        while True:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            for run in page:
                key = run.data.tags.get(KEY, "")
                if run.info.status == "FINISHED":
                    finished.add(key)
                else:
                    begun[key] = run.info.run_id
            token = page.token
            if not token:
                return finished, begun


class _MLflowRun:
    """A run that is finished when it is whole."""

    def __init__(self, tracker: _MLflow, info: Any) -> None:
        self.tracker, self.info = tracker, info

    def log(self, points: Points) -> None:
        metric, began = self.tracker.entities.Metric, self.info.start_time
        metrics = [metric(name, value, began, at) for at, values in points for name, value in values.items()]
        with _environment(MLFLOW):
            for some in _by(1000, metrics):
                self.tracker.client.log_batch(self.info.run_id, metrics=some)

    def end(self, run: TrackedRun) -> None:
        self.log([(run.losses[-1][0], run.results)])
        with _environment(MLFLOW):
            self.tracker.client.set_terminated(self.info.run_id)
        self.tracker.begun.pop(run.key, None)
        self.tracker.finished.add(run.key)

    def drop(self) -> None: ...


class _Wandb:
    """A folder with one folder per run, as `wandb sync` takes them."""

    def __init__(self, where: str) -> None:
        with _environment(WANDB):
            import wandb

            self.folder, self.wandb = _folder("wandb", where), wandb

    def has(self, run: TrackedRun) -> bool:
        return any(self.folder.glob(f"*run-*-{run.key}"))

    def write(self, run: TrackedRun) -> None:
        write_whole(self, run)

    def begin(self, run: TrackedRun) -> LiveRun:
        with _environment(WANDB):
            beside = tempfile.TemporaryDirectory(prefix=".", dir=self.folder)
            settings = self.wandb.Settings(
                mode=os.environ.get("WANDB_MODE", "offline"),
                root_dir=beside.name,
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
            )
            made = self.wandb.init(
                project="oneticket",
                id=run.key,
                name=run.name,
                config=dict(run.settings),
                reinit="create_new",
                settings=settings,
            )
            return _WandbRun(made, beside, self.folder)

    def close(self) -> None:
        if self.wandb.run is None:  # an existing run of the user's continues
            self.wandb.teardown()


class _WandbRun:
    """A run in a folder of its own, moved when it is whole."""

    def __init__(self, made: Any, beside: tempfile.TemporaryDirectory[str], folder: Path) -> None:
        self.made, self.beside, self.folder = made, beside, folder

    def log(self, points: Points) -> None:
        with _environment(WANDB):
            for at, values in points:
                self.made.log(dict(values), step=at)

    def end(self, run: TrackedRun) -> None:
        with _environment(WANDB), self.beside:
            self.made.summary.update(dict(run.results))
            self.made.finish()
            for folder in Path(self.beside.name).glob(f"wandb/*run-*-{run.key}"):
                folder.rename(self.folder / folder.name)

    def drop(self) -> None:
        with _environment(WANDB), self.beside:
            self.made.finish(exit_code=1)


def write_whole(runs: Any, run: TrackedRun) -> None:
    """Log a run that is done, as one that is begun, shown and ended at once."""
    live: LiveRun = runs.begin(run)
    try:
        live.log([(at, {CURVE: loss}) for at, loss in run.losses])
        live.end(run)
    except BaseException:
        live.drop()
        raise


def _folder(kind: str, where: str) -> Path:
    if "://" in where:
        raise SpecError(f"tracker {kind}: expected a folder, got {where}")
    try:
        Path(where).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"tracker {kind}: the folder {where} cannot be made: {error.strerror}") from error
    return Path(where)


def _by(count: int, things: list[Any]) -> Iterable[list[Any]]:
    return (things[at : at + count] for at in range(0, len(things), count))


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Variables that a package asks for, put back after."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


KEY = "oneticket.key"
MLFLOW = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
WANDB = {"WANDB_ERROR_REPORTING": "false"}
TRACKERS: Table[Callable[[str], TrackerRuns]] = Table(
    kind="tracker", rows={"tensorboard": _TensorBoard, "mlflow": _MLflow, "wandb": _Wandb}
)
