"""The model spec: complete, round-tripping, refusing what does not apply."""

import subprocess
import sys

import pytest

from oneticket.ground import canon
from oneticket.ground.errors import SpecError
from oneticket.models.spec import MODELS, ModelSpec

SPECS = [
    *({"name": name} for name in MODELS),
    {"name": "mlp", "widths": (30, 20), "width": 2},
    {"name": "resnet-50", "stem": "small", "width": 0.5, "prunable": ("layer1.*", "!layer1.0.*")},
    {"name": "package.module:Class.make", "args": {"depth": 3, "sizes": [1, 2]}, "head": "classifier"},
]


@pytest.mark.parametrize("given", SPECS, ids=str)
def test_plain_reads_back_and_has_a_canonical_text(given):
    spec = ModelSpec.read(given)
    assert ModelSpec.read(spec.plain()) == spec
    assert spec.plain().keys() == ModelSpec.model_fields.keys()
    assert canon.digest(spec.plain()) == canon.digest(ModelSpec.read(spec.plain()).plain())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "vgg19"}, "did you mean 'vgg-19'"),
        ({"name": "resnet50"}, "did you mean 'resnet-50'"),
        ({"name": "lenet"}, "Known: byte-gpt, conv-2, .*lenet-300-100.*; your own: 'file.py:function'"),
        ({"name": "a.b:"}, "unknown model"),
        ({"name": "a b:c"}, "unknown model"),
        (
            {"name": "vgg-19", "widths": (3,)},
            "model.widths: does not apply to vgg-19; what does apply: width, prunable",
        ),
        ({"name": "vgg-19", "stem": "small"}, "model.stem: does not apply"),
        ({"name": "resnet-20", "stem": "small"}, "model.stem: does not apply"),
        ({"name": "mlp", "args": {"x": 1}}, "model.args: does not apply"),
        ({"name": "mlp", "head": "fc1"}, "model.head: does not apply"),
        ({"name": "a:b", "width": 0.5}, "model.width: does not apply"),
        ({"name": "a:b", "args": {"num_classes": 3}}, "num_classes cannot be given, since the data decides it"),
        ({"name": "a:b", "args": {"x": float("nan")}}, "finite"),
        ({"name": "mlp", "width": 0}, "greater than 0"),
        ({"name": "mlp", "widths": (3, 0)}, "greater than 0"),
        ({"name": "mlp", "depth": 3}, "unknown field 'depth'"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    with pytest.raises(SpecError, match=message):
        ModelSpec.read(given)


def test_every_field_is_described():
    assert all(field.description for field in ModelSpec.model_fields.values())


@pytest.mark.parametrize("module", ["oneticket.models.spec", "oneticket.optim.spec"])
def test_specs_need_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
