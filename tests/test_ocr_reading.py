import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any, Literal

import cv2
import numpy as np
import pytest

from platoon.engine.batcher import Priority, Reply
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, InvalidInput
from platoon.ocr.detection import STRIDE, Postprocessing
from platoon.ocr.engine import TextEngine
from platoon.ocr.lines import Turn, upright
from platoon.ocr.reading import (
    MAX_INPUT_PIXELS,
    MAX_SIDE,
    MODES,
    ReadLine,
    ReadOptions,
    find,
    letterbox_of,
    limit_met,
    options_of,
    pixels_held,
    read,
)
from tests.drawn import INVOICE, INVOICE_TEXTS, page
from tests.stuck import Stuck

INK = page(*INVOICE)


def call(seconds: float = 60) -> RequestContext:
    return RequestContext(Priority.INTERACTIVE, time.monotonic() + seconds)


def texts(engine: TextEngine, picture: Any, **options: Any) -> list[str]:
    (reading,) = read(engine, [picture], ReadOptions(**options), call())
    return [line.text for line in reading.lines]


def test_all_lines_are_read_from_top_to_bottom_and_left_to_right(text_engine: TextEngine) -> None:
    (reading,) = read(text_engine, [INK], ReadOptions(), call())
    assert reading.text == "\n".join(INVOICE_TEXTS)
    assert (reading.size, len(reading.found)) == ((400, 200), 3)


def test_a_reading_says_how_many_travelled_together(text_engine: TextEngine) -> None:
    (reading,) = read(text_engine, [INK], ReadOptions(), call())
    assert reading.execution.items >= 1
    assert 0 < reading.execution.seconds <= reading.seconds


def test_without_finding_the_whole_picture_is_one_line(text_engine: TextEngine) -> None:
    line = page(("KA 7351", 8, 36), size=(150, 48))
    (reading,) = read(text_engine, [line], ReadOptions(find=False), call())
    assert [said.text for said in reading.lines] == ["KA 7351"]
    assert reading.lines[0].box == (0, 0, 150, 48)


def test_options_of_one_call_touch_no_other(text_engine: TextEngine) -> None:
    blind, strict = ReadOptions(boxes=Postprocessing(box_threshold=1.0)), ReadOptions(min_confidence=1.0)
    with ThreadPoolExecutor(6) as pool:
        asked = [ReadOptions(), blind, strict, ReadOptions(limit_side=128), ReadOptions(), blind] * 2
        readings = list(pool.map(lambda options: read(text_engine, [INK], options, call())[0], asked))
    for options, reading in zip(asked, readings, strict=True):
        if options == ReadOptions():
            assert [line.text for line in reading.lines] == INVOICE_TEXTS
        elif options == blind:
            assert len(reading.found) == 0
        elif options == strict:
            assert (len(reading.found), len(reading.lines)) == (3, 0)


@pytest.mark.parametrize("limit_type", ["min", "max"])
@pytest.mark.parametrize("limit_side", [32, 736, 4000])
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 32_766), (32_766, 1), (3000, 2000), (8000, 8000), (32_766, 1953), (40, 30)]
)
def test_no_input_is_larger_than_the_bound_and_what_is_charged_is_what_it_has(
    size: tuple[int, int], limit_side: int, limit_type: Literal["min", "max"]
) -> None:
    options = ReadOptions(limit_side=limit_side, limit_type=limit_type)
    place = letterbox_of(*size, options)
    across, down = (-(-length // STRIDE) * STRIDE for length in (place.width, place.height))
    assert across * down <= MAX_INPUT_PIXELS
    assert pixels_held(*size, options) == max(across * down, size[0] * size[1])
    assert max(place.width, place.height) <= MAX_SIDE
    assert pixels_held(*size, ReadOptions(find=False)) == size[0] * size[1]


def test_the_limit_that_is_returned_is_the_one_that_was_met() -> None:
    assert limit_met(400, 200, ReadOptions(limit_side=4000)) == 4000  # nothing is scaled up to it
    assert limit_met(4000, 600, ReadOptions(limit_side=4000)) == 4000
    assert limit_met(40, 30, ReadOptions(limit_side=736, limit_type="min")) == 736
    assert 1900 < limit_met(6000, 6000, ReadOptions(limit_side=4000)) < 2048
    assert 1600 < limit_met(40, 30, ReadOptions(limit_side=4000, limit_type="min")) < 2048


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((400, 200), ReadOptions(), (400, 200)),
        ((2560, 1280), ReadOptions(), (1280, 640)),
        ((400, 200), ReadOptions(limit_side=100), (100, 50)),
        ((400, 200), ReadOptions(limit_side=400, limit_type="min"), (800, 400)),
        ((2560, 1280), ReadOptions(limit_side=400, limit_type="min"), (2560, 1280)),
        ((30_000, 300), ReadOptions(limit_side=736, limit_type="min"), (MAX_SIDE, 40)),
        ((1, 1), ReadOptions(), (2, 2)),
    ],
)
def test_a_picture_is_scaled_by_the_rules_of_its_limit(
    size: tuple[int, int], options: ReadOptions, expected: tuple[int, int]
) -> None:
    place = letterbox_of(*size, options)
    assert (place.width, place.height) == expected


def test_small_text_is_read_at_its_place_when_scaled_up(text_engine: TextEngine) -> None:
    small = cv2.resize(page(("Tiny words", 40, 110)), None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    (reading,) = read(text_engine, [small], ReadOptions(limit_side=240, limit_type="min"), call())
    (line,) = reading.lines
    assert line.text == "Tiny words"
    assert line.box == pytest.approx((12, 24, 66, 36), abs=8)


def test_boxes_stay_inside_the_picture(text_engine: TextEngine) -> None:
    (reading,) = read(text_engine, [page(("Edge", 0, 24), size=(74, 26))], ReadOptions(), call())
    for quad in (*reading.found, *(line.quad for line in reading.lines)):
        assert quad.min() >= 0
        assert (quad <= (74, 26)).all()


@pytest.mark.parametrize(("turns", "turn"), [(1, Turn.UPWARDS), (3, Turn.DOWNWARDS)])
def test_it_says_which_way_a_tall_line_runs(text_engine: TextEngine, turns: int, turn: Turn) -> None:
    picture = np.rot90(page(("Sideways 12", 100, 110)), turns).copy()
    (reading,) = read(text_engine, [picture], ReadOptions(), call())
    (line,) = reading.lines
    assert (line.text, line.turn) == ("Sideways 12", turn)
    start, end = line.part(0, 1).mean(axis=0), line.part(10, 11).mean(axis=0)
    assert (start[1] > end[1]) == (turn is Turn.UPWARDS), "the first letter is where the text begins"


def test_lines_upside_down_are_read_when_asked_for(text_engine: TextEngine) -> None:
    picture = np.rot90(page(("Turned over", 40, 110)), 2).copy()
    assert texts(text_engine, picture) != ["Turned over"]
    (reading,) = read(text_engine, [picture], ReadOptions(upside_down=True), call())
    (line,) = reading.lines
    assert (line.text, line.turn) == ("Turned over", Turn.UPSIDE_DOWN)
    assert line.part(0, 6)[:, 0].min() > line.part(7, 11)[:, 0].max() - 8, "Turned is on the right"


def test_upright_lines_stay_upright_when_both_ways_are_tried(text_engine: TextEngine) -> None:
    (reading,) = read(text_engine, [INK], ReadOptions(upside_down=True), call())
    assert [(line.text, line.turn) for line in reading.lines] == [(text, Turn.NONE) for text in INVOICE_TEXTS]


def test_parts_of_a_line_lie_where_its_characters_are(text_engine: TextEngine) -> None:
    (reading,) = read(text_engine, [INK], ReadOptions(), call())
    line = next(line for line in reading.lines if line.text == "No 4711")
    (width, _), _ = cv2.getTextSize("No", cv2.FONT_HERSHEY_SIMPLEX, 1, 2)
    left, _, right, _ = upright(line.part(0, 2))
    assert (left, right) == pytest.approx((230, 230 + width), abs=10)
    assert upright(line.part(0, 7))[2] <= line.box[2]


def test_lines_are_found_without_being_read(text_engine: TextEngine) -> None:
    (found,) = find(text_engine, [INK], ReadOptions(), call())
    (reading,) = read(text_engine, [INK], ReadOptions(), call())
    np.testing.assert_array_equal(found.quads, reading.found)


def test_a_line_as_json_has_text_confidence_and_box() -> None:
    quad = np.array([[10.4, 20.6], [60.4, 20.6], [60.4, 40.6], [10.4, 40.6]], np.float32)
    line = ReadLine(quad, Turn.NONE, "Hi", 0.987654, (0.0, 0.5, 1.0), ())
    assert line.to_json() == {"text": "Hi", "confidence": 0.9877, "box": [10, 20, 61, 41]}


def test_a_mode_that_is_none_is_named() -> None:
    assert options_of("plate") is MODES["plate"]
    with pytest.raises(InvalidInput, match=r"mode: 'plates' is none of det-rec, rec-only, plate"):
        options_of("plates")


def test_a_picture_with_too_many_lines_is_refused(text_engine: TextEngine) -> None:
    with pytest.raises(InvalidInput, match=r"3 lines .* more than 2"):
        read(text_engine, [INK], ReadOptions(max_lines=2), call())


def test_lines_of_several_pictures_wait_together() -> None:
    engine, mine = Stuck(), call()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, engine, [INK] * 24, ReadOptions(find=False), mine)  # type: ignore[arg-type]
        deadline = time.monotonic() + 30
        while len(engine.replies) < 24:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        mine.cancel()
        assert isinstance(reading.exception(30), CancelledError)


def test_what_a_refused_picture_had_waiting_is_cancelled() -> None:
    engine = Stuck()
    map_of = [np.zeros((224, 416), np.float32) for _ in range(2)]
    for text_map, lines in zip(map_of, (1, 3), strict=True):
        for line in range(lines):
            text_map[20 + 60 * line : 40 + 60 * line, 30:200] = 1
    engine.maps = map_of
    with pytest.raises(InvalidInput, match="3 lines"):
        read(engine, [INK, INK], ReadOptions(max_lines=2), call())  # type: ignore[arg-type]
    assert len(engine.replies) == 1
    assert engine.replies[0].cancelled()


def test_a_cancelled_call_gives_up_what_waits() -> None:
    engine, mine = Stuck(), call()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, engine, [INK, INK], ReadOptions(), mine)  # type: ignore[arg-type]
        assert engine.asked.wait(30)
        mine.cancel()
        assert isinstance(reading.exception(30), CancelledError)
    assert all(reply.cancelled() for reply in engine.replies)
    with pytest.raises(CancelledError):
        read(engine, [INK], ReadOptions(), mine)  # type: ignore[arg-type]
    assert len(engine.replies) == 2, "nothing is submitted any more"


def test_what_still_waits_at_the_end_of_a_call_is_given_up() -> None:
    engine = Stuck()
    with call() as mine:
        replies = mine.hold("recognise", engine.read_lines([INK]))
    assert replies[0].cancelled()


def test_an_answer_is_waited_for_no_longer_than_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded):
        read(Stuck(), [INK], ReadOptions(), call(0.05))  # type: ignore[arg-type]
    with pytest.raises(DeadlineExceeded):
        read(Stuck(), [INK], ReadOptions(), call(-1))  # type: ignore[arg-type]


def test_what_is_held_after_the_end_is_cancelled_at_once() -> None:
    mine, reply = call(), Reply[int]()
    mine.cancel()
    mine.hold("recognise", [reply])
    assert reply.cancelled()


def plate(*lines: tuple[str, float, int], size: tuple[int, int] = (320, 160)) -> Any:
    """A plate's picture with (text, scale, y) lines of text in its middle."""
    drawn = np.full((size[1], size[0], 3), 225, np.uint8)
    for text, scale, y in lines:
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, round(2 * scale))
        where = ((size[0] - width) // 2, y)
        cv2.putText(drawn, text, where, cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), round(2 * scale))
    return drawn


PLATES = ReadOptions(plates=True, min_confidence=0.0)


def test_of_a_plate_only_its_own_lines_are_read(text_engine: TextEngine) -> None:
    (reading,) = read(
        text_engine, [plate(("CALIFORNIA", 0.6, 30), ("KA7351", 2.0, 100), ("dealer", 0.5, 145))], PLATES, call()
    )
    assert [line.text for line in reading.lines] == ["KA7351"]


def test_stacked_lines_of_a_plate_are_read_from_top_to_bottom(text_engine: TextEngine) -> None:
    (reading,) = read(text_engine, [plate(("ABC", 2.0, 80), ("4567", 2.0, 190), size=(240, 230))], PLATES, call())
    assert [line.text for line in reading.lines] == ["ABC", "4567"]


def test_a_plate_without_text_that_could_be_found_is_read_as_one_line(text_engine: TextEngine) -> None:
    (reading,) = read(text_engine, [plate()], PLATES, call())
    assert len(reading.found) == 1


def test_a_plate_that_is_one_line_is_read_as_by_the_engine_itself(text_engine: TextEngine) -> None:
    line = plate(("B2468XY", 1.3, 36), size=(200, 48))
    (said,) = text_engine.read_plate_lines([line])
    (reading,) = read(text_engine, [line], ReadOptions(plates=True, find=False, min_confidence=0.0), call())
    assert [(line.text, line.characters) for line in reading.lines] == [
        (said.result(60).text, said.result(60).characters)
    ]
