"""Heads, prunable weights and noise, in models that are not ours."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from oneticket.ground.errors import ModelError
from oneticket.models.parts import FROZEN, GUESS, head, heads, prunable, random_forward, survey


@pytest.fixture(autouse=True)
def _foreign_layers_draw_from_the_global_state():
    with torch.random.fork_rng():
        yield


def words():
    """An embedding, an attention layer, a norm and a head, by name."""
    return nn.ModuleDict(
        {
            "embed": nn.Embedding(5, 4),
            "attention": nn.MultiheadAttention(4, 2),
            "norm": nn.LayerNorm(4),
            "conv": nn.Conv1d(4, 4, 3),
            "out": nn.Linear(4, 3),
        }
    )


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], ["attention.in_proj_weight", "attention.out_proj.weight", "conv.weight"]),
        (["!conv.*"], ["attention.in_proj_weight", "attention.out_proj.weight"]),
        (["*"], ["embed.weight", "attention.in_proj_weight", "attention.out_proj.weight", "conv.weight"]),
        (["conv.*", "embed.weight"], ["embed.weight", "conv.weight"]),
        (["*", "!attention.*", "!embed.*"], ["conv.weight"]),
        (["!attention.*", "*", "!embed.*"], ["conv.weight"]),
        (["conv.weight", "out.weight"], ["conv.weight", "out.weight"]),
        (["!out.weight"], ["attention.in_proj_weight", "attention.out_proj.weight", "conv.weight"]),
    ],
)
def test_patterns_choose_by_name(patterns, names):
    assert list(prunable(words(), patterns)) == names


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["cnov.*"], "'cnov.*' matches no weight of ModuleDict.*Weights: embed.weight, "),
        (["conv.*", "!nothing"], "'!nothing' matches no weight"),
        (["out.*"], "the output layer is taken by its full name only"),
        (["norm.weight"], "matches no weight"),
        (["conv.bias"], "matches no weight"),
        (["conv.*", "!c*"], "nothing to prune with patterns"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(patterns, message):
    with pytest.raises(ModelError, match=message):
        prunable(words(), patterns)


def test_a_model_that_is_all_head_has_nothing_to_prune():
    with pytest.raises(ModelError, match="nothing to prune"):
        prunable(nn.Linear(3, 2))


def test_the_head_is_the_last_layer_of_the_right_size_or_the_named_one():
    net = words()
    assert head(net, outputs=3) == ("out.weight", "out.bias")
    assert head(net, outputs=4) == ("conv.weight", "conv.bias")
    assert head(nn.Conv2d(3, 5, 1), outputs=5) == ("weight", "bias")
    net.head_name = "embed"
    assert head(net, outputs=3) == ("embed.weight",)
    with pytest.raises(ModelError, match=r"with 9 outputs.*Layers: attention.out_proj, conv, out"):
        head(words(), outputs=9)


@pytest.mark.parametrize(
    ("net", "random"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.GELU()), False),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)), True),
        (nn.Sequential(nn.RReLU()), True),
        (nn.GRU(2, 2, num_layers=2), False),
        (nn.GRU(2, 2, num_layers=2, dropout=0.1), True),
        (nn.MultiheadAttention(2, 1), False),
        (nn.MultiheadAttention(2, 1, dropout=0.1), True),
        (nn.TransformerEncoderLayer(4, 2), True),
        (type("Foreign", (nn.Module,), {"__module__": "someone.else"})(), True),
    ],
    ids=str,
)
def test_random_forward(net, random):
    assert random_forward(net) is random


EMBEDDED = "an embedding; name it by a pattern"
UNKNOWN = "not the weight of a layer that is known; name it by a pattern"
HELD = "its layer's weight is computed from it (a parametrization), so that zeros would not stay"

LAYERS = {
    "linear": (lambda: nn.Linear(4, 4), {"weight": "", "bias": "one-dimensional"}),
    "1x1": (lambda: nn.Conv2d(4, 4, 1, bias=False), {"weight": ""}),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, bias=False), {"weight": ""}),
    "transposed": (lambda: nn.ConvTranspose1d(4, 4, 3, bias=False), {"weight": ""}),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2, bias=False),
        {"in_proj_weight": "", "out_proj.weight": ""},
    ),
    "attention, unpacked": (
        lambda: nn.MultiheadAttention(4, 2, bias=False, kdim=3, vdim=5),
        {"q_proj_weight": "", "k_proj_weight": "", "v_proj_weight": "", "out_proj.weight": ""},
    ),
    "attention, further keys": (
        lambda: nn.MultiheadAttention(4, 2, bias=False, add_bias_kv=True),
        {"in_proj_weight": "", "bias_k": UNKNOWN, "bias_v": UNKNOWN, "out_proj.weight": ""},
    ),
    "recurrent": (lambda: nn.RNN(3, 4, bias=False), {"weight_ih_l0": "", "weight_hh_l0": ""}),
    "recurrent, both ways": (
        lambda: nn.GRU(3, 4, bias=False, bidirectional=True),
        {"weight_ih_l0": "", "weight_hh_l0": "", "weight_ih_l0_reverse": "", "weight_hh_l0_reverse": ""},
    ),
    "recurrent, projected": (
        lambda: nn.LSTM(3, 4, bias=False, proj_size=2),
        {"weight_ih_l0": "", "weight_hh_l0": "", "weight_hr_l0": ""},
    ),
    "cell": (lambda: nn.LSTMCell(3, 4, bias=False), {"weight_ih": "", "weight_hh": ""}),
    "embedding": (lambda: nn.Embedding(5, 4), {"weight": EMBEDDED}),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5, bias=False), {"weight": UNKNOWN}),
    "norm": (lambda: nn.LayerNorm(4, bias=False), {"weight": "one-dimensional"}),
    "weight norm": (
        lambda: parametrizations.weight_norm(nn.Linear(4, 4, bias=False)),
        {"parametrizations.weight.original0": HELD, "parametrizations.weight.original1": HELD},
    ),
    "spectral norm": (
        lambda: parametrizations.spectral_norm(nn.Linear(4, 4, bias=False)),
        {"parametrizations.weight.original": HELD},
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_parameter_is_pruned_or_says_why_not(kind):
    make, reasons = LAYERS[kind]
    net = nn.ModuleDict({"body": make(), "out": nn.Linear(4, 2)})
    expected = {f"body.{name}": reason for name, reason in reasons.items()}
    found = survey(net)
    assert found == {**expected, "out.weight": GUESS, "out.bias": GUESS}
    assert list(found) == [name for name, _ in net.named_parameters()]
    pruned = tuple(name for name, reason in expected.items() if not reason)
    if pruned:
        assert prunable(net) == pruned
    else:
        with pytest.raises(ModelError, match="nothing to prune"):
            prunable(net)


def test_patterns_say_why_the_rest_stays_dense():
    found = survey(words(), ["*.weight", "!conv.*"])
    assert found["attention.in_proj_weight"] == "no pattern names it"
    assert (found["embed.weight"], found["conv.weight"]) == ("", "a pattern takes it out")
    assert (found["norm.weight"], found["out.weight"]) == ("one-dimensional", GUESS)
    net = nn.ModuleDict({"body": parametrizations.weight_norm(nn.Linear(4, 4)), "out": nn.Linear(4, 2)})
    with pytest.raises(ModelError, match="matches no weight"):
        prunable(net, ["body.*"])


def test_what_is_frozen_stays_dense_unless_it_is_named():
    net = words().requires_grad_(False)
    assert survey(net)["conv.weight"] == survey(net, ["!embed.*"])["conv.weight"] == FROZEN
    assert survey(net)["embed.weight"] == EMBEDDED
    with pytest.raises(ModelError, match=r"nothing to prune.*conv.weight \(frozen, since it requires no gradient"):
        prunable(net)
    net["attention"].out_proj.weight.requires_grad = True
    assert prunable(net) == ("attention.out_proj.weight",)
    assert prunable(net, ["conv.*"]) == ("conv.weight",)
    assert "conv.weight" in prunable(net, ["*"])


@pytest.mark.parametrize("given", ["out", ("out.weight", "out.bias"), None])
def test_the_output_layer_may_be_given(given):
    assert heads(words(), head=given) == (("out.weight", "out.bias"),)
    assert "out.weight" not in prunable(words(), head=given)
    assert survey(words(), head=given)["out.bias"] == (GUESS if given is None else "the output layer")


@pytest.mark.parametrize("none", ["", ()])
def test_a_model_may_have_no_output_layer(none):
    assert heads(words(), head=none) == ()
    assert prunable(words(), head=none)[-1] == "out.weight"


@pytest.mark.parametrize("wrong", ["uot", ("uot.weight",)])
def test_an_output_layer_that_is_not_there_is_refused(wrong):
    with pytest.raises(ModelError, match="did you mean 'out"):
        survey(words(), head=wrong)
    with pytest.raises(ModelError, match="did you mean 'out"):
        heads(words(), head=wrong)


def test_several_layers_are_several_heads_and_several_tensors_one():
    net = words()
    assert heads(net, head=["out", "conv"]) == (("out.weight", "out.bias"), ("conv.weight", "conv.bias"))
    assert heads(net, head=["out.weight", "conv.weight"]) == (("out.weight", "conv.weight"),)
    assert prunable(net, head=["out", "conv"]) == ("attention.in_proj_weight", "attention.out_proj.weight")


def test_a_tied_output_layer_goes_by_its_own_name():
    net = nn.ModuleDict({"embed": nn.Embedding(5, 4), "body": nn.Linear(4, 4), "out": nn.Linear(4, 5, bias=False)})
    net["out"].weight = net["embed"].weight
    assert head(net) == ("out.weight",)
    assert survey(net, head="out") == {
        "embed.weight": "the output layer",
        "body.weight": "",
        "body.bias": "one-dimensional",
    }


def test_layers_of_transformers_are_known():
    transformers = pytest.importorskip("transformers", reason="Transformers is an optional package")
    size = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9, "n_positions": 5, "bos_token_id": 0}
    found = survey(transformers.GPT2LMHeadModel(transformers.GPT2Config(**size, eos_token_id=0)))
    assert found["transformer.wte.weight"] == "the output layer"  # by Transformers' own example
    assert found["transformer.wpe.weight"] == EMBEDDED
    pruned = [name.removeprefix("transformer.h.0.") for name, reason in found.items() if not reason]
    assert pruned == ["attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"]
