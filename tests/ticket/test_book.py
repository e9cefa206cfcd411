import dataclasses
import itertools

import pytest
import torch

from oneticket.ground.errors import FileError, PruneError, SpecError
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.names import book_file, book_files

CONTRACT = Contract(rewind="0it", step=0)


def deep(levels: int, total: int = 4000, fraction: float = 0.2) -> Book:
    """A book whose level n keeps round(0.8^n) of the weights, dying from the last index on."""
    remains = [round(total * (1 - fraction) ** level) for level in range(levels + 1)]
    at = torch.zeros(total, dtype=torch.uint8)
    for level in range(levels, 0, -1):
        at[remains[level] : remains[level - 1]] = level
    return Book(weights={"w": torch.ones(total)}, pruned_at={"w": at}, levels=levels, contract=CONTRACT)


@pytest.mark.parametrize("levels", [0, 1, 20, 255])
def test_levels_are_nested_and_counted_without_masks(levels):
    book = deep(levels, total=300, fraction=0.01 if levels == 255 else 0.2)
    masks = [book.mask(level) for level in range(len(book))]
    assert masks[0] == Mask.full(book.weights)
    assert all(sparse <= dense for dense, sparse in itertools.pairwise(masks))
    assert book.densities == tuple(mask.density for mask in masks)
    assert [book.density(level) for level in range(len(book))] == [mask.density for mask in masks]
    assert Book.from_masks(masks, weights=book.weights, contract=CONTRACT) == book


def test_every_level_is_the_rewind_weights_under_its_mask(book):
    tickets = list(book)
    assert len(tickets) == len(book) == 3
    for level, ticket in enumerate(tickets):
        assert ticket == book[level]
        assert ticket.mask == book.mask(level)
        expected = ticket.mask.project(book.weights)
        assert all(torch.equal(ticket.weights[name], expected[name]) for name in expected)
        assert ticket.lineage == {**book.lineage, "level": level}
        assert ticket.evidence == book.records[level]
        assert (ticket.contract, ticket.model) == (book.contract, book.model)


@pytest.mark.parametrize(
    ("asked", "level"), [(1, 0), (1.0, 0), (0.9, 0), (0.89, 1), (0.5, 3), (0.05, 13), (0.0116, 20), (0.0095, 20)]
)
def test_at_is_nearest_in_ratio(asked, level):
    assert deep(20).at(density=asked).lineage["level"] == level


@pytest.mark.parametrize("asked", [0.009, 0, -1, 1.01, float("nan"), float("inf"), True, "0.5", None])
def test_at_refuses_what_the_book_does_not_reach(asked):
    with pytest.raises(SpecError, match="density"):
        deep(20).at(density=asked)


def test_a_book_that_dies_out_still_answers():
    book = Book(
        weights={"w": torch.ones(2)}, pruned_at={"w": torch.ones(2).to(torch.uint8)}, levels=1, contract=CONTRACT
    )
    assert book.densities == (1.0, 0.0)
    assert book.at(density=0.1).lineage["level"] == 0


@pytest.mark.parametrize("level", [-1, 3, 1.0, True, "1"])
def test_a_level_that_is_not_there_is_refused(book, level):
    with pytest.raises(SpecError, match="the book has levels 0 to 2"):
        book[level]


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"records": ()}, False),
        ({"records": [{"accuracy": 1.0}] * 3}, False),
        ({"lineage": {}}, True),
        ({"levels": 4, "records": ()}, True),
    ],
)
def test_identity_is_everything_but_records(book, change, counts):
    other = dataclasses.replace(book, **change)
    assert (other != book) == (hash(other) != hash(book)) == counts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"levels": 1, "records": ()}, "pruned at level 2, the book ends at 1"),
        ({"levels": 256, "records": ()}, "from 0 to 255, got 256"),
        ({"levels": True, "records": ()}, "from 0 to 255, got True"),
        ({"records": [{}]}, "expected none or 3 (levels 0 to 2), got 1"),
        ({"pruned_at": {"ghost": torch.zeros(1, dtype=torch.uint8)}}, "no such weight"),
        ({"pruned_at": {"fc.bias": torch.zeros(2, dtype=torch.uint8)}}, "needs a float weight (2,)"),
        ({"pruned_at": {"norm.num_batches_tracked": torch.tensor(0).to(torch.uint8)}}, "needs a float weight"),
        ({"pruned_at": {"fc.bias": torch.zeros(1, dtype=torch.int8)}}, "must be uint8, got torch.int8"),
    ],
)
def test_refusals(book, change, words):
    with pytest.raises(PruneError) as caught:
        dataclasses.replace(book, **change)
    assert words in str(caught.value)


def test_masks_that_are_not_nested_or_not_full_at_first_are_refused(book):
    masks = [book.mask(level) for level in range(3)]
    shared = {"weights": book.weights, "contract": CONTRACT}
    with pytest.raises(PruneError, match="level 2 does not lie within the mask of level 1"):
        Book.from_masks([masks[0], masks[2], masks[1]], **shared)
    for bad in (masks[1:], []):
        with pytest.raises(PruneError, match="level 0, which is full"):
            Book.from_masks(bad, **shared)


def test_a_folder_holds_one_book_a_replicate(book, tmp_path):
    (tmp_path / "book-01.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    assert book_files(tmp_path) == {}
    with pytest.raises(FileError, match="the folder holds no books"):
        Book.load(tmp_path)
    for replicate in (10, 2, 0):
        dataclasses.replace(book, lineage={"replicate": replicate}).save(book_file(tmp_path, replicate))
    assert list(book_files(tmp_path)) == [0, 2, 10]
    assert Book.load(tmp_path).lineage["replicate"] == 0
    assert Book.load(tmp_path, replicate=10).lineage["replicate"] == 10
    with pytest.raises(FileError, match="no book of replicate 1; the folder holds replicates 0, 10, 2"):
        Book.load(tmp_path, replicate=1)
    with pytest.raises(FileError, match="cannot be listed: No such file"):
        book_files(tmp_path / "none")


def test_a_ticket_is_no_book(ticket, tmp_path):
    ticket.save(tmp_path / "ticket.safetensors")
    with pytest.raises(FileError, match=r"expected a book, got a ticket; use Ticket.load"):
        Book.load(tmp_path / "ticket.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(book, value):
    bad = {name: weight.clone() for name, weight in book.weights.items()}
    bad["fc.bias"][-1] = value
    with pytest.raises(PruneError, match="'fc.bias': holds NaN or infinity"):
        dataclasses.replace(book, weights=bad)
