"""Tied and many-headed models, found in a loop and carried to the same vocabulary or classes, and to others.

Each is searched with the two lines that its users write, and its ticket goes to another model by `apply` and `attach`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oneticket.ground.errors import TransferError
from oneticket.lottery.loop_search import Search
from oneticket.ticket.ticket import Ticket

SMALL = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 12}
WORDS = torch.arange(8).view(2, 4)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_attn(self.ln_1(x)).chunk(3, -1)
        x = x + self.c_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return x + self.mlp(self.ln_2(x))


class NanoGPT(nn.Module):
    """As nanoGPT is written: the embedding takes the output layer's weight, and logits come with a loss."""

    def __init__(self, words: int, width: int = 8) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(words, width),
                "wpe": nn.Embedding(4, width),
                "h": nn.ModuleList([Block(width), Block(width)]),
                "ln_f": nn.LayerNorm(width),
            }
        )
        self.lm_head = nn.Linear(width, words, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.transformer.wte(idx) + self.transformer.wpe(torch.arange(idx.shape[1]))
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        return logits, None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class TiedLSTM(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.encoder, self.rnn, self.decoder = nn.Embedding(words, 8), nn.LSTM(8, 8), nn.Linear(8, words)
        self.decoder.weight = self.encoder.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.decoder(self.rnn(self.encoder(words))[0])


class Segmenter(nn.Module):
    """As torchvision's: a mapping with a main and an auxiliary map, the auxiliary classifier registered first."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1)
        )
        self.aux_classifier = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, classes, 1))
        self.classifier = nn.Sequential(nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Conv2d(5, classes, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.backbone(images)
        sizes = {"size": images.shape[-2:], "mode": "bilinear"}
        return {
            "out": F.interpolate(self.classifier(features), **sizes),
            "aux": F.interpolate(self.aux_classifier(features), **sizes),
        }


class Detector(nn.Module):
    """Two levels, each read by the same towers, one for classes and one for boxes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.cls_logits = nn.Conv2d(6, classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(6, 4, 3, padding=1)
        self.tower = nn.Conv2d(6, 6, 3, padding=1)
        self.body = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        levels = [fine := self.body(images).relu(), F.max_pool2d(fine, 2)]
        levels = [self.tower(level).relu() for level in levels]
        return [self.cls_logits(level) for level in levels], [self.bbox_pred(level).relu() for level in levels]


def language(kind: str, config: str, **settings: Any) -> Callable[[int], nn.Module]:
    def make(words: int) -> nn.Module:
        transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
        special = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}
        made = getattr(transformers, config)(vocab_size=words, **{**settings, **special})
        return getattr(transformers, kind)(made).train()

    return make


def loss_of(output: Any) -> Tensor:
    return output.loss


def every(output: Any) -> Tensor:
    """A loss over all outputs of a model that has none of its own."""
    if isinstance(output, Tensor):
        return output.square().mean()
    return torch.stack([every(part) for part in (output.values() if isinstance(output, dict) else output)]).sum()


LM = {"input_ids": WORDS, "labels": WORDS}
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TIED: dict[str, tuple[Callable[[int], nn.Module], dict[str, Any], Callable[[Any], Tensor], tuple[str, ...], str]] = {
    "GPT2LMHeadModel": (
        language("GPT2LMHeadModel", "GPT2Config", n_positions=8, n_embd=8, n_layer=1, n_head=2),
        LM,
        loss_of,
        ("lm_head.weight",),
        "transformer.wte.weight",
    ),
    "BertForMaskedLM": (
        language("BertForMaskedLM", "BertConfig", max_position_embeddings=8, **SMALL),
        LM,
        loss_of,
        ("cls.predictions.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
        "bert.embeddings.word_embeddings.weight",
    ),
    "LlamaForCausalLM": (
        language("LlamaForCausalLM", "LlamaConfig", tie_word_embeddings=True, num_key_value_heads=2, **SMALL),
        LM,
        loss_of,
        ("lm_head.weight",),
        "model.embed_tokens.weight",
    ),
    "AlbertForMaskedLM": (
        language(
            "AlbertForMaskedLM",
            "AlbertConfig",
            embedding_size=4,
            max_position_embeddings=8,
            **{**SMALL, "num_hidden_layers": 2},
        ),
        LM,
        loss_of,
        ("predictions.bias", "predictions.decoder.weight", "predictions.decoder.bias"),
        "albert.embeddings.word_embeddings.weight",
    ),
    "T5ForConditionalGeneration": (
        language("T5ForConditionalGeneration", "T5Config", d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2),
        LM,
        loss_of,
        ("lm_head.weight",),
        "shared.weight",
    ),
    "WhisperForConditionalGeneration": (
        language(
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            d_model=8,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=12,
            decoder_ffn_dim=12,
            num_mel_bins=3,
            max_source_positions=4,
            max_target_positions=8,
        ),
        {"input_features": torch.rand(2, 3, 8), "labels": WORDS},
        loss_of,
        ("proj_out.weight",),
        "model.decoder.embed_tokens.weight",
    ),
    "nanoGPT": (
        NanoGPT,
        {"idx": WORDS, "targets": WORDS},
        lambda output: output[1],
        ("lm_head.weight",),
        "transformer.wte.weight",
    ),
    "tied LSTM": (TiedLSTM, {"words": WORDS}, every, ("decoder.weight", "decoder.bias"), "encoder.weight"),
}
MANY: dict[str, tuple[Callable[[int], nn.Module], dict[str, Any], tuple[tuple[str, ...], ...]]] = {
    "segmentation with an auxiliary head": (
        Segmenter,
        {"images": IMAGES},
        (("classifier.2.weight", "classifier.2.bias"), ("aux_classifier.2.weight", "aux_classifier.2.bias")),
    ),
    "detector": (
        Detector,
        {"images": IMAGES},
        (("cls_logits.weight", "cls_logits.bias"), ("bbox_pred.weight", "bbox_pred.bias")),
    ),
}


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False)


def found(model: nn.Module, batch: dict[str, Any], loss: Callable[[Any], Tensor]) -> Ticket:
    """The ticket of a search that takes a step a level."""
    search = Search(model, adam, levels=1, fraction=0.5)
    for level in search:
        loss(level.model(**batch)).backward()
        level.optimizer.step()
    return search.book[1]


def trains(ticket: Ticket, model: nn.Module, batch: dict[str, Any], loss: Callable[[Any], Tensor], **how: Any) -> None:
    optimizer = adam(model)
    with ticket.attach(model, optimizer, **how) as guard:
        loss(model(**batch)).backward()
        optimizer.step()
        assert guard.audit().remaining == ticket.mask.remaining


def same(model: nn.Module, ticket: Ticket, fresh: tuple[str, ...]) -> bool:
    now = model.state_dict()
    return all(torch.equal(now[name], value) for name, value in ticket.weights.items() if name not in fresh)


@pytest.mark.parametrize("kind", TIED)
def test_a_tied_embedding_goes_along_and_another_vocabulary_needs_a_word(kind: str, tmp_path: Any) -> None:
    make, batch, loss, head, embedding = TIED[kind]
    ticket = found(make(12), batch, loss)
    assert ticket.contract.head == head and embedding not in ticket.mask
    ticket.save(tmp_path / "mine")
    ticket = Ticket.load(tmp_path / "mine")

    model = make(12)
    carried = ticket.apply(model)
    fresh = tuple(sorted(name for name in head if name.endswith("bias")))
    assert carried.fresh == carried.left == fresh
    assert embedding in carried.matched and same(model, ticket, fresh)
    trains(ticket, model, batch, loss)

    other = make(15)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(TransferError) as caught:
        ticket.apply(other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    line = re.search(r"give fresh=(\(.*\)) to apply and to attach", str(caught.value))
    assert line is not None and embedding in line[1]
    carried = ticket.apply(other, fresh=eval(line[1]))
    assert {embedding, *head} <= set(carried.fresh) and same(other, ticket, carried.fresh)
    assert all(torch.equal(other.state_dict()[name], before[name]) for name in carried.fresh)
    trains(ticket, other, batch, loss, fresh=eval(line[1]))


@pytest.mark.parametrize("kind", MANY)
def test_several_outputs_are_several_heads(kind: str, tmp_path: Any) -> None:
    make, batch, heads = MANY[kind]
    ticket = found(make(3), batch, every)
    assert ticket.contract.heads == heads and not set(ticket.mask) & set(ticket.contract.head_names)
    ticket.save(tmp_path / "mine")
    ticket = Ticket.load(tmp_path / "mine")
    for classes in (3, 5):
        model = make(classes)
        carried = ticket.apply(model)
        assert carried.fresh == carried.left == tuple(sorted(ticket.contract.head_names))
        assert same(model, ticket, carried.fresh)
        trains(ticket, model, batch, every)
    assert ticket.apply(make(3), head="keep").fresh == ()
