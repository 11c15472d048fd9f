from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from platoon.engine.gate import Gates
from platoon.engine.tuning import Tuning
from platoon.metrics import Metrics
from platoon.ocr.detection import Postprocessing, TextDetector, text_boxes
from platoon.settings import EngineSettings

HOW = Postprocessing()


def text_map(
    *rectangles: tuple[tuple[float, float], tuple[float, float], float], value: float = 0.9
) -> NDArray[np.float32]:
    """A map of 200x300 with rotated rectangles ((x, y), (width, height), degrees) of text in it."""
    drawn = np.zeros((200, 300), np.float32)
    for rectangle in rectangles:
        cv2.fillPoly(drawn, [np.round(cv2.boxPoints(rectangle)).astype(np.int32)], value)
    return drawn


def sides(quad: NDArray[np.float32]) -> tuple[float, float]:
    return float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[3] - quad[0]))


def test_an_empty_map_has_no_boxes() -> None:
    assert text_boxes(text_map(), HOW) == []


def test_a_box_is_the_area_grown_by_the_unclip_ratio() -> None:
    drawn = np.zeros((200, 300), np.float32)
    drawn[80:100, 50:150] = 0.9
    (box,) = text_boxes(drawn, HOW)
    growth = 1.6 * 100 * 20 / (100 + 20)
    assert sides(box.quad) == pytest.approx((100 + growth, 20 + growth), abs=0.1)
    assert box.quad.mean(axis=0) == pytest.approx((99.5, 89.5), abs=0.1)
    assert box.score == pytest.approx(0.9)


@settings(deadline=None, max_examples=50)
@given(st.floats(-40, 40), st.integers(60, 150), st.integers(14, 30))
def test_a_turned_line_is_found_with_its_corners_clockwise_from_the_top_left(
    degrees: float, width: int, height: int
) -> None:
    (box,) = text_boxes(text_map(((150.0, 100.0), (width, height), degrees)), HOW)
    along = box.quad[1] - box.quad[0]
    assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(degrees, abs=4)
    assert box.quad.mean(axis=0) == pytest.approx((150, 100), abs=1.5)
    down = box.quad[3] - box.quad[0]
    assert along[0] * down[1] - along[1] * down[0] > 0


def test_two_lines_are_two_boxes() -> None:
    drawn = text_map(((100.0, 50.0), (120, 16), 0), ((100.0, 120.0), (80, 16), 0))
    assert len(text_boxes(drawn, HOW)) == 2


def test_what_is_narrower_than_text_is_noise() -> None:
    assert text_boxes(text_map(((100.0, 50.0), (120, 2), 0)), HOW) == []


def test_a_faint_area_is_no_text() -> None:
    drawn = text_map(((100.0, 50.0), (120, 16), 0), value=0.4)
    assert text_boxes(drawn, HOW) == []
    assert len(text_boxes(drawn, Postprocessing(box_threshold=0.35))) == 1


def test_the_threshold_parts_text_from_background() -> None:
    drawn = np.full((200, 300), 0.35, np.float32)
    drawn[80:100, 50:150] = 0.9
    assert len(text_boxes(drawn, Postprocessing(threshold=0.5))) == 1
    assert text_boxes(drawn, Postprocessing(threshold=0.3)) == []  # one faint area as large as the map


def test_a_box_at_the_border_may_reach_beyond_it() -> None:
    drawn = np.zeros((200, 300), np.float32)
    drawn[0:20, 0:100] = 0.9
    (box,) = text_boxes(drawn, HOW)
    assert box.quad.min() < 0


class LargestBatch(Tuning):
    """Measures nothing: the largest batch."""

    def choose(self, question: str, options: object, measure: object) -> int:  # type: ignore[override]
        return max(options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextDetector]:
    cache: Path = tmp_path_factory.mktemp("cache")
    settings = EngineSettings(runtime="openvino", max_batch=4)
    detector = TextDetector(settings, LargestBatch(cache), Metrics(), Gates.of(1), size=(128, 320))
    yield detector
    detector.close()


def picture(text: str, x: int = 40, y: int = 80) -> NDArray[np.uint8]:
    drawn = np.full((128, 320, 3), 235, np.uint8)
    cv2.putText(drawn, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    return drawn


def test_drawn_text_is_found_where_it_was_drawn(detector: TextDetector) -> None:
    (boxes,) = detector.find([picture("KA 7351")])
    size, _ = cv2.getTextSize("KA 7351", cv2.FONT_HERSHEY_SIMPLEX, 1.3, 3)
    assert len(boxes) == 1
    left, top = boxes[0].quad.min(axis=0)
    right, bottom = boxes[0].quad.max(axis=0)
    assert (left, right) == pytest.approx((40, 40 + size[0]), abs=14)
    assert (top, bottom) == pytest.approx((80 - size[1], 80), abs=14)
    assert boxes[0].score > 0.8


def test_a_blank_picture_has_no_text(detector: TextDetector) -> None:
    assert detector.find(np.full((1, 128, 320, 3), 128, np.uint8)) == [[]]


def test_no_pictures_have_no_texts(detector: TextDetector) -> None:
    assert detector.find([]) == []


def test_a_prepared_batch_is_answered_picture_by_picture(detector: TextDetector) -> None:
    batch = np.stack([picture("AB 123"), np.zeros((128, 320, 3), np.uint8), picture("XYZ 98", y=50)])
    assert [len(boxes) for boxes in detector.find(batch)] == [1, 0, 1]


def test_pictures_of_several_sizes_may_be_asked_for_at_once(detector: TextDetector) -> None:
    wide = np.concatenate([picture("AB 123"), picture("XYZ 98")], axis=1)
    assert [len(boxes) for boxes in detector.find([wide, picture("AB 123"), wide])] == [2, 1, 2]


def test_a_picture_has_the_same_boxes_alone_and_in_company(detector: TextDetector) -> None:
    pictures = [picture(text, y=y) for text, y in (("AB 123", 60), ("XYZ 98", 90), ("M", 70), ("77 KL 4", 110))]
    together = detector.find(pictures)
    for alone, company in zip((detector.find([one])[0] for one in pictures), together, strict=True):
        assert [box.score for box in alone] == [box.score for box in company]
        for ours, theirs in zip(alone, company, strict=True):
            np.testing.assert_array_equal(ours.quad, theirs.quad)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((130, 320, 3), np.uint8), np.zeros((128, 320, 3), np.float32), np.zeros((128, 320), np.uint8)],
    ids=["height", "type", "grey"],
)
def test_a_picture_of_the_wrong_kind_is_said_to_be_so(detector: TextDetector, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\) in multiples of 32"):
        detector.find([wrong])
