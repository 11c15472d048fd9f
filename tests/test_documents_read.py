import math
from collections.abc import Container

import pytest

from platoon.documents.page import Page
from platoon.documents.read import DocumentReader, Options, ReadPage, page_indices
from platoon.engine.batcher import Priority
from platoon.errors import InvalidInput
from platoon.ocr.engine import TextEngine
from platoon.ocr.reading import Call
from tests.drawn import INVOICE, INVOICE_TEXTS, document, page

INK = page(*INVOICE)


def read(
    engine: TextEngine, data: bytes, options: Options | None = None, *, skip: Container[int] = ()
) -> list[ReadPage]:
    reader = DocumentReader(engine, None, max_pages=20, max_pixels=10_000_000, page_s=30.0)
    with (
        Call(Priority.BULK, math.inf) as call,
        reader.open(data, options or Options(layout=False), call, skip=skip) as opened,
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
