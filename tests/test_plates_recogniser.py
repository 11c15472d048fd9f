from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from platoon.engine.gate import Gates
from platoon.engine.model import metadata
from platoon.engine.tuning import Tuning
from platoon.errors import Overloaded, Unavailable
from platoon.media.frame import Pixels
from platoon.media.synthetic.plates import STYLES, draw_plate
from platoon.metrics import Metrics
from platoon.ocr.recognition import ALTERNATIVES, PLATE, TextLine
from platoon.plates.recogniser import HEIGHT, NONE, WIDTH, PlateRecogniser, decode, fit_plate, plate_reading
from platoon.settings import EngineSettings

PLATES = {
    "BR": "KRT8D54",
    "GB": "LM21 XKT",
    "US-CA": "8KLM417",
    "FR": "RT 467 KW",
    "VN": "51F/276 39",
    "DE": "M KX 204",
}
"""Texts by style: with emblems and seals, in one line and two."""


def reader_at(folder: pytest.TempPathFactory, *, queue_limit: int = 64) -> PlateRecogniser:
    settings = EngineSettings(runtime="openvino", max_batch=4, queue_limit=queue_limit)
    return PlateRecogniser(settings, Tuning(folder.mktemp("reader")), Metrics(), Gates.of(1))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlateRecogniser]:
    reader = reader_at(tmp_path_factory)
    yield reader
    reader.close()


def read(reader: PlateRecogniser, *plates: Pixels) -> list[TextLine]:
    return [reply.result(timeout=60) for reply in reader.submit(plates)]


def said(text: str, *, sure: float = 0.9) -> NDArray[np.float32]:
    """What the model might say of `text`, where `_` is a position without a character."""
    probabilities = np.full((10, NONE + 1), (1 - sure) / NONE, np.float32)
    for position, character in enumerate(text.ljust(10, "_")):
        probabilities[position, NONE if character == "_" else PLATE.index(character)] = sure
    return probabilities


def test_positions_without_a_character_are_left_out_wherever_they_are() -> None:
    assert decode(said("AB12")).text == "AB12"
    assert decode(said("AB_12CD")).text == "AB12CD"


def test_a_plate_without_characters_is_an_empty_line() -> None:
    line = decode(said(""))
    assert (line.text, line.confidence, line.weakest, line.characters) == ("", 0.0, 0.0, ())


def test_each_character_comes_with_its_likeliest_alternatives_and_never_none() -> None:
    probabilities = said("B", sure=0.5)
    probabilities[0, [PLATE.index("8"), PLATE.index("3"), NONE]] = 0.2, 0.1, 0.3
    (candidates,) = decode(probabilities).characters
    assert [candidate.character for candidate in candidates[:3]] == ["B", "8", "3"]
    assert [candidate.probability for candidate in candidates[:3]] == pytest.approx([0.5, 0.2, 0.1])
    assert len(candidates) == ALTERNATIVES


def test_a_character_that_may_be_missing_makes_a_line_as_weak_as_one_that_may_be_wrong() -> None:
    probabilities = said("AB12")
    probabilities[4] = 0.0
    probabilities[4, [NONE, PLATE.index("7")]] = 0.6, 0.4
    line = decode(probabilities)
    assert line.text == "AB12"
    assert line.confidence == pytest.approx(0.9)
    assert line.weakest == pytest.approx(0.6)


def test_any_picture_of_a_plate_is_stretched_to_the_input() -> None:
    for shape in ((20, 90, 3), (300, 310, 3), (1, 1, 3)):
        assert fit_plate(np.zeros(shape, np.uint8)).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("crop", [np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3))])
def test_what_is_no_picture_is_refused(reader: PlateRecogniser, crop: Pixels) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        reader.submit([crop])


def test_the_weights_say_their_alphabet_and_where_they_come_from() -> None:
    described = metadata(plate_reading().load())
    assert described["alphabet"] == PLATE
    assert described["licence"] == "Apache-2.0"
    assert {"version", "commit", "seed", "data"} <= set(described)
    assert plate_reading().path.stat().st_size <= 8_000_000


@pytest.mark.parametrize("country", PLATES)
def test_drawn_plates_of_several_countries_are_read(reader: PlateRecogniser, country: str) -> None:
    plate = draw_plate(PLATES[country], STYLES[country])
    (line,) = read(reader, cv2.resize(plate, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA))
    assert line.text == PLATES[country].replace(" ", "").replace("/", "")
    assert line.weakest > 0.5


def test_a_plate_reads_the_same_alone_and_in_company_to_the_last_bit(reader: PlateRecogniser) -> None:
    plates = [draw_plate(text, STYLES[country]) for country, text in PLATES.items()]
    together = read(reader, *plates)
    assert [read(reader, each)[0] for each in plates] == together


def test_a_full_queue_refuses_all_the_plates_of_a_call(tmp_path_factory: pytest.TempPathFactory) -> None:
    reader = reader_at(tmp_path_factory, queue_limit=1)
    with pytest.raises(Overloaded):
        reader.submit([np.zeros((64, 192, 3), np.uint8)] * 200)
    reader.close()
    with pytest.raises(Unavailable):
        reader.submit([np.zeros((64, 192, 3), np.uint8)])
