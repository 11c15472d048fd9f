import json

from platoon.documents.page import MARGINAL, Block, Cell, Label, Line, Page, Table, Word, around

CORNERS = ((10.0, 20.5), (110.2, 20.5), (110.2, 44.0), (10.0, 44.0))


def block(label: Label, text: str, table: Table | None = None) -> Block:
    word = Word(text, CORNERS, 0.9)
    return Block(label, (10, 20, 111, 44), 0.8, (Line(text, CORNERS, 0.9, (word,)),), text, table)


def test_a_page_survives_its_journey_as_json() -> None:
    table = Table(1, 2, (Cell(0, 0, "a", (10, 20, 60, 44)), Cell(0, 1, "b", (60, 20, 111, 44))))
    blocks = (block(Label.TITLE, "Ein Titel ✓"), block(Label.TABLE, "a b", table))
    page = Page(3, (1240, 1754), 2.0, blocks, "text-layer")
    assert Page.from_json(json.loads(json.dumps(page.to_json()))) == page


def test_a_page_that_could_not_be_read_says_why_after_its_journey() -> None:
    page = Page(0, (0, 0), 1.0, (), error="the page is damaged")
    assert Page.from_json(json.loads(json.dumps(page.to_json()))) == page


def test_headers_and_footers_are_no_part_of_what_a_page_says() -> None:
    page = Page(0, (100, 100), 2.0, tuple(block(label, label.value) for label in Label))
    assert len(page.lines) == len(Label)
    assert not {label.value for label in MARGINAL} & set(page.text.split("\n\n"))
    assert page.text.split("\n\n")[0] == "title"


def test_a_box_encloses_its_corners() -> None:
    assert around(CORNERS) == (10, 20, 111, 44)
    assert around(((-0.5, 0.0), (3.0, 1.0))) == (-1, 0, 3, 1)
