"""Folders as people lay them out: each is read as it says, or refused with both readings."""

import os

import numpy as np
import pytest
from PIL import Image

from oneticket.data.load import load
from oneticket.data.roles import WORDS, role
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError


def lay(root, *files):
    """Write 8 x 8 images, each of its own, at the paths given (`train/{cat,dog}/{0-9}.png` is twenty), or a folder."""
    number = 0
    for pattern in files:
        for path in expanded(pattern):
            place = root / path
            (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                continue
            if place.suffix == ".heic":
                place.write_bytes(b"\0\0\0\x18ftypheic and more")
                continue
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(place, None if place.suffix in (".png", ".bmp") else "PNG")
            number += 1
    return root


def expanded(pattern):
    head, opening, rest = pattern.partition("{")
    if not opening:
        return [head]
    inside, _, tail = rest.partition("}")
    first, dash, last = inside.partition("-")
    choices = range(int(first), int(last) + 1) if dash else inside.split(",")
    return [path for choice in choices for path in expanded(f"{head}{choice}{tail}")]


BOTH = ([10, 10], [10, 10])
HELD_OUT = ([8, 8], [2, 2])
CLASSES = "{cat,dog}/{0-9}.png"


def splits(*names):
    return [f"{name}/{CLASSES}" for name in names]


# files: (training images per class, test images per class), words of the line
READ = {
    "splits": (splits("train", "test"), BOTH, "Training: 20 images from train/. Test: 20 images from test/."),
    "capitals": (splits("Train", "TEST"), BOTH, "Training: 20 images from Train/. Test: 20 images from TEST/."),
    "training_set": (splits("training_set", "test_set"), BOTH, "from test_set/."),
    "trn and eval": (splits("trn", "Eval"), BOTH, "from Eval/."),
    "in folders of their own": (splits("seg_train/seg_train", "seg_test/seg_test"), BOTH, "from seg_test/seg_test/."),
    "a folder around": (splits("pets/train", "pets/val"), BOTH, "from pets/val/."),
    "all three": (
        splits("train", "validation", "test"),
        BOTH,
        "Left out: 20 in validation/, as the test part is test/ (validation/cat/0.png).",
    ),
    "a test part without classes": (
        [*splits("train"), "test/{0-4}.png"],
        HELD_OUT,
        "a fixed fifth of train/, held out. Left out: 5 in no class folder (test/0.png).",
    ),
    "more than two parts": (splits("train", "test", "extra"), BOTH, "20 in extra/, which is no part (extra/cat/0.png)"),
    "splits in classes": (["{cat,dog}/{Train,test}/{0-9}.png"], BOTH, "from <class>/test/."),
    "classes alone": ([CLASSES], HELD_OUT, "Training: 16 images from the rest of its images."),
    "a class called train": (["{car,train}/{0-9}.png"], HELD_OUT, "2 classes (car, train)"),
    "a class called train in splits": (["{train,test}/{car,train}/{0-9}.png"], BOTH, "2 classes (car, train)"),
    "one folder deeper": (
        ["{train,test}/cat/{0-9}.png", "{train,test}/dog/{6-9}.png", "{train,test}/dog/old/{0-5}.png"],
        BOTH,
        "Test: 20 images from test/.",
    ),
    "each in a folder images": (["{cat,dog}/images/{0-9}.png"], HELD_OUT, "2 classes (cat, dog)"),
    "other suffixes and none": (
        ["{train,test}/cat/{0-9}.jfif"] + [f"{{train,test}}/dog/{each}" for each in ("{0-3}", "{4-6}.JPE", "{7-9}.x")],
        BOTH,
        "Test: 20 images from test/.",
    ),
    "hidden": (
        [*splits("train", "test"), "train/cat/.{0-2}.png", "train/dog/.checkpoints/0.png", "__MACOSX/train/0.png"],
        BOTH,
        "Left out: 5 hidden (__MACOSX/train/0.png)",
    ),
    "a file that is no image": (
        [*splits("train", "test"), "train/cat/notes.heic"],
        BOTH,
        "Left out: 1 not an image (train/cat/notes.heic).",
    ),
    "an empty test folder": ([*splits("train"), "test/cat/"], HELD_OUT, "test/ holds no images that can be read."),
    "classes that differ in case": (
        ["{train,test}/{Cat,cat}/{0-9}.png"],
        BOTH,
        "Classes Cat and cat differ in case or Unicode form alone.",
    ),
    "loose images": ([*splits("train", "test"), "train/{0-1}.png", "9.png"], BOTH, "3 in no class folder (9.png)"),
}  # fmt: skip


@pytest.mark.parametrize("layout", READ)
def test_layouts_are_read_as_they_say(layout, tmp_path):
    files, (train, test), words = READ[layout]
    data = load(DataSpec(name=str(lay(tmp_path, *files))))
    assert data.train.targets.bincount().tolist() == train
    assert data.train.labels is data.train.targets  # as in 0.1
    assert data.test.targets.bincount().tolist() == test
    assert words in str(data.reading)
    assert str(data.reading).startswith(str(tmp_path))
    assert data.facts.reading == data.reading


def test_every_usual_name_of_a_split_is_known_and_no_other():
    assert {role(form) for word in WORDS for form in (word.upper(), f"{word}_images", f"{word}2")} == {*WORDS.values()}
    assert not any(map(role, ("trainer", "test_tube", "images", "holdout", "", "train_test")))


REFUSED = {
    "two training folders": (splits("train", "Train", "test"), "Train and train could each be the training part"),
    "two test folders": (splits("train", "test", "testing"), "could each be the test part; rename or move"),
    "an unknown sibling": (splits("train", "holdout"), "holdout/ .* either the test part .* or not to be read"),
    "a train folder with classes beside classes": (
        ["train/{steam,toy}/{0-3}.png", "{car,plane}/{0-3}.png"],
        "train/ is either the train part, of the classes steam, toy .* or a class beside car",
    ),
    "parts without classes": (["{train,test}/{0-9}.png"], "test/ and train/ hold images in no class folder; if"),
    "training without classes": (["train/{0-9}.png", *splits("test")], "train/ holds images in no class folder"),
    "flat": (["{0-9}.png"], "10 images in no class folder.* metadata.csv"),
    "one class": (["train/cat/{0-9}.png", "test/cat/{0-9}.png"], "holds the class cat alone; expected at least two"),
    "two levels": (["{animal,car}/{a,b}/{0-2}.png"], "animal/ is either one class .* or a and b are classes"),
    "several sets": (
        ["{pets,cars}/{train,test}/{old,new}/{0-2}.png"],
        "cars/train/ holds new and old; cars is either a set, of which those are classes .* or a class",
    ),
    "images beside masks": (["{images,masks}/train/{cat,dog}/{0-2}.png"], "images/train/ holds cat and dog; images is"),
    "unknown splits": (["{fold1,fold2}/{cat,dog}/{0-2}.png"], "fold1/ is either one class"),
    "half split": (["cat/{train,test}/{0-3}.png", "dog/{0-3}.png"], "cat/test/ is either the test part .* dog/ has"),
    "a split in a class": ([*splits("train"), "train/cat/test/0.png"], "cat/test/ lies in class cat.*test/cat/"),
    "a class of the test part alone": ([*splits("train"), "test/{cat,Dog}/0.png"], "class Dog.* it has dog, .* case"),
    "no training part": (splits("test", "val"), "no training split; expected one of train, training, trn"),
}  # fmt: skip


@pytest.mark.parametrize("layout", REFUSED)
def test_what_has_two_readings_is_refused_with_both(layout, tmp_path):
    files, words = REFUSED[layout]
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=str(lay(tmp_path, *files))))


def test_links_are_followed_once_and_lead_somewhere(tmp_path):
    real = lay(tmp_path / "real", "{0-9}.png")
    root = lay(tmp_path / "set", "{train,test}/dog/{0-9}.png")
    for split in ("train", "test"):
        os.symlink(real, root / split / "cat")
    os.symlink(root, root / "train" / "cat" / "back")
    os.mkfifo(root / "train" / "dog" / "pipe.png")
    data = load(DataSpec(name=str(root)))
    assert data.train.targets.bincount().tolist() == [10, 10]
    assert "2 linked to a folder around it (test/cat/back)" in str(data.reading)
    assert "1 not a file (train/dog/pipe.png)" in str(data.reading)
    assert "10 test images are also training images" in str(data.reading)
    os.symlink(tmp_path / "nowhere", root / "test" / "dog" / "lost.png")
    with pytest.raises(DataError, match=r"test/dog/lost.png: is a link to .*nowhere, which is not there"):
        load(DataSpec(name=str(root)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_image_that_may_not_be_read_is_named(tmp_path):
    root = lay(tmp_path, *splits("train", "test"))
    (root / "train" / "cat" / "3.png").chmod(0)
    with pytest.raises(DataError, match=r"train/cat/3.png: cannot be read: Permission denied"):
        load(DataSpec(name=str(root)))


def test_names_are_shown_in_one_line_and_never_obeyed(tmp_path):
    lay(tmp_path, *splits("train", "test"))
    (tmp_path / "train" / "cat" / "a\x1b[2J\nb.txt").write_text("")
    (tmp_path / "train" / "cat" / os.fsdecode(b"\xff.txt")).write_text("")
    assert r"2 not an image (train/cat/a\x1b[2J\nb.txt)" in (said := str(load(DataSpec(name=str(tmp_path))).reading))
    assert said.isprintable()


def test_the_only_image_of_a_class_stays_in_training(tmp_path):
    data = load(DataSpec(name=str(lay(tmp_path, "usual/{0-199}.png", "rare/0.png"))))
    assert [part.targets.bincount(minlength=2).tolist() for part in (data.train, data.test)] == [[1, 159], [0, 41]]
    assert "Class rare has one image, which stays in the training part: the test part has none" in str(data.reading)
    assert "41 images of 1 class from a fixed fifth" in str(data.reading)


def test_the_line_follows_the_folder_where_the_pixels_come_from_the_cache(tmp_path):
    first = load(DataSpec(name=str(lay(tmp_path / "a", *splits("train", "test")))))
    lay(tmp_path / "b", *splits("train", "test"))
    (tmp_path / "b" / "train" / "notes.txt").write_text("hello")
    second = load(DataSpec(name=str(tmp_path / "b")))
    assert first.digest == second.digest
    assert (
        str(second.reading) == f"{str(first.reading).replace('/a:', '/b:')} Left out: 1 not an image (train/notes.txt)."
    )


def test_a_split_that_is_named_alone_tells_of_the_other(tmp_path):
    lay(tmp_path, *splits("train", "Test"))
    assert "Test/ beside it is not read; name the folder of both" in str(
        load(DataSpec(name=str(tmp_path / "train"))).reading
    )


METADATA = {
    "csv": ("metadata.csv", "file_name,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(10))),
    "jsonl": (
        "metadata.jsonl",
        "".join(f'{{"file_name": "{i}.png", "label": "{"ab"[i % 2]}"}}\n' for i in range(10)),
    ),
}


@pytest.mark.parametrize("form", METADATA)
def test_metadata_label_images_as_on_the_hub(form, tmp_path):
    name, text = METADATA[form]
    lay(tmp_path, "Train/{0-11}.png", "Test/{0-9}.png")
    for split in ("Train", "Test"):
        (tmp_path / split / name).write_text(text)
    data = load(DataSpec(name=str(tmp_path)))
    assert [part.targets.tolist() for part in (data.train, data.test)] == [[0, 1] * 5, [0, 1] * 5]
    assert "Left out: 2 not in the metadata (Train/10.png)" in str(data.reading)
    assert f"Labels are the column 'label' of Train/{name} and Test/{name}" in str(data.reading)
    (tmp_path / "Train" / name).write_text(text.replace("b\n", "c\n").replace('"b"', '"c"'))
    with pytest.raises(DataError, match="no training images of class b"):
        load(DataSpec(name=str(tmp_path)))


BAD_METADATA = {
    "an image that is not there": (
        "file_name,label\n0.png,a\nno.png,b\n",
        "metadata.csv: lists no.png, which is no im",
    ),
    "an image outside": ("file_name,label\n../../other.png,a\n", "lists ../../other.png, which is no image under"),
    "an image twice": ("file_name,label\n0.png,a\n./0.png,b\n", "lists ./0.png, which is listed already"),
    "no label": ("file_name,text\n0.png,a\n", "no label column .*its columns are file_name, text"),
    "a hole": ("file_name,label\n0.png,a\n1.png,\n", "1 images have no label"),
    "no table": ("file_name,label\n0.png\n", "metadata.csv: cannot be read"),
    "no lines": ("file_name,label\n", "lists no image"),
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_bad_metadata(case, tmp_path):
    text, words = BAD_METADATA[case]
    lay(tmp_path, "train/{0-3}.png")
    (tmp_path / "train" / "metadata.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        load(DataSpec(name=str(tmp_path)))


def test_metadata_lose_no_part(tmp_path):
    lay(tmp_path, *splits("train"), "test/{0-9}.png")
    table = tmp_path / "test" / "metadata.csv"
    table.write_text(METADATA["csv"][1])
    with pytest.raises(DataError, match=r"test/metadata.csv: lists no image of train/, which is either a part .* or"):
        load(DataSpec(name=str(tmp_path)))
    lay(tmp_path / "alone", "{0-9}.png")
    lines = METADATA["csv"][1].split()
    splits_too = [f"{line},{'split' if not at else 'train' if at < 7 else 'test'}" for at, line in enumerate(lines)]
    (tmp_path / "alone" / "metadata.csv").write_text("\n".join(splits_too))
    with pytest.raises(DataError, match=r"column 'split' names parts of the set, which are read from folders alone"):
        load(DataSpec(name=str(tmp_path / "alone")))


def test_metadata_and_class_folders_have_to_agree(tmp_path):
    lay(tmp_path, "{cat,dog}/{0-4}.png")
    plain = load(DataSpec(name=str(tmp_path)))
    lines = [f"{name}/{i}.png,{label}" for label, name in enumerate(("dog", "cat")) for i in range(5)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    both = load(DataSpec(name=str(tmp_path)))
    assert (both.classes, both.digest) == (("cat", "dog"), plain.digest)
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines[:-1], "cat/4.png,0"]))
    with pytest.raises(DataError, match=r"cat/4.png lies in the class folder cat, but the metadata label it 0"):
        load(DataSpec(name=str(tmp_path)))


def test_pictures_are_read_upright_and_what_is_dropped_is_told(tmp_path):
    root = lay(tmp_path, "train/{cat,dog}/{0-3}.png", "test/{cat,dog}/{0-3}.png")
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # held a quarter to the left: the row on top is the column on the right
    Image.fromarray(pixels).save(root / "train" / "cat" / "0.png", exif=exif)
    glass = Image.fromarray(pixels).convert("RGBA")
    glass.putalpha(100)
    glass.save(root / "train" / "dog" / "0.png")
    Image.fromarray(pixels).save(
        root / "test" / "dog" / "0.png", "GIF", save_all=True, append_images=[Image.fromarray(255 - pixels)]
    )
    Image.fromarray(pixels).convert("CMYK").save(root / "test" / "cat" / "0.png", "TIFF")
    data = load(DataSpec(name=str(root)))
    assert data.train.inputs[0, 0].tolist() == np.rot90(pixels[..., 0], -1).tolist()
    for part, at in ((data.train, 4), (data.test, 4), (data.test, 0)):
        assert part.inputs[at, 0].tolist() == pixels[..., 0].tolist()
    for words in (
        "1 images are turned upright, as their EXIF data say",
        "1 images are partly transparent, which is dropped",
        "1 images have several frames or pages, of which the first is read",
        "2 test images are also training images",
    ):
        assert words in str(data.reading)
