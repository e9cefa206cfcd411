"""Models by import path: real modules written to a folder on the path."""

import sys

import pytest
import torch

from oneticket.ground.errors import ModelError
from oneticket.models.build import build
from oneticket.models.parts import head, prunable, random_forward
from oneticket.models.spec import ModelSpec

SOURCE = """
import torch
from torch import nn

torch.manual_seed(123)  # a careless import must not leak


class Two(nn.Module):
    def __init__(self, classes, shape, hidden=6):
        super().__init__()
        self.classifier = nn.Linear(hidden, classes)
        self.body = nn.Linear(shape[0] * shape[1] * shape[2], hidden)
        self.extra = nn.Linear(hidden, 3)

    def forward(self, x):
        x = torch.relu(self.body(x.flatten(1)))
        return self.classifier(x) + 0 * self.extra(x).sum()


class Makers:
    @staticmethod
    def make(*, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(4, classes))


def by_num_classes(num_classes=1000):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Linear(8, num_classes))


def greedy(**kwargs):
    assert kwargs == {"depth": 2, "num_classes": 10}, kwargs
    return nn.Sequential(nn.Flatten(), nn.Linear(4, kwargs["num_classes"]))


class composite(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.top = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, classes))

    def forward(self, x):
        return self.top(self.body(x.flatten(1)))


class headless(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Linear(4, classes + 1))

    def forward(self, x):
        return super().forward(x.flatten(1))[:, :-1]


def of_another_shape(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(5, classes))


class Undecided(Two):
    def forward(self, x):
        return {"logits": super().forward(x)}


def no_classes(depth):
    return nn.Identity()


def breaks(classes):
    raise RuntimeError("out of ideas")


def not_a_model(classes):
    return 5


constant = 5
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name, shape=(1, 2, 2), seed=0, **fields: build(
        ModelSpec(name=f"own_nets:{name}", **fields), shape=shape, classes=10, seed=seed
    )
    sys.modules.pop("own_nets", None)


def test_shape_classes_and_args_reach_a_factory_that_names_them(own):
    before = torch.get_rng_state()
    net = own("Two", shape=(3, 4, 5), args={"hidden": 7})
    assert torch.equal(torch.get_rng_state(), before)
    assert net.body.weight.shape == (7, 60)
    assert head(net) == ("classifier.weight", "classifier.bias")
    assert prunable(net) == ("body.weight", "extra.weight")
    assert random_forward(net)


def test_the_seed_decides_whether_or_not_the_module_was_imported_before(own):
    first, second, other = own("Two"), own("Two"), own("Two", seed=1)
    assert torch.equal(first.body.weight, second.body.weight)
    assert not torch.equal(first.body.weight, other.body.weight)


@pytest.mark.parametrize(
    ("name", "fields", "last"),
    [
        ("Makers.make", {}, "1.weight"),
        ("by_num_classes", {}, "2.weight"),
        ("greedy", {"args": {"depth": 2}}, "1.weight"),
        ("composite", {}, "top.1.weight"),
        ("composite", {"head": "top"}, "top.0.weight"),
        ("headless", {"head": "0"}, "0.weight"),
    ],
)
def test_each_way_to_take_the_classes_and_to_name_the_head(own, name, fields, last):
    assert head(own(name, **fields))[0] == last


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("Tow", {}, "has no 'Tow'; did you mean Two"),
        ("constant", {}, "expected a function or class"),
        ("no_classes", {}, "takes neither `classes` nor `num_classes`"),
        ("Two", {"args": {"depth": 1}}, "unexpected keyword argument 'depth'; it takes .*hidden=6"),
        ("breaks", {}, "failed while it was made: RuntimeError: out of ideas"),
        ("not_a_model", {}, "expected a torch.nn.Module, got int"),
        ("of_another_shape", {}, r"fails on images of shape \(2, 1, 2, 2\): mat1 and mat2 shapes"),
        ("Undecided", {}, r"expected logits of shape \(2, 10\) for two images, got dict"),
        (
            "headless",
            {},
            "no linear or convolution layer with 10 outputs; name its output layer .*head_name. Layers: 0",
        ),
        ("headless", {"head": "9"}, "unknown output layer '9'.*Known: 0"),
    ],
)
def test_each_mistake_has_its_message(own, name, fields, message):
    with pytest.raises(ModelError, match=message):
        own(name, **fields)


def test_a_module_that_is_not_there():
    with pytest.raises(ModelError, match=r"cannot import 'nowhere.at_all'.*PYTHONPATH"):
        build(ModelSpec(name="nowhere.at_all:net"), shape=(1, 2, 2), classes=2, seed=0)
