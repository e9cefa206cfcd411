"""The law of the guard in our own loop: after every optimizer step, pruned weights and moments are exactly zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tables import MODELS, OPTIMIZERS

from oneticket.data.batches import batches, per_epoch
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.streams import Streams
from oneticket.guard.guard import attach
from oneticket.models.build import build
from oneticket.models.parts import head, prunable
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.spec import OptimizerSpec
from oneticket.task.task import CLASSIFICATION
from oneticket.ticket.mask import Mask
from oneticket.training.loop import Run, train
from oneticket.training.spec import TrainingSpec

STREAMS = Streams(root=0, replicate=0)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"clip": 0.1},
    "bfloat16": {"precision": "bfloat16"},
    "projected-only": {"guard": "project"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "optimizer"),
    [("lenet", name) for name in OPTIMIZERS] + [(name, "sgd-nesterov") for name in MODELS if name != "lenet"],
)
def test_pruned_weights_and_moments_stay_zero_and_the_remaining_move(model: str, optimizer: str, way: str) -> None:
    data = load(DataSpec(name="digits", per_class=20))
    spec = OptimizerSpec.read(OPTIMIZERS[optimizer])
    training = TrainingSpec(budget="6it", batch=32, **WAYS[way])
    net = build(MODELS[model], inputs=data.inputs, outputs=10, seed=0)
    generator = torch.Generator().manual_seed(1)
    mask = Mask({n: torch.rand(net.get_parameter(n).shape, generator=generator) < 0.2 for n in prunable(net)})
    made = build_optimizers(spec, net, head=head(net))
    with attach(net, made, mask, rule=training.guard) as guard:
        before = {name: net.get_parameter(name).detach().clone() for name in mask}
        run = Run.begin(net, made, precision=training.precision, position=0, total=6)
        feed = batches(data, batch=32, streams=STREAMS, start=0, stop=6)
        epoch = per_epoch(data, 32)
        for _ in train(
            run, feed, task=CLASSIFICATION, training=training, optimizer=spec, streams=STREAMS, per_epoch=epoch, stop=6
        ):
            audit = guard.audit()
            assert (audit.remaining, audit.total) == (mask.remaining, mask.total)
            for name, remaining in mask.items():
                assert not net.get_parameter(name).detach()[~remaining].any()
    for name, remaining in mask.items():
        assert not torch.equal(net.get_parameter(name).detach()[remaining], before[name][remaining])
