import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.documents.layout import Region
from platoon.documents.order import blocks_of
from platoon.documents.page import Box, Label, Line, Word

SIZE = (1000, 1400)


def line(text: str, left: int, top: int, right: int, height: int = 20) -> Line:
    places = ((left, top), (right, top), (right, top + height), (left, top + height))
    corners = tuple((float(x), float(y)) for x, y in places)
    return Line(text, corners, 0.9, (Word(text, corners, 0.9),))


def column(name: str, left: int, top: int, right: int, count: int) -> list[Line]:
    """Lines that fill a column."""
    return [line(f"{name}{number}", left, top + 24 * number, right) for number in range(count)]


def texts(blocks: list[Line], regions: list[Region] | None = None) -> list[str]:
    return [block.text for block in blocks_of(blocks, regions or [], SIZE)]


def test_columns_are_read_one_after_the_other_and_what_spans_them_before() -> None:
    title = line("title", 100, 100, 900, 40)
    left, right = column("l", 100, 180, 480, 8), column("r", 520, 180, 900, 8)
    lines = [title, *left, *right]
    random.Random(1).shuffle(lines)
    assert " ".join(texts(lines)).split() == ["title", *(f"l{n}" for n in range(8)), *(f"r{n}" for n in range(8))]


def test_a_gap_that_runs_through_all_columns_does_not_tear_them() -> None:
    lines = [
        *column("a", 100, 100, 480, 3),
        *column("b", 100, 300, 480, 3),
        *column("c", 520, 100, 900, 3),
        *column("d", 520, 300, 900, 3),
    ]
    assert [text[0] for text in texts(lines)] == ["a", "b", "c", "d"]


def test_what_spans_the_columns_in_the_middle_of_a_page_parts_them() -> None:
    lines = [
        *column("a", 100, 100, 480, 3),
        *column("b", 520, 100, 900, 3),
        line("wide", 100, 220, 900),
        *column("c", 100, 300, 480, 3),
        *column("d", 520, 300, 900, 3),
    ]
    assert [text[0] for text in texts(lines)] == ["a", "b", "w", "c", "d"]


def test_three_columns_are_read_from_left_to_right() -> None:
    lines = [*column("c", 700, 90, 950, 5), *column("b", 380, 100, 620, 9), *column("a", 60, 110, 300, 7)]
    assert [text[0] for text in texts(lines)] == ["a", "b", "c"]


def test_a_date_on_the_right_comes_before_the_address_below_it_on_the_left() -> None:
    lines = [line("date", 700, 100, 900), *column("address", 100, 200, 300, 3)]
    assert texts(lines)[0] == "date"


def test_single_lines_beside_each_other_are_rows() -> None:
    lines = [
        line("Invoice", 100, 100, 200),
        line("No 7", 600, 101, 700),
        line("Total", 100, 200, 180),
        line("9.50", 600, 199, 680),
    ]
    assert texts(lines) == ["Invoice", "No 7", "Total", "9.50"]


def test_headers_come_first_and_footers_last_wherever_they_stand() -> None:
    regions = [
        Region(Label.FOOTER, (100, 1300, 500, 1330), 0.9),
        Region(Label.HEADER, (500, 50, 900, 80), 0.9),
        Region(Label.TITLE, (100, 20, 400, 60), 0.9),
    ]
    lines = [
        line("foot", 100, 1305, 300),
        line("head", 520, 55, 880),
        line("title", 110, 30, 390),
        line("text", 100, 400, 900),
    ]
    blocks = blocks_of(lines, regions, SIZE)
    assert [block.text for block in blocks] == ["head", "title", "text", "foot"]


def test_a_header_in_the_middle_of_a_page_is_none() -> None:
    regions = [Region(Label.HEADER, (100, 700, 500, 730), 0.9), Region(Label.FOOTER, (100, 100, 500, 130), 0.9)]
    blocks = blocks_of([line("a", 110, 702, 480), line("b", 110, 102, 480)], regions, SIZE)
    assert {block.label for block in blocks} == {Label.TEXT}


def test_what_is_large_and_too_low_for_a_header_is_a_title() -> None:
    regions = [Region(Label.HEADER, (100, 200, 500, 240), 0.9)]
    blocks = blocks_of([line("On Growth", 110, 205, 480, 30), *column("a", 100, 300, 900, 4)], regions, SIZE)
    assert [block.label for block in blocks] == [Label.TITLE, Label.TEXT]


def test_the_number_of_a_page_is_its_footer() -> None:
    blocks = blocks_of(
        [line("text", 100, 400, 900), line("- 17 -", 480, 1340, 520), line("42", 100, 600, 130)], [], SIZE
    )
    assert [(block.text, block.label) for block in blocks] == [
        ("text", Label.TEXT),
        ("42", Label.TEXT),
        ("- 17 -", Label.FOOTER),
    ]


def test_a_line_alone_at_the_edge_of_a_page_is_its_header_or_footer() -> None:
    body = column("a", 100, 100, 900, 40)
    lines = [line("Chapter 1", 100, 20, 300), *body, line("Page 7 of 9", 100, 1350, 300)]

    blocks = blocks_of(lines, [], SIZE)

    assert [block.label for block in blocks] == [Label.HEADER, Label.TEXT, Label.FOOTER]


def test_the_last_line_of_a_text_is_no_footer_however_low_it_stands() -> None:
    lines = [*column("a", 100, 100, 900, 49), line("the end of it", 100, 1290, 300)]

    assert {block.label for block in blocks_of(lines, [], SIZE)} == {Label.TEXT}


def test_the_caption_of_what_spans_the_columns_comes_after_both() -> None:
    left, right = column("l", 100, 100, 480, 8), column("r", 520, 100, 900, 8)
    caption = line("Table 1", 100, 310, 200)
    regions = [
        Region(Label.TABLE_CAPTION, (95, 308, 205, 332), 0.9),
        Region(Label.TABLE, (100, 345, 900, 600), 0.9),
    ]

    blocks = blocks_of([*left, *right, caption], regions, SIZE)

    assert [block.text[:2] for block in blocks] == ["l0", "r0", "Ta", ""]
    assert blocks[2].box == (100, 310, 200, 330), "it stays where it stands"


def test_a_title_with_columns_above_and_below_and_nothing_beside_it_parts_them() -> None:
    above = [*column("a", 100, 100, 480, 5), *column("b", 520, 100, 900, 5)]
    below = [*column("c", 100, 300, 480, 5), *column("d", 520, 300, 900, 5)]
    title = line("Title", 100, 240, 300, 36)
    regions = [Region(Label.TITLE, (95, 235, 305, 280), 0.9)]

    assert [text[0] for text in texts([*above, title, *below], regions)] == ["a", "b", "T", "c", "d"]


def test_a_title_in_a_column_stays_in_it() -> None:
    left = [*column("a", 100, 100, 480, 5), line("Title", 100, 240, 300, 36), *column("c", 100, 300, 480, 5)]
    regions = [Region(Label.TITLE, (95, 235, 305, 280), 0.9)]

    assert [text[0] for text in texts([*left, *column("r", 520, 100, 900, 13)], regions)] == ["a", "T", "c", "r"]
    assert [text[0] for text in texts([*left, *column("r", 520, 100, 900, 5)], regions)] == ["a", "T", "c", "r"]


def test_a_line_that_a_text_missed_joins_it() -> None:
    regions = [Region(Label.TEXT, (100, 120, 900, 180), 0.9)]
    blocks = blocks_of(column("a", 100, 100, 900, 4), regions, SIZE)
    assert [block.text for block in blocks] == ["a0 a1 a2 a3"]


def test_figures_stay_without_a_word_and_texts_do_not() -> None:
    regions = [Region(Label.FIGURE, (100, 100, 500, 500), 0.8), Region(Label.TEXT, (100, 600, 500, 700), 0.8)]
    (figure,) = blocks_of([], regions, SIZE)
    assert (figure.label, figure.box, figure.confidence) == (Label.FIGURE, (100, 100, 500, 500), 0.8)


def test_a_table_holds_the_texts_inside_it() -> None:
    regions = [Region(Label.TEXT, (110, 110, 300, 200), 0.9), Region(Label.TABLE, (100, 100, 900, 400), 0.8)]
    blocks = blocks_of([line("cell", 120, 120, 200), line("more", 600, 300, 700)], regions, SIZE)
    assert [(block.label, len(block.lines)) for block in blocks] == [(Label.TABLE, 2)]


def test_a_doubtful_figure_does_not_hold_sure_tables() -> None:
    regions = [Region(Label.FIGURE, (50, 50, 950, 900), 0.45), Region(Label.TABLE, (100, 100, 900, 400), 0.7)]
    blocks = blocks_of([line("cell", 120, 120, 200)], regions, SIZE)
    assert [block.label for block in blocks] == [Label.TABLE]


places = st.tuples(
    st.integers(-50, SIZE[0]), st.integers(-50, SIZE[1]), st.integers(0, SIZE[0]), st.integers(0, 400)
).map(lambda place: (place[0], place[1], place[0] + place[2], place[1] + place[3]))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(places, max_size=30),
    st.lists(st.tuples(st.sampled_from(list(Label)), places, st.floats(0, 1)), max_size=12),
)
def test_every_line_is_in_exactly_one_block(boxes: list[Box], regions: list[tuple[Label, Box, float]]) -> None:
    lines = [line(f"line {n}", box[0], box[1], box[2], box[3] - box[1]) for n, box in enumerate(boxes)]
    blocks = blocks_of(lines, [Region(*region) for region in regions], SIZE)
    assert Counter(line.text for block in blocks for line in block.lines) == Counter(line.text for line in lines)


@pytest.mark.parametrize("count", [2000])
def test_as_many_lines_as_a_page_may_have_are_put_in_order(count: int) -> None:
    rng = random.Random(3)
    lines = [
        line(str(n), left, rng.randrange(1380), left + rng.randrange(5, 60), 8)
        for n in range(count)
        for left in [rng.randrange(940)]
    ]
    assert sum(len(block.lines) for block in blocks_of(lines, [], SIZE)) == count
