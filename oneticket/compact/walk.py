"""The walk: one real forward pass, in which the units behind every number of every tensor are followed.

Torch reports each operation below autograd and Python, so asserts, `int()` of a size, several inputs and other people's
reshaping need no support. The known operations and layers are in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from oneticket.compact.follow import Following, TracedCall
from oneticket.compact.layers import layer_rule
from oneticket.compact.ledger import Ledger, LedgerStep
from oneticket.compact.rules import LAYOUT, MOVED, SAME, Found, rule


class Decides(Exception):
    """The forward pass depends on values of a tensor, so another batch may take a branch that was not followed."""


@final
class Walk(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs a network and reports to a ledger what becomes of its units.

    Where the forward pass tests a condition on a tensor, it gets the given `answers` in turn, and then the true ones:
    so all branches can be followed.

    `bound`: layers to ignore, since others use their tensors too; those that the walk finds are added.
    """

    def __init__(self, network: nn.Module, ledger: Ledger, bound: frozenset[str] = frozenset()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger, self.network, self.bound = ledger, network, set(bound)
        self.units = Following(ledger)
        self._names = {id(module): name for name, module in network.named_modules()}
        self._owners = {
            weight.untyped_storage().data_ptr(): name
            for name, module in network.named_modules()
            for weight in module.parameters(recurse=False)
            if weight.numel()
        }
        self._path: list[nn.Module] = []
        self._inside = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler at the first operation, a second of CPU time; a walk compiles nothing."""
        return False

    def run(self, positional: Sequence[Any], named: Mapping[str, Any], answers: Sequence[bool] = ()) -> list[bool]:
        """One forward pass in the network's present mode; the answers that it got.

        Raises Decides if it asks for a number of a tensor, or for a size that depends on one.
        """
        self._answers, self._asked = answers, list[bool]()
        handles: list[Any] = []
        for module in self.network.modules():
            handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True, prepend=True))
            handles.append(module.register_forward_hook(self._leave, with_kwargs=True))
        self.units.uncertain([*_tensors((positional, named)), *self.network.parameters(), *self.network.buffers()])
        try:
            with self, _Told(self):
                found = self.network(*positional, **named)
        finally:
            for handle in handles:
                handle.remove()
            self._path.clear()
            self._inside = 0
        self._end(found)
        return self._asked

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """One operation, done as it is; then what it does with units."""
        kwargs = kwargs or {}
        if self._inside:
            return func(*args, **kwargs)
        tensors = _tensors((args, kwargs))
        self._direct(tensors)
        random = torch.Tag.nondeterministic_seeded in func.tags
        uncertain = random or not all(map(self.units.certain, tensors))
        asks = uncertain and _asks(func, args)
        if uncertain and not asks and _decides(func, args):
            raise Decides(f"its forward pass goes by what numbers a tensor holds, in {self.where()}")
        labelled = any(self.units.of(each) is not None for each in tensors)
        name = func._schema.name.partition("::")[2].strip("_")
        if name not in LAYOUT:
            self._begin(SAME.get(name, name), "" if labelled and name in MOVED else _numbers((args, kwargs)), tensors)
        before = [each.detach() for each in tensors] if func._schema.is_mutable else tensors
        out = func(*args, **kwargs)
        outs = _tensors(out)
        if uncertain:
            self.units.uncertain(outs)
        if labelled:
            given = zip((each.name for each in func._schema.arguments), args, strict=False)
            by_name = {**dict(given), **kwargs}
            call = TracedCall(name=name, function=func, named=by_name, tensors=tensors, outs=outs, before=before)
            self._write(call, rule(call)(self.units, call))
        if name not in LAYOUT:
            self.ledger.shapes([tuple(each.shape) for each in outs if self.units.of(each) is None])
        return self._answer(out) if asks else out

    def _answer(self, true: bool) -> bool:
        place = len(self._asked)
        self._asked.append(self._answers[place] if place < len(self._answers) else true)
        return self._asked[-1]

    def _write(self, call: TracedCall, found: Found) -> None:
        """Give what came out its labels; units that are written into something without units stay."""
        arguments = call.function._schema.arguments
        written = [call.named.get(each.name) for each in arguments if each.alias_info and each.alias_info.is_write]
        if any(isinstance(each, Tensor) and self.units.of(each) is None for each in written):
            for labels in found:
                self.units.hold(labels, f"{call.name} writes it over numbers that are no unit's")
            return
        for tensor, labels in zip(call.outs, found, strict=True):
            self.units.put(tensor, labels)

    def _begin(self, what: str, numbers: str, tensors: Sequence[Tensor]) -> None:
        self.units.read(tensors)
        units = [labels for labels in map(self.units.of, tensors) if labels is not None]
        self.ledger.begin(LedgerStep(at=self.where(), what=what, numbers=numbers, units=units))

    def where(self) -> str:
        """The layer that the forward pass is in, with its kind."""
        module = self._path[-1] if self._path else self.network
        name, kind = self._names.get(id(module), ""), type(module).__name__
        return f"{name} ({kind})" if name else kind

    def _direct(self, tensors: Sequence[Tensor]) -> None:
        """A layer whose tensor is used outside it is none."""
        for each in tensors:
            owner = self._owners.get(each.untyped_storage().data_ptr()) if each.layout == torch.strided else None
            if owner is not None:
                self.bound.add(owner)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._path.append(module)
        if self._inside or layer_rule(module) is not None:
            self._inside += 1  # from here on operations are neither reported nor followed, nor are ours on labels
            if self._inside == 1:
                self._begin(f"layer {self._names[id(module)]}", "", _tensors((args, kwargs)))

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        if self._inside:
            if self._inside == 1:
                self._layer(module, _tensors((args, kwargs)), _tensors(out))
            self._inside -= 1
        self._path.pop()

    def _layer(self, module: nn.Module, tensors: Sequence[Tensor], outs: Sequence[Tensor]) -> None:
        name, does = self._names[id(module)], layer_rule(module)
        self.units.uncertain(outs)
        if does is None or len(tensors) != 1 or len(outs) != 1 or name in self.bound:
            for each in tensors:
                self.units.hold(self.units.of(each), "its tensors are used elsewhere too", reads=True)
            return
        self.units.put(outs[0], does(self.units, name, module, tensors[0], outs[0]))
        self.units.made(outs[0], name)

    def _end(self, found: Any) -> None:
        leaves = tree_leaves(found)
        for odd in leaves:
            if not (odd is None or isinstance(odd, Tensor | int | float | str)):
                raise TypeError(f"the model returns a {type(odd).__name__}, not tensors")
        ends = _tensors(found)
        self._begin("output", repr([tuple(each.shape) for each in ends]), ends)
        for each in ends:
            labels = self.units.of(each)
            if labels is not None:
                self.ledger.ends(labels)
        self.units.close()


class _Told(TorchFunctionMode):
    """Notices what no operation of torch shows: that Python or NumPy gets the numbers of a tensor."""

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self._walk = walk

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in _TOLD and not all(map(self._walk.units.certain, _tensors(args))):
            raise Decides(f"its forward pass takes the numbers out of a tensor, in {self._walk.where()}")
        return func(*args, **(kwargs or {}))


_TOLD = frozenset(("numpy", "tolist", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage"))


def _tensors(found: Any) -> list[Tensor]:
    return [each for each in tree_leaves(found) if isinstance(each, Tensor)]


def _numbers(found: Any) -> str:
    return repr([each for each in tree_leaves(found) if not isinstance(each, Tensor)])


def _asks(func: Any, args: Sequence[Any]) -> bool:
    """Whether something that holds or not becomes one of Python's."""
    name = func._schema.name
    return bool(name == "aten::equal" or (name == "aten::_local_scalar_dense" and args[0].dtype == torch.bool))


def _decides(func: Any, args: Sequence[Any]) -> bool:
    """Whether numbers of a tensor become numbers of Python, or sizes."""
    if func._schema.name == "aten::index":
        return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags
