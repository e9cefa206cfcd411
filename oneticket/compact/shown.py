"""A model's tensors while a smaller network trains in its place: what is asked of them goes to what they mirror."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch._C._dynamo.eval_frame import get_eval_frame_callback
from torch.compiler import is_dynamo_compiling

from oneticket.compact.asked import gradients, leaves, refuse_averaging
from oneticket.ground.errors import GuardError

Function = Callable[..., Any]


class Mirrored(Protocol):
    """What a tensor mirrors (`mirror`).

    `whole`: the tensor; `part`: the network's. `trains`: whether it is a parameter. `written`: whether torch
    counts a write into `whole` since both were equal.
    """

    name: str
    whole: Tensor
    part: Tensor
    trains: bool

    @property
    def written(self) -> bool: ...

    def refresh(self) -> None:
        """Show what the network has."""

    def pass_on(self) -> None:
        """Let the network have what stands here."""

    def traced(self) -> Tensor:
        """The same values, through which gradients go to the network."""

    def grad(self) -> Tensor | None:
        """The gradient."""

    def set_grad(self, value: Tensor | None) -> None:
        """Replace it."""


class ShownParameter(nn.Parameter):
    """A parameter of the model."""

    @classmethod
    def __torch_function__(cls, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with BARE():
            return run(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Parameter:
        return cast("nn.Parameter", memo.setdefault(id(self), _copied(self, clone=True)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _copied(self).__reduce_ex__(protocol)  # type: ignore[no-untyped-call]


class ShownTensor(Tensor):
    """A buffer of the model, or a gradient."""

    __torch_function__ = ShownParameter.__torch_function__

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return cast("Tensor", memo.setdefault(id(self), _copied(self, clone=True)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _copied(self).__reduce_ex__(protocol)  # type: ignore[no-untyped-call]


def compiled() -> bool:
    """Whether this is called within a function that `torch.compile` made, or is about to become a part of one."""
    return is_dynamo_compiling() or get_eval_frame_callback() is not None


def mirror(tensor: Tensor, link: Mirrored) -> None:
    """Let this tensor, of one of torch's own classes, show what the network has."""
    vars(tensor)[AT] = link
    tensor.__class__ = ShownParameter if type(tensor) is nn.Parameter else ShownTensor


def release(tensor: Tensor) -> None:
    """Let it be an ordinary tensor again."""
    vars(tensor).pop(AT, None)
    tensor.__class__ = nn.Parameter if isinstance(tensor, nn.Parameter) else Tensor


def run(func: Function, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Do what is asked of tensors, some of which are mirrors."""
    if compiled():
        raise GuardError(COMPILED)
    name = getattr(func, "__name__", "")
    field = getattr(getattr(func, "__self__", None), "__name__", "") if name in ("__get__", "__set__") else ""
    links: list[Mirrored] = [*_links((args, [*named.values()]))]
    own: Mirrored | None = vars(args[0]).get(AT) if args and isinstance(args[0], ShownParameter | ShownTensor) else None
    if own is not None and field == "grad" and own.trains:
        if name == "__get__":
            return own.grad()
        if args[1] is not None and args[1].shape != own.whole.shape:
            raise RuntimeError(f"{own.name}: a gradient of shape {[*args[1].shape]}, expected {[*own.whole.shape]}")
        return own.set_grad(args[1])
    if func is torch.autograd.backward and named.get("inputs"):
        return func(*args, **{**named, "inputs": leaves(*_asked(named["inputs"]))})
    if func is torch.autograd.grad:
        return gradients(args[0], *_asked(args[1]), args[2:], named)
    if name in REFUSED:
        raise GuardError(f"{links[0].name}: {REFUSED[name]}")
    if name in PLAIN or (name == "__get__" and field not in READ):
        return func(*args, **named)
    for link in links:
        link.refresh()
    if name == "__get__" and field == "data" and own is not None:
        return own.whole.detach()  # which torch counts writes into
    if name == "__set__" and own is not None:
        return _set(own, field, func, args)
    writes = own is not None or not args or isinstance(args[0], list | tuple) or bool(named.get("out") is not None)
    if writes and _in_place(name, named):
        given = func(*args, **named)
        for link in links:
            if link.written or name.startswith("_fused"):
                link.pass_on()
        return given
    if torch.is_grad_enabled() and name not in SHARING:
        args, named = _traced(args), _traced(dict(named))
    given = func(*args, **named)
    if name in NORMS:  # which torch does not count as writing
        for link in links:
            if not link.trains:
                link.pass_on()
    return given


def _asked(inputs: Any) -> tuple[list[Any], list[Any]]:
    """The tensors by which gradients are asked for, and what each of them mirrors."""
    given = [inputs] if isinstance(inputs, Tensor) else [*inputs]
    return given, [vars(one).get(AT) if isinstance(one, ShownParameter) else None for one in given]


def _set(link: Mirrored, field: str, func: Function, args: tuple[Any, ...]) -> None:
    """An attribute of a mirror is set."""
    value = args[1]
    if field == "data" and (value.dtype != link.part.dtype or value.device != link.part.device):
        raise GuardError(
            f"{link.name}: a model cannot be converted or moved while a smaller network trains in its place; close "
            "that, and make another afterwards"
        )
    func(*args)
    if field == "data":
        link.pass_on()


def _in_place(name: str, named: Mapping[str, Any]) -> bool:
    return (name.endswith("_") and not name.endswith("__")) or name in SETTING or named.get("out") is not None


def _links(given: Any) -> Iterator[Any]:
    """What is mirrored by tensors in there."""
    if isinstance(given, ShownParameter | ShownTensor):
        yield from [vars(given)[AT]] if AT in vars(given) else []
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _links(each)
    elif isinstance(given, dict):
        yield from _links([*given.values()])


def _traced(given: Any) -> Any:
    """The same with the network's tensors, through which gradients go, in the place of trained parameters."""
    if isinstance(given, ShownParameter):
        if not given.requires_grad or AT not in vars(given):
            return given
        refuse_averaging(given, vars(given)[AT].name)
        return vars(given)[AT].traced()
    if isinstance(given, list | tuple):
        made = [_traced(each) for each in given]
        return type(given)(*made) if hasattr(given, "_fields") else type(given)(made)
    return {key: _traced(each) for key, each in given.items()} if isinstance(given, dict) else given


def _copied(mirror: Tensor, *, clone: bool = False) -> Tensor:
    """An ordinary tensor with the same values, and what else its owner has written on it."""
    value = mirror.detach()
    with BARE():
        value = value.clone(memory_format=torch.preserve_format) if clone else value
        made = nn.Parameter(value, mirror.requires_grad) if isinstance(mirror, nn.Parameter) else value
        vars(made).update({key: each for key, each in vars(mirror).items() if key != AT})
    return made


COMPILED = (
    "torch.compile cannot follow a smaller network that trains in a model's place, since the model's tensors show what "
    "is computed elsewhere; call it uncompiled, or compile the model and hold the mask by attach"
)

BARE: Callable[[], contextlib.AbstractContextManager[None]] = torch._C.DisableTorchFunctionSubclass
"""Within it tensors are what they are."""

AT = "_oneticket_mirror"
"""The attribute of a tensor with what it mirrors."""

READ = frozenset(("data", "T", "mT", "H", "mH", "real", "imag"))
"""Attributes that have values."""

SHARING = frozenset(("detach", "__repr__", "__str__", "__format__"))
"""Methods that share or show values, without gradients."""

PLAIN = frozenset(
    (
        *("size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "element_size", "data_ptr"),
        *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_pinned", "is_shared", "is_same_size"),
        *("is_inference", "get_device", "untyped_storage", "__len__", "__hash__", "retain_grad", "requires_grad_"),
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "_is_view"),
    )
)
"""Methods that ask for no values."""

SETTING = frozenset(
    ("__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__ipow__", "__imod__")
)

NORMS = frozenset(("batch_norm", "instance_norm", "native_batch_norm"))

HOOK = (
    "gradients go to the smaller network, where this parameter's hooks do not run; register them on the network's "
    "parameter, or hold the mask by attach"
)

REFUSED = {
    "register_hook": HOOK,
    "register_post_accumulate_grad_hook": HOOK,
}
"""Functions that cannot be right."""
