"""The law of all that is kept: damage of any file is found when it is read, told by its path, and costs itself alone.

Every kind of file that a store or a cache folder holds is damaged in every way; a new kind must be named here.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from stores import OTHER, SPEC, content, put
from torch import nn
from torch.nn.utils import skip_init

from oneticket.compact import choose
from oneticket.data.cache import cached
from oneticket.engine.cluster import ClusterShare
from oneticket.engine.engine import Engine, run
from oneticket.engine.worker import Worker
from oneticket.ground.errors import KeptWarning
from oneticket.lottery.run_context import RunContext
from oneticket.store import names
from oneticket.store.step import Step
from oneticket.store.store import Store
from oneticket.store.upkeep import verify
from oneticket.study.origins import search_origin
from oneticket.study.plan import search_cells
from oneticket.study.rows import rows

KINDS = {
    "outcome": r"store/format-2/../\w+\.safetensors",
    "definition": r"store/format-2/../\w+\.step\.json",
    "provenance": r"store/format-2/../\w+\.json",
    "drift": r"store/format-2/../\w+\.drift-\w+\.json",
    "failure": r"store/format-2/under-way/\w+\.failed\.json",
    "checkpoint": r"store/format-2/under-way/\w+\.safetensors",
    "decoded data": r"cache/decoded/\w+\.safetensors",
    "calibration": r"cache/forms/\w+\.json",
}
LAYERS = tuple(skip_init(nn.Linear, *sizes) for sizes in ((64, 32), (32, 64)))


def kind_of(path: Path, root: Path) -> str:
    (found,) = (kind for kind, like in KINDS.items() if re.fullmatch(like, path.relative_to(root).as_posix()))
    return found


def steps() -> list[Step]:
    return [step for n in range(2) for step in search_origin(SPEC, levels=1, replicate=n, context=RunContext()).levels]


def made(number: int) -> Callable[[], tuple[dict[str, torch.Tensor], object]]:
    return lambda: ({"x": torch.arange(6, dtype=torch.uint8) + number}, ["a", number])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(choose, "_KNOWN", {})
    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path / "elsewhere"))
    with torch.random.fork_rng():
        yield


def use(root: Path) -> tuple[object, ...]:
    """Read all that lies there, and finish what is not done: what comes of it, times and hosts left out."""
    choose._KNOWN.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONETICKET_CACHE", str(root / "cache"))
        data = [cached(n, made(n)).tensors["x"].tolist() for n in range(2)]
        assert all(0 <= choose.worth(layer, (8, layer.in_features)) < 1 for layer in LAYERS)  # a measurement
    store = Store(root / "store")
    _ = store.drifts(), store.failures(), store.provenances(store.keys())
    piles = run(steps(), store=store, context=RunContext(), engine=Engine(name="inline"))
    assert not piles.failed and not piles.not_run
    cells = [
        cell
        for n in range(2)
        for cell in search_cells(search_origin(SPEC, levels=1, replicate=n, context=RunContext()))
    ]
    table = [{**row, "seconds": None, "device": None, "threads": None} for row in rows(cells, store)]
    return data, table, content(store)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a cache folder with two files of every kind: two searches that were stopped within level 1."""
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONETICKET_CACHE", str(root / "cache"))
        for n, layer in enumerate(LAYERS):
            cached(n, made(n))
            choose.worth(layer, (8, layer.in_features))
    store = Store(root / "store")
    shallow, deep = steps()[::2], steps()[1::2]
    run(shallow, store=store, context=RunContext(), engine=Engine(name="inline"))
    for step in deep:
        seen: list[int] = []
        context = RunContext(
            watchers=(lambda run, seen=seen: seen.append(run.position),), stop=lambda seen=seen: len(seen) == 2
        )
        with pytest.raises(KeyboardInterrupt):
            run([step], store=store, context=context, engine=Engine(name="inline"))
        store.note_failure(step, "the loss is nan")
    for step in shallow:
        put(store, step, OTHER)
    return root


@pytest.fixture(scope="module")
def undisturbed(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    root = tmp_path_factory.mktemp("kept") / "copy"
    shutil.copytree(pristine, root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return use(root)


def flipped(part: float) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        at = int(part * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return damage


def edited(data: bytes) -> bytes:
    """A digit of a number in the text is another; the text stays JSON."""
    at = next(found.start() + 1 for found in re.finditer(rb"[:\[,.]\d", data))
    return data[:at] + (b"7" if data[at : at + 1] != b"7" else b"8") + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"bit flipped at {part}": flipped(part) for part in (0.0, 0.1, 0.5, 0.9, 1.0)},
    "field edited": edited,
    "truncated": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
}


def two(root: Path, kind: str) -> tuple[Path, Path]:
    first, second, *_ = sorted(path for path in root.rglob("*") if path.is_file() and kind_of(path, root) == kind)
    return first, second


def copied(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "root")
    return tmp_path / "root"


def test_there_are_files_of_every_kind_and_of_no_other(pristine: Path) -> None:
    found = [kind_of(path, pristine) for path in pristine.rglob("*") if path.is_file()]
    assert {kind: min(found.count(kind), 2) for kind in KINDS} == dict.fromkeys(KINDS, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_told_and_costs_one_piece_of_work(
    kind: str, damage: str, pristine: Path, undisturbed: tuple[object, ...], tmp_path: Path
) -> None:
    root = copied(pristine, tmp_path)
    path, _ = two(root, kind)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.warns(KeptWarning) as caught:
        assert use(root) == undisturbed
    assert [str(one.message).partition(": ")[0] for one in caught] == [str(path)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if kind not in ("provenance", "drift"):  # what these say is lost, and so is told again
            assert use(root) == undisturbed


@pytest.mark.parametrize("kind", KINDS)
def test_two_swapped_files_are_found_and_told(
    kind: str, pristine: Path, undisturbed: tuple[object, ...], tmp_path: Path
) -> None:
    root = copied(pristine, tmp_path)
    one, other = two(root, kind)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.warns(KeptWarning) as caught:
        assert use(root) == undisturbed
    assert sorted(str(line.message).partition(": ")[0] for line in caught) == sorted(map(str, (one, other)))


@pytest.mark.parametrize("kind", [kind for kind, like in KINDS.items() if like.startswith("store")])
@pytest.mark.parametrize("damage", [*DAMAGES, "swapped"])
def test_verify_finds_all_of_it(kind: str, damage: str, pristine: Path, tmp_path: Path) -> None:
    root = copied(pristine, tmp_path)
    store = Store(root / "store")
    assert not [trouble for _, trouble in verify(store) if trouble]
    one, other = two(root, kind)
    first, second = one.read_bytes(), other.read_bytes()
    harmed = [one, other] if damage == "swapped" else [one]
    one.write_bytes(second if damage == "swapped" else DAMAGES[damage](first))
    if damage == "swapped":
        other.write_bytes(first)
    found = [trouble for _, trouble in verify(store) if trouble]
    assert sorted(trouble.partition(": ")[0] for trouble in found) == sorted(map(str, harmed))
    assert all(path.with_name(f"{path.name}.{names.DAMAGED}").exists() for path in harmed)
    assert not [trouble for _, trouble in verify(store) if trouble]


def test_a_worker_hands_on_what_it_found(pristine: Path, tmp_path: Path) -> None:
    root = copied(pristine, tmp_path)
    path, _ = two(root, "checkpoint")
    path.write_bytes(flipped(0.5)(path.read_bytes()))
    caught = {"device": "cpu", "every": 20.0, "compact": True, "compiled": None, "threads": 1, "ranks": 1}
    answer = Worker(url=str(root / "store"), share=ClusterShare(), **caught).do(path.name.partition(".")[0])
    assert answer["said"] == "done"
    assert [line.partition(": ")[0] for line in answer["warnings"]] == [str(path)]
