"""Forms are chosen by measurement, once a machine, and alike by all its processes."""

from __future__ import annotations

import errno
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from oneticket.compact import choose
from oneticket.ground import note
from oneticket.ground.errors import KeptWarning


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "_KNOWN", {})
    with torch.random.fork_rng():  # plain torch layers draw from the global state when they are made
        yield tmp_path / "cache" / "forms"


def remaining(layer: nn.Module, density: float) -> torch.Tensor:
    return torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < density


def test_a_wide_layer_pays_when_almost_nothing_lives_and_is_measured_once(folder: Path) -> None:
    layer = nn.Linear(1024, 512)
    found = {
        density: choose.forms({"a": layer}, {"a": remaining(layer, density)}, {"a": (64, 1024)})["a"]
        for density in (0.001, 0.9)
    }
    assert found == {0.001: "sparse", 0.9: "masked"}
    (kept,) = folder.iterdir()
    assert 0.001 < json.loads(kept.read_text())["value"] <= choose.DENSEST


def test_what_is_kept_decides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(256, 128)
    choose.worth(layer, (32, 256))
    (kept,) = folder.iterdir()
    about = json.loads(kept.read_text())["of"]
    for density, form in ((0.5, "sparse"), (0.0, "masked")):
        kept.write_text(note.write(choose.KIND, about, density))
        monkeypatch.setattr(choose, "_KNOWN", {})
        assert choose.forms({"a": layer}, {"a": remaining(layer, 0.1)}, {"a": (32, 256)}) == {"a": form}
    for bad in ("{", "", note.write(choose.KIND, "another layer", 0.5), '{"about": "x", "density": 0.5}'):
        kept.write_text(bad)
        monkeypatch.setattr(choose, "_KNOWN", {})
        with pytest.warns(KeptWarning, match=f"{kept}: .*; it is measured anew"):
            found = choose.worth(layer, (32, 256))
        assert note.read(kept.read_text(), choose.KIND, about) == found <= choose.DENSEST


def test_a_file_that_cannot_be_read_for_now_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(256, 128)
    choose.worth(layer, (32, 256))
    (kept,) = folder.iterdir()
    before = kept.read_bytes()
    monkeypatch.setattr(choose, "_KNOWN", {})

    def busy(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", busy)
        with pytest.warns(KeptWarning, match="Too many open files"):
            choose.worth(layer, (32, 256))
    assert kept.read_bytes() == before


def test_each_cache_folder_decides_for_itself(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(256, 128)
    choose.worth(layer, (32, 256))
    (kept,) = folder.iterdir()
    about = json.loads(kept.read_text())["of"]
    for name, density in (("one", 0.5), ("other", 0.25)):  # as other processes measured them
        (tmp_path / name / "forms").mkdir(parents=True)
        (tmp_path / name / "forms" / kept.name).write_text(note.write(choose.KIND, about, density))
    for name, density in (("one", 0.5), ("other", 0.25), ("one", 0.5)):
        monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / name))
        assert choose.worth(layer, (32, 256)) == density


def test_small_and_unfit_layers_stay_masked_and_are_not_measured(folder: Path) -> None:
    layers = {"small": nn.Linear(10, 10), "dilated": nn.Conv2d(64, 64, 3, dilation=2)}
    bits = {name: remaining(layer, 0.01) for name, layer in layers.items()}
    shapes = {"small": (8, 10), "dilated": (8, 64, 9, 9)}
    assert choose.forms(layers, bits, shapes) == {"small": "masked", "dilated": "masked"}
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "file"))
    layer = nn.Conv2d(64, 64, 3, padding=1)
    with pytest.warns(KeptWarning, match="file/forms: .*; each process measures for itself"):
        first = choose.worth(layer, (4, 64, 4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose.worth(nn.Conv2d(64, 32, 3, padding=1), (4, 64, 4, 4))
    assert first == choose.worth(layer, (4, 64, 4, 4))


def test_measuring_asks_for_no_defaults_of_torch() -> None:
    layers = (nn.Linear(200, 100), nn.Conv2d(16, 16, 3)), ((16, 200), (4, 16, 8, 8))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert all(choose.worth(layer, shape) <= choose.DENSEST for layer, shape in zip(*layers, strict=True))
    finally:
        torch.set_default_dtype(torch.float32)


def test_measuring_touches_neither_threads_nor_random_state() -> None:
    layer = nn.Linear(200, 100)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    choose.worth(layer, (16, 200))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)


LAYERS: dict[str, nn.Module] = {
    "flat": nn.Linear(256, 128),
    "image": nn.Conv2d(16, 16, (3, 1), padding=(1, 0), bias=False),
}
INPUTS = {"flat": (32, 256), "image": (8, 16, 12, 12)}


def refused(*_: object) -> float:
    """In the place of a measurement that is another process's."""
    raise AssertionError("measured here")


def test_another_process_measures_the_layers_of_a_large_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bits = {name: remaining(layer, 0.1) for name, layer in LAYERS.items()}
    monkeypatch.setattr(choose, "LARGE", 1)
    monkeypatch.setattr(choose, "_calibrate", refused)
    found = choose.forms(LAYERS, bits, INPUTS)
    assert len([*folder.iterdir()]) == 2 and all(0 <= value <= choose.DENSEST for value in choose._KNOWN.values())
    monkeypatch.setattr(choose, "_KNOWN", {})
    monkeypatch.setattr(choose, "elsewhere", refused)
    assert choose.forms(LAYERS, bits, INPUTS) == found


@pytest.mark.parametrize("broken", ["no such program", "false", ""])
def test_without_another_process_they_are_measured_here(
    broken: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "LARGE", 1)
    monkeypatch.setattr(sys, "executable", broken)
    choose.forms({"flat": LAYERS["flat"]}, {"flat": remaining(LAYERS["flat"], 0.1)}, INPUTS)
    assert len([*folder.iterdir()]) == 1
