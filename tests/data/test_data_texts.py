"""Texts: short ones with a label each, and long ones for the task language."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oneticket.data.batches import batches, test_batches
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError
from oneticket.ground.streams import Streams
from oneticket.task.inputs import Inputs

# name: bytes of the longest training text, languages
LANGUAGES = {"text/languages-a": (18, 12), "text/languages-b": (20, 12)}


@pytest.mark.parametrize("name", LANGUAGES)
def test_real_words(name, shared):
    data = load(DataSpec(name=name))
    length, languages = LANGUAGES[name]
    assert (len(data.train), len(data.test), data.outputs) == (24_000, 6_000, languages)
    assert data.inputs == Inputs(kind="tokens", shape=(length,), vocabulary=256)
    raw = pq.read_table(shared / name / "train-00000-of-00001.parquet")
    assert [bytes(row.tolist()).rstrip(b"\0").decode() for row in data.train.inputs] == raw["text"].to_pylist()
    assert [data.classes[number] for number in data.train.targets] == raw["label"].to_pylist()
    (x, y), *_ = batches(data, batch=32, streams=Streams(root=0, replicate=0), start=0, stop=1)
    assert (x.dtype, x.shape, y.dtype) == (data.train.inputs.dtype, (32, length), data.train.targets.dtype)
    assert data.columns == {"label": "label", "inputs": ["text"]}
    assert "24,000 texts from split train" in str(data.reading)
    assert "Texts: column text, as UTF-8 bytes. Label: column label" in str(data.reading)


def test_the_length_is_asked_for_or_the_networks(shared):
    short = load(DataSpec(name="text/languages-a", length=8))
    assert short.inputs.shape == (8,)
    assert "Longer texts are cut: 6,224 in train, 1,590 in test; set length for more" in str(short.reading)
    like = load(DataSpec(name="text/languages-b"), inputs=load(DataSpec(name="text/languages-a")).inputs)
    assert like.inputs.shape == (18,)
    with pytest.raises(DataError, match="holds 8 tokens out of 256; the network takes 18 tokens out of 256"):
        load(DataSpec(name="text/languages-a", length=8), inputs=like.inputs)


def words(root, texts, labels, name="text"):
    for split in ("train", "test"):
        pq.write_table(pa.table({name: pa.array(texts, pa.string()), "label": labels}), root / f"{split}.parquet")
    return str(root)


def test_long_texts_empty_ones_and_missing_ones(tmp_path):
    name = words(tmp_path, ["é" * 200, "", None, "b"], [0, 1, 0, 1], name="Text")
    with pytest.raises(DataError, match="split 'train', column 'Text': 1 texts are missing; .*missing='fill'"):
        load(DataSpec(name=name))
    data = load(DataSpec(name=name, missing="fill"))
    assert data.inputs.shape == (256,)
    assert data.train.inputs[0].tolist() == list("é".encode() * 128)
    assert not data.train.inputs[1:3].any()
    assert "Longer texts are cut: 1 in train, 1 in test; set length for more. 4 texts are empty." in str(data.reading)


def test_texts_with_a_number_to_tell(tmp_path):
    data = load(DataSpec(name=words(tmp_path, ["a", "bb"] * 4, [0.5, 1.5] * 4)), targets="numbers")
    assert (data.inputs.kind, data.outputs, data.train.targets[:2].tolist()) == ("tokens", 1, [[0.5], [1.5]])


def test_bad_texts(tmp_path):
    with pytest.raises(DataError, match="split 'train': text 0 holds a NUL byte"):
        load(DataSpec(name=words(tmp_path, ["a\0", "b"] * 4, [0, 1] * 4)))
    pq.write_table(pa.table({"words": ["a", "b"] * 4, "label": [0, 1] * 4}), tmp_path / "test.parquet")
    with pytest.raises(DataError, match="split 'test' has no texts in a column 'text'"):
        load(DataSpec(name=str(tmp_path)))
    many = words(tmp_path, [f"sentence {row}" for row in range(40)], [0, 1] * 20, name="review")
    with pytest.raises(DataError, match=r"'review' \(40 different texts; .*; to be read as texts, name it text"):
        load(DataSpec(name=many))


def test_real_books(shared):
    """Each byte of the training part is an input once and the next byte a target once, and halves share no byte."""
    book = (shared / "text/books/king-james.txt").read_bytes()
    end = len(book) * 9 // 10
    pieces = {"": book[:end], ":a": book[: end // 2], ":b": book[end // 2 : end]}
    for half, piece in pieces.items():
        data = load(DataSpec(name=f"text/books/king-james.txt{half}"), targets="tokens")
        count = (len(piece) - 1) // 32
        assert (len(data.train), len(data.test)) == (count, (len(book) - end - 1) // 32)
        assert bytes(data.train.inputs.flatten().tolist()) == piece[: 32 * count]
        assert bytes(data.train.targets.flatten().tolist()) == piece[1 : 32 * count + 1]
        assert bytes(data.test.inputs[0].tolist()) == book[end : end + 32]
    assert data.inputs == Inputs(kind="tokens", shape=(32,), vocabulary=256)
    assert data.outputs == 256
    assert "windows from the second half of the first 90 % of the bytes. Test: 13,081 windows" in str(data.reading)
    (x, y), *_ = test_batches(data, 7)
    assert (x.shape, y.shape) == ((7, 32), (7, 32))
    assert x[:, 1:].equal(y[:, :-1])


def test_a_book_at_the_networks_length(shared):
    name = "text/books/moby-dick.txt"
    data = load(DataSpec(name=name), targets="tokens", inputs=Inputs(kind="tokens", shape=(100,), vocabulary=256))
    assert (len(data.train), data.inputs.shape) == ((1_192_884 * 9 // 10 - 1) // 100, (100,))
    digests = {load(DataSpec(name=name, length=length), targets="tokens").digest for length in (None, 32, 100)}
    assert len(digests) == 2


BAD_BOOKS = {
    "empty": (b"", {}, "the file is empty"),
    "short": (
        b"a" * 300,
        {},
        "300 bytes, of which the test part has 30; a window needs 33; take a longer text, or set a",
    ),
    "UTF-16": ("hello world".encode("utf-16") * 100, {}, "byte 3 is NUL, so this is no UTF-8 text"),
    "classes": (b"a" * 900, {"classes": 2}, "classes=2: .* gives the tokens that follow, not classes"),
    "size": (b"a" * 900, {"size": 8}, "size=8: is for images, but .* holds tokens"),
}


@pytest.mark.parametrize("case", BAD_BOOKS)
def test_bad_books(case, tmp_path):
    content, settings, message = BAD_BOOKS[case]
    (tmp_path / "book.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(DataSpec(name=str(tmp_path / "book.txt"), **settings), targets="tokens")


def test_bytes_that_are_no_utf8_are_read_and_told(tmp_path):
    (tmp_path / "book.txt").write_bytes("Ich weiß".encode("latin-1") * 200)
    data = load(DataSpec(name=str(tmp_path / "book.txt")), targets="tokens")
    assert 223 in data.train.inputs
    assert "It is not UTF-8 (byte 7), and is read as bytes all the same" in str(data.reading)


def test_a_book_has_a_task_of_its_own(tmp_path):
    (tmp_path / "book.txt").write_text("word " * 400)
    for targets in ("classes", "numbers"):
        with pytest.raises(DataError, match=r"book.txt: is a plain text; its task is language: --task language"):
            load(DataSpec(name=str(tmp_path / "book.txt")), targets=targets)
    with pytest.raises(DataError, match="holds plain texts; name one: .*book.txt"):
        load(DataSpec(name=str(tmp_path)), targets="tokens")
