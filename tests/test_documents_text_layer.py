import numpy as np
import pytest

from platoon.documents.text_layer import lines_of, sound
from platoon.ocr.pages import open_file
from platoon.ocr.sheets import Characters, Sheet
from tests.drawn import one_page_pdf

FONT = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>>>"


def carried(content: bytes) -> Characters:
    """The text of a page of 200 x 100 points."""
    data = one_page_pdf(content=content, resources=FONT)
    with open_file(data, max_pages=1, max_pixels=1_000_000, page_s=30.0) as file:
        (sheet,) = file.draw([0], text=True)
    assert isinstance(sheet, Sheet)
    assert sheet.characters is not None
    return sheet.characters


def made(text: str, *, pictured: float = 0.0, unknown: float = 0.0) -> Characters:
    """Characters of 10 x 20 pixels, one after the other."""
    count = len(text)
    left = np.arange(count)[:, None] * 10.0
    corners = np.stack(
        [np.hstack([left + x, np.full_like(left, y)]) for x, y in ((0, 0), (10, 0), (10, 20), (0, 20))], 1
    )
    return Characters(
        codes=np.array([ord(character) for character in text], np.uint32),
        corners=corners.astype(np.float32),
        generated=np.zeros(count, bool),
        hyphens=np.zeros(count, bool),
        unknown=np.arange(count) < unknown * count,
        pictured=pictured,
    )


def test_lines_and_words_stand_where_they_are_drawn() -> None:
    first, second = lines_of(carried(b"BT /F 12 Tf 20 80 Td (Total due) Tj 0 -20 Td (99.50) Tj ET"))
    assert [word.text for word in first.words] == ["Total", "due"]
    assert (first.text, first.confidence, second.text) == ("Total due", 1.0, "99.50")
    left, top, right, bottom = first.box
    assert 36 <= left <= 44
    assert 136 <= right <= 150
    assert top < 24 < 40 < bottom
    assert first.words[0].box[2] < first.words[1].box[0]
    assert second.box[1] >= 52


def test_a_wide_gap_parts_lines_and_a_narrow_one_words() -> None:
    cells = lines_of(carried(b"BT /F 10 Tf 10 50 Td (a b) Tj 60 0 Td (c) Tj ET"))
    assert [line.text for line in cells] == ["a b", "c"]


def test_an_exponent_stays_in_its_line() -> None:
    (line,) = lines_of(carried(b"BT /F 12 Tf 20 50 Td (x) Tj /F 8 Tf 5 Ts (2) Tj /F 12 Tf 0 Ts (+y) Tj ET"))
    assert line.text.replace(" ", "") == "x2+y"


def test_text_that_runs_up_is_a_line_that_begins_below() -> None:
    (line,) = lines_of(carried(b"BT /F 12 Tf 0 1 -1 0 100 20 Tm (go up) Tj ET"))
    assert line.text == "go up"
    begin, end = line.corners[0], line.corners[1]
    assert begin[1] > end[1] + 40
    assert begin[0] == pytest.approx(end[0], abs=1)


def test_ligatures_and_hyphens_are_plain_characters() -> None:
    (line,) = lines_of(made("ﬁnd-\u0002"))
    assert line.text == "find--"
    (astral,) = lines_of(made("\ud83d\ude00"))
    assert astral.text == "\U0001f600"
    (half,) = lines_of(made("a\ud83d"))
    assert half.text == "a\ufffd"


def test_a_page_of_text_is_sound() -> None:
    assert sound(carried(b"BT /F 12 Tf 20 80 Td (Total due) Tj ET"), (400, 200))


@pytest.mark.parametrize(
    "characters",
    [
        made("  \n"),
        made("abc\ufffd\ufffdde"),
        made("\ue000\ue001\ue002abc"),
        made("\x01\x03\x04abcdef"),
        made("a" * 20, unknown=0.2),
    ],
    ids=["nothing", "replacements", "private use", "controls", "unknown glyphs"],
)
def test_what_nobody_can_read_is_not_sound(characters: Characters) -> None:
    assert not sound(characters, (1000, 1000))


def test_a_stamp_on_a_scan_is_not_what_the_page_says() -> None:
    assert not sound(made("downloaded on Sunday", pictured=0.98), (1000, 1400))
    assert sound(made("downloaded on Sunday", pictured=0.1), (1000, 1400))
    assert sound(made("a scan that was read " * 40, pictured=0.98), (1000, 1400))
