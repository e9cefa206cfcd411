import contextlib
import io
import os
import socket
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError
from oneticket.task.inputs import Inputs


def npz(path, pictures, **changes):
    x, y = pictures
    arrays = {"x_train": x[:150], "y_train": y[:150] % 2, "x_test": x[150:], "y_test": y[150:] % 2, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return str(path)


BAD_ARRAYS = {
    "key missing": ({"y_train": None}, "no array y_train"),
    "label negative": ({"y_train": np.full(150, -1)}, "label -1, outside 0"),
    "label out of range": ({"classes": np.array(["a"])}, "label 1, outside 0..0"),
    "label beyond all images": ({"y_train": np.full(150, 200)}, "label 200 of 200 images"),
    "one class": ({"y_train": np.zeros(150, int), "y_test": np.zeros(50, int)}, "holds the class 0 alone"),
    "same name but for case": ({"X_TRAIN": np.zeros((3, 8, 8), np.uint8)}, "differ in case alone"),
    "class without images": ({"classes": np.array(["a", "b", "c"])}, "no training images of class c"),
    "labels not whole": ({"y_train": np.zeros(150)}, "whole-number labels, got float64"),
    "labels too few": ({"y_train": np.zeros(3, np.int64)}, "expected 150 whole-number labels"),
    "wrong channels": ({"x_train": np.zeros((150, 8, 8, 4), np.uint8)}, "1 or 3 channels"),
    "wrong type": ({"x_train": np.zeros((150, 8, 8), np.int32)}, "uint8 or float32, got int32"),
    "not finite": ({"x_train": np.full((150, 8, 8), np.nan)}, "NaN"),
    "shapes differ": ({"x_train": np.zeros((150, 8, 8), np.uint8)}, "differ in shape"),
    "empty split": ({"x_test": np.zeros((0, 32, 32, 3), np.uint8), "y_test": np.zeros(0, np.int64)}, "'test' is empty"),
    "pickled": ({"y_train": np.array([{}] * 150)}, "cannot read this .npz"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(case, pictures, tmp_path):
    changes, words = BAD_ARRAYS[case]
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=npz(tmp_path / "set.npz", pictures, **changes)))


HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s}"
BROKEN_HEADERS = {
    "parentheses": ("(" * 9000, "brackets"),
    "signs": ("-" * 9000 + "1", "brackets"),
    "deep enough to be parsed": ("(" * 95, "header cannot be read"),
    "long": (" " * 20_000, "a header of 20,0.. bytes"),
    "no text": ("\0\1", "header cannot be read"),
    "code": ("__import__('os').system('x')", "header cannot be read"),
    "truth values": (HEADER % ("'<f4'", "(True, True)"), "which is not what the file holds"),
    "negative": (HEADER % ("'<f4'", "(-2, -2)"), "which is not what the file holds"),
    "29 TiB": (HEADER % ("'<f4'", "(1000000000000, 8)"), "which is not what the file holds"),
    "overflow": (HEADER % ("'<f4'", f"({2**62}, 4)"), "which is not what the file holds"),
    "many digits": (HEADER % ("'<f4'", "(" + "9" * 5000 + ",)"), "header cannot be read"),
    "many dimensions": (HEADER % ("'<f4'", "(" + "1," * 2000 + ")"), "which is not what the file holds"),
    "no width": (HEADER % ("'<U0'", f"({2**40},)"), "got dtype <U0"),
    "text of 8 GiB": (HEADER % ("'<U2147483647'", "(1,)"), "header cannot be read"),
    "objects": (HEADER % ("'|O'", "(2,)"), "got dtype object"),
    "no dtype": (HEADER % ("'nothing'", "(2,)"), "header cannot be read"),
    "a record": (HEADER % ("[('a', '<f4')]", "(4,)"), "got dtype"),
    "a truth value of 2": (HEADER % ("'|b1'", "(16,)"), "a truth value must be 0 or 1"),
}


@pytest.mark.parametrize("case", BROKEN_HEADERS)
def test_broken_headers_of_arrays_are_told(case, tmp_path):
    header, words = BROKEN_HEADERS[case]
    text = header.encode().ljust(64) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\2" * 16
    labels = io.BytesIO()
    np.save(labels, np.zeros(4, np.int64))
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as made:
        made.writestr("x_train.npy", array)
        made.writestr("y_train.npy", labels.getvalue())
    with pytest.raises(DataError, match=f"set.npz: cannot read this .npz file: array 'x_train': .*{words}"):
        load(DataSpec(name=str(tmp_path / "set.npz")))


def test_what_lies_beside_the_arrays_is_not_read(pictures, tmp_path):
    path = npz(tmp_path / "set.npz", pictures, notes=np.array([{"made": "by hand"}]))
    assert len(load(DataSpec(name=path)).train) == 150


def corrupt_npz(root, pictures):
    (root / "set.npz").write_bytes(b"PK\x03\x04 not much")
    return root / "set.npz"


def empty_folder(root, pictures):
    (root / "set").mkdir()
    return root / "set"


def empty_class(root, pictures):
    place = folder(root, pictures)
    (place / "train" / "kind2").mkdir()
    (place / "test" / "kind2").mkdir()
    Image.fromarray(pictures[0][0]).save(place / "test" / "kind2" / "a.png")
    return place


def empty_train(root, pictures):
    (root / "set" / "train").mkdir(parents=True)
    return root / "set"


def corrupt_image(root, pictures):
    place = folder(root, pictures)
    whole = (place / "train" / "kind0" / "0.png").read_bytes()
    (place / "train" / "kind0" / "0.png").write_bytes(whole[: len(whole) // 2])
    return place


def deep_image(root, pictures):
    place = folder(root, pictures)
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(place / "train" / "kind0" / "0.png")
    return place


def differing_sizes(root, pictures):
    place = folder(root, pictures)
    Image.fromarray(pictures[0][0]).resize((40, 40)).save(place / "train" / "kind0" / "0.png")
    return place


def folder(root, pictures):
    for part in ("train", "test"):
        for label in (0, 1):
            (root / "set" / part / f"kind{label}").mkdir(parents=True)
            for number in range(3):
                Image.fromarray(pictures[0][number]).save(root / "set" / part / f"kind{label}" / f"{number}.png")
    return root / "set"


@pytest.mark.parametrize(
    "said",
    [b"{", b"[]", b"1", b"\xff", b"[" * 9000, b'{"info": []}', b'{"info": {"features": {"label": []}}}']
    + [b'{"info": {"features": {"label": {"names": %s}}}}' % names for names in (b"5", b"[[], {}]", b'{"a": 1}')],
)
def test_strange_descriptions_of_columns_are_none(said, pictures, tmp_path):
    items = [{"bytes": png(picture), "path": None} for picture in pictures[0][:20]]
    table = pa.table({"image": items, "label": [0, 1] * 10}).replace_schema_metadata({b"huggingface": said})
    pq.write_table(table, tmp_path / "train-0.parquet")
    assert load(DataSpec(name=str(tmp_path))).classes == ("0", "1")


def png(picture):
    made = io.BytesIO()
    Image.fromarray(np.asarray(picture, np.uint8).reshape(picture.shape[0], -1)).save(made, "PNG")
    return made.getvalue()


def corrupt_parquet(root, pictures):
    (root / "train-00000-of-00001.parquet").write_bytes(b"PAR1 not much PAR1")
    return root


def parquet_with_a_name_that_is_no_text(root, pictures):
    path = root / "train-0.parquet"
    pq.write_table(pa.table({"image": [b"a"], "label": [0], "other": [0]}), path)
    path.write_bytes(path.read_bytes().replace(b"other", b"\xffther"))
    return root


def parquet_with_a_name_twice(root, pictures):
    pq.write_table(pa.table([[b"a"], [0], [0]], names=["image", "label", "label"]), root / "train-0.parquet")
    return root


def parquet_that_names_a_device(root, pictures):
    images = [{"bytes": None, "path": "/dev/zero"}] * 4
    pq.write_table(pa.table({"image": images, "label": [0, 1, 0, 1]}), root / "train-0.parquet")
    return root


def parquet_without_images(root, pictures):
    pq.write_table(pa.table({"image": [[1, 2]] * 4, "label": [0, 1] * 2}), root / "train-0.parquet")
    return root


def parquet_without_labels(root, pictures):
    pq.write_table(pa.table({"image": [b"a"]}), root / "train-0.parquet")
    return root


def parquet_with_unlabelled(root, pictures):
    pq.write_table(pa.table({"image": [b"a", b"b"], "label": [0, None]}), root / "train-0.parquet")
    return root


def parquet_with_broken_labels(root, pictures):
    pq.write_table(pa.table({"image": [b"a", b"b"], "label": [0.0, 0.5]}), root / "train-0.parquet")
    return root


def parquet_with_mixed_labels(root, pictures):
    pq.write_table(pa.table({"image": [b"a", b"b"], "label": [0, 1]}), root / "train-0.parquet")
    pq.write_table(pa.table({"image": [b"a", b"b"], "label": ["a", "b"]}), root / "test-0.parquet")
    return root


def parquet_with_an_unclear_split(root, pictures):
    for name in ("train", "holdout"):
        pq.write_table(pa.table({"image": [b"a", b"b"], "label": [0, 1]}), root / f"{name}-0.parquet")
    return root


def parquet_in_another_folder(root, pictures):
    for name in ("train/0.parquet", "holdout/0.PARQUET"):
        (root / name).parent.mkdir()
        pq.write_table(pa.table({"image": [b"a", b"b"], "label": [0, 1]}), root / name)
    return root


def parquet_of_two_splits(root, pictures):
    pq.write_table(pa.table({"image": [b"a", b"b"], "label": [0, 1]}), root / "all-train-test.parquet")
    return root


def parquet_without_train(root, pictures):
    table = pa.table({"image": [b"a"], "label": [0]})
    pq.write_table(table, root / "test-0.parquet")
    pq.write_table(table, root / "extra-0.parquet")
    return root


def empty_parquet(root, pictures):
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    pq.write_table(schema.empty_table(), root / "train-0.parquet")
    return root


def lone_file(root, pictures):
    return parquet_without_labels(root, pictures) / "train-0.parquet"


def two_sets(root, pictures):
    for name in ("plain", "fancy"):
        (root / name).mkdir()
        pq.write_table(pa.table({"image": [b"a"], "label": [0]}), root / name / "train-0.parquet")
    return root


def nothing_known(root, pictures):
    (root / "notes.txt").write_text("hello")
    return root


BAD_PLACES = {
    corrupt_npz: "cannot read this .npz",
    empty_folder: "the folder is empty",
    empty_class: "no training images of class kind2",
    empty_train: "'train' is empty",
    corrupt_image: "cannot decode an image .*kind0/0.png",
    deep_image: "8-bit images, got mode 'I;16'",
    differing_sizes: "images differ in size .*set size",
    corrupt_parquet: "cannot read this Parquet file",
    parquet_with_a_name_that_is_no_text: "cannot read this Parquet file",
    parquet_with_a_name_twice: 'cannot read this Parquet file: \'Field "label" exists 2 times',
    parquet_that_names_a_device: "cannot decode an image ./dev/zero.: it is no file",
    parquet_without_images: "columns that cannot be inputs: 'image' .lists.",
    parquet_without_labels: "no label column",
    parquet_in_another_folder: "holdout/0.PARQUET lies beside train/0.parquet, and is either a part .* or not",
    parquet_with_unlabelled: "1 images have no label",
    parquet_with_broken_labels: "column 'label', split 'train': holds 0.5, which is no whole number",
    parquet_with_mixed_labels: "column 'label': is whole numbers in train and texts in test",
    parquet_with_an_unclear_split: "holdout beside it .* either the test part .* or not to be read",
    parquet_of_two_splits: "names several splits .train, test.",
    parquet_without_train: "no training split",
    empty_parquet: "'train' is empty",
    lone_file: "train-0.parquet: is a file; expected a folder",
    two_sets: "holds several sets; name one: .*fancy, .*plain",
    nothing_known: "holds plain texts; name one: .*notes.txt",
}


@pytest.mark.parametrize("make", BAD_PLACES, ids=lambda make: make.__name__)
def test_bad_places(make, pictures, tmp_path):
    with pytest.raises(DataError, match=BAD_PLACES[make]):
        load(DataSpec(name=str(make(tmp_path, pictures))))


@pytest.mark.parametrize(
    ("spec", "like", "words"),
    [
        ({"name": "digits", "classes": 11}, None, "classes=11: digits has only 10"),
        ({"name": "digits", "per_class": 500}, None, "class 0 has only 142 training examples"),
        ({"name": "digits", "size": 4, "fit": "pad"}, None, "cannot pad 8 x 8 to 4 x 4"),
        ({"name": "digits"}, Inputs(shape=(2, 8, 8)), "1 channels into 2"),
        ({"name": "digits"}, Inputs(shape=(1, 1, 40)), "signal"),
        (
            {"name": "mnist1d"},
            Inputs(shape=(1, 8, 8)),
            "mnist1d holds series 1 x 40; the network takes images 1 x 8 x 8, and one cannot be turned into the other",
        ),
        ({"name": "digits"}, Inputs(kind="series", shape=(1, 40)), "digits holds images 1 x 8 x 8; the network takes"),
        ({"name": "mnist1d"}, Inputs(kind="series", shape=(1, 20)), "only images can be brought to another shape"),
        ({"name": "mnist1d", "size": 8}, None, "size=8: is for images, but mnist1d holds series; leave it out"),
        ({"name": "mnist1d", "channels": 3}, None, "channels=3: is for images"),
        ({"name": "mnist1d", "fit": "pad"}, None, "fit=pad: is for images"),
        ({"name": "mnist1d", "flip": True}, None, "flip=True: is for images"),
        ({"name": "mnist1d", "crop": 2}, None, "crop=2: is for images"),
        ({"name": "digits", "label": "x"}, None, "label=x: is for tables, which digits is not; leave it out"),
        ({"name": "digits", "missing": "fill"}, None, "missing=fill: is for tables"),
        ({"name": "digits", "length": 9}, None, "length=9: is for texts"),
    ],
)
def test_asking_for_what_a_set_has_not(spec, like, words):
    with pytest.raises(DataError, match=words):
        load(DataSpec(**spec), inputs=like)


def test_targets_that_a_set_has_not():
    with pytest.raises(DataError, match="digits: gives classes, but the task asks for numbers"):
        load(DataSpec(name="digits"), targets="numbers")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist", r"looked in .*ylecun/mnist.* HF_HUB_OFFLINE is set.*Set ONETICKET_DATA"),
        ("imagenet", r"ILSVRC/imagenet-1k/default/<split>-\*.parquet"),
        ("places365", r"unpack the official archive"),
        ("nobody/nothing", r"not found; looked in .*nobody/nothing"),
        ("./no/such/folder", "check the path"),
        ("nowhere.npz", "check the path"),
    ],
)
def test_missing_sets_say_where_they_were_looked_for(name, words, tmp_path, monkeypatch):
    monkeypatch.setenv("ONETICKET_DATA", str(tmp_path))
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=name))


def test_a_hub_that_hangs_up_is_asked_once(tmp_path):
    code = (
        "from oneticket.data.load import load; from oneticket.data.spec import DataSpec\n"
        "try: load(DataSpec(name='mnist'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = []

        def hang_up():
            with contextlib.suppress(OSError):  # the end of the server
                while True:
                    line, _ = server.accept()
                    calls.append(line.recv(1000).partition(b"\r\n")[0])
                    line.close()

        threading.Thread(target=hang_up, daemon=True).start()
        hub = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "ONETICKET_CACHE": str(tmp_path)}
        environment = {**os.environ, **settings, "HF_HOME": str(tmp_path / "hf")}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        server.shutdown(socket.SHUT_RDWR)
    assert done.stdout.startswith("DataError "), done.stdout + done.stderr
    assert "the Hub did not provide" in done.stdout
    asked = [call for call in calls if b"ylecun/mnist" in call]
    assert len(asked) == 1, "the libraries' own way is to ask again for half a minute"
