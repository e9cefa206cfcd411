"""One training by two ranks: the result of one rank, within float tolerance, or a refusal in words."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path

import forked
import pytest
import torch

from oneticket.data.batches import batches
from oneticket.engine import inline, run_ray
from oneticket.ground.errors import SpecError
from oneticket.ground.streams import Streams
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.store.store import Store
from oneticket.study.origins import search_origin

GLOO = torch.distributed.is_available() and torch.distributed.is_gloo_available()
pytestmark = pytest.mark.skipif(not GLOO, reason="needs gloo")

SPEC = SearchSpec(
    data={"name": "digits:a", "crop": 1},
    model="lenet-300-100",
    optimizer={"name": "sgd", "schedule": "cosine"},
    training={"budget": "2ep", "batch": 32, "clip": 1.0},
    rewind="5it",
)

SCRIPT = """
import json, sys
import torch
import torch.distributed as dist
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import OneticketError
from oneticket.ground.streams import Streams
from oneticket.lottery.run_context import RunContext, never
from oneticket.lottery.training_request import TrainingRequest
from oneticket.lottery.training import run_training
from oneticket.models.build import build
from oneticket.models.parts import prunable
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.spec import TaskSpec
from oneticket.ticket.mask import Mask
from oneticket.training.spec import TrainingSpec

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)


def train(model="mlp", *, batch=32, another_mask=False, other_weights=False, slot=None, stop=never):
    context = RunContext(rank=rank, ranks=2, checkpoint=slot, every=1000.0, stop=stop)
    data = context.data(DataSpec(name="digits:a"), TaskSpec())
    network = build(ModelSpec(name=model), inputs=data.inputs, outputs=10, seed=rank if other_weights else 0)
    living = Mask.full({name: network.get_parameter(name) for name in prunable(network)})
    first = next(iter(living))
    draws = torch.Generator().manual_seed(rank if another_mask else 0)
    mask = Mask({**living, first: torch.rand(living[first].shape, generator=draws) < 0.3})
    with torch.no_grad():
        network.get_parameter(first)[~mask[first]] = 0
    job = TrainingRequest(
        model=network,
        mask=mask,
        data=data,
        optimizer=OptimizerSpec(name="adam"),
        training=TrainingSpec(budget="20it", batch=batch),
        streams=Streams(root=0, replicate=0),
    )
    done = run_training(job, context)
    return {
        "weights": [p.double().sum().item() for p in network.parameters()],
        "losses": done.losses.tolist(),
        "measured": sorted(done.record),
        "pruned": network.get_parameter(first)[~mask[first]].abs().sum().item(),
    }


def words(**given):
    try:
        return train(**given)
    except OneticketError as error:
        return [type(error).__name__, str(error)]


class Memory:
    of = "a step by ranks"
    data = None
    writes = 0

    def read(self):
        return Memory.data

    def write(self, data):
        Memory.data, self.writes = data, self.writes + 1

    def set_aside(self, why):
        raise AssertionError(why)


answers = {
    "plain": words(),
    "mask": words(another_mask=True),
    "weights": words(other_weights=True),
    "batch": words(batch=33),
    "norm": words(model="resnet-20"),
}
asked, slot = [], Memory()
try:
    train(slot=slot, stop=lambda: rank == 0 and (asked.append(1) or len(asked) == 7))
    answers["stopped"] = False
except KeyboardInterrupt:
    answers["stopped"] = True
answers["writes"] = slot.writes
# What the first rank kept, both go on from.
box = [Memory.data]
dist.broadcast_object_list(box, src=0)
Memory.data = box[0] if rank else Memory.data
answers["resumed"] = words(slot=Memory())
Memory.data = None if rank else box[0]
answers["apart"] = words(slot=Memory())
print(json.dumps(answers))
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> tuple[dict, dict]:
    """What two ranks say of the same trainings and refusals."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    ranks = [
        forked.Child("script.py", str(rank), folder, cwd=folder, env=environment, warn=["error"]) for rank in (0, 1)
    ]
    try:
        first, second = [json.loads(rank.end().stdout) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return first, second


@pytest.mark.slow
def test_both_ranks_have_the_same_weights_and_one_of_them_the_record(answers) -> None:
    first, second = (rank["plain"] for rank in answers)
    assert first["weights"] == second["weights"]
    assert first["losses"] == second["losses"]
    assert first["pruned"] == second["pruned"] == 0
    assert "accuracy" in first["measured"] and second["measured"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kind", "words"),
    [
        ("mask", "GuardError", "ranks differ in their mask: most have "),
        ("weights", "TrainingError", "ranks differ in their data, settings or weights"),
        ("batch", "SpecError", "training.batch: expected a multiple of the 2 ranks that share each batch, got 33"),
        ("norm", "TrainingError", "batch normalisation over several ranks needs CUDA, got cpu"),
        ("apart", "TrainingError", "ranks differ in their checkpoint"),
    ],
)
def test_what_ranks_cannot_share_is_refused_by_all_of_them(answers, case, kind, words) -> None:
    assert answers[0][case] == answers[1][case]
    assert answers[0][case][0] == kind
    assert words in answers[0][case][1]
    if case in ("mask", "apart"):
        assert "but not rank 1 (" in answers[0][case][1]


@pytest.mark.slow
def test_when_one_rank_is_asked_to_stop_all_do_and_go_on_to_the_same_weights(answers) -> None:
    assert [rank["stopped"] for rank in answers] == [True, True]
    assert [rank["writes"] for rank in answers] == [1, 0], "the first rank alone keeps checkpoints"
    assert answers[0]["resumed"] == answers[0]["plain"]
    assert answers[1]["resumed"] == answers[1]["plain"]


def test_shares_of_a_batch_are_the_batch() -> None:
    data, streams = RunContext().data(SPEC.data, SPEC.task), Streams(root=0, replicate=0)
    asked = {"batch": 32, "streams": streams, "start": 3, "stop": 5}
    whole = list(batches(data, **asked))
    shares = [list(batches(data, **asked, rank=rank, ranks=4)) for rank in range(4)]
    for at, (images, labels) in enumerate(whole):
        assert torch.equal(torch.cat([share[at][0] for share in shares]), images)
        assert torch.equal(torch.cat([share[at][1] for share in shares]), labels)
        assert {len(share[at][1]) for share in shares} == {8}
    with pytest.raises(SpecError, match="a multiple of the 3 ranks that share each batch, got 32"):
        next(batches(data, **asked, ranks=3))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
def test_a_step_by_two_ranks_of_ray_is_that_of_one_within_float_tolerance(tmp_path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    before, step = search_origin(SPEC, levels=1, replicate=0, context=RunContext()).levels
    inline.run([before], store=one, context=RunContext())
    shutil.copytree(one.url, two.url)
    inline.run([step], store=one, context=RunContext())
    piles = run_ray.run([step], store=two, context=RunContext(), ranks=2)
    assert (piles.done, len(piles.reused), piles.failed) == ((step,), 2, ())
    alone, shared = one.get(step), two.get(step)
    assert shared.tensors.keys() == alone.tensors.keys()
    assert torch.allclose(shared.tensors["losses"], alone.tensors["losses"], rtol=1e-4, atol=1e-5)
    assert shared.record["living"] == alone.record["living"]
    assert shared.record["accuracy"] == pytest.approx(alone.record["accuracy"], abs=0.01)
    for name in (name for name in alone.tensors if name.startswith("pruned_at/")):
        differ = (shared.tensors[name] != alone.tensors[name]).double().mean().item()
        assert differ < 1e-3, "the masks of the next level"
    assert two.provenance(step)["device"] == "cpu, ranks=2"
    assert one.provenance(step)["device"] == "cpu"
