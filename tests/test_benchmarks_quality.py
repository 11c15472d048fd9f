import gzip
from pathlib import Path

import numpy as np
import pytest
from benchmarks import corpus, rapid
from benchmarks.corpus import Character, Page, fold
from benchmarks.quality import COMPARED, Count, SameWidth, aims, as_rapidocr, count, distance, ratio, truths
from benchmarks.rapid import Rapid

from platoon.engine.tuning import Tuning
from platoon.media.frame import Quad
from platoon.settings import EngineSettings
from tests.drawn import one_page_pdf, page, stream

ROWS = [f"Row {number}: the quick brown fox jumps over it" for number in range(14)]


def box(x1: float, y1: float, x2: float, y2: float) -> Quad:
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


def printed(text: str, x: float, y: float, step: float = 10) -> list[Character]:
    """Characters from `x` on, `step` apart."""
    places = [(letter, x + index * step, index) for index, letter in enumerate(text)]
    return [
        Character(letter, place, y, starts_word=index == 0 or text[index - 1] == " ")
        for letter, place, index in places
        if letter != " "
    ]


def paper(*characters: Character) -> Page:
    return Page("drawn 1", np.zeros((8, 8, 3), np.uint8), characters)


def pdf_of(rows: list[str], resources: bytes = b"", more: bytes = b"") -> bytes:
    shown = b"".join(b"(%s) Tj T* " % row.encode() for row in rows)
    font = b"/Font<</F 5 0 R>>" + resources
    content = b"BT /F 12 Tf 20 280 Td 16 TL " + shown + b"ET " + more
    pixel = stream(b"\xff", b"/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8")
    helvetica = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    return one_page_pdf(b"[0 0 400 300]", content, font, helvetica, pixel)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("plate", "plate", 0),
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("O0O0", "0O0O", 2),
        ("naïve 車", "naive 車", 1),
    ],
)
def test_a_distance_counts_the_characters_to_change(one: str, other: str, expected: int) -> None:
    assert distance(one, other) == distance(other, one) == expected


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("“ﬁnd” the\u00a0 x’s – ok", '"find" the x\'s - ok'),
        ("（ＡＢ）", "(AB)"),
        ("and so on…", "and so on..."),
    ],
)
def test_what_prints_the_same_counts_as_the_same(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_columns_that_the_layer_mixes_are_separated_by_their_positions() -> None:
    left, right = printed("left side", 5, 10), printed("right side", 205, 12)
    mixed = [*right[:3], *left, *right[3:]]
    assert truths(mixed, [box(0, 0, 100, 20), box(200, 2, 320, 22)]) == (["left side", "right side"], 0)


def test_a_character_in_two_lines_belongs_to_the_one_whose_middle_is_nearer() -> None:
    lines = [box(0, 0, 100, 30), box(0, 20, 100, 50)]
    assert truths([*printed("up", 5, 24), *printed("down", 5, 27)], lines) == (["up", "down"], 0)


def test_a_tilted_line_has_what_is_inside_of_its_corners_only() -> None:
    tilted = np.array([[0, 40], [100, 0], [108, 20], [8, 60]], np.float32)
    inside, outside = Character("a", 54, 30, starts_word=True), Character("b", 10, 10, starts_word=True)
    assert truths([inside, outside], [tilted]) == (["a"], 1)


def test_letters_of_no_line_and_lines_where_nothing_is_printed_are_errors() -> None:
    page = paper(*printed("first line", 5, 10), *printed("lost", 5, 40))
    found = [(box(0, 0, 110, 20), "f1rst  line"), (box(0, 100, 100, 120), "ghost")]
    assert count(page, found) == Count(
        characters=9 + 2 + 4 + 1, errors=1 + 4 + 5, letters=13, wrong_letters=10, missed=4, lines=2, right_lines=0
    )
    assert count(page, []).missed == 13


def test_blanks_count_as_errors_but_not_as_wrong_letters() -> None:
    found = [(box(0, 0, 110, 20), "firstli ne")]
    one = count(paper(*printed("first line", 5, 10)), found)
    assert (one.errors, one.wrong_letters, one.right_lines) == (2, 0, 0)


def test_ratios_are_of_all_pages_and_have_an_interval_around_them() -> None:
    some = [Count(errors=errors) for errors in (1, 2, 3, 4)]
    others = [Count(errors=errors) for errors in (2, 4, 6, 8)]
    assert ratio(some, others) == {"ratio": 0.5, "low": 0.5, "high": 0.5}
    unlike = ratio(some, others[::-1])
    assert unlike["low"] < unlike["ratio"] == 0.5 < unlike["high"]


def test_aims_are_met_at_their_bounds_and_not_beyond() -> None:
    def met(ratio: float, same: int) -> set[bool]:
        ratios = {f"{one} / {other}": {"ratio": ratio} for one, other in COMPARED}
        lines = {"lines": 100, "same": {"platoon": same, "rapidocr, by six": 97}}
        return {aim["met"] for aim in aims({"ratios": ratios, "same_text": {"pages": lines}})}

    assert met(1.0, 99) == {True}
    assert met(1.01, 98) == {False}


def test_the_pages_of_a_folder_say_where_each_of_their_characters_is(tmp_path: Path) -> None:
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "manual.pdf.gz").write_bytes(gzip.compress(pdf_of(ROWS)))
    (only,) = corpus.pages(tmp_path, per_package=2, known=fold("".join(ROWS)))
    assert (only.name, only.picture.shape) == ("packed/manual.pdf.gz 1", (600, 800, 3))
    lines = [box(0, 20 + 32 * row, 800, 52 + 32 * row) for row in range(14)]
    assert truths(only.characters, lines) == (ROWS, 0)
    first = only.characters[0]
    around = only.picture[round(first.y) - 10 : round(first.y) + 10, round(first.x) - 8 : round(first.x) + 8]
    assert around.min() < 100


def test_pages_with_pictures_or_leaders_without_much_text_or_in_unknown_characters_do_not_count(tmp_path: Path) -> None:
    pictured = pdf_of(ROWS, b"/XObject<</I 6 0 R>>", b"q 50 0 0 50 9 9 cm /I Do Q")
    documents = {
        "pictured": pictured,
        "short": pdf_of(ROWS[:2]),
        "foreign": pdf_of([row.upper() for row in ROWS]),
        "contents": pdf_of([*ROWS, "Index . . . . . . 9"]),
        "damaged": b"%PDF-1.7 and no more",
    }
    for name, data in documents.items():
        (tmp_path / f"{name}.pdf").write_bytes(data)
    with pytest.raises(FileNotFoundError, match="apt-get install"):
        corpus.pages(tmp_path, per_package=1, known=fold("Index." + "".join(ROWS)))
    (tmp_path / "fit.pdf").write_bytes(pdf_of(ROWS))
    assert [one.name for one in corpus.pages(tmp_path, per_package=1, known=fold("".join(ROWS)))] == ["fit.pdf 1"]


@pytest.mark.parametrize(("size", "width"), [((100, 40), 320), ((437, 31), 676), ((20, 60), 320)])
def test_a_line_alone_is_no_wider_than_rapidocr_makes_it(size: tuple[int, int], width: int) -> None:
    assert as_rapidocr(page(size=size)).shape == (48, width, 3)


def test_at_the_same_width_a_line_gets_the_very_text_that_rapidocr_gives_it(tmp_path: Path) -> None:
    lines = [page(("Total 99.50", 8, 36), size=(230, 48)), page(("No 4711, and one more of it", 8, 36), size=(521, 47))]
    same_width = SameWidth(EngineSettings(runtime="openvino", precision="float32"), Tuning(tmp_path))
    one = Rapid(**rapid.EXACT)
    said = [one.read_line(line) for line in lines]
    assert [same_width.read(line) for line in lines] == said == one.read_together(lines)
    same_width.close()
