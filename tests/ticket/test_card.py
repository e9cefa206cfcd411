"""The card says what the file says, no mean without n, and nothing a file holds can break its Markdown or YAML."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import yaml
from markdown_it import MarkdownIt

from oneticket.ground.errors import SpecError
from oneticket.publish.card import DATA, card
from oneticket.publish.standing import standings
from oneticket.ticket.book import Book
from oneticket.ticket.contract import HONOURED, Contract
from oneticket.ticket.describe import scores, text, word
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

NASTY = (
    "x\n# Free money\n---\nlicense: stolen\n| a | b |\n```\n<script>alert(1)</script> [click](http://evil) `rm` "
    "\x1b[2J \u202e"
)
SEARCH = {
    "data": {"name": "fashion_mnist:a", "flip": False, "crop": 2},
    "model": {"name": "lenet-300-100"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "rewind": "1ep",
    "seed": 3,
}
OWN = {"data": "svhn", "optimizer": "adam", "arm": "ticket", "mean": 0.9, "low": 0.88, "high": 0.92, "n": 5}
ABOVE = {"mean": 0.031, "low": 0.01, "high": 0.052, "n": 5}


def made(**fields: Any) -> Ticket:
    weights = {"fc.weight": torch.tensor([[1.0, 2.0, 3.0, 4.0]]), "fc.bias": torch.zeros(1)}
    mask = Mask({"fc.weight": weights["fc.weight"] > 3})
    return Ticket(**{"mask": mask, "weights": weights, "contract": Contract(rewind="1ep", step=7), **fields})


def front(text: str) -> dict[str, Any]:
    found = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_a_card_says_what_the_file_says() -> None:
    evidence = {
        "scores": [
            {**OWN, "difference": None, "what": "on the whole test set"},
            {**OWN, "arm": "layerwise-random", "mean": 0.869, "low": 0.85, "high": 0.888, "difference": ABOVE},
            {**OWN, "data": "digits:b", "mean": 0.85, "low": None, "high": None, "n": 1, "difference": None},
        ]
    }
    ticket = made(
        model={"spec": {"name": "lenet-300-100", "width": 1}},
        lineage={"search": SEARCH, "replicate": 2, "level": 6},
        evidence=evidence,
    )
    found = card(ticket, name="user/name", license="MIT")
    assert front(found) == {
        "library_name": "oneticket",
        "tags": ["oneticket", "lottery-ticket", "pruning", "sparse"],
        "license": "mit",
        "datasets": ["zalando-datasets/fashion_mnist"],
    }
    for line in (
        "A lottery ticket for lenet-300-100: of 4 prunable weights 1 remains, a density of 25 %; of all 5 weights of "
        "the model, 40 % remain.",
        f"Its id is {ticket.id};",
        "- data: fashion_mnist:a, crop 2, flip false",
        "- model: lenet-300-100, width 1",
        "- optimizer: sgd, lr 0.1",
        "- training: not known",
        "- replicate: 2",
        "- level: 6",
        "- rewind: to 1ep, optimizer step 7",
        "- optimizer: its state starts empty",
        "| fc.weight | 1×4 | 1 | 25 % |",
        "Dense by policy: fc.bias.",
        "### svhn, adam",
        "| network | accuracy (%) | ticket better by (points) | n |",
        "| ticket | 90.0 [88.0, 92.0] | — | 5 |",
        "| layerwise random | 86.9 [85.0, 88.8] | +3.1 [1.0, 5.2] | 5 |",
        "### digits:b, adam",
        "| ticket | 85.0 (n = 1) | — | 1 |",
        "on the whole test set.",
        'ticket = oneticket.Ticket.from_pretrained("user/name")',
        "- this file: MIT",
        "- the data it was found on: MIT, Zalando SE",
    ):
        assert line in found, line
    assert (
        "- beside its strongest control, the only set: +3.1 points over the layerwise random ticket "
        "(95 % CI 1.0 to 5.2, n = 5), on svhn" in found
    )


COLUMNS: dict[str, tuple[Any, str]] = {
    "many": ({"label": "kind", "inputs": [f"x{n}" for n in range(16)]}, "inputs x0, x1, x2, x3 ... x15; label kind"),
    "filled": (
        {"label": "y", "inputs": ["age", "colour=red"], "filled": {"age": 12.5}},
        "inputs age, colour=red; label y; missing age filled with 12.5",
    ),
    "nasty": ({"label": NASTY, "inputs": ["a\nb", 5]}, r"inputs a b, 5; label x \# Free money ---"),
    "no list": ({"inputs": {"a": 1}}, ""),
    "no mapping": ([["inputs"]], ""),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_the_columns_of_a_table_are_told_and_settings_of_images_are_not(case: str) -> None:
    columns, words = COLUMNS[case]
    ticket = made(model={"kind": "vectors"}, lineage={"search": SEARCH, "columns": columns})
    lines = [line for line in card(ticket, name="x").splitlines() if line.startswith(("- columns", "- data:"))]
    assert lines[0] == "- data: fashion_mnist:a"
    assert len(lines) == 1 + bool(words)
    assert lines[-1].startswith(f"- columns: {words}") or not words


def test_what_is_not_known_or_not_measured_is_said_to_be_so() -> None:
    bare = card(made(), name="mine")
    assert "Not measured: no scores" in bare and "n = 1" not in bare and "a network that is not named" in bare
    assert bare.count("not known") == 10 and "- this file: not given" in bare
    single = card(made(evidence={"accuracy": 0.5}), name="mine")
    assert "left an accuracy of 50.0 %: n = 1." in single
    own = card(made(lineage={"search": {"data": {"name": "me/photos"}}}), name="mine", data_license="ours")
    assert front(own)["datasets"] == ["me/photos"] and "- the data it was found on: ours" in own
    other = front(card(made(), name="mine", license="My Own 1.0"))
    assert (other["license"], other["license_name"]) == ("other", "My Own 1.0")


def test_a_book_has_its_levels(book: Book) -> None:
    found = card(book, name="b")
    assert "A book of 3 lottery tickets for tiny" in found and 'from_pretrained("b", level=2)' in found
    for level, density in enumerate(book.densities):
        whole = 100 * book.model_densities[level]
        assert f"| {level} | {100 * density:.3g} % | {whole:.3g} % | {book.mask(level).remaining} |" in found


def test_nothing_in_a_file_breaks_the_card() -> None:
    """Parsed as Markdown and YAML, the card has the headings, tables, code and links of a tame one, and no HTML."""
    deep: dict[str, Any] = {}
    weights = {NASTY: torch.ones(2, 2), "b|c`d": torch.ones(1)}
    nasty = made(
        mask=Mask({name: tensor > 0 for name, tensor in weights.items()}),
        weights=weights,
        model={"spec": {"name": NASTY, NASTY: NASTY}},
        lineage={
            "search": {"data": {"name": NASTY}, "optimizer": NASTY, "seed": [NASTY]},
            "replicate": NASTY,
            NASTY: 1,
        },
        evidence={"scores": [{**OWN, "data": NASTY, "what": NASTY, "difference": None}]},
        contract=Contract(rewind="0it", step=0, head=(NASTY,)),
    )
    tame = made(evidence={"scores": [{**OWN, "difference": None}]})
    for _ in range(60):
        deep = {"n": deep}
    assert "n n n …" in card(made(lineage={"search": {"optimizer": deep}}), name="deep")
    found = card(nasty, name=NASTY)
    assert set(front(found)) == {"library_name", "tags"}
    shapes = []
    for words in (found, card(tame, name="tame")):
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(words.split("---\n", 2)[2])
        inner = [token.type for outer in tokens for token in outer.children or ()]
        assert not {"link_open", "image", "code_inline", "html_inline"} & set(inner), set(inner)
        shapes.append([t.tag for t in tokens if t.type in ("heading_open", "table_open", "fence", "html_block", "hr")])
    assert shapes[0] == shapes[1] == ["h1", "h2", "h2", "h2", "h3", "table", "h2", "table", "h2", "code", "h2"]
    assert not any((ord(mark) < 32 and mark != "\n") or mark == "\u202e" for mark in found)


@pytest.mark.parametrize(
    "row",
    [
        7,
        [],
        {},
        {**OWN, "mean": "0.9"},
        {**OWN, "mean": True},
        {**OWN, "n": 0},
        {**OWN, "n": 2.5},
        {**OWN, "low": None},
        {**OWN, "high": "1"},
        {**OWN, "data": ["svhn"]},
        {**OWN, "mean": 1e300},
    ],
)
def test_scores_that_are_not_sound_are_left_out(row: Any) -> None:
    ticket = made(evidence={"scores": [row, {**OWN, "difference": {"mean": 1}}]})
    assert list(scores(ticket)) == [{**OWN, "difference": None}]
    assert card(ticket, name="x").count("### svhn, ") == 1
    assert "Not measured" in card(made(evidence={"scores": row}), name="x")


@pytest.mark.parametrize("license", ["", " ", "a\nb", "x" * 201])
def test_a_licence_is_one_line(license: str) -> None:
    with pytest.raises(SpecError, match="license: expected one line"):
        card(made(), name="x", license=license)


def test_text_is_shown_as_it_is() -> None:
    for given in (
        "a_b",
        "_a_",
        "*x*",
        "a|b",
        "`c`",
        "[d](e)",
        "<f>",
        "~~g~~",
        "&amp;",
        "\\",
        "http://h",
        "conv1.weight",
    ):
        shown = MarkdownIt("commonmark").render(text(given)).removeprefix("<p>").removesuffix("</p>\n")
        expected = given.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert shown == expected
    assert len(word("x" * 5000)) == 300


def test_the_tables_are_whole() -> None:
    from oneticket.data.facts import PUBLISHED
    from oneticket.publish.card import CONTRACT

    assert {name: tuple(words) for name, words in CONTRACT.items()} == HONOURED
    assert set(PUBLISHED) - {"places365"} <= set(DATA), "places365: its terms could not be checked"


def test_the_best_target_is_where_the_best_control_is_furthest_below() -> None:
    """On mnist the highest score, on digits the furthest control; on svhn the furthest of the nearest controls."""
    bare = {**OWN, "low": None, "high": None}
    above = {
        "mnist": {"dense": 0.5, "own": 0.4, "reinit": 0.001, "global-random": 0.002},
        "digits": {"reinit": 0.9, "global-random": -0.1},
        "svhn": {"dense": -0.2, "reinit": 0.3, "global-random": 0.2},
    }
    rows = [
        {**bare, "data": data, "arm": arm, "mean": 0.5, "difference": {"mean": by, "low": None, "high": None, "n": 3}}
        for data, arms in above.items()
        for arm, by in arms.items()
    ]
    own = [{**bare, "data": data, "mean": mean, "difference": None} for data, mean in (("mnist", 0.99), ("svhn", 0.6))]
    found = {one.rival: one for one in standings(scores(made(evidence={"scores": own + rows})))}
    assert found["controls"].lines == (
        "worst: −10.0 points over the global random ticket (n = 3, no interval), on digits",
        "best: +20.0 points over the global random ticket (n = 3, no interval), on svhn",
    )
    assert [gain.data for gain in found["dense"].gains] == ["svhn", "mnist"] and len(found["own"].gains) == 1
    assert standings(scores(made(evidence={"scores": own}))) == standings(scores(made())) == []


def test_what_was_imported_is_as_it_was_given() -> None:
    contract = Contract(rewind="0it", step=0, schedule="caller", order="caller")
    found = card(made(contract=contract, lineage={"imported": {"from": "zeros"}}), name="x")
    assert "- weights: as the caller gave them" in found and "of the rewind point" not in found
    assert found.count("the loop that found it set the ") == 2


def test_a_card_is_loaded_from_where_it_is_said_to_lie() -> None:
    assert 'from_pretrained("a/b")' in card(made(), name="b", where="a/b")
