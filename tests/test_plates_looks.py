"""Looks at still pictures, by a detector that finds what is painted red, in parts where it is near."""

from collections.abc import Sequence

import numpy as np
import pytest

from platoon.media.frame import Pixels
from platoon.plates.finder import LEAST_SIDE, STRIDE, PlateCandidates
from platoon.plates.looks import SIDE_PX, look

RED = (250, 0, 0)


class Finder:
    """Sees red; of what is nearer than `most` of its input it sees two parts, or nothing of what fills it."""

    def __init__(self, most: float = 0.4) -> None:
        self.most = most
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, looks: Sequence[Pixels]) -> list[PlateCandidates]:
        return [self._places(seen) for seen in looks]

    def _places(self, seen: Pixels) -> PlateCandidates:
        self.shapes.append(seen.shape[:2])
        assert not seen.shape[0] % STRIDE
        assert not seen.shape[1] % STRIDE
        assert min(seen.shape[:2]) >= LEAST_SIDE
        rows, columns = np.nonzero((seen[..., 0] > 180) & (seen[..., 1] < 60))
        found: list[tuple[float, float, float, float, float]] = []
        if rows.size:
            left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            wide = (right - left) / seen.shape[1]
            if wide <= self.most:
                found = [(0.9, left, top, right, bottom)]
            elif wide < 0.95:
                third = (right - left) / 3
                found = [(0.7, left, top, right - third, bottom), (0.6, right - third, top, right, bottom)]
        places = np.zeros((50, 13), np.float32)
        for row, (score, x1, y1, x2, y2) in zip(places, found, strict=False):
            row[:] = (score, x1, y1, x2, y2, x1, y1, x2, y1, x2, y2, x1, y2)
        return places


def scene(width: int, height: int, *plates: tuple[int, int, int, int]) -> Pixels:
    picture = np.full((height, width, 3), 90, np.uint8)
    for x1, y1, x2, y2 in plates:
        picture[y1:y2, x1:x2] = RED
    return picture


def boxes(picture: Pixels, find: Finder) -> list[tuple[float, ...]]:
    return [(*box.quad.min(axis=0), *box.quad.max(axis=0)) for box in look(picture, find, 0.35)]


def test_a_far_plate_is_found_at_the_first_look() -> None:
    find = Finder()
    (box,) = boxes(scene(1920, 1080, (400, 500, 700, 600)), find)
    assert box == pytest.approx((400, 500, 700, 600), abs=4)
    assert len(find.shapes) == 1


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 1.0])
def test_a_plate_that_fills_the_picture_is_found_whole(share: float) -> None:
    left = round(600 * (1 - share))
    near = (left, 400, 1200 - left, 520)
    (box,) = boxes(scene(1200, 900, near), Finder(most=0.7))
    assert box == pytest.approx(near, abs=6)


def test_what_is_found_beside_a_near_plate_stays() -> None:
    class Both(Finder):
        def _places(self, seen: Pixels) -> PlateCandidates:
            places = super()._places(seen)
            if len(self.shapes) == 1:  # far too small for the look from farther away
                places[10] = (0.8, 5, 5, 35, 15, 5, 5, 35, 5, 35, 15, 5, 15)
            return places[np.argsort(-places[:, 0], kind="stable")]

    found = boxes(scene(960, 720, (200, 300, 760, 420)), Both())
    assert found == [pytest.approx((200, 300, 760, 420), abs=6), pytest.approx((5, 5, 35, 15), abs=1)]


@pytest.mark.parametrize(("width", "height"), [(94, 24), (96, 32), (1, 1), (2, 300), (31, 33), (700, 3)])
def test_pictures_of_any_size_are_a_size_that_the_detector_takes(width: int, height: int) -> None:
    find = Finder()
    assert boxes(scene(width, height), find) == []
    assert find.shapes
    assert max(max(shape) for shape in find.shapes) <= SIDE_PX


@pytest.mark.parametrize("upright", [False, True])
def test_a_panorama_is_looked_at_in_tiles_and_each_plate_is_found_once(upright: bool) -> None:
    plates = [(x, 300, x + 160, 340) for x in range(100, 7800, 700)]
    picture = scene(8000, 700, *plates)
    if upright:
        picture, plates = np.swapaxes(picture, 0, 1), [(y1, x1, y2, x2) for x1, y1, x2, y2 in plates]

    class Apart(Finder):
        """Of several plates in a tile it gives each."""

        def _places(self, seen: Pixels) -> PlateCandidates:
            self.shapes.append(seen.shape[:2])
            red = (seen[..., 0] > 180) & (seen[..., 1] < 60)
            places = np.zeros((50, 13), np.float32)
            filled = np.flatnonzero(red.any(axis=1 if upright else 0))
            groups = np.split(filled, np.flatnonzero(np.diff(filled) > 1) + 1) if filled.size else []
            for row, group in zip(places, groups, strict=False):
                across = np.flatnonzero(red.any(axis=0 if upright else 1))
                x1, x2, y1, y2 = group[0], group[-1] + 1, across[0], across[-1] + 1
                if upright:
                    x1, y1, x2, y2 = y1, x1, y2, x2
                row[:] = (0.5 + len(group) / 2000, x1, y1, x2, y2, x1, y1, x2, y1, x2, y2, x1, y2)
            return places

    find = Apart()
    found = sorted(boxes(picture, find))
    assert len(find.shapes) > 4
    assert found == [pytest.approx(plate, abs=4) for plate in sorted(plates)]
