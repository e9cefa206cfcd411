"""Stacked training: networks of one architecture are trained as one program, each as it would be alone up to rounding.

Parameters and buffers keep their names and get a new first dimension, which counts the networks. Optimizers and guard
that treat each entry by itself (SGD, Adam, AdamW, RMSprop) work on the stack as on any module. Each network has its
own loss and its own clipping. The tensors of each run become views of the stack, so a run can be read and saved at any
time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import embedding
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from oneticket.guard.narrow import sliced
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.schedule import lr_factor, set_lr
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.task import Task
from oneticket.training.loop import PRECISION, Run
from oneticket.training.spec import TrainingSpec
from oneticket.training.update import update

Feed = Iterator[tuple[Tensor, Tensor]]


class Stack(nn.Module):
    """Networks of one architecture, in training mode, as one module; the first network provides the code.

    >>> nets = [nn.Linear(2, 3) for _ in range(4)]
    >>> stack = Stack(nets)
    >>> stack.get_parameter("weight").shape, stack([torch.ones(5, 2)] * 4).shape
    (torch.Size([4, 3, 2]), torch.Size([4, 5, 3]))
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self._lender = (models[0].train(),)  # in a tuple, it is no part of this module
        parameters, buffers = stack_module_state([*models])
        self._state: dict[str, Tensor] = {
            name: nn.Parameter(_laid(value.detach()), requires_grad=value.requires_grad)
            for name, value in parameters.items()
        } | buffers
        for name, value in self._state.items():
            path, _, leaf = name.rpartition(".")
            owner: nn.Module = self
            for part in path.split(".") if path else ():
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            if isinstance(value, nn.Parameter):
                owner.register_parameter(leaf, value)
            else:
                owner.register_buffer(leaf, value)
        self._pads = any(getattr(each, "padding_idx", None) is not None for each in models[0].modules())
        self._convolves = any(value.dim() == 5 for value in parameters.values())
        for number, model in enumerate(models):
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.data = self._state[name].detach()[number]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Outputs (N, B, ...) of the N networks for a list of N batches (B, ...), one for each network."""
        # vmap runs every attention kernel of torch but the plain one as a loop over the networks.
        with sdpa_kernel(SDPBackend.MATH), _Padded() if self._pads else nullcontext():
            return self._forward(inputs)

    def _forward(self, inputs: Sequence[Tensor]) -> Tensor:
        if not self._convolves or inputs[0].dim() != 4:
            return vmap(self._one)(self._state, torch.stack([*inputs]))
        # A convolution then gets its input, (B, N * C, H, W), in channels_last: 0.65 to 0.77 of the time on one thread.
        stacked = torch.stack([each.permute(0, 2, 3, 1) for each in inputs], 3).permute(3, 0, 4, 1, 2)
        with warnings.catch_warnings():
            # torch warns that vmap loops over the networks for pooling to one pixel in this layout.
            warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
            return vmap(self._one)(self._state, stacked)

    def _one(self, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return functional_call(self._lender[0], state, (inputs,))  # type: ignore[no-any-return]


class _Padded(TorchFunctionMode):
    """Embeddings whose padding gets no gradient: in a stack torch ignores `padding_idx` in the backward pass."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is not embedding:
            return found
        given = dict(zip(("input", "weight", "padding_idx"), args, strict=False)) | dict(kwargs or {})
        pad = given.get("padding_idx")
        if pad is None:
            return found
        return torch.where((given["input"] == pad % len(given["weight"])).unsqueeze(-1), found.detach(), found)


@dataclass(frozen=True, kw_only=True)
class Together:
    """Runs at the same position of one schedule, with their networks as one stack and the stack's optimizers."""

    runs: Sequence[Run]
    stack: Stack
    optimizers: Sequence[Optimizer]
    losses: Tensor

    @classmethod
    def begin(cls, runs: Sequence[Run], optimizer: OptimizerSpec) -> Together:
        """Stack the runs. From now on their networks, moments and losses are views of the stack.

        The optimizers must update each weight by itself, as all but muon do. Raises RuntimeError if the networks
        differ in their tensors.
        """
        stack, losses = Stack([run.model for run in runs]), torch.stack([run.losses for run in runs])
        for number, run in enumerate(runs):
            run.losses = losses[number]
        made = cls(runs=runs, stack=stack, optimizers=build_optimizers(optimizer, stack, head=()), losses=losses)
        for whole, *own in made._optimizers():
            for name, stacked in _named(whole).items():
                states = [one.state.get(_named(one)[name], {}) for one in own]
                whole.state[stacked] = {
                    key: _joined(key, [state[key] for state in states], stacked) for key in states[0]
                }
        made._share()
        return made

    def train(
        self,
        feeds: Sequence[Feed],
        *,
        task: Task,
        training: TrainingSpec,
        optimizer: OptimizerSpec,
        per_epoch: int,
        stop: int,
    ) -> Iterator[int]:
        """Train all runs at once, each on its own batches; otherwise as `loop.train`."""
        begun, total, most = self.runs[0].position, self.losses.shape[1], training.clip
        bound = None if most is None else partial(clip, most=most)
        parameters = [each for each in self.stack.parameters() if each.requires_grad]
        every = [one for optimizers in self._optimizers() for one in optimizers]
        # The convolutions of a stack are one convolution with a group for each network, and oneDNN uses its faulty
        # kernel (`guard/narrow`) for one group only.
        safe = sliced(self.stack) if len(self.runs) == 1 else nullcontext()
        for position in range(begun, stop):
            set_lr(every, lr_factor(optimizer, position, per_epoch=per_epoch, total=total))
            inputs, targets = zip(*map(next, feeds), strict=True)
            losses = partial(self._losses, inputs, torch.cat(targets), task, training)
            self.losses[:, position] = update(
                parameters, self.optimizers, losses, scaler=self.runs[0].scaler, safe=safe, clip=bound
            )
            if position == begun:
                self._share()  # optimizers create their moments in the first step and change them in place afterwards
            for run in self.runs:
                run.position = position + 1
            yield position + 1

    def _losses(self, inputs: Sequence[Tensor], targets: Tensor, task: Task, training: TrainingSpec) -> Tensor:
        """The mean loss of each network over its own batch, (N,)."""
        dtype = PRECISION[training.precision]
        with torch.autocast(self.losses.device.type, dtype=dtype, enabled=dtype != torch.float32):
            outputs = self.stack(inputs)
            each = task.training_loss(outputs.flatten(0, 1), targets, "none", training.smoothing)
            return each.view(len(inputs), -1).mean(1)

    def _share(self) -> None:
        """Make the moments of every run views of the stack's moments."""
        for whole, *own in self._optimizers():
            for number, one in enumerate(own):
                for name, part in _named(one).items():
                    state = whole.state[_named(whole)[name]]
                    one.state[part] = {key: _window(key, value, number, part) for key, value in state.items()}

    def _optimizers(self) -> list[tuple[Optimizer, ...]]:
        """Every optimizer of the stack with the optimizers of the runs that it replaces."""
        return [*zip(self.optimizers, *(run.optimizers for run in self.runs), strict=True)]


def clip(parameters: Sequence[Tensor], most: float) -> None:
    """Scale the gradient of each network to a norm of at most `most`, as `torch.nn.utils.clip_grad_norm_` does for one.

    >>> stacked = torch.zeros(2, 2, requires_grad=True)
    >>> stacked.grad = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    >>> clip([stacked], 1.0)
    >>> stacked.grad.norm(dim=1)
    tensor([1.0000, 0.5000])
    """
    gradients = [each.grad for each in parameters if each.grad is not None]
    norms = torch.stack([gradient.reshape(len(gradient), -1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    scale = (most / (norms + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def _laid(stacked: Tensor) -> Tensor:
    """Convolution kernels in channels_last, network by network, as those of a single network are."""
    return stacked.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3) if stacked.dim() == 5 else stacked


def _named(optimizer: Optimizer) -> dict[str, Tensor]:
    groups = optimizer.param_groups
    return {name: one for group in groups for name, one in zip(group["param_names"], group["params"], strict=True)}


def _joined(key: str, parts: list[object], stacked: Tensor) -> object:
    """One value of an optimizer's state for all runs; a count, such as the number of steps, is the same for all."""
    tensors = [part for part in parts if isinstance(part, Tensor) and not _counts(key, part, stacked[0])]
    return _laid(torch.stack(tensors)) if tensors else parts[0]


def _window(key: str, value: object, number: int, weight: Tensor) -> object:
    return value[number] if isinstance(value, Tensor) and not _counts(key, value, weight) else value


def _counts(key: str, value: Tensor, weight: Tensor) -> bool:
    """Whether the value counts something of the whole training; the moment of a weight with one entry does not."""
    return value.dim() == 0 and (weight.dim() > 0 or key in ("step", "mu_product"))
