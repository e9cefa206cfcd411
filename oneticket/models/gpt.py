"""Byte-GPT: a small transformer that predicts the next token."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.ground.errors import WrongModelError
from oneticket.models.layers import Net, scaled
from oneticket.models.spec import ModelSpec
from oneticket.task.inputs import Inputs

LAYERS = 2
HEADS = 4
FEATURES = 24
"""Of each head."""


@final
class Embed(nn.Module):
    """What stands at each place and where that is: (N, T) tokens to (N, T, features)."""

    def __init__(self, vocabulary: int, length: int, features: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, features)
        self.positions = nn.Embedding(length, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """At most `length` tokens."""
        return self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]  # type: ignore[no-any-return]


@final
class Attention(nn.Module):
    """Every place looks at itself and at those before it."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.q_proj = nn.Linear(features, features)
        self.k_proj = nn.Linear(features, features, bias=False)  # softmax takes away what is added to all keys
        self.v_proj = nn.Linear(features, features)
        self.out_proj = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, features) to the same."""
        query, key, value = (
            each(x).view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)
            for each in (self.q_proj, self.k_proj, self.v_proj)
        )
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out_proj(found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


@final
class Block(nn.Module):
    """Attention, then a layer of four times the features; each normalises what it reads and adds what it makes."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(features)
        self.attention = Attention(features, heads)
        self.norm2 = nn.LayerNorm(features)
        self.fc1 = nn.Linear(features, 4 * features)
        self.fc2 = nn.Linear(4 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, features) to the same."""
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(self.fc1(self.norm2(x)).relu())  # type: ignore[no-any-return]


def byte_gpt(spec: ModelSpec, inputs: Inputs, outputs: int) -> Net:
    """Two pre-norm blocks of 4 heads of 24 features, ReLU, learned positions, no dropout; the head is not tied.

    (N, T) tokens become logits (N, T, vocabulary) of the token that follows each. `width` changes the features of each
    head. Embeddings are normal with standard deviation 0.3, all else Xavier normal, biases 0. Raises ModelError for
    outputs that are not the vocabulary's. Radford et al., "Language models are unsupervised multitask learners", 2019.
    """
    assert inputs.vocabulary is not None
    if outputs != inputs.vocabulary:
        raise WrongModelError(
            f"{spec.name} says which of {inputs.vocabulary} tokens comes next, and the data asks for {outputs} outputs;"
            " take text-cnn, or the task language"
        )
    features = HEADS * scaled(FEATURES, spec.width)
    layers: dict[str, nn.Module] = {"embed": Embed(inputs.vocabulary, inputs.shape[0], features)}
    layers |= {f"block{place}": Block(features, HEADS) for place in range(1, LAYERS + 1)}
    layers |= {"norm": nn.LayerNorm(features), "head": nn.Linear(features, outputs)}
    return Net(layers, conv="xavier")
