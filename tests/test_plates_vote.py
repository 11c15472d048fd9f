from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.ocr.recognition import Candidate, TextLine
from platoon.plates.grammar import Grammar
from platoon.plates.vote import Vote, edit_distance, fold

GRAMMAR = Grammar()


def line(text: str, probability: float = 0.95, *, others: dict[int, tuple[str, float]] | None = None) -> TextLine:
    """A reading of `text`; `others` gives the second candidate of a position."""
    characters = []
    for i, char in enumerate(text):
        second = (others or {}).get(i)
        sure = probability if second is None else 1 - second[1]
        extra = () if second is None else (Candidate(*second),)
        characters.append((Candidate(char, sure), *extra))
    sure_of = [candidates[0].probability for candidates in characters]
    return TextLine(text, sum(sure_of) / max(len(sure_of), 1), min(sure_of, default=0.0), tuple(characters))


def test_positions_are_fused_so_that_different_mistakes_cancel() -> None:
    vote = Vote(GRAMMAR)
    for text in ("JLN39O", "JLW390", "ILN390"):
        vote.add(line(text, 0.6), 1.0)
    vote.add(line("JLN390", 0.9), 1.0)
    result = vote.result()
    assert result is not None
    assert result.text == "JLN390"


def test_the_length_with_the_most_weight_wins() -> None:
    vote = Vote(GRAMMAR)
    vote.add(line("LN390"), 0.3)
    vote.add(line("LN390"), 0.3)
    vote.add(line("JLN390"), 1.0)
    result = vote.result()
    assert result is not None
    assert result.text == "JLN390"
    assert (result.agreeing, result.reads) == (1, 3)


def test_readings_that_differ_only_in_o_and_0_agree() -> None:
    vote = Vote(GRAMMAR)
    for text in ("LSI5EBC", "LS15EBC", "LSI5EBC"):
        vote.add(line(text), 1.0)
    result = vote.result()
    assert result is not None
    assert (result.text, result.agreeing, result.agreement) == ("LS15EBC", 3, 1.0)
    assert [text for text, _ in result.candidates] == ["LS15EBC"]


def test_candidates_are_listed_with_their_share_most_first() -> None:
    vote = Vote(GRAMMAR)
    for text in ("AB123CD", "AB123CD", "AB128CD", "X"):
        vote.add(line(text), 1.0)
    result = vote.result()
    assert result is not None
    assert [text for text, _ in result.candidates] == ["AB123CD", "AB128CD", "X"]
    assert sum(share for _, share in result.candidates) == pytest.approx(1.0)


def test_an_empty_reading_says_nothing() -> None:
    vote = Vote(GRAMMAR)
    vote.add(line(""), 1.0)
    assert vote.result() is None


def test_confidence_is_the_product_of_the_characters() -> None:
    vote = Vote(GRAMMAR)
    vote.add(line("AB123CD", 0.9), 1.0)
    result = vote.result()
    assert result is not None
    assert result.confidence == pytest.approx(0.9**7)
    assert result.weakest == pytest.approx(0.9)


plates = st.text("AB01OI8", min_size=1, max_size=9)
names = st.text("ABC", min_size=5, max_size=5)


@given(st.lists(st.tuples(names, st.floats(0.1, 1.5)), min_size=1, max_size=12), st.randoms())
def test_the_order_of_readings_does_not_change_how_sure_the_result_is(
    readings: list[tuple[str, float]], random: Random
) -> None:
    sure = []
    for order in (readings, random.sample(readings, len(readings))):
        vote = Vote(GRAMMAR)
        for text, weight in order:
            vote.add(line(text), weight)
        result = vote.result()
        assert result is not None
        sure.append((result.confidence, result.weakest, result.reads))
    assert sure[0] == pytest.approx(sure[1])


@given(plates, plates)
def test_edit_distance_counts_single_changes_in_both_directions(a: str, b: str) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, a + "X") == 1
    assert fold(fold(a)) == fold(a)
