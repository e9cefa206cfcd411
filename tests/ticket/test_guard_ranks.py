"""Two ranks under DistributedDataParallel: they agree on the mask, it holds, and the weights are the same bits."""

import pytest
from two_ranks import NEEDS, answers

pytestmark = [pytest.mark.slow, NEEDS]

TRAINED = """
from torch.nn.parallel import DistributedDataParallel

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
living = torch.rand(8, 6) < 0.3
first = model[0].weight.detach().clone()
ranks = DistributedDataParallel(model, gradient_as_bucket_view=sys.argv[3] == "views")
optimizer = torch.optim.AdamW(ranks.parameters(), lr=0.01, weight_decay=0.1)
guard = attach({"inner": model, "compiled": torch.compile(ranks, backend="eager")}.get(sys.argv[4], ranks), optimizer,
               {"0.weight": living})
torch.manual_seed(RANK + 1)
for _ in range(4):
    optimizer.zero_grad()
    ranks(torch.randn(5, 6)).square().mean().backward()
    nn.utils.clip_grad_norm_(ranks.parameters(), 0.1)
    optimizer.step()
    guard.audit()
weight = model[0].weight.detach()
tell(pruned=weight[~living].abs().sum().item(), moved=(weight - first)[living].abs().min().item(),
     weights=[p.tolist() for p in model.parameters()], state=guard.state_dict())
"""


@pytest.mark.parametrize(("buckets", "given"), [("copies", "inner"), ("views", "wrapper"), ("copies", "compiled")])
def test_the_mask_holds_on_both_ranks_and_the_weights_agree(tmp_path, buckets, given):
    first, second = answers(TRAINED, tmp_path, buckets, given)
    assert first["pruned"] == second["pruned"] == 0.0
    assert first["moved"] > 0
    assert first["weights"] == second["weights"]
    assert first["state"] == second["state"] and len(first["state"]["mask"]) == 64


REFUSED = """
from torch.nn.parallel import DistributedDataParallel

def tried(mask, *, wrap=True, optimizer=torch.optim.SGD, rule="gate+project"):
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    made = optimizer(model.parameters(), lr=0.1)
    given = DistributedDataParallel(model) if wrap else model
    try:
        attach(given, made, {"weight": mask}, rule=rule)
        words = ""
    except GuardError as error:
        words = str(error)
    torch.manual_seed(0)
    untouched = all(map(torch.equal, model.parameters(), nn.Linear(3, 3).parameters()))
    hooks = [p._post_accumulate_grad_hooks for p in model.parameters()], len(made._optimizer_step_post_hooks)
    return dict(words=words, untouched=untouched and hooks == ([None, None], 0))

eye = torch.eye(3).bool()
found = {
    "another mask": tried(~eye if RANK else eye),
    "another rule": tried(eye, rule="project" if RANK else "gate+project"),
    "a mask that fails": tried(eye[:2] if RANK else eye),
    "a failure alike": tried(eye[:2]),
    "a plain model each": tried(~eye if RANK else eye, wrap=False),
}
if RANK == 0:
    tried(eye, wrap=False)  # a model of one's own waits for nobody
tell(**found)
"""
WORDS = {
    "another mask": [
        "the ranks do not agree, and nothing was written:\nrank 0: Mask(1 tensors, 3 of 9",
        "rank 1: Mask",
    ],
    "another rule": ["rule 'gate+project'\nrank 1: Mask(1 tensors", "rule 'project'"],
    "a mask that fails": ["rank 0: Mask(1", "rank 1: GuardError: module.weight: expected a dense parameter of shape"],
    "a failure alike": ["module.weight: expected a dense parameter of shape (2, 3)"],
    "a plain model each": [],
}


def test_ranks_that_do_not_agree_all_refuse_in_the_same_words(tmp_path):
    first, second = answers(REFUSED, tmp_path)
    for row, words in WORDS.items():
        if words:
            assert first[row] == second[row]
        assert first[row]["untouched"] == bool(words)
        assert bool(first[row]["words"]) == bool(words)
        assert all(word in first[row]["words"] for word in words), first[row]["words"]
    assert "ranks" not in first["a failure alike"]["words"]
