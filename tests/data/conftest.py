"""Every test of the data room has a cache of its own session, no network, and the shared copies if they are there."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import sklearn  # noqa: F401  (it sets environment variables when first imported)
from PIL import Image

from oneticket.data.load import load
from oneticket.data.spec import DataSpec

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def surroundings(cache_home, monkeypatch):
    monkeypatch.setenv("ONETICKET_CACHE", str(cache_home))
    monkeypatch.setenv("ONETICKET_DATA", str(SHARED))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    yield
    assert before == (random.getstate(), np.random.get_state()[1].tolist()), "random state was changed"  # noqa: NPY002


@pytest.fixture
def shared():
    if not SHARED.is_dir():
        pytest.skip("needs the shared copies of real sets (ONETICKET_DATA), which are not here")
    return SHARED


@pytest.fixture(scope="session")
def pictures(cache_home):
    """200 real images, 20 of each class, uint8 (N, H, W, 3), and their labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONETICKET_CACHE", str(cache_home))
        patch.setenv("ONETICKET_DATA", str(SHARED))
        data = load(DataSpec(name="cifar10" if SHARED.is_dir() else "digits", per_class=20, channels=3, size=32))
    return data.train.inputs.permute(0, 2, 3, 1).numpy(), data.train.targets.numpy()


@pytest.fixture(scope="session")
def photos(pictures, tmp_path_factory):
    """An image folder like Places365's archive: 4 classes, larger pictures of differing size, one of them grey."""
    root = tmp_path_factory.mktemp("home")
    for number, (pixels, label) in enumerate(zip(*pictures, strict=True)):
        if label < 4:
            place = root / "places365_standard" / ("val" if number % 5 == 0 else "train") / f"scene{label}"
            place.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(pixels).resize((120 + number % 7, 90 + number % 11))
            (image.convert("L") if number == 1 else image).save(place / f"{number:03}.jpg")
    return root
