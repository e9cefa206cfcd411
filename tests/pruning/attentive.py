"""Small networks with attention: of Transformers, by configuration, and packed as timm writes it."""

from __future__ import annotations

import pytest
from torch import Tensor, nn


def bert() -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=9, **size, max_position_embeddings=8, _attn_implementation="eager")
    return transformers.BertModel(config, add_pooling_layer=False)


def gpt() -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    size = {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 9, "n_positions": 8}
    return transformers.GPT2Model(transformers.GPT2Config(**size, bos_token_id=0, eos_token_id=0))


def vit() -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 8}
    return transformers.ViTModel(transformers.ViTConfig(**size, image_size=8, patch_size=4), add_pooling_layer=False)


def llama() -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 8}
    return transformers.LlamaModel(transformers.LlamaConfig(**size, vocab_size=9, pad_token_id=0))


def clip() -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 8}
    return transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**size, image_size=8, patch_size=4))


class Packed(nn.Module):
    """Attention with one layer for query, key and value, as timm writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.qkv, self.proj = 4, nn.Linear(16, 48, bias=False), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.num_heads, 4)).transpose(1, 3)
        out = nn.functional.scaled_dot_product_attention(*parts.unbind(2))
        return self.proj(out.transpose(1, 2).flatten(2))
