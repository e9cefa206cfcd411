"""Tickets in Lightning: held in every kind of fit, proved, let go, resumed to the bit, and found by a search."""

import gc
import itertools
import json
import os
import subprocess
import sys
import weakref

import pytest
import torch
from integrations.conftest import bits, free, network, same
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from waiting import FOREVER

import oneticket
from oneticket.ground.errors import FileError, GuardError, SpecError

pl = pytest.importorskip("lightning.pytorch", reason="needs the package lightning")
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, StochasticWeightAveraging  # noqa: E402

from oneticket.integrations.lightning import TicketCallback, resume  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used"),
    pytest.mark.filterwarnings("ignore:.*is a wrapper class for the LightningModule:"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*`isinstance.treespec, LeafSpec.` is deprecated"),
]


class Lit(pl.LightningModule):
    """The network trained by Lightning's own loop."""

    def __init__(self, net=None, optimizer=lambda weights: torch.optim.AdamW(weights, lr=0.01), broken_at=None):
        super().__init__()
        self.net, self.make, self.broken_at = net or network(), optimizer, broken_at

    def training_step(self, batch, index):
        if self.broken_at is not None and self.global_step == self.broken_at[0]:
            raise self.broken_at[1]
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return self.make(self.parameters())


class ByHand(Lit):
    """Two optimizers, stepped by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, index))
            optimizer.step()

    def configure_optimizers(self):
        return [
            torch.optim.AdamW(layer.parameters(), lr=0.01, weight_decay=0.1) for layer in (self.net[0], self.net[2])
        ]


class Watch(pl.Callback):
    """Audits after every batch."""

    def __init__(self, callback):
        self.callback, self.seen = callback, 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert self.callback.guard.audit().parameters == 1
        self.seen += 1


def batches(digits):
    return DataLoader(TensorDataset(*digits), batch_size=32)


def trainer(*callbacks, epochs=2, **settings):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    checkpoints = any(isinstance(one, ModelCheckpoint) for one in callbacks)
    return pl.Trainer(
        max_epochs=epochs, callbacks=[*callbacks], enable_checkpointing=checkpoints, **{**quiet, **settings}
    )


FITS = {
    "plain": (Lit, {}),
    "accumulation": (Lit, {"accumulate_grad_batches": 4}),
    "clipping": (Lit, {"gradient_clip_val": 0.01}),
    "bfloat16": (Lit, {"precision": "bf16-mixed"}),
    "SGD": (lambda: Lit(optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9)), {}),
    "entries mixed (Adafactor)": (lambda: Lit(optimizer=lambda weights: torch.optim.Adafactor(weights, lr=0.1)), {}),
    "LBFGS": (lambda: Lit(optimizer=lambda weights: torch.optim.LBFGS(weights, lr=0.1, max_iter=3)), {}),
    "two optimizers by hand": (ByHand, {}),
}


@pytest.mark.parametrize("name", FITS)
def test_the_mask_holds_in_every_kind_of_fit(name, digits, ticket):
    make, settings = FITS[name]
    module, callback = make(), TicketCallback(ticket)
    ticket.apply(module.net)
    before, watch = bits(module), Watch(callback)
    engine = trainer(callback, watch, **settings)
    engine.fit(module, batches(digits))
    assert watch.seen == 12
    dead = ~ticket.mask["0.weight"]
    weight = module.net[0].weight.detach()
    assert not weight[dead].any() and (weight != before[0])[~dead].float().mean() > 0.5
    assert callback.audit.remaining == ticket.mask.remaining and callback.guard is None
    assert free(module, *engine.optimizers)


@pytest.mark.parametrize("average", ["SWA", "EMA"])
def test_averages_of_the_weights_are_as_sparse(average, digits, ticket):
    module, callback = Lit(), TicketCallback(ticket)
    ticket.apply(module.net)
    beside = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1) if average == "SWA" else EMAWeightAveraging()
    trainer(callback, beside, epochs=3).fit(module, batches(digits))
    averaged = beside._average_model if average == "SWA" else beside._average_model.module
    assert not averaged.net[0].weight[~ticket.mask["0.weight"]].any()
    assert not module.net[0].weight[~ticket.mask["0.weight"]].any()
    assert callback.audit.remaining == ticket.mask.remaining


def test_a_compiled_module(digits, ticket):
    module, callback = Lit(), TicketCallback(ticket)
    ticket.apply(module.net)
    trainer(callback, Watch(callback)).fit(torch.compile(module, backend="eager"), batches(digits))
    assert callback.audit.remaining == ticket.mask.remaining
    assert free(module)


def test_a_fit_gives_the_weights_of_a_plain_loop(digits, ticket):
    module, model = Lit(), network()
    ticket.apply(module.net)
    trainer(TicketCallback(ticket), epochs=2).fit(module, batches(digits))
    ticket.apply(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with ticket.attach(model, optimizer):
        for _ in range(2):
            for images, labels in batches(digits):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
    assert same(bits(model), bits(module.net))


def test_fits_in_a_row_go_on_and_leak_nothing(digits, ticket):
    module, callback = Lit(), TicketCallback(ticket)
    ticket.apply(module.net)
    engine, seen = trainer(callback, epochs=1), [bits(module)]
    engine.fit(module, batches(digits))
    seen.append(bits(module))
    engine.fit_loop.max_epochs = 2
    engine.fit(module, batches(digits))
    seen.append(bits(module))
    trainer(callback, epochs=1).fit(module, batches(digits))
    seen.append(bits(module))
    trainer(TicketCallback(ticket), epochs=1).fit(module, batches(digits))
    seen.append(bits(module))
    assert not any(same(one, other) for one, other in itertools.pairwise(seen))
    assert not seen[-1][0][~ticket.mask["0.weight"]].any()
    assert free(module)
    trainer(epochs=1).fit(module, batches(digits))
    assert module.net[0].weight[~ticket.mask["0.weight"]].bool().float().mean() > 0.5, (
        "without the callback it trains densely again"
    )


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_fit_that_breaks_off_lets_go(error, digits, ticket):
    module, callback = Lit(broken_at=(3, error)), TicketCallback(ticket)
    ticket.apply(module.net)
    engine = trainer(callback)
    with pytest.raises(ValueError if isinstance(error, ValueError) else SystemExit):
        engine.fit(module, batches(digits))
    assert callback.guard is None and callback.audit is None
    assert free(module, *engine.optimizers)
    module.broken_at = None
    trainer(callback).fit(module, batches(digits))
    assert callback.audit.remaining == ticket.mask.remaining


def test_the_callback_keeps_no_model(digits, ticket):
    module, callback = Lit(), TicketCallback(ticket)
    ticket.apply(module.net)
    trainer(callback, epochs=1).fit(module, batches(digits))
    gone = weakref.ref(module.net)
    module.net = None  # Lightning itself keeps the module that it fitted last
    gc.collect()
    assert gone() is None


def test_a_checkpoint_goes_on_to_the_weights_of_the_straight_run(tmp_path, digits, ticket):
    straight, broken, resumed = Lit(), Lit(broken_at=(12, ValueError("killed"))), Lit()
    for module in (straight, broken):
        ticket.apply(module.net)
    trainer(TicketCallback(ticket), epochs=4).fit(straight, batches(digits))
    keep = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    with pytest.raises(ValueError, match="killed"):
        trainer(TicketCallback(ticket), keep, epochs=4).fit(broken, batches(digits))
    callback = TicketCallback(ticket)
    trainer(callback, epochs=4).fit(resumed, batches(digits), ckpt_path=tmp_path / "step=12.ckpt")
    assert same(bits(straight), bits(resumed)) and callback.audit.remaining == ticket.mask.remaining

    other = TicketCallback({"net.0.weight": ~ticket.mask["0.weight"]})
    module = Lit()
    with pytest.raises(GuardError, match="another guard"):
        trainer(other, epochs=4).fit(module, batches(digits), ckpt_path=tmp_path / "step=12.ckpt")
    assert other.guard is None
    assert module.net[0].weight[ticket.mask["0.weight"]].all(), "it is refused before it zeroes anything"
    trainer(other, epochs=1).fit(module, batches(digits))
    assert other.audit is not None, "what a checkpoint said binds that fit alone"
    with pytest.raises(FileError, match="in a search's loop"):
        resume(oneticket.Search(module, levels=1), tmp_path / "step=12.ckpt")
    with pytest.raises(FileError, match="cannot be read"):
        resume(oneticket.Search(module, levels=1), tmp_path / "absent.ckpt")


def searched(module, loader, search, *, folder=None, broken_in=None, resumed=None, **settings):
    """The search's book; it breaks off in a level after 12 steps, or goes on with a checkpoint of level 1."""
    for level in search:
        module.broken_at = (12, ValueError("killed")) if level.number == broken_in else None
        keep = [ModelCheckpoint(folder, filename=f"{level.number}-{{step}}", save_top_k=-1)] if folder else []
        engine = trainer(TicketCallback(level), *keep, **settings)
        engine.fit(level.model, loader, ckpt_path=resumed if level.number == 1 else None)
        level.record(steps_of_lightning=level.steps)
    return search.book


def test_a_search_finds_nested_tickets_and_counts_real_steps(tmp_path, digits):
    module = Lit()
    search = oneticket.Search(module, levels=3, fraction=0.4, rewind="2it")
    book = searched(module, batches(digits), search, accumulate_grad_batches=2)
    book.save(tmp_path / "mine.safetensors")
    found = oneticket.Book.load(tmp_path / "mine.safetensors")
    assert [record["steps"] for record in found.records] == [6, 6, 6, 6], "of 12 batches every other is a step"
    assert all(found.mask(level + 1) <= found.mask(level) for level in range(3))
    assert found.densities == pytest.approx((1.0, 0.6, 0.36, 0.216), rel=2e-3)
    start = found[3].weights["net.0.weight"]
    assert not torch.equal(start, found[3].mask["net.0.weight"] * network()[0].weight.detach()), "W_2, not W_0"
    assert free(module)


def test_with_several_optimizers_a_step_is_done_with_the_last(digits):
    module, seen = ByHand(), {}

    class Copy(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.setdefault(level.steps, {name: value.clone() for name, value in pl_module.state_dict().items()})

    search = oneticket.Search(module, levels=0, rewind="2it")
    for level in search:
        engine = trainer(TicketCallback(level), Copy(), epochs=1)
        engine.fit(module, batches(digits))
    assert search.book.records[0]["steps"] == len(seen) == 6
    assert all(torch.equal(value, seen[2][name]) for name, value in search.book.weights.items())
    assert free(module, *engine.optimizers)


def test_a_trainer_takes_one_callback(ticket):
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `TicketCallback`"):
        trainer(TicketCallback(ticket), TicketCallback(ticket))


def test_a_level_may_be_trained_by_several_fits(digits):
    module = Lit()
    search = oneticket.Search(module, levels=1, fraction=0.5)
    for level in search:
        for _ in range(2):
            trainer(TicketCallback(level), epochs=1).fit(module, batches(digits))
    assert [record["steps"] for record in search.book.records] == [12, 12]
    assert search.book.density(1) == pytest.approx(0.5, rel=1e-3) and free(module)


def test_a_search_goes_on_within_a_level_to_the_same_book(tmp_path, digits):
    settings = {"levels": 2, "fraction": 0.4, "rewind": "2it"}
    straight, broken, resumed = Lit(), Lit(), Lit()
    book = searched(straight, batches(digits), oneticket.Search(straight, **settings), epochs=3)

    with pytest.raises(ValueError, match="killed"):
        searched(broken, batches(digits), oneticket.Search(broken, **settings), folder=tmp_path, broken_in=1, epochs=3)
    assert free(broken)

    path = tmp_path / "1-step=12.ckpt"
    search = oneticket.Search(resumed, **settings)
    for level in search:
        with pytest.raises(GuardError, match=r"saved at level 1, step 12 .* at level 0, step 0 .* `resume"):
            trainer(TicketCallback(level), epochs=3).fit(resumed, batches(digits), ckpt_path=path)
        break
    assert free(resumed)
    resume(search, path)
    again = searched(resumed, batches(digits), search, resumed=path, epochs=3)
    assert again == book and again.records == book.records
    with pytest.raises(SpecError, match="another search; rewind was"):
        resume(oneticket.Search(resumed, levels=2, fraction=0.4), path)


BAD = {
    "a word": (lambda: TicketCallback("mine.safetensors"), "a ticket, a mask or a level of a search, got str"),
    "a head for a mask": (lambda: TicketCallback({}, head="keep"), "say where a ticket goes, and this is a dict"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_when_it_is_given(name):
    make, words = BAD[name]
    with pytest.raises(GuardError, match=words):
        make()


def test_a_mask_that_does_not_fit_leaves_the_model_alone(digits):
    module, callback = Lit(), TicketCallback({"absent.weight": torch.tensor([True, False])})
    before, engine = bits(module), trainer(callback)
    with pytest.raises(GuardError, match=r"absent\.weight"):
        engine.fit(module, batches(digits))
    assert same(before, bits(module)) and free(module, *engine.optimizers)


RANKS = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import torch, lightning.pytorch as pl
from torch import nn
from oneticket.integrations.lightning import TicketCallback

class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 4)
    def training_step(self, batch, index):
        return self.net(batch[0]).square().mean()
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01, weight_decay=0.1)

class Tell(pl.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        callback.guard.audit()
    def on_fit_end(self, trainer, pl_module):
        weights = pl_module.net.weight.detach().tolist()
        with open(f"{sys.argv[1]}/{trainer.global_rank}.json", "w") as file:
            json.dump({"weights": weights, "audit": str(callback.audit)}, file)

if __name__ == "__main__":
    torch.manual_seed(0)
    living = torch.rand(4, 6) < 0.4
    callback, module = TicketCallback({"net.weight": living}), Lit()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(16, 6)), batch_size=4)
    pl.Trainer(max_epochs=1, accelerator="cpu", devices=2, strategy="ddp_fork", logger=False,
               callbacks=[callback, Tell()], enable_checkpointing=False, enable_progress_bar=False,
               enable_model_summary=False).fit(module, data)
    print(json.dumps({"pruned": living.logical_not().nonzero().tolist()}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="needs gloo"
)
def test_two_ranks_hold_the_mask_and_agree(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    (tmp_path / "ranks.py").write_text(RANKS)
    command = [sys.executable, tmp_path / "ranks.py", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=FOREVER, check=False)
    assert done.returncode == 0, done.stderr
    first, second = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert first == second and "exactly zero" in first["audit"]
    pruned = json.loads(done.stdout.splitlines()[-1])["pruned"]
    assert pruned and all(first["weights"][row][column] == 0.0 for row, column in pruned)
