"""Data by import path: what a user's function may return, of which kind it is, and what is refused in words."""

import textwrap

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch.utils.data import TensorDataset

from oneticket.data.batches import batches, test_batches
from oneticket.data.load import load
from oneticket.data.own import own
from oneticket.data.sources import DataRequest
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError, SpecError
from oneticket.ground.streams import Streams

SOURCE = """
import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits

x, y = load_digits(return_X_y=True)
x = x.astype(np.float32)


def rows():
    np.random.seed(3)
    torch.manual_seed(3)
    return x[:1400], y[:1400], x[1400:], y[1400:]


def a():
    return rows()


def series():
    grid = torch.tensor(x).view(-1, 8, 8)
    return {"train_inputs": grid[:900], "train_targets": y[:900], "test_inputs": grid[900:], "test_targets": y[900:],
            "kind": "series", "classes": [f"digit {n}" for n in range(10)]}


def tokens():
    return {"train_inputs": x[:900].astype(int), "train_targets": y[:900], "test_inputs": x[900:].astype(int),
            "test_targets": y[900:], "kind": "tokens", "vocabulary": 17}


def next_tokens():
    ids = x.astype(int)
    return {"train_inputs": ids[:900, :-1], "train_targets": ids[:900, 1:], "test_inputs": ids[900:, :-1],
            "test_targets": ids[900:, 1:], "kind": "tokens"}


def images():
    return x[:900].reshape(-1, 1, 8, 8), y[:900], x[900:].reshape(-1, 1, 8, 8), y[900:]


def numbers():
    rows, targets = load_diabetes(return_X_y=True)
    return rows[:300], targets[:300], rows[300:], targets[300:]


class Pairs(torch.utils.data.Dataset):
    def __init__(self, start, stop):
        self.rows = range(start, stop)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        row = self.rows[at]
        return torch.tensor(x[row]), int(y[row])


def datasets():
    return Pairs(0, 1400), Pairs(1400, 1797)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(source=SOURCE):
        (tmp_path / "mine.py").write_text(textwrap.dedent(source))
        return "mine.py"

    return write


KINDS = {
    "rows": ("vectors", (64,), None, "classes", 10),
    "a": ("vectors", (64,), None, "classes", 10),
    "datasets": ("vectors", (64,), None, "classes", 10),
    "images": ("images", (1, 8, 8), None, "classes", 10),
    "series": ("series", (8, 8), None, "classes", 10),
    "tokens": ("tokens", (64,), 17, "classes", 10),
    "next_tokens": ("tokens", (63,), 17, "tokens", 17),
    "numbers": ("vectors", (10,), None, "numbers", 1),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_what_the_function_returns(name, mine):
    kind, shape, words, targets, outputs = KINDS[name]
    data = load(DataSpec(name=f"{mine()}:{name}"), targets=targets)
    assert (data.inputs.kind, data.inputs.shape, data.inputs.vocabulary) == (kind, shape, words)
    assert data.outputs == outputs
    x, y = next(batches(data, batch=48, streams=Streams(root=0, replicate=0), start=0, stop=1))
    example = data.inputs.example(48)
    assert (x.shape, x.dtype) == (example.shape, example.dtype)
    assert y.dtype == (torch.float32 if targets == "numbers" else torch.int64)


def test_values_are_those_of_the_function():
    x, y = load_digits(return_X_y=True)
    data = load(DataSpec(name=f"{__name__}:rows_of_digits"))
    assert np.array_equal(data.train.inputs.numpy(), x[:1400].astype(np.float32))
    assert np.array_equal(data.test.targets.numpy(), y[1400:])


def rows_of_digits():
    x, y = load_digits(return_X_y=True)
    return x[:1400], y[:1400], x[1400:], y[1400:]


def test_vectors_are_scaled_number_by_number_and_a_constant_one_is_left_alone(mine):
    data = load(DataSpec(name=f"{mine()}:rows"))
    whole = len(data.train)
    (x, _), *_ = batches(data, batch=whole, streams=Streams(root=0, replicate=0), start=0, stop=1)
    varies = data.train.inputs.std(0, correction=0) > 0
    assert (~varies).any(), "digits have pixels that are always blank"
    assert x.mean(0).abs().max() < 1e-4
    assert (x[:, varies].std(0, correction=0) - 1).abs().max() < 1e-4
    assert (x[:, ~varies] == 0).all()
    assert all(data.std[at] == 1 for at in (~varies).nonzero().flatten())


def test_numbers_as_targets_are_scaled_in_training_and_in_their_own_unit_in_tests(mine):
    data = load(DataSpec(name=f"{mine()}:numbers"), targets="numbers")
    _, targets = load_diabetes(return_X_y=True)
    (_, y), *_ = batches(data, batch=300, streams=Streams(root=0, replicate=0), start=0, stop=1)
    assert y.shape == (300, 1)
    assert (abs(float(y.mean())), float(y.std(correction=0))) == pytest.approx((0, 1), abs=1e-5)
    tests = torch.cat([each for _, each in test_batches(data)])
    assert np.array_equal(tests.numpy()[:, 0], targets[300:].astype(np.float32))
    assert data.scale.mean == pytest.approx([targets[:300].mean()])
    back = data.scale.back(y).sort(0).values[:, 0].numpy()
    assert back == pytest.approx(np.sort(targets[:300]), rel=1e-5)


def test_datasets_and_arrays_are_the_same_set(mine):
    file = mine()
    whole, again = (load(DataSpec(name=f"{file}:{name}")) for name in ("rows", "datasets"))
    assert whole.train.inputs.equal(again.train.inputs)
    assert whole.digest == again.digest


def test_halves_of_own_data_are_behind_the_function(mine):
    file = mine()
    whole, a, b, called = (load(DataSpec(name=f"{file}:{name}")) for name in ("rows", "rows:a", "rows:b", "a"))
    assert (len(whole.train), len(called.train)) == (1400, 1400)
    assert len(a.train) + len(b.train) == 1400
    assert not {*map(tuple, a.train.inputs.tolist())} & {*map(tuple, b.train.inputs.tolist())}
    assert a.test.inputs.equal(whole.test.inputs)
    assert len(load(DataSpec(name=f"{file}:a:a")).train) == len(a.train)
    assert len({whole.digest, a.digest, b.digest}) == 3


def test_halves_of_numbers_are_disjoint_too(mine):
    file = mine()
    a, b = (load(DataSpec(name=f"{file}:numbers:{half}"), targets="numbers") for half in "ab")
    assert len(a.train) == len(b.train) == 150
    rows = {*map(tuple, a.train.inputs.tolist()), *map(tuple, b.train.inputs.tolist())}
    assert len(rows) == 300


def test_the_digest_follows_the_content(mine):
    before = load(DataSpec(name=f"{mine()}:numbers"), targets="numbers").digest
    assert load(DataSpec(name="mine.py:numbers"), targets="numbers").digest == before
    source = DataRequest(spec=DataSpec(name="mine.py:rows"), targets="classes")
    assert own(source).fingerprint == "", "nothing of it is kept in the cache"


def test_classes_and_per_class(mine):
    few = load(DataSpec(name=f"{mine()}:rows", classes=3, per_class=20))
    assert few.train.targets.bincount().tolist() == [20, 20, 20]
    assert few.outputs == 3


@pytest.mark.parametrize("field", ["classes", "per_class"])
def test_classes_are_refused_where_there_are_none(field, mine):
    with pytest.raises(DataError, match=f"{field}=2: mine.py:numbers gives numbers, not classes; leave it out"):
        load(DataSpec(name=f"{mine()}:numbers", **{field: 2}), targets="numbers")


GOOD = "np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32), np.arange(40) % 2"
BAD = {
    "nothing": ("None", "expected train_inputs, .* as a tuple or a mapping, or two torch datasets; got NoneType"),
    "three": ("X, Y, X", "or two torch datasets, .* got ndarray, ndarray, ndarray"),
    "two arrays": ("X, Y", "or two torch datasets, .* got ndarray, ndarray"),
    "no test part": ("dict(train_inputs=X, train_targets=Y)", "no test_inputs, test_targets; expected train_inputs"),
    "another name": ("dict(train_input=X)", "unknown name 'train_input'; did you mean 'train_inputs'"),
    "objects": (
        "np.array([{}] * 40), Y, X, Y",
        "train_inputs: expected numbers in one array, got dtype object; make texts numbers",
    ),
    "texts as labels": ("X, np.array(['a', 'b'] * 20), X, Y", "train_targets: expected numbers .* got dtype <U1"),
    "ragged": ("[[1.0], [1.0, 2.0]], Y, X, Y", "train_inputs: cannot be one array"),
    "too few targets": ("X, Y[:39], X, Y", "train: expected 40 whole-number labels, got int64 of shape"),
    "NaN": ("X * np.nan, Y, X, Y", "vectors hold NaN or infinite values; remove them"),
    "other width": ("X, Y, X[:, :3], Y", r"training and test vectors differ in shape: \[\(3,\), \(4,\)\]"),
    "empty": ("X, Y, X[:0], Y[:0]", "split 'test' is empty; expected at least one row of each class"),
    "label out of range": (
        "dict(train_inputs=X, train_targets=Y, test_inputs=X, test_targets=Y + 1, classes=['a', 'b'])",
        "row 1 has label 2, outside 0..1",
    ),
    "label below 0": ("X, Y - 1, X, Y", "has label -1, outside 0"),
    "labels that are no whole numbers": ("X, Y * 0.5, X, Y", "expected 40 whole-number labels, got float64"),
    "one class": ("X, Y * 0, X, Y * 0", "holds the class 0 alone; expected at least two"),
    "whole numbers": (
        "X.astype(int), Y, X.astype(int), Y",
        "may be vectors, or tokens; say which: kind='vectors' or kind='tokens'",
    ),
    "three dimensions": (
        "X[:, None], Y, X[:, None], Y",
        r"\(40, 1, 4\) may be images \(N, H, W\), or series \(N, C, T\); say which: kind='images' or kind='series'",
    ),
    "one dimension": ("X[:, 0], Y, X[:, 0], Y", "expected inputs of 2 to 4 dimensions"),
    "unknown kind": (
        "dict(train_inputs=X, train_targets=Y, test_inputs=X, test_targets=Y, kind='vector')",
        "unknown kind 'vector'; did you mean 'vectors'",
    ),
    "kind of other dimensions": (
        "dict(train_inputs=X, train_targets=Y, test_inputs=X, test_targets=Y, kind='series')",
        r"series: expected an array \(examples, channels, steps\), got shape \(40, 4\)",
    ),
    "tokens beyond the vocabulary": (
        "dict(train_inputs=Y[:, None] * 9, train_targets=Y, test_inputs=Y[:, None], test_targets=Y, kind='tokens', "
        "vocabulary=5)",
        "tokens from 0 to 9; expected 0 to 4",
    ),
    "outputs of classes": (
        "dict(train_inputs=X, train_targets=Y, test_inputs=X, test_targets=Y, outputs=4)",
        "outputs=4: the task asks for classes, which say how many; leave it out",
    ),
    "fails": ("1 / 0", "dataset 'mine.py:data' failed: ZeroDivisionError"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_a_set_is_refused_in_words(case, mine):
    made, words = BAD[case]
    mine(f"import numpy as np\nX, Y = {GOOD}\n\n\ndef data():\n    return {made}\n")
    with pytest.raises(DataError, match=words):
        load(DataSpec(name="mine.py:data"))


EMPTY = {
    "numbers": ("(X[:0], Y[:0], X, Y)", "split 'train' is empty; expected at least one row"),
    "tokens": (
        "dict(train_inputs=Y[:, None][:, :0], train_targets=Y, test_inputs=Y[:, None][:, :0], test_targets=Y, "
        "kind='tokens')",
        r"tokens: expected an array \(examples, tokens\), got shape \(40, 0\)",
    ),
    "given": ("(X, X * 1e300, X, X)", "targets hold NaN or infinite values, or numbers beyond float32"),
}


@pytest.mark.parametrize("targets", EMPTY)
def test_arrays_of_nothing_and_numbers_beyond_float32_are_refused_in_words(targets, mine):
    made, words = EMPTY[targets]
    mine(f"import numpy as np\nX, Y = {GOOD}\nX = X.astype(float)\n\n\ndef data():\n    return {made}\n")
    with pytest.raises(DataError, match=words):
        load(DataSpec(name="mine.py:data"), targets="numbers" if targets == "numbers" else "given")


def test_datasets_that_are_no_map_or_unlike(mine):
    mine(
        """
        import torch

        class Stream(torch.utils.data.IterableDataset):
            def __iter__(self):
                yield torch.ones(3), 0

        class Unlike:
            def __len__(self):
                return 3

            def __getitem__(self, at):
                return torch.ones(at + 1), 0

        class Bare(Unlike):
            def __getitem__(self, at):
                return torch.ones(3)

        def stream():
            return Stream(), Stream()

        def unlike():
            return Unlike(), Unlike()

        def bare():
            return Bare(), Bare()
        """
    )
    for name, words in (
        ("stream", "which have a length and give an example for each number; got Stream, Stream"),
        ("unlike", r"train: example 1 has the shape \(2,\), the first has \(1,\)"),
        ("bare", "train: example 0: expected an input and a target, got Tensor"),
    ):
        with pytest.raises(DataError, match=words):
            load(DataSpec(name=f"mine.py:{name}"))


def test_targets_that_are_given_come_as_they_are(mine):
    mine(
        """
        import numpy as np

        X = np.arange(80, dtype=np.float32).reshape(20, 4)

        def pairs():
            return X, X[:, :2], X, X[:, :2]

        def maps():
            return X, X.reshape(20, 2, 2), X, X.reshape(20, 2, 2)

        def counts():
            return {"train_inputs": X, "train_targets": np.arange(20), "test_inputs": X, "test_targets": np.arange(20),
                    "outputs": 1}

        def two():
            return {**counts(), "outputs": 2}
        """
    )
    data = load(DataSpec(name="mine.py:pairs"), targets="given")
    assert (data.outputs, data.scale) == (2, None)
    assert data.train.targets.equal(data.train.inputs[:, :2])
    counts = load(DataSpec(name="mine.py:counts"), targets="given")
    assert (counts.outputs, counts.train.targets.tolist()) == (1, list(range(20)))
    assert counts.digest != load(DataSpec(name="mine.py:two"), targets="given").digest, "another network is other work"
    with pytest.raises(DataError, match="does not say how many outputs a network needs; name them `outputs`"):
        load(DataSpec(name="mine.py:maps"), targets="given")


def test_where_a_function_is_looked_for(mine):
    mine()
    with pytest.raises(SpecError, match="dataset 'mine.py:row': 'mine.py' has no 'row'; did you mean rows"):
        load(DataSpec(name="mine.py:row"))
    with pytest.raises(SpecError, match="no such file: other.py"):
        load(DataSpec(name="other.py:data"))


def test_a_set_of_torch_itself():
    data = load(DataSpec(name=f"{__name__}:tensors"))
    assert data.train.inputs.shape == (30, 3)


def tensors():
    rows = torch.arange(90.0).view(30, 3)
    return TensorDataset(rows, torch.arange(30) % 2), TensorDataset(rows + 1, torch.arange(30) % 2)
