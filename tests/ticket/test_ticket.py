import copy
import dataclasses
import json
import math

import pytest
import torch

from oneticket.ground.errors import FileError, PruneError, SpecError
from oneticket.ticket import file
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket


def test_pruned_weights_are_exactly_zero_and_the_rest_is_untouched(ticket, book):
    for name, tensor in ticket.weights.items():
        given = book.weights[name]
        if name in ticket.mask:
            assert torch.equal(tensor, torch.where(ticket.mask[name], given, 0))
        else:
            assert torch.equal(tensor, given)
    assert torch.signbit(ticket.weights["fc.bias"]).all(), "a living -0.0 keeps its sign"


def test_a_ticket_holds_copies(ticket):
    weights = dict(ticket.weights)
    made = dataclasses.replace(ticket, weights=weights)
    before = made.id
    weights["fc.bias"].fill_(7)
    assert made.id == before != dataclasses.replace(ticket, weights=weights).id
    with pytest.raises(TypeError):
        made.weights["fc.bias"] = torch.zeros(1)


def test_a_copy_is_equal(ticket, book):
    for thing in (ticket, book):
        other = copy.deepcopy(thing)
        assert other == thing
        assert file.pack(other) == file.pack(thing)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"evidence": {"accuracy": 0.1}}, False),
        ({"evidence": {}}, False),
        ({"lineage": {"replicate": 1}}, True),
        ({"model": {}}, True),
        ({"mask": Mask({})}, True),
    ],
)
def test_identity_is_everything_but_evidence(ticket, change, counts):
    other = dataclasses.replace(ticket, **change)
    assert (other != ticket) == (other.id != ticket.id) == counts
    assert (hash(other) != hash(ticket)) == counts
    assert ticket != "ticket"


@pytest.mark.parametrize("name", ["conv.weight", "half.weight", "norm.running_var", "fc.weight"])
def test_identity_counts_every_tensor_and_its_dtype(ticket, name):
    changed = dict(ticket.weights) | {name: ticket.weights[name] + ticket.mask.get(name, torch.tensor(True))}
    assert dataclasses.replace(ticket, weights=changed) != ticket
    changed = dict(ticket.weights) | {name: ticket.weights[name].half()}
    assert dataclasses.replace(ticket, weights=changed) != ticket


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"weights": {}}, PruneError, "no such tensor"),
        ({"mask": Mask.full({"fc.bias": (2,)})}, PruneError, "expected a tensor of shape (2,), got (1,)"),
        ({"mask": Mask.full({"norm.num_batches_tracked": ()})}, PruneError, "only floating-point weights"),
        ({"weights": {"w": torch.tensor([math.nan])}}, PruneError, "NaN or infinity"),
        ({"weights": {"w": torch.tensor([math.inf])}}, PruneError, "NaN or infinity"),
        ({"weights": {"w": torch.tensor([1j])}}, PruneError, "complex64"),
        ({"weights": {"w": 1.0}}, PruneError, "expected a tensor, got float"),
        ({"weights": [1]}, PruneError, "expected a mapping from name to tensor, got list"),
        ({"model": {"lr": math.nan}}, SpecError, "ticket.model: expected plain, finite JSON"),
        ({"lineage": {1: 2}}, SpecError, "names must be text, got 1"),
        (
            {"model": {"x": json.loads("[" * 65 + "1" + "]" * 65)}},
            SpecError,
            "nested more than 64 deep",
        ),
        ({"evidence": {"x": torch.ones(1)}}, SpecError, "ticket.evidence"),
        ({"evidence": "good"}, SpecError, "expected a mapping that JSON can hold, got str"),
    ],
)
def test_refusals(ticket, change, error, words):
    with pytest.raises(error) as caught:
        dataclasses.replace(ticket, **change)
    assert words in str(caught.value)


def test_what_is_nested_as_deep_as_may_be_is_read_back(ticket, tmp_path):
    deep = dataclasses.replace(ticket, model={"x": json.loads("[" * 64 + "1" + "]" * 64)})
    deep.save(tmp_path / "deep.safetensors")
    assert Ticket.load(tmp_path / "deep.safetensors") == deep


def test_load_takes_a_ticket_out_of_a_file_a_book_or_a_folder(ticket, book, tmp_path):
    ticket.save(tmp_path / "one.safetensors")
    book.save(tmp_path / "book-0.safetensors")
    dataclasses.replace(book, lineage={"replicate": 3}).save(tmp_path / "book-3.safetensors")
    assert Ticket.load(tmp_path / "one.safetensors") == ticket
    assert Ticket.load(str(tmp_path / "book-0.safetensors"), level=2) == book[2]
    assert Ticket.load(tmp_path, density=1) == book[0]
    assert Ticket.load(tmp_path, level=1, replicate=3).lineage == {"replicate": 3, "level": 1}


@pytest.mark.parametrize(
    ("file", "choice", "error", "words"),
    [
        ("one.safetensors", {"level": 1}, FileError, "holds one ticket"),
        ("one.safetensors", {"replicate": 0}, FileError, "this is one file"),
        ("book-0.safetensors", {}, FileError, "a book of levels 0 to 2, density 1 to 0.1786; choose one"),
        ("book-0.safetensors", {"level": 1, "density": 0.5}, FileError, "choose one with either"),
        ("book-0.safetensors", {"level": 3}, SpecError, "levels 0 to 2, got 3"),
        ("book-0.safetensors", {"density": 0.01}, SpecError, "the book ends at level 2 with density 0.1786"),
        ("book-0.safetensors", {"density": 0}, SpecError, "above 0 and up to 1, got 0"),
        ("", {"level": 1, "replicate": 7}, FileError, "no book of replicate 7; the folder holds replicates 0"),
        ("none", {}, FileError, "No such file"),
    ],
)
def test_load_says_what_there_is_to_choose_from(ticket, book, tmp_path, file, choice, error, words):
    ticket.save(tmp_path / "one.safetensors")
    book.save(tmp_path / "book-0.safetensors")
    with pytest.raises(error) as caught:
        Ticket.load(tmp_path / file, **choice)
    assert words in str(caught.value)
