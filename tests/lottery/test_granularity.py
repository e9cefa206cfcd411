"""Searches by channel, filter, block, head and N:M: what is planned is found, and what goes is gone for good."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from oneticket.compact.compact import compact
from oneticket.compact.flops import flops
from oneticket.ground.errors import PruneError
from oneticket.lottery.controls import Source
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import transfer
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.study.origins import search_origin
from oneticket.task.inputs import Inputs
from oneticket.ticket.book import Book

CONV = {"name": "conv-2", "width": 0.125, "prunable": ["!features.0.*"]}
LENET = {"name": "mlp", "widths": (32, 16)}
VIT: dict[str, Any] = {
    "name": "transformers:ViTForImageClassification",
    "args": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "patch_size": 4,
    },
}


def spec(granularity: str, model: dict[str, Any], fraction: float = 0.5, **pruning: Any) -> SearchSpec:
    rule = {"granularity": granularity, "scope": "layerwise", "fraction": fraction, **pruning}
    quick = {"budget": "4it", "batch": 32}
    return SearchSpec.read({"data": "digits:a", "model": model, "training": quick, "rewind": "1it", "pruning": rule})


def network(book: Book) -> torch.nn.Module:
    known = book.model
    return build(ModelSpec.read(known["spec"]), inputs=Inputs.read(known), outputs=known["classes"], seed=0)


@pytest.mark.parametrize(
    ("granularity", "model", "fraction", "levels"),
    [
        ("channel", CONV, 0.5, 2),
        ("filter", CONV, 0.4, 2),
        ("block:4x2", LENET, 0.3, 3),
        ("2:4", LENET, 0.2, 4),
        ("2:4", CONV, 0.4, 2),
    ],
)
def test_a_search_finds_what_was_planned(granularity: str, model: dict[str, Any], fraction: float, levels: int) -> None:
    asked, context = spec(granularity, model, fraction), RunContext()
    book = search(asked, levels=levels, context=context)
    planned = search_origin(asked, levels=levels, replicate=0, context=context)
    assert [record["living"] for record in book.records] == [planned.remaining[level] for level in range(levels + 1)]
    remaining = [book.mask(level) for level in range(levels + 1)]
    assert all(below <= above and below != above for above, below in pairwise(remaining))
    if granularity == "2:4":
        assert remaining[-1].density == 0.5
        for each in remaining[-1].values():
            groups = each.flatten(2) if each.dim() > 2 else each[..., None]
            assert (groups.unflatten(1, (-1, 4)).sum(2) == 2).all()


def test_channels_that_nobody_reads_are_left_out_of_the_compact_network() -> None:
    context = RunContext()
    book, images = search(spec("channel", CONV), levels=2, context=context), torch.zeros(8, 1, 8, 8)
    assert "units removed" in context.how
    ticket, model = book[2], network(book)
    ticket.apply(model, head="keep")
    small = compact(model, ticket.mask, example=images, sparse=False)
    unread = {name: int((~ticket.mask[name].transpose(0, 1).flatten(1).any(1)).sum()) for name in ticket.mask}
    assert unread == {"features.2.weight": 6, "fc1.weight": 96, "fc2.weight": 24}
    assert {"features.0": 6, "fc1": 24}.items() <= small.removed.items()
    assert flops(small.network, images) < 0.5 * flops(model, images)
    assert torch.allclose(small.network.eval()(images + 1), model.eval()(images + 1), atol=1e-6)


def test_filters_that_nothing_enters_go_by_folding() -> None:
    book, images = search(spec("filter", CONV), levels=2), torch.zeros(8, 1, 8, 8)
    ticket, model = book[2], network(book)
    ticket.apply(model, head="keep")
    whole = flops(model, images)
    folded = compact(model, ticket.mask, example=images, sparse=False, fold=True)
    assert folded.removed["features.2"] == 6 and folded.removed["fc2"] == 24
    assert flops(folded.network, images) < 0.5 * whole


def test_heads_go_together_and_the_rest_stays() -> None:
    pytest.importorskip("transformers", reason="Transformers is an optional package")
    book = search(spec("head", VIT, 0.5), levels=2)
    mask = book.mask(2)
    for name, remaining in mask.items():
        if "attention" in name:
            heads = remaining.unflatten(int("o_proj" in name), (4, 4)).movedim(int("o_proj" in name), 0)
            assert sorted(heads.flatten(1).all(1).tolist()) == [False, False, False, True]
            assert heads.flatten(1).any(1).sum() == 1
        else:
            assert remaining.all()
    alone = mask["vit.layers.0.attention.q_proj.weight"].any(1)
    assert torch.equal(alone, mask["vit.layers.0.attention.o_proj.weight"].any(0))


def test_the_arms_of_a_structured_ticket_train() -> None:
    book = search(spec("channel", CONV), levels=1)
    target = TransferSpec.read({"data": "digits:b", "training": {"budget": "2it", "batch": 32}})
    remaining = book.mask(1).remaining
    for arm in ("ticket", "reinit", "layerwise-random", "global-random"):
        done = transfer(target, source=Source(ticket=book[1], rewind=book.weights), arm=arm)
        assert done.record["living"] == remaining, arm


def test_all_shots_at_once_are_those_of_one_network() -> None:
    book = search(spec("channel", CONV, shots="one-shot"), levels=2)
    first = {name: (at > 0) & (at <= 1) for name, at in book.pruned_at.items()}
    assert all(gone.any() for gone in first.values())
    assert [record["living"] for record in book.records] == [
        record["living"] for record in search(spec("channel", CONV), levels=2).records
    ]


def test_a_level_that_would_prune_nothing_says_so_and_a_layer_without_units_before_anything_is_trained() -> None:
    with pytest.raises(PruneError, match="level 5 would prune nothing: .* by granularity 2:4"):
        search(spec("2:4", LENET, 0.2), levels=5)
    unfit = spec("2:4", {"name": "conv-2", "width": 0.125})
    with pytest.raises(PruneError, match=r"0.weight has 8 outputs of 1 inputs .* '!features.0.weight'"):
        search_origin(unfit, levels=1, replicate=0, context=RunContext())


def test_a_book_written_before_there_were_granularities_is_still_planned_from() -> None:
    book = search(spec("channel", CONV), levels=0)
    found = book.lineage["search"]
    old = {**found, "pruning": {name: found["pruning"][name] for name in ("criterion", "fraction", "shots")}}
    assert SearchSpec.read(old).pruning.granularity == "weight"
    assert set(book.pruned_at) == set(prunable(network(book), CONV["prunable"]))
