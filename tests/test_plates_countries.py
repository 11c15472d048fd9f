import pytest

from platoon.plates.countries import DIGITS, LETTERS, Country, Position, load_countries, spell

CLASSES = {"L": Position("ABC", "XYZ"), "D": Position(DIGITS)}
EUROPEAN_UNION = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE"
STATES = (
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR "
    "PA RI SC SD TN TX UT VT VA WA WV WI WY"
)
OTHERS = "GB GB-NIR BR TR UA IN VN NZ AU-NSW AU-VIC AU-QLD AU-WA AU-SA AU-TAS AU-ACT AU-NT CH NO"


def test_every_member_of_the_union_every_state_and_the_others_are_there() -> None:
    assert set(load_countries()) == {
        *EUROPEAN_UNION.split(),
        *OTHERS.split(),
        *(f"US-{state}" for state in STATES.split()),
    }


@pytest.mark.parametrize("country", load_countries().values(), ids=lambda country: country.code)
def test_a_country_has_vehicles_and_patterns_of_plausible_length_whose_shares_sum_to_one(
    country: Country,
) -> None:
    assert country.name
    assert country.vehicles > 0
    assert sum(pattern.share for pattern in country.patterns) == pytest.approx(1)
    for pattern in country.patterns:
        assert all(2 <= len(places) <= 11 for places in pattern.spelled), pattern.notation
        assert all(place.usual and not set(place.usual) & set(place.rare) for s in pattern.spelled for place in s)


def test_a_pattern_is_spelled_out_in_each_of_its_lengths() -> None:
    spelled = spell("L{1,2} D? - L", CLASSES)
    assert sorted(len(places) for places in spelled) == [2, 3, 3, 4]
    assert spelled[0] == (CLASSES["L"], CLASSES["L"])


def test_sets_ranges_and_small_letters_stand_for_themselves() -> None:
    (places,) = spell("[A-C1-3] b 7 [OND1-9]", CLASSES)
    assert [place.usual for place in places] == ["123ABC", "B", "7", "123456789DNO"]


@pytest.mark.parametrize("notation", ["L+", "L{", "[A-C", "L/D"])
def test_what_is_no_notation_is_refused_by_name(notation: str) -> None:
    with pytest.raises(ValueError, match="has no meaning from"):
        spell(notation, CLASSES)


def test_letters_that_a_country_does_not_issue_are_rare_but_not_impossible() -> None:
    dutch = load_countries()["NL"].patterns[0].spelled[0][0]
    assert dutch.usual == "BDFGHJKLMNPRSTVXZ"
    assert set(dutch.usual + dutch.rare) == set(LETTERS)
