"""Made-up findings with all that a whole report takes: claims, a protocol, and the sizes of the datasets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from made import SETS, findings

from oneticket.data.spec import DataSpec
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.pruning.spec import PruningSpec
from oneticket.study.findings import Findings
from oneticket.study.grid import Plan
from oneticket.training.spec import TrainingSpec

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(1)> & "quoted" | *bold*'


def reported(
    *, name: str = "made", title: str = "", note: str = "", claims: tuple[str, ...] = ("C1", "C3", "C4"), **made: Any
) -> Findings:
    """`made.findings`, of a study with these words and claims."""
    found = findings(**made)
    return replace(
        found,
        plan=Plan(name=name, cells=(), title=title, note=note, claims=claims),
        rows=[{**row, **_about(row, "source"), **_about(row, "target"), "device": "cpu"} for row in found.rows],
        protocol=PROTOCOL,
    )


def _about(row: dict[str, Any], end: str) -> dict[str, Any]:
    name = row[f"{end}_data"]
    return {f"{end}_name": name, f"{end}_classes": CLASSES.get(name), f"{end}_images": name and 5000}


def _settings(spec: Any) -> dict[str, list[Any]]:
    return {name: [value] for name, value in spec.plain().items()}


USED = {
    "data": [DataSpec(name=name).plain() for name in SETS],
    "optimizer": [OptimizerSpec(name="sgd", lr=0.03, schedule="cosine", warmup="50it").plain()],
    "seed": [0],
}
TRAINING = _settings(TrainingSpec(budget="500it", batch=50))
CLASSES = {"fashion_mnist": 10, "svhn": 10, "cifar10": 10, "cifar100": 100}
PROTOCOL: dict[str, dict[str, list[Any]]] = {
    "study": {"arm": ["dense", "ticket", "own", "reinit"], "level": [0, 11, 17, 20], "replicate": [0, 1, 2]},
    "network": {"model": [{"spec": ModelSpec(name="vgg-11").plain(), "shape": [3, 32, 32], "classes": 10}]},
    "called": {
        "model": [("vgg-11", ModelSpec(name="vgg-11").plain())],
        **{kind: [(each["name"], each) for each in USED[kind]] for kind in ("data", "optimizer")},
    },
    "source": {**USED, "rewind": ["100it"]},
    "source.training": TRAINING,
    "source.pruning": _settings(PruningSpec()),
    "target": {**USED, "head": ["fresh"]},
    "target.training": TRAINING,
}
