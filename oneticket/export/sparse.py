"""Linear layers in torch's sparse forms: CSR on any device, and 2:4 for the sparse units of NVIDIA GPUs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from oneticket.export.network import Made, linears, masked
from oneticket.export.plain import duplicate
from oneticket.ground.errors import WrongPruneError
from oneticket.ticket.mask import Mask

GROUP, MOST = 4, 2
"""2:4: at most so many weights remain in each group."""


@final
class Csr(nn.Module):
    """A linear layer over its remaining weights as a `torch.sparse` CSR matrix.

    Buffers `crow`, `col` (int32) and `values`. `remaining`: bool (outputs, inputs).

    >>> layer = nn.Linear(3, 2, bias=False)
    >>> csr = Csr(layer, torch.tensor([[True, False, False], [False, True, True]]))
    >>> csr.crow.tolist(), csr.col.tolist(), torch.equal(csr.values, layer.weight.detach()[[0, 1, 1], [0, 1, 2]])
    ([0, 1, 3], [0, 1, 2], True)
    """

    def __init__(self, layer: nn.Linear, remaining: Tensor) -> None:
        super().__init__()
        remaining = remaining.to(layer.weight.device)
        ends = remaining.sum(1).cumsum(0)
        self.shape = tuple(remaining.shape)
        self.register_buffer("crow", torch.cat([ends.new_zeros(1), ends]).int())
        self.register_buffer("col", remaining.nonzero()[:, 1].int())
        self.register_buffer("values", layer.weight.detach()[remaining])
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            weight = torch.sparse_csr_tensor(
                self.get_buffer("crow"),
                self.get_buffer("col"),
                self.get_buffer("values"),
                self.shape,
                check_invariants=False,
            )
        out = (weight @ x.reshape(-1, self.shape[1]).t()).t()
        out = out if self.bias is None else out + self.bias
        return out.reshape(*x.shape[:-1], self.shape[0])

    def extra_repr(self) -> str:
        """For `print(network)`."""
        return f"{len(self.get_buffer('values'))} remaining weights of {self.shape}"


def csr(model: nn.Module, mask: Mask) -> Made:
    """The masked network with every pruned linear layer as `Csr`; its state dict is the file's content.

    Raises PruneError if no linear layer lost a weight.

    >>> net = nn.Sequential(nn.Linear(3, 2))
    >>> csr(net, Mask({"0.weight": torch.tensor([[True, False, False], [False, True, True]])})).network
    Sequential(
      (0): Csr(3 remaining weights of (2, 3))
    )
    """
    made = masked(model, mask)
    for name, layer in linears(made.network, mask).items():
        made.network.set_submodule(name, Csr(layer, mask[f"{name}.weight"]).eval())
    return made


def two_of_four(model: nn.Module, mask: Mask) -> Made:
    """The masked network, checked to be 2:4: in every pruned linear layer at most two of each four weights remain.

    Groups are along the inputs. Raises PruneError with the counts per layer for any other mask, and if no linear layer
    lost a weight. Mishra et al. 2021, arXiv 2104.08378.

    >>> net = nn.Sequential(nn.Linear(4, 1, bias=False))
    >>> mask = Mask({"0.weight": torch.tensor([[False, True, False, True]])})
    >>> two_of_four(net, mask).network[0].weight.count_nonzero()
    tensor(2)
    """
    made, wrong = masked(model, mask), []
    for name in linears(made.network, mask):
        remaining = mask[f"{name}.weight"]
        if remaining.shape[1] % GROUP:
            wrong.append(f"{name}: {remaining.shape[1]} inputs are no multiple of {GROUP}")
            continue
        over = int((_groups(remaining).sum(2) > MOST).sum())
        if over:
            wrong.append(
                f"{name}: {over} of {remaining.numel() // GROUP} groups have more than {MOST} remaining weights"
            )
    if wrong:
        raise WrongPruneError(f"the mask is not {MOST}:{GROUP}; nothing was written:\n" + "\n".join(wrong))
    return made


def packed(network: nn.Module, mask: Mask) -> dict[str, Tensor]:
    """The state dict of a 2:4 network, with each such weight as NAME.values and NAME.meta.

    `values`: (outputs, inputs / 2), two of each group of four; `meta`: uint8 (outputs, inputs / 4), the places of the
    two in their group, the first in bits 0 and 1, the second in bits 2 and 3. A group with fewer remaining weights
    keeps zeros, at its first free places.

    >>> net = nn.Sequential(nn.Linear(4, 1, bias=False))
    >>> _ = net.load_state_dict({"0.weight": torch.tensor([[0.0, 5, 0, 7]])})
    >>> found = packed(net, Mask({"0.weight": torch.tensor([[False, True, False, True]])}))
    >>> found["0.weight.values"], found["0.weight.meta"]
    (tensor([[5., 7.]]), tensor([[13]], dtype=torch.uint8))
    """
    tensors = dict(network.state_dict())
    for name, layer in linears(network, mask).items():
        groups = _groups(mask[f"{name}.weight"].to(layer.weight.device))
        # A stable sort by "is pruned" puts remaining weights first; of the two places the lower one is stored first.
        places = (~groups).to(torch.uint8).argsort(dim=2, stable=True)[..., :MOST].sort(dim=2).values
        del tensors[f"{name}.weight"]
        tensors[f"{name}.weight.values"] = _groups(layer.weight.detach()).gather(2, places).flatten(1)
        tensors[f"{name}.weight.meta"] = (places[..., 0] | places[..., 1] << 2).to(torch.uint8)
    return tensors


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `packed`: the state dict with dense weights.

    >>> unpacked({"w.values": torch.tensor([[5.0, 7]]), "w.meta": torch.tensor([[13]], dtype=torch.uint8)})
    {'w': tensor([[0., 5., 0., 7.]])}
    """
    found = {name: value for name, value in tensors.items() if not name.endswith((".values", ".meta"))}
    for name in [name.removesuffix(".meta") for name in tensors if name.endswith(".meta")]:
        values, meta = tensors[f"{name}.values"], tensors[f"{name}.meta"].long()
        places = torch.stack([meta & 3, meta >> 2 & 3], dim=2)
        dense = values.new_zeros(*meta.shape, GROUP).scatter_(2, places, values.reshape(*meta.shape, MOST))
        found[name] = dense.flatten(1)
    return found


def on_cuda(network: nn.Module, mask: Mask) -> nn.Module:
    """A copy of a 2:4 network on a CUDA device whose linear layers are `torch.sparse` semi-structured.

    In float16 or bfloat16, with sizes that the GPU's kernels support (multiples of 64 are). Raises PruneError with the
    reason where torch refuses a layer.

    >>> if torch.cuda.is_available():
    ...     net = nn.Sequential(nn.Linear(64, 64)).cuda().half()
    ...     mask = Mask({"0.weight": (torch.arange(64) % 2 == 0).expand(64, 64)})
    ...     fast = on_cuda(two_of_four(net, mask).network, mask)
    """
    made = duplicate(network)
    for name, layer in linears(made, mask).items():
        try:
            weight = torch.sparse.to_sparse_semi_structured(layer.weight.detach().contiguous())
        except (RuntimeError, ValueError) as error:
            raise WrongPruneError(
                f"{name}: torch cannot make it semi-structured: {str(error).partition(chr(10))[0]}"
            ) from None
        layer.weight = nn.Parameter(weight, requires_grad=False)
    return made


def _groups(weight: Tensor) -> Tensor:
    """(outputs, inputs) -> (outputs, inputs / 4, 4)."""
    return weight.reshape(len(weight), -1, GROUP)
