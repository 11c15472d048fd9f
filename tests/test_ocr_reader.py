import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from platoon.errors import InvalidInput
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.reader import AT_A_TIME, Line, Reader, in_reading_order, ways_to_read
from platoon.settings import EngineSettings


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    settings = EngineSettings(runtime="openvino", max_batch=1)
    with TextEngine(settings, tmp_path_factory.mktemp("cache"), Metrics(), size=(224, 416)) as engine:
        yield Reader(engine)


def page(*lines: tuple[str, int, int], size: tuple[int, int] = (400, 200)) -> NDArray[np.uint8]:
    """A white picture of (width, height) with (text, x, y) lines of black text."""
    drawn = np.full((size[1], size[0], 3), 245, np.uint8)
    for text, x, y in lines:
        cv2.putText(drawn, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1, (10, 10, 10), 2)
    return drawn


def box(x: float, y: float, width: float = 50, height: float = 20) -> NDArray[np.float32]:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def test_all_lines_are_read_from_top_to_bottom_and_left_to_right(reader: Reader) -> None:
    picture = page(("Invoice", 20, 50), ("No 4711", 230, 52), ("Total 99.50", 20, 150))
    assert texts(reader.read([picture])[0]) == ["Invoice", "No 4711", "Total 99.50"]


def test_a_box_lies_around_its_text(reader: Reader) -> None:
    ((line,),) = reader.read([page(("Hello", 100, 120))])
    (width, height), _ = cv2.getTextSize("Hello", cv2.FONT_HERSHEY_SIMPLEX, 1, 2)
    assert line.box == pytest.approx((100, 120 - height, 100 + width, 120), abs=14)
    assert line.confidence > 0.9


def test_large_pictures_are_read_at_full_size(reader: Reader) -> None:
    picture = np.full((1500, 2600, 3), 245, np.uint8)
    cv2.putText(picture, "Far corner", (1900, 1400), cv2.FONT_HERSHEY_SIMPLEX, 3, (10, 10, 10), 5)
    ((line,),) = reader.read([picture])
    assert line.text == "Far corner"
    assert line.box[0] == pytest.approx(1900, abs=30)
    assert line.box[3] == pytest.approx(1400, abs=40)


@pytest.mark.parametrize("turns", [1, 3], ids=["upwards", "downwards"])
def test_text_that_runs_along_a_side_is_read(reader: Reader, turns: int) -> None:
    picture = np.rot90(page(("Sideways 12", 100, 110)), turns).copy()
    assert texts(reader.read([picture])[0]) == ["Sideways 12"]


def test_slanted_text_is_read(reader: Reader) -> None:
    upright = page(("Slanted 12", 100, 110))
    turn = cv2.getRotationMatrix2D((200, 100), 12, 1)
    turned = cv2.warpAffine(upright, turn, (400, 200), borderValue=(245, 245, 245))
    assert texts(reader.read([turned])[0]) == ["Slanted 12"]


def test_a_blank_picture_has_no_lines(reader: Reader) -> None:
    assert reader.read([page()]) == [[]]


def test_pictures_come_as_arrays_paths_and_bytes(reader: Reader, tmp_path: Path) -> None:
    picture = page(("Same", 100, 110))
    file = tmp_path / "page.png"
    Image.fromarray(picture).save(file)
    results = reader.read([picture, file, str(file), file.read_bytes()])
    assert [texts(lines) for lines in results] == [["Same"]] * 4


def test_many_pictures_of_several_sizes_keep_their_order(reader: Reader) -> None:
    pictures = [page((f"Page {n}", 40, 80), size=(400 if n % 3 else 320, 200)) for n in range(2 * AT_A_TIME + 3)]
    assert [texts(lines) for lines in reader.read(pictures)] == [[f"Page {n}"] for n in range(len(pictures))]


def test_only_a_few_pictures_are_taken_at_a_time(reader: Reader) -> None:
    taken: list[int] = []

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            if len(taken) > AT_A_TIME:
                raise RuntimeError("enough")
            taken.append(1)
            yield page()

    with pytest.raises(RuntimeError, match="enough"):
        reader.read(endless())
    assert len(taken) == AT_A_TIME + 1


def test_a_picture_that_is_none_is_named(reader: Reader, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match=r"bad\.jpg"):
        reader.read([page(), bad])


def test_uncertain_lines_are_left_out(reader: Reader) -> None:
    strict = Reader(reader._engine, min_confidence=1.01)
    assert strict.read([page(("Hello", 100, 120))]) == [[]]


def test_a_line_as_json_has_text_confidence_and_box() -> None:
    line = Line("Hi", 0.987654, box(10.4, 20.6))
    assert line.to_json() == {"text": "Hi", "confidence": 0.9877, "box": [10, 20, 61, 41]}


def test_rows_are_read_before_columns() -> None:
    quads = [box(200, 102), box(10, 100), box(10, 10), box(100, 96)]
    ordered = in_reading_order(quads)
    assert [tuple(quad[0]) for quad in ordered] == [(10, 10), (10, 100), (100, 96), (200, 102)]


def test_a_tall_crop_is_turned_to_either_side() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:50] = 200
    left, right = ways_to_read(picture, box(40, 10, width=20, height=80))
    assert left.shape == right.shape == (20, 80, 3)
    assert left[:, :30].min() > 150 > left[:, 50:].max()
    assert right[:, :30].max() < 150 < right[:, 50:].min()


def test_a_crop_that_is_not_tall_is_read_as_it_is() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    (crop,) = ways_to_read(picture, box(10, 10, width=50, height=20))
    np.testing.assert_array_equal(crop, picture[10:30, 10:60])


def test_a_picture_in_memory_is_read_without_a_file(reader: Reader) -> None:
    buffer = io.BytesIO()
    Image.fromarray(page(("Memory", 100, 110))).save(buffer, "JPEG", quality=90)
    assert texts(reader.read([buffer.getvalue()])[0]) == ["Memory"]
