"""Tickets in Accelerate: held over what was prepared, counted behind accumulation, carried by its checkpoints."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from integrations.conftest import bits, free, network, same
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import oneticket
from oneticket.ground.errors import FileError, GuardError

accelerate = pytest.importorskip("accelerate", reason="needs the package accelerate")
from accelerate.state import AcceleratorState, GradientState  # noqa: E402

from oneticket.integrations.accelerate import attach, resume  # noqa: E402


@pytest.fixture(autouse=True)
def _own_state():
    """Accelerators share one state per process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def make(model=None, **settings):
    """An accelerator, and a model and its optimizer that it prepared."""
    accelerator, model = accelerate.Accelerator(cpu=True, **settings), model or network()
    return accelerator, *accelerator.prepare(model, adamw(model))


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def train(accelerator, model, optimizer, digits, each=lambda: None, start=0, stop=12):
    """Two epochs of six batches, or a part of them."""
    loader = accelerator.prepare(DataLoader(TensorDataset(*digits), batch_size=32))
    for number, (images, labels) in enumerate([*loader, *loader]):
        if start <= number < stop:
            with accelerator.accumulate(model):
                accelerator.backward(nn.functional.cross_entropy(model(images), labels))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            each()


@pytest.mark.parametrize(
    "settings", [{}, {"gradient_accumulation_steps": 3}, {"mixed_precision": "bf16"}], ids=["plain", "sum", "bfloat16"]
)
def test_the_mask_holds(settings, digits, ticket):
    accelerator, model, optimizer = make(**settings)
    ticket.apply(accelerator.unwrap_model(model))
    before = bits(model)
    guard = attach(accelerator, model, optimizer, ticket)
    train(accelerator, model, optimizer, digits, each=guard.audit)
    weight = accelerator.unwrap_model(model)[0].weight.detach()
    assert not weight[~ticket.mask["0.weight"]].any() and not same(before, bits(model))
    guard.detach()
    assert free(model, optimizer.optimizer)


@pytest.mark.parametrize("fused", [False, True], ids=["scaler", "optimizer"])
def test_a_step_that_a_gradscaler_leaves_out_is_not_counted(fused, digits):
    accelerator, model = accelerate.Accelerator(cpu=True), network()
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused))
    optimizer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=100)
    optimizer.__setstate__({})
    for level in oneticket.Search(model, levels=0):
        attach(accelerator, model, optimizer, level)
        for factor in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(digits[0]), digits[1]) * factor
            optimizer.scaler.scale(loss).backward()
            optimizer.step()
        assert level.steps == 2
    assert free(model, optimizer.optimizer)


def test_two_attaches_in_a_row_and_a_model_that_is_let_go(tmp_path, digits, ticket):
    accelerator, model, optimizer = make()
    ticket.apply(model)
    for again in range(3):
        with attach(accelerator, model, optimizer, ticket) as guard:
            train(accelerator, model, optimizer, digits)
            accelerator.save_state(tmp_path / str(again))
            with pytest.raises(GuardError, match="already held by"):
                attach(accelerator, model, optimizer, ticket)
    assert free(model, optimizer.optimizer)
    gone = weakref.ref(model)
    del model, optimizer, guard
    accelerator.free_memory()
    gc.collect()
    assert gone() is None


def test_a_checkpoint_goes_on_to_the_weights_of_the_straight_run(tmp_path, digits, ticket):
    straight = make()
    ticket.apply(straight[1])
    attach(*straight, ticket)
    train(*straight, digits)

    broken = make()
    ticket.apply(broken[1])
    attach(*broken, ticket)
    train(*broken, digits, stop=7)
    broken[0].save_state(tmp_path)

    resumed = make()
    guard = attach(*resumed, ticket)
    resumed[0].load_state(tmp_path)
    train(*resumed, digits, start=7)
    assert same(bits(straight[1]), bits(resumed[1])) and guard.audit().moments == 2

    other = make()
    before = bits(other[1])
    guard = attach(*other, {"0.weight": torch.arange(2048).view(32, 64) < 2048})
    with pytest.raises(GuardError, match="another guard"):
        other[0].load_state(tmp_path)
    assert same(before, bits(other[1]))
    guard.detach()
    with pytest.raises(FileError, match="not saved in a loop over a search"):
        resume(oneticket.Search(other[1], levels=1), tmp_path)
    file = Path(tmp_path / "oneticket.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(FileError, match="digest does not match|canonical|not JSON"):
        other[0].load_state(tmp_path)


def test_a_checkpoint_without_a_ticket_is_loaded(tmp_path, digits, ticket):
    plain = make()
    plain[0].save_state(tmp_path)
    held = make()
    guard = attach(*held, ticket)
    held[0].load_state(tmp_path)
    train(*held, digits, stop=1)
    assert guard.audit().remaining == ticket.mask.remaining


def test_what_is_not_held_any_more_is_not_said_and_not_asked(tmp_path, ticket):
    accelerator, model, optimizer = make()
    with attach(accelerator, model, optimizer, {"0.weight": ~ticket.mask["0.weight"]}):
        accelerator.save_state(tmp_path / "other")
        accelerator.save_state(tmp_path / "again")
    accelerator.load_state(tmp_path / "other")
    accelerator.save_state(tmp_path / "again")
    guard = attach(accelerator, model, optimizer, ticket)
    accelerator.load_state(tmp_path / "again")
    with pytest.raises(GuardError, match="another guard"):
        accelerator.load_state(tmp_path / "other")
    guard.detach()


def test_a_search_goes_on_within_a_level_to_the_same_book(tmp_path, digits):
    settings = {"levels": 3, "fraction": 0.4, "rewind": "2it"}

    def searched(search, stop_at=None, saved=None):
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
        model = accelerator.prepare(search.model)
        for level in search:
            optimizer = accelerator.prepare(adamw(model))
            scheduler = accelerator.prepare(torch.optim.lr_scheduler.StepLR(optimizer.optimizer, 2, 0.5))
            attach(accelerator, model, optimizer, level)
            if saved is not None:
                accelerator.load_state(saved)
            stop = stop_at if level.number == 1 else 12
            train(accelerator, model, optimizer, digits, each=scheduler.step, start=2 * level.steps, stop=stop)
            if level.number == 1 and stop_at < 12:
                accelerator.save_state(tmp_path / ("kept" if stop_at == 6 else "early"))
                return None
            saved = None
        assert free(search.model, optimizer.optimizer)
        return search.book

    book = searched(oneticket.Search(network(), **settings), stop_at=12)
    assert [record["steps"] for record in book.records] == [6, 6, 6, 6], "of 12 batches every other is a step"
    assert all(book.mask(level + 1) <= book.mask(level) for level in range(3))
    assert book.densities == pytest.approx((1.0, 0.6, 0.36, 0.216), rel=2e-3)

    searched(oneticket.Search(network(), **settings), stop_at=6)
    assert [one.name for one in sorted((tmp_path / "kept").glob("[os][pc]*"))] == ["optimizer.bin", "scheduler.bin"]
    with pytest.raises(GuardError, match=r"saved at level 1, step 3 .* at level 0, step 0 .* `resume"):
        searched(oneticket.Search(network(), **settings), stop_at=12, saved=tmp_path / "kept")
    search = oneticket.Search(network(), **settings)
    resume(search, tmp_path / "kept")
    assert searched(search, stop_at=12, saved=tmp_path / "kept") == book and search.book.records == book.records
    assert free(search.model)

    # A search's state in the folder of another checkpoint is not that of the weights there; a damaged one is not read.
    searched(oneticket.Search(network(), **settings), stop_at=4)
    one, other = (tmp_path / name / "oneticket.safetensors" for name in ("kept", "early"))
    data = other.read_bytes()
    one.write_bytes(data)
    search = oneticket.Search(network(), **settings)
    resume(search, tmp_path / "kept")
    with pytest.raises(GuardError, match="level 1: the weights are not those that the search's state was saved with"):
        searched(search, stop_at=12, saved=tmp_path / "kept")
    for at in range(0, len(data), len(data) // 30):
        one.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        with pytest.raises(FileError, match=str(one)):
            resume(search, tmp_path / "kept")


def test_bad_input_touches_nothing(ticket):
    accelerator, model, optimizer = make()
    before = bits(model)
    with pytest.raises(GuardError, match=r"absent\.weight"):
        attach(accelerator, model, optimizer, {"absent.weight": torch.tensor([True, False])})
    with pytest.raises(GuardError, match="a ticket, a mask or a level of a search, got str"):
        attach(accelerator, model, optimizer, "mine.safetensors")
    with pytest.raises(GuardError, match="no optimizer has"):
        attach(accelerator, model, torch.optim.SGD(network().parameters(), lr=0.1), ticket)
    assert same(before, bits(model)) and free(model, optimizer.optimizer)
