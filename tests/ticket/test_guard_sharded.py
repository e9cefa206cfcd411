"""Two ranks that share every parameter (FSDP2 on gloo): the mask holds in the shards, and the network is the same."""

import json
from importlib.util import find_spec

import pytest
from optimizers import TABLE
from two_ranks import NEEDS, answers

pytestmark = [pytest.mark.slow, NEEDS]

NETWORKS = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

FLAT = init_device_mesh("cpu", (2,), mesh_dim_names=("all",))
torch.manual_seed(5)
# Three rows are uneven over two ranks, and of one row nothing lies on the second.
SHAPES = {"0.weight": (8, 6), "0.bias": (8,), "2.weight": (3, 8)}
MASK = {name: torch.rand(shape) < 0.5 for name, shape in SHAPES.items()}
MASK["4.weight"] = torch.tensor([[True, False, True]])

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 1))

def split(model, **how):
    fully_shard(model[0], **{"mesh": FLAT, **how})
    return fully_shard(model, **{"mesh": FLAT, **how})

def bits(model):
    return [(p.to_local() if isinstance(p, DTensor) else p).tolist() for p in model.parameters()]
"""

TRAINED = (
    NETWORKS
    + """
from optimizers import TABLE

def even(model):
    # By columns if they are even, which FSDP asks for.
    return split(model, shard_placement_fn=lambda p: Shard(1) if p.dim() == 2 and p.shape[1] % 2 == 0 else None)

HOW = {
    "by rows": split,
    "by columns": even,
    "copies of shards": lambda m: split(m, mesh=init_device_mesh("cpu", (2, 1), mesh_dim_names=("copies", "parts"))),
    "whole between forward and backward": lambda m: split(m, reshard_after_forward=False),
    "in bfloat16": lambda m: split(m, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16)),
    "accumulated": split,
    "projected": split,
    "copied whole": lambda m: distribute_module(m, FLAT),
    "by tensors": lambda m: parallelize_module(m, FLAT, {"0": ColwiseParallel(), "2": RowwiseParallel()}),
}

def said(model, images, how):
    whole = how == "copied whole" and isinstance(model[0].weight, DTensor)
    out = model(distribute_tensor(images, FLAT, [Replicate()]) if whole else images)
    return out.full_tensor() if isinstance(out, DTensor) else out

def steps(model, optimizers, part, how):
    draw = torch.Generator().manual_seed(1)
    for _ in range(4):
        images, goal = torch.randn(8, 6, generator=draw)[part], torch.randn(8, 1, generator=draw)[part]
        for optimizer in optimizers:
            optimizer.zero_grad()
        for piece in (slice(0, 2), slice(2, 8)) if how == "accumulated" else (slice(0, 8),):
            if how == "accumulated" and hasattr(model, "set_requires_gradient_sync"):
                model.set_requires_gradient_sync(piece.start > 0)
            ((said(model, images[piece], how) - goal[piece]).square().sum() / len(goal)).backward()
        if how != "by tensors":  # there torch cannot clip what is in part sharded
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        for optimizer in optimizers:
            optimizer.step()
        yield

def compared(row, how):
    rule = "project" if how == "projected" else "gate+project"
    alone, shared = network(), network()
    for model in (alone, shared):
        model[4].weight.requires_grad_(row != "muon")  # which cannot step a shard of one row
    HOW[how](shared)
    made = [TABLE[row](model.parameters()) for model in (alone, shared)]
    made = [one if isinstance(one, list) else [one] for one in made]
    guards = [attach(model, one, MASK, rule=rule) for model, one in zip((alone, shared), made)]
    mine = slice(0, 8) if how in ("copied whole", "by tensors") else slice(RANK * 4, RANK * 4 + 4)
    for _ in zip(steps(alone, made[0], slice(0, 8), how), steps(shared, made[1], mine, how)):
        audits = [guard.audit() for guard in guards]
    with torch.no_grad():
        said(shared, torch.zeros(1, 6), how)
    guards[1].audit()
    far, leaked, moved, first = 0.0, 0, 0.0, network()
    for name, parameter in shared.named_parameters():
        full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        living = MASK.get(name, torch.tensor(True))
        far = max(far, (full - alone.get_parameter(name)).abs().max().item())
        leaked += int((full * ~living != 0).sum())
        moved = max(moved, ((full - first.get_parameter(name)) * living).abs().max().item())
    return dict(far=far, leaked=leaked, moved=moved, here=[audits[1].remaining, audits[1].total],
                whole=[audits[0].remaining, audits[0].total], words=str(audits[1]))

tell(**{f"{row}, {how}": compared(row, how) for row, how in json.loads(sys.argv[3])})
"""
)
WAYS = (
    "by rows",
    "by columns",
    "copies of shards",
    "whole between forward and backward",
    "in bfloat16",
    "accumulated",
    "projected",
    "copied whole",
    "by tensors",
)
UNSHARDED = ("rprop", "adafactor", "adafactor of transformers", "lbfgs")
"""Optimizers whose own step has no rule for shards."""
HERE = [row for row in TABLE if row not in UNSHARDED and ("free" not in row or find_spec("schedulefree"))]
ROWS = [
    *((row, "by rows") for row in HERE),
    *(("adamw", way) for way in WAYS[1:]),
    ("sgd momentum nesterov decay", "by tensors"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return answers(TRAINED, tmp_path_factory.mktemp("ranks"), json.dumps(ROWS))


@pytest.mark.parametrize(("row", "way"), ROWS)
def test_a_sharded_network_is_held_and_is_the_one_that_a_single_process_trains(trained, row, way):
    first, second = (rank[f"{row}, {way}"] for rank in trained)
    assert (first["far"], first["leaked"]) == (second["far"], second["leaked"])
    assert first["leaked"] == 0
    assert first["moved"] > 1e-5
    rough = row == "muon" or way == "in bfloat16"  # Muon's own products are in bfloat16
    assert first["far"] < (2e-2 if rough else 1e-6)
    copied = {"copies of shards": first["whole"], "copied whole": first["whole"], "by tensors": [2, 3]}
    for here, there, whole, twice in zip(
        first["here"], second["here"], first["whole"], copied.get(way, [0, 0]), strict=True
    ):
        assert here + there == whole + twice
    assert "pruned weights on this rank in 4 parameters" in first["words"]


KEPT = (
    NETWORKS
    + """
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

def made():
    model = split(network())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    return model, optimizer

def train(model, optimizer, guard, seed):
    draw = torch.Generator().manual_seed(seed)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(5, 6, generator=draw) + RANK).square().mean().backward()
        optimizer.step()
        guard.audit()

model, optimizer = made()
guard = attach(model, optimizer, MASK)
train(model, optimizer, guard, 1)
weights, moments = get_state_dict(model, optimizer)
dcp.save({"weights": weights, "moments": moments}, checkpoint_id=FOLDER + "/kept")
said = json.loads(json.dumps(guard.state_dict()))
train(model, optimizer, guard, 2)

again, anew = made()
weights, moments = get_state_dict(again, anew)
dcp.load({"weights": weights, "moments": moments}, checkpoint_id=FOLDER + "/kept")
set_state_dict(again, anew, model_state_dict=weights, optim_state_dict=moments)
loaded = [name for name, p in again.named_parameters() if name in MASK and (p.full_tensor()[~MASK[name]] != 0).any()]
resumed = attach(again, anew, MASK)
resumed.load_state_dict(said)
train(again, anew, resumed, 2)
straight, resumed_bits = bits(model), bits(again)

dense = {name: torch.ones_like(p) for name, p in network().state_dict().items()}
whole = StateDictOptions(full_state_dict=True)
moments = get_state_dict(again, anew, options=whole)[1]
set_state_dict(again, anew, model_state_dict=dense, optim_state_dict=moments, options=whole)
try:
    resumed.audit()
    seen = ""
except GuardError as error:
    seen = str(error)
train(again, anew, resumed, 3)
tell(straight=straight, resumed=resumed_bits, loaded=loaded, seen=seen, said=said)
"""
)


def test_a_sharded_checkpoint_resumes_to_the_bit_and_a_dense_one_is_told_and_projected(tmp_path):
    for rank in answers(KEPT, tmp_path):
        assert rank["straight"] == rank["resumed"]
        assert rank["loaded"] == []
        assert "0.weight: pruned weights that are not zero" in rank["seen"]
        assert len(rank["said"]["mask"]) == 64 and rank["said"]["rule"] == "gate+project"


REFUSED = (
    NETWORKS
    + """
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.tensor import Partial
from oneticket.ticket.shards import write

OTHER = {**MASK, "2.weight": ~MASK["2.weight"]}

def pair(cut=split):
    model = cut(network())
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

def made_before():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return split(model), optimizer

def twice(model):
    grid = init_device_mesh("cpu", (1, 2), mesh_dim_names=("data", "tensor"))
    parallelize_module(model, grid["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    return fully_shard(model, mesh=grid["data"])

def in_parts(model):
    model[0].weight = nn.Parameter(DTensor.from_local(torch.ones(8, 6), FLAT, [Partial()]))
    return model

def flat(model):
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)

def tried(pair, mask=MASK, rule="gate+project", optimizer=None):
    model, made = pair
    before, hooks = bits(model), [p._post_accumulate_grad_hooks for p in model.parameters()]
    try:
        attach(model, optimizer or made, mask, rule=rule)
        words = ""
    except GuardError as error:
        words = str(error)
    left = [p._post_accumulate_grad_hooks for p in model.parameters()] == hooks and not made._optimizer_step_pre_hooks
    return dict(words=words, untouched=left and bits(model) == before)

bystander = nn.Linear(2, 2)
found = {
    "another mask": tried(pair(), OTHER if RANK else MASK),
    "another rule": tried(pair(), rule="project" if RANK else "gate+project"),
    "no mask": tried(pair(), {"0.weight": 3} if RANK else MASK),
    "another optimizer": tried(pair(), optimizer=torch.optim.SGD(bystander.parameters()) if RANK else None),
    "made before": tried(made_before()),
    "by two": tried(pair(twice)),
    "in parts": tried(pair(in_parts)),
    "flat": tried(pair(flat)),
}
model, optimizer = pair()
found["after all"] = tried((model, optimizer), {"module." + name: living for name, living in MASK.items()})
draw = torch.Generator().manual_seed(3)
values = {name: torch.rand(value.shape, generator=draw) for name, value in network().state_dict().items()}
target, _ = pair()
for name, parameter in target.named_parameters():
    write(parameter, values[name])
written = all(torch.equal(parameter.full_tensor(), values[name]) for name, parameter in target.named_parameters())
tell(written=written, **found)
"""
)
WORDS = {
    "another mask": [
        "the ranks do not agree, and nothing was written",
        "rank 0: Mask(4 tensors",
        "rank 1: Mask(4 tensors",
    ],
    "another rule": ["rank 0: Mask(4", "rule 'gate+project'", "rank 1: Mask(4", "rule 'project'"],
    "no mask": ["rank 0: Mask(4", "rank 1: WrongPruneError: mask '0.weight': expected a bool tensor, got int"],
    "another optimizer": ["rank 0: Mask(4", "rank 1: GuardError: no optimizer has 0.bias"],
    "made before": ["no optimizer has 0.bias", "sharded or converted after its optimizer was made"],
    "by two": ["0.bias: it lies on the ranks as", "_StridedShard", "let one wrapper alone shard it"],
    "in parts": ["0.weight: it lies on the ranks as (Partial"],
    "flat": ["FSDP1 flattens parameters", "use FSDP2's `fully_shard`"],
    "after all": [],
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    return answers(REFUSED, tmp_path_factory.mktemp("refused"))


@pytest.mark.parametrize("row", WORDS)
def test_what_ranks_cannot_hold_alike_all_refuse_in_the_same_words_and_nothing_is_touched(refused, row):
    first, second = (rank[row] for rank in refused)
    assert first == second
    assert first["untouched"] == (row != "after all")
    assert bool(first["words"]) == bool(WORDS[row])
    for words in WORDS[row]:
        assert words in first["words"]


def test_a_whole_value_is_written_into_shards(refused):
    assert [rank["written"] for rank in refused] == [True, True]
