import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from two_ranks import NEEDS
from two_ranks import answers as answers_of_ranks

import oneticket
from oneticket.apply.renames import given
from oneticket.ground.errors import GuardError, TransferError
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.match import hint, match, name_changes, shared_module
from oneticket.ticket.ticket import Ticket


class Body(nn.Module):
    """Two layers with BatchNorm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 5)

    def forward(self, rows):
        return self.second(self.norm(self.first(rows)).relu())


class Net(nn.Module):
    """A body and a head, under names that a row may choose."""

    def __init__(self, body: str = "body", head: str = "fc", classes: int = 3) -> None:
        super().__init__()
        self.order = (body, head)
        self.add_module(body, Body())
        self.add_module(head, nn.Linear(5, classes))

    def forward(self, rows):
        for name in self.order:
            rows = self.get_submodule(name)(rows)
        return rows


class Wrapped(nn.Module):
    """What DataParallel and DistributedDataParallel do to names."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, rows):
        return self.module(rows)


class Holder(nn.Module):
    """Somebody's model around ours, with a tensor of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, rows):
        return self.model(rows) * self.scale


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def part_compiled(model: nn.Module) -> nn.Module:
    model.body = compiled(model.body)
    return model


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def part_checkpointed(model: nn.Module) -> nn.Module:
    model.body = checkpoint_wrapper(model.body)
    return model


WRAPPERS = {
    "as it is": (lambda model: model, ""),
    "DataParallel": (Wrapped, "names behind 'module.'"),
    "compiled": (compiled, "names behind '_orig_mod.'"),
    "compiled in place": (compiled_in_place, ""),
    "body compiled": (part_compiled, "names but for wrappers"),
    "body checkpointed": (part_checkpointed, "names but for wrappers"),
    "compiled in DDP": (lambda model: Wrapped(compiled(model)), "names behind 'module._orig_mod.'"),
    "DDP of compiled body": (lambda model: Wrapped(part_compiled(model)), "names but for wrappers"),
    "in a Sequential": (nn.Sequential, "names behind '0.'"),
    "in a Sequential in DDP": (lambda model: Wrapped(nn.Sequential(model)), "names behind 'module.0.'"),
}

HEAD = ("fc.weight", "fc.bias")


def found(model: nn.Module, head: tuple[str, ...] = HEAD) -> Ticket:
    """A ticket of the model as it is: half of each matrix lives, the head's too."""
    weights = {name: value + 1 if value.dim() < 2 else value for name, value in model.state_dict().items()}
    mask = Mask({name: torch.arange(value.numel()).view(value.shape) % 2 == 0 for name, value in matrices(weights)})
    return Ticket(mask=mask, weights=weights, contract=Contract(rewind="0it", step=0, head=head))


def matrices(weights):
    return [(name, value) for name, value in weights.items() if value.dim() == 2]


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def steps(model: nn.Module, guard: object, optimizer: torch.optim.Optimizer) -> None:
    draw = torch.Generator().manual_seed(1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 6, generator=draw)).square().sum().backward()
        optimizer.step()
        guard.audit()


@pytest.mark.parametrize("head", ["fresh", "keep", "sparse"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_ticket_finds_its_way_into_a_wrapped_model(wrapper, head):
    wrap, how = WRAPPERS[wrapper]
    ticket, inner = found(Net()), Net()
    before = snapshot(inner)
    model = wrap(copy.deepcopy(inner))
    applied = ticket.apply(model, head=head)
    assert name_changes(applied.names) == how
    assert (how in str(applied)) and (", names" in str(applied)) == bool(how)
    now = dict(model.named_parameters()) | dict(model.named_buffers())
    assert set(applied.matched) | set(applied.fresh) == set(now) and not set(applied.matched) & set(applied.fresh)
    for name, goal in applied.names.items():
        assert torch.equal(now[goal], ticket.weights[name])
    for name in applied.fresh:
        (plain,) = (each for each in HEAD if name.endswith(each))
        assert torch.equal(now[name], before[plain])
    assert applied.left == (tuple(sorted(HEAD)) if head == "fresh" else ())
    assert len(applied.mask) == (3 if head == "sparse" else 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with ticket.attach(model, optimizer, head=head) as guard:
        assert guard.mask == applied.mask
        steps(model, guard, optimizer)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_ticket_out_of_a_wrapped_model_finds_its_way_into_the_bare_one(wrapper):
    wrap, _ = WRAPPERS[wrapper]
    source, model = wrap(Net()), Net()
    names = [name for name in source.state_dict() if name.endswith(HEAD)]
    ticket = found(source, tuple(names))
    applied = ticket.apply(model, head="keep")
    assert set(applied.matched) == set(model.state_dict()) and len(applied.mask) == 2
    for name, value in ticket.weights.items():
        assert torch.equal(model.state_dict()[applied.names[name]], value)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_mask_alone_finds_its_way_too(wrapper):
    wrap, _ = WRAPPERS[wrapper]
    mask, model = found(Net()).mask, wrap(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with oneticket.attach(model, optimizer, mask) as guard:
        steps(model, guard, optimizer)
        assert guard.mask.counts.values() and guard.mask.remaining == mask.remaining


@pytest.mark.parametrize(
    ("target", "fresh", "how"),
    [
        (lambda: Holder(Body()), ("scale",), "names behind 'model.'"),
        (lambda: Net(head="classifier"), ("classifier.bias", "classifier.weight"), "names behind 'body.'"),
        (lambda: nn.Sequential(Body(), nn.ReLU(), nn.Linear(5, 2)), ("2.bias", "2.weight"), "names behind '0.'"),
        (
            lambda: Wrapped(part_compiled(Net(head="top"))),
            ("module.top.bias", "module.top.weight"),
            "names behind 'module.body._orig_mod.'",
        ),
    ],
)
def test_an_encoder_goes_beneath_any_head(target, fresh, how):
    ticket, model = found(Body(), head=()), target()
    before = snapshot(model)
    applied = ticket.apply(model)
    assert applied.fresh == fresh and applied.left == () and name_changes(applied.names) == how
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in fresh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with ticket.attach(model, optimizer) as guard:
        steps(model, guard, optimizer)


def test_another_head_takes_the_place_of_the_tickets_own():
    ticket, model = found(Net()), Net(head="classifier", classes=7)
    applied = ticket.apply(model)
    assert applied.fresh == ("classifier.bias", "classifier.weight") and applied.left == ("fc.bias", "fc.weight")
    assert list(applied.mask) == ["body.first.weight", "body.second.weight"]
    with pytest.raises(
        TransferError, match=r"only in the ticket: fc.bias, fc.weight; only in the model: classifier.bias"
    ):
        ticket.apply(Net(head="classifier"), head="keep")
    bare = Body()
    assert name_changes(ticket.apply(bare).names) == "names without 'body.'"


def test_one_ticket_for_two_towers_needs_a_word():
    ticket = found(Body(), head=())
    model = nn.ModuleDict({"left": Body(), "right": Body(), "top": nn.Linear(10, 2)})
    before = snapshot(model)
    with pytest.raises(TransferError, match=r"behind 'left\.' and behind 'right\.'.*names=\{'': 'left\.'\}"):
        ticket.apply(model)
    with pytest.raises(GuardError, match=r"behind 'left\.' and behind 'right\.'"):
        oneticket.attach(model, torch.optim.SGD(model.parameters()), ticket.mask)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for tower, other in (("left.", "right."), ("right.", "left.")):
        applied = ticket.apply(model, names={"": tower})
        assert all(name.startswith(tower) for name in applied.matched)
        assert all(name.startswith((other, "top.")) for name in applied.fresh)
    assert torch.equal(model["left"].first.weight, model["right"].first.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ticket.attach(model, optimizer, names={"": "left."}), ticket.attach(model, optimizer, names={"": "right."}):
        optimizer.step()


def test_one_tower_under_two_names_is_one():
    ticket, tower = found(Body(), head=()), Body()
    model = nn.ModuleDict({"left": tower, "right": tower, "top": nn.Linear(10, 2)})
    applied = ticket.apply(model)
    assert set(applied.names.values()) == {f"left.{name}" for name in ticket.weights}
    assert all(torch.equal(value, ticket.weights[name]) for name, value in tower.state_dict().items())
    assert applied.fresh == ("top.bias", "top.weight") and min(applied.mask).startswith("left.")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with oneticket.attach(model, optimizer, ticket.mask) as guard:
        assert guard.mask == applied.mask
    whole, siamese = found(Net()), nn.ModuleDict({"a": Net(), "top": nn.Linear(6, 2)})
    siamese["b"] = siamese["a"]
    assert whole.apply(siamese, fresh=("top.*",)).fresh == tuple(
        sorted([*(f"{t}.{n}" for t in "ab" for n in HEAD), "top.bias", "top.weight"])
    )
    assert whole.apply(siamese, head="keep", fresh=("top.*",)).left == ()


def test_more_layers_of_the_same_kind_are_no_head():
    ticket = found(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), head=())
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    before = snapshot(model)
    with pytest.raises(
        TransferError, match=r"only in the model: 2.bias, .*4.weight; keep the model's own with fresh=\("
    ):
        ticket.apply(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    applied = ticket.apply(model, fresh=("[234].*",))
    assert sorted(applied.matched) == ["0.bias", "0.weight", "1.bias", "1.weight"]


def test_maps_by_hand():
    ticket = found(Net())
    model = Net("encoder", "out", classes=3)
    with pytest.raises(TransferError, match=r"every name is there with names=\{'body\.': 'encoder\.'\}"):
        ticket.apply(model)
    applied = ticket.apply(model, names={"body.": "encoder."})
    assert applied.fresh == ("out.bias", "out.weight") and name_changes(applied.names) == "names by a map"
    assert ticket.apply(model, names={"body.": "encoder.", "fc.": "out."}).left == ("fc.bias", "fc.weight")
    kept = ticket.apply(model, names={"body.": "encoder.", "fc.*": "out.*"}, head="sparse")
    assert kept.mask.counts["out.weight"] == ticket.mask.counts["fc.weight"] and kept.fresh == kept.left == ()
    wrapped = Wrapped(compiled(model))
    assert ticket.apply(wrapped, names={"body.": "encoder."}).mask.remaining == applied.mask.remaining
    # What a map does not say is found as without one.
    some = ticket.apply(Wrapped(Net()), names={"body.norm.": None}, fresh=("body.norm.*",))
    assert {"body.norm.bias", "body.norm.running_var"} < set(some.left)
    assert {"module.body.norm.bias", "module.fc.bias"} < set(some.fresh)


def test_what_is_asked_to_stay_fresh_stays_even_if_the_ticket_has_it():
    ticket, model = found(Net()), Net()
    model.body.second = nn.Linear(5, 5)
    before = snapshot(model)
    applied = ticket.apply(model, fresh=("body.second.*",))
    assert applied.left == ("body.second.bias", "body.second.weight", "fc.bias", "fc.weight") == applied.fresh
    assert list(applied.mask) == ["body.first.weight"]
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in applied.fresh)
    kept = ticket.apply(model, head="keep", fresh=("body.second.*",))
    assert kept.fresh == ("body.second.bias", "body.second.weight")


def _applied(ticket, model, optimizer, names=None, fresh=()):
    return ticket.apply(model, names=names, fresh=fresh)


DOES = pytest.mark.parametrize("do", [_applied, Ticket.attach], ids=["apply", "attach"])

NAMES = [
    ({"body.": "bdy."}, "names['body.'] sends 'body.first.bias' to a tensor that the model lacks"),
    ({"first.": "body."}, "names['first.'] matches no tensor of the ticket"),
    ({"body.first": None}, "names['body.first'] matches no tensor of the ticket"),
    ({"model.body.": "body."}, "it is a name in the model: the map goes from the ticket's names to the model's"),
    ({"body.first.bias": "model.body.second.bias"}, "only in the ticket: body.second.bias; only in the model: "),
    ({"*.bias": "model.body.first.bias"}, "must have the same number of stars"),
    ({"body.": "model.body"}, "a prefix goes to a prefix"),
    ({"body.*.bias": "model.body.first.bias*"}, "sends 'body.first.bias' to a tensor that the model lacks"),
    ({"body.first.bias": "scale", "body.norm.bias": "scale"}, "both go to 'scale'; give one of them None"),
    ({"body.": 3}, "expected text to text or None, got 'body.': 3"),
    ([("body.", "model.")], "expected a mapping from the ticket's names to the model's"),
    ({"body.norm.": None}, "only in the model: model.body.norm.bias"),
]


@pytest.mark.parametrize(("names", "words"), NAMES, ids=[str(names) for names, _ in NAMES])
@DOES
def test_a_bad_map_is_told_and_touches_nothing(names, words, do):
    ticket, model = found(Net()), Holder(Net())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = snapshot(model)
    with pytest.raises(TransferError) as caught:
        do(ticket, model, optimizer, names=names, fresh=("scale",))
    assert words in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_post_hooks and not optimizer._optimizer_step_pre_hooks


@DOES
def test_a_model_that_fits_by_half_is_not_half_written(do):
    ticket, model = found(Net()), Wrapped(Net())
    del model.module.body.norm
    model.module.body.extra = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = snapshot(model)
    with pytest.raises(TransferError) as caught:
        do(ticket, model, optimizer)
    assert "only in the ticket: body.norm.bias, body.norm.num_batches_tracked" in str(caught.value)
    assert "only in the model: module.body.extra.bias, module.body.extra.weight;" in str(caught.value)
    assert "names={'body.norm.': None}, keep the model's own with fresh=('module.body.extra.*',)" in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_post_hooks
    ticket.apply(model, names={"body.norm.": None}, fresh=("body.extra.*",))


def test_fresh_patterns_that_mean_nothing_are_refused():
    ticket, model = found(Net()), Net()
    with pytest.raises(
        TransferError, match=r"fresh: 'pooler\.\*' matches no tensor of the model, which has body.first.bias"
    ):
        ticket.apply(model, fresh=("pooler.*",))
    with pytest.raises(TransferError, match="expected a sequence of patterns"):
        ticket.apply(model, fresh="fc.*")
    headless = dataclasses.replace(ticket, contract=Contract(rewind="0it", step=0))
    with pytest.raises(TransferError, match="names no head, so nothing can be left fresh; use head='keep'"):
        headless.apply(model)
    assert headless.apply(model, fresh=("fc.*",)).left == ("fc.bias", "fc.weight")


def test_a_model_whose_own_part_is_called_module_keeps_that_name():
    model = nn.ModuleDict({"module": nn.Linear(2, 2), "inner": nn.ModuleDict({"module": nn.Linear(2, 2)})})
    ticket = found(model, head=())
    assert name_changes(ticket.apply(model, head="keep").names) == ""
    both = nn.ModuleDict({"a": nn.Linear(2, 2)})
    both["module"] = nn.ModuleDict({"a": nn.Linear(2, 2)})
    assert name_changes(found(both, head=()).apply(nn.Sequential(both), head="keep").names) == "names behind '0.'"


def test_the_rules_in_their_order():
    assert match(["w"], {"w": 0, "module.w": 1}) == {"w": "w"}
    assert match(["w"], {"module.w": 0, "a.w": 1}) == {"w": "module.w"}
    assert match(["w", "head"], {"a.w": 0, "head": 1}, optional=["head"]) == {"w": "a.w"}
    assert match(["w", "head"], {"a.w": 0, "a.head": 1}, optional=["head"]) == {"w": "a.w", "head": "a.head"}
    assert match(["a.w", "a.v"], {"w": 0, "v": 1, "b.w": 2}) == {"a.w": "w", "a.v": "v"}
    assert match(["w", "v", "u"], {"a.w": 0, "a.v": 1, "b.u": 2}) == {"w": "a.w", "v": "a.v"}
    assert match([], {"w": 0}) == {}
    assert match(["w"], {}) == {}
    with pytest.raises(GuardError, match=r"without 'a\.' and behind 'b\.'|behind 'b\.' and without 'a\.'"):
        match(["a.w"], {"w": 0, "b.a.w": 1}, error=GuardError)


def test_words_for_maps():
    assert name_changes({"a.w": "w", "a.v": "v"}) == "names without 'a.'"
    assert name_changes({"w": "module.w", "v": "v"}) == "names but for wrappers"
    assert hint(["a.w", "b.w"], ["c.w"]) == "" and hint(["a.w"], ["b.w", "c.w"]) == ""
    assert hint(["x.a.w", "x.a.v"], ["module.y.a.w", "y._orig_mod.a.v"]) == "names={'x.': 'y.'}"
    assert shared_module(["a.b.w"]) == "a.b." and shared_module(["w", "a.w"]) == ""
    stars = given({"*.h.*.w": "t.*.*.v", "x": "y"}, ["g.h.3.w", "x"], ["t.g.3.v", "module.y"])
    assert stars == {"g.h.3.w": "t.g.3.v", "x": "module.y"}
    assert given({"": "b.", "a.": "c."}, ["a.w", "w"], ["b.w", "c.w", "b.a.w"]) == {"a.w": "c.w", "w": "b.w"}
    assert given({"": "b."}, ["w", "top"], ["b.w"], optional=["top"]) == {"w": "b.w", "top": None}


SHARDED = """
from oneticket.ground.errors import TransferError
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

def network(classes=3):
    return nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)), nn.Linear(1, classes))

torch.manual_seed(0)
source = network().state_dict()
mask = Mask({"0.0.weight": source["0.0.weight"] > 0, "0.2.weight": source["0.2.weight"] > 0})
ticket = Ticket(mask=mask, weights=source, contract=Contract(rewind="0it", step=0, head=("1.weight", "1.bias")))

torch.manual_seed(1)
model = network()
before = {name: value.clone() for name, value in model.state_dict().items()}
mesh = init_device_mesh("cpu", (2,))
fully_shard(model[0], mesh=mesh, reshard_after_forward=False)
fully_shard(model, mesh=mesh)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
model(torch.ones(4, 6)).sum().backward()
optimizer.zero_grad()

def whole():
    return {name: value.full_tensor() for name, value in model.state_dict().items()}

# One rank has another ticket: nobody waits for ever, and nothing is touched.
words = []
try:
    ticket.attach(model, optimizer, names={"0.": "1."} if RANK else None)
except (TransferError, GuardError) as error:
    words.append(type(error).__name__ + ": " + str(error))
untouched = all(torch.equal(value, before[name]) for name, value in whole().items())

carried = ticket.apply(model)
written = all(torch.equal(whole()[goal], ticket.weights[name]) for name, goal in carried.names.items())
fresh = all(torch.equal(whole()[name], before[name]) for name in carried.fresh)
with ticket.attach(model, optimizer) as guard:
    for _ in range(3):
        model(torch.ones(4, 6)).sum().backward()
        optimizer.step()
        guard.audit()
tell(words=words, untouched=untouched, written=written, fresh=fresh, names=list(carried.fresh),
     dead=sum(float(whole()[name][~mask[name]].abs().sum()) for name in mask))
"""


@pytest.mark.slow
@NEEDS
def test_a_ticket_is_written_into_shards_and_a_rank_that_refuses_tells_the_other(tmp_path):
    for said in answers_of_ranks(SHARDED, tmp_path):
        words = said.pop("words")
        assert said == {"untouched": True, "written": True, "fresh": True, "names": ["1.bias", "1.weight"], "dead": 0.0}
        assert words[0].startswith("GuardError: the ranks do not agree, and nothing was written") and len(words) == 1
        assert "rank 1: WrongTransferError: names['0.'] sends '0.0.bias' to a tensor that the model lacks" in words[0]
