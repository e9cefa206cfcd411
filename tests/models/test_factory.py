"""Models by import path, real modules written to a folder on the path; and those of other libraries by name."""

import importlib.util
import sys

import pytest
import torch

from oneticket.ground.errors import ModelError, WrongModelError
from oneticket.ground.extras import MissingExtra
from oneticket.models.build import build
from oneticket.models.parts import head, prunable, random_forward
from oneticket.models.spec import MODELS, ModelSpec
from oneticket.task.inputs import Inputs

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
        return self.classifier(x + 0 * self.extra(x).sum())


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


class residual(headless):
    def __init__(self, classes):
        super().__init__(classes)
        self.more = nn.Linear(classes + 1, classes + 1)

    def forward(self, x):
        x = self[0](x.flatten(1))
        return (x + self.more(x).relu())[:, :-1]


class functional(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(classes, 4))
        self.body = nn.Linear(4, 4)

    def forward(self, x):
        return self.body(x.flatten(1)) @ self.weight.T


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
        ModelSpec(name=f"own_nets:{name}", **fields), inputs=Inputs(shape=shape), outputs=10, seed=seed
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
        ("headless", {}, "0.weight"),
        ("functional", {}, "weight"),
    ],
)
def test_each_way_to_take_the_classes_and_to_name_the_head(own, name, fields, last):
    assert head(own(name, **fields))[0] == last


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("Tow", {}, "has no 'Tow'; did you mean Two"),
        ("constant", {}, "expected a function or class"),
        ("no_classes", {}, "takes none of `classes`, `num_classes`, `outputs`"),
        ("Two", {"args": {"depth": 1}}, "unexpected keyword argument 'depth'; it takes .*hidden=6"),
        ("breaks", {}, "model 'own_nets:breaks' failed: RuntimeError: out of ideas"),
        ("not_a_model", {}, "expected a torch.nn.Module, got int"),
        ("of_another_shape", {}, r"fails on images of shape \(2, 1, 2, 2\): mat1 and mat2 shapes"),
        ("Undecided", {}, r"expected outputs of shape \(2, 10\) for two inputs, got dict"),
        (
            "residual",
            {},
            "no linear or convolution layer with 10 outputs; name its output layer .*head_name. Layers: 0, more",
        ),
        ("headless", {"head": "9"}, "unknown output layer '9'.*Known: 0"),
    ],
)
def test_each_mistake_has_its_message(own, name, fields, message):
    with pytest.raises(ModelError, match=message) as caught:
        own(name, **fields)
    assert isinstance(caught.value, WrongModelError) == (name not in ("breaks", "of_another_shape")), "their own errors"


def test_a_module_that_is_not_there():
    with pytest.raises(ModelError, match=r"cannot import 'nowhere.at_all'.*PYTHONPATH"):
        build(ModelSpec(name="nowhere.at_all:net"), inputs=Inputs(shape=(1, 2, 2)), outputs=2, seed=0)


TINY = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "patch_size": 4}
VIT = "transformers:ViTForImageClassification"


def of(name, shape=(1, 8, 12), classes=3, seed=0, **args):
    return build(ModelSpec(name=name, args=args), inputs=Inputs(shape=shape), outputs=classes, seed=seed)


def test_a_network_of_transformers_is_built_from_its_configuration_and_the_data():
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    before = torch.get_rng_state()
    net, again, other = of(VIT, **TINY), of(VIT, **TINY), of(VIT, seed=1, **TINY)
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(net, transformers.ViTForImageClassification)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert not torch.equal(net.classifier.weight, other.classifier.weight)
    assert head(net) == ("classifier.weight", "classifier.bias")
    config = transformers.ViTConfig(**TINY, image_size=[8, 12], num_channels=1, num_labels=3)
    with torch.random.fork_rng(devices=[]):
        bare = transformers.ViTForImageClassification(config).eval()
    bare.load_state_dict(net.state_dict())
    images = torch.linspace(-1, 1, 192).view(2, 1, 8, 12)
    assert torch.equal(net.eval()(images), bare(images).logits)
    assert all("attention" in name or "mlp" in name or "projection" in name for name in prunable(net))
    sizes = {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic"}
    assert of("transformers:ResNetForImageClassification", **sizes)(torch.zeros(2, 1, 8, 12)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("transformers:ViTForImageClasification", {}, "did you mean 'ViTForImageClassification'"),
        ("transformers:pipeline", {}, "unknown Transformers model 'pipeline'"),
        (VIT, {"hiden_size": 8}, "unknown field of ViTConfig 'hiden_size'; did you mean 'hidden_size'"),
        (VIT, {**TINY, "num_labels": 3}, "num_labels cannot be given, since the data decides it"),
        (VIT, {**TINY, "hidden_size": "wide"}, "failed while it was made: .*hidden_size"),
        (VIT, {**TINY, "patch_size": 16}, r"fails on images of shape \(2, 1, 8, 12\)|failed while it was made"),
        ("transformers:BertForSequenceClassification", {"num_labels": 3}, "num_labels cannot be given"),
        ("transformers:BertModel", {"num_hidden_layers": 1}, "fails on images|no linear or convolution layer"),
    ],
)
def test_each_mistake_with_transformers_has_its_message(name, args, message):
    pytest.importorskip("transformers", reason="Transformers is an optional package")
    with pytest.raises(ModelError, match=message):
        of(name, **args)


@pytest.mark.parametrize("wrong", ["pretrained", "checkpoint_path"])
def test_weights_are_never_fetched(wrong):
    with pytest.raises(ModelError, match=f"{wrong} would load weights; models are built untrained here"):
        of("timm:resnet18", **{wrong: True})


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_a_library_that_is_not_installed_is_named():
    with pytest.raises(MissingExtra, match="model 'timm:resnet18' needs timm: pip install timm"):
        of("timm:resnet18")
    with pytest.raises(MissingExtra, match="pip install timm"):
        MODELS.digest("timm:resnet18")


def test_a_network_of_timm_is_built_for_the_data():
    timm = pytest.importorskip("timm", reason="timm is an optional package")
    net = of("timm:resnet18", shape=(1, 32, 32))
    with torch.random.fork_rng(devices=[]):
        assert type(net) is type(timm.create_model("resnet18"))
    assert net(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
    assert head(net) == ("fc.weight", "fc.bias")
    with pytest.raises(ModelError, match="did you mean 'resnet18'"):
        of("timm:resnet1", shape=(1, 32, 32))


def test_a_librarys_version_is_part_of_the_address():
    pytest.importorskip("transformers", reason="Transformers is an optional package")
    assert MODELS.digest(VIT) == MODELS.digest("transformers:ResNetForImageClassification")
    assert MODELS.digest(VIT) != MODELS.digest("torch.nn:Linear") and len(MODELS.digest(VIT)) == 64


def test_settings_that_a_library_refuses_are_a_mistake_and_others_a_failure():
    pytest.importorskip("transformers", reason="Transformers is an optional package")
    for setting, kind in (({"hidden_size": "wide"}, WrongModelError), ({"hidden_act": "nosuch"}, ModelError)):
        with pytest.raises(ModelError, match="failed while it was made") as caught:
            of(VIT, **{**TINY, **setting})
        assert type(caught.value) is kind
