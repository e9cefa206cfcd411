"""Tables: rows as vectors, out of Parquet and CSV files."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from oneticket.data.batches import batches, test_batches
from oneticket.data.load import load
from oneticket.data.settle import fifth
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError
from oneticket.ground.streams import Streams
from oneticket.task.inputs import Inputs

# name: training rows, test rows, classes, mean and deviation of x0 over the training rows alone
REAL = {
    "tabular/letter": (14_944, 3_724, 26, 4.152503, 1.884859),
    "tabular/penbased": (8_797, 2_195, 10, 38.749687, 34.280790),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables(name, shared):
    data = load(DataSpec(name=name))
    train, test, classes, mean, std = REAL[name]
    assert (len(data.train), len(data.test), data.outputs) == (train, test, classes)
    assert data.inputs == Inputs(kind="vectors", shape=(16,))
    assert (data.mean[0], data.std[0]) == (pytest.approx(mean, abs=1e-6), pytest.approx(std, abs=1e-6))
    raw = pq.read_table(shared / name / "train-00000-of-00001.parquet")
    assert data.train.inputs[:, 3].tolist() == raw["x3"].to_pylist()
    assert [data.classes[number] for number in data.train.targets[:50]] == raw["label"].to_pylist()[:50]
    assert "Inputs: columns x0, x1, x2, x3 ... x15. Label: column label." in str(data.reading)
    assert f"Training: {train:,} rows from split train. Test: {test:,} rows from split test." in str(data.reading)


def test_training_rows_are_scaled_and_test_rows_by_the_same(shared):
    data = load(DataSpec(name="tabular/letter:a", classes=10, per_class=200))
    (x, _), *_ = batches(data, batch=2000, streams=Streams(root=0, replicate=0), start=0, stop=1)
    assert x.shape == (2000, 16)
    assert x.mean(0).abs().max() < 1e-4
    assert (x.std(0, correction=0) - 1).abs().max() < 1e-4
    seen = torch.cat([x for x, _ in test_batches(data)])
    expected = (data.test.inputs.double() - torch.tensor(data.mean)) / torch.tensor(data.std)
    assert seen.double().sub(expected).abs().max() < 1e-5
    assert seen.mean(0).abs().max() > 0.01


def test_halves_are_disjoint_and_balanced(shared):
    whole, *halves = (load(DataSpec(name=f"tabular/penbased{half}")) for half in ("", ":a", ":b"))
    rows = [{tuple(row) for row in data.train.inputs.tolist()} for data in (whole, *halves)]
    assert rows[1] | rows[2] == rows[0]
    assert not rows[1] & rows[2]
    counts = [torch.bincount(data.train.targets) for data in halves]
    assert (counts[0] - counts[1]).abs().max() <= 1
    assert halves[0].digest != halves[1].digest


def table(**columns):
    """24 rows: a number, a truth value, a category, and a label, with some columns changed or taken out (None)."""
    usual = {
        "age": [20 + row for row in range(24)],
        "smokes": [row % 3 == 0 for row in range(24)],
        "colour": ["red", "blue", "green", "red"] * 6,
        "label": ["no", "yes"] * 12,
    }
    return pa.table({name: values for name, values in {**usual, **columns}.items() if values is not None})


def save(root, train=None, test=None):
    root.mkdir(exist_ok=True)
    pq.write_table(train if train is not None else table(), root / "train.parquet")
    pq.write_table(test if test is not None else table(), root / "test.parquet")
    return str(root)


def test_numbers_truth_values_and_categories(tmp_path):
    data = load(DataSpec(name=save(tmp_path)))
    assert data.inputs.shape == (5,)
    assert data.train.inputs[0].tolist() == [20, 1, 0, 0, 1]  # age, smokes, blue, green, red
    assert data.train.inputs[1].tolist() == [21, 0, 1, 0, 0]
    assert data.classes == ("no", "yes")
    assert data.train.targets[:3].tolist() == [0, 1, 0]
    assert (data.mean[0], data.std[0]) == (31.5, pytest.approx(np.arange(24).std()))
    assert (data.mean[1:], data.std[1:]) == ((0.0,) * 4, (1.0,) * 4), "what is 0 or 1 is not scaled"
    columns_line = (
        "Inputs: columns age; true or false smokes; categories colour (blue, green, red). Label: column label."
    )
    assert columns_line in str(data.reading)
    assert "24 test rows are also training rows" in str(data.reading)
    inputs = ["age", "smokes", "colour=blue", "colour=green", "colour=red"]
    assert data.columns == {"label": "label", "inputs": inputs}


def test_what_training_does_not_vary_is_told_and_not_scaled(tmp_path):
    name = save(tmp_path, table(age=[0.1] * 24), table(age=[0.1] * 12 + [7.1] * 12))
    data = load(DataSpec(name=name))
    assert (data.mean[0], data.std[0]) == (pytest.approx(0.1), 1.0)
    (x, _), *_ = test_batches(data)
    assert x[:, 0].tolist() == pytest.approx([0] * 12 + [7] * 12)
    assert "The same in every training row: age" in str(data.reading)


def test_times_in_seconds_keep_their_digits(tmp_path):
    seconds = [1_700_000_000 + row for row in range(24)]
    data = load(DataSpec(name=save(tmp_path, table(age=seconds), table(age=[1_700_000_012] * 24))))
    (x, _), *_ = test_batches(data)
    assert x[0, 0].item() == pytest.approx(0.5 / np.arange(24).std())
    assert "Numbers without their training mean, which is far from 0: age (1.7e+09)" in str(data.reading)


def test_missing_values_are_filled_from_the_training_rows_if_asked(tmp_path):
    age = [None, float("nan"), *range(2, 24)]
    train = table(age=age, smokes=[None, *[True] * 23], colour=["red", None] + ["blue"] * 12 + ["red"] * 10)
    name = save(tmp_path, train, table(age=[None] * 24, colour=[None] * 24))
    with pytest.raises(
        DataError, match=r"missing in column 'age' \(26 rows\), 'smokes' \(1 rows\), 'colour' \(25 rows\)"
    ):
        load(DataSpec(name=name))
    data = load(DataSpec(name=name, missing="fill"))
    assert data.train.inputs[:3].tolist() == [[12.5, 1, 0, 1], [12.5, 1, 1, 0], [2, 1, 1, 0]]
    assert data.test.inputs[5, 0] == 12.5
    assert data.test.inputs[:, 2].eq(1).all(), "blue is the most frequent training value"
    assert data.columns["filled"] == {"age": 12.5, "smokes": 1.0, "colour": "blue"}
    assert "Missing values are filled: age (26 with 12.5), smokes (1 with 1), colour (25 with blue)" in str(
        data.reading
    )
    assert (
        load(DataSpec(name=save(tmp_path / "whole"), missing="fill")).digest
        == load(DataSpec(name=save(tmp_path / "whole"))).digest
    ), "where nothing is missing, filling is no other data"


def test_rows_that_are_held_out_say_nothing_of_what_columns_become(tmp_path):
    _, held_out = fifth(np.arange(24) % 2, "classes")
    age, colour = np.arange(24.0), np.array(["red", "blue"] * 12, dtype=object)
    age[held_out], colour[held_out], age[[0, 1]] = 1e6, "pink", np.nan
    file = tmp_path / "people.parquet"
    pq.write_table(table(age=age, colour=colour), file)
    data = load(DataSpec(name=str(file), missing="fill"))
    trained = np.delete(age, held_out)
    assert len(data.test) == len(held_out) == 5
    assert data.columns["filled"] == {"age": np.nanmedian(trained)}
    assert data.columns["inputs"] == ["age", "smokes", "colour=blue", "colour=red"]
    assert data.test.inputs[:, 2:].eq(0).all()
    assert "5 test rows have other categories of colour (pink), read as none" in str(data.reading)
    assert data.mean[0] == pytest.approx(np.where(np.isnan(trained), np.nanmedian(trained), trained).mean())


def test_categories_that_training_does_not_have_are_none_and_told(tmp_path):
    data = load(DataSpec(name=save(tmp_path, test=table(colour=["pink", "red", "teal", "pink"] * 6))))
    assert data.test.inputs[0, 2:].tolist() == [0, 0, 0]
    assert "18 test rows have other categories of colour (pink, teal), read as none" in str(data.reading)


def test_columns_go_by_name_and_in_the_order_of_the_training_split(tmp_path):
    turned = table().select(["label", "colour", "age", "smokes"])
    assert (
        load(DataSpec(name=save(tmp_path / "a", test=turned))).digest
        == load(DataSpec(name=save(tmp_path / "b"))).digest
    )


LABELS = {
    "whole numbers": ([3, 7] * 12, ("3", "7")),
    "below zero": ([-1, 1] * 12, ("-1", "1")),
    "truth values": ([True, False] * 12, ("False", "True")),
    "categories": (pa.array(["no", "yes"] * 12).dictionary_encode(), ("no", "yes")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind, tmp_path):
    labels, names = LABELS[kind]
    data = load(DataSpec(name=save(tmp_path, table(label=labels), table(label=labels))))
    assert data.classes == names
    assert [data.classes[number] for number in data.test.targets] == [
        str(label) for label in pa.array(labels).to_pylist()
    ]


def test_labels_as_the_hub_describes_them(tmp_path):
    described = '{"info": {"features": {"kind": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}}}'
    both = table(label=None, kind=[2, 0, 1] * 8).replace_schema_metadata({"huggingface": described})
    data = load(DataSpec(name=save(tmp_path, both, both)))
    assert data.classes == ("cat", "dog", "owl")
    assert data.train.targets[:3].tolist() == [2, 0, 1]


def test_the_label_is_another_column_if_asked(tmp_path):
    data = load(DataSpec(name=save(tmp_path), label="smokes"))
    assert data.classes == ("False", "True")
    assert "categories colour (blue, green, red), label (no, yes). Label: column smokes" in str(data.reading)
    assert data.digest != load(DataSpec(name=save(tmp_path))).digest


def test_a_number_to_tell(tmp_path):
    both = table(label=None, Y=[row / 2 for row in range(24)])
    data = load(DataSpec(name=save(tmp_path, both, both)), targets="numbers")
    assert (data.outputs, data.classes) == (1, ())
    assert data.train.targets[:3].tolist() == [[0], [0.5], [1]]
    assert "vectors of 5 numbers, 1 number to predict" in str(data.reading)
    halves = [load(DataSpec(name=f"{save(tmp_path, both, both)}:{half}"), targets="numbers") for half in "ab"]
    assert [len(half.train) for half in halves] == [12, 12]


@pytest.mark.parametrize("hidden", ["null", "minus one", "no column"])
def test_a_test_split_without_labels_gives_way_to_a_held_out_fifth(hidden, tmp_path):
    numbers = table(label=[0, 1] * 12)
    bare = {"null": pa.nulls(24, pa.int64()), "minus one": [-1] * 24, "no column": None}[hidden]
    data = load(DataSpec(name=save(tmp_path, numbers, table(label=bare))))
    assert (len(data.train), len(data.test)) == (19, 5)
    assert "Left out: 24 in split test, as it has no labels" in str(data.reading)


def test_a_single_file_and_csv_hold_the_same(tmp_path):
    pq.write_table(table(), tmp_path / "people.parquet")
    pyarrow.csv.write_csv(table(), tmp_path / "people.csv")
    found = [load(DataSpec(name=str(tmp_path / f"people.{suffix}"))) for suffix in ("parquet", "csv")]
    assert [(len(data.train), len(data.test)) for data in found] == [(19, 5)] * 2
    assert found[0].digest == found[1].digest
    for split in ("train", "test"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        pyarrow.csv.write_csv(table(), tmp_path / "folder" / f"{split}.csv")
    assert load(DataSpec(name=str(tmp_path / "folder"))).digest == load(DataSpec(name=save(tmp_path / "set"))).digest


def test_csv_files_of_several_parts_and_with_gaps(tmp_path):
    (tmp_path / "train-0.csv").write_text("a,b,label\n" + "1,x,0\n2,y,1\n" * 8)
    (tmp_path / "train-1.csv").write_text("a,b,label\n" + "1.5,x,0\nNA,y,1\n" * 8)
    (tmp_path / "test.csv").write_text("a,b,label\n" + "3,x,0\n,y,1\n" * 4)
    with pytest.raises(DataError, match=r"'a' \(12 rows\)"):
        load(DataSpec(name=str(tmp_path)))
    data = load(DataSpec(name=str(tmp_path), missing="fill"))
    assert (len(data.train), data.inputs.shape) == (32, (3,))
    assert data.test.inputs[1].tolist() == [1.5, 0, 1]


ROWS = list(range(24))
MANY = [f"name {row}" for row in range(24)]
BAD_TABLES = {
    "many texts": ({"colour": MANY}, {}, r"'colour' \(24 different texts; categories have at most 32, with 4 rows"),
    "dates": ({"age": pa.array(range(24), pa.date32())}, {}, r"'age' \(dates or times\)"),
    "lists": ({"age": [[1]] * 24}, {}, r"'age' \(lists\).*Take them out of the files"),
    "decimals": ({"age": pa.array(range(24)).cast(pa.decimal128(20, 0))}, {}, r"'age' \(decimals\)"),
    "nothing": ({"age": pa.nulls(24)}, {}, r"'age' \(nothing\)"),
    "no value": ({"age": pa.nulls(24, pa.float64())}, {}, r"'age' \(no value in any training row\)"),
    "no name": ({"": list(range(24))}, {}, "'' .it has no name, as pandas .* index=False"),
    "question marks": ({"age": ["1", "2", "3", "?"] * 6}, {}, r"'age' \(numbers, and texts as '\?'; leave the cell"),
    "infinite": ({"age": [float("inf"), *range(23)]}, {}, r"infinite values in column 'age' \(1 rows\)"),
    "beyond float32": ({"age": [1e300, *range(23)]}, {}, "'age' of split 'train' holds numbers beyond float32"),
    "column in training alone": ({"more": list(range(24))}, {}, "split 'test' has no column more, which 'train' has"),
    "column in test alone": ({}, {"more": list(range(24))}, "split 'test' has the column more, which 'train' has not"),
    "other kind in test": ({}, {"age": MANY}, "column 'age' holds numbers in 'train' and texts in 'test'"),
    "no label": ({"label": None}, {"label": None}, r"no label column .label, labels, target, class, y.*name it"),
    "two labels": ({"Target": [0, 1] * 12}, {}, "'label' and 'Target' could each be the label column"),
    "label alone": ({"age": None, "smokes": None, "colour": None}, {}, "no column beside the label 'label'"),
    "label with fractions": ({"label": [0.5, 1.0] * 12}, {}, "fraction .floats.*use the task regression"),
    "labels all different": (
        {"label": ROWS},
        {"label": ROWS},
        "24 different whole numbers in 24 rows.*task regression",
    ),
    "labels of dates": ({"label": pa.array(range(24), pa.date32())}, {}, "holds dates or times, which are no classes"),
    "labels missing": ({"label": [None, "no"] * 12}, {}, "'label', split 'train': 12 rows have no target"),
    "no labels": ({"label": pa.nulls(24)}, {}, "'label', split 'train': has no targets"),
    "label of test alone": ({}, {"label": ["no", "maybe"] * 12}, "'test': holds 'maybe', which the training"),
    "labels of two kinds": ({}, {"label": [0, 1] * 12}, "texts in train and whole numbers in test"),
    "one class": ({"label": ["no"] * 24}, {"label": ["no"] * 24}, "holds the class no alone"),
    "text and others": ({"text": MANY}, {}, "has the column 'text', which is read as texts, and beside it 'age', 'sm"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables(case, tmp_path):
    train, test, words = BAD_TABLES[case]
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=save(tmp_path, table(**train), table(**test))))


BAD_NUMBERS = {
    "texts": ({}, "holds texts, and the task needs numbers"),
    "truth values": ({"label": [True, False] * 12}, "holds truth values, and the task needs numbers"),
    "infinite": ({"label": [1.0, float("-inf")] * 12}, "12 targets are infinite"),
    "missing": ({"label": [1.0, None] * 12}, "12 rows have no target"),
}


@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_numbers_that_cannot_be_told(case, tmp_path):
    changes, words = BAD_NUMBERS[case]
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=save(tmp_path, table(**changes), table(**changes)), missing="fill"), targets="numbers")


def test_settings_that_are_not_for_tables(tmp_path, shared):
    for field in ({"size": 8}, {"channels": 3}, {"flip": True}, {"crop": 2}, {"fit": "pad"}):
        with pytest.raises(DataError, match=f"{next(iter(field))}=.* is for images, but .* holds vectors"):
            load(DataSpec(name=save(tmp_path), **field))
    with pytest.raises(DataError, match="length=8: is for texts, which .* is not"):
        load(DataSpec(name="tabular/letter", length=8))
    with pytest.raises(DataError, match="missing=fill: is for tables, which .* is not"):
        load(DataSpec(name="svhn", missing="fill"))
    with pytest.raises(DataError, match="letter holds vectors of 16 numbers; the network takes vectors of 5 numbers"):
        load(DataSpec(name="tabular/letter"), inputs=load(DataSpec(name=save(tmp_path))).inputs)
    with pytest.raises(
        DataError, match="no column 'income' to be the label; its columns are age, colour, label, smokes"
    ):
        load(DataSpec(name=save(tmp_path), label="income"))
    with pytest.raises(DataError, match="task language needs a plain text"):
        load(DataSpec(name=save(tmp_path)), targets="tokens")
    with pytest.raises(DataError, match="digits: gives classes, but the task asks for"):
        load(DataSpec(name="digits"), targets="tokens")


def test_a_few_bytes_that_claim_more_rows_than_memory_holds(tmp_path):
    whole = pa.table({"x": pa.array(np.zeros(10_000_000, np.int8)), "label": pa.array(np.zeros(10_000_000, np.int8))})
    pq.write_table(whole, tmp_path / "train.parquet", compression="zstd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oneticket.ground.memory.memory", lambda: 10**7)
        with pytest.raises(
            DataError, match="10,000,000 rows of 2 columns would take about 160,000,000 bytes of memory"
        ):
            load(DataSpec(name=str(tmp_path)))


def test_files_that_are_parts_of_a_set_or_none(tmp_path):
    name = save(tmp_path / "set")
    with pytest.raises(DataError, match="train.parquet: is a file; expected a folder .* that is a whole set"):
        load(DataSpec(name=f"{name}/train.parquet"))
    for suffix in ("parquet", "csv"):
        broken = tmp_path / f"broken.{suffix}"
        broken.write_bytes(b"\xff\x00PAR1")
        with pytest.raises(DataError, match=f"cannot read this {'Parquet' if suffix == 'parquet' else 'CSV'} file"):
            load(DataSpec(name=str(broken)))


BAD_CSV = {
    "a name twice": (b"a,a,label\n1,2,0\n", "cannot read this CSV file: .*a"),
    "nothing": (b"", "cannot read this CSV file: Empty CSV file"),
    "no row": (b"a,label\n", "split 'all' is empty"),
    "other separator": (b"a;label\n1;0\n", "expected columns separated by commas, got the line 'a;label'"),
    "a row too short": (b"a,b,label\n1,2,0\n1,2\n", "Row #3: Expected 3 columns, got 2"),
    "Latin-1": ("a,label\n1,\xfc\n".encode("latin-1"), "column 'label' holds bytes that are no UTF-8"),
    "UTF-16": ("a,label\n1,0\n".encode("utf-16"), "cannot read this CSV file"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv(case, tmp_path):
    content, words = BAD_CSV[case]
    (tmp_path / "set.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=str(tmp_path / "set.csv")))


def test_names_of_rows_are_not_read_and_numbers_of_rows_are_told(tmp_path):
    indexed = table(__index_level_0__=MANY, id=list(range(24)))
    data = load(DataSpec(name=save(tmp_path, indexed, indexed)))
    assert data.inputs.shape == (6,)
    assert "Not read: __index_level_0__, pandas's names of the rows" in str(data.reading)
    assert "age, id numbers the rows; take it out of the files if it is no input" in str(data.reading)
