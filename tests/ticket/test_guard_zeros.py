"""What the guard takes for zero without looking: it must be zero, whatever writes, and it must be worth the trust."""

import gc
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn, optim
from torch.optim.optimizer import register_optimizer_step_pre_hook

from oneticket.ground.errors import GuardError
from oneticket.guard.guard import attach
from oneticket.guard.optimizer_state import ELEMENTWISE, keeps_zeros
from oneticket.guard.parameter_guard import ParameterGuard
from oneticket.guard.stepping import SWEEP
from oneticket.guard.zero import WORDS, zero
from oneticket.ticket.mask import Mask

pytestmark = pytest.mark.usefixtures("passes")

LIVING = torch.arange(30).reshape(5, 6) % 3 == 0
DECAYED = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "sgd fused": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
    "adam fused": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1, fused=True),
}


def pair(optimizer):
    model = nn.Linear(6, 5)
    return model, optimizer(model.parameters())


def backward(model):
    model.zero_grad()
    model(torch.randn(4, 6)).square().mean().backward()


def bits(tensor):
    return tensor.detach().contiguous().view(WORDS[tensor.dtype])


def write(tensor):
    with torch.no_grad():
        tensor.add_(1.0)


def write_window(tensor):
    with torch.no_grad():
        tensor.view(-1)[7:9].fill_(2.0)


def write_unknown(tensor):
    tensor.detach().numpy()[:] = 3.0


WRITES = {
    "counted": write,
    "counted, through a window": write_window,
    "counted, in inference mode": torch.inference_mode()(lambda tensor: tensor.mul_(2).add_(1)),
    "by .data": lambda tensor: tensor.data.fill_(1.0),
    "by numpy": write_unknown,
    "nan by .data": lambda tensor: tensor.data.fill_(torch.nan),
}


@pytest.mark.parametrize("what", ["weights", "gradient", "moment"])
@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("row", DECAYED)
def test_whatever_writes_between_two_steps_is_zero_after_the_next(row, how, what):
    """Weight decay would bring other weights into the moments; the remaining weights are never touched."""
    model, optimizer = pair(DECAYED[row])
    guard = attach(model, optimizer, {"weight": LIVING})
    for _ in range(3):
        backward(model)
        optimizer.step()
    backward(model)
    moment = next(m for m in optimizer.state[model.weight].values() if m.shape == (5, 6))
    WRITES[how]({"weights": model.weight, "gradient": model.weight.grad, "moment": moment}[what])
    optimizer.step()
    guard.audit()
    assert not torch.signbit(model.weight[~LIVING]).any()
    assert model.weight[LIVING].all()


@pytest.mark.parametrize("what", ["weights", "moment"])
@pytest.mark.parametrize("first", ["weight", "bias"])
def test_a_single_entry_written_unseen_is_told_by_the_audit_and_swept_soon(what, first):
    model = nn.Linear(6, 5)
    parameters = sorted(model.named_parameters(), key=lambda named: named[0] != first)
    optimizers = [optim.SGD([parameter], lr=0.1, momentum=0.9) for _, parameter in parameters]
    guard = attach(model, optimizers, {"weight": LIVING})

    def step():
        backward(model)
        for optimizer in optimizers:
            optimizer.step()

    step()
    moment = next(each.state[model.weight] for each in optimizers if model.weight in each.state)["momentum_buffer"]
    (model.weight if what == "weights" else moment).data[4, 4] = 1.0
    with pytest.raises(GuardError, match="not zero: 1"):
        guard.audit()
    for _ in range(SWEEP):
        step()
    guard.audit()


def test_a_storage_exchanged_by_data_is_seen():
    model, optimizer = pair(DECAYED["adam"])
    guard = attach(model, optimizer, {"weight": LIVING})
    backward(model)
    optimizer.step()
    nn.utils.vector_to_parameters(torch.ones(35), model.parameters())
    backward(model)
    optimizer.step()
    guard.audit()


def closure_that_reloads(model, optimizer):
    def closure():
        backward(model)
        write(model.weight)
        return torch.tensor(0.0)

    optimizer.step(closure)


def hook_that_writes(model, optimizer):
    handle = optimizer.register_step_pre_hook(lambda *_: write(model.weight))
    optimizer.step()
    handle.remove()


def hook_on_every_optimizer(model, optimizer):
    handle = register_optimizer_step_pre_hook(lambda *_: write(model.weight.grad))
    optimizer.step()
    handle.remove()


@pytest.mark.parametrize("act", [closure_that_reloads, hook_that_writes, hook_on_every_optimizer])
@pytest.mark.parametrize("row", DECAYED)
def test_what_acts_within_the_step_is_zeroed_after_it(row, act):
    model, optimizer = pair(DECAYED[row])
    guard = attach(model, optimizer, {"weight": LIVING})
    for _ in range(2):
        backward(model)
        act(model, optimizer)
        guard.audit()


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        (lambda p: optim.Adam(p, lr=0.1, eps=0.0), torch.float32),
        (lambda p: optim.Adam(p, lr=0.1), torch.float16),
        (lambda p: optim.RMSprop(p, lr=0.1, eps=1e-46), torch.float32),
        (lambda p: optim.AdamW(p, lr=2.0, weight_decay=0.9), torch.float32),
        (lambda p: optim.SGD(p, lr=torch.tensor(0.1), momentum=0.9), torch.float32),
        (lambda p: optim.SGD(p, lr=torch.inf), torch.float32),
        (lambda p: optim.SGD(p, lr=0.1, weight_decay=torch.inf), torch.float64),
    ],
)
def test_settings_that_make_no_zero_of_zeros_are_not_trusted(optimizer, dtype):
    weight = nn.Parameter(torch.ones(5, 6, dtype=dtype))
    module, made = nn.ParameterDict({"w": weight}), optimizer([weight])
    guard = attach(module, made, {"w": LIVING})
    for _ in range(3):
        weight.grad = torch.full_like(weight, 0.5)
        made.step()
        guard.audit()
        assert not torch.signbit(weight[~LIVING]).any()


@pytest.mark.parametrize("kind", sorted(ELEMENTWISE, key=lambda kind: kind.__name__))
def test_a_step_that_keeps_zeros_is_left_alone(kind):
    """The control of the trust: a guarded weight is written by its optimizer and by nobody else."""
    made = {}
    for guarded in (False, True):
        model, optimizer = pair(lambda p: kind(p, lr=0.01))
        backward(model)
        optimizer.step()
        if guarded:
            attach(model, optimizer, {"weight": LIVING})
        backward(model)
        before, gradient = model.weight._version, model.weight.grad._version
        optimizer.step()
        assert keeps_zeros(optimizer, (*optimizer._optimizer_step_pre_hooks,)) == guarded
        made[guarded] = model.weight._version - before, model.weight.grad._version - gradient
    assert made[True] == made[False]


def test_optimizers_are_not_trusted_by_their_kind_alone():
    class Mine(optim.SGD):
        pass

    model, optimizer = pair(lambda p: Mine(p, lr=0.1))
    attach(model, optimizer, {"weight": LIVING})
    assert not keeps_zeros(optimizer, (*optimizer._optimizer_step_pre_hooks,))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, of itself
def test_a_compiled_step_is_held():
    model, optimizer = pair(DECAYED["adam"])
    guard = attach(model, optimizer, {"weight": LIVING})
    step = torch.compile(optimizer.step, backend="eager")
    for _ in range(3):
        backward(model)
        step()
        guard.audit()


def strided(shape, dtype, order):
    """Noise, NaN, infinity and -0.0 that lie in memory as told."""
    values = torch.randn(shape).to(dtype)
    values.flatten()[:3] = torch.tensor([torch.nan, -torch.inf, -0.0])
    values.view(-1)[:: len(values.view(-1)) // 7] = torch.nan
    match order:
        case "channels_last":
            return values.to(memory_format=torch.channels_last)
        case "transposed":
            return values.transpose(0, 1).contiguous().transpose(0, 1)
        case "gaps":
            return torch.stack([values, values], -1)[..., 0]
    return values


@pytest.mark.parametrize("dtype", WORDS)
@pytest.mark.parametrize("like", ["contiguous", "channels_last", "transposed", "gaps"])
@pytest.mark.parametrize("order", ["contiguous", "channels_last", "transposed", "gaps"])
def test_tensors_of_several_blocks_are_zeroed_to_the_bit_however_they_lie(passes, dtype, like, order):
    shape = (40, 33, 5, 31)
    remaining = torch.rand(shape) < 0.3
    hold = ParameterGuard(strided(shape, dtype, like), remaining)
    tensor = strided(shape, dtype, order)
    before = bits(tensor).clone()
    version = tensor._version
    zero(tensor, hold.keep, room=2**14 if passes == "torch" else None)
    assert tensor._version > version, "autograd is told"
    assert tensor.numel() * tensor.element_size() > 10 * 2**14
    assert torch.equal(bits(tensor), before * remaining)


@pytest.mark.parametrize("size", [300, 1600])
def test_the_guard_keeps_a_byte_per_weight(size):
    def total():
        gc.collect()
        tensors = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, nn.Parameter)]
        storages = [tensor.untyped_storage() for tensor in tensors if tensor.layout == torch.strided]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    model = nn.Linear(size, size, bias=False)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    mask = Mask({"weight": torch.arange(size**2).reshape(size, size) % 2 == 0})
    before = total()
    guard = attach(model, optimizer, mask)
    kept = total() - before
    model(torch.ones(1, size)).sum().backward()
    optimizer.step()
    assert guard.audit().total == mask.total
    assert mask.total <= kept <= mask.total + 2**10


def test_kernels_are_loaded_where_a_process_makes_many_steps_and_at_once_where_numba_is_there():
    """In a process of its own: it takes what is missing for granted until then, and gives the same bits."""
    code = """
import sys, torch
from oneticket.guard import zero
from oneticket.guard.guard import attach
weight = torch.nn.Parameter(torch.ones(50))
optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
guard = attach(torch.nn.ParameterDict({"w": weight}), optimizer, {"w": torch.arange(50) % 2 == 0})
zero.LOADING = 3 * zero.SAVED_A_TENSOR
for step in range(70):
    weight.square().sum().backward()
    optimizer.step()
    guard.audit()
    print(step, "numba" in sys.modules, bool(zero._KERNELS))
"""
    if find_spec("numba") is None:
        pytest.skip("numba is not here")
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split("\n")
    assert said[0] == "0 False False"
    assert said[69] == "69 True True"
