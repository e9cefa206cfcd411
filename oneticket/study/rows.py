"""Rows: one flat record per trained network, the same columns whatever trained it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.data.spec import DataSpec
from oneticket.models.spec import ModelSpec
from oneticket.study.step import Step
from oneticket.study.store import Store
from oneticket.study.work import open_book

Row = dict[str, Any]
COLUMNS = (
    *("arm", "model", "source_data", "source_optimizer", "target_data", "target_optimizer"),
    *("level", "density", "replicate", "accuracy", "loss", "seconds"),
    *(
        "train_loss",
        "living",
        "natural_zeros",
        "steps",
        "examples",
        "budget",
        "batch",
        "lr",
        "weight_decay",
        "schedule",
    ),
    *("criterion", "scope", "shots", "rewind", "head", "seed", "device", "data_digest", "key"),
)


def rows(steps: Iterable[Step], store: Store) -> list[Row]:
    """The rows of those steps that trained a network and are done, in the order given."""
    origins: dict[str, Mapping[str, Any]] = {}
    return [_row(step, store, origins) for step in steps if step.kind in ("level", "transfer") and store.has(step)]


def _row(step: Step, store: Store, origins: dict[str, Mapping[str, Any]]) -> Row:
    args = step.args
    if step.kind == "level":
        target, source, arm = args, args, "ticket" if args["level"] else "dense"
    else:
        target, source, arm = args["transfer"], _origin(step, origins), args["arm"]
    provenance = store.provenance(step)
    known = {
        "arm": arm,
        "model": model_label(source["model"]),
        "source_data": data_label(source["data"]) if "data" in source else None,
        "source_optimizer": source["optimizer"]["name"] if "optimizer" in source else None,
        "target_data": data_label(target["data"]),
        "target_optimizer": target["optimizer"]["name"],
        "replicate": args["replicate"],
        "seconds": provenance.get("seconds"),
        "device": provenance.get("device"),
        "rewind": source.get("rewind"),
        "head": target.get("head"),
        "seed": target["seed"],
        "key": step.key,
        **{name: target["training"][name] for name in ("budget", "batch")},
        **{name: target["optimizer"][name] for name in ("lr", "weight_decay", "schedule")},
        **{name: source.get("pruning", {}).get(name) for name in ("criterion", "scope", "shots")},
        **store.record(step),
    }
    return {column: known.get(column) for column in COLUMNS}


def _origin(step: Step, origins: dict[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The search that a transfer's ticket came from; for the dense arm there is none, only its network."""
    if not step.needs:
        return {"model": step.args["network"]["spec"]}
    need = step.needs[0]
    if need.file is None:
        return step.needs[-1].args
    if need.key not in origins:
        read = open_book(need)
        origins[need.key] = read.lineage.get("search") or {"model": read.model["spec"]}
    return origins[need.key]


def data_label(data: Mapping[str, Any]) -> str:
    """A dataset's name and what was chosen other than usual, such as `cifar100(classes=10)`.

    >>> data_label(DataSpec(name="digits:a", per_class=5).plain())
    'digits:a(per_class=5)'
    """
    return _label(data, DataSpec.read(data["name"]).plain())


def model_label(model: Mapping[str, Any]) -> str:
    """A model's name and what was chosen other than usual, such as `vgg-11(width=0.125)`.

    >>> model_label(ModelSpec(name="vgg-11", width=0.125).plain())
    'vgg-11(width=0.125)'
    """
    return _label(model, ModelSpec.read(model["name"]).plain())


def _label(chosen: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    unusual = [f"{name}={_word(value)}" for name, value in chosen.items() if value != usual[name]]
    return str(chosen["name"]) + (f"({', '.join(unusual)})" if unusual else "")


def _word(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
