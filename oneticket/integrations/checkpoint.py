"""Checkpoints of other tools: the state dict among what a training script saves, by the network's own names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from oneticket.ground.errors import FileError, WrongFileError
from oneticket.ticket.match import match, name_changes, plain
from oneticket.ticket.names import listed

KEYS = ("state_dict", "model_state_dict", "model", "net", "module")
SHOWN = 24  # entries that an error offers to choose from
"""The entries under which training scripts keep the network's state dict."""

DEEPEST, LONGEST = 4, 80
"""How far entries of entries are looked at, and how long their names may be."""

LIGHTNING, LIGHTNING_PREFIX = "pytorch-lightning_version", "model."
"""What marks Lightning's checkpoints, and how its modules usually call their network."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A state dict and its place in the file.

    - `tensors`: by name, without the prefixes that wrappers and Lightning put before all names; `stripped` names them.
    - `key`: the entry that was read, empty if the file is the state dict; `others`: further entries that hold tensors.
    """

    tensors: dict[str, Tensor] = field(repr=False)
    key: str = ""
    others: tuple[str, ...] = ()
    stripped: str = ""

    def __str__(self) -> str:
        """What was read, in words; empty for a plain state dict."""
        beside = f" (not {listed(self.others)})" if self.others else ""
        said = [f"its entry {self.key!r}{beside}"] if self.key else []
        return ", ".join([*said, self.stripped] if self.stripped else said)


def checkpoint(found: Mapping[Any, Any], key: str | None = None) -> Checkpoint:
    """The state dict of what a file holds: the whole, or the one entry of KEYS that has tensors by name.

    `key`: another entry, with dots for entries of entries; where there is none of this name, it is as if not given.
    Raises FileError, which names the entries there are, where several of KEYS or none have tensors.

    >>> import torch
    >>> made = checkpoint({"epoch": 3, "model": {"module.fc.weight": torch.ones(1)}, "ema": {"w": torch.ones(1)}})
    >>> str(made), list(made.tensors)
    ("its entry 'model' (not ema), names without 'module.'", ['fc.weight'])
    """
    entries = _entries(found)
    if not entries:
        return _stripped(dict(found), lightning=False)
    if key not in entries:
        known = [path for path in entries if path.rpartition(".")[2] in KEYS]
        nearest = [path for path in known if path.count(".") == min(one.count(".") for one in known)]
        if len({id(entries[path]) for path in nearest}) != 1:  # one state dict may have two names
            said = f"several state dicts, {listed(nearest)}" if nearest else f"no state dict under {listed(KEYS)}"
            raise WrongFileError(f"holds {said}; say which entry to read, `--key`, of {listed(entries, SHOWN)}")
        key = nearest[0]
    made = _stripped(dict(entries[key]), lightning=LIGHTNING in found and key == "state_dict")
    others = tuple(path for path in entries if path != key)
    return Checkpoint(tensors=made.tensors, key=key, others=others, stripped=made.stripped)


def check_key(key: str | None, *found: Checkpoint) -> None:
    """Raise FileError unless the entry that was asked for was read in one of these files."""
    if key is not None and key not in [one.key for one in found]:
        entries = [entry for one in found for entry in (one.key, *one.others) if entry]
        raise WrongFileError(f"no entry {key[:LONGEST]!r} with tensors; entries with tensors: {listed(entries, SHOWN)}")


def agreed(masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Masks and weights under common names: a prefix that only one side has is removed.

    Weights without that prefix are left out. Raises FileError if more than one prefix would do.

    >>> import torch
    >>> one, two = agreed({"fc.weight": torch.ones(1)}, {"model.fc.weight": torch.ones(1), "loss.w": torch.ones(1)})
    >>> list(one), list(two)
    (['fc.weight'], ['fc.weight'])
    """
    pairs = match(masks, weights, error=FileError)
    more = {goal.removesuffix(name) for name, goal in pairs.items()}
    if set(pairs) != set(masks) or more == {""}:
        return dict(masks), dict(weights)
    prefix = more.pop()
    if not more and all(goal == prefix + name for name, goal in pairs.items()):
        return dict(masks), {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}
    return {pairs[name]: mask for name, mask in masks.items()}, dict(weights)


def by_names(tensors: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """The tensors that are wanted, by those names, which may have a prefix more or less; FileError if any is lacking.

    BatchNorm's counts of batches are not asked for: nothing that is computed depends on them.
    """
    pairs = match(wanted, tensors, error=FileError)
    lacking = [name for name in wanted if name not in pairs and not name.endswith("num_batches_tracked")]
    if lacking:
        raise WrongFileError(f"has no {listed(lacking)}; it has {listed(tensors)}")
    return {name: tensors[goal] for name, goal in pairs.items()}


def _entries(found: Mapping[Any, Any]) -> dict[str, Mapping[str, Any]]:
    """The entries that hold tensors by name, by their dotted names; each is looked into once: files lead in circles."""
    entries: dict[str, Mapping[str, Any]] = {}
    met, now = {id(found): False}, [("", found)]  # whether each mapping holds tensors by name
    for path, mapping in now:
        for name, value in mapping.items():
            if not isinstance(value, Mapping) or not isinstance(name, str) or len(name) > LONGEST:
                continue
            if id(value) not in met:
                named = all(isinstance(one, str) for one in value)  # an optimizer's state has numbers for keys
                now += [(f"{path}{name}.", value)] if named and path.count(".") < DEEPEST else []
                met[id(value)] = named and any(isinstance(one, Tensor) for one in value.values())
            if met[id(value)]:
                entries[f"{path}{name}"] = value
    return entries


def _stripped(tensors: dict[str, Tensor], *, lightning: bool) -> Checkpoint:
    """Without wrappers' segments, and Lightning's `model.` before all names; as they are where two would be one."""
    new = {name: plain(name) for name in tensors if isinstance(name, str)}
    if lightning and all(name.startswith(LIGHTNING_PREFIX) for name in new.values()):
        new = {name: short.removeprefix(LIGHTNING_PREFIX) for name, short in new.items()}
    if len(set(new.values())) < len(tensors) or not all(new.values()) or list(new) == list(new.values()):
        return Checkpoint(tensors=tensors)
    return Checkpoint(tensors={new[name]: value for name, value in tensors.items()}, stripped=name_changes(new))
