"""Two processes of one group (gloo), as laws about ranks need them: both run one script and tell JSON."""

import json
import os
from pathlib import Path

import forked
import pytest
import torch

NEEDS = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="needs gloo"
)
PROLOGUE = """
import json, os, sys
import torch
import torch.distributed as dist
from torch import nn
from oneticket.ground.errors import GuardError
from oneticket.guard.guard import attach

RANK, FOLDER = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{FOLDER}/meet", rank=RANK, world_size=2)

def tell(**found):
    print(json.dumps(found), flush=True)
    dist.destroy_process_group()
    os._exit(0)  # threads of torch's checkpoint writer may still run, and end the interpreter's end by an abort
"""


def answers(script: str, folder: Path, *arguments: str) -> list[dict]:
    """What both ranks told at their end."""
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": os.pathsep.join(path),
    }
    words = ("-c", PROLOGUE + script)
    ranks = [forked.Child(*words, str(rank), folder, *arguments, env=environment, warn=["error"]) for rank in range(2)]
    try:
        said = [rank.end() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [each.returncode for each in said] == [0, 0], "\n".join(each.stderr for each in said)
    return [json.loads(each.stdout) for each in said]
