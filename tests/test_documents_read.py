import math
from collections.abc import Container, Sequence

import cv2
import numpy as np
import pytest

from platoon.documents.layout import Layout, Region
from platoon.documents.page import Label, Page
from platoon.documents.read import AT_A_TIME, DocumentReader, Options, ReadPage, page_indices
from platoon.engine.batcher import Priority, Reply
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput, Overloaded, TooLarge
from platoon.media.frame import Pixels
from platoon.ocr.engine import TextEngine
from platoon.ocr.pages import Kind
from platoon.ocr.reading import ReadOptions
from tests.drawn import INVOICE, INVOICE_TEXTS, document, encoded, endless_pdf, one_page_pdf, page, pdf, stream

INK = page(*INVOICE)
PLAIN = Options(layout=False)
FONT = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"
TYPESET = one_page_pdf(content=b"BT /F 12 Tf 20 80 Td (Total 99.50) Tj 0 -30 Td (due) Tj ET", resources=FONT)


class MadeUp:
    """A layout that finds the same regions on every page."""

    def __init__(self, *regions: Region) -> None:
        self.regions = regions
        self.asked: list[int] = []
        """How many pages at once."""

    def submit(self, pictures: Sequence[Pixels], call: RequestContext) -> Sequence[Reply[list[Region]]]:
        self.asked.append(len(pictures))
        replies: list[Reply[list[Region]]] = []
        for _ in pictures:
            replies.append(Reply())
            replies[-1].set_result(list(self.regions))
        return replies


def reader(engine: TextEngine, layout: Layout | None = None, *, max_pages: int = 20) -> DocumentReader:
    return DocumentReader(engine, layout, max_pages=max_pages, max_pixels=1_000_000, page_s=30.0)


def read(
    engine: TextEngine,
    data: bytes,
    options: Options = PLAIN,
    layout: Layout | None = None,
    *,
    skip: Container[int] = (),
) -> list[ReadPage]:
    with (
        RequestContext(Priority.BULK, math.inf) as call,
        reader(engine, layout).open(data, options, call, skip=skip) as opened,
    ):
        pages = list(opened)
        assert [read.page.index for read in pages] == list(opened.indices)
        return pages


def test_a_document_is_read_page_by_page(text_engine: TextEngine) -> None:
    first, second = read(text_engine, document([INK, INK]))
    assert [line.text for line in first.page.lines] == INVOICE_TEXTS
    assert (second.page.index, second.page.size, second.page.scale) == (1, (800, 400), 2.0)
    assert first.picture.shape == (400, 800, 3)
    assert Page.from_json(first.page.to_json()).text == first.page.text


def test_words_stand_where_the_line_does(text_engine: TextEngine) -> None:
    (only,) = read(text_engine, document([INK], "TIFF"))
    line = next(line for line in only.page.lines if line.text == "Total 99.50")
    total, amount = (word.box for word in line.words)
    assert [word.text for word in line.words] == ["Total", "99.50"]
    assert line.box[0] <= total[0] < total[2] <= amount[0] + 2 < amount[2] <= line.box[2]


def test_only_the_pages_that_are_wanted_and_not_known_are_read(text_engine: TextEngine) -> None:
    data = document([INK[:100]] * 4)
    assert [read.page.index for read in read(text_engine, data, Options(pages="2-", layout=False), skip={2})] == [1, 3]


def test_a_page_that_is_known_is_not_drawn_again(text_engine: TextEngine) -> None:
    pages = [page.page for page in read(text_engine, endless_pdf(), skip={0})]
    assert pages == []


def test_the_text_that_a_page_carries_is_taken_where_it_is_sound(text_engine: TextEngine) -> None:
    (only,) = read(text_engine, TYPESET)
    assert (only.page.source, [line.text for line in only.page.lines]) == ("text-layer", ["Total 99.50", "due"])
    assert {line.confidence for line in only.page.lines} == {1.0}


def test_text_beside_the_page_is_not_on_it(text_engine: TextEngine) -> None:
    content = b"BT /F 12 Tf 20 80 Td (here) Tj 0 90 Td (above) Tj 1e30 0 Td (nowhere) Tj ET"
    (only,) = read(text_engine, one_page_pdf(content=content, resources=FONT))
    assert [line.text for line in only.page.lines] == ["here"]


def test_the_text_that_a_page_carries_is_not_taken_if_nobody_wants_it(text_engine: TextEngine) -> None:
    (only,) = read(text_engine, TYPESET, Options(layout=False, text_layer="ignore"))
    assert only.page.source == "ocr"
    assert [line.text for line in only.page.lines] == ["Total 99.50", "due"]
    assert min(line.confidence for line in only.page.lines) < 1


def test_a_page_that_carries_no_text_is_read_unless_only_that_is_wanted(text_engine: TextEngine) -> None:
    data = document([INK])
    assert read(text_engine, data)[0].page.source == "ocr"
    (only,) = read(text_engine, data, Options(layout=False, text_layer="only"))
    assert (only.page.source, only.page.blocks, only.page.error) == ("text-layer", (), None)


def test_regions_become_blocks_and_tables_have_cells(text_engine: TextEngine) -> None:
    ruled = np.full((300, 500, 3), 255, np.uint8)
    for at in (20, 120, 220):
        cv2.line(ruled, (20, at), (460, at), (0, 0, 0), 2)
    for at in (20, 240, 460):
        cv2.line(ruled, (at, 20), (at, 220), (0, 0, 0), 2)
    for text, x, y in (("Name", 40, 80), ("City", 260, 80), ("Anna", 40, 180), ("Oslo", 260, 180)):
        cv2.putText(ruled, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    layout = MadeUp(Region(Label.TABLE, (15, 15, 465, 225), 0.9), Region(Label.FIGURE, (300, 240, 400, 290), 0.8))
    (only,) = read(text_engine, encoded(ruled), Options(), layout)
    table, figure = only.page.blocks
    assert (table.label, table.text, table.confidence) == (Label.TABLE, "Name\tCity\nAnna\tOslo", 0.9)
    assert table.table is not None
    assert [cell.text for cell in table.table.cells] == ["Name", "City", "Anna", "Oslo"]
    assert (figure.label, figure.lines, figure.box) == (Label.FIGURE, (), (300, 240, 400, 290))
    (bare,) = read(text_engine, encoded(ruled), Options(tables=False), layout)
    assert bare.page.blocks[0].table is None


def test_neighbouring_pages_share_batches_and_only_a_few_are_held(text_engine: TextEngine) -> None:
    layout = MadeUp()
    with (
        RequestContext(Priority.BULK, math.inf) as call,
        reader(text_engine, layout).open(document([INK[:100]] * 6), Options(), call) as opened,
    ):
        pages = iter(opened)
        next(pages)
        assert layout.asked == [AT_A_TIME]
        assert len(list(pages)) == 5
    assert layout.asked == [AT_A_TIME, 2]


def three_pages(*boxes: bytes) -> bytes:
    kids = b" ".join(b"%d 0 R" % (number + 3) for number in range(len(boxes)))
    pages = [
        b"<</Type/Page/Parent 2 0 R/MediaBox%s/Contents %d 0 R/Resources<<%s>>>>" % (box, len(boxes) + 3, FONT)
        for box in boxes
    ]
    text = stream(b"BT /F 12 Tf 20 50 Td (here) Tj ET")
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(boxes)), *pages, text
    )


def test_a_page_that_cannot_be_drawn_says_why_and_the_rest_is_read(text_engine: TextEngine) -> None:
    data = three_pages(b"[0 0 200 100]", b"[0 0 9000 9000]", b"[0 0 200 100]")
    first, large, last = read(text_engine, data)
    assert first.page.text == last.page.text == "here"
    assert large.page.error is not None
    assert "more than 1000000 pixels" in large.page.error
    assert (large.page.blocks, large.page.size, large.picture.size) == ((), (18_000, 18_000), 0)


def test_a_page_that_cannot_be_read_says_why_and_the_rest_is_read(text_engine: TextEngine) -> None:
    options = Options(layout=False, read_options=ReadOptions(max_lines=1))
    first, last = read(text_engine, document([INK, page(("alone", 20, 50))]), options)
    assert first.page.error is not None
    assert "more than 1" in first.page.error
    assert (last.page.error, last.page.text) == (None, "alone")


def test_an_engine_that_is_too_busy_ends_the_reading_and_no_page_is_lost_for_it(text_engine: TextEngine) -> None:
    class Busy(MadeUp):
        def submit(self, pictures: Sequence[Pixels], call: RequestContext) -> Sequence[Reply[list[Region]]]:
            raise Overloaded("busy")

    with pytest.raises(Overloaded):
        read(text_engine, document([INK]), Options(), Busy())


def test_more_pages_than_are_allowed_are_refused_unless_fewer_are_wanted(text_engine: TextEngine) -> None:
    data, few = document([INK[:100]] * 4), reader(text_engine, max_pages=3)
    with RequestContext(Priority.BULK, math.inf) as call:
        with pytest.raises(InvalidInput, match="4 pages to be read, more than 3"), few.open(data, PLAIN, call):
            pass
        with few.open(data, Options(pages="2-3", layout=False), call) as opened:
            assert (opened.kind, len(opened.sizes), opened.indices) == (Kind.PDF, 4, [1, 2])


LOCKED = (
    b"/Encrypt<</Filter/Standard/V 1/R 2/Length 40/P -4/O<"
    + b"ab" * 32
    + b">/U<"
    + b"cd" * 32
    + b">>>/ID[<00><00>]/Root"
)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (TYPESET.replace(b"/Root", LOCKED), "needs a password"),
        (TYPESET[:60], "damaged"),
        (pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>"), "no pages|damaged"),
        (b"no document at all", "none of"),
    ],
)
def test_files_that_cannot_be_read_at_all_are_refused(text_engine: TextEngine, data: bytes, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        read(text_engine, data)


def test_a_picture_with_too_many_pixels_is_refused(text_engine: TextEngine) -> None:
    with pytest.raises(TooLarge):
        read(text_engine, encoded(np.zeros((1001, 1000, 3), np.uint8)))


def test_pictures_say_how_large_they_are_on_paper(text_engine: TextEngine) -> None:
    assert read(text_engine, encoded(INK, "JPEG", dpi=(144, 144)))[0].page.scale == pytest.approx(2, abs=0.01)
    assert read(text_engine, encoded(INK))[0].page.scale == 1


@pytest.mark.parametrize(
    ("pages", "indices"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("2", [1]),
        ("1-3,5", [0, 1, 2, 4]),
        ("4-", [3, 4]),
        (" 3 , 1-2", [0, 1, 2]),
        ("5-99", [4]),
    ],
)
def test_pages_are_named_by_number_and_range(pages: str, indices: list[int]) -> None:
    assert page_indices(pages, 5) == indices


@pytest.mark.parametrize("pages", ["six", "0", "6", "-3", "1-b", "1;2", "²"])
def test_pages_that_are_none_are_refused(pages: str) -> None:
    with pytest.raises(InvalidInput, match="pages"):
        page_indices(pages, 5)
