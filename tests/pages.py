"""Made-up pages for the tests of what is made of pages."""

from collections.abc import Sequence

from platoon.documents.page import Block, Box, Cell, Label, Line, Page, Table, Word


def line(text: str, box: Box, confidence: float = 0.9) -> Line:
    """An upright line; its words share its width by their letters."""
    left, top, right, bottom = box
    per_letter = (right - left) / max(1, len(text))
    words = []
    at = 0
    for word in text.split(" "):
        start, end = left + at * per_letter, left + (at + len(word)) * per_letter
        words.append(Word(word, ((start, top), (end, top), (end, bottom), (start, bottom)), confidence))
        at += len(word) + 1
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Line(text, tuple((float(x), float(y)) for x, y in corners), confidence, tuple(words))


def block(label: Label, text: str, box: Box, *, table: Table | None = None, confidence: float = 0.8) -> Block:
    """A block of as many lines as `text` has."""
    texts = text.split("\n")
    left, top, right, bottom = box
    step = (bottom - top) // max(1, len(texts))
    lines = [line(one, (left, top + n * step, right, top + (n + 1) * step)) for n, one in enumerate(texts) if one]
    return Block(label, box, confidence, tuple(lines), text, table)


def table(rows: Sequence[Sequence[str]], box: Box) -> Table:
    """A table of these texts, its cells of equal size."""
    left, top, right, bottom = box
    n_rows, n_columns = len(rows), len(rows[0])
    wide, high = (right - left) // n_columns, (bottom - top) // n_rows
    cells = [
        Cell(r, c, text, (left + c * wide, top + r * high, left + (c + 1) * wide, top + (r + 1) * high))
        for r, row in enumerate(rows)
        for c, text in enumerate(row)
    ]
    return Table(n_rows, n_columns, tuple(cells))


def report(index: int = 0) -> Page:
    """A page with one block of each kind that matters."""
    grid = table([["a", "b"], ["1", "<2>"]], (40, 500, 360, 560))
    blocks = (
        block(Label.HEADER, "Yearly *report*", (40, 10, 360, 30)),
        block(Label.TITLE, "Great Title", (40, 50, 360, 110)),
        block(Label.TEXT, "One line of text\nand another.", (40, 120, 360, 160)),
        block(Label.FIGURE, "in the picture", (100, 200, 300, 400)),
        block(Label.FIGURE_CAPTION, "Figure 1: <b>", (40, 410, 360, 430)),
        block(Label.TABLE, "a b\n1 <2>", (40, 500, 360, 560), table=grid),
        block(Label.TEXT, "# no title, and it goes on with", (40, 580, 360, 600)),
        block(Label.FOOTER, "7", (190, 780, 210, 795)),
    )
    return Page(index, (400, 800), 2.0, blocks)
