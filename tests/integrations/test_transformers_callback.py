"""Tickets in Transformers: held in every kind of training, proved, let go, resumed to the bit, found by a search."""

import gc
import itertools
import json
import weakref
from pathlib import Path

import pytest
import torch
from integrations.conftest import bits, free, same

import oneticket
from oneticket.ground.errors import FileError, GuardError, SpecError
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask

transformers = pytest.importorskip("transformers", reason="needs the package transformers")
pytest.importorskip("accelerate", reason="needs the package accelerate")
from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: E402

from oneticket.integrations.transformers import TicketCallback, resume  # noqa: E402

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def bert():
    """A network that reads digits pixel by pixel; the same weights each time."""
    config = transformers.BertConfig(**SMALL, vocab_size=17, max_position_embeddings=64, num_labels=10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return transformers.BertForSequenceClassification(config)


def ticket_of(model, pattern, head):
    """A ticket of the model whose larger half lives in every weight of that name."""
    weights = dict(model.state_dict())
    chosen = [name for name in weights if pattern in name and name.endswith("weight")]
    assert chosen
    mask = Mask({name: weights[name].abs() > weights[name].abs().median() for name in chosen})
    heads = tuple(name for name in weights if name.startswith(head))
    return oneticket.Ticket(mask=mask, weights=weights, contract=Contract(rewind="0it", step=0, head=heads))


@pytest.fixture
def ticket():
    return ticket_of(bert(), "intermediate.dense", "classifier")


@pytest.fixture
def data(digits):
    images, labels = digits
    return [{"input_ids": (one * 16).long(), "labels": int(label)} for one, label in zip(images, labels, strict=True)]


def settings(**more):
    quiet = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no"}
    usual = {"per_device_train_batch_size": 32, "num_train_epochs": 2, "learning_rate": 0.01, "seed": 3}
    return TrainingArguments("out", **{**quiet, **usual, "dataloader_pin_memory": False, **more})


def pruned(model, mask):
    """The pruned weights, in one."""
    found = dict(model.named_parameters())
    return torch.cat([found[name].detach()[~remaining] for name, remaining in mask.items()])


class Watch(TrainerCallback):
    """Audits after every step, or breaks off."""

    def __init__(self, callback, broken_at=None):
        self.callback, self.seen, self.broken_at = callback, 0, broken_at

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.broken_at:
            raise RuntimeError("killed")
        assert self.callback.guard.audit().total > 0
        self.seen += 1


KINDS = {
    "plain": ({}, 12),
    "accumulation": ({"gradient_accumulation_steps": 4}, 4),
    "clipping": ({"max_grad_norm": 0.01}, 12),
    "bfloat16": ({"bf16": True}, 12),
    "adafactor": ({"optim": "adafactor"}, 12),
    "compiled": ({"torch_compile": True, "torch_compile_backend": "eager"}, 12),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_the_mask_holds_in_every_kind_of_training(name, data, ticket):
    more, steps = KINDS[name]
    model, callback = bert(), TicketCallback(ticket)
    ticket.apply(model)
    before, watch = bits(model), Watch(callback)
    trainer = Trainer(model, settings(**more), train_dataset=data, callbacks=[callback, watch])
    trainer.train()
    assert watch.seen == steps
    assert not pruned(model, ticket.mask).any() and not same(before, bits(model))
    assert callback.audit.remaining == ticket.mask.remaining and callback.guard is None
    assert free(model, trainer.optimizer.optimizer)


OTHERS = {
    "ViT": (
        lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(**SMALL, image_size=8, patch_size=4, num_channels=1, num_labels=10)
        ),
        "fc1",
        "classifier",
        lambda one: {"pixel_values": one["input_ids"].view(1, 8, 8) / 16},
    ),
    "GPT": (
        lambda: transformers.GPT2ForSequenceClassification(
            transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=17, n_positions=64, pad_token_id=0)
        ),
        "c_fc",
        "score",
        lambda one: {"input_ids": one["input_ids"]},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_train_from_a_ticket_under_their_own_head(name, data):
    make, pattern, head, inputs = OTHERS[name]
    source, model = make(), make()
    ticket = ticket_of(source, pattern, head)
    assert set(ticket.apply(model).fresh) == {name for name in model.state_dict() if name.startswith(head)}
    rows = [{**inputs(one), "labels": one["labels"] % model.num_labels} for one in data[:64]]
    callback = TicketCallback(ticket)
    Trainer(model, settings(), train_dataset=rows, callbacks=[callback, Watch(callback)]).train()
    assert not pruned(model, ticket.mask).any() and callback.audit.remaining == ticket.mask.remaining


def test_trainings_in_a_row_go_on_and_leak_nothing(data, ticket):
    model, callback = bert(), TicketCallback(ticket)
    ticket.apply(model)
    trainer, seen = (
        Trainer(model, settings(num_train_epochs=1), train_dataset=data, callbacks=[callback]),
        [bits(model)],
    )
    for _ in range(2):
        trainer.train()
        seen.append(bits(model))
    for again in (callback, TicketCallback(ticket)):
        Trainer(model, settings(num_train_epochs=1), train_dataset=data, callbacks=[again]).train()
        seen.append(bits(model))
    assert not any(same(one, other) for one, other in itertools.pairwise(seen))
    assert not pruned(model, ticket.mask).any() and free(model, trainer.optimizer.optimizer)
    Trainer(model, settings(num_train_epochs=1), train_dataset=data).train()
    assert pruned(model, ticket.mask).bool().float().mean() > 0.5, "without the callback it trains densely again"


def test_a_training_that_broke_off_is_let_go(data, ticket):
    model, callback = bert(), TicketCallback(ticket)
    ticket.apply(model)
    trainer = Trainer(model, settings(), train_dataset=data, callbacks=[callback, Watch(callback, broken_at=3)])
    with pytest.raises(RuntimeError, match="killed"), callback:
        trainer.train()
    assert callback.guard is None and free(model, trainer.optimizer.optimizer)

    trainer = Trainer(model, settings(), train_dataset=data, callbacks=[callback, Watch(callback, broken_at=3)])
    with pytest.raises(RuntimeError, match="killed"):
        trainer.train()
    left = callback.guard
    Trainer(model, settings(), train_dataset=data, callbacks=[callback]).train()
    assert callback.audit.remaining == ticket.mask.remaining and callback.guard is None and free(model)
    with pytest.raises(GuardError, match="detached"):
        left.audit()


def test_a_trainer_takes_one_callback(data, ticket):
    names = sorted(ticket.mask)
    one, other = (TicketCallback({name: ticket.mask[name]}) for name in names)
    model = bert()
    with pytest.raises(GuardError, match="takes only one TicketCallback"), one, other:
        Trainer(model, settings(max_steps=1), train_dataset=data, callbacks=[one, other]).train()
    assert free(model)


def test_the_callback_keeps_no_model(data, ticket):
    model, callback = bert(), TicketCallback(ticket)
    ticket.apply(model)
    Trainer(model, settings(max_steps=1), train_dataset=data, callbacks=[callback]).train()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_checkpoint_goes_on_to_the_weights_of_the_straight_run(data, ticket):
    straight, broken, resumed = bert(), bert(), bert()
    for model in (straight, broken):
        ticket.apply(model)
    Trainer(straight, settings(), train_dataset=data, callbacks=[TicketCallback(ticket)]).train()
    saving = settings(save_strategy="steps", save_steps=4)
    with pytest.raises(RuntimeError, match="killed"), TicketCallback(ticket) as callback:
        Trainer(broken, saving, train_dataset=data, callbacks=[callback, Watch(callback, broken_at=6)]).train()
    callback = TicketCallback(ticket)
    Trainer(resumed, saving, train_dataset=data, callbacks=[callback]).train(resume_from_checkpoint="out/checkpoint-4")
    assert same(bits(straight), bits(resumed)) and callback.audit.remaining == ticket.mask.remaining

    other = TicketCallback(Mask({name: ~remaining for name, remaining in ticket.mask.items()}))
    model = bert()
    with pytest.raises(GuardError, match="another guard"):
        Trainer(model, saving, train_dataset=data, callbacks=[other]).train(resume_from_checkpoint="out/checkpoint-4")
    assert other.guard is None and free(model)
    assert same(bits(model), bits(type(model).from_pretrained("out/checkpoint-4"))), (
        "it is refused before it zeroes anything"
    )
    with pytest.raises(FileError, match="not saved in a loop over a search"):
        resume(oneticket.Search(model, levels=1), "out/checkpoint-4")


def searched(data, search, *, broken_in=None, resumed=None, **more):
    """The search's book; it breaks off in a level after 6 steps, or goes on with a checkpoint of level 1."""
    for level in search:
        with TicketCallback(level) as callback:
            watch = Watch(callback, broken_at=6 if level.number == broken_in else None)
            trainer = Trainer(level.model, settings(**more), train_dataset=data, callbacks=[callback, watch])
            trainer.train(resumed if level.number == 1 else None)
        level.record(audited=callback.audit.parameters)
    return search.book


def test_a_search_finds_nested_tickets_and_counts_real_steps(tmp_path, data):
    model = bert()
    search = oneticket.Search(model, levels=3, fraction=0.4, rewind="2it")
    searched(data, search, gradient_accumulation_steps=2).save(tmp_path / "mine.safetensors")
    found = oneticket.Book.load(tmp_path / "mine.safetensors")
    assert [record["steps"] for record in found.records] == [6, 6, 6, 6], "of 12 batches every other is a step"
    assert all(found.mask(level + 1) <= found.mask(level) for level in range(3))
    assert found.densities == pytest.approx((1.0, 0.6, 0.36, 0.216), rel=2e-3)
    assert free(model)


def test_a_search_goes_on_within_a_level_to_the_same_book(data):
    asked = {"levels": 2, "fraction": 0.4, "rewind": "2it"}
    straight, broken, resumed = bert(), bert(), bert()
    book = searched(data, oneticket.Search(straight, **asked))

    search = oneticket.Search(broken, **asked)
    with pytest.raises(RuntimeError, match="killed"):
        searched(data, search, broken_in=1, save_strategy="steps", save_steps=4)
    assert free(broken)

    path = "out/checkpoint-4"
    said = json.loads(Path(f"{path}/trainer_state.json").read_text())["stateful_callbacks"]["oneticket"]
    assert (said["level"], said["steps"]) == (1, 4)
    search = oneticket.Search(resumed, **asked)
    for level in search:
        with pytest.raises(GuardError, match=r"saved at level 1, step 4 .* at level 0, step 0 .* `resume"):
            Trainer(resumed, settings(), train_dataset=data, callbacks=[TicketCallback(level)]).train(path)
        break
    assert free(resumed)
    resume(search, path)
    again = searched(data, search, resumed=path)
    assert again == book and again.records == book.records
    with pytest.raises(SpecError, match="another search; fraction was"):
        resume(oneticket.Search(resumed, **{**asked, "fraction": 0.5}), path)


def test_a_mask_that_does_not_fit_leaves_the_model_alone(data):
    model, callback = bert(), TicketCallback({"absent.weight": torch.tensor([True, False])})
    before = bits(model)
    with pytest.raises(GuardError, match=r"absent\.weight"):
        Trainer(model, settings(), train_dataset=data, callbacks=[callback]).train()
    assert same(before, bits(model)) and free(model)
