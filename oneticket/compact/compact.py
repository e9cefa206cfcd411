"""Compaction: the smaller network that trains as the masked one does, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from oneticket.compact import cut
from oneticket.compact.choose import forms as choose
from oneticket.compact.fold import Folded, steady
from oneticket.compact.fold import fold as fold_in
from oneticket.compact.orphans import NAME, adopt, orphans
from oneticket.compact.pattern import picked, place
from oneticket.compact.proof import differs, known
from oneticket.compact.room import Room
from oneticket.compact.row import join
from oneticket.compact.sparse import Sparse
from oneticket.compact.trace_forward import look
from oneticket.compact.units import KeptUnits, Stop, trace
from oneticket.ground.errors import WrongPruneError
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import listed


@dataclass(frozen=True, kw_only=True)
class Compact:
    """A model made smaller.

    - `network`: what to train instead of the model; its parameters have the model's names. It is the model itself if
      nothing could be made smaller.
    - `mask`: the mask to hold in the network, `guard.attach(network, optimizers, compact.mask)`.
    - `forms`: name in the mask -> "dense" (no pruned weight is left in it), "masked" or "sparse".
    - `removed`: layer -> how many of its units were removed.
    - `stopped`: dead units that cannot be removed, with the layer that prevents it and why.
    - `note`: why all units or the whole model were kept, if so.
    """

    network: nn.Module
    mask: Mask
    forms: Mapping[str, str]
    removed: Mapping[str, int] = field(default_factory=dict)
    stopped: Sequence[Stop] = ()
    note: str = ""
    model: nn.Module = field(repr=False)
    whole: Mask = field(repr=False)
    cuts: cut.Cuts = field(default_factory=dict, repr=False)
    folded: Tensor | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """How the network computes, in a few words; nothing if as it stands."""
        kinds = Counter(self.forms.values())
        gone = sum(self.removed.values())
        said = [f"{kinds['sparse']} of {len(self.forms)} layers sparse"] if kinds["sparse"] else []
        said += [f"{gone} unit{'s' * (gone > 1)} removed"] if gone else []
        at = list(dict.fromkeys(f"at {stop.at}: {stop.why}" for stop in self.stopped))
        more = f", and at {len(at) - FEW} more" if len(at) > FEW else ""
        said += [f"dead units stay {', '.join(at[:FEW])}{more}"] if at else []
        return "; ".join([*said, self.note] if self.note else said)

    def smaller(self, name: str, value: Tensor) -> Tensor:
        """What stays of a tensor in the shape of one of the model's, in that of the network's."""
        index = self.cuts.get(name, ...)
        return picked(value[index], self.whole[name][index]) if self.forms.get(name) == "sparse" else value[index]

    def larger(self, name: str, value: Tensor, like: Tensor) -> Tensor:
        """Expand a tensor of the network's shape to the shape of the model's, `like`, with zeros in removed places."""
        whole = torch.zeros_like(like, dtype=value.dtype, requires_grad=False)
        self._write(name, value, whole)
        return whole

    def _write(self, name: str, value: Tensor, tensor: Tensor) -> None:
        index = self.cuts.get(name, ...)
        if self._bare(name):
            place(value, self.whole.pack()[name], tensor)
            return
        if self.forms.get(name) == "sparse":
            remaining = self.whole[name][index].to(value.device)
            value = torch.zeros(remaining.shape, dtype=value.dtype, device=value.device).masked_scatter_(
                remaining, value
            )
        tensor[index] = value

    def _bare(self, name: str) -> bool:
        """Whether the network has exactly the remaining weights of a tensor."""
        return self.forms.get(name) == "sparse" and name not in self.cuts

    @torch.no_grad()
    def restore(self) -> None:
        """Write what was trained back into the model, whose pruned weights are then exactly +0.0.

        All parameters and buffers are written but the BatchNorm statistics of removed units: those stay as they were
        (a folded unit's mean is set to its value).
        """
        if self.network is self.model:
            return
        trained = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        for name, tensor in cut.tensors(self.model).items():
            self._write(name, trained[name].to(tensor.device), tensor)
        lost = orphans(self.network)
        for name, rest in cut.left_out(self.model, self.whole, self.cuts).items():
            tensor = self.model.get_parameter(name)
            count = int(rest.count_nonzero())
            tensor[rest.to(tensor.device)] = lost[:count].to(tensor.device)
            lost = lost[count:]
        for name in self.whole:
            if not self._bare(name):
                tensor = self.model.get_parameter(name)
                tensor.masked_fill_(self.whole[name].logical_not_().to(tensor.device), 0)
        if self.folded is not None:
            given = fold_in(self.model, dict(self.whole), self.folded)
            _shift(self.model, given, self.cuts, sign=-1)
            steady(self.model, given, self.folded)

    @torch.no_grad()
    def renew(self) -> None:
        """Take what stands in the model by now into the network: the opposite of `restore`."""
        if self.network is self.model:
            return
        mine = cut.tensors(self.network)
        for name, tensor in cut.tensors(self.model).items():
            mine[name].copy_(self.smaller(name, tensor))
        if rest := cut.left_out(self.model, self.whole, self.cuts):
            lost = torch.cat([self.model.get_parameter(name)[remains] for name, remains in rest.items()])
            orphans(self.network).copy_(lost)


def compact(
    model: nn.Module, mask: Mask, *, example: Tensor, units: bool = True, sparse: bool = True, fold: bool = False
) -> Compact:
    """Make a pruned model smaller, so that it trains as it would under its mask, to rounding.

    Units that cannot reach the loss are removed (`units.trace`). Their own parameters get no gradient but still feel
    momentum and weight decay: they are kept as one flat parameter, `orphans.adopt`. So an optimizer that updates each
    entry by itself, with one set of settings for all, gives the weights of masked training. Layers that are faster as
    sparse ones become sparse (`choose.forms`). Pruned weights count as zero, whatever their values. Attach optimizers
    and guards to the network after this; the model changes only in `Compact.restore`.

    With `fold`, units that no remaining weight enters are removed too, and their constant outputs are added to the
    biases behind them (`fold.fold`). That is not exact: such units no longer learn, and near padded borders the
    constant is that of the interior. `restore` subtracts the constants as they are then, so that, borders aside, the
    model computes what the network did.

    Networks with code other than torch's or ours are compared with the model on one batch (`proof.differs`), and kept
    whole if they differ.

    `units`, `sparse`: whether to remove units, and to make layers sparse. `example`: a batch as in training; its values
    do not matter. Raises PruneError if the mask does not fit the model.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> mask = Mask({"2.weight": torch.tensor([[True, False, True]])})
    >>> small = compact(net, mask, example=torch.zeros(4, 2))
    >>> small.network[0], small.removed, small.forms
    (Linear(in_features=2, out_features=2, bias=True), {'0': 1}, {'2.weight': 'dense'})
    >>> small.restore()
    """
    _check(model, mask)
    if mask.remaining == mask.total:
        return Compact(network=model, mask=Mask({}), forms=dict.fromkeys(mask, "dense"), model=model, whole=mask)
    whole = Compact(network=model, mask=mask, forms=dict.fromkeys(mask, "masked"), model=model, whole=mask)
    if found := hooked(model):
        return replace(whole, note=f"kept whole: {found} has hooks or parametrizations")
    if known(model):
        return _compact(model, mask, example=example, units=units, sparse=sparse, fold=fold)
    try:
        small = _compact(model, mask, example=example, units=units, sparse=sparse, fold=fold)
        if small.network is model or fold:
            return small
        remaining = {
            name: mask[name][small.cuts.get(name, ...)] for name, form in small.forms.items() if form == "sparse"
        }
        rest = cut.left_out(model, mask, small.cuts)
        why = differs(model, small.network, example, cuts=small.cuts, sparse=remaining, rest=rest)
    except Exception as error:  # any error of the user's code on smaller shapes
        why = f"{type(error).__name__}: {error}"
    return replace(whole, note=f"kept whole: {why}") if why else small


def _compact(model: nn.Module, mask: Mask, *, example: Tensor, units: bool, sparse: bool, fold: bool) -> Compact:
    remaining = dict(mask)
    given = fold_in(model, remaining, example) if fold and units else None
    if given is not None:
        remaining = dict(given.remaining)
    found = trace(model, remaining, example[:2])
    if not units or hasattr(model, NAME):
        found = KeptUnits(bound=found.bound)
    cuts = cut.cuts(model, found.kept)
    rest = cut.left_out(model, mask, cuts)
    lost = [model.get_parameter(name).detach()[remains] for name, remains in rest.items()]
    if len({(values.dtype, values.device) for values in lost}) > 1:  # optimizers do not mix them in one parameter
        note = "all units are kept: parameters of several dtypes or devices"
        return replace(_compact(model, mask, example=example, units=False, sparse=sparse, fold=False), note=note)
    left = {name: remaining[name][cuts.get(name, ...)] for name in mask}
    forms = {name: "dense" if remains.all() else "masked" for name, remains in left.items()}
    if sparse:
        forms |= _sparse(model, left, found, example)
    thin = [name for name, form in forms.items() if form == "sparse"]
    network = cut.smaller(model, cuts, shared=thin, thinned=found.thinned) if cuts or thin else model
    if given is not None:
        _shift(network, given, cuts, sign=1)
    room = Room()
    for name in thin:
        owner = name.rpartition(".")[0]
        layer: Any = network.get_submodule(owner)
        network.set_submodule(owner, Sparse(layer, left[name], room).train(layer.training))
    if thin:
        join(network)
    if lost:
        adopt(network, torch.cat(lost))
    return Compact(
        network=network,
        mask=Mask({name: remains for name, remains in left.items() if forms[name] == "masked"}),
        forms=forms,
        removed=found.removed,
        stopped=found.stopped,
        note=found.note,
        model=model,
        whole=mask,
        cuts=cuts,
        folded=example if given is not None and given.shifts else None,
    )


@torch.no_grad()
def _shift(net: nn.Module, given: Folded, cuts: cut.Cuts, *, sign: int) -> None:
    """Add what constants give to the units that stay, or take it out; in the network, or there in the model."""
    for name, shift in given.shifts.items():
        index = cuts.get(name, ...)
        tensor = cut.tensors(net)[name]
        if sign > 0:
            tensor += shift[index]
        else:
            tensor[index] -= shift[index]


def _check(model: nn.Module, mask: Mask) -> None:
    found = dict(model.named_parameters(remove_duplicate=False))
    if absent := set(mask) - set(found):
        raise WrongPruneError(f"the mask has names that are no parameters of the model: {listed(absent)}")
    for name, shape in mask.shapes.items():
        if tuple(found[name].shape) != shape:
            raise WrongPruneError(f"{name}: the mask has shape {shape}, the parameter {tuple(found[name].shape)}")


def hooked(model: nn.Module) -> str:
    """The first module or parameter that does more than its class does, or nothing."""
    for name, module in model.named_modules():
        if is_parametrized(module) or any(getattr(module, kind) for kind in HOOKS):
            return f"{name or 'the model'} ({type(module).__name__})"
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            return name
    return ""


def _sparse(model: nn.Module, remaining: Mapping[str, Tensor], found: KeptUnits, example: Tensor) -> dict[str, str]:
    """The forms of the layers that a measurement decides about.

    It is that of the model's whole layer: what is left of one has another size at every level.
    """
    masked = [name.rpartition(".") for name, remains in remaining.items() if not remains.all()]
    owners = [owner for owner, _, last in masked if last == "weight" and owner and owner not in found.bound]
    layers: dict[str, Any] = {owner: model.get_submodule(owner) for owner in owners}
    layers = {owner: layer for owner, layer in layers.items() if type(layer) in (nn.Linear, nn.Conv2d)}
    calls: Counter[str] = Counter()
    inputs: dict[str, tuple[int, ...]] = {}

    def tell(name: str, _: nn.Module, args: tuple[Any, ...], __: object) -> None:
        if name in layers and args and isinstance(args[0], Tensor):
            calls[name] += 1
            inputs[name] = (len(args[0]) * len(example) // len(example[:2]), *args[0].shape[1:])

    if layers:
        look(model, example[:2], tell)
    once = {name: layer for name, layer in layers.items() if calls[name] == 1}
    chosen = choose(once, {name: remaining[f"{name}.weight"] for name in once}, inputs)
    return {f"{name}.weight": form for name, form in chosen.items()}


FEW = 3
"""Layers that are named in a line; all are in `Compact.stopped`."""

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
