"""The detector with weights of Platoon's own, on drawn streets and pages, whose plates are known."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from platoon.engine.model import metadata
from platoon.media.frame import Letterbox, Pixels
from platoon.media.synthetic.demo import demo_scenes
from platoon.media.synthetic.road import Road
from platoon.media.synthetic.scene import Scene
from platoon.metrics import Metrics
from platoon.plates.corner_detector import CornerPlateDetector
from platoon.plates.detector import PlateBox
from platoon.plates.engine import PlateEngine
from platoon.plates.finder import plate_detection
from platoon.settings import EngineSettings, PlateSettings
from tests.drawn import page

WIDTH, HEIGHT = 640, 384
LEAST_PX = 24
"""Narrower plates, on the detector's input, nobody could read on the frame."""

Quads = list[NDArray[np.float32]]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CornerPlateDetector]:
    settings = EngineSettings(runtime="openvino", threads=1, max_batch=4)
    with PlateEngine(settings, tmp_path_factory.mktemp("tuning"), Metrics(), plate_size=(HEIGHT, WIDTH)) as engine:
        yield CornerPlateDetector(engine, PlateSettings(detector="plates"))


def fitted(picture: Pixels) -> tuple[Pixels, float]:
    """A picture as the detector gets it, and its scale."""
    box = Letterbox.fit((picture.shape[1], picture.shape[0]), (WIDTH, HEIGHT))
    out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    out[: box.height, : box.width] = cv2.resize(picture, (box.width, box.height), interpolation=cv2.INTER_AREA)
    return out, box.scale


def views(scene: Scene, count: int) -> Iterator[tuple[Pixels, Quads]]:
    """Frames of a scene with plates large enough, and these plates."""
    road = Road(replace(scene, overlay=True))
    for index in np.linspace(0, scene.frames - 1, 12 * count).astype(int):
        picture, quads = road.frame(int(index))
        small, scale = fitted(picture)
        large = [(quad * scale).astype(np.float32) for quad in quads.values() if np.ptp(quad[:, 0]) * scale >= LEAST_PX]
        if large:
            yield small, large
            count -= 1
        if not count:
            return


@pytest.fixture(scope="module")
def streets() -> list[tuple[Pixels, Quads]]:
    return [view for scene in demo_scenes() for view in views(scene, 3)]


def box_of(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([quad.min(axis=0), quad.max(axis=0)])


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of the boxes around two plates."""
    first, second = box_of(one), box_of(other)
    both = float((np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])).clip(0).prod())
    return both / (float(np.ptp(one, axis=0).prod() + np.ptp(other, axis=0).prod()) - both)


def nearest(found: list[PlateBox], quad: NDArray[np.float32]) -> PlateBox | None:
    return max(found, key=lambda box: overlap(box.quad, quad), default=None)


def test_the_plates_of_drawn_streets_are_found_with_their_corners(
    detector: CornerPlateDetector, streets: list[tuple[Pixels, Quads]]
) -> None:
    misses, offsets = 0, []
    for picture, quads in streets:
        found = detector.find(picture[None])[0]
        for quad in quads:
            box = nearest(found, quad)
            if box is None or overlap(box.quad, quad) < 0.5:
                misses += 1
            else:
                offsets.append(float(np.hypot(*(box.quad - quad).T).mean() / np.ptp(quad[:, 0])))
    plates = sum(len(quads) for _, quads in streets)
    assert misses <= 0.05 * plates
    assert np.median(offsets) < 0.05
    assert max(offsets) < 0.25


def test_a_frame_gives_the_same_plates_alone_and_in_company(
    detector: CornerPlateDetector, streets: list[tuple[Pixels, Quads]]
) -> None:
    batch = np.stack([picture for picture, _ in streets[:5]])
    together = detector.find(batch)
    for picture, found in zip(batch, together, strict=True):
        alone = detector.find(picture[None])[0]
        assert len(alone) == len(found)
        for one, other in zip(alone, found, strict=True):
            assert one.score == pytest.approx(other.score, abs=0.01)
            assert np.abs(one.quad - other.quad).max() < 0.5


def test_pages_of_text_and_darkness_hold_no_plates(detector: CornerPlateDetector) -> None:
    letter = page(*((f"Line {i} of a letter 4711", 30, 40 * i) for i in range(1, 9)), size=(WIDTH, HEIGHT))
    table = page(
        *((f"{n:03} {n * 7}", 20 + 200 * (n % 3), 40 + 40 * (n // 3)) for n in range(24)), size=(WIDTH, HEIGHT)
    )
    assert detector.find(np.stack([letter, table, np.zeros_like(letter)])) == [[], [], []]


def test_the_best_plate_comes_first_and_no_two_lie_on_each_other(
    detector: CornerPlateDetector, streets: list[tuple[Pixels, Quads]]
) -> None:
    for found in detector.find(np.stack([picture for picture, _ in streets])):
        assert [box.score for box in found] == sorted((box.score for box in found), reverse=True)
        for i, box in enumerate(found):
            assert all(overlap(box.quad, other.quad) < 0.5 for other in found[:i])


def test_corners_go_clockwise_from_the_top_left(
    detector: CornerPlateDetector, streets: list[tuple[Pixels, Quads]]
) -> None:
    for boxes in detector.find(np.stack([picture for picture, _ in streets])):
        for box in boxes:
            assert cv2.contourArea(box.quad, oriented=True) > 0
            assert box.quad[0].sum() == box.quad.sum(axis=1).min()


def test_the_weights_are_small_and_say_where_they_come_from() -> None:
    model = plate_detection()
    assert model.path.stat().st_size <= 5_000_000
    notes = metadata(onnx.load(model.path))
    assert notes["licence"] == model.licence == "Apache-2.0"
    assert {"version", "commit", "seed", "data"} <= notes.keys()
