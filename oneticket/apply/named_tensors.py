"""The tensors of a model that a ticket may give values to, by name."""

from __future__ import annotations

from torch import Tensor, nn

from oneticket.ground.errors import WrongTransferError
from oneticket.ticket import shards


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's own parameters and saved buffers by name, those that are tied or shared under each of their names."""
    if not isinstance(model, nn.Module):
        raise WrongTransferError(f"expected a torch module, got {type(model).__name__}")
    shards.reshard(model)
    found: dict[str, Tensor] = {}
    for at, module in model.named_modules(remove_duplicate=False):
        saved = {n: b for n, b in module._buffers.items() if n not in module._non_persistent_buffers_set}
        for name, value in {**module._parameters, **saved}.items():
            if value is not None:
                found[f"{at}.{name}" if at else name] = value
    return found
