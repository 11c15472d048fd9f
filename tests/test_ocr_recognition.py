import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from platoon.engine.gate import Gates
from platoon.engine.tuning import Tuning
from platoon.errors import Overloaded
from platoon.metrics import Metrics
from platoon.ocr.recognition import ALTERNATIVES, PLATE, Recogniser, TextLine, decode, fit_line
from platoon.settings import EngineSettings

ALPHABET = ("", "A", "B", "I", "1")
BLANK, A, B, I, ONE = range(5)  # noqa: E741  the letter is meant


def steps(*steps: Sequence[tuple[int, float]]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """A CTC output by hand: for each step the (class, probability) pairs, best first."""
    classes = np.array([[pair[0] for pair in step] for step in steps], np.int32)
    return classes, np.array([[pair[1] for pair in step] for step in steps], np.float32)


def sure(*classes: int) -> TextLine:
    return decode(*steps(*[[(each, 0.9)] for each in classes]), ALPHABET)


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ((), ""),
        ((BLANK, BLANK), ""),
        ((A,), "A"),
        ((A, A, A), "A"),
        ((A, BLANK, A), "AA"),
        ((A, B, A), "ABA"),
        ((BLANK, A, A, BLANK, BLANK, B, BLANK), "AB"),
        ((A, A, BLANK, A, A), "AA"),
    ],
)
def test_repeats_merge_and_blanks_part(classes: tuple[int, ...], text: str) -> None:
    classes_and_scores = (np.array(classes, np.int32).reshape(-1, 1), np.full((len(classes), 1), 0.9, np.float32))
    assert decode(*classes_and_scores, ALPHABET).text == text


def test_a_line_without_characters_has_no_confidence() -> None:
    line = sure(BLANK, BLANK)
    assert (line.confidence, line.weakest, line.characters) == (0.0, 0.0, ())


def test_confidence_is_the_mean_and_weakest_the_least_of_the_characters() -> None:
    line = decode(*steps([(A, 0.9)], [(BLANK, 1.0)], [(B, 0.5)]), ALPHABET)
    assert line.confidence == pytest.approx(0.7)
    assert line.weakest == pytest.approx(0.5)


def test_a_character_is_taken_where_the_model_was_surest_of_it() -> None:
    line = decode(*steps([(I, 0.6), (ONE, 0.3)], [(I, 0.9), (ONE, 0.05)], [(I, 0.5), (ONE, 0.4)]), ALPHABET)
    assert [candidate.character for candidate in line.characters[0]] == ["I", "1"]
    assert [candidate.probability for candidate in line.characters[0]] == pytest.approx([0.9, 0.05])


def test_the_blank_is_no_alternative() -> None:
    line = decode(*steps([(I, 0.6), (BLANK, 0.2), (ONE, 0.1)]), ALPHABET)
    assert [candidate.character for candidate in line.characters[0]] == ["I", "1"]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.permutations(range(5)), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_text_and_candidates_belong_together(rows: list[list[int]], random: object) -> None:
    scores = np.sort(np.random.default_rng(len(rows)).random((len(rows), 5)).astype(np.float32))[:, ::-1]
    line = decode(np.array(rows, np.int32), scores, ALPHABET)
    assert line.text == "".join(candidates[0].character for candidates in line.characters)
    for candidates in line.characters:
        probabilities = [candidate.probability for candidate in candidates]
        assert probabilities == sorted(probabilities, reverse=True)
        assert 1 <= len(candidates) <= ALTERNATIVES
    assert 0 <= line.weakest <= line.confidence + 1e-6 <= 1 + 1e-6


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.integers(1, 1200))
def test_a_line_is_as_wide_as_its_aspect_asks_in_steps_of_32(height: int, width: int) -> None:
    line = fit_line(np.zeros((height, width, 3), np.uint8))
    assert line.shape[0] == 48
    assert line.shape[1] % 32 == 0
    assert 320 <= line.shape[1] <= 3200
    wanted = 48 * width / height
    if 320 < wanted < 3200 - 32:
        assert math.floor(wanted) <= line.shape[1] < wanted + 32


def test_a_narrow_crop_stands_left_of_grey() -> None:
    line = fit_line(np.full((24, 50, 3), 200, np.uint8))
    assert (line[:, :100] == 200).all()
    assert (line[:, 100:] == 127).all()


def test_an_empty_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="with pixels"):
        fit_line(np.zeros((0, 5, 3), np.uint8))


class LargestBatch(Tuning):
    """Measures nothing: the largest batch."""

    def choose(self, question: str, options: object, measure: object) -> int:  # type: ignore[override]
        return max(options)  # type: ignore[call-overload, no-any-return]


def recogniser(folder: pytest.TempPathFactory, alphabet: str | None, *, queue_limit: int = 100) -> Recogniser:
    settings = EngineSettings(runtime="openvino", max_batch=4, queue_limit=queue_limit)
    return Recogniser(settings, LargestBatch(folder.mktemp("cache")), Metrics(), Gates.of(1), alphabet=alphabet)


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recogniser]:
    reader = recogniser(tmp_path_factory, PLATE)
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recogniser]:
    reader = recogniser(tmp_path_factory, None)
    yield reader
    reader.close()


def crop(text: str, *, scale: float = 1.3) -> NDArray[np.uint8]:
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 3)
    drawn = np.full((height + baseline + 8, width + 16, 3), 235, np.uint8)
    cv2.putText(drawn, text, (8, height + 6), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 3)
    return drawn


def read(reader: Recogniser, *crops: NDArray[np.uint8]) -> list[TextLine]:
    return [future.result(60) for future in reader.submit(crops)]


@pytest.mark.parametrize("text", ["KA7351", "LS15EBC", "JLN390", "B2468XY"])
def test_drawn_plates_are_read(plates: Recogniser, text: str) -> None:
    (line,) = read(plates, crop(text))
    assert line.text == text
    assert line.weakest > 0.5
    assert len(line.characters) == len(text)


def test_plates_hold_only_characters_of_plates(plates: Recogniser) -> None:
    (line,) = read(plates, crop("a-b.c:9!"))
    assert set(line.text) <= set(PLATE)
    assert {candidate.character for position in line.characters for candidate in position} <= set(PLATE)


@pytest.mark.parametrize("text", ["Hello, world", "Total: 42.50", "a-b (c) 9%"])
def test_drawn_lines_are_read_with_case_spaces_and_signs(everything: Recogniser, text: str) -> None:
    assert read(everything, crop(text))[0].text == text


def test_a_blank_crop_reads_as_nothing(plates: Recogniser) -> None:
    assert read(plates, np.full((40, 160, 3), 128, np.uint8))[0].text == ""


def test_lines_of_many_widths_come_back_in_order(everything: Recogniser) -> None:
    texts = ["One", "A line that is much longer than that", "Two", "Another of these rather long lines", "Three"]
    assert [line.text for line in read(everything, *map(crop, texts))] == texts


def test_a_crop_reads_the_same_alone_and_in_company_to_the_last_bit(plates: Recogniser) -> None:
    crops = [crop(text) for text in ("KA7351", "WXYZ12", "B2468XY", "O0I1", "77KL4", "M")]
    together = read(plates, *crops)
    assert [read(plates, each)[0] for each in crops] == together


def test_a_full_queue_refuses_all_the_crops_of_a_call(tmp_path_factory: pytest.TempPathFactory) -> None:
    reader = recogniser(tmp_path_factory, PLATE, queue_limit=1)
    with pytest.raises(Overloaded):
        reader.submit([crop("AB12")] * 200)
    reader.close()


def test_an_alphabet_beyond_the_model_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        recogniser(tmp_path_factory, "AB\ue000")
