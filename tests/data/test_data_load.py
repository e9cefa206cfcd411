import io

import numpy as np
import pytest
import torch
from PIL import Image

from oneticket.data import hub
from oneticket.data.batches import batches, test_batches
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground import note
from oneticket.ground.errors import DataError, KeptWarning
from oneticket.ground.streams import Streams
from oneticket.task.inputs import Inputs

# name: training images, test images, shape, classes, mean of the first channel as published or as it came out
SETS = {
    "digits": (1437, 360, (1, 8, 8), 10, 0.287),
    "mnist1d": (4000, 1000, (1, 40), 10, 0.0),
    "fashion_mnist": (60000, 10000, (1, 28, 28), 10, 0.286),
    "svhn": (862, 221, (3, 32, 32), 10, 0.456),
    "cifar10": (20000, 10000, (3, 32, 32), 10, 0.493),
    "cifar100": (10000, 2000, (3, 32, 32), 100, 0.506),
}
GENERATED = ("digits", "mnist1d")


@pytest.mark.parametrize("name", SETS)
def test_real_sets(name, request):
    if name not in GENERATED:
        request.getfixturevalue("shared")
    data = load(DataSpec(name=name))
    train, test, shape, classes, mean = SETS[name]
    assert (len(data.train), len(data.test), data.inputs.shape, len(data.classes)) == (train, test, shape, classes)
    assert data.mean[0] == pytest.approx(mean, abs=1e-3)
    assert data.train.inputs.dtype == (torch.float32 if name == "mnist1d" else torch.uint8)
    assert data.train.targets.dtype == torch.int64
    assert len(data.digest) == 64


def test_diabetes_is_a_set_of_numbers_in_its_own_unit():
    data = load(DataSpec(name="diabetes"), targets="numbers")
    assert (len(data.train), len(data.test), data.inputs.shape, data.outputs, data.classes) == (353, 89, (10,), 1, ())
    whole = torch.cat([data.train.targets, data.test.targets])
    assert (whole.min(), whole.max()) == (25, 346) and whole.mean() == pytest.approx(152.13, abs=0.01)
    assert data.scale.mean[0] == pytest.approx(float(data.train.targets.mean()), rel=1e-6)
    assert load(DataSpec(name="diabetes"), targets="numbers").digest == data.digest
    with pytest.raises(DataError, match="gives numbers, but the task asks for classes; set `task = .regression.`"):
        load(DataSpec(name="diabetes"))


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec(name="digits"),
        DataSpec(name="mnist1d:a"),
        DataSpec(name="digits", classes=3, per_class=50, size=12, channels=3),
        DataSpec(name="svhn", flip=False, crop=0),
    ],
    ids=lambda spec: spec.name,
)
def test_training_part_in_use_has_mean_0_and_deviation_1(spec, request):
    if spec.name == "svhn":
        request.getfixturevalue("shared")
    data = load(spec)
    (x, _), *_ = batches(data, batch=len(data.train), streams=Streams(root=0, replicate=0), start=0, stop=1)
    each = tuple(axis for axis in range(x.dim()) if axis != 1)
    assert x.mean(each).abs().max() < 1e-4
    assert (x.std(each, correction=0) - 1).abs().max() < 1e-4


def test_every_test_image_once_and_in_order():
    data = load(DataSpec(name="digits"))
    x, y = (torch.cat(part) for part in zip(*test_batches(data, 100), strict=True))
    assert y.equal(data.test.targets)
    assert torch.allclose(x * data.std[0] + data.mean[0], data.test.inputs / 255, atol=1e-6)


def test_adaptation_by_spec_and_by_likeness():
    assert load(DataSpec(name="digits", size=16, channels=3)).inputs.shape == (3, 16, 16)
    like = load(DataSpec(name="digits"), inputs=Inputs(shape=(3, 16, 16)))
    assert like.inputs.shape == (3, 16, 16)
    assert like.digest == load(DataSpec(name="digits", size=16, channels=3)).digest
    assert load(DataSpec(name="digits", size=10), inputs=Inputs(shape=(3, 16, 16))).inputs.shape == (3, 10, 10)
    assert like.train.inputs[:, 0].equal(like.train.inputs[:, 2])


def test_padding_keeps_the_pixels():
    plain, padded = load(DataSpec(name="digits")), load(DataSpec(name="digits", size=12, fit="pad"))
    assert padded.train.inputs[:, :, 2:10, 2:10].equal(plain.train.inputs)
    assert padded.train.inputs.sum() == plain.train.inputs.sum()


def test_resizing_keeps_constant_images_constant_and_grey_is_luma():
    from oneticket.data.images.adapt import adapt

    red = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 200
    assert adapt(red, (3, 13, 13), "resize").eq(torch.tensor([200, 0, 0]).view(1, 3, 1, 1)).all()
    assert adapt(red, (1, 8, 8), "resize").unique().tolist() == [60]


def save_npz(path, pictures, **changes):
    x, y = pictures
    arrays = {"x_train": x[:150], "y_train": y[:150], "x_test": x[150:], "y_test": y[150:], **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return str(path)


@pytest.mark.parametrize("form", ["NHWC", "NCHW", "NHW", "float"])
def test_npz_in_every_layout(form, pictures, tmp_path):
    x, y = pictures
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    images = {"NHWC": x, "NCHW": x.transpose(0, 3, 1, 2), "NHW": x[..., 0], "float": (x / 255).astype(np.float32)}[form]
    data = load(DataSpec(name=save_npz(tmp_path / "set.npz", (images, y))))
    assert data.inputs.shape == ((1, 32, 32) if form == "NHW" else (3, 32, 32))
    assert data.train.inputs.dtype == (torch.float32 if form == "float" else torch.uint8)
    back = data.train.inputs if form != "float" else (data.train.inputs * 255).round().byte()
    assert back[:, 0].numpy().tolist() == x[:150, ..., 0].tolist()


def test_local_folder_of_one_size(pictures, tmp_path):
    x, y = pictures
    for number, (pixels, label) in enumerate(zip(x, y, strict=True)):
        place = tmp_path / "flowers" / f"kind{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:03}.png")
    data = load(DataSpec(name=str(tmp_path / "flowers")))
    assert (len(data.train), len(data.test), data.inputs.shape) == (160, 40, (3, 32, 32))
    assert data.test.targets.bincount().tolist() == [4] * 10
    assert {image.numpy().tobytes() for image in data.train.inputs} <= {
        image.transpose(2, 0, 1).tobytes() for image in x
    }
    before = data.digest
    Image.fromarray(255 - x[0]).save(tmp_path / "flowers" / f"kind{y[0]}" / "000.png")
    assert load(DataSpec(name=str(tmp_path / "flowers"))).digest != before


def test_folder_of_differing_sizes_is_cropped_to_size(photos):
    data = load(DataSpec(name=str(photos / "places365_standard"), size=24))
    assert (data.inputs.shape, len(data.classes)) == ((3, 24, 24), 4)


def test_data_home_is_looked_in_by_hub_id_and_by_path(shared):
    by_name = load(DataSpec(name="svhn", flip=False, crop=0))
    by_id = load(DataSpec(name="ufldl-stanford/svhn"))
    by_path = load(DataSpec(name=str(shared / "ufldl-stanford/svhn/cropped_digits")))
    assert by_name.digest == by_id.digest == by_path.digest


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets leaves the .csv open
def test_what_only_the_datasets_library_can_read(pictures, tmp_path):
    x, y = pictures
    lines = ["file_name,label"]
    for number, (pixels, label) in enumerate(zip(x, y, strict=True)):
        Image.fromarray(pixels).save(tmp_path / f"{number:03}.png")
        lines.append(f"{number:03}.png,{label}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    data = load(DataSpec(name=str(tmp_path)))
    assert (len(data.train), len(data.test), data.inputs.shape, len(data.classes)) == (160, 40, (3, 32, 32), 10)
    Image.fromarray(255 - x[0]).save(tmp_path / "000.png")
    assert load(DataSpec(name=str(tmp_path))).digest != data.digest


def write_parquet(path, pictures, parts):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part, rows in parts.items():
        images = []
        for pixels in pictures[0][rows]:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            images.append({"bytes": file.getvalue(), "path": None})
        pq.write_table(pa.table({"image": images, "label": pictures[1][rows]}), path / f"{part}-00000-of-00001.parquet")


def write_labels(path, pictures, labels, part="train"):
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = []
    for pixels in pictures[0][: len(labels)]:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        images.append(file.getvalue())
    pq.write_table(pa.table({"image": images, "label": labels}), path / f"{part}.parquet")


def label_columns():
    import pyarrow as pa

    numbers = [number % 2 for number in range(20)]
    texts = ["dog" if number else "cat" for number in numbers]
    return {
        "whole numbers": (pa.array(numbers, pa.uint8()), ("0", "1")),
        "floats that are whole": (pa.array(numbers, pa.float32()), ("0", "1")),
        "true and false": (pa.array(numbers).cast(pa.bool_()), ("False", "True")),
        "texts": (pa.array(texts), ("cat", "dog")),
        "large texts": (pa.array(texts, pa.large_string()), ("cat", "dog")),
        # Categories have an order of their own, and some that no image has.
        "categories": (
            pa.DictionaryArray.from_arrays(pa.array([1 - number for number in numbers]), ["dog", "cat", "owl"]),
            ("cat", "dog"),
        ),
        "categories of numbers": (pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array([0, 1])), ("0", "1")),
    }


@pytest.mark.parametrize("kind", label_columns())
def test_labels_of_every_kind_are_read_alike(kind, pictures, tmp_path):
    column, classes = label_columns()[kind]
    write_labels(tmp_path, pictures, column)
    write_labels(tmp_path, pictures, column, part="test")
    data = load(DataSpec(name=str(tmp_path)))
    assert (data.classes, data.test.targets.tolist()) == (classes, [0, 1] * 10)


FILES = {
    "Train-00000-of-00001 Test-00000-of-00001": "20 images from split Train. Test: 20 images from split Test.",
    "pets-train pets-val": "Test: 20 images from split val.",
    "train/0000 validation/0000": "Test: 20 images from split validation.",
    "train test extra": "Left out: 20 in split extra, as the test part is split test; 1 beside",
    "0000 0001": "Test: 8 images from a fixed fifth of split all, held out.",
    "train": "Left out: 1 beside the Parquet files (README.md).",
}


@pytest.mark.parametrize("names", FILES)
def test_parquet_files_are_the_splits_that_they_say(names, pictures, tmp_path):
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        place = tmp_path / name
        write_labels(place.parent, pictures, [number % 2 for number in range(20)], part=place.name)
    (tmp_path / "README.md").write_text("hello")
    assert FILES[names] in str(load(DataSpec(name=str(tmp_path))).reading)


def test_arrays_of_an_npz_file_are_the_splits_that_they_say(pictures, tmp_path):
    x, y = pictures
    arrays = {"X_Train": x[:150], "y_train": y[:150], "x_val": x[150:], "y_val": y[150:], "notes": x[:1]}
    np.savez(tmp_path / "set.npz", **arrays)
    data = load(DataSpec(name=str(tmp_path / "set.npz")))
    assert data.test.targets.tolist() == y[150:].tolist()
    assert "150 images from X_Train. Test: 50 images" in str(data.reading)
    assert "Arrays that are not read: notes." in str(data.reading)


def test_several_columns_of_images_or_labels_are_told_or_refused(pictures, tmp_path):
    import pyarrow.parquet as pq

    write_labels(tmp_path, pictures, [number % 2 for number in range(20)])
    table = pq.read_table(tmp_path / "train.parquet")
    more = table.append_column("target", table["label"]).add_column(0, "mask", table["image"])
    pq.write_table(more, tmp_path / "train.parquet")
    said = str(load(DataSpec(name=str(tmp_path))).reading)
    assert "Images are the column 'image', not 'mask'. Labels are the column 'label', not 'target'." in said
    pq.write_table(more.rename_columns(["left", "right", "label", "target"]), tmp_path / "train.parquet")
    with pytest.raises(DataError, match="left and right could each be the image column; rename the right one image"):
        load(DataSpec(name=str(tmp_path)))


def test_validation_is_the_test_where_test_labels_are_hidden(pictures, tmp_path):
    x, y = pictures
    odd = np.arange(len(x)) % 2 == 1
    hidden = (x, np.full_like(y, -1))
    write_parquet(tmp_path, pictures, {"train": ~odd, "validation": odd})
    write_parquet(tmp_path, hidden, {"test": odd})
    data = load(DataSpec(name=str(tmp_path)))
    assert (len(data.train), data.test.targets.tolist()) == (100, y[odd].tolist())


def test_large_parquet_streams_from_arrow_files(pictures, tmp_path, monkeypatch):
    odd = np.arange(len(pictures[0])) % 2 == 1
    write_parquet(tmp_path, pictures, {"train": ~odd, "test": odd})
    held = load(DataSpec(name=str(tmp_path)))
    for room in ("sources", "table"):
        monkeypatch.setattr(f"oneticket.data.{room}.LARGE", 0)
    data = load(DataSpec(name=str(tmp_path), size=28), workers=1)
    x, y = (torch.cat(part) for part in zip(*test_batches(data, 32), strict=True))
    assert y.equal(held.test.targets)
    assert x.shape == (100, 3, 28, 28)


def test_what_was_fetched_once_needs_no_network(pictures, tmp_path, monkeypatch):
    from datasets import load_dataset

    monkeypatch.setenv("ONETICKET_CACHE", str(tmp_path))
    write_parquet(tmp_path, pictures, {"train": np.arange(len(pictures[0]))})
    part = load_dataset("parquet", data_files=str(tmp_path / "*.parquet"), cache_dir=str(tmp_path / "datasets"))[
        "train"
    ]
    (tmp_path / "hub").mkdir()
    files = {"train": [file["filename"] for file in part.cache_files]}
    path = tmp_path / "hub" / "someone--pictures--default.json"
    path.write_text(note.write(hub.KIND, "someone/pictures/default", files))
    data = load(DataSpec(name="someone/pictures"))
    assert (len(data.train), len(data.test), data.inputs.shape) == (160, 40, (3, 32, 32))
    for bad in (note.write(hub.KIND, "another/set/default", files), "{}", ""):
        path.write_text(bad)
        with (
            pytest.warns(KeptWarning, match=f"{path}: .*; the Hub is asked again"),
            pytest.raises(DataError, match="HF_HUB_OFFLINE"),
        ):
            load(DataSpec(name="someone/pictures"))


def test_generated_signals_are_the_same_every_time():
    from oneticket.data.arrays import mnist1d

    first, second = mnist1d().read(), mnist1d().read()
    assert np.array_equal(first.train.inputs, second.train.inputs)


def test_npz_says_the_kind_of_what_is_not_plain(tmp_path):
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 3, 12)).astype(np.float32), np.arange(40) % 2
    grey = load(DataSpec(name=save_npz(tmp_path / "grey.npz", (x, y), x_test=x, y_test=y)))
    assert grey.inputs == Inputs(shape=(1, 3, 12))
    assert "Arrays of three dimensions are grey images; an entry kind='series' says otherwise" in grey.reading.notes
    said = load(DataSpec(name=save_npz(tmp_path / "said.npz", (x, y), x_test=x, y_test=y, kind=np.array("series"))))
    assert said.inputs == Inputs(kind="series", shape=(3, 12))
    assert said.mean == pytest.approx(x.mean((0, 2), dtype=np.float64))
    flat = load(DataSpec(name=save_npz(tmp_path / "flat.npz", (x[:, 0], y), x_test=x[:, 0], y_test=y)))
    assert flat.inputs == Inputs(kind="vectors", shape=(12,))
    ids = {"x_test": (x[:, 0] > 0).astype(int), "y_test": y, "kind": np.array("tokens"), "vocabulary": np.array(5)}
    words = load(DataSpec(name=save_npz(tmp_path / "words.npz", ((x[:, 0] > 0).astype(int), y), **ids)))
    assert words.inputs == Inputs(kind="tokens", shape=(12,), vocabulary=5)
    assert len({grey.digest, said.digest}) == 2


def test_npz_of_numbers_to_predict(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    name = save_npz(tmp_path / "set.npz", (x, x[:, 0] * 3), x_test=x, y_test=x[:, 0] * 3)
    data = load(DataSpec(name=name), targets="numbers")
    assert (data.outputs, data.train.targets.shape) == (1, (40, 1))
    with pytest.raises(DataError, match="expected 40 whole-number labels, got float32"):
        load(DataSpec(name=name))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": np.array("sound")}, "unknown kind 'sound'"),
        ({"kind": np.array(3)}, "kind: expected one word such as series, got int64"),
        ({"kind": np.array("tokens")}, "expected tokens, whole numbers from 0, got dtype float32"),
        ({"kind": np.array("images")}, "expected images with 1 or 3 channels"),
        ({"vocabulary": np.array("many")}, "vocabulary: expected one whole number"),
    ],
)
def test_npz_that_says_what_it_is_not(entry, words, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=save_npz(tmp_path / "set.npz", (x, y), x_test=x, y_test=y, **entry)))
