"""Fit: which tickets go into a model or onto a dataset, and the reason that is given for the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import oneticket_cli
from torch import nn

from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError, ModelError, SpecError
from oneticket.ground.import_path import own
from oneticket.publish.fit import Fit, facts_of, into_model, onto_data, wanted
from oneticket.publish.zoo import entries
from oneticket.ticket.ticket import Ticket

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(64, 300), nn.Linear(300, 100), nn.Linear(100, classes)

    def forward(self, images):
        return self.out(self.fc2(self.fc1(images.flatten(1)).relu()).relu())

class Deaf(Net):
    def forward(self, images):
        raise RuntimeError("only on Tuesdays")

def wrapped():
    net = Net()
    net.fc3 = net.out
    del net.out
    net.forward = lambda images: net.fc3(net.fc2(net.fc1(images.flatten(1)).relu()).relu())
    return nn.Sequential(net)

class Other(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU())
        self.top = nn.Linear(100, classes)

    def forward(self, images):
        return self.top(self.body(images))

class Turned(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.out, self.b, self.a = nn.Linear(100, classes), nn.Linear(300, 100), nn.Linear(64, 300)

    def forward(self, images):
        return self.out(self.b(self.a(images.flatten(1)).relu()).relu())

def data():
    return torch.rand(40, 16), torch.arange(40) % 4, torch.rand(8, 16), torch.arange(8) % 4

made = Net()

def needs(images, labels): ...

def fails():
    return 1 / 0
"""


def shipped() -> list[tuple[str, Ticket]]:
    return [(entry.name, entry.thing) for entry in entries() if isinstance(entry.thing, Ticket)]


def by_name(fits: list[Fit]) -> dict[str, Fit]:
    return {fit.name: fit for fit in fits}


def into(what: str) -> dict[str, Fit]:
    make = wanted(what)
    assert not isinstance(make, DataSpec)
    return by_name(into_model(shipped(), make))


def onto(what: str) -> dict[str, Fit]:
    spec = wanted(what)
    assert isinstance(spec, DataSpec)
    facts, sized = facts_of(spec, shipped())
    return by_name(onto_data(shipped(), spec, facts, sized=sized))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


def test_a_known_model_takes_its_own_tickets_and_no_others() -> None:
    for name, ticket in shipped():
        fits = into(ticket.model["spec"]["name"])
        width = ticket.model["spec"].get("width", 1.0), ticket.model["spec"].get("widths", [])
        assert bool(fits[name].problem) == (width != (1.0, [])), "but one of another width"
    assert "none of its" in into("resnet-20")["digits-a"].problem


@pytest.mark.parametrize("name", ["Net", "made", "wrapped"])
def test_a_model_of_ones_own_by_its_path(name: str, mine: Path) -> None:
    fits = into(f"mine.py:{name}")
    assert fits["digits-a"].problem == "" and "stays yours" in " ".join(fits["digits-a"].notes)
    other = fits["lenet-fashion_mnist"].problem
    assert ("fails on images" if name == "Net" else "fc1.weight is 300 x 784 in the ticket, 300 x 64 in the") in other


def test_the_same_shapes_under_other_names_fit_with_the_map_that_is_said(mine: Path, capsys: Any) -> None:
    fits = into("mine.py:Other")
    good = {name: fit for name, fit in fits.items() if not fit.problem}
    named = {name for name, fit in into("mine.py:Net").items() if not fit.problem}
    assert good.keys() == named and named
    for name, fit in good.items():
        assert fit.names == {"fc1.": "body.1.", "fc2.": "body.3."}
        assert "by their shapes, layer after layer, under other names" in fit.notes[0]
        model = own("mine.py:Other", "model")()
        applied, weight = fit.ticket.apply(model, names=fit.names), fit.ticket.weights["fc1.weight"]
        assert applied.names["fc2.weight"] == "body.3.weight", name
        assert sorted(applied.fresh) == ["top.bias", "top.weight"]
        assert torch.equal(model.body[1].weight, weight * fit.ticket.mask["fc1.weight"])
    turned = into("mine.py:Turned")
    assert all(turned[name].problem.startswith("another architecture") for name in named), "layers in another order"
    code, out, _ = oneticket_cli("zoo --for mine.py:Other", capsys)
    assert code == 0 and "None fits" not in out
    assert "names = {'fc1.': 'body.1.', 'fc2.': 'body.3.'}" in out
    assert "guard = ticket.attach(model, optimizer, names=names)" in out


def test_nothing_of_the_users_is_written_to(mine: Path) -> None:
    from oneticket.ground.import_path import own

    model = own("mine.py:made", "model")
    assert isinstance(model, nn.Module)
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    assert not into("mine.py:made")["digits-a"].problem
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()) and model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_that_fit_a_model_that_does_not_take_the_inputs(mine: Path) -> None:
    fits = into("mine.py:Deaf")
    assert "only on Tuesdays" in fits["digits-a"].problem


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nothing", "unknown model or dataset 'nothing'"),
        ("resnet20", "did you mean 'resnet-20'"),
        ("here", "say ./here"),
        ("mine.py:needs", "needs images, labels"),
        ("mine.py:fails", "ZeroDivisionError"),
        ("mine.py:nobody", "has no 'nobody'"),
        ("none.py:model", "no such file"),
        ("no.such.module:model", "cannot import"),
    ],
)
def test_what_is_neither_is_told_in_words(what: str, words: str, mine: Path) -> None:
    (mine / "here").mkdir()
    with pytest.raises(SpecError, match=".") as caught:
        wanted(what)
    assert words in str(caught.value)


def test_a_model_that_cannot_be_made_is_a_mistake_and_no_answer() -> None:
    def make(*_: object) -> nn.Module:
        raise ModelError("not today")

    with pytest.raises(ModelError, match="not today"):
        into_model(shipped(), make)


def test_images_go_onto_networks_for_images_alone() -> None:
    fits = onto("digits")
    kinds = {name: ticket.model.get("kind", "images") for name, ticket in shipped()}
    assert {name for name, fit in fits.items() if not fit.problem} == {n for n, k in kinds.items() if k == "images"}
    assert "as they are" in fits["digits-a"].notes[0] and "found on digits:a" in fits["digits-a"].notes[1]
    assert fits["digits-a"].alike.startswith("digits:b"), "the same set before others"
    assert "28 x 28 pixels" in fits["lenet-fashion_mnist"].notes[0] and not fits["digits-a"].loses


def test_colours_are_lost_in_a_grey_network(mine: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 24, 24, 3), dtype=np.uint8)
    labels = np.arange(40) % 4
    np.savez("set.npz", x_train=images, y_train=labels, x_test=images[:8], y_test=labels[:8])
    fits = onto("./set.npz")
    assert fits["digits-a"].loses and "lose their colours" in fits["digits-a"].notes[0]
    assert not fits["resnet-20-cifar10"].loses and "--size 24 keeps yours" in fits["resnet-20-cifar10"].notes[0]
    assert "--size" not in fits["conv-4-cifar10"].notes[0], "whose linear layers are for one size"


def test_data_of_ones_own_and_of_another_kind(mine: Path) -> None:
    for fit in onto("mine.py:data").values():
        takes = fit.ticket.model.get("kind", "images")
        assert (takes == "vectors") == (not fit.problem)
        if takes == "images":
            assert "the data holds vectors of 16 numbers" in fit.problem
    assert all("vectors of 10 numbers" in fit.problem for fit in onto("diabetes").values())


def test_a_set_that_is_not_there(mine: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        onto("./gone")


def test_a_file_that_names_code_runs_none(mine: Path) -> None:
    (mine / "mine.py").write_text("raise SystemExit('run')")
    name, ticket = shipped()[0]
    spec = {"name": "mine.py:Net"}
    scored = Ticket(
        mask=ticket.mask, weights=ticket.weights, contract=ticket.contract, model={**ticket.model, "spec": spec}
    )
    facts, _ = facts_of(DataSpec(name="digits"), [(name, scored)])
    (fit,) = onto_data([(name, scored)], DataSpec(name="digits"), facts)
    assert isinstance(fit, Fit), "whatever is said of it, nothing was run"
