import dataclasses

import pytest
import torch
from torch import nn

from oneticket.apply.apply import plan
from oneticket.ground.errors import TransferError
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket


class Net(nn.Module):
    """A body with BatchNorm, a head, and a buffer that is not saved."""

    def __init__(self, classes: int = 4, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(3, 8, 3, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.fc = nn.Linear(8, classes)
        self.register_buffer("scratch", torch.zeros(1), persistent=False)

    def forward(self, images):
        return self.fc(self.norm(self.conv(images)).relu().mean((2, 3)))


HEAD = ("fc.weight", "fc.bias")


def found(classes: int = 4, *, masked: tuple[str, ...] = ("conv.weight", "fc.weight")) -> Ticket:
    source = Net(classes, seed=1)
    source.norm.running_var.fill_(2.5)
    source.norm.num_batches_tracked.fill_(7)
    weights = source.state_dict()
    mask = Mask({name: weights[name] > 0 for name in masked})
    return Ticket(mask=mask, weights=weights, contract=Contract(rewind="0it", step=0, head=HEAD))


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def equal(a, b, names) -> bool:
    return all(torch.equal(a[name], b[name]) for name in names)


BODY = ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked")


@pytest.mark.parametrize(
    ("head", "matched", "fresh", "held"),
    [
        ("fresh", BODY, HEAD, ["conv.weight"]),
        ("keep", BODY + HEAD, (), ["conv.weight"]),
        ("sparse", BODY + HEAD, (), ["conv.weight", "fc.weight"]),
    ],
)
def test_the_head_is_as_asked_and_the_rest_is_the_ticket(head, matched, fresh, held):
    ticket, model = found(), Net()
    before = snapshot(model)
    applied = ticket.apply(model, head=head)
    after = model.state_dict()
    assert equal(after, ticket.weights, matched)
    assert equal(after, before, fresh)
    assert sorted(applied.matched) == sorted(matched)
    assert sorted(applied.fresh) == sorted(applied.left) == sorted(fresh)
    assert list(applied.mask) == held
    assert applied.mask == plan(ticket, model, head=head).mask
    assert applied.names == {name: name for name in matched}
    assert applied.density == applied.mask.density
    assert f"transferred {len(matched)} tensors" in str(applied)


def test_another_number_of_classes_is_no_matter_with_a_fresh_head():
    ticket, model = found(classes=4), Net(classes=10)
    applied = ticket.apply(model)
    assert equal(model.state_dict(), ticket.weights, BODY)
    assert applied.fresh == ("fc.bias", "fc.weight")
    with pytest.raises(TransferError, match=r"fc.weight: ticket \(4, 8\), model \(10, 8\)"):
        ticket.apply(model, head="keep")


def test_the_model_keeps_its_objects_dtype_layout_and_flags():
    model = Net().to(torch.bfloat16).to(memory_format=torch.channels_last)
    model.conv.weight.requires_grad_(False)
    before = {
        name: (id(value), value.dtype, value.stride()) for name, value in model.state_dict(keep_vars=True).items()
    }
    ticket = found()
    ticket.apply(model, head="keep")
    assert before == {
        name: (id(value), value.dtype, value.stride()) for name, value in model.state_dict(keep_vars=True).items()
    }
    assert torch.equal(model.conv.weight, ticket.weights["conv.weight"].to(torch.bfloat16))
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_model_on_another_device_stays_there():
    ticket, model = found(), Net().cuda().half()
    applied = ticket.apply(model)
    assert {value.device.type for value in model.state_dict().values()} == {"cuda"}
    assert torch.equal(model.conv.weight.cpu(), ticket.weights["conv.weight"].half())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with ticket.attach(model, optimizer) as guard:
        model(torch.ones(2, 3, 5, 5, device="cuda", dtype=torch.float16)).square().sum().backward()
        optimizer.step()
        assert guard.audit().remaining == applied.mask.remaining


def test_attach_holds_what_apply_transferred():
    for head, held in (("fresh", 1), ("keep", 1), ("sparse", 2)):
        model, ticket = Net(), found()
        applied = ticket.apply(model, head=head)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        with ticket.attach(model, optimizer, head=head) as guard:
            model(torch.ones(2, 3, 5, 5)).square().sum().backward()
            optimizer.step()
            assert guard.audit().parameters == held
            assert guard.mask == applied.mask


def without_norm(model: nn.Module) -> nn.Module:
    del model.norm
    return model


def deeper(model: nn.Module) -> nn.Module:
    model.extra = nn.Linear(2, 2)
    return model


def lazy(model: nn.Module) -> nn.Module:
    model.fc = nn.LazyLinear(4)
    return model


def sparse(model: nn.Module) -> nn.Module:
    model.conv.weight = nn.Parameter(model.conv.weight.detach().to_sparse())
    return model


def imaginary(model: nn.Module) -> nn.Module:
    model.conv.weight = nn.Parameter(model.conv.weight.detach().to(torch.complex64))
    return model


def expanded(model: nn.Module) -> nn.Module:
    model.norm.running_mean = torch.zeros(1).expand(8)
    return model


def inferred(model: nn.Module) -> nn.Module:
    with torch.inference_mode():
        model.norm.running_mean = torch.zeros(8)
    return model


@pytest.mark.parametrize(
    ("change", "head", "words"),
    [
        (without_norm, "fresh", "only in the ticket: norm.bias, norm.num_batches_tracked"),
        (without_norm, "fresh", "only in the model: none; leave the ticket's out with names={'norm.': None}"),
        (deeper, "fresh", "only in the model: extra.bias, extra.weight; keep the model's own with fresh=('extra.*',)"),
        (lambda model: model.to("meta"), "fresh", "materialise it first"),
        (lazy, "keep", "materialise it first"),
        (lambda model: setattr(model, "conv", nn.Conv2d(1, 8, 3, bias=False)) or model, "fresh", "ticket (8, 3, 3, 3)"),
        (lambda model: setattr(model.norm, "running_var", torch.ones(8).int()) or model, "fresh", "model torch.int32"),
        (imaginary, "fresh", "conv.weight: ticket torch.float32, model torch.complex64"),
        (sparse, "fresh", "conv.weight: the model's tensor (torch.sparse_coo) is not one that can be written"),
        (expanded, "fresh", "norm.running_mean: the model's tensor (torch.strided) is not one that can be written"),
        (inferred, "fresh", "norm.running_mean: the model's tensor was made in inference mode"),
        (lambda model: model, "frsh", "unknown head policy 'frsh'; did you mean 'fresh'?"),
    ],
)
def test_a_misfit_is_told_from_both_sides_and_touches_nothing(change, head, words):
    model = change(Net())
    held = {n: v for n, v in model.state_dict().items() if not nn.parameter.is_lazy(v) and not v.is_meta}
    before = {name: value.clone() for name, value in held.items()}
    with pytest.raises(TransferError) as caught:
        found().apply(model, head=head)
    assert words in str(caught.value)
    assert all(torch.equal(value.to_dense(), before[name].to_dense()) for name, value in held.items())


def test_values_that_the_models_dtype_cannot_hold_are_refused():
    ticket, model = found(), Net().half()
    before = snapshot(model)
    large = dataclasses.replace(ticket, weights={**ticket.weights, "norm.running_var": torch.full((8,), 1e6)})
    with pytest.raises(
        TransferError, match=r"norm.running_var: values of the ticket's torch.float32 are too large for"
    ):
        large.apply(model)
    counted = dataclasses.replace(ticket, weights={**ticket.weights, "norm.num_batches_tracked": torch.tensor(2**40)})
    small = Net()
    small.norm.num_batches_tracked = small.norm.num_batches_tracked.int()
    with pytest.raises(
        TransferError, match=r"num_batches_tracked: values of the ticket's torch.int64 are too large for"
    ):
        counted.apply(small)
    assert equal(model.state_dict(), before, before)
    ticket.apply(model)
    assert torch.equal(model.conv.weight, ticket.weights["conv.weight"].half())
    assert model.norm.running_var.dtype == torch.float16


def test_head_policies_that_the_ticket_cannot_honour_are_refused():
    with pytest.raises(TransferError, match="no mask on its head"):
        found(masked=("conv.weight",)).apply(Net(), head="sparse")
    headless = dataclasses.replace(found(), contract=Contract(rewind="0it", step=0))
    with pytest.raises(TransferError, match="names no head, so nothing can be left fresh; use head='keep'"):
        headless.apply(Net())
    assert headless.apply(Net(), head="keep").mask == headless.mask


def test_a_model_that_another_ticket_guards_is_left_alone():
    ticket, model = found(), Net()
    applied = ticket.apply(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other = dataclasses.replace(ticket, mask=Mask({"conv.weight": ticket.mask["conv.weight"].flip(0)}))
    with ticket.attach(model, optimizer) as guard:
        model(torch.ones(2, 3, 5, 5)).square().sum().backward()
        optimizer.step()
        before = snapshot(model)
        with pytest.raises(TransferError, match=r"conv.weight: held by Guard\(.*with another mask; detach it first"):
            other.apply(model)
        with pytest.raises(TransferError, match="detach it first"):
            dataclasses.replace(ticket, mask=Mask({})).apply(nn.Sequential(model))
        assert equal(model.state_dict(), before, before)
        # Its own ticket may be written again: that is rewinding.
        assert ticket.apply(model).mask == applied.mask
        assert equal(model.state_dict(), ticket.weights, BODY)
        guard.audit()
    other.apply(model)
    assert equal(model.state_dict(), other.weights, BODY)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight


def test_tied_parameters_must_get_one_value():
    contract = Contract(rewind="0it", step=0)
    one, other = torch.eye(3), torch.ones(3, 3)
    model = Tied()
    Ticket(mask=Mask({}), weights={"a.weight": one, "b.weight": one}, contract=contract).apply(model, head="keep")
    assert torch.equal(model.a.weight, one)
    with pytest.raises(TransferError, match=r"b.weight: tied to a.weight in the model"):
        Ticket(mask=Mask({}), weights={"a.weight": one, "b.weight": other}, contract=contract).apply(model, head="keep")
    assert torch.equal(model.a.weight, one)


@pytest.mark.parametrize("masked", ["a.weight", "b.weight"])
def test_a_mask_on_one_name_of_a_tied_tensor_is_meant_for_both(masked):
    model, mask = Tied(), Mask({masked: torch.eye(3).bool()})
    ticket = Ticket(mask=mask, weights=model.state_dict(), contract=Contract(rewind="0it", step=0))
    expected = model.a.weight.detach() * torch.eye(3)
    applied = ticket.apply(model, head="keep")
    assert torch.equal(model.a.weight, expected)
    assert applied.matched == ("a.weight", "b.weight") and applied.mask == mask


def test_what_the_model_ties_needs_one_name_in_the_ticket_and_cannot_be_half_fresh():
    contract = Contract(rewind="0it", step=0, head=("b.weight",))
    model = Tied()
    applied = Ticket(mask=Mask({}), weights={"a.weight": torch.eye(3)}, contract=dataclasses.replace(contract, head=()))
    assert applied.apply(model, head="keep").matched == ("a.weight", "b.weight")
    assert torch.equal(model.b.weight, torch.eye(3))
    both = Ticket(
        mask=Mask({}), weights={"a.weight": torch.ones(3, 3), "b.weight": torch.ones(3, 3)}, contract=contract
    )
    # b is the output layer, and its tensor is a's too: it is carried for that role.
    applied = both.apply(model)
    assert applied.matched == ("a.weight", "b.weight") and applied.fresh == applied.left == ()
    assert torch.equal(model.b.weight, torch.ones(3, 3))
    with pytest.raises(TransferError) as caught:
        both.apply(model, fresh=("b.*",))
    assert "b.weight cannot stay fresh alone" in str(caught.value)
    before = model.a.weight.detach().clone()
    line = str(caught.value).partition("fresh=")[2].partition(", or")[0]
    with pytest.raises(TransferError, match="nothing of the ticket goes into the model"):
        both.apply(model, fresh=eval(line))  # all that this model has
    assert line == "('a.weight', 'b.weight')" and torch.equal(model.a.weight, before)


def test_tensors_that_share_memory_but_are_not_one_are_refused():
    model = Tied()
    model.b.weight = nn.Parameter(torch.zeros(3, 3))
    model.b.weight.data = model.a.weight.data
    before = model.a.weight.detach().clone()
    weights = {"a.weight": torch.ones(3, 3), "b.weight": torch.zeros(3, 3)}
    ticket = Ticket(mask=Mask({}), weights=weights, contract=Contract(rewind="0it", step=0))
    with pytest.raises(TransferError, match=r"b.weight: shares the memory of a.weight, but is another tensor"):
        ticket.apply(model, head="keep")
    assert torch.equal(model.a.weight, before)
    model.b.weight.data = torch.zeros(3, 3)
    ticket.apply(model, head="keep")
    flat = torch.zeros(18)
    model.a.weight.data, model.b.weight.data = flat[:9].view(3, 3), flat[9:].view(3, 3)
    assert ticket.apply(model, head="keep").matched == ("a.weight", "b.weight")
