"""Checkpoints in the background: the run goes on meanwhile, nothing is lost, and no thread is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from waiting import FOREVER

from oneticket.ground.errors import StoreError
from oneticket.training import checkpoint
from oneticket.training.loop import Run
from oneticket.training.watch import Keeper, Watcher, watched


class Held:
    """A slot in memory that writes only once it is let."""

    def __init__(self, *, error: str = "") -> None:
        self.let, self.begun, self.error = threading.Event(), threading.Event(), error
        self.written: list[bytes] = []

    @property
    def of(self) -> str:
        return ""

    def read(self) -> bytes | None:
        return self.written[-1] if self.written else None

    def set_aside(self, why: object) -> None:
        raise AssertionError(why)

    def write(self, data: bytes) -> None:
        self.begun.set()
        assert self.let.wait(FOREVER)
        if self.error:
            raise StoreError(self.error)
        self.written.append(data)


def never() -> bool:
    return False


def begin(device: str = "cpu") -> Run:
    """Weights that say at which step they are."""
    model = nn.Linear(3, 2, device=device)
    nn.init.zeros_(model.weight)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    return Run.begin(model, [sgd], precision="float32", position=0, total=10)


def count(run: Run, stop: int) -> Iterator[int]:
    while run.position < stop:
        with torch.no_grad():
            run.model.weight.add_(1)  # type: ignore[operator, union-attr]
            run.losses[run.position % 10] = run.position
        run.position += 1
        yield run.position


def drive(run: Run, watch: Watcher, stop: int) -> None:
    for _ in watched(count(run, stop), run, [watch]):
        pass


def there(slot: checkpoint.Slot) -> tuple[int, float]:
    """The position of what was written last, and its first weight."""
    run = begin()
    assert checkpoint.load(slot, run)
    return run.position, float(run.model.get_parameter("weight").detach()[0, 0])


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        before = threading.active_count()
        yield
        assert threading.active_count() == before


def test_the_run_goes_on_while_a_checkpoint_is_written_and_one_is_under_way_at_most() -> None:
    slot, run = Held(), begin()
    with Keeper(slot, seconds=0, stop=never) as keep:
        for position in watched(count(run, 5), run, [keep]):
            assert not slot.written
            if position == 1:
                assert slot.begun.wait(FOREVER)
        slot.let.set()
    assert len(slot.written) == 1
    assert there(slot) == (1, 1.0)


def test_the_end_waits_for_what_is_written() -> None:
    slot, run = Held(), begin()
    timer = threading.Timer(0.2, slot.let.set)
    timer.start()
    with Keeper(slot, seconds=0, stop=never) as keep:
        drive(run, keep, 1)
    assert there(slot) == (1, 1.0)
    timer.join()


def test_stopping_leaves_a_checkpoint_of_the_last_step() -> None:
    slot, run = Held(), begin()

    def stop() -> bool:
        if run.position == 3:  # until then the first is under way
            slot.let.set()
        return run.position >= 3

    with pytest.raises(KeyboardInterrupt), Keeper(slot, seconds=0, stop=stop) as keep:
        drive(run, keep, 9)
    assert [run.position, len(slot.written)] == [3, 2]
    assert there(slot) == (3, 3.0)


def test_nothing_is_written_without_a_slot_or_before_its_time() -> None:
    slot, run = Held(), begin()
    with Keeper(slot, seconds=1e9, stop=never) as keep:
        drive(run, keep, 4)
    assert not slot.begun.is_set()
    with pytest.raises(KeyboardInterrupt), Keeper(None, seconds=0, stop=lambda: True) as keep:
        keep(run)


def test_what_the_slot_refused_is_raised_by_the_next_look() -> None:
    slot, run = Held(error="disk full"), begin()
    slot.let.set()
    with Keeper(slot, seconds=0, stop=never) as keep:
        keep(run)
        assert slot.begun.wait(FOREVER)
        with pytest.raises(StoreError, match="disk full"):
            drive(run, keep, 10**6)


@pytest.mark.parametrize("stop", [True, False])
def test_what_the_slot_refused_is_raised_when_it_ends(stop: bool) -> None:
    slot, run = Held(error="disk full"), begin()
    slot.let.set()
    with pytest.raises(StoreError, match="disk full"), Keeper(slot, seconds=0, stop=lambda: stop) as keep:
        drive(run, keep, 1)


def test_another_error_is_not_hidden_by_what_the_slot_refused() -> None:
    slot, run = Held(error="disk full"), begin()
    slot.let.set()
    with pytest.raises(ZeroDivisionError), Keeper(slot, seconds=0, stop=never) as keep:
        drive(run, lambda run: (keep(run), 1 // 0), 9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_snapshot_of_a_gpu_holds_its_step_whatever_comes_after() -> None:
    slot, run = Held(), begin("cuda")
    slot.let.set()
    taken = None
    for position in count(run, 10):
        torch.cuda._sleep(10**7)  # so that the device lags behind
        if position == 4:
            taken = checkpoint.snapshot(run)
    assert taken is not None
    taken.write(slot)
    assert there(slot) == (4, 4.0)
