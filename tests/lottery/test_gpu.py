"""The main job on a CUDA device: `make gpu` runs these where there is one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tables import MODELS, OPTIMIZERS

from oneticket.lottery.controls import Source
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import transfer
from oneticket.training.checkpoint import File

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def spec(model: str, optimizer: dict[str, Any], precision: str = "float32") -> SearchSpec:
    return SearchSpec(
        data={"name": "digits:a", "crop": 1, "flip": True},
        model=MODELS[model],
        optimizer=optimizer,
        training={"budget": "40it", "batch": 32, "clip": 1.0, "precision": precision},
        rewind="5it",
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_search_and_transfer(optimizer: str, precision: str) -> None:
    context = RunContext(device=torch.device("cuda"))
    book = search(spec("lenet", OPTIMIZERS[optimizer], precision), levels=2, context=context)
    assert [record["living"] for record in book.records] == [book.mask(n).remaining for n in range(3)]
    source = Source(ticket=book[2], rewind=book.weights)
    target = TransferSpec(data="digits:b", optimizer="adam", training={"budget": "40it", "precision": precision})
    for arm in ("dense", "ticket", "reinit", "global-random"):
        done = transfer(target, source=source, arm=arm, context=context)
        assert done.record["living"] == (book.mask(0) if arm == "dense" else book.mask(2)).remaining


@pytest.mark.parametrize("model", MODELS)
def test_the_same_as_on_the_cpu_to_float_tolerance(model: str) -> None:
    short = spec(model, {"name": "sgd", "lr": 0.01}).but(training={"budget": "8it", "batch": 32})
    books = [search(short, levels=0, context=RunContext(device=torch.device(device))) for device in ("cpu", "cuda")]
    one, other = (book.weights for book in books)
    assert all(torch.allclose(one[name].float(), other[name].float(), rtol=1e-2, atol=1e-3) for name in one)


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Any) -> None:
    asked = spec("resnet-20", {"name": "sgd"})
    seen: list[int] = []
    stopping = RunContext(
        device=torch.device("cuda"),
        checkpoint=File(tmp_path / "run"),
        watchers=(lambda run: seen.append(run.position),),
        stop=lambda: len(seen) >= 20,
    )
    with pytest.raises(KeyboardInterrupt):
        search(asked, levels=0, context=stopping)
    first = len(seen)
    going = RunContext(device=torch.device("cuda"), checkpoint=File(tmp_path / "run"), watchers=stopping.watchers)
    search(asked, levels=0, context=going)
    assert 20 < len(seen[first:]) < 40
