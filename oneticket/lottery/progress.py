"""The progress of a search in the user's own loop: a value, its plain form, and how to read it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from oneticket.ground.errors import SpecError
from oneticket.lottery.snapshot import kept_for
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed
from oneticket.ticket.values import facts, held

Tensors = Mapping[str, Tensor]
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state that a search needs to continue.

    `level`: the current or next one. `kept`: optimizer step -> parameters and buffers, of step 0 and, once it is
    reached, of the rewind point. `pruned_at`: prunable weight -> the first level without it, 0 while it remains
    (uint8). `records`: of the finished levels. `steps`, `scores`: of the open level so far. `first`: the first level to
    train, 1 for a search that starts sparse, since level 0 is the dense network. `weights`: the digest of the prunable
    weights of an open level with steps; empty if unknown.
    """

    level: int
    kept: Mapping[int, Tensors]
    pruned_at: Tensors
    records: tuple[Mapping[str, Any], ...] = ()
    steps: int = 0
    scores: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0
    weights: str = ""

    @property
    def mask(self) -> Mask:
        """Which weights remain at the level."""
        return Mask({name: at == 0 for name, at in self.pruned_at.items()})

    def anew(self) -> Progress:
        """The level before its first step."""
        return replace(
            self, steps=0, scores={}, weights="", kept=self.kept if self.level > self.first else {0: self.kept[0]}
        )

    def over(self, model: nn.Module, prunable_names: Iterable[str]) -> Progress:
        """The same where nothing is pruned yet, and other weights may be."""
        kept = {step: kept_for(model, prunable_names, copies) for step, copies in self.kept.items()}
        pruned_at = {name: torch.zeros(kept[0][name].shape, dtype=torch.uint8, device="cpu") for name in prunable_names}
        return replace(self, kept=kept, pruned_at=pruned_at)

    def plain(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`{"tensors": name -> tensor, "facts": JSON}`; `asked` are the settings of the search."""
        tensors = {f"kept/{step}/{name}": value for step, kept in self.kept.items() for name, value in kept.items()}
        tensors |= {f"pruned/{name}": at for name, at in self.pruned_at.items()}
        said = {
            "format": FORMAT,
            "search": dict(asked),
            "level": self.level,
            "steps": self.steps,
            "scores": dict(self.scores),
            "weights": self.weights,
            "records": [dict(record) for record in self.records],
        }
        return {"tensors": tensors, "facts": said}


def begun(weights: Tensors, prunable_names: Iterable[str], mask: Mask | None) -> Progress:
    """Before the first level: of all that may be pruned, or of what remains in a mask."""
    if mask is None:
        pruned_at = {name: torch.zeros(weights[name].shape, dtype=torch.uint8, device="cpu") for name in prunable_names}
        return Progress(level=0, kept={0: weights}, pruned_at=pruned_at)
    dense = {"level": 0, "density": 1.0, "model_density": 1.0, "living": mask.total, "steps": 0}
    return Progress(
        level=1,
        kept={0: weights},
        pruned_at={name: (~remaining).to(torch.uint8) for name, remaining in mask.items()},
        records=(dense,),
        first=1,
    )


def read(state: object, *, asked: Mapping[str, Any], levels: int, like: Progress) -> Progress:
    """The progress of a plain form.

    Raises SpecError if it is of other settings or another network, or not whole, and PruneError for what is no tensor
    or not finite.

    `like` is a progress of this network; its values do not matter.
    """
    if not isinstance(state, Mapping) or not all(isinstance(state.get(part), Mapping) for part in ("tensors", "facts")):
        raise SpecError("search state: expected what Search.state_dict gives, with 'tensors' and 'facts'")
    said, tensors = facts(state["facts"], "search state"), state["tensors"]
    if said.get("format") != FORMAT:
        raise SpecError(f"search state: format {said.get('format')!r} is not format {FORMAT}, which this version reads")
    _same(said.get("search"), asked)
    level, steps, records = (said.get(name) for name in ("level", "steps", "records"))
    scores = said.get("scores")
    if type(level) is not int or not like.first <= level <= levels + 1:
        raise SpecError(f"search state: it stands at level {level!r}, which a search of levels={levels} does not have")
    if type(steps) is not int or steps < 0 or not isinstance(scores, dict):
        raise SpecError(f"search state: steps and scores of the open level, got {steps!r} and {scores!r}")
    if not isinstance(said.get("weights", ""), str):
        raise SpecError(f"search state: weights: expected a digest, got {said['weights']!r}")
    if not isinstance(records, list) or len(records) != level or not all(isinstance(one, dict) for one in records):
        raise SpecError(f"search state: expected one record for each of the {level} finished levels")
    rewound = asked["step"] if level > like.first or steps >= asked["step"] else 0
    kept = {step: _group(tensors, f"kept/{step}/", like.kept[0]) for step in {0, rewound}}
    pruned_at = _group(tensors, "pruned/", like.pruned_at)
    if wrong := [name for name, at in pruned_at.items() if at.numel() and int(at.max()) > level]:
        raise SpecError(f"search state: weights of {listed(wrong)} are pruned beyond level {level}")
    if len(tensors) != len(pruned_at) + sum(map(len, kept.values())):
        raise SpecError("search state: it holds tensors that are not of this search")
    fields = {"records": tuple(records), "steps": steps, "scores": scores, "weights": said.get("weights", "")}
    return replace(like, level=level, kept=kept, pruned_at=pruned_at, **fields)


def _same(said: object, asked: Mapping[str, Any]) -> None:
    if not isinstance(said, dict):
        raise SpecError("search state: it does not say what was searched")
    for name in (*asked, *(set(said) - set(asked))):
        if said.get(name) != asked.get(name):
            here = asked.get(name)
            raise SpecError(
                f"search state: it belongs to another search; {name} was {said.get(name)!r} there, {here!r} here"
            )


def _group(tensors: Tensors, prefix: str, like: Tensors) -> Tensors:
    """The tensors behind a prefix, which must be those of `like` in name, shape and dtype."""
    found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    if set(found) != set(like):
        raise SpecError(
            f"search state: {prefix} has the tensors {listed(found)}; the model has {listed(like)}; "
            "make the search over the same network"
        )
    found = dict(held(found, "search state"))
    for name, value in found.items():
        if value.shape != like[name].shape or value.dtype != like[name].dtype:
            raise SpecError(
                f"search state: {name} is {value.dtype} {tuple(value.shape)} there, "
                f"{like[name].dtype} {tuple(like[name].shape)} here"
            )
    return found
