"""How a search in somebody's own loop learns which layers are the output's, and when it says that it guessed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import pytest
import torch
from loops import copy, data, same, sgd
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from oneticket.ground.errors import ModelError, PruneError, SpecError, TransferError
from oneticket.lottery.loop_search import Search
from oneticket.models.parts import GUESS, OUTPUT
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

CLASSIFIER = ("classifier.weight", "classifier.bias")


class First(nn.Module):
    """The output layer is registered first, so the order says that it is `b`."""

    def __init__(self, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.classifier = nn.Linear(8, classes)
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, rows: Tensor) -> Tensor:
        return self.classifier(self.b(self.a(rows).relu()).relu())


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def train(level: Any, call: Any, start: int = 0, stop: int = 3) -> None:
    for step in range(start, stop):
        inputs, labels = data(step)
        level.optimizer.zero_grad()
        cross_entropy(call(inputs), labels).backward()
        level.optimizer.step()


def by_parts(model: nn.Module) -> Any:
    return lambda rows: model.classifier(model.b(model.a(rows).relu()).relu())


WAYS = {
    "the first pass": (lambda model: model, {}),
    "an example": (lambda model: model, {"example": torch.ones(2, 6)}),
    "a name": (lambda model: model, {"head": "classifier"}),
    "DDP's kind of wrapper": (nn.DataParallel, {}),
    "compiled, its graph hidden": (lambda model: torch.compile(model, backend="aot_eager"), {}),
    "compiled in part": (lambda model: setattr(model, "a", torch.compile(model.a, backend="aot_eager")) or model, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_finds_the_same_ticket(way: str) -> None:
    wrap, settings = WAYS[way]
    model = First()
    search = Search(wrap(model), sgd, levels=2, fraction=0.5, rewind="1it", **settings)
    assert search.dense["classifier.weight" if settings else "b.weight"] == (OUTPUT if settings else GUESS)
    for level in search:
        train(level, level.model, level.start)
        assert [name.replace("_orig_mod.", "") for name in level.mask] == ["a.weight", "b.weight"]
        assert level.guard.audit().total == level.mask.total == 48 + 64
    assert search.book.contract.head == CLASSIFIER and search.dense["classifier.weight"] == OUTPUT
    assert search.book.densities == (1.0, 0.5, 0.25)
    straight = Search(First(), sgd, levels=2, fraction=0.5, rewind="1it", head="classifier")
    for level in straight:
        train(level, level.model, level.start)
    assert [search.book.mask(n).remaining for n in range(3)] == [straight.book.mask(n).remaining for n in range(3)]
    if "compiled" not in way:
        assert same(search.book.weights, straight.book.weights) and search.book.id == straight.book.id


def test_a_loop_that_calls_the_parts_is_understood_when_level_0_is_done() -> None:
    model = First()
    search = Search(model, sgd, levels=1, fraction=0.5)
    for level in search:
        train(level, by_parts(model))
    assert search.book.contract.head == CLASSIFIER


def by_tensors(model: nn.Module) -> Any:
    return lambda rows: model.classifier.weight.mm(model.b.weight.mm(model.a.weight.mm(rows.T))).T


def drive(search: Search, call: Any) -> None:
    for level in search:
        train(level, call)


def test_a_guess_that_nothing_confirms_is_told() -> None:
    model = First()
    search = Search(model, sgd, levels=1, fraction=0.5)
    with pytest.warns(
        UserWarning, match=r"no forward pass through First showed .*b\.bias, b\.weight was taken for .*head="
    ):
        drive(search, by_tensors(model))
    assert search.book.contract.head == ("b.weight", "b.bias")
    model = First()
    drive(Search(model, sgd, levels=1, head="classifier"), by_tensors(model))


@pytest.mark.parametrize(("number", "at"), [(0, 0), (0, 2), (1, 1)])
def test_a_search_that_goes_on_knows_what_was_found(number: int, at: int) -> None:
    settings: dict[str, Any] = {"levels": 2, "fraction": 0.5, "rewind": "1it"}
    straight = Search(First(), sgd, **settings)
    for level in straight:
        train(level, level.model, level.start)
    model = First()
    search = Search(model, lambda m: sgd(m, momentum=0.0), **settings)
    for level in search:
        train(level, level.model, level.start, level.start + at if level.number == number else 3)
        if level.number == number:
            state, weights = search.state_dict(), copy(model)
            break
    again = First(seed=5)
    search = Search(again, lambda m: sgd(m, momentum=0.0), **settings)
    search.load_state_dict(state)
    assert search.dense["b.weight" if at == number == 0 else "classifier.weight"] == (GUESS if number == 0 else OUTPUT)
    again.load_state_dict(weights)
    for level in search:
        train(level, level.model, level.start + level.steps)
    assert search.book.contract.head == CLASSIFIER
    assert list(search.book.pruned_at) == ["a.weight", "b.weight"]
    assert search.book.densities == straight.book.densities
    named = Search(First(), sgd, **settings, head="b")
    with pytest.raises(SpecError, match=r"head was \['classifier.weight', 'classifier.bias'\] there, \['b.weight'"):
        named.load_state_dict(search.state_dict())


def test_a_network_that_is_all_head_is_refused_at_its_first_pass() -> None:
    model = nn.ModuleDict({"one": nn.Linear(6, 3), "two": nn.Linear(6, 3)})
    model.forward = lambda rows: model["one"](rows) + model["two"](rows)
    with pytest.raises(ModelError, match="nothing to prune"):
        drive(Search(model, sgd, levels=1), model)
    with pytest.raises(ModelError, match=r"example: its forward pass does not show where the outputs come from"):
        Search(nn.Sequential(First(), Lost()), sgd, levels=1, example=torch.rand(2, 6))


class Modes(nn.Module):
    """Two tasks that may take turns, the second in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.a, self.b = (nn.Linear(*size) for size in ((8, 3), (8, 3), (6, 8), (8, 8)))

    def forward(self, rows: Tensor, task: str = "both") -> Any:
        rows = self.b(self.a(rows).relu()).relu()
        both = {"one": self.one(rows), **({"two": self.two(rows)} if self.training else {})}
        return both if task == "both" else both[task]


def total(output: Any) -> Tensor:
    return sum(each.square().sum() for each in (output.values() if isinstance(output, dict) else [output]))


@pytest.mark.parametrize("order", [["one", "two"], ["two", "one"], ["eval", "both"]], ids=" ".join)
def test_heads_that_take_turns_are_all_found(order: list[str]) -> None:
    model = Modes()
    search = Search(model, sgd, levels=1, fraction=0.5, rewind="1it")
    for level in search:
        for task in order * 2:
            level.optimizer.zero_grad()
            total(model.train(task != "eval")(data(0)[0], "both" if task == "eval" else task)).backward()
            level.optimizer.step()
    assert search.book.contract.head == (("one.weight", "one.bias"), ("two.weight", "two.bias"))
    assert list(search.book.pruned_at) == ["a.weight", "b.weight"] and search.book.densities == (1.0, 0.5)


def test_many_parts_are_all_looked_at() -> None:
    model = nn.ModuleList([*(nn.Linear(6, 6, bias=False) for _ in range(70)), nn.Linear(6, 3)])
    search = Search(model, sgd, levels=1, fraction=0.5)
    drive(search, lambda rows: reduce(lambda found, part: part(found), model, rows))
    assert search.book.contract.head == ("70.weight", "70.bias")


def test_weights_that_no_gradient_reaches_are_told_before_they_are_pruned() -> None:
    words = r"no gradient reaches two\.weight in the forward passes .* name all output layers by head="
    with pytest.warns(UserWarning, match=words):
        Search(Modes().eval(), sgd, levels=1, example=data(0)[0])
    model = Modes().eval()
    with pytest.warns(UserWarning, match=words) as caught:
        drive(Search(model, sgd, levels=2), lambda rows: model(rows)["one"])
    assert len(caught) == 1
    drive(Search(model := Modes().eval(), sgd, levels=1, head=["one", "two"]), lambda rows: model(rows)["one"])
    model = First()  # a body that is frozen for a while
    model.b.requires_grad_(False)
    for level in Search(model, sgd, levels=1, prunable=["b.weight"]):
        train(level, model, stop=1)
        model.requires_grad_(True)
        train(level, model)


def test_a_start_whose_head_is_wrong_is_told_with_the_line_that_corrects_it() -> None:
    drive(old := Search(model := First(), sgd, levels=1, fraction=0.5, head="b"), model)
    ticket, model = old.book[1], First()
    with pytest.warns(
        UserWarning, match=r"come from classifier\.weight, which the search prunes: the ticket"
    ) as caught:
        drive(Search(model, sgd, levels=1, fraction=0.5, start=ticket), model)
    line = str(caught[0].message).partition("search with ")[2]
    settings: dict[str, Any] = eval(f"dict({line})", {"ticket": ticket})
    ticket.apply(model := First(), head="keep")
    drive(search := Search(model, sgd, levels=1, fraction=0.5, **settings), model)
    assert search.book.contract.head == CLASSIFIER
    assert list(search.book.pruned_at) == ["a.weight", "b.weight"]


class Lost(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows.detach().argmax(1)


class Wide(First):
    """Most of it is its output layer, which is registered first."""

    def __init__(self) -> None:
        super().__init__(classes=40)


def test_what_stays_dense_is_told_when_the_heads_are_known() -> None:
    model = Wide()
    search = Search(model, sgd, levels=1, fraction=0.5)  # by the guess, b would stay dense
    with pytest.warns(
        UserWarning, match=r"most of .* stay dense \(classifier\.weight, 320: the output layer"
    ) as caught:
        drive(search, model)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=r"most of .* stay dense \(classifier\.weight, 320: the output layer"):
        Search(Wide(), sgd, levels=1, example=torch.rand(2, 6))


@pytest.mark.parametrize("settings", [{"example": torch.ones(2, 6)}, {"head": "classifier"}], ids=["example", "head"])
def test_a_search_that_starts_sparse_has_to_know_its_heads_before_the_first_pass(settings: dict[str, Any]) -> None:
    mask = {"a.weight": torch.eye(8, 6).bool()}
    with pytest.raises(ModelError) as caught:
        drive(Search(model := First(), sgd, levels=1, fraction=0.5, start=mask), model)
    words = "the outputs of First come from classifier.bias, classifier.weight, and not from b.bias, b.weight"
    assert words in str(caught.value)
    line: Any = eval(str(caught.value).partition("head=")[2].partition(", or example=")[0])
    for known in (settings, {"head": line}):
        search = Search(model := First(), sgd, levels=1, fraction=0.5, start=mask, **known)
        drive(search, model)
        assert search.book.contract.head == CLASSIFIER and search.book.mask(1).remaining == 6 + 64
    again = Search(model := First(), sgd, levels=1, fraction=0.5, start=search.book[1])  # which names them
    drive(again, model)
    assert again.book.contract.head == CLASSIFIER


class Words(nn.Module):
    """A tied language model, with a body that a classifier has too."""

    def __init__(self, out: int | None = None) -> None:
        super().__init__()
        self.emb, self.body = nn.Embedding(9, 6), nn.Linear(6, 6)
        self.middle = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 6))
        if out is None:
            self.out = nn.Linear(6, 9, bias=False)
            self.out.weight = self.emb.weight
        else:
            self.cls = nn.Linear(6, out)

    def forward(self, words: Tensor) -> Tensor:
        hidden = self.middle(self.body(self.emb(words)).relu())
        return self.out(hidden) if hasattr(self, "out") else self.cls(hidden)


def language(prunable: tuple[str, ...] = ()) -> Search:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        search = Search(Words(), sgd, levels=1, fraction=0.5, prunable=prunable)
    for level in search:
        cross_entropy(level.model(torch.arange(9)), torch.arange(9)).backward()
        level.optimizer.step()
    return search


def test_a_tied_embedding_goes_into_a_classifier() -> None:
    ticket, model = language().book[1], Words(out=3)
    carried = ticket.apply(model)
    assert carried.fresh == ("cls.bias", "cls.weight") and carried.left == ("out.weight",)
    assert torch.equal(model.emb.weight, ticket.weights["emb.weight"])


def test_a_tied_embedding_that_is_pruned_comes_once_and_leaves_no_tensor_of_the_outputs_own() -> None:
    search = language(prunable=("body.weight", "emb.weight"))
    ticket = search.book[1]
    assert ticket.contract.head == ((),) and "out.weight" not in ticket.weights
    for model in (Words(), Words(out=3)):
        assert "emb.weight" in ticket.apply(model).mask
        assert torch.equal(model.emb.weight, ticket.weights["emb.weight"])


@pytest.fixture
def old() -> Ticket:
    """A ticket as format 1 was written before: the tied weight goes by the embedding's name."""
    model = Words()
    mask = Mask({"body.weight": torch.eye(6).bool()})
    contract = Contract(rewind="0it", step=0, head=("emb.weight",))
    return Ticket(mask=mask, weights=model.state_dict(), contract=contract)


def test_a_head_recorded_by_its_other_role_is_told_with_the_line_that_corrects_it(old: Ticket, tmp_path: Any) -> None:
    old.save(tmp_path / "old")
    ticket, model = Ticket.load(tmp_path / "old"), Words(out=3)
    before = copy(model)
    with pytest.raises(TransferError) as caught:
        ticket.apply(model)
    assert same(copy(model), before)
    known: dict[str, Any] = {"ticket": ticket}
    exec(str(caught.value).partition("correct it with ")[2], known)
    ticket = known["ticket"]
    assert ticket.contract.head == ("out.weight",)
    assert ticket.apply(model).fresh == ("cls.bias", "cls.weight")
    assert torch.equal(model.emb.weight, old.weights["emb.weight"])
    # Where the model ties them too, nothing is lost by it.
    assert old.apply(Words()).fresh == ()


def test_a_hidden_layer_recorded_for_the_head_is_told_at_the_first_pass() -> None:
    source = First(seed=1)
    mask = Mask({"a.weight": torch.ones(8, 6).tril().bool()})
    contract = Contract(rewind="0it", step=0, head=("b.weight", "b.bias"))
    ticket = Ticket(mask=mask, weights=source.state_dict(), contract=contract)
    model = First(seed=2)
    assert ticket.apply(model).fresh == ("b.bias", "b.weight")
    with (
        ticket.attach(model, sgd(model)),
        pytest.warns(UserWarning, match="the outputs of First come from classifier.bias, classifier.weight") as caught,
    ):
        model(torch.rand(2, 6))
    known: dict[str, Any] = {"ticket": ticket}
    exec(str(caught[0].message).partition("If that is wrong: ")[2].partition(", then apply")[0], known)
    ticket = known["ticket"]
    assert ticket.contract.head == CLASSIFIER
    assert ticket.apply(model).fresh == tuple(sorted(CLASSIFIER))
    with ticket.attach(model, sgd(model)):
        model(torch.rand(2, 6))  # warns no more, as warnings are errors here


def test_a_head_is_named_by_layers_or_tensors() -> None:
    ticket = language().book[1]
    assert ticket.with_head("out", "body").contract.heads == (("out.weight",), ("body.bias", "body.weight"))
    assert ticket.with_head("body.weight", "out.weight").contract.head == ("body.weight", "out.weight")
    assert (
        ticket.with_head().contract.head == () and language().book.with_head("body").contract.heads[0][0] == "body.bias"
    )
    with pytest.raises(PruneError, match="unknown tensor or layer 'cls'"):
        ticket.with_head("cls")
