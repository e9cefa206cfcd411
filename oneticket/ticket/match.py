"""Matching: which name in a model each name of a ticket or a mask stands for, where wrappers and prefixes differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from oneticket.ground.errors import OneticketError, WrongTransferError
from oneticket.ticket.names import listed


class Shift(NamedTuple):
    """How names differ: the prefix `less` is removed, the prefix `more` added."""

    less: str = ""
    more: str = ""

    def __call__(self, name: str) -> str | None:
        return self.more + name[len(self.less) :] if name.startswith(self.less) else None

    def __str__(self) -> str:
        return f"behind {self.more!r}" if self.more else f"without {self.less!r}"


def match(
    wanted: Collection[str],
    found: Mapping[str, object],
    *,
    optional: Collection[str] = (),
    error: type[OneticketError] = WrongTransferError,
) -> dict[str, str]:
    """Name asked for -> the model's name, among those in `found`; names without a match are left out.

    1. Equal names match.
    2. Otherwise segments that wrappers add (`WRAPPERS`) are removed, anywhere in the names of both sides.
    3. Otherwise one common prefix is added or removed. If several fit, `error` is raised and names them, unless they
       lead to the same tensors: then the first is taken.

    `optional` names do not influence this; they follow the others, or are left out. If no rule matches all names, the
    rule that matches most gives the result: compare with `wanted`.

    >>> match(["conv.weight", "conv.bias"], {"module.conv.weight": 1, "module.conv.bias": 2, "module.fc.weight": 3})
    {'conv.weight': 'module.conv.weight', 'conv.bias': 'module.conv.bias'}
    >>> match(["module.w", "v"], {"encoder._orig_mod.w": 1, "encoder._orig_mod.v": 2, "head.w": 3})
    {'module.w': 'encoder._orig_mod.w', 'v': 'encoder._orig_mod.v'}
    """
    loose = set(optional)
    must = [name for name in wanted if name not in loose]
    if set(found).issuperset(must):
        return {name: name for name in wanted if name in found}
    ours, theirs = {plain(name): name for name in must}, {plain(name): name for name in found}
    strike: Callable[[str], str] = plain
    if len(ours) < len(must) or len(theirs) < len(set(found)):
        # Two names are one without their wrappers: then the segments are names like any other.
        ours, theirs, strike = {name: name for name in must}, {name: name for name in found}, str
    votes = _votes(ours, theirs)
    whole = [shift for shift, count in votes.items() if count == len(must)]
    goals = {tuple(id(found[theirs[shift(name) or ""]]) for name in ours) for shift in whole}
    if len(goals) > 1 and Shift() not in whole:
        where = " and ".join(map(str, sorted(whole)))
        raise error(
            f"the names asked for, {listed(must)}, are all in the model {where}; which are meant? Give their full "
            f"names, or a map such as names={{{whole[0].less!r}: {whole[0].more!r}}}"
        )
    shift = max(votes, key=lambda one: (votes[one], one == Shift()), default=Shift())
    goes = {name: theirs.get(shift(strike(name)) or "") for name in wanted}
    return {name: goal for name, goal in goes.items() if goal is not None}


def plain(name: str) -> str:
    """The name without the segments that wrappers add.

    >>> plain("module.encoder._orig_mod.weight")
    'encoder.weight'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS) if _WRAPPED.search(name) else name


def name_changes(pairs: Mapping[str, str]) -> str:
    """How the names of the two sides differ, in words; empty if they are equal.

    >>> name_changes({"w": "module.w", "v": "module.v"}), name_changes({"a.w": "b.w"})
    ("names behind 'module.'", 'names by a map')
    """
    for strike, but in ((str, ""), (plain, "but for wrappers")):
        struck = [(strike(name), strike(goal)) for name, goal in pairs.items()]
        name, goal = next((both for both in struck if both[0] != both[1]), ("", ""))
        for shift in (Shift(more=goal.removesuffix(name)), Shift(less=name.removesuffix(goal))):
            if all(shift(name) == goal for name, goal in struck):
                words = [f"names {shift}" if shift != Shift() else "names" if but else "", but]
                return " ".join(filter(None, words))
    return "names by a map"


def hint(wanted: Collection[str], found: Collection[str]) -> str:
    """The map to give if one prefix in the place of another leads all names into the model; else empty.

    >>> hint(["bert.a.w", "bert.b.w"], ["encoder.a.w", "encoder.b.w", "head.w"])
    "names={'bert.': 'encoder.'}"
    """
    theirs = {plain(name) for name in found}
    for less, _ in [*_splits(shared_module(wanted))][1:]:
        rest = {name.removeprefix(less) for name in wanted}
        whole = [s.more for s, count in _votes(rest, theirs).items() if count == len(rest) and s.more and not s.less]
        if len(whole) == 1:
            return f"names={{{less!r}: {whole[0]!r}}}"
    return ""


def shared_module(names: Collection[str]) -> str:
    """The prefix, "" or with a dot at its end, of the innermost module that holds all these tensors.

    >>> shared_module(["bert.encoder.w", "bert.encoder.layer.w"]), shared_module(["a.w", "b.w"])
    ('bert.encoder.', '')
    """
    low, high = min(names), max(names)
    same = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(min(low, high, key=len)))
    return low[: low.rfind(".", 0, same) + 1]


def _votes(wanted: Collection[str], found: Collection[str]) -> Counter[Shift]:
    """Shift -> how many of the names asked for it leads into the model."""
    votes = Counter(Shift(more=more) for name in found for more, rest in _splits(name) if rest in wanted)
    votes.update(Shift(less=less) for name in wanted for less, rest in _splits(name) if less and rest in found)
    return votes


def _splits(name: str) -> Iterator[tuple[str, str]]:
    yield "", name
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()], name[dot.end() :]


WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Segments that DataParallel and DDP, torch.compile, FSDP and activation checkpoints put into names."""

_WRAPPED = re.compile(rf"(^|\.)({'|'.join(WRAPPERS)})(\.|$)")
