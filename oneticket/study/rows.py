"""Rows: one flat record per trained network, the same columns whatever trained it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.study.step import Step
from oneticket.study.store import Store
from oneticket.study.work import open_book

Row = dict[str, Any]
COLUMNS = (
    *("arm", "model", "source_data", "source_optimizer", "target_data", "target_optimizer"),
    *("level", "density", "replicate", "accuracy", "loss", "seconds"),
    *("train_loss", "living", "natural_zeros", "steps", "examples", "head", "seed", "device", "data_digest", "key"),
)


def rows(steps: Iterable[Step], store: Store) -> list[Row]:
    """The rows of those steps that trained a network and are done, in the order given."""
    return [_row(step, store) for step in steps if step.kind in ("level", "transfer") and store.has(step)]


def _row(step: Step, store: Store) -> Row:
    args = step.args
    if step.kind == "level":
        target, source, arm = args, args, "ticket" if args["level"] else "dense"
    else:
        target, arm = args["transfer"], args["arm"]
        source = _origin(step)
    provenance = store.provenance(step)
    known = {
        "arm": arm,
        "model": source["model"]["name"],
        "source_data": label(source["data"]) if "data" in source else None,
        "source_optimizer": source["optimizer"]["name"] if "optimizer" in source else None,
        "target_data": label(target["data"]),
        "target_optimizer": target["optimizer"]["name"],
        "replicate": args["replicate"],
        "seconds": provenance.get("seconds"),
        "device": provenance.get("device"),
        "head": target.get("head"),
        "seed": target["seed"],
        "key": step.key,
        **store.get(step).record,
    }
    return {column: known.get(column) for column in COLUMNS}


def _origin(step: Step) -> Mapping[str, Any]:
    """The search that a transfer's ticket came from; for the dense arm there is none, only its network."""
    if not step.needs:
        return {"model": step.args["network"]["spec"]}
    if step.needs[0].file is None:
        return step.needs[-1].args
    read = open_book(step.needs[0])
    search: Mapping[str, Any] = read.lineage.get("search") or {"model": read.model["spec"]}
    return search


def label(data: Mapping[str, Any]) -> str:
    """A dataset's name and what was selected from it, such as `cifar100(classes=10)`.

    >>> label({"name": "digits:a", "classes": None, "per_class": 5})
    'digits:a(per_class=5)'
    """
    chosen = [f"{k}={data[k]}" for k in ("classes", "per_class", "size", "channels") if data.get(k) is not None]
    return str(data["name"]) + (f"({','.join(chosen)})" if chosen else "")
