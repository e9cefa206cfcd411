"""Tickets of pre-trained encoders beneath other heads and in other tasks: Transformers' own models, made by config."""

import dataclasses

import pytest
import torch

from oneticket.ground.errors import TransferError
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.match import name_changes
from oneticket.ticket.ticket import Ticket

transformers = pytest.importorskip("transformers", reason="needs the extra 'transformers'")

GIVEN = Contract(rewind="0it", step=0)
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
BERT = transformers.BertConfig(vocab_size=40, max_position_embeddings=16, num_labels=3, **SMALL)
VIT = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **SMALL)
GPT = transformers.GPT2Config(
    vocab_size=40, n_positions=16, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, pad_token_id=0
)


def build(kind: str, config, seed: int = 0, **keywords) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return getattr(transformers, kind)(config, **keywords).eval()


def other_config(config, **changes):
    return type(config)(**{**config.to_dict(), **changes})


def pruned(model: torch.nn.Module, among: str, *, head: tuple[str, ...] = (), density: float = 0.3) -> Ticket:
    """The ticket whose rewind weights are the given ones, pruned by magnitude over all layers of the encoder."""
    names = [name for name, weight in model.named_parameters() if among in name and weight.dim() == 2]
    weights = model.state_dict()
    size = torch.cat([weights[name].abs().flatten() for name in names])
    limit = size.kthvalue(int(size.numel() * (1 - density))).values
    mask = Mask({name: weights[name].abs() > limit for name in names})
    return Ticket(mask=mask, weights=weights, contract=dataclasses.replace(GIVEN, head=head))


@pytest.fixture(scope="module")
def pretrained() -> torch.nn.Module:
    """A masked language model, trained a little: every sequence counts upwards."""
    model = build("BertForMaskedLM", BERT, seed=1)
    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(20):
        words = (torch.randint(1, 20, (16, 1), generator=draw) + torch.arange(8)) % 39 + 1
        hidden = torch.rand(words.shape, generator=draw) < 0.15
        optimizer.zero_grad()
        model(input_ids=words.masked_fill(hidden, 0), labels=words.masked_fill(~hidden, -100)).loss.backward()
        optimizer.step()
    return model


HEAD = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias")


def untouched(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(torch.equal(value, before[name]) for name, value in now.items())


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def trains(ticket: Ticket, model: torch.nn.Module, batch: dict[str, torch.Tensor], **how) -> None:
    """Some steps with the mask held: it learns, and the audit finds all in order after each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    losses = []
    with ticket.attach(model, optimizer, **how) as guard:
        for _ in range(6):
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            assert guard.audit().moments >= 2 * len(guard.mask)
    assert losses[-1] < losses[0]
    assert sorted(guard.mask.counts.values()) == sorted(ticket.mask.counts.values())


WORDS = (torch.arange(6)[:, None] * 5 + torch.arange(8)) % 39 + 1
SEQUENCES = {"input_ids": WORDS, "labels": torch.arange(6) % 3}
TOKENS = {"input_ids": WORDS, "labels": WORDS % 3}


def test_one_pretrained_encoder_for_two_tasks(pretrained):
    ticket = pruned(pretrained.bert, "encoder.layer")
    assert 0.29 < ticket.density < 0.31
    for kind, batch, options in (
        ("BertForSequenceClassification", SEQUENCES, {"fresh": ("bert.pooler.*",)}),
        ("BertForTokenClassification", TOKENS, {}),
    ):
        model = build(kind, BERT, seed=2)
        before = snapshot(model)
        carried = ticket.apply(model, **options)
        assert name_changes(carried.names) == "names behind 'bert.'" and carried.left == ()
        assert {"classifier.weight", "classifier.bias"} <= set(carried.fresh)
        assert all(name.startswith(("classifier.", "bert.pooler.")) for name in carried.fresh)
        now = model.state_dict()
        assert all(torch.equal(now[f"bert.{name}"], value) for name, value in ticket.weights.items())
        assert all(torch.equal(now[name], before[name]) for name in carried.fresh)
        assert set(carried.matched) | set(carried.fresh) == set(now)
        trains(ticket, model, batch, **options)


def test_a_whole_language_model_leaves_its_head_behind(pretrained):
    ticket = pruned(pretrained, "encoder.layer", head=HEAD)
    model = build("BertForTokenClassification", BERT, seed=2)
    before = snapshot(model)
    with pytest.raises(TransferError) as caught:
        ticket.apply(model)
    assert "names={'cls.predictions.transform.': None}" in str(caught.value)
    assert untouched(model, before)
    options = {"names": {"cls.predictions.": None}}
    carried = ticket.apply(model, **options)
    assert carried.fresh == ("classifier.bias", "classifier.weight")
    assert all(name.startswith("cls.") for name in carried.left) and len(carried.left) == 7
    trains(ticket, model, TOKENS, **options)
    bare = build("BertModel", BERT, seed=3, add_pooling_layer=False)
    assert name_changes(ticket.apply(bare, **options).names) == "names without 'bert.'"
    assert torch.equal(
        bare.encoder.layer[0].output.dense.weight, ticket.weights["bert.encoder.layer.0.output.dense.weight"]
    )


@pytest.mark.parametrize("head", ["fresh", "keep"])
def test_a_language_model_keeps_its_tied_head(pretrained, head):
    """The embedding has another role; the output's bias, which has none, stays fresh."""
    ticket, model = pruned(pretrained, "encoder.layer", head=HEAD), build("BertForMaskedLM", BERT, seed=4)
    before = snapshot(model)
    carried = ticket.apply(model, head=head)
    biases = ("cls.predictions.bias", "cls.predictions.decoder.bias")
    assert carried.fresh == carried.left == (biases if head == "fresh" else ())
    fresh = {name: before[name] for name in carried.fresh}
    assert untouched(model, {**ticket.weights, **fresh})
    trains(ticket, model, {"input_ids": WORDS, "labels": WORDS}, head=head)


def test_a_part_that_only_one_side_has_is_told(pretrained):
    ticket = pruned(build("BertModel", BERT), "encoder.layer")
    model = build("BertForTokenClassification", BERT, seed=2)
    before = snapshot(model)
    with pytest.raises(TransferError, match=r"names=\{'pooler\.dense\.': None\}"):
        ticket.apply(model)
    assert untouched(model, before)
    carried = ticket.apply(model, names={"pooler.": None})
    assert carried.left == ("pooler.dense.bias", "pooler.dense.weight") and len(carried.fresh) == 2
    other = build("BertForSequenceClassification", BERT, seed=2)
    before = snapshot(other)
    with pytest.raises(TransferError, match=r"fresh=\('bert\.pooler\.dense\.\*',\)"):
        pruned(pretrained.bert, "encoder.layer").apply(other)
    wider = build("BertForTokenClassification", other_config(BERT, vocab_size=50))
    with pytest.raises(TransferError, match=r"word_embeddings.weight: ticket \(40, 32\), model \(50, 32\)"):
        pruned(pretrained.bert, "encoder.layer").apply(wider)
    pruned(pretrained.bert, "encoder.layer").apply(wider, fresh=("bert.embeddings.word_embeddings.*",))
    assert untouched(other, before)


def test_an_image_encoder_beneath_a_classifier():
    ticket = pruned(build("ViTModel", VIT, seed=1, add_pooling_layer=False), "layer")
    model = build("ViTForImageClassification", VIT, seed=2)
    carried = ticket.apply(model)
    assert name_changes(carried.names) == "names behind 'vit.'"
    assert carried.fresh == ("classifier.bias", "classifier.weight") and carried.left == ()
    pixels = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    trains(ticket, model, {"pixel_values": pixels, "labels": torch.arange(6) % 3})
    # And back out of the whole network, onto one with other classes.
    whole = pruned(model, "vit.layer", head=("classifier.weight", "classifier.bias"))
    other = build("ViTForImageClassification", other_config(VIT, num_labels=7), seed=3)
    assert whole.apply(other).fresh == ("classifier.bias", "classifier.weight")


def test_a_decoder_whose_head_is_its_embedding():
    ticket = pruned(build("GPT2Model", GPT, seed=1), "h.")
    model = build("GPT2LMHeadModel", GPT, seed=2)
    with pytest.raises(TransferError, match="names no head, so nothing can be left fresh; use head='keep'"):
        ticket.apply(model)
    carried = ticket.apply(model, head="keep")
    assert {"lm_head.weight", "transformer.wte.weight"} < set(carried.matched) and carried.fresh == ()
    assert torch.equal(model.lm_head.weight, ticket.weights["wte.weight"])
    trains(ticket, model, {"input_ids": WORDS, "labels": WORDS}, head="keep")
    scored = build("GPT2ForSequenceClassification", other_config(GPT, num_labels=3), seed=3)
    assert ticket.apply(scored).fresh == ("score.weight",)
    trains(ticket, scored, SEQUENCES)


def test_a_pruned_embedding_that_is_tied_is_held_once():
    source, model = build("GPT2LMHeadModel", GPT, seed=1), build("GPT2LMHeadModel", GPT, seed=2)
    ticket = pruned(source, "transformer.wte", head=("lm_head.weight",))
    carried = ticket.apply(model, head="keep")
    assert list(carried.mask) == ["transformer.wte.weight"]
    assert torch.equal(model.lm_head.weight != 0, ticket.mask["transformer.wte.weight"])
    trains(ticket, model, {"input_ids": WORDS, "labels": WORDS}, head="keep")


def test_a_compiled_classifier_takes_the_encoder(pretrained):
    ticket = pruned(pretrained.bert, "encoder.layer")
    model = build("BertForTokenClassification", BERT, seed=2)
    model.bert.encoder = torch.compile(model.bert.encoder, backend="eager")
    carried = ticket.apply(torch.compile(model, backend="eager"))
    assert name_changes(carried.names) == "names behind 'bert.' but for wrappers"
    assert carried.mask.remaining == ticket.mask.remaining
    assert all("_orig_mod.bert.encoder._orig_mod." in name for name in carried.mask)
