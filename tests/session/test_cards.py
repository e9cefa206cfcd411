"""Cards: valid HTML of every kind of value, small, escaped, without side effects, and never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from torch import nn

import oneticket
from oneticket import Book, Contract, Guard, Mask, Search, Ticket
from oneticket.ground.card import MOST
from oneticket.lottery.level import Level
from oneticket.session.study import StudyRun
from oneticket.study.rows import Rows

pytestmark = pytest.mark.usefixtures("_draws")

BAD = "<script>alert(1)</script>\x1b[31m&"
QUICK = {"model": "mlp", "training": {"budget": "2it"}, "rewind": "1it"}


class Page(HTMLParser):
    """Checks that every element is closed in its turn, and keeps texts and names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all(value is not None and "url(" not in value for _, value in attrs)
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}
        self.tags.append(tag)
        if tag != "wbr" and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.replace("\N{NO-BREAK SPACE}", " ")


def ticket() -> Ticket:
    remaining = torch.tensor([[True, False, False, False]])
    return Ticket(
        mask=Mask({BAD: remaining}),
        weights={BAD: torch.ones(1, 4), "b": torch.zeros(4)},
        contract=Contract(rewind="3it", step=3),
        model={"spec": {"name": BAD}, "shape": [1, 8, 8]},
        lineage={"level": 5, "replicate": 1, "search": {"data": {"name": BAD}, "optimizer": {"name": BAD}}},
        evidence={"accuracy": 0.8765, "metric": "accuracy", "better": "higher"},
    )


def book() -> Book:
    pruned_at = {f"{BAD}{number}": torch.tensor([0, 2, 1, 0], dtype=torch.uint8) for number in range(30)}
    weights = {name: torch.ones(4) for name in pruned_at}
    records = [{"accuracy": 0.9}, {"accuracy": 0.8}, {"accuracy": None}]
    contract = Contract(rewind="0it", step=0)
    return Book(weights=weights, pruned_at=pruned_at, levels=2, contract=contract, records=records)


def searched(stop: int) -> tuple[Search, Level | None]:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    search = Search(model, lambda model: torch.optim.SGD(model.parameters(), lr=0.1), levels=2, head="2")
    for level in search:
        level.optimizer.zero_grad()  # type: ignore[union-attr]
        level.model(torch.ones(3, 4)).square().sum().backward()
        level.optimizer.step()  # type: ignore[union-attr]
        level.record(**{BAD: 0.5, "accuracy": 0.25})
        if level.number == stop:
            return search, level
    return search, None


def guard() -> Guard:
    model = nn.Sequential(nn.Linear(4, 2))
    made = oneticket.attach(model, torch.optim.SGD(model.parameters()), {"0.weight": torch.eye(2, 4) > 0})
    KEPT.append((model, made))
    return made


def rows() -> Rows:
    one = {"model": BAD, "target_data": BAD, "target_optimizer": "sgd", "source_data": BAD, "source_optimizer": "sgd"}
    made = []
    for replicate in range(3):
        made.append({**one, "arm": "dense", "level": 0, "density": 1.0, "replicate": replicate, "accuracy": 0.9})
        kept = {"level": 4, "density": 0.41, "replicate": replicate, "accuracy": 0.8 + replicate / 100}
        made.append({**one, "arm": "ticket", **kept})
    return Rows(made)


def study() -> StudyRun:
    grid = {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["mlp"], "optimizers": ["sgd"]}
    asked = {"name": "mine", "levels": [1], "replicates": 2, "claims": ["C2"], "parts": {"halves": grid}, "title": BAD}
    return oneticket.study.run({**asked, **{k: QUICK[k] for k in ("training", "rewind")}}, store=None, engine="inline")


@pytest.fixture
def _draws() -> Iterator[None]:
    """Torch's layers draw their weights from its own generator."""
    with torch.random.fork_rng():
        yield


KEPT: list[Any] = []
"""What a guard holds, which refers to it weakly."""

KINDS: dict[str, Callable[[], Any]] = {
    "ticket": ticket,
    "book": book,
    "mask": lambda: ticket().mask,
    "empty mask": lambda: Mask({}),
    "guard": guard,
    "search": lambda: searched(2)[0],
    "search that begins": lambda: Search(nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2)), levels=3, head="1"),
    "level": lambda: searched(1)[1],
    "rows": rows,
    "no rows": lambda: Rows(),
    "study": study,
}
SAYS = {
    "ticket": ("25 % of 4 prunable weights", "62.5 % of 8", "87.6 %", "<script>", "3it (step 3)"),
    "book": ("level 2", "50 %", "100 % · 90.0 %", "<script>", "and 18 more layers"),
    "mask": ("25 %: 1 of 4 weights remain",),
    "empty mask": ("nothing is pruned",),
    "guard": ("attached", "25 %: 2 of 8 weights remain"),
    "search": ("done down to level 1 of 2", "81.2 % · 25.0 %"),
    "search that begins": ("none done yet",),
    "level": ("Level 1", "81.2 %", "<script>", "0.5"),
    "rows": ("6 trained networks", "81.0 ± 2.5", "<script>", "95 % CI 78.5 to 83.5, n = 3"),
    "no rows": ("no network is trained",),
    "study": ("Study mine", "8 of 8 networks", "<script>", "C2: "),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_is_valid_small_and_escaped(kind: str) -> None:
    thing = KINDS[kind]()
    html = thing._repr_html_()
    page = Page(html)
    assert "script" not in page.tags and "<script" not in html and "\x1b" not in html
    assert all(words in page.words for words in SAYS[kind]), page.words
    assert len(html) < 20_000
    assert thing._repr_html_() == html, "looking changes nothing"
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert thing._repr_html_() == html
    finally:
        torch.set_num_threads(threads)


def test_a_card_draws_a_bar_for_each_layer_as_long_as_its_density() -> None:
    mask = Mask({"layer10": torch.tensor([True, False]), "layer2": torch.tensor([True, True, True, False])})
    html = mask._repr_html_()
    assert html.index("layer2") < html.index("layer10"), "as people count"
    assert [f'width="{width}"' in html for width in (48.0, 72.0)] == [True, True]
    many = Mask({f"l{number}": torch.ones(1, dtype=torch.bool) for number in range(100)})._repr_html_()
    assert many.count("<svg") == MOST and "and 88 more layers" in many


@pytest.mark.parametrize("kind", [Ticket, Book, Mask, Guard, Search, Level, StudyRun])
def test_what_is_damaged_says_so(kind: type) -> None:
    broken = object.__new__(kind)
    page = Page(broken._repr_html_())  # type: ignore[attr-defined]
    assert f"This {kind.__name__} is damaged or incomplete and cannot be shown" in page.words


def test_rows_that_are_none_of_ours_say_so() -> None:
    assert "cannot be shown: SpecError" in Page(Rows([{"arm": "dense"}])._repr_html_()).words or (
        "cannot be shown: KeyError" in Page(Rows([{"arm": "dense"}])._repr_html_()).words
    )


def test_looking_at_a_guard_leaves_what_it_holds() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    held = oneticket.attach(model, torch.optim.SGD(model.parameters()), {"0.weight": torch.eye(2, 4) > 0})
    model[0].weight.data += 1.0
    before = model[0].weight.detach().clone()
    held._repr_html_()
    assert torch.equal(model[0].weight, before)
    held.detach()
    assert "detached" in held._repr_html_()
