"""Two ranks under DistributedDataParallel: the mask holds on both and the weights agree to the bit."""

import json
import os
import subprocess
import sys

import pytest
import torch

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from oneticket.ticket.guard import attach

rank, folder, buckets = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "views"
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
living = torch.rand(8, 6) < 0.3
first = model[0].weight.detach().clone()
ranks = DistributedDataParallel(model, gradient_as_bucket_view=buckets)
optimizer = torch.optim.AdamW(ranks.parameters(), lr=0.01, weight_decay=0.1)
guard = attach(model, optimizer, {"0.weight": living})
torch.manual_seed(rank + 1)
for _ in range(4):
    optimizer.zero_grad()
    ranks(torch.randn(5, 6)).square().mean().backward()
    nn.utils.clip_grad_norm_(ranks.parameters(), 0.1)
    optimizer.step()
    guard.audit()
weight = model[0].weight.detach()
print(json.dumps({"pruned": weight[~living].abs().sum().item(), "moved": (weight - first)[living].abs().min().item(),
                  "weights": [p.tolist() for p in model.parameters()]}))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="needs gloo"
)
@pytest.mark.parametrize("buckets", ["copies", "views"])
def test_the_mask_holds_on_both_ranks_and_the_weights_agree(tmp_path, buckets):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path), buckets], stdout=subprocess.PIPE, text=True, env=environment
        )
        for rank in range(2)
    ]
    try:
        first, second = [json.loads(rank.communicate(timeout=60)[0]) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert first["pruned"] == second["pruned"] == 0.0
    assert first["moved"] > 0
    assert first["weights"] == second["weights"]
