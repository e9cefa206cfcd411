"""Evidence: what a criterion may look at. Each kind is computed when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor, nn

from oneticket.ground.errors import WrongPruneError
from oneticket.guard.narrow import sliced
from oneticket.ticket.mask import Mask

Tensors = Mapping[str, Tensor]
Losses = Callable[[nn.Module], Iterable[Tensor]]
"""From the trained model to the losses (scalars) of batches, one after the other, each with its graph."""
BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known about the prunable weights at the end of a level's training, by name.

    - `mask`: which of them remain. `trained`: their values now. `initial`: as the network was initialised.
    - `generator`: for criteria that draw.
    - `gradients(batches)` and `activations(batches)`: measured on training batches in evaluation mode. They need a
      model and its losses: `Search` takes the losses of `evidence=`, and our own searches those of their data.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> mask = Mask.full({"weight": layer.weight})
    >>> found = Evidence(
    ...     mask=mask, trained={"weight": layer.weight.detach()}, initial_of=dict, generator=torch.Generator(),
    ...     model=layer, losses=lambda model: (model(torch.tensor([[1.0, 2.0]])).sum() for _ in range(3)))
    >>> found.gradients()["weight"], found.activations()["weight"]
    (tensor([[1., 2.]]), tensor([[1., 4.]]))
    """

    mask: Mask
    trained: Tensors
    initial_of: Callable[[], Tensors]
    generator: torch.Generator
    model: nn.Module | None = field(default=None, repr=False)
    losses: Losses | None = field(default=None, repr=False)

    @cached_property
    def initial(self) -> Tensors:
        """The weights as they were initialised."""
        return self.initial_of()

    def gradients(self, batches: int = BATCHES) -> dict[str, Tensor]:
        """The loss's gradient with respect to each prunable weight, in its shape, averaged over this many batches.

        It is measured in evaluation mode, for pruned weights too. Raises PruneError without a model and losses.
        """
        model = self._model("gradients")
        taken = {name: model.get_parameter(name) for name in self.mask}
        with _undisturbed(model), sliced(model):
            for parameter in model.parameters():
                parameter.grad = None
            count = 0
            for loss in islice(self._losses(model), batches):
                loss.backward()  # type: ignore[no-untyped-call]
                count += 1
            found = {
                name: torch.zeros_like(one) if one.grad is None else one.grad / max(count, 1)
                for name, one in taken.items()
            }
        self._some(count, "gradients")
        return {name: one.detach().cpu() for name, one in found.items()}

    def activations(self, batches: int = BATCHES) -> dict[str, Tensor]:
        """The mean square of the input that each prunable weight is multiplied by, over this many batches.

        It has the weight's number of dimensions and its inputs along dimension 1, such as (1, inputs) of a linear layer
        and (1, channels, 1, 1) of a convolution with one group. Raises PruneError without a model and losses,
        and for a layer that is neither.
        """
        model, seen = self._model("activations"), dict[str, list[Tensor]]()
        handles = [self._watch(model, name, seen) for name in self.mask]
        try:
            with _undisturbed(model), torch.no_grad():
                count = sum(1 for _ in islice(self._losses(model), batches))
        finally:
            for handle in handles:
                handle.remove()
        self._some(count, "activations")
        return {name: torch.stack(squares).mean(0).cpu() for name, squares in seen.items()}

    def _watch(self, model: nn.Module, name: str, seen: dict[str, list[Tensor]]) -> torch.utils.hooks.RemovableHandle:
        layer, weight = model.get_submodule(name.rpartition(".")[0]), model.get_parameter(name)
        linear = isinstance(layer, nn.Linear)
        if not linear and not (isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.groups == 1):
            raise WrongPruneError(
                f"{name}: activations are measured for linear layers and convolutions with one group only; use another "
                "criterion"
            )

        def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0].detach().float().square()
            inputs = x.flatten(0, -2).mean(0) if linear else x.mean((0, *range(2, x.dim())))
            seen.setdefault(name, []).append(inputs.view(1, -1, *[1] * (weight.dim() - 2)))

        return layer.register_forward_pre_hook(look)

    def _model(self, what: str) -> nn.Module:
        if self.model is None or self.losses is None:
            raise WrongPruneError(
                f"the criterion asks for {what}, but there is no data to compute them from; give Search "
                "evidence=lambda model: (loss(model(x), y) for x, y in batches)"
            )
        return self.model

    def _losses(self, model: nn.Module) -> Iterator[Tensor]:
        assert self.losses is not None
        for loss in self.losses(model):
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise WrongPruneError(
                    f"evidence: expected a loss of one number for each batch, got {type(loss).__name__}"
                )
            yield loss

    def _some(self, count: int, what: str) -> None:
        if not count:
            raise WrongPruneError(
                f"the criterion asks for {what}, but evidence gave no batch; it must give at least one"
            )


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """In evaluation mode; modes and gradients are put back, and torch's random state with them."""
    modes = {module: module.training for module in model.modules()}
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
