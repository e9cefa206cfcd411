"""The picture of the method: well formed, with the numbers of its rows, legible where it is small, alike every time."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from oneticket.charts.method import HEIGHT, SIZE, WIDTH, method_picture

SVG = "{http://www.w3.org/2000/svg}"
SCORES = {"dense": 0.976, "ticket": 0.963, "reinit": 0.94, "global-random": 0.765}


def rows(replicates: int = 3, places: tuple[str, ...] = ("digits:b",)) -> list[dict]:
    made = []
    for place in places:
        for arm, score in SCORES.items():
            for replicate in range(replicates):
                source = {"source_data": "digits:a", "source_optimizer": "sgd"} if arm in ("ticket", "reinit") else {}
                level = 0 if arm == "dense" else 20
                row = {"arm": arm, "model": "lenet-300-100", "target_data": place, "target_optimizer": "sgd"}
                row |= {"level": level, "density": 0.8**level, "replicate": replicate, **source}
                made.append({**row, "accuracy": score + 0.01 * (replicate - 1)})
    return made


def text(picture: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(picture).iter(f"{SVG}text")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_numbers_are_those_of_the_rows(theme) -> None:
    picture = method_picture(rows(), levels=20, theme=theme)
    said = text(picture)
    assert {"97.6 %", "96.3 %", "94.0 %", "76.5 %", "20 times", "1.2 % of them"} <= {*said}
    assert {"test accuracy on digits:b,", "found and trained with sgd"} <= {*said}, "one of several optimizers"
    assert any(line.startswith("n = 3") for line in said)
    assert "96.3 %" in ElementTree.fromstring(picture).get("aria-label", "")
    assert picture == method_picture(rows(), levels=20, theme=theme)


def test_bars_are_as_long_as_scores_are_high() -> None:
    picture = ElementTree.fromstring(method_picture(rows(), levels=20))
    bars = [float(node.get("width", "0")) for node in picture.iter(f"{SVG}rect") if node.get("height") == "26"]
    best = SCORES["dense"]
    assert [round(bar / bars[0], 2) for bar in bars] == [round(score / best, 2) for score in SCORES.values()]


def test_it_is_legible_at_390_pixels_and_nothing_lies_outside() -> None:
    picture = ElementTree.fromstring(method_picture(rows(), levels=20))
    sizes = [int(node.get("font-size", SIZE)) for node in picture.iter(f"{SVG}text")]
    assert min(sizes) * 390 / WIDTH > 10
    assert all(0 < float(node.get("y", "-1")) < HEIGHT for node in picture.iter(f"{SVG}text"))


def test_no_words_lie_on_others_in_a_wide_font() -> None:
    """A reader's machine may lack the first font: DejaVu Sans is the widest of those that it may take."""
    boxes = []
    for node in ElementTree.fromstring(method_picture(rows(), levels=20)).iter(f"{SVG}text"):
        width, x, y = 0.6 * SIZE * len(node.text or ""), float(node.get("x", "0")), float(node.get("y", "0"))
        left = x - width * {"start": 0, "middle": 0.5, "end": 1}[node.get("text-anchor", "start")]
        boxes.append((left, y - 0.75 * SIZE, left + width, y + 0.2 * SIZE, node.text))
    for one, (x, y, end, bottom, word) in enumerate(boxes):
        assert x >= 0 and end <= WIDTH, word
        for left, top, right, below, other in boxes[:one]:
            assert end <= left or right <= x or bottom <= top or below <= y, (word, other)


def test_one_replicate_has_no_interval_and_several_places_are_one() -> None:
    picture = method_picture(rows(1, ("digits:b", "mnist1d:b")), levels=20)
    assert any(line.startswith("n = 1") for line in text(picture))
    assert "test accuracy on digits:b," in text(picture)
