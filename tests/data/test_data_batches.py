import pytest
import torch

from oneticket.data.batches import batches, per_epoch, test_batches
from oneticket.data.images.augment import aim, augment, cuts, roll
from oneticket.data.load import load
from oneticket.data.spec import DataSpec
from oneticket.ground.errors import DataError, SpecError
from oneticket.ground.streams import Streams
from oneticket.task.inputs import Inputs

STREAMS = Streams(root=3, replicate=1)
SPECS = {
    "plain": DataSpec(name="digits"),
    "augmented": DataSpec(name="digits", flip=True, crop=2),
    "series": DataSpec(name="mnist1d", per_class=40),
    "fewer than a batch": DataSpec(name="digits", per_class=2, crop=1),
    "streamed": DataSpec(name="places365", size=32),
}


@pytest.fixture(params=SPECS)
def data(request, photos, monkeypatch):
    monkeypatch.setenv("ONETICKET_DATA", str(photos))
    return load(SPECS[request.param], workers=0)


def take(data, start, stop, streams=STREAMS, batch=48):
    return list(batches(data, batch=batch, streams=streams, start=start, stop=stop))


def equal(one, two):
    return len(one) == len(two) and all(x.equal(u) and y.equal(v) for (x, y), (u, v) in zip(one, two, strict=True))


def test_resumed_batches_are_the_same_to_the_bit(data):
    length = per_epoch(data, 48)
    straight = take(data, 0, length + 3)
    for step in (1, length - 1, length, length + 1):
        assert equal(take(data, step, length + 3), straight[step:])


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_set_that_is_normalised_whole_gives_the_same_bits(data, ranks, monkeypatch):
    asked = {"batch": 48, "streams": STREAMS, "start": 1, "stop": 2 * per_epoch(data, 48), "rank": ranks - 1}
    whole = list(batches(data, **asked, ranks=ranks))
    monkeypatch.setattr("oneticket.data.batches.SMALL", 0)
    assert equal(list(batches(data, **asked, ranks=ranks)), whole)


def test_batches_belong_to_their_streams(data):
    first = take(data, 0, 2)
    assert equal(take(data, 0, 2), first)
    assert not equal(take(data, 0, 2, Streams(root=3, replicate=2)), first)
    length = per_epoch(data, 48)
    assert not equal(take(data, length, length + 1), first[:1])


def test_batches_have_the_promised_form(data):
    x, y = take(data, 0, 1)[0]
    assert (x.dtype, y.dtype, tuple(x.shape[1:])) == (torch.float32, torch.int64, data.inputs.shape)
    assert len(x) == len(y) == min(48, len(data.train))


def test_an_epoch_holds_no_image_twice():
    data = load(SPECS["plain"])
    images = torch.cat([x for x, _ in take(data, 0, per_epoch(data, 48))])
    kinds = len({image.numpy().tobytes() for image in data.train.inputs})
    assert len({image.numpy().tobytes() for image in images}) >= len(images) - (len(data.train) - kinds)
    assert len(images) == 1437 // 48 * 48


def test_steps_per_epoch():
    data = load(SPECS["plain"])
    assert [per_epoch(data, batch) for batch in (1, 48, 1437, 5000)] == [1437, 29, 1, 1]
    with pytest.raises(SpecError, match="at least 1"):
        per_epoch(data, 0)


def test_order_does_not_depend_on_augmentation():
    labels = [[y.tolist() for _, y in take(load(SPECS[name]), 0, 5)] for name in ("plain", "augmented")]
    assert labels[0] == labels[1]


def moved(images, dice, *, flip, crop):
    shape = tuple(images.shape[1:])
    cut = cuts(shape, crop=crop, device=images.device)
    return augment(images, aim(dice, shape, flip=flip, crop=crop), cut, crop=crop)


def test_flip_mirrors_about_half_and_crop_shifts_within_its_bounds():
    images = torch.arange(1, 26, dtype=torch.uint8).view(1, 1, 5, 5).repeat(4000, 3, 1, 1)
    dice = roll(4000, STREAMS.generator("augment", 0))
    flipped = moved(images, dice, flip=True, crop=0)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 0.45 < mirrored.float().mean() < 0.55

    shifted = moved(images, dice, flip=False, crop=1)
    padded = torch.nn.functional.pad(images[:1], (1, 1, 1, 1))
    windows = {(dy, dx): padded[0, :, dy : dy + 5, dx : dx + 5] for dy in range(3) for dx in range(3)}
    counts = [int((shifted == window).flatten(1).all(1).sum()) for window in windows.values()]
    assert sum(counts) == 4000
    assert min(counts) > 330

    both = moved(images, dice, flip=True, crop=1)
    assert both.equal(moved(shifted, dice, flip=True, crop=0))
    assert moved(images, dice, flip=False, crop=0).equal(images)


def test_a_signal_shifts_along_its_length_only():
    signal = torch.arange(1.0, 6).view(1, 1, 1, 5).repeat(200, 1, 1, 1)
    shifted = moved(signal, roll(200, STREAMS.generator("augment", 0)), flip=False, crop=1)
    assert set(map(tuple, shifted.flatten(1).tolist())) == {(0, 1, 2, 3, 4), (1, 2, 3, 4, 5), (2, 3, 4, 5, 0)}


@pytest.fixture
def streamed(photos, monkeypatch):
    monkeypatch.setenv("ONETICKET_DATA", str(photos))
    return {workers: load(SPECS["streamed"], workers=workers) for workers in (0, 1, 2)}


def test_workers_change_nothing(streamed):
    found = [take(data, 0, 4, batch=16) for data in streamed.values()]
    assert equal(found[0], found[1])
    assert equal(found[0], found[2])
    tests = [list(test_batches(data, 7)) for data in streamed.values()]
    assert equal(tests[0], tests[2])


def test_streamed_test_images_come_once_in_order_without_chance(streamed):
    data = streamed[0]
    assert torch.cat([y for _, y in test_batches(data, 7)]).equal(data.test.targets)
    assert equal(list(test_batches(data, 7)), list(test_batches(data, 7)))
    assert torch.cat([x for x, _ in test_batches(data)]).std() == pytest.approx(1, abs=0.2)


def test_streamed_set_keeps_its_digest_and_selection(streamed, photos):
    assert len({data.digest for data in streamed.values()}) == 1
    few = load(DataSpec(name="places365:a", size=32, classes=2, per_class=3), workers=0)
    assert few.train.targets.bincount().tolist() == [3, 3]
    assert few.digest != streamed[0].digest
    assert load(DataSpec(name="places365"), inputs=Inputs(shape=(1, 20, 20)), workers=0).inputs.shape == (1, 20, 20)


def test_damage_met_by_a_worker_is_a_data_error_naming_the_file(photos, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(photos, tmp_path / "home")
    monkeypatch.setenv("ONETICKET_DATA", str(tmp_path / "home"))
    data = load(SPECS["streamed"], workers=1)
    bad = sorted((tmp_path / "home").rglob("*.jpg"))[0]
    bad.write_bytes(b"no picture")
    with pytest.raises(DataError, match=f"cannot decode an image.*{bad.name}"):
        list(batches(data, batch=16, streams=STREAMS, start=0, stop=20)) + list(test_batches(data))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", SPECS)
def test_a_gpu_sees_the_same_batches(name, photos, monkeypatch):
    monkeypatch.setenv("ONETICKET_DATA", str(photos))
    found = [take(load(SPECS[name], device=device, workers=0), 0, 5) for device in ("cpu", "cuda")]
    for (x, y), (u, v) in zip(*found, strict=True):
        assert y.equal(v.cpu())
        assert torch.allclose(x, u.cpu(), atol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_abandoned_stream_stops_its_workers(photos, monkeypatch, workers):
    import multiprocessing

    monkeypatch.setenv("ONETICKET_DATA", str(photos))
    found = batches(load(SPECS["streamed"], workers=workers), batch=16, streams=STREAMS, start=0, stop=10**6)
    next(found)
    found.close()
    assert not multiprocessing.active_children()


def test_shifting_a_streamed_set_is_refused(streamed):
    with pytest.raises(DataError, match="set crop=0"):
        load(DataSpec(name="places365", crop=4))


def test_batches_by_column_are_the_same_to_the_bit(data):
    for made in (
        lambda **how: batches(data, batch=35, streams=STREAMS, start=0, stop=2, **how),
        lambda **how: test_batches(data, 35, **how),
    ):
        plain, turned = [*made()], [*made(columns=True)]
        assert equal(plain, turned)
        whole = data.inputs.kind == "image" and data.device.type == "cpu"
        assert not whole or turned[-1][0].flatten(1).t().is_contiguous()
