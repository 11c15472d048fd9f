from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.errors import InvalidSettings
from platoon.plates.countries import Country, load_countries
from platoon.plates.grammar import PLATE_ALPHABET, SEEN, TWIN, Distribution, Grammar, SiteGrammar
from platoon.settings import PlateSettings, Settings
from platoon.streams.isolated import IsolatedSite
from platoon.streams.pipeline import SharedSite

EXAMPLES = """
AT W12345A GU123AB S765CD  BE 1ABC123 2XYZ456 ABC123  BG CB1234AB C4321XK  HR ZG1234AB ST123CD  CY ABC123 KAA456
CZ 1A23456 4T58321 5SX1234  DK AB12345 XY98765  EE 123ABC 987XYZ  FI ABC123 XYZ98  FR AB123CD GH456KL 1234AB75
DE BAB1234 MXY987 HHAB12E  GR YKH1234 ZAB4567  HU ABC123 AABB123  IE 131D12345 12C4567 99KE321  IT AB123CD EX987FG
LV AB1234 LV77  LT ABC123 JKL987  LU AB1234 12345  MT ABC123 JQZ456  NL 12GBD3 GH123J 1XBB23 12HJKL
PL WA12345 KR1234A PO123AB WPR12AC  PT 12AB34 AA12BC 1234AB  RO B123ABC CJ12XYZ  SK BA123AB KE456CD
SI LJAB123 MB12ABC  ES 1234BCD M1234AB  SE ABC123 XYZ98A  GB AB12CDE LS15EBC A123BCD ABC123D
GB-NIR AZZ1234 MUI1234 BIL4321  CH ZH123456 BE98765  NO AB12345 EL98765  TR 34ABC123 06AB1234 35A1234
UA AA1234BB KA5678IX  IN KA01AB1234 MH12A1234 22BH1234AA DL3CAB1234  VN 51F12345 29A1234 59X112345
AU-NSW ABC12D AB12CD  AU-VIC 1AB2CD ABC123  AU-QLD 123ABC 123AB4  AU-WA 1ABC123 1DEF456  AU-SA S123ABC S987XYZ
AU-TAS A12BC AB1234  AU-ACT YAB12C YXY345  AU-NT CA12BC CB34DE  NZ ABC123 AB1234  BR ABC1234 ABC1D23
US-AL 1A2345B 10A123B  US-AK ABC123 JKL456  US-AZ ABC1234 A2C3DE  US-AR ABC12D 123ABC  US-CA 1ABC234 12345A1
US-CO ABCD12 ABC123  US-CT AB12345 123ABC  US-DE 123456 98765  US-DC AB1234 FX9876  US-FL ABCD12 AB12CD
US-GA ABC1234 XYZ9876  US-HI ABC123 SWX456  US-ID A123456 1A12345  US-IL AB12345 A123456  US-IN 123ABC 123AB
US-IA ABC123 123ABC  US-KS 123ABC 1234ABC  US-KY 123ABC A1B234  US-LA 123ABC ABC123  US-ME 1234AB 123ABC
US-MD 1AB2345 9CD8765  US-MA 1ABC23 123AB4  US-MI ABC1234 1ABC23  US-MN ABC123 123ABC  US-MS ABC1234 ABC123
US-MO AB1C2D XY9Z8W  US-MT 112345A 101234A  US-NE ABC123 12A345  US-NV 12A345 123A45  US-NH 1234567 9876543
US-NJ A12BCD ABC12D  US-NM ABCD12 123ABC  US-NY ABC1234 XYZ9876  US-NC ABC1234 XYZ9876  US-ND 123ABC ABC123
US-OH ABC1234 XYZ9876  US-OK ABC123 XYZ987  US-OR 123ABC ABC123  US-PA ABC1234 XYZ9876  US-RI 123456 AB123
US-SC ABC123 1234AB  US-SD 1AB234 12A345  US-TN ABC1234 A1234B  US-TX ABC1234 AB1C234  US-UT A123BC 1A2B3C
US-VT ABC123 XYZ987  US-VA ABC1234 XYZ9876  US-WA ABC1234 123ABC  US-WV 1AB234 1A2345  US-WI ABC1234 123ABC
US-WY 112345 2212345
"""


def examples() -> dict[str, list[str]]:
    """Plates as they are seen, by country."""
    codes = set(load_countries())
    found: dict[str, list[str]] = {}
    for word in EXAMPLES.split():
        if word in codes:
            country = found.setdefault(word, [])
        else:
            country.append(word)
    return found


def seen(text: str, alternatives: dict[int, Distribution] | None = None) -> list[Distribution]:
    """Distributions in which `text` is read with 0.9, and other characters at some positions."""
    return [{char: 0.9, **(alternatives or {}).get(i, {})} for i, char in enumerate(text)]


def fits(country: Country, text: str) -> bool:
    """Whether some pattern of a country allows a text."""
    return any(
        len(places) == len(text) and all(c in p.usual + p.rare for c, p in zip(text, places, strict=True))
        for pattern in country.patterns
        for places in pattern.spelled
    )


@pytest.fixture(scope="module")
def world() -> Grammar:
    return Grammar()


def test_there_are_examples_of_every_country() -> None:
    assert {code for code, texts in examples().items() if len(texts) >= 2} == set(load_countries())


@pytest.mark.parametrize(
    ("country", "texts"), examples().items(), ids=lambda value: value if str(value) == value else ""
)
def test_plates_of_a_country_are_known_as_its_own(country: str, texts: list[str], world: Grammar) -> None:
    own = Grammar({country: 1})
    for text in texts:
        assert own.decode(seen(text)).countries.keys() == {country}, text
        assert world.decode(seen(text)).text == text
        assert world.decode(seen(text)).fits, text


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
def test_the_pattern_decides_between_o_and_0_and_between_i_and_1(
    read: str, text: str, country: str, world: Grammar
) -> None:
    reading = world.decode(seen(read))
    assert reading.text == text
    assert reading.raw == read
    assert country in reading.countries


@pytest.mark.parametrize(
    ("read", "also", "text"),
    [
        ("AB1234B", {5: {"3": 0.02}, 4: {"8": 0.05}, 6: {"8": 0.3}}, "AB12348"),
        ("8B123CD", {0: {"B": 0.06}}, "BB123CD"),
        ("ABI2BCD", {4: {"8": 0.06}}, "AB12BCD"),
        ("5A123CD", {0: {"S": 0.06}}, "SA123CD"),
        ("AZ12Z34", {4: {"2": 0.06}}, "AZ12234"),
        ("PA1Z3CD", {3: {"2": 0.06}}, "PA123CD"),
        ("PA1S3CD", {3: {"5": 0.06}}, "PA153CD"),
    ],
)
def test_look_alikes_that_were_seen_are_decided_by_the_pattern(
    read: str, also: dict[int, Distribution], text: str, world: Grammar
) -> None:
    reading = world.decode(seen(read, also))
    assert (reading.text, reading.raw) == (text, read)


def test_a_look_alike_is_taken_only_if_the_recogniser_saw_it() -> None:
    grammar = Grammar({"FR": 1})
    unseen = grammar.decode(seen("A8123CD"))
    faint = grammar.decode(seen("A8123CD", {1: {"B": 0.08}}))
    assert (unseen.text, unseen.fits) == ("A8123CD", False)
    assert (faint.text, faint.fits) == ("AB123CD", True)


def test_a_confident_text_that_fits_no_pattern_stays_as_it_was_read(world: Grammar) -> None:
    reading = world.decode(seen("14B02819T"))
    assert reading.text == "14B02819T"
    assert reading.countries == {}
    assert reading.looseness == 1


@pytest.mark.parametrize("text", ["20140512", "063616", "OIL", "FELICIA"])
def test_clocks_and_names_are_not_bent_into_plates(text: str, world: Grammar) -> None:
    assert world.decode(seen(text)).text == text


def test_a_text_that_fits_as_read_beats_one_that_must_be_changed() -> None:
    reading = Grammar({"GB": 1, "FR": 1}).decode(seen("AB12CDE", {2: {"I": 0.4}}))
    assert reading.text == "AB12CDE"
    assert next(iter(reading.countries)) == "GB"


def test_optional_and_repeated_parts_of_a_pattern_are_expanded() -> None:
    grammar = Grammar({"DE": 1})
    assert grammar.lengths == (3, 4, 5, 6, 7, 8)
    assert grammar.decode(seen("MAB1234")).fits
    assert grammar.decode(seen("MAB123E")).fits
    assert not grammar.decode(seen("2345AB")).fits


def test_the_weights_of_countries_decide_what_a_picture_leaves_open() -> None:
    open_ = seen("AB1Z345", {3: {"2": 0.9}})
    assert Grammar({"UA": 1, "NO": 90, "FR": 1}).decode(open_).text == "AB12345"
    assert Grammar({"NO": 1, "US-AZ": 1, "IT": 0.01, "IN": 1}).decode(open_).countries.keys() >= {"NO"}
    british, brazilian = Grammar({"GB-NIR": 100, "BR": 1}), Grammar({"GB-NIR": 1, "BR": 100})
    irish = seen("MUI1234", {2: {"L": 0.9}})
    assert british.decode(irish).text == "MUI1234"
    assert next(iter(british.decode(irish).countries)) == "GB-NIR"
    assert next(iter(brazilian.decode(irish).countries)) == "BR"


def test_a_letter_that_a_country_does_not_issue_speaks_for_another_country() -> None:
    grammar = Grammar({"FR": 1, "SK": 1})
    assert next(iter(grammar.decode(seen("BA302OZ")).countries)) == "SK"
    assert grammar.decode(seen("BA302DZ", {5: {"O": 0.9}})).text == "BA302DZ"


def test_a_country_with_states_shares_its_weight_among_those_that_are_not_named() -> None:
    countries = Grammar({"US": 1, "US-TX": 1, "BR": 2}).decode(seen("BCD1234")).countries
    assert "US-NY" in countries
    assert countries["US-TX"] > countries["US-PA"] * 3
    assert sum(share for code, share in countries.items() if code.startswith("US")) > countries["BR"]


def test_a_star_stands_for_all_that_are_not_named() -> None:
    assert "HU" in Grammar({"SE": 1, "*": 9}).decode(seen("ABC123")).countries
    assert Grammar({"SE": 1}).decode(seen("ABC123")).countries.keys() == {"SE"}


def test_a_weight_of_zero_takes_a_country_out() -> None:
    assert "SE" not in Grammar({"SE": 0, "*": 1}).decode(seen("ABC123")).countries


@pytest.mark.parametrize("weights", [{"XX": 1}, {"US-XX": 1, "SE": 1}, {"SE": 0}])
def test_weights_that_name_no_country_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidSettings, match=r"XX|weight"):
        Grammar(weights)


def test_a_camera_has_the_weights_that_the_settings_give_it_or_those_of_the_site() -> None:
    site = SiteGrammar(PlateSettings(countries={"SE": 1}, camera_countries={"ferry": {"HU": 1}}))
    assert site.of("gate").decode(seen("ABC123")).countries.keys() == {"SE"}
    assert site.of("ferry").decode(seen("ABC123")).countries.keys() == {"HU"}


@pytest.mark.parametrize("kind", [SharedSite, IsolatedSite])
def test_a_site_does_not_start_with_a_country_that_nobody_knows(
    kind: type[SharedSite | IsolatedSite], tmp_path: Path
) -> None:
    weights = {"plates": {"camera_countries": {"gate": {"XX": 1}}}}
    with pytest.raises(InvalidSettings, match="'XX'"):
        kind(Settings.model_validate({**weights, "store": {"path": tmp_path}}))
    assert list(tmp_path.iterdir()) == []


def test_a_pattern_that_lets_much_pass_is_loose(world: Grammar) -> None:
    assert world.decode(seen("ABC123")).looseness < world.decode(seen("SHOP24H")).looseness < 1


def test_what_is_no_text_of_a_plate_is_given_back(world: Grammar) -> None:
    assert world.decode(seen("AB-123")).text == "AB-123"
    assert world.decode(seen("ABCDEFGH123456")).text == "ABCDEFGH123456"
    assert world.decode([]).text == ""


CHOSEN = ({"FR": 1.0}, {"GB": 3.0, "DE": 1.0}, {"US": 1.0}, {"*": 1.0})
COUNTRIES = load_countries()
GRAMMARS = [Grammar(weights) for weights in CHOSEN]
which = st.sampled_from(range(len(CHOSEN)))
LOOK_ALIKES = {
    a: group.replace(a, "") for group in ("O0DQ", "I1LT", "B8", "S5", "Z27", "A4", "G6", "HN") for a in group
}


@st.composite
def readings(draw: st.DrawFn) -> list[Distribution]:
    """What a recogniser that is more or less sure, and sometimes wrong, gives for real plates and for any text."""
    real = st.sampled_from([text for texts in examples().values() for text in texts])
    text = draw(real | st.text("O0I1B8S5Z2A4H3", min_size=2, max_size=9))
    positions: list[Distribution] = []
    for char in text:
        order = draw(st.permutations(char + LOOK_ALIKES.get(char, "")))
        sure = draw(st.sampled_from([0.5, 0.7, 0.9, 0.97, 0.99]))
        positions.append({other: sure if i == 0 else (1 - sure) * 0.6**i for i, other in enumerate(order)})
    return positions


@settings(deadline=None)
@given(readings(), which)
def test_what_was_read_is_never_lost_and_nothing_unseen_is_taken(positions: list[Distribution], number: int) -> None:
    reading = GRAMMARS[number].decode(positions)
    assert reading.raw == "".join(max(position, key=position.__getitem__) for position in positions)
    assert reading.raw in [text for text, _ in reading.likeliest]
    twins = {"O": "0", "0": "O", "I": "1", "1": "I"}
    for char, position in zip(reading.text, positions, strict=True):
        saw = {other for other, probability in position.items() if probability >= SEEN}
        assert char in saw | {twins[other] for other in saw & twins.keys()}


@settings(deadline=None)
@given(readings(), which)
def test_the_text_is_the_likeliest_of_all_that_it_may_be(positions: list[Distribution], number: int) -> None:
    reading = GRAMMARS[number].decode(positions)
    probabilities = [probability for _, probability in reading.likeliest]
    assert reading.likeliest[0][0] == reading.text
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) <= 1 + 1e-9
    assert len({text for text, _ in reading.likeliest}) == len(probabilities)
    assert 0 <= sum(reading.countries.values()) <= 1 + 1e-9


@settings(deadline=None)
@given(readings(), which)
def test_a_repair_follows_a_pattern_of_the_countries_that_may_occur(positions: list[Distribution], number: int) -> None:
    reading = GRAMMARS[number].decode(positions)
    named = CHOSEN[number].keys()
    mine = [country for code, country in COUNTRIES.items() if "*" in named or named & {code, code.split("-")[0]}]
    assert reading.text == reading.raw or any(fits(country, reading.text) for country in mine)


@settings(deadline=None)
@given(st.text(PLATE_ALPHABET.translate({ord(c): None for c in "O0I1"}), min_size=2, max_size=9), which)
def test_a_confident_reading_is_never_changed(text: str, number: int) -> None:
    positions = [{char: 0.99, "X" if char != "X" else "Y": SEEN * 0.49} for char in text]
    assert GRAMMARS[number].decode(positions).text == text


def test_a_twin_counts_less_than_what_was_seen() -> None:
    read = [{char: 0.99} for char in "QQOQQ0"]
    rivals = dict(Grammar({"FR": 1}).decode(read).likeliest)
    assert rivals["QQ0QQ0"] == pytest.approx(TWIN * rivals["QQOQQ0"])
