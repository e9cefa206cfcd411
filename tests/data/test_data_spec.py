import subprocess
import sys

import pytest

from oneticket.data.spec import USUAL, DataSpec
from oneticket.ground.errors import SpecError


@pytest.mark.parametrize("name", [*USUAL, "cifar10:a", "svhn:b", "org/name", "./folder", "/a/set.npz", "set.npz:a"])
def test_plain_form_is_complete_and_reads_back(name):
    spec = DataSpec.read(name)
    assert DataSpec.read(spec.plain()) == spec
    assert spec.plain()["flip"] is not None
    assert spec.plain()["crop"] is not None


def test_usual_augmentation_unless_told():
    assert (DataSpec(name="cifar10:b").flip, DataSpec(name="cifar10:b").crop) == (True, 4)
    assert (DataSpec(name="digits").flip, DataSpec(name="digits").crop) == (False, 0)
    assert (DataSpec(name="cifar10", flip=False).flip, DataSpec(name="cifar10", crop=0).crop) == (False, 0)


def test_half_is_part_of_the_name():
    spec = DataSpec(name="cifar10:a")
    assert (spec.set, spec.half) == ("cifar10", "a")
    assert DataSpec(name="cifar10").half is None


@pytest.mark.parametrize(
    ("name", "set", "half"),
    [
        ("mine.py:data", "mine.py:data", None),
        ("mine.py:data:a", "mine.py:data", "a"),
        ("mine.py:a", "mine.py:a", None),
        ("mine.py:a:a", "mine.py:a", "a"),
        ("folder/mine.py:b:b", "folder/mine.py:b", "b"),
        ("package.module:a", "package.module:a", None),
        ("package.module:Makers.data:b", "package.module:Makers.data", "b"),
        ("module:data", "module:data", None),
        ("set.npz:a", "set.npz", "a"),
        ("org/name:b", "org/name", "b"),
        ("digits:a", "digits", "a"),
    ],
)
def test_a_half_is_behind_the_whole_name_of_a_set(name, set, half):
    spec = DataSpec(name=name)
    assert (spec.set, spec.half) == (set, half)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "cifar01"}, "did you mean 'cifar10'?"),
        ({"name": "my_folder"}, "./folder"),
        ({"name": "cifar10:c"}, "a half is ':a' or ':b'"),
        ({"name": "mine.py:data:c"}, "a half is ':a' or ':b'"),
        ({"name": "cifar01:a"}, "did you mean 'cifar10'?"),
        ({"name": "digits", "classes": 1}, "data.classes"),
        ({"name": "digits", "per_class": 0}, "data.per_class"),
        ({"name": "digits", "channels": 2}, "data.channels"),
        ({"name": "digits", "fit": "stretch"}, "data.fit"),
        ({"name": "digits", "crop": -1}, "data.crop"),
        ({"name": "digits", "sise": 8}, "did you mean 'size'?"),
    ],
)
def test_mistakes_are_named(fields, words):
    with pytest.raises(SpecError, match=words.replace("?", r"\?").replace(".", r"\.")):
        DataSpec(**fields)


def test_every_field_is_described():
    assert all(field.description for field in DataSpec.model_fields.values())


def test_spec_needs_no_torch():
    code = "import sys, oneticket.data.spec; assert not {'torch', 'numpy', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
