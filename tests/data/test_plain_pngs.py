"""Plain PNG images decoded together are what Pillow reads, one by one; whatever is not plain or whole is Pillow's."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from oneticket.data.images import png
from oneticket.data.images.decode import opened, pixels, stack
from oneticket.data.images.png import plain_pngs
from oneticket.ground.errors import DataError

Lines = NDArray[np.uint8]
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
BEGIN = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes, crc: int = 0) -> bytes:
    """A chunk; `crc`: what its sum is changed by."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ crc)


def header(width: int, height: int, depth: int = 8, kind: int = GREY, rest: bytes = bytes(3)) -> bytes:
    return chunk(b"IHDR", struct.pack(">II", width, height) + bytes((depth, kind)) + rest)


def image(head: bytes, data: bytes, *more: bytes) -> bytes:
    return BEGIN + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def lines(height: int, length: int, filters: Sequence[int], seed: int = 0) -> bytes:
    """Lines of random bytes, each after a filter: whatever they are, they are a picture."""
    draw = np.random.default_rng(seed)
    return b"".join(
        bytes((filters[row % len(filters)],)) + draw.integers(0, 256, length, dtype=np.uint8).tobytes()
        for row in range(height)
    )


def plain(height: int, width: int, kind: int, filters: Sequence[int], seed: int = 0) -> bytes:
    packed = zlib.compress(lines(height, width * (3 if kind == RGB else 1), filters, seed))
    return image(header(width, height, 8, kind), packed)


def by_pillow(items: Sequence[bytes]) -> NDArray[np.uint8] | str:
    """What Pillow makes of them one by one, or the reason why it does not."""
    try:
        return np.stack([pixels(opened(item, "here")) for item in items])
    except DataError as error:
        return str(error)


def stacked(items: Sequence[bytes]) -> NDArray[np.uint8] | str:
    try:
        return stack(items, "here", None)
    except DataError as error:
        return str(error)


def same(one: NDArray[np.uint8] | str, other: NDArray[np.uint8] | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and one == other
    return one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("kind", [GREY, RGB])
@pytest.mark.parametrize("filters", [[0], [1], [2], [3], [4], [4, 3, 2, 1, 0]], ids=str)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (7, 5), (18, 18)])
def test_every_filter(kind: int, filters: list[int], height: int, width: int) -> None:
    items = [plain(height, width, kind, filters, seed) for seed in range(5)]
    found = plain_pngs(items)
    assert found is not None and found.shape == (5, 3 if kind == RGB else 1, height, width)
    assert same(found, by_pillow(items))


def test_images_of_one_set_are_filtered_each_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "CHUNK", 3)
    items = [plain(6, 6, GREY, np.random.default_rng(seed).permutation(5).tolist(), seed) for seed in range(11)]
    found = plain_pngs(items)
    assert found is not None and same(found, by_pillow(items))


def test_some_of_a_set_that_is_read_one_by_one() -> None:
    """As a draw of a table's images is."""

    class Rows(Sequence[bytes]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, at: int | slice) -> bytes:  # type: ignore[override]
            assert not isinstance(at, slice)
            return [plain(4, 4, GREY, [1], seed) for seed in range(4)][at]

    assert same(stack(Rows(), "here", None), by_pillow([*Rows()]))


def saved(mode: str, **more: object) -> bytes:
    draw = np.random.default_rng(0)
    value = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    made = io.BytesIO()
    value.save(made, "PNG", **more)
    return made.getvalue()


TURNED = Image.Exif()
TURNED[0x0112] = 6
GOOD = plain(8, 8, GREY, [4])
PACKED = zlib.compress(lines(8, 8, [0]))
OTHERS = {
    "1 bit": saved("1"),
    "2 bits": image(header(8, 8, 2), zlib.compress(lines(8, 2, [0]))),
    "4 bits": image(header(8, 8, 4), zlib.compress(lines(8, 4, [0]))),
    "16 bits": image(header(8, 8, 16), zlib.compress(lines(8, 16, [0]))),
    "16 bits in colour": image(header(8, 8, 16, RGB), zlib.compress(lines(8, 48, [0]))),
    "palette": saved("P"),
    "palette of 2 bits": saved("P", bits=2),
    "grey and alpha": saved("LA"),
    "colour and alpha": saved("RGBA"),
    "grey, one shade transparent": saved("L", transparency=0),
    "colour, one transparent": saved("RGB", transparency=(0, 0, 0)),
    "interlaced": image(header(1, 1, rest=b"\0\0\1"), zlib.compress(b"\0\7")),
    "with a gamma": image(header(8, 8), PACKED, chunk(b"gAMA", struct.pack(">I", 45_455))),
    "with a text": image(header(8, 8), PACKED, chunk(b"tEXt", b"Title\0a")),
    "turned, as its EXIF data say": saved("L", exif=TURNED),
    "pixels in two blocks": BEGIN
    + header(8, 8)
    + chunk(b"IDAT", PACKED[:20])
    + chunk(b"IDAT", PACKED[20:])
    + chunk(b"IEND", b""),
    "something after the end": GOOD + b"more",
    "large": plain(40, 40, GREY, [4]),
    "of another size": plain(8, 9, GREY, [4]),
    "in colour": plain(8, 8, RGB, [4]),
}
BAD = {
    "nothing": b"",
    "no image": b"hello",
    "no end": GOOD[:-12],
    "wrong sum of the header": BEGIN
    + chunk(b"IHDR", struct.pack(">II", 8, 8) + b"\x08\0\0\0\0", crc=1)
    + chunk(b"IDAT", PACKED)
    + chunk(b"IEND", b""),
    "wrong sum of the pixels": BEGIN + header(8, 8) + chunk(b"IDAT", PACKED, crc=1) + chunk(b"IEND", b""),
    "wrong sum within the pixels": image(header(8, 8), PACKED[:-1] + bytes((PACKED[-1] ^ 1,))),
    "an unknown filter": image(header(8, 8), zlib.compress(lines(8, 8, [5]))),
    "an unknown compression": image(header(8, 8, rest=b"\1\0\0"), PACKED),
    "too few lines": image(header(8, 8), zlib.compress(lines(7, 8, [0]))),
    "too many lines": image(header(8, 8), zlib.compress(lines(9, 8, [0]))),
    "many more bytes than its size": image(header(8, 8), zlib.compress(bytes(2**24))),
    "more after the pixels": image(header(8, 8), PACKED + b"more"),
    "no pixels": BEGIN + header(8, 8) + chunk(b"IEND", b""),
    "no width": image(header(0, 8), PACKED),
    "no height": image(header(8, 0), PACKED),
    "the largest size": image(header(2**31 - 1, 2**31 - 1), PACKED),
    "a size that nobody means": image(header(2**32 - 1, 2**32 - 1), PACKED),
    "far larger than its bytes": image(header(30_000, 30_000), PACKED),
}


@pytest.mark.parametrize("name", [*OTHERS, *BAD])
@pytest.mark.parametrize("place", ["first", "last", "alone"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_not_plain_is_left_to_pillow(name: str, place: str) -> None:
    item = {**OTHERS, **BAD}[name]
    items = {"first": [item, GOOD], "last": [GOOD, item], "alone": [item]}[place]
    found = plain_pngs(items)
    assert found is None or same(found, by_pillow(items))
    want = by_pillow([item])
    if isinstance(want, str):
        assert stacked(items) == want
    elif place == "alone":
        assert same(stacked(items), want)


HIGH = {16, 17, 20, 21}
"""The higher bytes of width and height: `BAD` has sizes that nobody could hold."""


@pytest.mark.parametrize("item", [plain(3, 4, GREY, [4, 1]), plain(2, 3, RGB, [3, 2])], ids=["grey", "colour"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_with_any_byte_changed_or_cut_off_anywhere_is_read_as_by_pillow(item: bytes) -> None:
    harmed = [item[:at] for at in range(len(item))]
    for at in set(range(len(item))) - HIGH:
        harmed += [item[:at] + bytes((item[at] ^ bits,)) + item[at + 1 :] for bits in (1, 0x20, 0xFF)]
    differ = [one for one in harmed if not same(stacked([one]), by_pillow([one]))]
    assert differ == []


def test_paths_and_sets_without_images_are_left_to_pillow() -> None:
    assert plain_pngs([]) is None
    assert plain_pngs(["a.png"]) is None
    assert plain_pngs([GOOD, "a.png"]) is None
