"""What the plate detector learns from: labels lie where the plates are, and the loss knows a perfect answer."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from training.detector.geometry import UNIT, Plate, View, affine, paste, place, seen, turned

SIZE = 320
GREEN = (20, 220, 30)


def at(left: float, top: float, width: float, height: float) -> NDArray[np.float32]:
    return (UNIT * [width, height] + [left, top]).astype(np.float32)


def empty() -> View:
    return View(np.full((SIZE, SIZE, 3), 60, np.uint8), [], [])


def share_of_green(view: View, quad: NDArray[np.float32]) -> tuple[float, float]:
    """How much of a quadrilateral is green, and how much of the green is in it."""
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(inside, np.round(quad).astype(np.int32), 1)
    picture = view.picture.astype(int)
    green = (picture[..., 1] - picture[..., 0] > 60).astype(int)
    both = float((green * inside).sum())
    return both / inside.sum(), both / max(1, green.sum())


@pytest.mark.parametrize("seed", range(8))
def test_labels_move_with_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = np.full((720, 1280, 3), 60, np.uint8)
    picture[400:440, 600:760] = GREEN
    plate = Plate(at(600, 400, 160, 40), exact=True)
    matrix = affine(rng, picture, plate.quad.mean(axis=0), float(rng.uniform(0.4, 1.5)), SIZE, spread=0.3)
    view = seen(picture, [plate], matrix, SIZE)
    assert len(view.plates) == 1
    covered, within = share_of_green(view, view.plates[0].quad)
    assert covered > 0.85
    assert within > 0.85


def test_a_mirrored_plate_still_begins_at_its_top_left() -> None:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    matrix = np.array([[-1.0, 0, SIZE], [0, 1, 0]])
    view = seen(picture, [Plate(at(100, 50, 80, 20), exact=True)], matrix, SIZE)
    assert view.plates[0].quad.tolist() == at(SIZE - 180, 50, 80, 20).tolist()


@pytest.mark.parametrize("seed", range(8))
def test_a_pasted_plate_fills_its_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = empty()
    quad = turned(rng, 4.5, 150, np.array([160, 160], np.float32))
    paste(view, np.full((40, 180, 3), GREEN, np.uint8), np.full((40, 180), 255, np.uint8), quad)
    covered, within = share_of_green(view, quad)
    assert covered > 0.9
    assert within > 0.9


@pytest.mark.parametrize(
    ("left", "plates", "unclear"), [(100, 1, 0), (-40, 0, 1), (-10, 1, 0), (SIZE - 30, 0, 1), (SIZE + 5, 0, 0)]
)
def test_only_plates_in_view_are_to_be_found(left: int, plates: int, unclear: int) -> None:
    view = empty()
    place(view, Plate(at(left, 100, 80, 20), exact=True))
    assert (len(view.plates), len(view.unclear)) == (plates, unclear)


def perfect(views: list[View]) -> Any:
    """The maps of a network that knows."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: `pip install 'platoon[training]'`")
    from training.detector.loss import wanted

    target = wanted(views)
    maps = torch.zeros((len(views), 13, SIZE // 8, SIZE // 8))
    maps[:, 0] = torch.logit(target.heat.clamp(1e-6, 1 - 1e-6))
    picture, row, column = target.cells.unbind(1)
    maps[picture, 1:5, row, column] = target.boxes.log()
    maps[picture, 5:, row, column] = target.corners
    return maps


def views() -> list[View]:
    rng = np.random.default_rng(3)
    first, second = empty(), empty()
    place(first, Plate(at(30, 40, 24, 7), exact=True))
    place(first, Plate(turned(rng, 2.0, 140, np.array([200, 200], np.float32)), exact=True))
    place(second, Plate(at(60, 100, 200, 44), exact=False))
    return [first, second]


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    maps = perfect(views())
    from training.detector.loss import loss, wanted

    parts = loss(maps, wanted(views()))
    assert float(parts.heat) < 0.6  # a heat of nearly 1 beside the middle costs a little
    assert float(parts.box) == pytest.approx(0, abs=1e-4)
    assert float(parts.corners) == pytest.approx(0, abs=1e-4)


def test_candidates_give_the_plates_back_from_perfect_maps() -> None:
    maps = perfect(views())
    from training.detector.candidates import candidates

    for view, found in zip(views(), candidates(maps).numpy(), strict=True):
        best = found[: len(view.plates)]
        for plate in view.plates:
            errors = np.abs(best[:, 5:].reshape(-1, 4, 2) - plate.quad).max(axis=(1, 2))
            match = int(errors.argmin())
            assert errors[match] < 0.01
            assert np.abs(best[match, 1:5] - plate.box).max() < 0.01
            assert best[match, 0] > 0.99
        assert found[len(view.plates), 0] < 0.6


def test_nobody_learns_what_an_unclear_area_holds() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: `pip install 'platoon[training]'`")
    from training.detector.loss import wanted

    view = empty()
    view.unclear.append(at(80, 80, 80, 16))
    target = wanted([view])
    assert target.counted.sum() == (SIZE // 8) ** 2 - 10 * 2
    assert not target.heat.any()
