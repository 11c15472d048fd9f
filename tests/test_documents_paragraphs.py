import pytest

from platoon.documents.page import Line, Word
from platoon.documents.paragraphs import joined, paragraphs, rows_of, running_text


def rows(*texts: str, left: dict[int, int] | None = None, down: dict[int, int] | None = None) -> list[list[Line]]:
    """Lines below each other, 10 pixels a character and 20 high, moved to the right or down where said."""
    made = []
    top = 0
    for number, text in enumerate(texts):
        top += (down or {}).get(number, 0)
        x = (left or {}).get(number, 0)
        corners = tuple((float(a), float(b)) for a, b in ((x, top), (x + 10 * len(text), top)))
        corners += tuple((a, b + 20.0) for a, b in corners[::-1])
        words = tuple(Word(word, corners, 1.0) for word in text.split())
        made.append([Line(text, corners, 1.0, words)])
        top += 24
    return made


def test_lines_of_a_paragraph_are_joined_and_divided_words_made_whole() -> None:
    text = paragraphs(rows("The layout proce-", "dure used by dot", "relies on a graph"))
    assert text == "The layout procedure used by dot relies on a graph"


@pytest.mark.parametrize(
    ("text", "more", "whole"),
    [
        ("Inhalts-", "datenbank", "Inhaltsdatenbank"),
        ("Müller-", "Lüdenscheid", "Müller-Lüdenscheid"),
        ("A\u00ad", "bend", "Abend"),
        ("the years 1990-", "2000", "the years 1990- 2000"),
        ("a -", "b", "a - b"),
        ("東京", "都庁", "東京都庁"),
        ("東京", "Tower", "東京 Tower"),
        ("서울", "특별시", "서울 특별시"),
        ("", "b", "b"),
        ("a", "", "a"),
    ],
)
def test_a_line_joins_the_text_before_it(text: str, more: str, whole: str) -> None:
    assert joined(text, more) == whole


FULL = "a line that is as long as any here"


def test_an_indented_line_begins_a_paragraph() -> None:
    shown = paragraphs(rows(FULL, FULL, FULL[:-3], FULL, left={2: 30}))
    assert shown == f"{FULL} {FULL}\n\n{FULL[:-3]} {FULL}"


def test_a_line_that_stands_apart_begins_a_paragraph() -> None:
    assert paragraphs(rows(FULL, FULL, FULL, FULL, down={2: 20})) == f"{FULL} {FULL}\n\n{FULL} {FULL}"


def test_half_a_line_between_two_parts_paragraphs_and_what_boxes_vary_by_does_not() -> None:
    full = ["the first paragraph ends here.", "The second goes on to the rim.", "And so does its other full row"]
    full += ["and the one below that, and so", "it goes on to the very last one"]
    assert paragraphs(rows(*full, down={1: 9})) == full[0] + "\n\n" + " ".join(full[1:])
    assert paragraphs(rows(*full, down={1: 4})) == " ".join(full)


def test_a_line_that_ends_although_the_next_word_would_have_fitted_ends_a_paragraph() -> None:
    assert (
        paragraphs(rows(FULL, FULL, "the end.", FULL, FULL, FULL)) == f"{FULL} {FULL} the end.\n\n{FULL} {FULL} {FULL}"
    )


def test_items_of_a_list_stand_below_each_other() -> None:
    assert paragraphs(rows("• one that is a long item here", "• and one more of that same", "  length")) == (
        "• one that is a long item here\n• and one more of that same   length"
    )


def test_an_item_goes_on_below_its_first_word_and_what_follows_the_list_is_no_item() -> None:
    listed = (
        "• applications must be able to extend",
        "the database in any way when they are",
        "installed.",
        "• It must be possible.",
    )
    left, down = {1: 20, 2: 20}, {3: 12}
    shown = paragraphs(rows(*listed, "Further, what was there has been merged", left=left, down=down))
    assert shown == (
        "• applications must be able to extend the database in any way when they are installed.\n"
        "• It must be possible.\n\n"
        "Further, what was there has been merged"
    )


def test_lines_of_an_address_or_of_code_stay() -> None:
    address = ("Guillaume Barrières", "Minidoux Corporation", "5000 Pannes Drive", "USA")
    assert paragraphs(rows(*address)) == "\n".join(address)
    code = ("for (;;) {", "run(the_next_of_them, now);", "}", "return;")
    assert paragraphs(rows(*code)) == "\n".join(code)


def test_a_title_is_one_paragraph_whatever_its_lines() -> None:
    assert running_text(rows("On Growth", "and", "Form")) == "On Growth and Form"
    assert running_text([]) == ""


def test_what_stands_beside_each_other_is_a_row() -> None:
    left, right = rows("left")[0][0], rows("right", left={0: 500}, down={0: 4})[0][0]
    below = rows("below", down={0: 30})[0][0]
    assert [[line.text for line in row] for row in rows_of([below, right, left])] == [["left", "right"], ["below"]]
