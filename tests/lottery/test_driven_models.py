"""The search in somebody's own loop over models and loops of many kinds, on two ranks, and on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from commands import oneticket_cli
from loops import copy, data, net, same, sgd, steps
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oneticket.lottery.level import Level
from oneticket.lottery.loop_search import Search
from oneticket.ticket.ticket import Ticket


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.LSTM(6, 5, num_layers=2, proj_size=3, batch_first=True)
        self.cell = nn.GRUCell(3, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.cell(self.steps(inputs.view(-1, 1, 6).expand(-1, 4, 6))[0][:, -1]))


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(4, 8)
        self.body = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, dropout=0.0, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.body(self.words((inputs > 0).long())).mean(1))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.two.weight = self.one.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.out(self.two(self.one(inputs).relu()).relu())


class Scaled(nn.Module):
    """Looks like a wrapper, and has a parameter and a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.scale = net(), nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen += 1
        return self.module(inputs) * self.scale


def frozen() -> nn.Module:
    model = net()
    model[0].requires_grad_(False)
    return model


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.ConvTranspose2d(4, 2, 2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


def normed() -> nn.Module:
    model = net()
    torch.nn.utils.parametrizations.weight_norm(model[0])
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, str], int]] = {
    "recurrent": (
        Recurrent,
        {"steps.bias_ih_l0": "one-dimensional", "out.weight": "the output layer"},
        20 * 6 + 20 * 3 + 3 * 5 + 20 * 3 + 20 * 3 + 3 * 5 + 12 * 3 + 12 * 4,
    ),
    "attentive": (Attentive, {"words.weight": "an embedding; name it by a pattern"}, 24 * 8 + 64 + 2 * 96),
    "tied": (Tied, {"one.bias": "one-dimensional"}, 36),
    "like a wrapper": (Scaled, {"scale": "the output layer", "module.4.weight": "the output layer"}, 168),
    "frozen": (frozen, {"0.weight": "frozen", "4.weight": "the output layer"}, 96),
    "convolutions": (convolutions, {"2.weight": "one-dimensional"}, 36 + 36 + 32),
    "parametrized": (
        normed,
        {"0.parametrizations.weight.original1": "its layer's weight is computed from it"},
        96,
    ),
    "compiled": (lambda: torch.compile(net(), backend="eager"), {"0.bias": "one-dimensional"}, 168),
}


# torch says which kernel an LSTM with projections takes.
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_models_of_many_kinds(name: str, tmp_path: Path) -> None:
    make, dense, total = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
        given = copy(getattr(model, "_orig_mod", model))
        search = Search(model, sgd, levels=2, fraction=0.5)
        for level in search:
            assert level.mask.total == total
            steps(level.model, level.optimizer, level.step, 0, 3)
            assert all(search.dense[name].startswith(why) for name, why in dense.items())
        if name == "frozen":
            left = {n: level.mask.project(given)[n] for n in ("0.weight", "0.bias")}
            assert all(torch.equal(copy(model)[n], value) for n, value in left.items())
    assert not any("_orig_mod" in name for name in search.book.weights)
    assert [round(d * total) for d in search.book.densities] == [
        total,
        total - total // 2,
        (total - total // 2 + 1) // 2,
    ]
    search.book.save(tmp_path / "mine")
    ticket = Ticket.load(tmp_path / "mine", level=2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = make()
    ticket.apply(other, head="keep")
    wanted = ticket.mask.project(given)
    if name == "tied":
        wanted["two.weight"] = wanted["one.weight"]
    assert same(getattr(other, "_orig_mod", other).state_dict(), wanted)


def accumulating(level: Level) -> None:
    for step in range(6):
        inputs, labels = data(step)
        cross_entropy(level.model(inputs), labels).backward()
        if step % 2:
            level.optimizer.step()
            level.optimizer.zero_grad()
            level.step()


def scaled(level: Level) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for step in range(3):
        inputs, labels = data(step)
        level.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = cross_entropy(level.model(inputs), labels)
        scaler.scale(loss).backward()
        scaler.unscale_(level.optimizer)
        nn.utils.clip_grad_norm_(level.model.parameters(), 1.0)
        scaler.step(level.optimizer)
        scaler.update()
        level.step()


def closed(level: Level) -> None:
    for step in range(3):
        inputs, labels = data(step)

        def closure(inputs: Tensor = inputs, labels: Tensor = labels) -> Tensor:
            level.optimizer.zero_grad()
            loss = cross_entropy(level.model(inputs), labels)
            loss.backward()
            return loss

        level.optimizer.step(closure)
        level.step()


def reused(level: Level) -> None:
    steps(level.model, level.optimizer, level.step, 0, 3)
    level.model.eval()
    level.record(accuracy=float((level.model(data(0)[0]).argmax(1) == data(0)[1]).float().mean()))


LOOPS: dict[str, tuple[Callable[[Level], None], Callable[[nn.Module], Any]]] = {
    "accumulation": (accumulating, sgd),
    "scaler": (scaled, sgd),
    "closure": (closed, lambda model: torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)),
    "evaluation": (reused, lambda model: [torch.optim.Adam(model.parameters())]),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_of_many_kinds(name: str) -> None:
    drive, optimizer_fn = LOOPS[name]
    model = net(norm=True)
    search = Search(model, optimizer_fn, levels=2, rewind="2it", fraction=0.5)
    for level in search:
        if name == "evaluation":
            level.optimizer = level.optimizer[0]
        drive(level)
        assert level.steps == 3
        assert not same(copy(model), level.mask.project(copy(net(norm=True))))
    assert [record["steps"] for record in search.book.records] == [3, 3, 3]
    assert search.book.densities == (1.0, 0.5, 0.25)
    if name == "evaluation":
        assert not model.training
        assert 0 <= search.book.records[2]["accuracy"] <= 1


@pytest.mark.parametrize("head", [None, ()])
def test_a_small_bert_finds_its_ticket(head: Any, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=20, max_position_embeddings=8, num_labels=2, **shape)
    draw = torch.Generator().manual_seed(0)
    words = torch.randint(20, (32, 8), generator=draw)
    labels = (words[:, 0] > 9).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = (transformers.BertForSequenceClassification if head is None else transformers.BertModel)(config)
        body = model.bert if head is None else model
        given = copy(body)
        search = Search(model, lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3), levels=2, fraction=0.4, head=head)
        for level in search:
            for _ in range(4):
                level.optimizer.zero_grad()
                if head is None:
                    loss = level.model(input_ids=words, labels=labels).loss
                else:
                    loss = level.model(input_ids=words).pooler_output[:, 0].sub(labels * 2 - 1).square().mean()
                loss.backward()
                level.optimizer.step()
                level.step()
            level.record(loss=loss.item())
        assert set(search.book.contract.head) == ({"classifier.weight", "classifier.bias"} if head is None else set())
        assert search.dense[
            "bert.embeddings.word_embeddings.weight" if head is None else "embeddings.word_embeddings.weight"
        ]
        remaining = 2 * (4 * 16 * 16 + 2 * 16 * 24) + 16 * 16
        for number in range(3):
            assert search.book.mask(number).remaining == remaining
            remaining -= remaining * 2 // 5
        search.book.save(tmp_path / "bert")
        task = transformers.BertForTokenClassification(config)
        before = copy(task.classifier)
        carried = Ticket.load(tmp_path / "bert", level=2).apply(task, fresh=(), names=POOLER[head is None])
    assert carried.mask.remaining == search.book.mask(2).remaining - int(
        search.book.mask(2)[POOLED[head is None]].sum()
    )
    assert same(copy(task.classifier), before)
    kept = {name.removeprefix("bert."): remaining for name, remaining in carried.mask.items()}
    assert all(
        torch.equal(copy(task.bert)[name], torch.where(remaining, given[name], 0)) for name, remaining in kept.items()
    )


POOLER = {True: {"bert.pooler.": None}, False: {"pooler.": None}}
POOLED = {True: "bert.pooler.dense.weight", False: "pooler.dense.weight"}


def test_the_book_is_shown_and_checked_and_needs_your_own_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Search(net(), sgd, levels=2, rewind="1it")
    for level in search:
        steps(level.model, level.optimizer, level.step, level.start, 4)
        level.record(accuracy=0.9 - level.number / 10)
    search.book.save(tmp_path / "mine")
    code, out, _ = oneticket_cli(f"show {tmp_path / 'mine'}", capsys)
    assert code == 0
    assert "1it (step 1)" in out
    assert "criterion magnitude, fraction 0.2" in " ".join(out.split())
    assert "108" in out
    assert "3 trainings, 10 steps" in out
    code, out, _ = oneticket_cli(f"verify {tmp_path / 'mine'}", capsys)
    assert code == 0
    assert "good. book" in out
    words = f"transfer {tmp_path / 'mine'} --data digits:b --store {tmp_path / 'store'}"
    code, _, err = oneticket_cli(words, capsys)
    assert code == 2
    assert "does not say which network it is for; apply it to your model with Ticket.apply" in " ".join(err.split())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_a_device_is_searched_there(tmp_path: Path) -> None:
    model = net(norm=True).cuda()
    given, search = copy(model), Search(model, sgd, levels=2, fraction=0.5, rewind="1it")
    scaler = torch.amp.GradScaler("cuda")
    for level in search:
        assert all(value.is_cuda for value in model.state_dict().values())
        for step in range(3):
            inputs, labels = (each.cuda() for each in data(step))
            level.optimizer.zero_grad()
            with torch.autocast("cuda", dtype=torch.float16):
                loss = cross_entropy(model(inputs), labels)
            scaler.scale(loss).backward()
            scaler.step(level.optimizer)
            scaler.update()
            level.step()
        level.guard.audit()
    assert search.book.densities == (1.0, 0.5, 0.25)
    assert not same(search.book.weights, {name: value.cpu() for name, value in given.items()})
    search.book.save(tmp_path / "mine")
    ticket = Ticket.load(tmp_path / "mine", level=2)
    ticket.apply(model, head="keep")
    assert same({name: value.cpu() for name, value in model.state_dict().items()}, ticket.weights)


RANKS = """
import json, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from oneticket import Search
from oneticket.ground.errors import OneticketError

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
torch.manual_seed(rank)
model = DistributedDataParallel(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
search = Search(model, lambda model: torch.optim.AdamW(model.parameters(), lr=0.01), levels=3, rewind="2it")
for level in search:
    for _ in range(4):
        level.optimizer.zero_grad()
        level.model(torch.randn(5, 6)).square().mean().backward()
        level.optimizer.step()
        level.step()
words = ""
from torch.distributed.fsdp import fully_shard
from torch.distributed.device_mesh import init_device_mesh
inner = nn.Linear(4, 4)
fully_shard(inner, mesh=init_device_mesh("cpu", (2,)))
try:
    Search(nn.Sequential(inner, nn.Linear(4, 2)), levels=1)
except OneticketError as error:
    words = str(error)
print(json.dumps({"masks": [search.book.mask(level).digest for level in range(4)], "names": sorted(search.book.weights),
                  "weights": search.book.weights["0.weight"].tolist(), "living": search.book.mask(3).remaining,
                  "words": words}))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="needs gloo"
)
def test_two_ranks_find_one_ticket_and_shards_are_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [forked.Child("-c", RANKS, str(rank), tmp_path, env=environment, warn=["error"]) for rank in range(2)]
    try:
        first, second = [json.loads(rank.end().stdout) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert first["masks"] == second["masks"]
    assert first["weights"] == second["weights"]
    assert first["living"] == second["living"] == 48 - 9 - 7 - 6
    assert "0.weight" in first["names"]
    assert not any(name.startswith("module.") for name in first["names"])
    assert "0.weight: sharded over ranks, and no rank can rank weights" in first["words"].replace("0.bias, ", "")
