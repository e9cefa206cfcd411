"""Heads, prunable weights and noise, in models that are not ours."""

import pytest
import torch
from torch import nn

from oneticket.ground.errors import ModelError
from oneticket.models.parts import head, head_name, prunable, random_forward


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
        ([], ["attention.out_proj.weight", "conv.weight"]),
        (["!conv.*"], ["attention.out_proj.weight"]),
        (["*"], ["embed.weight", "attention.in_proj_weight", "attention.out_proj.weight", "conv.weight"]),
        (["conv.*", "embed.weight"], ["embed.weight", "conv.weight"]),
        (["*", "!attention.*", "!embed.*"], ["conv.weight"]),
        (["!attention.*", "*", "!embed.*"], ["conv.weight"]),
        (["conv.weight", "out.weight"], ["conv.weight", "out.weight"]),
        (["!out.weight"], ["attention.out_proj.weight", "conv.weight"]),
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
    assert head(net, classes=3) == ("out.weight", "out.bias")
    assert head_name(net, classes=4) == "conv"
    assert head(nn.Conv2d(3, 5, 1), classes=5) == ("weight", "bias")
    net.head_name = "embed"
    assert head(net, classes=3) == ("embed.weight",)
    with pytest.raises(ModelError, match=r"with 9 outputs.*Layers: attention.out_proj, conv, out"):
        head(words(), classes=9)


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
