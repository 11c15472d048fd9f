import numpy as np
from numpy.typing import NDArray

from platoon.ocr.lines import Turn, cut, in_reading_order, inside, size_of, upright, ways_to_read

PICTURE = np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def box(x: float, y: float, width: float = 50, height: float = 20) -> NDArray[np.float32]:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def test_rows_are_read_before_columns() -> None:
    quads = [box(200, 102), box(10, 100), box(10, 10), box(100, 96)]
    ordered = in_reading_order(quads)
    assert [tuple(quad[0]) for quad in ordered] == [(10, 10), (10, 100), (100, 96), (200, 102)]


def test_a_turned_line_is_as_large_as_it_was_upright() -> None:
    along, across = np.array([48, 36], np.float32), np.array([-6, 8], np.float32)
    corner = np.array([30, 30], np.float32)
    assert size_of(np.array([corner, corner + along, corner + along + across, corner + across])) == (60, 10)


def test_a_tall_line_is_turned_to_either_side() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:50] = 200
    (down, left), (up, right) = ways_to_read(picture, box(40, 10, width=20, height=80), upside_down=True)
    assert (down, up) == (Turn.DOWNWARDS, Turn.UPWARDS)
    assert left.shape == right.shape == (20, 80, 3)
    assert left[:, :30].min() > 150 > left[:, 50:].max()
    assert right[:, :30].max() < 150 < right[:, 50:].min()


def test_a_line_that_is_not_tall_is_read_as_it_is() -> None:
    ((turn, crop),) = ways_to_read(PICTURE, box(10, 10))
    assert turn is Turn.NONE
    np.testing.assert_array_equal(crop, PICTURE[10:30, 10:60])


def test_a_line_that_may_be_upside_down_is_read_both_ways() -> None:
    (_, crop), (turn, turned) = ways_to_read(PICTURE, box(10, 10), upside_down=True)
    assert turn is Turn.UPSIDE_DOWN
    np.testing.assert_array_equal(turned, crop[::-1, ::-1])


def test_the_thinnest_line_has_a_pixel() -> None:
    assert cut(PICTURE, box(10, 10, width=0.2, height=0.1)).shape == (1, 1, 3)


def test_an_upright_rectangle_is_never_empty() -> None:
    assert upright(np.full((4, 2), 7, np.float32)) == (7, 7, 8, 8)
    assert upright(box(10.4, 20.6)) == (10, 20, 61, 41)


def test_what_reaches_out_of_the_picture_ends_at_its_border() -> None:
    np.testing.assert_array_equal(inside(box(-5, 50), (30, 60)), [[0, 50], [30, 50], [30, 60], [0, 60]])
