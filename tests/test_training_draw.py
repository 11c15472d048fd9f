import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from training.draw import cctv, fonts, strokes, world
from training.draw.layouts import Layout, fill_in, invent, truth
from training.draw.photograph import photograph, spoil
from training.draw.plates import LAYOUTS, draw_plate, layouts_by_country
from training.draw.typefaces import Style, draw_glyphs, typefaces

FLAT = np.full((110, 520, 3), 235, np.uint8)


@pytest.fixture(scope="module", autouse=True)
def _fonts() -> None:
    try:
        fonts.font_files()
    except fonts.FontsMissing as missing:
        pytest.skip(str(missing))


def shape_of(layout: Layout, pattern: str) -> str:
    """The pattern as a regular expression of the text that a table of truth would hold."""
    signs = {"a": f"[{layout.letters}]", "d": "[0-9]", "n": "[1-9]"}
    kept = re.sub(r"<[^>]*>|[ _|·*-]", "", pattern)
    return "".join(signs.get(sign, sign) for sign in kept)


@pytest.mark.parametrize("country", sorted(layouts_by_country()))
def test_texts_fit_one_of_their_countrys_patterns_and_the_readers_ten_positions(country: str) -> None:
    rng = np.random.default_rng(1)
    for layout in layouts_by_country()[country]:
        for pattern in layout.patterns:
            text = truth(fill_in(rng, pattern, layout))
            assert re.fullmatch(shape_of(layout, pattern), text)
            assert 3 <= len(text) <= 10


def test_some_texts_follow_no_pattern() -> None:
    rng = np.random.default_rng(2)
    layout = next(layout for layout in LAYOUTS if layout.country == "ES")
    texts = [truth(invent(rng, layout)) for _ in range(300)]
    strange = [text for text in texts if not any(re.fullmatch(shape_of(layout, p), text) for p in layout.patterns)]
    assert 20 < len(strange) < 80
    assert all(4 <= len(text) <= 9 for text in strange)


def test_characters_that_are_taken_for_each_other_come_more_often() -> None:
    rng = np.random.default_rng(3)
    layout = next(layout for layout in LAYOUTS if layout.country == "BR")
    texts = "".join(fill_in(rng, "aaa·dddd", layout) for _ in range(2000))
    assert texts.count("O") > 1.4 * texts.count("K")
    assert texts.count("0") > 1.1 * texts.count("4")


def test_the_truth_leaves_out_separators_and_small_letters() -> None:
    assert truth("10*DTM<59>") == "10DTM"
    assert truth("AB-12·C|3 4_5") == "AB12C345"


def test_the_same_seed_draws_and_photographs_the_same() -> None:
    def once() -> tuple[str, bytes, bytes]:
        rng = np.random.default_rng(7)
        plate = draw_plate(rng)
        return plate.text, plate.picture.tobytes(), photograph(rng, plate.picture).picture.tobytes()

    assert once() == once()


def test_plates_are_rgb_of_the_promised_height_and_say_how_many_lines_they_have() -> None:
    rng = np.random.default_rng(3)
    for layout in (*LAYOUTS[::3], world.invent_layout(rng)):
        plate = draw_plate(rng, layout)
        height, width, channels = plate.picture.shape
        assert plate.picture.dtype == np.uint8
        assert 100 <= height <= 160
        assert channels == 3
        assert width / height == pytest.approx(layout.width_mm / layout.height_mm, rel=0.02)
        assert plate.lines in (1, 2)
        assert plate.country == layout.country


def test_the_mix_covers_countries_two_lines_and_designs_of_no_country() -> None:
    rng = np.random.default_rng(4)
    plates = [draw_plate(rng) for _ in range(250)]
    countries = {plate.country for plate in plates}
    assert {"DE", "GB", "BR", "IN", "XX"} <= countries
    assert sum(country.startswith("US") for country in countries) >= 15
    assert 20 < sum(plate.lines == 2 for plate in plates) < 100


def test_text_stands_out_from_its_field() -> None:
    rng = np.random.default_rng(5)
    for layout in LAYOUTS:
        grey = cv2.cvtColor(draw_plate(rng, layout).picture, cv2.COLOR_RGB2GRAY)
        rows, columns = grey.shape
        middle = grey[rows // 4 : -rows // 4, columns // 5 : -columns // 5]
        assert np.ptp(np.percentile(middle, (4, 96))) > 50, layout.country


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_corners_are_where_the_plate_is_in_the_order_of_its_own_corners(quarter: int) -> None:
    rng = np.random.default_rng(6)
    rows = slice(0, 55) if quarter < 2 else slice(55, 110)
    columns = slice(0, 260) if quarter in (0, 3) else slice(260, 520)
    marked = FLAT.copy()
    marked[rows, columns] = 20
    right = 0
    for _ in range(20):
        seen = photograph(rng, marked, strength=0.0, width_px=200)
        inwards = seen.corners + 0.25 * (seen.corners.mean(axis=0) - seen.corners)
        found = [int(seen.picture[round(y), round(x)].sum()) for x, y in inwards.tolist()]
        right += int(np.argmin(found)) == quarter
    assert right >= 19  # a shadow or a glare may outdo the mark


def test_a_photograph_has_the_asked_width_and_room_around_the_plate() -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        seen = photograph(rng, FLAT, width_px=100)
        height, width = seen.picture.shape[:2]
        assert (seen.corners.min(axis=0) > [8, 2]).all()
        assert (seen.corners.max(axis=0) < [width - 8, height - 2]).all()
        assert 65 < np.hypot(*(seen.corners[1] - seen.corners[0])) < 120


def test_spoiling_keeps_the_size_and_grows_with_strength() -> None:
    rng = np.random.default_rng(9)
    picture = np.random.default_rng(0).integers(0, 256, (60, 8), np.uint8)
    picture = cv2.resize(np.repeat(picture[..., None], 3, axis=2), (160, 60), interpolation=cv2.INTER_LINEAR)

    def detail(strength: float) -> float:
        spoilt = [spoil(rng, picture, plate_px=100, strength=strength) for _ in range(60)]
        assert all(one.shape == picture.shape and one.dtype == np.uint8 for one in spoilt)
        return float(np.mean([np.corrcoef(one[..., 1].ravel(), picture[..., 1].ravel())[0, 1] for one in spoilt]))

    assert detail(0.0) > detail(1.0) + 0.03


def test_surveillance_keeps_the_size_and_marks_apart_from_their_field() -> None:
    rng = np.random.default_rng(10)
    picture = np.full((40, 90, 3), 140, np.uint8)
    marks = np.zeros((40, 90), bool)
    marks[10:30, 15:75:10] = marks[10:30, 16:75:10] = marks[10:30, 17:75:10] = True
    picture[marks] = 110
    matched = 0
    for _ in range(40):
        filmed = cctv.film(rng, picture, metered=(slice(10, 30), slice(15, 75)))
        assert filmed.shape == picture.shape
        assert filmed.dtype == np.uint8
        matched += np.corrcoef(filmed[10:30, 15:75, 1].ravel(), picture[10:30, 15:75, 1].ravel())[0, 1] > 0.5
    assert matched >= 36


OWN = [strokes.ROUND, strokes.FE, strokes.FE_CLOSED, strokes.STAMPED, strokes.STAMPED_FEET, strokes.BLOCK]


@pytest.mark.parametrize("alphabet", OWN)
def test_our_own_alphabets_have_all_characters_and_no_two_look_the_same(alphabet: strokes.Alphabet) -> None:
    drawn = {}
    for character in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
        glyph = alphabet.draw(character, 80)
        assert glyph.shape[0] == 80
        drawn[character] = cv2.resize(glyph, (40, 80)).astype(int)
    for first, one in drawn.items():
        for second, other in drawn.items():
            if first < second and {first, second} != {"0", "O"}:
                assert np.abs(one - other).mean() > 5, (first, second)


def test_no_typeface_loses_its_strokes_when_plates_thin_and_blunt_them() -> None:
    thinnest = Style(weight=-0.012, roundness=0.025)
    for name, face in typefaces().items():
        for character in "H8M":
            glyph = face.glyph(character)
            field = draw_glyphs([(glyph, 50.0, 20.0)], (100, 100), 60, thinnest)
            assert field.max() > 1.2, (name, character)


def test_missing_fonts_are_reported_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(fonts.FontsMissing, match=r"python -m training\.draw fonts"):
        fonts.font_files(tmp_path)
