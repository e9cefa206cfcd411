"""Trackers: what they wrote, read back with the packages' own readers; said once, whole, and to nobody else."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError, StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.store.step import Outcome, Step
from oneticket.store.store import Store
from oneticket.study.origins import search_origin
from oneticket.study.plan import transfer_cells
from oneticket.study.track import tracker
from oneticket.study.tracked_run import POINTS, TrackedRun, run_of
from oneticket.study.trackers import TRACKERS

QUICK = {"budget": "6it", "batch": 32}
SPEC = SearchSpec(
    data={"name": "digits:a", "per_class": 10}, model={"name": "mlp", "widths": (12,)}, training=QUICK, rewind="2it"
)
TARGET = TransferSpec(data={"name": "digits:b", "per_class": 10}, optimizer="adam", training=QUICK)
KINDS = sorted(TRACKERS)
PACKAGES = {"mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wandb"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished small study: a search of two levels, and a ticket carried."""
    made, (search, cell) = Store(tmp_path_factory.mktemp("store")), _planned()
    run([*search, cell], store=made, context=RunContext())
    return made


def _planned() -> tuple[tuple[Step, ...], Step]:
    origin = search_origin(SPEC, levels=1, replicate=0, context=RunContext())
    (cell,) = transfer_cells(TARGET, origin=origin, own=None, arms=("ticket",), levels=(1,), context=RunContext())
    return origin.levels, cell.step


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A run as a package's own reader gives it."""

    name: str
    settings: Mapping[str, Any]
    losses: list[tuple[int, float]]
    results: dict[str, float]


def read_tensorboard(folder: Path) -> list[Seen]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = []
    for each in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        events = EventAccumulator(str(each)).Reload()
        start = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/session_start_info"])
        hparams = start.session_start_info.hparams
        curves = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        losses = curves.pop("train_loss")
        settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}
        results = {name: points[-1][1] for name, points in curves.items()}
        found.append(Seen(name=each.name, settings=settings, losses=losses, results=results))
    return found


def read_mlflow(folder: Path) -> list[Seen]:
    from mlflow import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(tracking_uri=folder.resolve().as_uri())
        experiment = client.get_experiment_by_name("oneticket")
        found = []
        for each in client.search_runs([experiment.experiment_id]):
            assert each.info.status == "FINISHED"
            curve = client.get_metric_history(each.info.run_id, "train_loss")
            results = {name: value for name, value in each.data.metrics.items() if name != "train_loss"}
            losses = sorted((point.step, point.value) for point in curve)
            found.append(Seen(name=each.info.run_name, settings=each.data.params, losses=losses, results=results))
    return sorted(found, key=lambda seen: seen.name)


def read_wandb(folder: Path) -> list[Seen]:
    from wandb.proto import wandb_internal_pb2 as pb

    def items(kept: Any) -> dict[str, Any]:
        return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in kept}

    found = []
    for file in folder.glob("offline-run-*/run-*.wandb"):
        records = [pb.Record.FromString(content) for content in _log(file.read_bytes())]
        (name,) = {record.run.display_name for record in records if record.HasField("run")}
        settings = {k: v for r in records if r.HasField("run") for k, v in items(r.run.config.update).items()}
        rows = [items(record.history.item) for record in records if record.HasField("history")]
        ends = {k: v for r in records if r.HasField("summary") for k, v in items(r.summary.update).items()}
        assert any(record.HasField("exit") for record in records)
        found.append(
            Seen(
                name=name,
                settings={key: value for key, value in settings.items() if not key.startswith("_")},
                losses=[(row["_step"], row["train_loss"]) for row in rows],
                results={key: value for key, value in ends.items() if key[0] != "_" and key != "train_loss"},
            )
        )
    return sorted(found, key=lambda seen: seen.name)


def _log(content: bytes) -> Iterator[bytes]:
    """The records of an offline run: LevelDB's log format after 7 bytes, blocks of 32 KiB, parts of records in them."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


READERS: dict[str, Callable[[Path], list[Seen]]] = {
    "mlflow": read_mlflow,
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
}


def _plain(settings: Mapping[str, Any]) -> dict[str, float | str]:
    """Settings as far as all readers can tell them apart: a number, or a text."""
    plain: dict[str, float | str] = {}
    for name, value in settings.items():
        try:
            plain[name] = float(str(value))
        except ValueError:
            plain[name] = str(value)
    return plain


def _show(store: Store, folder: Path, kind: str) -> list[TrackedRun]:
    """Show all of the study in a tracker, and give what should be there."""
    pytest.importorskip(PACKAGES[kind])
    search, cell = _planned()
    shown = tracker(f"{kind}:{folder}")
    wanted = []
    for step in (search[0].needs[0], *search, cell):
        shown.step(step, store.get(step), seconds=1.5)
        wanted.append(run_of(step, store.get(step), 1.5))
    shown.close()
    return sorted((run for run in wanted if run), key=lambda run: run.name)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_is_read_back_and_the_same_again_is_nothing_new(
    kind: str, store: Store, tmp_path: Path
) -> None:
    threads = set(threading.enumerate())
    for _ in range(2):
        wanted, found = _show(store, tmp_path, kind), READERS[kind](tmp_path)
        assert [seen.name for seen in found] == [run.name for run in wanted]
        assert len(wanted) == 3, "two levels and the ticket; the rewind weights are no measured network"
        for asked, seen in zip(wanted, found, strict=True):
            assert _plain(seen.settings) == _plain(asked.settings)
            assert [step for step, _ in seen.losses] == [step for step, _ in asked.losses]
            assert [loss for _, loss in seen.losses] == pytest.approx([loss for _, loss in asked.losses])
            assert seen.results == pytest.approx(dict(asked.results))
    assert set(threading.enumerate()) <= threads  # none is left; those of other tests may end meanwhile
    assert not list(tmp_path.glob(".[!t]*")), "nothing half-written is left"


def test_a_run_says_what_was_trained(store: Store) -> None:
    search, cell = _planned()
    shown = run_of(cell, store.get(cell))
    assert shown is not None
    assert shown.name == f"ticket-digits-b-adam-level-1-replicate-0-{cell.key[:12]}"
    assert shown.settings["transfer.optimizer.lr"] == 0.001
    assert shown.settings["source.data.name"] == "digits:a"
    assert shown.settings["source.rewind"] == "2it"
    assert "source.level" not in shown.settings and "transfer.training.clip" not in shown.settings
    assert shown.results == {name: store.record(cell)[name] for name in shown.results}
    assert {"accuracy", "loss", "density", "natural_zeros"} <= set(shown.results)
    assert [step for step, _ in shown.losses] == [1, 2, 3, 4, 5, 6]
    level = run_of(search[1], store.get(search[1]), 2.0)
    assert level is not None and level.results["seconds"] == 2.0
    assert level.name.startswith("search-digits-a-sgd-level-1-replicate-0-")
    assert run_of(search[0].needs[0], store.get(search[0].needs[0])) is None


def test_a_long_curve_is_thinned_to_means(store: Store) -> None:
    _, cell = _planned()
    losses = torch.arange(2 * POINTS + 1, dtype=torch.float32)
    shown = run_of(cell, Outcome(record=store.record(cell), tensors={"losses": losses}))
    assert shown is not None
    assert shown.losses[:2] == ((3, 1.0), (6, 4.0))
    assert shown.losses[-1] == (2 * POINTS + 1, 2 * POINTS - 0.5)
    assert len(shown.losses) <= POINTS


@pytest.mark.parametrize("kind", KINDS)
def test_a_tracker_that_fails_is_told_once(kind: str, store: Store, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[kind])
    (_, level), cell = _planned()
    folder = tmp_path / "runs"
    shown = tracker(f"{kind}:{folder}")
    shutil.rmtree(folder)
    folder.write_text("in the way")
    with pytest.raises(StoreError, match=rf"tracker {kind}:.*; nothing more is shown there, and the study goes on"):
        shown.step(level, store.get(level))
    shown.step(cell, store.get(cell))
    shown.close()
    assert folder.read_text() == "in the way"


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_cut_off_is_shown_anew(kind: str, store: Store, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[kind])
    _, cell = _planned()
    run = run_of(cell, store.get(cell))
    assert run is not None

    def cut_off() -> Iterator[tuple[int, float]]:
        yield from run.losses[:2]
        raise KeyboardInterrupt

    half = TRACKERS[kind](str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        half.write(replace(run, losses=cut_off()))  # type: ignore[arg-type]
    half.close()
    shown = tracker(f"{kind}:{tmp_path}")
    shown.step(cell, store.get(cell))
    shown.close()
    (seen,) = READERS[kind](tmp_path)
    assert seen.results == pytest.approx(dict(run.results))


def test_mistakes_are_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for text, words in (
        (
            "tensorbord:runs",
            "unknown tracker 'tensorbord'; did you mean 'tensorboard'? Known: mlflow, tensorboard, wandb; "
            "your own: 'file.py:function' or 'package.module:function'",
        ),
        ("wandb", "tracker wandb: expected wandb:FOLDER, got 'wandb'"),
        ("tensorboard:", "tracker tensorboard: expected tensorboard:FOLDER, got 'tensorboard:'"),
    ):
        with pytest.raises(SpecError) as refused:
            tracker(text)
        assert str(refused.value) == words
    for kind in KINDS:
        pytest.importorskip(PACKAGES[kind])
        with pytest.raises(SpecError) as refused:
            tracker(f"{kind}:{tmp_path}/file/runs")
        assert str(refused.value) == f"tracker {kind}: the folder {tmp_path}/file/runs cannot be made: Not a directory"
    for kind in ("tensorboard", "wandb"):
        with pytest.raises(SpecError) as refused:
            tracker(f"{kind}:s3://bucket/runs")
        assert str(refused.value) == f"tracker {kind}: expected a folder, got s3://bucket/runs"
    with pytest.raises(StoreError, match="tracker mlflow: http://127.0.0.1:9 cannot be opened: "):
        tracker("mlflow:http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(
        SpecError, match=r"tracker wandb: a package is not installed .*; pip install 'oneticket\[wandb\]'"
    ):
        tracker(f"wandb:{tmp_path}/runs")


# In a process of its own, since MLflow and CI services switch the usage reports off by themselves.
QUIET = """
import os, socket, sys, threading
asked = []
def watch(name):
    kept = getattr(socket.socket, name)
    def watched(self, address, *rest):
        if self.family != socket.AF_UNIX:
            asked.append(address)
        return kept(self, address, *rest)
    setattr(socket.socket, name, watched)
for name in ("connect", "connect_ex", "sendto"):
    watch(name)
found = socket.getaddrinfo
socket.getaddrinfo = lambda *given, **named: asked.append(given) or found(*given, **named)
before = dict(os.environ)
from oneticket.store.store import Store
from oneticket.study.track import tracker
store = Store(sys.argv[2])
step = store.step(sys.argv[3])
shown = tracker(sys.argv[1])
shown.step(step, store.get(step))
shown.close()
theirs = ("TORCHINDUCTOR_CACHE_DIR", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
now = {name: value for name, value in os.environ.items() if name not in theirs}
assert now == before, {name for name in now.keys() ^ before.keys()}
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
try:
    os.waitpid(-1, os.WNOHANG)
    asked.append("a process is left")
except ChildProcessError:
    pass
print(asked)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_called_and_nothing_is_left(kind: str, store: Store, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[kind])
    _, cell = _planned()
    named = ("PATH", "HOME", "SYSTEMROOT", "ONETICKET_CACHE", "OMP_NUM_THREADS", "COVERAGE_PROCESS_START")
    plain = {name: os.environ[name] for name in named if name in os.environ}
    command = [sys.executable, "-W", "error", "-c", QUIET, f"{kind}:{tmp_path}", store.url, cell.key]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert len(READERS[kind](tmp_path)) == 1
