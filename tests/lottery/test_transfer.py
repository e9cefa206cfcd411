"""The laws of transfer and controls: each arm keeps what it promises to keep and changes what it promises to change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tables import CONTROLS, MODELS

import oneticket
from oneticket.ground.errors import SpecError, TransferError
from oneticket.lottery.arms import OF_TARGET, WHOLE
from oneticket.lottery.controls import ARMS, Source
from oneticket.lottery.run_context import RunContext, device
from oneticket.lottery.search import initial_weights, search
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.lottery.transfer import blank, transfer
from oneticket.models.build import build
from oneticket.task.inputs import Inputs
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket
from oneticket.training.loop import Run

QUICK = {"budget": "6it", "batch": 32}
STILL = {"name": "sgd", "lr": 1e-300, "momentum": 0, "weight_decay": 0}
SMALL = {"name": "digits:a", "per_class": 20}


@pytest.fixture(scope="module")
def found() -> Book:
    return search(SearchSpec(data=SMALL, model=MODELS["lenet"], training=QUICK, rewind="2it"), levels=5)


@pytest.fixture(scope="module")
def source(found: Book) -> Source:
    # The last unit of the first layer is what the dense network brought to zero, whether the ticket has it or not.
    zeros = {name: torch.zeros(shape, dtype=torch.bool) for name, shape in found.mask(5).shapes.items()}
    zeros["fc1.weight"][-1] = True
    draw = torch.Generator().manual_seed(3)
    positive = {name: torch.rand(shape, generator=draw) < 0.5 for name, shape in found.mask(5).shapes.items()}
    on_target = {"data": {**SMALL, "name": "digits:b"}, "optimizer": "adam", "training": QUICK, "rewind": "2it"}
    own = search(SearchSpec(model=MODELS["lenet"], **on_target), levels=5)
    return Source(
        ticket=found[5],
        rewind=found.weights,
        zeros=Mask(zeros),
        positive=Mask(positive),
        initial=initial_weights(found.model, seed=0, replicate=0),
        own=Source(ticket=own[5], rewind=own.weights),
    )


def new_weights(seed: int = 7) -> dict[str, torch.Tensor]:
    return dict(build(MODELS["lenet"], inputs=Inputs(shape=(1, 8, 8)), outputs=10, seed=seed).state_dict())


def arm(name: str, source: Source, seed: int = 0) -> Ticket:
    return ARMS[name](source, new_weights(), torch.Generator().manual_seed(seed))


# what each arm keeps of the ticket: (mask, living count per layer, living count, weights where both live)
KEEPS = {
    "dense": (False, False, False, False),
    "reinit": (True, True, True, False),
    "permuted-weights": (True, True, True, False),
    "layerwise-random": (False, True, True, False),
    "layerwise-random-kept": (False, True, True, True),
    "global-random": (False, False, True, False),
    "corrected-random": (False, False, True, False),
    "signs": (True, True, True, False),
    "trained-signs": (True, True, True, False),
    "mask-only": (True, True, True, False),
    "weights-only": (False, False, True, True),
    "dense-rewound": (False, False, False, True),
    "own-reinit": (True, True, True, False),
    "mask-init": (True, True, True, False),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_keeps_and_differs_as_promised(name: str, source: Source) -> None:
    given, made = source.ticket, arm(name, source)
    both = {n: given.mask[n] & made.mask[n] for n in given.mask}
    equal = all(torch.equal(given.weights[n][both[n]], made.weights[n][both[n]]) for n in both)
    assert (
        made.mask == given.mask,
        made.mask.counts == given.mask.counts,
        made.mask.remaining == given.mask.remaining,
        equal,
    ) == KEEPS[name]
    for n in made.mask:
        assert not made.weights[n][~made.mask[n]].any()


@pytest.mark.parametrize("name", CONTROLS)
def test_drawn_from_its_generator_alone(name: str, source: Source) -> None:
    assert arm(name, source).id == arm(name, source).id
    shuffled = name in (
        "permuted-weights",
        "layerwise-random",
        "layerwise-random-kept",
        "global-random",
        "corrected-random",
    )
    assert (arm(name, source, seed=1).id != arm(name, source).id) == shuffled


def test_what_only_some_arms_promise(source: Source, found: Book) -> None:
    given, fresh = source.ticket, new_weights()
    permuted = arm("permuted-weights", source)
    for n, remaining in given.mask.items():
        assert torch.equal(permuted.weights[n][remaining].sort().values, given.weights[n][remaining].sort().values)
    signed = arm("signs", source)
    for n, remaining in given.mask.items():
        assert torch.equal(signed.weights[n].sign(), given.weights[n].sign())
        assert torch.equal(signed.weights[n].abs()[remaining], fresh[n].abs()[remaining])
    trained, anew = arm("trained-signs", source), arm("reinit", source)
    assert source.positive is not None and trained.mask == anew.mask == given.mask
    for n, values in anew.weights.items():
        remaining = given.mask.get(n, torch.ones_like(values, dtype=torch.bool))
        assert torch.equal(trained.weights[n].abs(), values.abs()), "magnitudes are those of reinit's draw"
        if n in given.mask:
            assert torch.equal(trained.weights[n][remaining] > 0, source.positive[n][remaining]), (
                "signs are the trained ones"
            )
        else:
            assert torch.equal(trained.weights[n], values)
    with pytest.raises(TransferError, match="trained-signs needs the signs of the level's trained weights"):
        arm("trained-signs", Source(ticket=given))
    kept = arm("layerwise-random-kept", source)
    for n, remaining in kept.mask.items():
        assert torch.equal(kept.weights[n][remaining], found.weights[n][remaining])
    with pytest.raises(TransferError, match="needs all rewind weights"):
        arm("layerwise-random-kept", Source(ticket=given))
    rewound = arm("dense-rewound", source)
    assert rewound.density == 1 and all(torch.equal(rewound.weights[n], found.weights[n]) for n in found.weights)
    everything = arm("dense", source)
    assert everything.density == 1
    assert all(torch.equal(everything.weights[n], fresh[n]) for n in fresh)


def test_crossed_arms_are_one_search_s_mask_over_the_other_s_weights(source: Source, found: Book) -> None:
    own, given = source.own, source.ticket
    assert own is not None and own.rewind is not None and own.ticket.mask != given.mask
    for name, mask, weights in (
        ("mask-only", given.mask, own.rewind),
        ("weights-only", own.ticket.mask, found.weights),
        ("mask-init", given.mask, source.initial),
    ):
        made = arm(name, source)
        assert weights is not None and made.mask == mask
        for n, values in weights.items():
            expected = torch.where(mask[n], values, 0) if n in mask else values
            assert torch.equal(made.weights[n], expected), (name, n)
    assert arm("own-reinit", own).id == arm("reinit", own).id
    assert arm("own-reinit", own).mask == own.ticket.mask
    for name, words in (
        ("mask-only", "needs the target's own search"),
        ("weights-only", "needs the target's own search"),
        ("dense-rewound", "needs all rewind weights"),
        ("mask-init", "needs the weights that the source's search began from"),
    ):
        with pytest.raises(TransferError, match=words):
            arm(name, Source(ticket=given))
    with pytest.raises(TransferError, match="weights-only needs all rewind weights"):
        arm("weights-only", Source(ticket=given, own=own))


def test_initial_weights_are_those_that_a_search_begins_from() -> None:
    spec = SearchSpec(data=SMALL, model=MODELS["lenet"], training=QUICK, rewind="0it", seed=5)
    begun = search(spec, levels=0, replicate=2)
    drawn = initial_weights(begun.model, seed=5, replicate=2)
    assert drawn.keys() == begun.weights.keys()
    assert all(torch.equal(drawn[n], begun.weights[n]) for n in drawn)


@pytest.mark.parametrize("model", MODELS)
def test_networks_for_other_classes_begin_from_the_same_weights(model: str) -> None:
    known = {"spec": MODELS[model].identity(), "shape": [3, 32, 32], "classes": 10}
    ten, three = (initial_weights({**known, "classes": classes}, seed=0, replicate=0) for classes in (10, 3))
    head = {n for n in ten if ten[n].shape != three[n].shape}
    assert 1 <= len(head) <= 2
    assert all(torch.equal(ten[n], three[n]) for n in ten.keys() - head)


def test_corrected_random_takes_natural_zeros_last(source: Source) -> None:
    made, given = arm("corrected-random", source).mask, source.ticket.mask
    assert source.zeros is not None
    assert not any((made[n] & source.zeros[n]).any() for n in made), "there are enough weights beside them"
    assert not given <= made
    none = Source(
        ticket=source.ticket, zeros=Mask({n: torch.zeros(s, dtype=torch.bool) for n, s in given.shapes.items()})
    )
    assert arm("corrected-random", none).id == arm("global-random", source).id
    most = Source(
        ticket=source.ticket, zeros=Mask({n: ~given[n] | (torch.arange(s[-1]) > 3) for n, s in given.shapes.items()})
    )
    filled, zeros = arm("corrected-random", most).mask, most.zeros
    assert zeros is not None
    assert all((~zeros[n] & ~filled[n]).sum() == 0 for n in given), "all that training kept live first"
    assert filled.remaining == given.remaining
    with pytest.raises(TransferError, match="which weights the source's dense network brought to zero"):
        arm("corrected-random", Source(ticket=source.ticket))


def test_global_random_keeps_the_density_alone(source: Source, found: Book) -> None:
    other = Source(ticket=blank(found.model, source.ticket.mask.remaining))
    assert other.ticket.mask != source.ticket.mask
    assert arm("global-random", other).mask == arm("global-random", source).mask


def test_every_list_of_arms_is_the_same() -> None:
    assert set(KEEPS) == set(CONTROLS)


@pytest.mark.parametrize("name", sorted(ARMS))
def test_budgets_are_equal_and_nothing_is_pruned_on_the_target(name: str, source: Source) -> None:
    spec = TransferSpec(data={"name": "digits:b", "per_class": 20}, optimizer="adam", training=QUICK)
    given = from_home(source, name)
    done = transfer(spec, source=given, arm=name)
    # The target's own W_k has seen two steps of it already.
    steps = 4 if name in ("own", "own-search", "mask-only") else 6
    assert (done.record["steps"], done.record["examples"], len(done.losses)) == (steps, 32 * steps, steps)
    assert done.record["living"] == (source.ticket.mask.total if name in WHOLE else source.ticket.mask.remaining)
    assert transfer(spec, source=given, arm=name).record == done.record
    assert transfer(spec, source=given, arm=name, head_start="paper").record["steps"] == (
        4 if name == "own-search" else 6
    )


def from_home(source: Source, name: str) -> Source:
    """The source of an arm: of those of the target's own search alone, that search."""
    return source.own or source if name in OF_TARGET else source


def watch_first_step(spec: TransferSpec, source: Source, arm: str, replicate: int | None = None) -> dict[str, Any]:
    """The network before its first step (its learning rate is nothing), the first images, and what is held."""
    seen: dict[str, Any] = {}

    def look(run: Run) -> None:
        state = {name: value.clone() for name, value in run.model.state_dict().items()}
        seen.setdefault("start", state)
        seen["end"] = state

    done = transfer(
        spec, source=source, arm=arm, replicate=replicate, context=RunContext(watchers=(look,), compact=False)
    )
    return {**seen, "record": done.record, "losses": done.losses}


def test_arms_are_paired_and_replicates_are_not(source: Source) -> None:
    spec = TransferSpec(data={"name": "digits:b", "per_class": 20}, optimizer=STILL, training=QUICK)
    arms = {name: watch_first_step(spec, source, name)["start"] for name in ("dense", "ticket", "reinit", "signs")}
    for name in arms:
        assert torch.equal(arms[name]["fc3.weight"], arms["ticket"]["fc3.weight"]), "one new head for all arms"
        assert name == "ticket" or not torch.equal(arms[name]["fc1.weight"], arms["ticket"]["fc1.weight"])
    # The same network under another arm's name sees the same batches in the same order.
    full = Source(ticket=blank(source.ticket.model))
    one, other = (watch_first_step(spec, full, name, replicate=0)["losses"] for name in ("ticket", "own"))
    assert torch.equal(one, other)
    third = watch_first_step(spec, full, "ticket", replicate=1)
    assert not torch.equal(one, third["losses"])
    assert not torch.equal(third["start"]["fc3.weight"], arms["ticket"]["fc3.weight"])


def test_new_weights_are_not_those_the_ticket_began_from(found: Book) -> None:
    at_start = search(SearchSpec(data=SMALL, model=MODELS["lenet"], training=QUICK, rewind="0it"), levels=1)
    spec = TransferSpec(data=SMALL, optimizer=STILL, training=QUICK)
    source = Source(ticket=at_start[1], rewind=at_start.weights)
    begun = {
        name: watch_first_step(spec, source, name)["start"]["fc1.weight"] for name in ("ticket", "reinit", "dense")
    }
    remaining = source.ticket.mask["fc1.weight"]
    assert torch.equal(begun["dense"][remaining], begun["ticket"][remaining]), "at 0it, both are the replicate's W_0"
    assert not (begun["reinit"][remaining] == begun["ticket"][remaining]).any()


def test_transferred_networks_stay_sparse_and_dense_ones_dense(source: Source) -> None:
    spec = TransferSpec(data={"name": "digits:b", "per_class": 20}, optimizer="adam", training=QUICK)
    for name in ARMS:
        end = watch_first_step(spec, from_home(source, name), name)["end"]
        remains = sum(int(end[n].count_nonzero()) for n in source.ticket.mask)
        expected = source.ticket.mask.total if name in WHOLE else source.ticket.mask.remaining
        assert remains == expected, name


def test_the_source_says_its_replicate(found: Book) -> None:
    spec = TransferSpec(data=SMALL, optimizer=STILL, training=QUICK)
    other = search(SearchSpec(data=SMALL, model=MODELS["lenet"], training=QUICK, rewind="2it"), levels=1, replicate=3)
    source = Source(ticket=other[1], rewind=other.weights)
    assert torch.equal(
        watch_first_step(spec, source, "ticket")["losses"], watch_first_step(spec, source, "ticket", 3)["losses"]
    )
    assert not torch.equal(
        watch_first_step(spec, source, "ticket")["losses"], watch_first_step(spec, source, "ticket", 0)["losses"]
    )


def test_kept_controls_draw_the_same_masks(source: Source) -> None:
    spec = TransferSpec(data=SMALL, optimizer=STILL, training=QUICK)
    new, kept = (
        watch_first_step(spec, source, name)["start"] for name in ("layerwise-random", "layerwise-random-kept")
    )
    assert all(torch.equal(new[n] != 0, kept[n] != 0) for n in source.ticket.mask)


def test_other_classes_sizes_and_channels(source: Source) -> None:
    fewer = transfer(TransferSpec(data={"name": "digits", "classes": 3}, training=QUICK), source=source)
    assert fewer.record["density"] == source.ticket.density
    conv = SearchSpec(data={**SMALL, "size": 16, "channels": 3}, model=MODELS["vgg-11"], training=QUICK, rewind="0it")
    colour = search(conv, levels=1)
    moved = transfer(TransferSpec(data="digits:b", training=QUICK), source=Source(ticket=colour[1]))
    assert moved.record["density"] == pytest.approx(0.8, abs=0.01)


def test_heads(source: Source) -> None:
    def begun(head: str, given: Source = source) -> dict[str, torch.Tensor]:
        return watch_first_step(TransferSpec(data=SMALL, optimizer=STILL, training=QUICK, head=head), given, "ticket")[
            "start"
        ]

    fresh, kept, own = begun("fresh"), begun("keep"), source.ticket.weights["fc3.weight"]
    assert torch.equal(kept["fc3.weight"], own)
    assert not torch.equal(fresh["fc3.weight"], own)
    assert torch.equal(kept["fc1.weight"], fresh["fc1.weight"])
    with pytest.raises(TransferError, match="sparse"):
        begun("sparse")
    with_head = MODELS["lenet"].but(prunable=("*", "fc3.weight"))
    all_pruned = search(SearchSpec(data=SMALL, model=with_head, training=QUICK, rewind="2it"), levels=3)
    given = Source(ticket=all_pruned[3], rewind=all_pruned.weights)
    density = {
        head: float((begun(head, given)["fc3.weight"] != 0).float().mean()) for head in ("fresh", "keep", "sparse")
    }
    assert density["fresh"] == 1
    assert density["sparse"] < 1
    with pytest.raises(TransferError, match=r"fc3"):
        transfer(TransferSpec(data={"name": "digits", "classes": 3}, training=QUICK, head="keep"), source=source)


def test_a_head_that_the_network_does_not_have_is_told_with_the_line_that_corrects_it(
    source: Source, found: Book, tmp_path: Path
) -> None:
    old = replace(found, contract=replace(found.contract, head=("fc2.weight", "fc2.bias")))
    old.save(path := tmp_path / "old")
    with pytest.raises(
        TransferError, match=r"takes fc2.bias, fc2.weight for .* which is fc3.bias, fc3.weight;"
    ) as caught:
        transfer(spec := TransferSpec(data=SMALL, training=QUICK), source=replace(source, ticket=old[5]))
    exec(str(caught.value).partition("the file: ")[2].partition(" (Ticket")[0], {"oneticket": oneticket, "path": path})
    assert Book.load(path) == found
    transfer(spec, source=replace(source, ticket=Book.load(path)[5]))


def test_bad_requests(source: Source) -> None:
    with pytest.raises(SpecError, match="unknown arm 'tickt'; did you mean 'ticket'"):
        transfer(TransferSpec(data=SMALL), source=source, arm="tickt")
    nameless = Ticket(mask=source.ticket.mask, weights=source.ticket.weights, contract=source.ticket.contract)
    with pytest.raises(TransferError, match="does not say which network"):
        transfer(TransferSpec(data=SMALL), source=Source(ticket=nameless))
    other = replace(source.ticket, model={**source.ticket.model, "classes": 60_000})
    with pytest.raises(TransferError, match=r"the ticket: model: .* does not fit the weights: fc3.bias"):
        transfer(TransferSpec(data=SMALL), source=Source(ticket=other))
    with pytest.raises(SpecError, match=r"device: expected auto or an available one \(cpu.*\), got 'tpu'"):
        device("tpu")
    assert RunContext().device.type == "cpu"


def test_code_that_a_source_names_is_not_run_unasked(tmp_path: Path) -> None:
    weights = {"0.weight": torch.zeros(10, 64), "0.bias": torch.zeros(10)}
    spec = {"name": "os:system", "args": {"command": f"touch {tmp_path / 'ran'}"}}
    ticket = Ticket(
        mask=Mask.full({"0.weight": (10, 64)}),
        weights=weights,
        contract=Contract(rewind="0it", step=0),
        model={"spec": spec, "shape": [1, 8, 8], "classes": 10},
    )
    with pytest.raises(TransferError, match="os:system with arguments .*run_code=True"):
        transfer(TransferSpec(data="digits:b"), source=Source(ticket=ticket))
    assert not (tmp_path / "ran").exists()
