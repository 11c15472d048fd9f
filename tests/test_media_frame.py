import threading

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.media.frame import Letterbox, Matrix, Pixels, PlanarFrame, Planes, Quad
from platoon.media.opencv_pixels import OpenCvPixels, rectify
from platoon.metrics import PixelMeter, Purpose
from tests.clips import picture, rectified, scaled_into, whole


def planar(rgb: Pixels, meter: PixelMeter | None = None) -> PlanarFrame:
    """A limited-range BT.601 frame of an even-sized picture."""
    height, width = rgb.shape[:2]
    i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    u, v = i420[height:].reshape(2, height // 2, width // 2)
    pixels = OpenCvPixels(meter or PixelMeter())
    return PlanarFrame(Planes(i420[:height], u, v), pixels, "gate", media_time=0.0, captured_at=0.0)


def flat(y: int, u: int, v: int, *, size: tuple[int, int] = (4, 4), matrix: Matrix, full_range: bool) -> Pixels:
    width, height = size
    half = ((height + 1) // 2, (width + 1) // 2)
    planes = np.full((height, width), y, np.uint8), np.full(half, u, np.uint8), np.full(half, v, np.uint8)
    there = Planes(*planes, full_range=full_range, matrix=matrix)
    return whole(PlanarFrame(there, OpenCvPixels(PixelMeter()), "gate", media_time=0.0, captured_at=0.0))


def quad(left: float, top: float, right: float, bottom: float) -> Quad:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(np.int32) - other.astype(np.int32)).mean())


@pytest.mark.parametrize(
    ("matrix", "full_range", "yuv", "rgb"),
    [
        (Matrix.BT601, False, (16, 128, 128), (0, 0, 0)),
        (Matrix.BT601, False, (235, 128, 128), (255, 255, 255)),
        (Matrix.BT601, False, (81, 90, 240), (255, 0, 0)),
        (Matrix.BT709, False, (63, 102, 240), (255, 0, 0)),
        (Matrix.BT709, False, (32, 240, 118), (0, 0, 255)),
        (Matrix.BT601, True, (76, 85, 255), (254, 0, 0)),
        (Matrix.BT709, True, (255, 128, 128), (255, 255, 255)),
    ],
)
def test_colours_follow_matrix_and_range(
    matrix: Matrix, full_range: bool, yuv: tuple[int, int, int], rgb: tuple[int, int, int]
) -> None:
    assert flat(*yuv, matrix=matrix, full_range=full_range)[0, 0].tolist() == pytest.approx(rgb, abs=3)


@pytest.mark.parametrize("size", [(1, 1), (5, 4), (4, 5), (7, 7)])
def test_odd_sizes_give_the_same_colour_as_even_ones(size: tuple[int, int]) -> None:
    odd = flat(81, 90, 240, size=size, matrix=Matrix.BT601, full_range=False)
    assert odd.shape == (size[1], size[0], 3)
    assert difference(odd, np.broadcast_to(np.array([255, 0, 0], np.uint8), odd.shape)) < 3


def test_chroma_planes_of_another_size_are_refused() -> None:
    plane = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="chroma planes must be"):
        PlanarFrame(Planes(plane, plane, plane), OpenCvPixels(PixelMeter()), "gate", media_time=0, captured_at=0)


@pytest.mark.parametrize("size", [(960, 544), (640, 384), (320, 192)])
@pytest.mark.parametrize("frame", [(1280, 720), (1920, 1080), (2560, 1440), (480, 640)])
def test_the_scaled_frame_looks_like_the_picture_scaled_by_area(frame: tuple[int, int], size: tuple[int, int]) -> None:
    rgb = cv2.GaussianBlur(picture(5, *frame), (0, 0), 3)
    out = np.full((size[1], size[0], 3), 99, np.uint8)
    box = scaled_into(planar(rgb), out)
    inside = out[: box.height, : box.width]
    expected = cv2.resize(rgb, (box.width, box.height), interpolation=cv2.INTER_AREA)
    assert difference(inside, expected) < 2
    assert not out[box.height :].any()
    assert not out[:, box.width :].any()


def test_strong_shrinking_skips_no_pixels() -> None:
    lines = np.zeros((1080, 1920, 3), np.uint8)
    lines[:, ::3] = 255  # sampling every third column would give white, or black
    out = np.zeros((384, 640, 3), np.uint8)
    box = scaled_into(planar(lines), out)
    assert out[: box.height].mean() == pytest.approx(85, abs=12)


def test_a_frame_is_written_into_its_place_of_a_batch_only() -> None:
    batch = np.zeros((3, 64, 96, 3), np.uint8)
    scaled_into(planar(picture(0, 192, 128)), batch[1])
    assert batch[1].any()
    assert not batch[0].any()
    assert not batch[2].any()


def test_a_small_frame_is_not_scaled_up() -> None:
    out = np.zeros((544, 960, 3), np.uint8)
    rgb = picture(2, 320, 240)
    box = scaled_into(planar(rgb), out)
    assert (box.width, box.height, box.scale) == (320, 240, 1.0)
    assert difference(out[:240, :320], whole(planar(rgb))) < 1


def test_points_of_the_input_find_their_way_back_to_the_frame() -> None:
    box = Letterbox.fit((1280, 720), (960, 544))
    points = np.array([[0, 0], [480, 270], [960, 540]], np.float32)
    assert box.to_frame(points) == pytest.approx(np.array([[0, 0], [640, 360], [1280, 720]]))


sides = st.integers(2, 9000)


@given(st.tuples(sides, sides), st.tuples(st.integers(32, 4096), st.integers(32, 4096)))
def test_a_letterbox_fits_with_even_sides_and_the_frames_proportions(
    frame: tuple[int, int], into: tuple[int, int]
) -> None:
    box = Letterbox.fit(frame, into)
    assert 2 <= box.width <= into[0]
    assert 2 <= box.height <= into[1]
    if into[0] % 2 == into[1] % 2 == 0:
        assert box.width % 2 == box.height % 2 == 0
    assert abs(box.width - frame[0] * box.scale) <= 2
    assert abs(box.height - frame[1] * box.scale) <= 2


def test_an_upright_region_is_that_part_of_the_picture() -> None:
    rgb = picture(4, 320, 240)
    region = rectified(planar(rgb), quad(60, 40, 140, 80), (80, 40))
    assert difference(region, whole(planar(rgb))[40:80, 60:140]) < 3


def test_a_tilted_region_is_rectified() -> None:
    rgb = np.zeros((240, 320, 3), np.uint8)
    tilted = np.array([[80, 60], [200, 100], [190, 140], [70, 100]], np.float32)
    cv2.fillConvexPoly(rgb, tilted.astype(np.int32), (230, 230, 230))
    region = rectified(planar(rgb), tilted, (120, 40))
    assert region[4:-4, 4:-4].min() > 180


def test_a_region_over_the_edge_repeats_the_border() -> None:
    rgb = np.full((64, 64, 3), 30, np.uint8)
    rgb[:, 56:] = 220
    region = rectified(planar(rgb), quad(48, 16, 80, 32), (32, 16))
    assert region[:, 12:].min() > 180


def test_a_region_outside_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the 64x64 frame"):
        rectified(planar(picture(0, 64, 64)), quad(100, 100, 120, 110), (20, 10))


def test_rectifying_a_whole_picture_returns_it() -> None:
    rgb = picture(1, 64, 48)
    assert difference(rectify(rgb, quad(0, 0, 64, 48), (64, 48)), rgb) < 1


def test_every_conversion_is_counted_with_its_bytes_and_purpose() -> None:
    meter = PixelMeter()
    frame = planar(picture(0, 320, 240), meter)
    out = np.zeros((96, 160, 3), np.uint8)
    box = scaled_into(frame, out)
    scaled_into(frame, out, purpose=Purpose.PREVIEW)
    rectified(frame, quad(100, 100, 140, 120), (40, 20))
    whole(frame)
    counts = meter.counts()
    small = box.width * box.height * 3
    assert counts[Purpose.DETECT] == (1, small)
    assert counts[Purpose.PREVIEW] == (1, small)
    assert counts[Purpose.PICTURE] == (1, 320 * 240 * 3)
    regions, n_bytes = counts[Purpose.REGION]
    assert regions == 1
    assert 40 * 20 * 3 <= n_bytes <= 48 * 28 * 3


def test_counting_from_many_threads_loses_nothing() -> None:
    meter = PixelMeter()

    def count() -> None:
        for _ in range(1000):
            meter.add(Purpose.REGION, 3)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.counts()[Purpose.REGION] == (4000, 12000)
