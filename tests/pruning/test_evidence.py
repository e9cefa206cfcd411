"""Evidence: gradients and activations are those of the batches, nothing is disturbed, and your own criteria prune."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from oneticket.ground.errors import PruneError, SpecError
from oneticket.lottery.loop_search import Search
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import search
from oneticket.lottery.spec import SearchSpec
from oneticket.pruning.criteria import score
from oneticket.pruning.evidence import Evidence
from oneticket.pruning.spec import PruningSpec
from oneticket.study.origins import search_origin
from oneticket.ticket.mask import Mask

DRAW = torch.Generator().manual_seed(0)
X, Y = torch.randn(12, 3, 8, 8, generator=DRAW), torch.randint(4, (12,), generator=DRAW)


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 4)),
        )


def losses(model: nn.Module) -> Iterator[Tensor]:
    for x, y in zip(X.split(4), Y.split(4), strict=True):
        yield nn.functional.cross_entropy(model(x), y)


def evidence(model: nn.Module, names: tuple[str, ...] = ("0.weight", "6.weight"), **more: object) -> Evidence:
    trained = {name: model.get_parameter(name).detach() for name in names}
    known = {"mask": Mask.full(trained), "trained": trained, "initial_of": dict, "generator": torch.Generator()}
    return Evidence(**{**known, "model": model, "losses": losses, **more})


def test_gradients_are_the_mean_over_the_batches_in_evaluation_mode() -> None:
    model = network().train()
    model[0].weight.grad = torch.full_like(model[0].weight, 7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = evidence(model).gradients(batches=2)
    twin = network().eval()
    (sum(loss for loss, _ in zip(losses(twin), range(2), strict=False)) / 2).backward()
    for name in ("0.weight", "6.weight"):
        torch.testing.assert_close(found[name], twin.get_parameter(name).grad)
    assert model.training and model[3].training and model[0].weight.grad.unique().tolist() == [7]
    assert model[6].weight.grad is None and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_activations_are_mean_squares_per_input() -> None:
    model = network().eval()
    found = evidence(model).activations()
    assert found["0.weight"].shape == (1, 3, 1, 1) and found["6.weight"].shape == (1, 64)
    torch.testing.assert_close(found["0.weight"].flatten(), X.square().mean((0, 2, 3)))
    with torch.no_grad():
        torch.testing.assert_close(found["6.weight"][0], model[:6](X).square().mean(0))
    assert not model[0]._forward_pre_hooks


def test_activations_of_a_convolution_over_time() -> None:
    series = torch.arange(24.0).view(2, 3, 4)
    with torch.random.fork_rng():
        net = nn.Conv1d(3, 5, 2, bias=False)
    mask = Mask.full({"weight": net.weight})
    known = {"mask": mask, "trained": dict(net.named_parameters()), "initial_of": dict, "generator": DRAW}
    found = Evidence(**known, model=net, losses=lambda model: iter([model(series).sum()])).activations()
    assert found["weight"].equal(series.square().mean((0, 2)).view(1, 3, 1))


@pytest.mark.parametrize("what", ["gradients", "activations"])
def test_without_batches_the_error_says_what_to_give(what: str) -> None:
    model = network()
    with pytest.raises(PruneError, match=rf"asks for {what}, .* give Search evidence=lambda model"):
        getattr(evidence(model, losses=None), what)()
    with pytest.raises(PruneError, match=f"asks for {what}, but evidence gave no batch"):
        getattr(evidence(model, losses=lambda model: ()), what)()
    with pytest.raises(PruneError, match="expected a loss of one number for each batch, got float"):
        getattr(evidence(model, losses=lambda model: [1.0]), what)()


def test_criteria_that_fail_or_leave_something_out_are_told_by_name() -> None:
    def broken(evidence: Evidence) -> dict[str, Tensor]:
        raise KeyError("mine")

    def half(evidence: Evidence) -> dict[str, Tensor]:
        return {"0.weight": evidence.trained["0.weight"]}

    known = evidence(network())
    for given, said in (
        (broken, r"criterion '.*broken' failed: KeyError: 'mine'"),
        (half, r"criterion '.*half': expected a tensor of scores for 6.weight, got none"),
        (lambda evidence: 3, "expected scores by name, got int"),
        (
            lambda evidence: {name: one.to(torch.complex64) for name, one in evidence.trained.items()},
            "expected real scores for 0.weight, 6.weight, got complex numbers",
        ),
        ("nowhere.py:score", "no such file: nowhere.py"),
    ):
        with pytest.raises(PruneError, match=said):
            score(given, known)
    with pytest.raises(SpecError, match="unknown criterion 'salience'; did you mean 'saliency'"):
        PruningSpec(criterion="salience")


MINE = """
def score(evidence):
    squares = evidence.activations(2)
    return {name: weight.abs() * squares[name].sqrt() for name, weight in evidence.trained.items()}
"""


def test_a_criterion_from_your_own_file_prunes_and_its_text_is_in_the_address(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    asked = {"data": {"name": "digits:a", "per_class": 5}, "model": "mlp", "rewind": "1it"}
    asked |= {"training": {"budget": "3it"}}
    spec = SearchSpec(**asked, pruning={"criterion": f"{file}:score"})
    masks = {
        name: search(SearchSpec(**asked, pruning={"criterion": name}), levels=1).mask(1)
        for name in ("magnitude", "saliency", f"{file}:score")
    }
    assert len({mask.remaining for mask in masks.values()}) == 1 and len({mask.digest for mask in masks.values()}) == 3
    first = search_origin(spec, levels=1, replicate=0, context=RunContext()).levels[1].key
    file.write_text(MINE.replace("(2)", "(3)"))
    assert search_origin(spec, levels=1, replicate=0, context=RunContext()).levels[1].key != first


def test_search_takes_a_function_and_the_loops_own_batches() -> None:
    seen: list[Evidence] = []

    def mine(evidence: Evidence) -> dict[str, Tensor]:
        seen.append(evidence)
        return {name: -gradient.abs() for name, gradient in evidence.gradients(batches=2).items()}

    model = network()
    model[3].p = 0.0  # its draws are the loop's own affair
    search = Search(
        model, lambda model: torch.optim.SGD(model.parameters(), lr=0.01), levels=1, criterion=mine, evidence=losses
    )
    for level in search:
        for loss in losses(model):
            level.optimizer.zero_grad()
            loss.backward()
            level.optimizer.step()
    assert [one.mask.density for one in seen] == [1, search.book.density(1)] and list(seen[0].mask) == ["0.weight"]
    kept = search.book.mask(1)["0.weight"]
    assert int((~kept).sum()) == int(0.2 * kept.numel())


def test_search_says_what_a_criterion_lacks() -> None:
    model = network()
    model[3].p = 0.0
    search = Search(model, lambda m: torch.optim.SGD(m.parameters(), lr=0.1), levels=1, criterion="saliency")

    def loop() -> None:
        for level in search:
            next(losses(model)).backward()
            level.optimizer.step()

    with pytest.raises(PruneError, match="give Search evidence="):
        loop()
