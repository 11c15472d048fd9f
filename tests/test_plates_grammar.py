import pytest

from platoon.plates.grammar import Distribution, Grammar


def seen(text: str, alternatives: dict[int, Distribution] | None = None) -> list[Distribution]:
    """Distributions in which `text` is read with 0.9, and other characters at some positions."""
    return [{char: 0.9, **(alternatives or {}).get(i, {})} for i, char in enumerate(text)]


@pytest.mark.parametrize(
    ("read", "text", "country"),
    [
        ("LSI5EBC", "LS15EBC", "GB"),
        ("ABC1Z34", "ABC1Z34", "BR"),
        ("0ZR2224", "OZR2224", "BR"),
        ("BA302OZ", "BA302OZ", "SK"),
        ("34ABC123", "34ABC123", "TR"),
        ("KA01AB1234", "KA01AB1234", "IN"),
    ],
)
def test_the_pattern_tells_o_from_0_and_i_from_1(read: str, text: str, country: str) -> None:
    reading = Grammar().decode(seen(read))
    assert reading.text == text
    assert reading.raw == read
    assert country in reading.countries


def test_a_look_alike_is_taken_only_if_the_recogniser_saw_it() -> None:
    grammar = Grammar(["FR"])
    unseen = grammar.decode(seen("A8123CD"))
    faint = grammar.decode(seen("A8123CD", {1: {"B": 0.08}}))
    assert (unseen.text, unseen.fits) == ("A8123CD", False)
    assert (faint.text, faint.fits) == ("AB123CD", True)


def test_a_confident_text_that_fits_no_pattern_stays_as_it_was_read() -> None:
    assert Grammar().decode(seen("14B02819T")).text == "14B02819T"


@pytest.mark.parametrize("text", ["20140512", "063616", "OIL", "FELICIA"])
def test_clocks_and_names_are_not_bent_into_plates(text: str) -> None:
    assert Grammar().decode(seen(text)).text == text


def test_a_text_that_fits_as_read_beats_one_that_must_be_changed() -> None:
    reading = Grammar(["GB", "FR"]).decode(seen("AB12CDE", {2: {"I": 0.4}}))
    assert reading.text == "AB12CDE"
    assert reading.countries[0] == "GB"


def test_optional_and_repeated_parts_of_a_pattern_are_expanded() -> None:
    grammar = Grammar(["DE"])
    assert grammar.lengths == (3, 4, 5, 6, 7, 8, 9, 10)
    assert grammar.decode(seen("MAB1234E")).fits
    assert not grammar.decode(seen("2345AB")).fits
