"""Apply: a ticket's weights are written into a model, all of them or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from oneticket.apply import write_weights
from oneticket.apply.named_tensors import tensors
from oneticket.apply.renames import given
from oneticket.ground.brief import brief
from oneticket.ground.errors import WrongTransferError, unknown
from oneticket.guard.check import renamed
from oneticket.guard.guard import attached
from oneticket.ticket.density import Density, model_weights
from oneticket.ticket.mask import Mask
from oneticket.ticket.match import hint, match, name_changes, plain, shared_module
from oneticket.ticket.names import listed

if TYPE_CHECKING:
    from oneticket.ticket.ticket import Ticket


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What `apply` wrote into a model.

    - `matched`: the model's names that now hold the ticket's values.
    - `fresh`: the model's names that stayed as they were: its own head, new and random.
    - `left`: names in the ticket that were not used.
    - `mask`: the mask to hold in this model, by the model's names.
    - `whole`: all weights of the model, those without a mask too.
    - `names`: name in the ticket -> name in the model, for each transferred tensor.
    """

    matched: tuple[str, ...]
    fresh: tuple[str, ...]
    left: tuple[str, ...]
    mask: Mask
    whole: int
    names: Mapping[str, str] = field(repr=False)

    __repr__ = brief

    @property
    def density(self) -> float:
        """The density of the mask to hold."""
        return self.mask.density

    @property
    def weight_counts(self) -> Density:
        """How many weights remain, may be pruned, and are in the whole model."""
        return Density(remaining=self.mask.remaining, total=self.mask.total, whole=self.whole)

    def __str__(self) -> str:
        how = f", {words}" if (words := name_changes(self.names)) else ""
        rest = f"fresh: {listed(self.fresh)}; left: {listed(self.left)}"
        return f"transferred {len(self.matched)} tensors{how} ({self.weight_counts}); {rest}"


def apply(
    ticket: Ticket,
    model: nn.Module,
    *,
    head: str = "fresh",
    names: Mapping[str, str | None] | None = None,
    fresh: Sequence[str] = (),
) -> Applied:
    """Write the ticket's parameters and buffers into the model in place, by name and shape.

    `head` says what happens to the output layers, `ticket.contract.heads`: "fresh" leaves the model's own unchanged,
    "keep" takes the ticket's values without a mask, "sparse" takes the values and the mask. A tensor with a second
    role, such as an embedding tied to the output layer, is transferred for that role. The model keeps its device,
    dtype, memory format and requires_grad.

    Names that differ by wrappers (`module.`, `_orig_mod.`) or by one prefix (`encoder.`) are matched, see
    `match.match`. `names` maps other names, from the ticket's to the model's: `{"bert.": "encoder."}` for prefixes,
    `{"*.gamma": "*.weight"}` for patterns, `{"fc.bias": "out.bias"}`, and `{"pooler.": None}` for names not to use.

    With head="fresh", unless the model has all of the ticket's heads, the model's heads are found by their place:
    tensors outside the innermost module that holds all transferred tensors. If that module is the model itself and the
    contract names a head, they are the direct submodules that receive nothing. `fresh`: patterns of further names that
    keep the model's values, whether the ticket has them or not.

    Raises TransferError when anything does not fit, with the model untouched. Morcos et al. 2019, arXiv 1906.02773;
    with other heads: Chen et al. 2020, arXiv 2007.12223.

    >>> from oneticket.ticket.contract import Contract
    >>> from oneticket.ticket.ticket import Ticket
    >>> source, target = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    >>> ticket = Ticket(mask=Mask({"weight": torch.tensor([True, False])}), weights=source.state_dict(),
    ...                 contract=Contract(rewind="0it", step=0, head=("bias",)))
    >>> print(apply(ticket, target))
    transferred 4 tensors (density 0.5 of 2 prunable weights, 0.75 of all 4); fresh: bias; left: bias
    >>> print(apply(ticket, nn.Sequential(target), head="keep"))
    transferred 5 tensors, names behind '0.' (density 0.5 of 2 prunable weights, 0.75 of all 4); fresh: none; left: none
    """
    applied = plan(ticket, model, head=head, names=names, fresh=fresh)
    found = tensors(model)
    _check_guards(applied.mask, {goal: found[goal] for goal in applied.names.values()})
    write_weights.write({goal: ticket.weights[name] for name, goal in applied.names.items()}, found, applied.mask)
    return applied


def plan(
    ticket: Ticket,
    model: nn.Module,
    *,
    head: str = "fresh",
    names: Mapping[str, str | None] | None = None,
    fresh: Sequence[str] = (),
) -> Applied:
    """What `apply` would transfer and where, with nothing written; raises TransferError where names do not fit."""
    found, heads = tensors(model), ticket.contract.head_names
    _check_policy(ticket, head)
    optional = heads if head == "fresh" else ()
    asked = dict.fromkeys([*ticket.weights, *optional])
    said = given(names, asked, found, optional=optional) if names else {}
    rest = [name for name in asked if name not in said]
    pairs = {name: goal for name, goal in said.items() if goal is not None}
    taken = set(pairs.values())
    pairs |= match(rest, {name: value for name, value in found.items() if name not in taken}, optional=optional)

    chosen = _chosen(fresh, found)
    stays = chosen | {pairs[name] for name in optional if name in pairs}
    used = {name: pairs[name] for name in ticket.weights if name in pairs and pairs[name] not in stays}
    filled = {id(found[goal]): goal for goal in used.values()}
    if tied := sorted(name for name in chosen if id(found[name]) in filled):
        raise WrongTransferError(_half_fresh(tied, found, chosen | {filled[id(found[name])] for name in tied}))
    # A tensor that the model ties to its output layer is transferred for its other role.
    stays = {name for name in stays if id(found[name]) not in filled}
    same = {id(found[name]) for name in stays}
    stays |= {name for name, value in found.items() if id(value) in same}
    own = {name for name in found if name not in stays and id(found[name]) not in filled}
    if head == "fresh" and used and (not heads or any(not pairs.keys() & names for names in ticket.contract.heads)):
        stays |= (aside := _aside(own, used.values(), below=bool(ticket.contract.heads)))
        own -= aside
    missing = {name for name in rest if name not in pairs and name not in optional}
    if missing or own or not used:
        raise WrongTransferError(
            _misrecorded(ticket, missing, pairs) or _misfit(missing, own, set(rest) - set(optional), found)
        )
    if head == "fresh" and not ticket.contract.heads and not stays:
        raise WrongTransferError(
            "head='fresh': the ticket's contract names no head, so nothing can be left fresh; use head='keep'"
        )
    held = {n: goal for n, goal in used.items() if n in ticket.mask and (head == "sparse" or n not in heads)}
    return Applied(
        matched=tuple(name for name in found if id(found[name]) in filled),
        fresh=tuple(sorted(stays)),
        left=tuple(
            name for name in ticket.weights if name not in used and not _arrived(name, ticket, pairs, used, found)
        ),
        mask=renamed(ticket.mask.without(set(ticket.mask) - set(held)), held),
        whole=model_weights(model),
        names=MappingProxyType(used),
    )


def _check_guards(mask: Mask, targets: Mapping[str, Tensor]) -> None:
    """Refuse what a guard would zero with the next step; its own ticket may be written again."""
    for held in attached():
        theirs = {id(parameter): name for name, parameter in held.parameters().items()}
        for name, target in targets.items():
            other = theirs.get(id(target))
            if other is not None and (name not in mask or not torch.equal(mask[name], held.mask[other])):
                raise WrongTransferError(f"{name}: held by {held!r} with another mask; detach it first")


def _check_policy(ticket: Ticket, head: str) -> None:
    if head not in HEADS:
        raise WrongTransferError(unknown("head policy", head, HEADS))
    names = ticket.contract.head_names
    if head == "sparse" and not any(name in ticket.mask for name in names):
        raise WrongTransferError(
            f"head='sparse': the ticket has no mask on its head ({listed(names)}); use head='keep' or head='fresh'"
        )


def _chosen(patterns: Sequence[str], found: Collection[str]) -> set[str]:
    """The names that the patterns choose; wrappers may be left out."""
    if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in patterns):
        raise WrongTransferError(f"fresh: expected a sequence of patterns such as ('pooler.*',), got {patterns!r}")
    out: set[str] = set()
    for pattern in patterns:
        some = {name for name in found if fnmatchcase(name, pattern) or fnmatchcase(plain(name), pattern)}
        if not some:
            raise WrongTransferError(f"fresh: {pattern!r} matches no tensor of the model, which has {listed(found)}")
        out |= some
    return out


def _aside(own: Collection[str], used: Collection[str], *, below: bool) -> set[str]:
    """The model's own tensors that lie where a head lies: outside the module of all transferred tensors.

    If that module is the whole model, they are those in its direct submodules. `below` says whether there may be such:
    they could also be further layers of the ticket's network.
    """
    body = shared_module([plain(name) for name in used])
    parts = {plain(name).partition(".")[0] for name in used}
    if body:
        return {name for name in own if not plain(name).startswith(body)}
    return {name for name in own if below and "." in plain(name) and plain(name).partition(".")[0] not in parts}


def _arrived(
    name: str, ticket: Ticket, pairs: Mapping[str, str], used: Mapping[str, str], found: Mapping[str, Tensor]
) -> bool:
    """Whether the values came along under another name of the same tensor."""
    goal = found[pairs[name]] if name in pairs else None
    twins = (other for other, theirs in used.items() if found[theirs] is goal)
    return any(torch.equal(ticket.weights[name], ticket.weights[twin]) for twin in twins)


def _half_fresh(tied: Sequence[str], found: Mapping[str, Tensor], chosen: Collection[str]) -> str:
    same = {id(found[name]) for name in tied}
    every = sorted({name for name, value in found.items() if id(value) in same} | set(chosen))
    return (
        f"{listed(tied)} cannot stay fresh alone, because the model ties it to a tensor that is transferred; leave the "
        f"whole tensor the model's own with fresh={tuple(every)!r}, or untie it"
    )


def _misrecorded(ticket: Ticket, missing: Collection[str], pairs: Mapping[str, str]) -> str:
    """The error text where the contract names a tied tensor by its other role, as files of older versions may."""
    weights, heads = ticket.weights, ticket.contract.head_names
    twins = {
        other: name
        for name in heads
        for other in sorted(missing)
        if weights[name].numel() > 1 and torch.equal(weights[name], weights[other])
    }
    wrong = sorted({name for name in twins.values() if name in pairs})
    if not wrong:
        return ""
    right = [name for name in heads if name not in wrong] + [*twins]
    return (
        f"the ticket's contract takes {listed(wrong)} for the output layer, which has the same values as "
        f"{listed([other for other, name in twins.items() if name in wrong])} and another place in the model; correct "
        f"it with ticket = ticket.with_head({', '.join(map(repr, right))})"
    )


def _misfit(missing: Collection[str], own: Collection[str], wanted: Collection[str], found: Collection[str]) -> str:
    if missing and (whole := hint(wanted, found)):
        todo = f"every name is there with {whole}"
    else:
        drop = f"leave the ticket's out with names={{{_all(missing, wanted, '')!r}: None}}" if missing else ""
        keep = f"keep the model's own with fresh=({_all(own, found, '*')!r},)" if own else ""
        todo = ", ".join(filter(None, [drop, keep])) or "nothing of the ticket goes into the model"
    return (
        f"ticket and model do not have the same names; only in the ticket: {listed(missing)}; "
        f"only in the model: {listed(own)}; {todo}"
    )


def _all(some: Collection[str], among: Collection[str], star: str) -> str:
    """The module that has these names and no others, or else the first of them."""
    module = shared_module(some)
    alone = module and all(name in some for name in among if name.startswith(module))
    return module + star if alone else min(some)


HEADS = ("fresh", "keep", "sparse")
