"""What the masks of a study's searches look like: density layer by layer, and what two sources have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from oneticket.store.store import Store
from oneticket.study.cells import Origin, distinct_labels
from oneticket.study.plan import begin_alike
from oneticket.study.rows import Row
from oneticket.study.steps import LevelStep


@dataclass(frozen=True, kw_only=True)
class Masks:
    """The masks of one search, as deep as it has come.

    `pruned_at`: weight -> the first level without it, 0 while it remains, in the order of the network's layers.
    `network`, `seed`: what its initial weights are drawn by.
    """

    about: Row
    network: Mapping[str, Any]
    seed: int
    replicate: int
    pruned_at: Mapping[str, Tensor]
    planned: int

    @property
    def deepest(self) -> int:
        """The sparsest level that is known, of those that were asked for."""
        return min(self.planned, max(int(at.max()) for at in self.pruned_at.values()))

    def remaining(self, level: int) -> Mapping[str, Tensor]:
        """Which weights remain at that level."""
        return {name: (at == 0) | (at > level) for name, at in self.pruned_at.items()}


def masks(origins: Iterable[Origin], store: Store) -> list[Masks]:
    """The masks of those searches that have begun."""
    found, called = [], distinct_labels(origins := list(origins))
    for origin in origins:
        there = (store.find(step) for step in reversed(origin.levels) if store.has(step))
        last = next((outcome for outcome in there if outcome is not None), None)
        if last is None:
            continue
        left = LevelStep.decode(last).pruned_at
        pruned_at = {name: left[name] for name in origin.layers}
        about, planned = called[origin.levels[0].key], len(origin.levels) - 1
        found.append(
            Masks(
                about=about,
                network=origin.network,
                seed=int(origin.search["seed"]),
                replicate=origin.replicate,
                pruned_at=pruned_at,
                planned=planned,
            )
        )
    return found


def layers(found: Iterable[Masks]) -> list[Row]:
    """How many weights remain in each layer, per search and level."""
    rows: list[Row] = []
    for each in found:
        total = sum(at.numel() for at in each.pruned_at.values())
        for level in range(each.deepest + 1):
            counts = {name: int(remaining.sum()) for name, remaining in each.remaining(level).items()}
            shared = {
                **each.about,
                "replicate": each.replicate,
                "level": level,
                "density": sum(counts.values()) / total,
            }
            for position, (name, at) in enumerate(each.pruned_at.items()):
                where = {"layer": name, "position": position, "living": counts[name], "total": at.numel()}
                rows.append({**shared, **where})
    return rows


def overlaps(found: Iterable[Masks], levels: Collection[int]) -> list[Row]:
    """The share of one source's remaining weights that remain in another's mask too, and the share by chance.

    Only of searches of one replicate that begin from the same initial weights, so that a weight is one in both.
    """
    rows: list[Row] = []
    for a, b in _pairs(found):
        if not _begin_alike(a, b):
            continue
        for level in sorted(set(levels) - {0}):
            if level > min(a.deepest, b.deepest):
                break
            first, second = (torch.cat([each.flatten() for each in m.remaining(level).values()]) for m in (a, b))
            both = int((first & second).sum())
            rows.append(
                {
                    "model": a.about["model"],
                    "a": _name(a),
                    "b": _name(b),
                    "replicate": a.replicate,
                    "level": level,
                    "density": int(first.sum()) / len(first),
                    "overlap": both / int(first.sum()),
                    "chance": int(second.sum()) / len(second),
                }
            )
    return rows


def not_compared(found: Iterable[Masks]) -> list[str]:
    """A sentence for each pair of searches of one model whose masks `overlaps` leaves out, with the reason."""
    return [*dict.fromkeys(_reason(a, b) for a, b in _pairs(found) if not _begin_alike(a, b))]


def _pairs(found: Iterable[Masks]) -> Iterator[tuple[Masks, Masks]]:
    """Searches of one model and replicate, with masks of the same shapes."""
    for a, b in combinations(found, 2):
        shapes = [{name: at.shape for name, at in each.pruned_at.items()} for each in (a, b)]
        if (a.about["model"], a.replicate, shapes[0]) == (b.about["model"], b.replicate, shapes[1]):
            yield a, b


def _begin_alike(a: Masks, b: Masks) -> bool:
    return a.seed == b.seed and begin_alike(a.network, b.network, seed=a.seed)


def _reason(a: Masks, b: Masks) -> str:
    said = f"{_name(a)} and {_name(b)} are not compared: their searches begin from other weights, since "
    if a.seed != b.seed:
        return f"{said}they have seeds {a.seed} and {b.seed}."
    counts = [one.network["classes"] for one in (a, b)]
    by = f"{counts[0]} and {counts[1]} outputs" if counts[0] != counts[1] else "inputs of another shape"
    return f"{said}{a.about['model']} draws others for {by}, though from one seed."


def _name(one: Masks) -> str:
    return "{source_data} ({source_optimizer})".format(**one.about)
