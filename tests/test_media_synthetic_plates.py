"""Plates: what may stand on them, and that it can be told apart."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from platoon.errors import InvalidInput
from platoon.media.synthetic.glyphs import text_mask
from platoon.media.synthetic.plates import STYLES, WHITE, YELLOW, PlateStyle, draw_plate

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
every_style = pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())


@every_style
def test_what_a_country_invents_it_allows_and_can_be_drawn(style: PlateStyle) -> None:
    rng = np.random.default_rng(1)
    for written in {style.invent(rng) for _ in range(20)}:
        assert style.allows(written)
        assert draw_plate(written, style, px_per_mm=0.3).shape[1] == round(style.width * 0.3)


@pytest.mark.parametrize(
    ("country", "written"),
    [
        ("FR", "AB 371 ID"),  # France issues no I
        ("ES", "4827 HAK"),  # nor Spain vowels
        ("UA", "AD 4826 KB"),  # nor Ukraine letters without a Cyrillic twin
        ("DE", "M KX204"),
        ("GB", "LS15EBC"),
        ("BR", "KRA21E9"),
        ("NZ", "pht482"),
        ("VN", "30A 482 65"),  # two lines are parted by a slash
    ],
)
def test_a_text_that_the_country_does_not_issue_is_refused(country: str, written: str) -> None:
    with pytest.raises(InvalidInput, match=country):
        draw_plate(written, STYLES[country])


@every_style
def test_characters_stand_dark_on_bright_and_clear_of_the_edge(style: PlateStyle) -> None:
    plate = draw_plate(style.invent(np.random.default_rng(2)), style, px_per_mm=1.0)
    grey = cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY)
    line = grey[round(style.height * 0.45) : round(style.height * 0.75), round(style.width * 0.1) :]
    assert np.percentile(line, 95) - np.percentile(line, 5) > 100
    above_border = grey[-8, round(style.width * 0.1) : round(style.width * 0.9)]
    assert above_border.min() > 150, "the text touches the lower edge"


def test_two_lines_stand_one_above_the_other() -> None:
    plate = cv2.cvtColor(draw_plate("51G/728 34", STYLES["VN"]), cv2.COLOR_RGB2GRAY)
    inked = (plate[8:-8, 8:-8] < 100).any(axis=1)
    edges = np.flatnonzero(np.diff(inked.astype(int)))
    assert len(edges) == 4, "two rows of ink with a gap between them"
    assert edges[1] < plate.shape[0] / 2 - 8 < edges[2]


def test_british_plates_are_white_in_front_and_yellow_behind() -> None:
    front = draw_plate("GX15 MBK", STYLES["GB"])
    rear = draw_plate("GX15 MBK", STYLES["GB"], rear=True)
    assert tuple(front[5, 5]) == WHITE
    assert tuple(rear[5, 5]) == YELLOW


def test_every_character_differs_from_every_other() -> None:
    masks = {c: cv2.resize(text_mask(c, 40), (26, 40)).astype(np.float32) / 255 for c in ALPHABET}
    for one, other in combinations(ALPHABET, 2):
        if {one, other} == {"O", "0"}:
            continue
        different = np.abs(masks[one] - masks[other]).sum() / min(masks[one].sum(), masks[other].sum())
        assert different > 0.12, f"{one} and {other} look alike"


@pytest.mark.parametrize("height", [7, 24, 111])
def test_text_is_exactly_as_high_as_asked_and_wider_with_every_character(height: int) -> None:
    widths = [text_mask("KX 204"[:n], height).shape[1] for n in range(7)]
    assert text_mask("KX 204", height).shape[0] == height
    assert widths == sorted(set(widths))


def test_a_character_outside_the_alphabet_is_named() -> None:
    with pytest.raises(ValueError, match="'Ä'"):
        text_mask("ÄB", 20)
