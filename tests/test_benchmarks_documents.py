import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from benchmarks import corpus
from benchmarks.corpus import Character
from benchmarks.documents import as_read, marks, ranks, structure_of, whole
from benchmarks.jobs import figures
from benchmarks.sheets import LOOKS, Sheet, all_sheets, set_sheets
from benchmarks.structure import followed, kendall, teds

from platoon.documents.page import Block, Cell, Label, Line, Page, Table, Word
from platoon.media.frame import Quad
from tests.drawn import document, page


def table(*rows: str) -> Table:
    """A cell for each character; a digit behind one says how many columns it spans."""
    cells = []
    width = 0
    for number, row in enumerate(rows):
        column = 0
        for text, span in zip(row[::2], row[1::2], strict=True):
            cells.append(Cell(number, column, text, (0, 0, 1, 1), columns=int(span)))
            column += int(span)
        width = max(width, column)
    return Table(len(rows), width, tuple(cells))


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([], 1),
        ([7], 1),
        ([0, 1, 2, 3], 1),
        ([3, 2, 1, 0], 0),
        ([1, 0, 2], 2 / 3),
        ([2, 3, 0, 1], 2 / 6),
        ([0, 5, 9], 1),
    ],
)
def test_kendall_is_the_share_of_pairs_in_the_right_order(ranks: list[int], expected: float) -> None:
    assert kendall(ranks) == pytest.approx(expected)


def test_columns_read_across_break_most_steps_but_only_a_quarter_of_the_pairs() -> None:
    across = [rank for row in range(10) for rank in (row, 10 + row)]

    assert followed(across) == 0
    assert kendall(across) == pytest.approx(1 - 45 / 190)
    assert followed(range(20)) == followed([4]) == 1
    assert followed([10, 11, 12, 0, 1, 2]) == pytest.approx(4 / 5)


def test_a_table_is_like_itself_and_unlike_none() -> None:
    one = table("a1b1", "c1d1")

    assert teds(one, one) == teds(one, one, text=False) == 1
    assert teds(None, one) == 0


@pytest.mark.parametrize(
    ("found", "similarity", "in_structure"),
    [
        (table("a1b1", "c1x1"), 1 - 1 / 7, 1),  # a cell says something else
        (table("a1b1", "c1"), 1 - 1 / 7, 1 - 1 / 7),  # a cell is missing
        (table("a1b1"), 1 - 3 / 7, 1 - 3 / 7),  # a row of two cells is
        (table("a1b1", "c1d1", "e1f1"), 1 - 3 / 10, 1 - 3 / 10),  # a row is too many
        (table("a2", "c1d1"), 1 - 2 / 7, 1 - 2 / 7),  # two cells were made one that spans both
        (table("a1b1c1d1"), 1 - 3 / 7, 1 - 3 / 7),  # two rows were made one, which goes while both come
    ],
)
def test_a_table_loses_what_it_takes_to_right_it(found: Table, similarity: float, in_structure: float) -> None:
    true = table("a1b1", "c1d1")

    assert teds(found, true) == pytest.approx(similarity)
    assert teds(true, found) == pytest.approx(similarity)
    assert teds(found, true, text=False) == pytest.approx(in_structure)


def corners(x1: float, y1: float, x2: float, y2: float) -> tuple[tuple[float, float], ...]:
    return ((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def line(text: str, x: float, y: float) -> Line:
    """A line of characters 10 pixels wide and 20 high."""
    words, at = [], 0
    for word in text.split(" "):
        words.append(Word(word, corners(x + 10 * at, y, x + 10 * (at + len(word)), y + 20), 1.0))
        at += len(word) + 1
    return Line(text, corners(x, y, x + 10 * len(text), y + 20), 1.0, tuple(words))


def printed(text: str, x: float, y: float) -> list[Character]:
    """The same, printed."""
    places = [(letter, index) for index, letter in enumerate(text) if letter != " "]
    return [
        Character(letter, x + 10 * index + 5, y + 10, starts_word=index == 0 or text[index - 1] == " ")
        for letter, index in places
    ]


def block(*lines: Line, label: Label = Label.TEXT, table: Table | None = None) -> Block:
    return Block(label, (0, 0, 9, 9), 1.0, lines, " ".join(line.text for line in lines), table)


def quads(*lines: Line) -> list[Quad]:
    return [np.array(line.corners, np.float32) for line in lines]


def of_page(*blocks: Block) -> Page:
    return Page(0, (600, 800), 2.0, blocks)


def test_words_are_ranked_as_the_lines_around_them_are_read() -> None:
    left, right = ["one two", "three"], ["four", "five six"]
    characters = [c for x, lines in ((0, left), (200, right)) for row, text in enumerate(lines)
                  for c in printed(text, x, 40 * row)]  # fmt: skip
    one, three, four, five = (line(text, x, y) for text, x, y in (
        ("one two", 0, 0), ("three", 0, 40), ("four", 200, 0), ("five six", 200, 40)))  # fmt: skip

    assert ranks(characters, quads(one, three, four, five)) == [0, 1, 2, 3, 4, 5]
    assert ranks(characters, quads(one, four, three, five)) == [0, 1, 3, 2, 4, 5]
    assert ranks(characters, quads(five, one)) == [2, 3, 0, 1], "words that were not found are nobody's neighbours"
    assert ranks(characters, []) == ranks([], quads(one)) == []


def test_a_page_read_as_printed_is_right_and_one_read_across_its_columns_is_not() -> None:
    texts = [("aa bb", 0, 0), ("cc dd", 0, 40), ("ee ff", 200, 0), ("gg hh", 200, 40)]
    paper = corpus.Page("drawn", page(), [one for text, x, y in texts for one in printed(text, x, y)])
    lines = [line(*one) for one in texts]

    right = marks(paper, as_read(of_page(block(*lines[:2]), block(*lines[2:]))))
    across = marks(paper, as_read(of_page(block(lines[0], lines[2], lines[1], lines[3]))))

    assert (right.count.errors, right.text_errors, right.order, right.follows) == (0, 0, 1, 1)
    assert across.count.errors == 0, "line by line the text is right"
    assert across.text_errors > 0
    assert across.order == pytest.approx(24 / 28)
    assert across.follows == pytest.approx(4 / 7)


def test_the_words_of_a_table_come_cell_by_cell() -> None:
    cells = (Cell(0, 0, "a b", (0, 0, 100, 60)), Cell(0, 1, "c d", (100, 0, 200, 60)))
    read = as_read(of_page(block(line("a", 0, 0), line("c", 100, 0), line("b", 0, 40), line("d", 100, 40),
                                 label=Label.TABLE, table=Table(1, 2, cells))))  # fmt: skip

    assert read.text == "a b c d"
    assert [tuple(place[0]) for place in read.positions] == [(0, 0), (0, 40), (100, 0), (100, 40)]


def test_a_paragraph_is_whole_with_a_wrong_character_in_twenty_and_not_without_its_end() -> None:
    assert whole("what a paragraph says", ["another", "what a paragraph sayz"])
    assert not whole("what a paragraph says", ["what a", "paragraph says"])


def test_structure_is_what_was_found_of_what_was_set() -> None:
    grid = table("a1b1", "c1d1")
    sheet = Sheet("a sheet", "", ["A paragraph of the text.", "Another one."], "Head", "Foot", grid)
    read = of_page(
        block(line("Head", 0, 0), label=Label.HEADER),
        block(line("A paragraph of the text.", 0, 40)),
        block(line("Another Foot", 0, 80)),
        block(label=Label.TABLE, table=grid),
        block(label=Label.TABLE, table=table("a1b1")),
    )

    found = structure_of(sheet, read)

    assert (found["head"], found["foot"]) == (True, False)
    assert (found["paragraphs"], found["paragraphs_whole"]) == (2, 1)
    assert (found["tables_found"], found["TEDS"], found["TEDS_struct"]) == (2, 1, 1)


def test_memory_that_grows_with_each_page_has_its_slope() -> None:
    samples = [(page, 10**9 + 4096 * page) for page in range(60)]

    measured = figures(60, 30.0, 90.0, samples)

    assert (measured["per_minute"], measured["cpu_s"]) == (120, 1.5)
    assert measured["peak_bytes"] == 10**9 + 4096 * 59
    assert measured["slope_bytes"] == pytest.approx(4096)
    assert measured["slope_error_bytes"] == pytest.approx(0, abs=1)


def test_one_page_has_no_slope() -> None:
    assert "slope_bytes" not in figures(1, 1.0, 1.0, [(0, 7), (0, 9), (0, 8)])


def test_a_document_is_made_of_the_pages_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "two.pdf").write_bytes(document([page(size=(200, 100)), page(size=(300, 100))]))
    found = [corpus.Page(f"package/two.pdf {number}", page(), []) for number in (2, 1)]

    made = pypdfium2.PdfDocument(corpus.document(tmp_path, found, 5))

    assert [round(made[index].get_width()) for index in range(len(made))] == [300, 200, 300, 200, 300]


def test_sheets_are_the_same_each_time_and_every_place_of_a_table_belongs_to_one_cell() -> None:
    sheets = all_sheets()

    assert [sheet.source for sheet in sheets] == [sheet.source for sheet in all_sheets()]
    assert sum(sheet.table is not None for sheet in sheets) == 7 * len(LOOKS)
    for sheet in sheets:
        text = "".join(ET.fromstring(sheet.source).itertext())
        assert all(paragraph in text for paragraph in (*sheet.paragraphs, sheet.header, sheet.footer))
        if sheet.table is None:
            continue
        places = [
            (cell.row + y, cell.column + x)
            for cell in sheet.table.cells for y in range(cell.rows) for x in range(cell.columns)
        ]  # fmt: skip
        assert sorted(places) == [(y, x) for y in range(sheet.table.rows) for x in range(sheet.table.columns)]
        assert all(cell.text in text for cell in sheet.table.cells)


def test_who_has_no_libreoffice_learns_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(FileNotFoundError, match="libreoffice-writer-nogui"):
        set_sheets([], tmp_path)
