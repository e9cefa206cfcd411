"""The attacks: bad ticket and book files that must be refused, each with its message.

`python attacks/make.py` writes them and README.md anew, the same bytes every time. Lies deeper than the digest are
told with a digest that fits, so that each reaches the check it is meant for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from oneticket.ground.canon import dumps
from oneticket.ticket import container, file
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

HERE = Path(__file__).parent
CONTRACT = Contract(rewind="2it", step=2, head=("fc.weight", "fc.bias"))
WEIGHTS = {
    "conv.weight": torch.arange(1.0, 13.0).reshape(3, 4),
    "fc.weight": torch.tensor([[0.5, -0.5, 0.25]]),
    "fc.bias": torch.tensor([0.125]),
    "norm.num_batches_tracked": torch.tensor(2),
}
TICKET = Ticket(
    mask=Mask({"conv.weight": WEIGHTS["conv.weight"] > 7}), weights=WEIGHTS, contract=CONTRACT, model={"name": "tiny"}
)
BOOK = Book(
    weights=WEIGHTS,
    pruned_at={"conv.weight": (WEIGHTS["conv.weight"] % 3).to(torch.uint8)},
    levels=2,
    contract=CONTRACT,
    records=({"accuracy": 0.9}, {"accuracy": 0.8}, {"accuracy": 0.7}),
)

Change = Callable[[dict[str, Any], dict[str, torch.Tensor]], object]


def forged(thing: Ticket | Book, change: Change) -> bytes:
    """The file of a ticket or book with metadata and tensors changed, and a digest that fits."""
    good = file.pack(thing)
    meta, tensors = container.decode(io.BytesIO(good), len(good))
    change(meta, tensors)
    return container.encode(meta, tensors, format=meta["format"])


def ticket(**meta: Any) -> bytes:
    return forged(TICKET, lambda found, _: found.update(meta))


def book(**meta: Any) -> bytes:
    return forged(BOOK, lambda found, _: found.update(meta))


def ticket_tensor(name: str, tensor: torch.Tensor | None) -> bytes:
    return forged(TICKET, lambda _, found: found.pop(name) if tensor is None else found.update({name: tensor}))


def book_tensor(name: str, tensor: torch.Tensor) -> bytes:
    return forged(BOOK, lambda _, found: found.update({name: tensor}))


def contract(**fields: Any) -> bytes:
    return ticket(contract={**CONTRACT.plain(), **fields})


def whole(header: str | bytes | dict[str, Any], body: bytes = b"") -> bytes:
    """A header of any content with an honest length."""
    text = json.dumps(header) if isinstance(header, dict) else header
    text = text.encode() if isinstance(text, str) else text
    return len(text).to_bytes(8, "little") + text + body


def header(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The tiny ticket with its header changed and nothing mended."""
    length = int.from_bytes(GOOD[:8], "little")
    found = json.loads(GOOD[8 : 8 + length])
    change(found)
    text = dumps(found).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + GOOD[8 + length :]


def metadata(text: object) -> bytes:
    """The tiny ticket with other metadata text."""
    return header(lambda found: found.update(__metadata__={"oneticket": text}))


def spaced() -> bytes:
    """The tiny ticket with its header written with spaces."""
    length = int.from_bytes(GOOD[:8], "little")
    return whole(json.dumps(json.loads(GOOD[8 : 8 + length])), GOOD[8 + length :])


def deep() -> bytes:
    """The tiny ticket with a model nested deeper than anyone describes a network."""
    return ticket(model={"name": json.loads("[" * 600 + "]" * 600)})


def entry(**fields: Any) -> bytes:
    """The tiny ticket with another entry for its bias."""
    return header(lambda found: found["full/fc.bias"].update(fields))


def flipped(at: int) -> bytes:
    return GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]


GOOD = file.pack(TICKET)
META = json.loads(json.loads(GOOD[8 : 8 + int.from_bytes(GOOD[:8], "little")])["__metadata__"]["oneticket"])
EMPTY_TENSOR = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
NOT_JSON = "is not JSON that can be read"
FOREIGN = "has no 'oneticket' metadata"
ONE_KEY = "expected the one metadata key 'oneticket'"
CANONICAL = "the metadata is not canonical JSON"
FORM = "the header is not in canonical form"
SIZE = "truncated or overlong"
SHAPE = "not a shape"

ATTACKS: dict[str, tuple[str, str, bytes]] = {
    # Not a safetensors file at all.
    "empty": ("no bytes", "the file is empty", b""),
    "short": ("seven bytes", "truncated or no safetensors", b"\x01" * 7),
    "zip": ("a zip archive, as torch.save writes", "a zip archive", b"PK\x03\x04\x14\x00\x08\x08" + b"\x00" * 64),
    "pickle": ("a pickle that would run a command", "a pickle", b"\x80\x04cposix\nsystem\n(S'true'\ntR."),
    "png": ("the start of a PNG image", "a PNG image", b"\x89PNG\r\n\x1a\n" + b"\x00" * 32),
    "text": ("plain text", "a text file", b"accuracy, density\n0.9, 0.05\n"),
    "header-length-huge": ("a header length of 2^64 - 1", "truncated or no safetensors", b"\xff" * 8 + b"{}"),
    "header-length-beyond": ("a header one byte longer than the file", "truncated or no safetensors",
                             (len(GOOD) - 7).to_bytes(8, "little") + GOOD[8:]),
    # Headers.
    "header-not-json": ("a header that is no JSON", NOT_JSON, whole("{'w': 1}")),
    "header-not-utf8": ("a header that is no UTF-8", NOT_JSON, whole(b'{"\xff": 1}')),
    "header-list": ("a header that is a list", "the header is not a JSON mapping", whole("[]      ")),
    "header-deep": ("a header nested 20,000 deep", NOT_JSON, whole("[" * 20000)),
    "header-name-repeated": ("one tensor named twice", "a name is repeated",
                             whole('{"w":1,"w":1}')),
    "header-spaces": ("spaces in the header", FORM, spaced()),
    "entry-not-mapping": ("a tensor entry that is a number", "expected dtype, shape and data_offsets",
                          header(lambda found: found.update({"full/fc.bias": 1}))),
    "entry-extra": ("a tensor entry with a field too many", "expected dtype, shape and data_offsets",
                    entry(color="red")),
    "offsets-overlap": ("two tensors over the same bytes", FORM, entry(data_offsets=[0, 4])),
    "offsets-huge": ("offsets of 2^63", FORM, entry(data_offsets=[2**63, 2**63 + 4])),
    "dtype-unknown": ("a dtype that does not exist", "expected a dtype of", entry(dtype="F7")),
    "dtype-list": ("a dtype that is a list", "expected a dtype of", entry(dtype=["F32"])),
    "shape-negative": ("a negative dimension", SHAPE, entry(shape=[-1])),
    "shape-bool": ("true for a dimension", SHAPE, entry(shape=[True])),
    "shape-overflow": ("2^32 x 2^32 weights, which is 0 modulo 2^64", SHAPE, entry(shape=[2**32, 2**32])),
    "shape-many-digits": ("a dimension of 400 digits", SHAPE, entry(shape=[10**399])),
    "shape-terabytes": ("a tensor of four terabytes in a file of some bytes", SIZE, entry(shape=[2**40])),
    # Metadata.
    "foreign": ("a sound safetensors file of something else", FOREIGN, whole(EMPTY_TENSOR, b"\x00" * 4)),
    "foreign-metadata": ("the same with metadata of its own", FOREIGN,
                         whole({"__metadata__": {"format": "pt"}, **EMPTY_TENSOR}, b"\x00" * 4)),
    "metadata-two-keys": ("a second metadata key", ONE_KEY,
                          header(lambda found: found["__metadata__"].update(format="pt"))),
    "metadata-number": ("a number in place of the metadata text", ONE_KEY, metadata(1)),
    "metadata-not-json": ("metadata that is no JSON", NOT_JSON, metadata("ticket")),
    "metadata-deep": ("metadata nested 20,000 deep", NOT_JSON, metadata("[" * 20000)),
    "model-deep": ("a description nested 600 deep, every bracket closed", "ticket.model: expected plain", deep()),
    "metadata-huge-number": ("a number of 5,000 digits", NOT_JSON, metadata('{"format":' + "9" * 5000 + "}")),
    "metadata-repeated": ("one field twice", "a name is repeated", metadata('{"format":1,"format":1}')),
    "metadata-spaces": ("metadata with spaces", CANONICAL, metadata(json.dumps(META))),
    "metadata-nan": ("NaN in the metadata", CANONICAL, metadata(dumps(META)[:-1] + ',"z":NaN}')),
    "metadata-infinite": ("1e999 in the metadata", CANONICAL, metadata(dumps(META)[:-1] + ',"z":1e999}')),
    "format-newer": ("format 3", "format 3 is newer", metadata(dumps({**META, "format": 3}))),
    "format-too-high": ("one output layer in format 2", "its contract.head is of format 1", ticket(format=2)),
    "format-too-low": ("two output layers in format 1", "its contract.head is of format 2",
                       contract(head=[["fc.weight"], ["fc.bias"]])),
    "format-huge": ("a format of 400 digits", "is newer than format 2", metadata(dumps({**META, "format": 10**399}))),
    "format-bool": ("true for the format", "format: expected a whole number",
                    metadata(dumps({**META, "format": True}))),
    "digest-missing": ("no digest", "has no digest", metadata(dumps({k: v for k, v in META.items() if k != "digest"}))),
    "digest-wrong": ("another digest", "the digest does not match", metadata(dumps({**META, "digest": "0" * 64}))),
    "evidence-edited": ("a score made better by hand", "the digest does not match",
                        metadata(dumps({**META, "evidence": {"accuracy": 1.0}}))),
    "bit-flipped": ("one bit of a weight flipped", "the digest does not match", flipped(len(GOOD) - 20)),
    "truncated": ("the last byte missing", SIZE, GOOD[:-1]),
    "overlong": ("a byte too many", SIZE, GOOD + b"\x00"),
    # Content that lies under a digest that fits.
    "kind-unknown": ("a kind that does not exist", "unknown kind 'voucher'", ticket(kind="voucher")),
    "kind-list": ("a kind that is a list", "unknown kind ['ticket']", ticket(kind=["ticket"])),
    "kind-swapped": ("a ticket that says it is a book", "metadata of a book", ticket(kind="book")),
    "field-unknown": ("a metadata field too many", "wrong: color", ticket(color="red")),
    "field-missing": ("no contract", "wrong: contract", forged(TICKET, lambda found, _: found.pop("contract"))),
    "group-unknown": ("a tensor under no known group", "unexpected tensor 'code/run'",
                      ticket_tensor("code/run", torch.ones(1))),
    "name-empty": ("a tensor without a name", "unexpected tensor 'full/'", ticket_tensor("full/", torch.ones(1))),
    "name-long": ("a name of 600 characters", "1 to 512 characters", ticket_tensor("full/" + "n" * 600, torch.ones(1))),
    "name-surrogate": ("a name that UTF-8 cannot write", "cannot be written as UTF-8",
                       ticket_tensor("full/\ud800", torch.ones(1))),
    "name-terminal": ("a name that would clear the screen", "unexpected tensor 'code/\\x1b[2J\\x1b[1;31m",
                      ticket_tensor("code/\x1b[2J\x1b[1;31mgood", torch.ones(1))),
    "names-endless": ("an unknown tensor whose name has 20,000 characters", "unexpected tensor 'nnnn",
                      ticket_tensor("n" * 20000, torch.ones(1))),
    "fields-endless": ("a metadata field whose name has 20,000 characters", "wrong: mmmm",
                       ticket(**{"m" * 20000: 1})),
    "contract-endless": ("a rewind point of 20,000 characters", "expected a time such as",
                         contract(rewind="9" * 20000)),
    "shapes-zero": ("2^47 x 0 weights said to be masked, beside bits of twelve", "needs 0 uint8",
                    ticket(shapes={"conv.weight": [2**47, 0]})),
    "live-missing": ("a mask without values", "tensors under live/: conv.weight",
                     ticket_tensor("live/conv.weight", None)),
    "mask-missing": ("values without a mask", "tensors under mask/: conv.weight",
                     ticket_tensor("mask/conv.weight", None)),
    "masked-and-whole": ("one weight both masked and whole", "both masked and whole: conv.weight",
                         ticket_tensor("full/conv.weight", torch.ones(3, 4))),
    "shapes-larger": ("a mask said to be larger than its bits", "needs 3 uint8",
                      ticket(shapes={"conv.weight": [4, 5]})),
    "shapes-huge": ("a mask said to cover 2^40 weights", "needs 137438953472 uint8",
                    ticket(shapes={"conv.weight": [2**20, 2**20]})),
    "shapes-overflow": ("a mask said to cover 2^80 weights", SHAPE, ticket(shapes={"conv.weight": [2**40, 2**40]})),
    "shapes-negative": ("a mask of -3 x -4", SHAPE, ticket(shapes={"conv.weight": [-3, -4]})),
    "shapes-list": ("shapes that are a list", "shapes: expected a mapping", ticket(shapes=[[3, 4]])),
    "padding": ("a bit beyond the last weight", "padding bits",
                ticket_tensor("mask/conv.weight", torch.tensor([128, 31], dtype=torch.uint8))),
    "living-miscounted": ("more values than living weights", "keeps 5 weights",
                          ticket_tensor("live/conv.weight", torch.ones(6))),
    "live-integers": ("whole numbers for masked weights", "keeps 5 weights",
                      ticket_tensor("live/conv.weight", torch.ones(5, dtype=torch.int32))),
    "mask-float": ("a mask of floats", "uint8 in one dimension", ticket_tensor("mask/conv.weight", torch.ones(2))),
    "weights-nan": ("NaN among the weights", "holds NaN or infinity",
                    ticket_tensor("full/fc.bias", torch.tensor([float("nan")]))),
    "weights-infinite": ("infinity among the living weights", "holds NaN or infinity",
                         ticket_tensor("live/conv.weight", torch.full((5,), float("inf")))),
    "bool-byte": ("a BOOL that is 2", "a BOOL must be 0 or 1",
                  ticket_tensor("full/flag", torch.tensor([2], dtype=torch.uint8).view(torch.bool))),
    "id-wrong": ("the id of something else", "the id is not the id", ticket(id="0" * 64)),
    "id-not-text": ("a number for an id", "the id is not the id", ticket(id=7)),
    "weight-changed": ("another weight under the old id", "the id is not the id",
                       ticket_tensor("full/fc.bias", torch.tensor([9.0]))),
    "contract-unknown-field": ("a contract with a field too many", "unknown field 'mood'", contract(mood="good")),
    "contract-missing-field": ("a contract that leaves the order open", "contract.order: missing",
                               ticket(contract={k: v for k, v in CONTRACT.plain().items() if k != "order"})),
    "contract-optimizer-kept": ("a contract with kept optimizer state", "contract.optimizer: this version can",
                                contract(optimizer="rewound")),
    "contract-rewind": ("a rewind point in no known unit", "expected a time such as", contract(rewind="2 epochs")),
    "contract-step": ("a negative step", "contract.step", contract(step=-1)),
    "contract-head": ("a head that is text", "contract.head", contract(head="fc.weight")),
    "contract-head-nested": ("one output layer as a list of lists", "contract.head: expected a list of names",
                             ticket(format=2, contract={**CONTRACT.plain(), "head": [["fc.weight", "fc.bias"]]})),
    "contract-head-mixed": ("a head of names and lists", "contract.head: expected a tuple of parameter names",
                            contract(head=["fc.weight", ["fc.bias"]])),
    "contract-heads-share": ("two output layers with one tensor", "contract.head: expected each name once",
                             ticket(format=2, contract={**CONTRACT.plain(), "head": [["fc.weight"], ["fc.weight"]]})),
    "contract-text": ("a contract that is text", "contract: expected a mapping", ticket(contract="rewound")),
    "model-list": ("a model that is a list", "model: expected a mapping", ticket(model=[])),
    "book-level-above": ("a weight pruned beyond the last level", "the book ends at 2",
                         book_tensor("pruned/conv.weight", torch.full((3, 4), 3, dtype=torch.uint8))),
    "book-levels-256": ("256 levels", "book.levels", book(levels=256)),
    "book-levels-bool": ("true for the levels", "book.levels", book(levels=True)),
    "book-pruned-shape": ("levels in another shape than the weight", "pruned_at needs a float weight",
                          book_tensor("pruned/conv.weight", torch.zeros(4, 3, dtype=torch.uint8))),
    "book-pruned-nothing": ("levels of a weight that is not there", "no such weight",
                            book_tensor("pruned/ghost", torch.zeros(1, dtype=torch.uint8))),
    "book-pruned-int8": ("levels as signed numbers", "pruned_at must be uint8",
                         book_tensor("pruned/conv.weight", torch.zeros(3, 4, dtype=torch.int8))),
    "book-records-few": ("two records for three levels", "book.records: expected none or 3", book(records=[{}, {}])),
    "book-records-text": ("records that are text", "records: expected a list", book(records="good")),
}  # fmt: skip


def main() -> None:
    lines = [
        "# Attacks",
        "",
        "Bad files, kept. Loading and verifying must refuse each with a `FileError` whose message holds the words on",
        "its line; `tests/ticket/test_attacks.py` sees to it. `python attacks/make.py` makes them and this page anew.",
        "Huge sizes are lies in headers: no file here is larger than 25 kB.",
        "",
        "| file | what it is | refused with |",
        "|---|---|---|",
    ]
    for name, (what, expected, data) in ATTACKS.items():
        (HERE / f"{name}.safetensors").write_bytes(data)
        lines.append(f"| {name} | {what} | {expected} |")
    (HERE / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
