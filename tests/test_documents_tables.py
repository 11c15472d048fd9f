from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from platoon.documents.page import Line, Table, Word
from platoon.documents.tables import gapped_tables, ruled_tables, table_in
from platoon.media.frame import Pixels

BOX = (50, 50, 750, 350)


def words_at(text: str, left: int, top: int) -> Line:
    """A line 20 pixels high, 10 a character."""
    words = []
    for word in text.split():
        x = left + 10 * text.index(word)
        corners = tuple((float(a), float(b)) for a, b in ((x, top), (x + 10 * len(word), top)))
        words.append(Word(word, (*corners, *((a, b + 20.0) for a, b in corners[::-1])), 1.0))
    first, last = words[0].corners, words[-1].corners
    return Line(text, (first[0], last[1], last[2], first[3]), 1.0, tuple(words))


def drawn(across: Sequence[tuple[int, int, int]] = (), down: Sequence[tuple[int, int, int]] = ()) -> Pixels:
    """A page with rules: (y, from x, to x) and (x, from y, to y)."""
    page = np.full((400, 800, 3), 255, np.uint8)
    for y, start, end in across:
        cv2.line(page, (start, y), (end, y), (0, 0, 0), 2)
    for x, start, end in down:
        cv2.line(page, (x, start), (x, end), (0, 0, 0), 2)
    return page


def cells_of(table: Table | None) -> list[tuple[str, int, int, int, int]]:
    """(text, row, column, rows, columns) of each cell."""
    assert table is not None
    places = sorted(
        (row, column)
        for cell in table.cells
        for row in range(cell.row, cell.row + cell.rows)
        for column in range(cell.column, cell.column + cell.columns)
    )
    assert places == [(row, column) for row in range(table.rows) for column in range(table.columns)]
    return [(cell.text, cell.row, cell.column, cell.rows, cell.columns) for cell in table.cells]


GRID = [words_at("Name", 80, 70), words_at("City", 400, 70), words_at("Anna", 80, 170), words_at("Ulm", 400, 170)]
SIMPLE = [("Name", 0, 0, 1, 1), ("City", 0, 1, 1, 1), ("Anna", 1, 0, 1, 1), ("Ulm", 1, 1, 1, 1)]


def test_a_ruled_table_has_the_cells_between_its_rules() -> None:
    rules = [(y, 60, 700) for y in (60, 120, 220)]
    picture = drawn(rules, [(x, 60, 220) for x in (60, 380, 700)])
    table = table_in(picture, BOX, GRID)
    assert cells_of(table) == SIMPLE
    assert table is not None
    assert table.cells[3].box == pytest.approx((380, 120, 700, 220), abs=3)


def test_cells_without_a_rule_between_them_are_one() -> None:
    picture = drawn(
        [(60, 60, 700), (120, 60, 700), (170, 380, 700), (220, 60, 700)],
        [(60, 60, 220), (380, 120, 220), (700, 60, 220)],
    )
    lines = [words_at("People and where they live", 120, 80), words_at("Anna", 80, 160)]
    lines += [words_at("Ulm", 400, 135), words_at("Bonn", 400, 185)]
    assert cells_of(table_in(picture, BOX, lines)) == [
        ("People and where they live", 0, 0, 1, 2),
        ("Anna", 1, 0, 2, 1),
        ("Ulm", 1, 1, 1, 1),
        ("Bonn", 2, 1, 1, 1),
    ]


def test_lines_of_a_cell_are_one_text() -> None:
    picture = drawn([(y, 60, 700) for y in (60, 120, 220)], [(x, 60, 220) for x in (60, 380, 700)])
    lines = [*GRID[:3], words_at("Ulm, which is in Würt-", 400, 130), words_at("temberg", 400, 154)]
    assert cells_of(table_in(picture, BOX, lines))[3][0] == "Ulm, which is in Württemberg"


def test_a_table_without_rules_has_its_columns_at_gaps() -> None:
    lines = [*GRID, words_at("Bert", 80, 270), words_at("Bonn am Rhein", 400, 270)]
    assert cells_of(table_in(drawn(), BOX, lines)) == [*SIMPLE, ("Bert", 2, 0, 1, 1), ("Bonn am Rhein", 2, 1, 1, 1)]


def test_a_head_that_reaches_over_columns_spans_them() -> None:
    lines = [words_at("Population in millions", 340, 70)]
    for row, (city, then, now) in enumerate((("City", "1950", "2000"), ("Rome", "1.6", "2.5"), ("Oslo", "0.4", "0.5"))):
        lines += [
            words_at(city, 80, 110 + 40 * row),
            words_at(then, 340, 110 + 40 * row),
            words_at(now, 500, 110 + 40 * row),
        ]
    cells = cells_of(table_in(drawn(), BOX, lines))
    assert cells[:2] == [("", 0, 0, 1, 1), ("Population in millions", 0, 1, 1, 2)]
    assert cells[2:5] == [("City", 1, 0, 1, 1), ("1950", 1, 1, 1, 1), ("2000", 1, 2, 1, 1)]


def test_rules_under_the_head_alone_do_not_make_one_row_of_the_rest() -> None:
    picture = drawn([(62, 60, 700), (110, 60, 700), (330, 60, 700)])
    lines = [
        *GRID,
        words_at("Bert", 80, 200),
        words_at("Bonn", 400, 200),
        words_at("Cleo", 80, 230),
        words_at("Kiel", 400, 230),
    ]
    table = table_in(picture, BOX, lines)
    assert table is not None
    assert (table.rows, table.columns) == (4, 2)


def test_rows_that_no_rule_parts_are_rows_where_rules_part_columns() -> None:
    picture = drawn([(60, 60, 700), (110, 60, 700), (300, 60, 700)], [(x, 60, 300) for x in (60, 380, 700)])
    lines = [*GRID, words_at("Bert", 80, 220), words_at("Bonn", 400, 220)]
    table = table_in(picture, BOX, lines)
    assert table is not None
    assert (table.rows, table.columns) == (3, 2)


def test_lines_of_cells_between_few_rules_are_no_rows_of_their_own() -> None:
    picture = drawn([(60, 60, 700), (220, 60, 700), (340, 60, 700)], [(x, 60, 340) for x in (60, 380, 700)])
    lines = [
        words_at(text, 400, 70 + 24 * row)
        for row, text in enumerate(("Query packages,", "format e.g.", "version", "size"))
    ]
    lines += [
        words_at("dpkg-query", 80, 118),
        words_at("apt", 80, 260),
        words_at("Manage", 400, 250),
        words_at("all", 400, 274),
    ]
    assert cells_of(table_in(picture, BOX, lines)) == [
        ("dpkg-query", 0, 0, 1, 1),
        ("Query packages, format e.g. version size", 0, 1, 1, 1),
        ("apt", 1, 0, 1, 1),
        ("Manage all", 1, 1, 1, 1),
    ]


def test_rules_with_text_between_them_are_a_table_wherever_they_are() -> None:
    picture = drawn([(y, 60, 700) for y in (60, 120, 220)], [(x, 60, 220) for x in (60, 380, 700)])
    assert ruled_tables(picture, [*GRID, words_at("elsewhere", 100, 300)]) == [pytest.approx((60, 60, 701, 221), abs=4)]


def test_a_drawing_with_a_little_text_is_no_table() -> None:
    picture = drawn([(y, 60, 700) for y in range(60, 261, 50)], [(x, 60, 260) for x in range(60, 701, 80)])
    assert ruled_tables(picture, [words_at("a plot", 70, 80), words_at("of it", 300, 180)]) == []
    frame = drawn([(60, 60, 700), (220, 60, 700)], [(60, 60, 220), (700, 60, 220)])
    assert ruled_tables(frame, GRID) == []
    assert ruled_tables(picture, []) == []


def test_a_page_full_of_little_rules_is_a_drawing_and_soon_found_to_be_one() -> None:
    picture = np.full((2000, 2000, 3), 255, np.uint8)
    for y in range(20, 1980, 40):
        for x in range(20, 1980, 40):
            cv2.rectangle(picture, (x, y), (x + 30, y + 30), (0, 0, 0), 1)
    lines = [words_at("a", 40, 40)]
    assert ruled_tables(picture, [Line("a", ((25, 25), (33, 25), (33, 33), (25, 33)), 1.0, ()), *lines]) == []
    squared = np.full((2000, 2000, 3), 255, np.uint8)
    squared[::20], squared[:, ::20] = 0, 0
    assert table_in(squared, (0, 0, 2000, 2000), [Line("a", ((25, 25), (33, 25), (33, 33), (25, 33)), 1.0, ())]) is None


def test_rules_of_a_scan_that_lean_a_little_are_rules() -> None:
    picture = drawn([(y, 60, 700) for y in (60, 120, 220)], [(x, 60, 220) for x in (60, 380, 700)])
    leaning = cv2.warpAffine(picture, cv2.getRotationMatrix2D((400, 200), 0.4, 1), (800, 400), borderValue=(255,) * 3)
    assert cells_of(table_in(leaning, BOX, GRID)) == SIMPLE


def test_white_on_a_dark_head_is_a_head() -> None:
    picture = drawn([(y, 60, 700) for y in (120, 220)], [(x, 60, 220) for x in (60, 380, 700)])
    picture[60:120, 60:700] = (40, 60, 90)
    assert cells_of(table_in(picture, BOX, GRID))[2:] == SIMPLE[2:]


FRUIT = [
    words_at(f"{fruit:<20}{pieces:<20}{price}", 80, 130 + 30 * row)
    for row, (fruit, pieces, price) in enumerate(
        [
            ("Fruit", "Pieces", "Price"),
            ("Apple", "12", "0.40"),
            ("Pear", "7", "0.55"),
            ("", "small", ""),
            ("Fig", "3", "1.20"),
        ]
    )
]


def test_words_below_each_other_with_gaps_between_them_are_a_table() -> None:
    title, after = (
        words_at("Table 3", 80, 100),
        words_at("What comes after it is a line of text again, as wide as it", 80, 350),
    )
    [box] = gapped_tables([title, *FRUIT, after])
    assert box == (80, 130, 530, 270)
    # What stands in the gaps of a row between two others belongs to the table as well.
    across = words_at("Fruit from beyond the southern sea", 80, 280)
    [box] = gapped_tables([title, *FRUIT, across, words_at(f"{'Mango':<20}{'2':<20}2.10", 80, 310), after])
    assert box == (80, 130, 530, 330)


def test_columns_of_text_are_no_table() -> None:
    texts = (
        "lorem ipsum dolor sit am",
        "consectetur adipiscing e",
        "sed do eiusmod tempor in",
        "ut labore et dolore magn",
    )
    lines = [words_at(text, 80 + 270 * column, 100 + 30 * row) for row, text in enumerate(texts) for column in range(3)]
    assert not gapped_tables(lines)


def test_two_columns_are_no_table_without_rules() -> None:
    assert not gapped_tables([words_at(f"name{row}      value{row}", 80, 100 + 30 * row) for row in range(6)])


@pytest.mark.parametrize(
    "lines", [[], [words_at("alone", 80, 70)], [words_at("one", 80, 70), words_at("two", 80, 110)]]
)
def test_what_has_no_columns_is_no_table(lines: list[Line]) -> None:
    assert table_in(drawn(), BOX, lines) is None
