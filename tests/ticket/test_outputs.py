"""Where outputs come from: heads of networks of many kinds, and looking at them without leaving a trace."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from oneticket.apply.graph import Found
from oneticket.apply.outputs import read, traced
from oneticket.apply.watch import Watch
from oneticket.ground.errors import ModelError

Linear = nn.Linear


class Net(nn.Module):
    """Parts by name, and what to do with them."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Any, **more: Any) -> Any:
        return self.run(self, *inputs, **more)


def tied(model: nn.Module, one: str, other: str) -> nn.Module:
    model.get_submodule(other).weight = model.get_submodule(one).weight
    return model


def frozen(model: nn.Module, *names: str) -> nn.Module:
    for name in names:
        model.get_submodule(name).requires_grad_(False)
    return model


def fed_back(net: Net, rows: Tensor) -> Tensor:
    """An output that is fed back into the state that the next one is made of."""
    state, made = torch.zeros(len(rows), 3), []
    for at in range(3):
        state = torch.tanh(net.into(rows[:, at]) + net.state(state))
        made.append(net.out(state))
        state = state + net.back(made[-1].softmax(1))
    return torch.stack(made, 1)


@dataclass
class Answer:
    logits: Tensor
    features: Any


def residual(net: Net, rows: Tensor) -> Tensor:
    return (rows := net.a(rows)) + net.b(rows).relu()


def pyramid(net: Net, images: Tensor) -> Any:
    levels = [fine := net.body(images), fine[..., ::2, ::2]]
    return [net.cls(level) for level in levels], [net.box(level) for level in levels]


ROWS, IMAGES, WORDS = torch.ones(4, 4), torch.ones(1, 1, 8, 8), torch.arange(6).view(2, 3)


def point(count: int = 3) -> nn.Parameter:
    return nn.Parameter(torch.rand(count, 5))


KINDS: dict[str, tuple[Callable[[], nn.Module], Any, tuple[tuple[str, ...], ...]]] = {
    "registered first": (
        lambda: Net(lambda s, x: s.out(s.a(x).relu()), out=Linear(5, 3), a=Linear(4, 5)),
        ROWS,
        (("out.weight", "out.bias"),),
    ),
    "behind a norm, a scale, a softmax": (
        lambda: Net(
            lambda s, x: F.softmax(s.n(s.b(s.a(x))) * s.g, 1).view(-1),
            a=Linear(4, 5),
            b=Linear(5, 3),
            n=nn.BatchNorm1d(3),
            g=nn.Parameter(torch.ones(1)),
        ),
        ROWS,
        (
            (
                "g",
                "b.weight",
                "b.bias",
                "n.weight",
                "n.bias",
                "n.running_mean",
                "n.running_var",
                "n.num_batches_tracked",
            ),
        ),
    ),
    "two in a tuple": (
        lambda: Net(lambda s, x: (s.b(x), s.c(x)), c=Linear(4, 2), b=Linear(4, 3)),
        ROWS,
        (("b.weight", "b.bias"), ("c.weight", "c.bias")),
    ),
    "a dict of tasks in a ModuleDict": (
        lambda: Net(
            lambda s, x: {k: t(s.a(x)) for k, t in s.tasks.items()},
            a=Linear(4, 5),
            tasks=nn.ModuleDict({"x": Linear(5, 2), "y": Linear(5, 9)}),
        ),
        ROWS,
        (("tasks.x.weight", "tasks.x.bias"), ("tasks.y.weight", "tasks.y.bias")),
    ),
    "a list": (
        lambda: Net(lambda s, x: [t(x) for t in s.t], t=nn.ModuleList([Linear(4, 2), Linear(4, 2)])),
        ROWS,
        (("t.0.weight", "t.0.bias"), ("t.1.weight", "t.1.bias")),
    ),
    "a dataclass with features": (
        lambda: Net(lambda s, x: Answer(logits=s.b(h := s.a(x)), features=[h]), a=Linear(4, 5), b=Linear(5, 3)),
        ROWS,
        (("b.weight", "b.bias"),),
    ),
    "an object of torch": (
        lambda: Net(
            lambda s, x: (torch.distributions.Categorical(logits=s.pi(h := s.a(x))), s.v(h)),
            a=Linear(4, 5),
            pi=Linear(5, 3),
            v=Linear(5, 1),
        ),
        ROWS,
        (("pi.weight", "pi.bias"), ("v.weight", "v.bias")),
    ),
    "segmentation with an auxiliary head": (
        lambda: Net(
            lambda s, x: {"out": F.interpolate(s.main(h := s.body(x)), scale_factor=2), "aux": s.aux(h)},
            aux=nn.Conv2d(4, 3, 1),
            body=nn.Conv2d(1, 4, 3),
            main=nn.Conv2d(4, 3, 1),
        ),
        IMAGES,
        (("main.weight", "main.bias"), ("aux.weight", "aux.bias")),
    ),
    "a detector with heads shared by levels": (
        lambda: Net(
            pyramid,
            body=nn.Conv2d(1, 4, 3),
            cls=nn.Conv2d(4, 3, 1),
            box=nn.Conv2d(4, 4, 1),
        ),
        IMAGES,
        (("cls.weight", "cls.bias"), ("box.weight", "box.bias")),
    ),
    "queries": (
        lambda: Net(
            lambda s, x: {"logits": s.c(h := s.dec(s.q.expand(4, -1, -1), x[:, None])), "boxes": s.m(h)},
            q=nn.Parameter(torch.rand(1, 2, 4)),
            dec=nn.TransformerDecoderLayer(4, 2, 8, batch_first=True),
            c=Linear(4, 3),
            m=Linear(4, 4),
        ),
        ROWS,
        (("c.weight", "c.bias"), ("m.weight", "m.bias")),
    ),
    "wide and deep": (
        lambda: Net(lambda s, x: s.b(s.a(x)) + s.w(x), w=Linear(4, 3), a=Linear(4, 5), b=Linear(5, 3)),
        ROWS,
        (("w.weight", "w.bias", "b.weight", "b.bias"),),
    ),
    "an autoencoder with samples": (
        lambda: Net(lambda s, x: (s.dec((m := s.mu(x)) + torch.randn(4, 2)), m), mu=Linear(4, 2), dec=Linear(2, 4)),
        ROWS,
        (("dec.weight", "dec.bias"),),
    ),
    "a residual stream": (lambda: Net(residual, a=Linear(4, 3), b=Linear(3, 3)), ROWS, ()),
    "fed back": (
        lambda: Net(fed_back, into=Linear(4, 3), state=Linear(3, 3), out=Linear(3, 2), back=Linear(2, 3)),
        torch.rand(2, 3, 4),
        (("out.weight", "out.bias"),),
    ),
    "recurrent": (
        lambda: nn.Sequential(nn.LSTM(4, 3)),
        torch.rand(2, 3, 4),
        (("0.weight_ih_l0", "0.weight_hh_l0", "0.bias_ih_l0", "0.bias_hh_l0"),),
    ),
    "a tied LSTM": (
        lambda: tied(
            Net(lambda s, x: s.out(s.rnn(s.emb(x))[0]), emb=nn.Embedding(6, 5), rnn=nn.LSTM(5, 5), out=Linear(5, 6)),
            "emb",
            "out",
        ),
        WORDS,
        (("out.weight", "out.bias"),),
    ),
    "tied by use": (
        lambda: Net(lambda s, x: F.linear(s.a(s.emb(x)), s.emb.weight), emb=nn.Embedding(6, 5), a=Linear(5, 5)),
        WORDS,
        ((),),
    ),
    "an autoencoder tied by use": (
        lambda: Net(
            lambda s, x: F.linear(s.a(x).relu(), s.a.weight.t(), s.bias),
            a=Linear(4, 3),
            bias=nn.Parameter(torch.zeros(4)),
        ),
        ROWS,
        (("bias",),),
    ),
    "tied to a hidden layer": (
        lambda: tied(Net(lambda s, x: s.b(s.a(x).relu()), b=Linear(4, 4), a=Linear(4, 4)), "a", "b"),
        ROWS,
        (("b.weight", "b.bias"),),
    ),
    "prototypes": (lambda: Net(lambda s, x: -torch.cdist(s.a(x), s.p), a=Linear(4, 5), p=point()), ROWS, (("p",),)),
    "distances by hand": (
        lambda: Net(lambda s, x: (s.a(x)[:, None] - s.p).pow(2).sum(-1), a=Linear(4, 5), p=point()),
        ROWS,
        (("p",),),
    ),
    "products by hand": (
        lambda: Net(lambda s, x: (s.a(x)[:, None] * s.p).sum(-1), a=Linear(4, 5), p=point()),
        ROWS,
        (("p",),),
    ),
    "cosines": (
        lambda: Net(lambda s, x: F.normalize(s.a(x)) @ F.normalize(s.p).T, a=Linear(4, 5), p=point()),
        ROWS,
        (("p",),),
    ),
    "einsum": (
        lambda: Net(lambda s, x: torch.einsum("bi,oi->bo", s.a(x), s.p), a=Linear(4, 5), p=point()),
        ROWS,
        (("p",),),
    ),
    "normed inputs": (
        lambda: nn.Sequential(nn.BatchNorm1d(4), Linear(4, 5), nn.ReLU(), Linear(5, 3)),
        ROWS,
        (("3.weight", "3.bias"),),
    ),
    "class token": (
        lambda: Net(
            lambda s, x: s.out(s.enc(torch.cat([s.cls.expand(4, -1, -1), s.p(x)[:, None]], 1) + s.pos)[:, 0]),
            out=Linear(4, 3),
            cls=nn.Parameter(torch.zeros(1, 1, 4)),
            pos=nn.Parameter(torch.zeros(1, 2, 4)),
            p=Linear(4, 4),
            enc=nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        ),
        ROWS,
        (("out.weight", "out.bias"),),
    ),
    "weight norm": (
        lambda: nn.Sequential(Linear(4, 5), parametrizations.weight_norm(Linear(5, 3, bias=False))),
        ROWS,
        (("1.parametrizations.weight.original0", "1.parametrizations.weight.original1"),),
    ),
    "spectral norm": (
        lambda: nn.Sequential(Linear(4, 5), parametrizations.spectral_norm(Linear(5, 3, bias=False))),
        ROWS,
        (("1.parametrizations.weight.original", "1.parametrizations.weight.0._u", "1.parametrizations.weight.0._v"),),
    ),
    "pruned by torch": (
        lambda: nn.Sequential(Linear(4, 5), nn.utils.prune.l1_unstructured(Linear(5, 3, bias=False), "weight", 0.5)),
        ROWS,
        (("1.weight_orig", "1.weight_mask"),),
    ),
    "checkpointed": (
        lambda: Net(lambda s, x: s.b(checkpoint(s.a, x, use_reentrant=False)), a=Linear(4, 5), b=Linear(5, 3)),
        ROWS,
        (("b.weight", "b.bias"),),
    ),
    "an adapter beside a frozen layer": (
        lambda: frozen(
            Net(
                lambda s, x: s.b(h := s.a(x)) + s.up(s.down(h)),
                a=Linear(4, 5),
                b=Linear(5, 3),
                down=Linear(5, 1),
                up=Linear(1, 3),
            ),
            "a",
            "b",
        ),
        ROWS,
        (("b.weight", "b.bias", "up.weight", "up.bias"),),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_heads_are_found_by_where_the_outputs_come_from(kind: str) -> None:
    make, example, expected = KINDS[kind]
    model = make()
    assert traced(model, example) == expected
    if not any(not weight.requires_grad for weight in model.parameters()):
        found = read(model, model(example))
        assert found is not None and found.heads == expected
    assert {name for names in expected for name in names} <= set(model.state_dict())


@pytest.mark.parametrize("layer", [lambda: Linear(5, 3), lambda: nn.Conv1d(5, 3, 1)], ids=["linear", "convolution"])
def test_a_frozen_head_is_found_in_a_graph_that_lacks_it(layer: Callable[[], nn.Module]) -> None:
    model = frozen(
        Net(
            lambda s, x: s.out(s.a(x)[..., None] if x.dim() < 2 else s.mid(s.a(x))),
            a=Linear(4, 5),
            mid=nn.Identity(),
            out=layer(),
        ),
        "out",
    )
    model.mid = nn.Unflatten(1, (5, 1)) if isinstance(model.out, nn.Conv1d) else nn.Identity()
    found = read(model, model(ROWS))
    assert found is not None and found.heads == (("out.weight", "out.bias"),)
    assert not model.out.weight.requires_grad and model.a.weight.requires_grad


class Restless(nn.Module):
    """Draws, counts, keeps statistics, and has a part that is frozen and one in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.drop, self.out = Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(), Linear(5, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("kept", torch.zeros(5), persistent=False)
        self.a.weight.requires_grad_(False)
        self.drop.eval()

    def forward(self, rows: Tensor, *, scale: float = 1.0) -> Tensor:
        self.seen += 1
        self.kept = self.a(rows).detach().mean(0)
        return self.out(self.drop(self.norm(self.a(rows + torch.rand(4))))) * scale


@pytest.mark.parametrize(
    "example",
    [ROWS, (ROWS,), {"rows": ROWS, "scale": 2.0}, ROWS[:1]],
    ids=["tensor", "arguments", "keywords", "one row"],
)
def test_looking_leaves_the_model_and_torchs_draws_as_they_were(example: Any) -> None:
    model = Restless()
    before, random = copy.deepcopy(dict(model.named_buffers())), torch.get_rng_state()
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    places = {name: buffer.data_ptr() for name, buffer in model.named_buffers()}
    assert traced(model, example) == (("out.weight", "out.bias"),)
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert {name: buffer.data_ptr() for name, buffer in model.named_buffers()} == places
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(weight, weights[name]) and weight.grad is None for name, weight in model.named_parameters())
    assert [name for name, weight in model.named_parameters() if not weight.requires_grad] == ["a.weight"]
    assert [module.training for module in model.modules()] == [True, True, True, False, True]


def test_an_example_that_does_not_fit_is_told() -> None:
    with pytest.raises(
        ModelError, match=r"Restless fails on the example, which must be what the model takes .*mat1 and mat2"
    ):
        traced(Restless(), torch.rand(4, 9))
    assert traced(nn.Sequential(nn.ReLU()), ROWS) is None


def watched(model: nn.Module, inner: nn.Module | None = None, **how: bool) -> tuple[Watch, list[Found]]:
    seen: list[Found] = []
    return Watch(model, inner or model, seen.append, **how), seen


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_the_first_pass_with_a_graph_is_looked_at_and_none_after() -> None:
    model = Net(lambda s, x: s.out(s.a(x)), out=Linear(5, 3), a=Linear(4, 5))
    watch, seen = watched(model)
    with torch.no_grad():
        model(ROWS)
    with pytest.raises(RuntimeError):
        model(torch.rand(4, 9))
    assert not seen and hooks(model)
    copy.deepcopy(model)(ROWS)  # a copy is not watched
    assert not seen
    model(ROWS)
    watch.settle()
    model(ROWS)
    assert [found.heads for found in seen] == [(("out.weight", "out.bias"),)] and not hooks(model)
    assert seen[0].before == {"a.weight", "a.bias"} and seen[0].last == {"out.weight", "out.bias"}


def test_parts_that_a_loop_calls_one_by_one_are_put_together() -> None:
    model = Net(lambda s, x: None, a=Linear(4, 5), heads=nn.ModuleList([Linear(5, 3), Linear(5, 2)]))
    watch, seen = watched(model)
    hidden = model.a(ROWS).relu()
    model.heads[1](hidden), model.heads[0](hidden)
    assert not seen
    watch.settle()
    assert seen[0].heads == (("heads.0.weight", "heads.0.bias"), ("heads.1.weight", "heads.1.bias"))
    assert not hooks(model)


def test_a_compiled_pass_that_hides_its_graph_is_made_again_without_a_trace() -> None:
    model = Restless()
    compiled = torch.compile(model, backend="aot_eager")
    watch, seen = watched(compiled, model, thorough=True)
    compiled(ROWS)
    assert [found.heads for found in seen] == [(("out.weight", "out.bias"),)] and int(model.seen) == 1
    watch, seen = watched(compiled, model)
    compiled(ROWS)
    watch.remove()
    assert not seen and not hooks(model) and not hooks(compiled)


def test_a_watched_model_is_freed_with_its_last_reference() -> None:
    gc.collect()
    gc.disable()
    try:
        model = nn.Sequential(Linear(4, 3))
        gone = weakref.ref(model)
        Watch(model, model, lambda found: None)
        del model
        assert gone() is None
    finally:
        gc.enable()
