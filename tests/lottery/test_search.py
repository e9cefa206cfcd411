"""The laws of the search: exact counts, exact starts, repeatable to the bit, and the same work however deep it goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tables import MODELS

from oneticket.data.load import load
from oneticket.ground.errors import PruneError, SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import book, level, rewind_weights, search
from oneticket.lottery.spec import SearchSpec
from oneticket.lottery.training import do, run_training
from oneticket.models.build import build
from oneticket.pruning.spec import PruningSpec
from oneticket.task.inputs import Inputs
from oneticket.ticket.book import Book
from oneticket.training.checkpoint import File
from oneticket.training.loop import Run

LEVELS = 4
PRUNINGS = {
    "global": PruningSpec(),
    "layerwise": PruningSpec(scope="layerwise", fraction=0.3),
    "one-shot": PruningSpec(shots="one-shot", fraction=0.5),
    "random": PruningSpec(criterion="random"),
    "magnitude-at-init": PruningSpec(criterion="magnitude-at-init"),
    "kept-alive": PruningSpec(fraction=0.8, allow_empty=False),
}


def spec(pruning: str = "global", model: str = "mlp", rewind: str = "3it") -> SearchSpec:
    training = {"budget": "12it", "batch": 32}
    return SearchSpec(
        data={"name": "digits:a", "per_class": 20},
        model=MODELS[model],
        training=training,
        pruning=PRUNINGS[pruning],
        rewind=rewind,
    )


@pytest.fixture(scope="module")
def books() -> dict[str, Book]:
    return {name: search(spec(name), levels=LEVELS) for name in PRUNINGS}


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_counts_are_what_the_rounding_rule_says(pruning: str, books: dict[str, Book]) -> None:
    found, fraction = books[pruning], PRUNINGS[pruning].fraction
    assert found.mask(0).remaining == found.mask(0).total
    for n in range(1, LEVELS + 1):
        above, below = found.mask(n - 1), found.mask(n)
        assert below <= above
        groups = [[name] for name in above] if pruning == "layerwise" else [list(above)]
        for names in groups:
            before = sum(int(above[name].sum()) for name in names)
            gone = before - sum(int(below[name].sum()) for name in names)
            least = len(names) if pruning == "kept-alive" else 0
            assert gone == min(before * round(fraction * 10) // 10, before - least)
        assert found.records[n]["living"] == below.remaining
    if pruning == "kept-alive":
        assert all(int(remaining.sum()) for remaining in found.mask(LEVELS).values())


def test_prunings_differ(books: dict[str, Book]) -> None:
    at_one = {name: books[name].mask(1) for name in ("global", "random", "magnitude-at-init")}
    assert len(set(at_one.values())) == 3
    assert books["one-shot"].mask(1).remaining == books["one-shot"].mask(1).total - books["one-shot"].mask(1).total // 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rewind", ["0it", "2it", "1ep"])
def test_every_level_starts_at_rewind_weights_times_mask(model: str, rewind: str) -> None:
    asked = spec(model=model, rewind=rewind)
    starts: list[dict[str, torch.Tensor]] = []
    rewound = do(rewind_weights(asked, 0, RunContext()), RunContext())
    step = {"0it": 0, "2it": 2, "1ep": 6}[rewind]
    assert rewound.record["step"] == step

    def look(run: Run) -> None:
        if run.position == step + 1:
            starts.append({name: value.clone() for name, value in run.model.state_dict().items()})

    frozen = asked.but(optimizer={"name": "sgd", "lr": 1e-300, "momentum": 0, "weight_decay": 0})
    pruned_at, watched = None, RunContext(watchers=(look,), compact=False)
    for number in range(2):
        task = level(frozen, 0, number, rewound=rewound, pruned_at=pruned_at, context=watched)
        done = do(task, watched)
        bound = book(frozen, 0, rewound=rewound, pruned_at=done.pruned_at, records=[{}] * (number + 1))
        masked = bound[number].mask.project(dict(rewound.weights))
        assert all(torch.equal(starts[number][name], masked[name]) for name in parameters(asked))
        assert len(done.losses) == 12 - step
        pruned_at = done.pruned_at
    assert len(starts) == 2
    assert bound.contract.step == step


def parameters(asked: SearchSpec) -> list[str]:
    """Parameters only: BatchNorm statistics move in a step, whatever the learning rate."""
    return [
        name for name, _ in build(asked.model, inputs=Inputs(shape=(1, 8, 8)), outputs=10, seed=0).named_parameters()
    ]


def test_rewind_weights_are_those_of_a_straight_run() -> None:
    straight: list[dict[str, torch.Tensor]] = []

    def look(run: Run) -> None:
        if run.position == 3:
            straight.append({name: value.clone() for name, value in run.model.state_dict().items()})

    dense = do(rewind_weights(spec(rewind="0it"), 0, RunContext()), RunContext())
    watched = RunContext(watchers=(look,), compact=False)
    do(level(spec(rewind="0it"), 0, 0, rewound=dense, pruned_at=None, context=watched), watched)
    found = do(rewind_weights(spec(rewind="3it"), 0, RunContext()), RunContext()).weights
    assert all(torch.equal(found[name], straight[0][name]) for name in found)


def test_searched_networks_stay_sparse_at_every_step() -> None:
    runs: list[Run] = []
    counts: list[set[int]] = []

    def look(run: Run) -> None:
        if run not in runs:
            runs.append(run)
            counts.append(set())
        counts[-1].add(sum(int(run.model.get_parameter(f"fc{n}.weight").count_nonzero()) for n in (1, 2)))

    found = search(spec(), levels=2, context=RunContext(watchers=(look,), compact=False))
    assert [max(count) for count in counts[1:]] == [found.mask(number).remaining for number in range(3)]


def test_accuracy_is_that_of_the_test_set() -> None:
    last: list[torch.nn.Module] = []
    asked = spec(rewind="0it")
    context = RunContext(watchers=(lambda run: last.append(run.model),))
    record = search(asked, levels=0, context=context).records[0]
    data = load(asked.data)
    images = (data.test.inputs.float() / 255 - data.mean[0]) / data.std[0]
    with torch.no_grad():
        right = last[-1].eval()(images).argmax(1) == data.test.targets
    assert record["accuracy"] == pytest.approx(float(right.float().mean()), abs=1e-6)
    assert record["examples"] == 12 * 32


def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path: Path) -> None:
    plain = search(spec(), levels=2)
    beside = search(spec(), levels=2, context=RunContext(checkpoint=File(tmp_path / "run"), every=0))
    assert (tmp_path / "run").exists()
    assert (beside.id, beside.records) == (plain.id, plain.records)
    again = search(spec().but(seed=1), levels=1, context=RunContext(checkpoint=File(tmp_path / "run")))
    assert again.id == search(spec().but(seed=1), levels=1).id


def test_the_rewind_point_matters() -> None:
    context = RunContext()
    early, late = (do(rewind_weights(spec(rewind=when), 0, context), context) for when in ("0it", "5it"))
    assert not torch.equal(early.weights["fc1.weight"], late.weights["fc1.weight"])
    with pytest.raises(SpecError, match=r"search.rewind: 12it is step 12, but `training.budget = .12it.` ends"):
        do(rewind_weights(spec(rewind="12it"), 0, context), context)


def test_repeatable_to_the_bit_and_replicates_differ(books: dict[str, Book]) -> None:
    again = search(spec(), levels=LEVELS)
    assert again.id == books["global"].id
    assert again.records == books["global"].records
    other = search(spec(), levels=1, replicate=1)
    assert other.mask(1) != again.mask(1)


def test_deeper_is_the_same_work_and_more(books: dict[str, Book]) -> None:
    shallow = search(spec(), levels=2)
    assert [shallow.mask(n) for n in range(3)] == [books["global"].mask(n) for n in range(3)]
    assert shallow.records == books["global"].records[:3]


def test_a_level_that_would_prune_nothing_is_refused() -> None:
    tiny = spec().but(model={"name": "mlp", "widths": (1,)}, pruning={"fraction": 0.9})
    with pytest.raises(PruneError, match=r"level 2 would prune nothing: 7 weights remain, and 0.9 of them|level 3"):
        search(tiny, levels=5)


def test_impossible_depths_are_refused() -> None:
    for levels in (-1, 101):
        with pytest.raises(SpecError, match=f"levels: expected 0 to 100, got {levels}"):
            search(spec(), levels=levels)


def test_natural_zeros_are_counted_among_the_remaining() -> None:
    shrunk = spec(rewind="0it").but(optimizer={"name": "sgd", "lr": 1e-9, "momentum": 0, "weight_decay": 1e9})
    assert search(shrunk, levels=1).records[1]["natural_zeros"] == pytest.approx(0.8, abs=0.001)
    assert search(spec(), levels=0).records[0]["natural_zeros"] < 0.01


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_an_impossible_number_of_threads_is_refused(count) -> None:
    with pytest.raises(SpecError, match=f"threads: expected a number from 1 to 1024, got {count}"):
        RunContext(threads=count)


def test_threads_hold_for_the_training_and_not_beyond() -> None:
    before, during = torch.get_num_threads(), set[int]()
    context = RunContext(threads=before + 1, watchers=(lambda run: during.add(torch.get_num_threads()),))
    search(
        {"data": "digits:a", "model": "mlp", "training": {"budget": "2it"}, "rewind": "1it"}, levels=0, context=context
    )
    assert during == {before + 1} and torch.get_num_threads() == before


def test_levels_keep_the_signs_of_trained_weights_and_records_the_commonest_class() -> None:
    spec = SearchSpec(data="digits:a", model="lenet-300-100", training={"budget": "1ep"}, rewind="1it")
    context = RunContext()
    rewound = do(rewind_weights(spec, 0, context), context)
    task = level(spec, 0, 0, rewound=rewound, pruned_at=None, context=context)
    job = next(task)
    done = run_training(job, context)
    weights = {name: weight.detach().clone() for name, weight in job.model.named_parameters()}
    with pytest.raises(StopIteration) as end:
        task.send(done)
    found = end.value.value
    assert all(found.positive[name].equal(weights[name] > 0) for name in found.positive)
    assert 0 < found.positive.remaining < found.positive.total
    targets = load(spec.data).test.targets
    assert found.record["commonest"] == float(targets.bincount().max() / len(targets))
