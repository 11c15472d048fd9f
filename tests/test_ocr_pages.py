import time

import numpy as np
import psutil
import pytest

from platoon.errors import DeadlineExceeded, InvalidInput, PlatoonError, TooLarge
from platoon.media.frame import Pixels
from platoon.ocr.pages import Kind, Pages, kind_of, open_pages
from tests.drawn import INVOICE, document, encoded, endless_pdf, one_page_pdf, page

INK = page(*INVOICE)
LIMITS = {"max_pages": 5, "max_pixels": 1_000_000, "page_s": 30.0}


def taken(data: bytes, **limits: float) -> tuple[Pages, list[Pixels]]:
    with open_pages(data, **{**LIMITS, **limits}) as pages:  # type: ignore[arg-type]
        return pages, list(pages.pictures)


def test_a_picture_is_one_page() -> None:
    pages, (picture,) = taken(encoded(INK))
    assert (pages.kind, pages.sizes) == (Kind.IMAGE, [(400, 200)])
    np.testing.assert_array_equal(picture, INK)


def test_a_pdf_is_drawn_at_two_pixels_a_point() -> None:
    pages, pictures = taken(document([INK, INK[:100]]))
    assert (pages.kind, pages.sizes) == (Kind.PDF, [(800, 400), (800, 200)])
    assert [picture.shape for picture in pictures] == [(400, 800, 3), (200, 800, 3)]
    assert np.abs(pictures[0][::2, ::2].astype(int) - INK).mean() < 8


def test_colours_of_a_pdf_are_rgb() -> None:
    _, (picture,) = taken(one_page_pdf(content=b"1 0 0 rg 0 0 101 100 re f 0 0 1 rg 100 0 100 100 re f"))
    assert picture[100, 50].tolist() == [255, 0, 0]
    assert picture[100, 350].tolist() == [0, 0, 255]


def test_pages_of_odd_widths_are_whole() -> None:
    for width in (99, 100, 101, 103):
        _, (picture,) = taken(document([np.full((50, width, 3), (10, 20, 200), np.uint8)]))
        assert picture.shape == (100, 2 * width, 3)
        assert np.abs(picture.astype(int) - (10, 20, 200)).max() < 12


def test_a_tiff_has_all_its_pages_and_one_of_a_single_page_is_a_picture() -> None:
    pages, pictures = taken(document([INK, INK[:100], INK[:50]], "TIFF"))
    assert pages.kind is Kind.TIFF
    assert [(picture.shape[1], picture.shape[0]) for picture in pictures] == pages.sizes
    assert taken(document([INK], "TIFF"))[0].kind is Kind.IMAGE


@pytest.mark.parametrize("kind", ["PDF", "TIFF"])
def test_a_document_with_too_many_pages_is_refused_and_not_cut(kind: str) -> None:
    data = document([INK] * 6, kind)
    with pytest.raises(InvalidInput, match="more than 5"):
        taken(data)
    assert len(taken(data, max_pages=6)[1]) == 6


@pytest.mark.parametrize(
    "data",
    [encoded(INK), document([INK, INK], "TIFF"), document([INK])],
    ids=["picture", "tiff", "pdf"],
)
def test_pages_with_too_many_pixels_are_refused_before_they_are_drawn(data: bytes) -> None:
    with pytest.raises(TooLarge, match="more than 50000 pixels"):
        taken(data, max_pixels=50_000)


def test_a_page_that_is_too_long_to_be_cut_is_refused() -> None:
    with pytest.raises(TooLarge, match="longer than 32766"):
        taken(one_page_pdf(b"[0 0 20000 2]"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of odd tags, which do no harm
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF-",
        b"%PDF-1.7 and nothing else",
        document([INK])[:300],
        one_page_pdf(b"[0 0 0 0]")[:-40],
        document([INK], "TIFF")[:60],
        b"II*\0\x08\0\0\0",
    ],
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(PlatoonError):
        taken(data)


def test_a_pdf_that_takes_too_long_is_given_up_and_its_process_ended() -> None:
    started = time.monotonic()
    with pytest.raises((DeadlineExceeded, InvalidInput), match=r"longer than 1 s to draw|too much memory or time"):
        taken(endless_pdf(), page_s=1.0)
    assert time.monotonic() - started < 60
    assert not [child for child in psutil.Process().children() if "platoon.ocr.pdf_process" in child.cmdline()]


def test_pages_are_drawn_as_they_are_taken() -> None:
    # The second page can never be drawn: that the first can be had shows that nobody waited for it.
    first = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>"
    endless = endless_pdf()
    both = endless.replace(b"/Kids[3 0 R]/Count 1", b"/Kids[99 0 R 3 0 R]/Count 2").replace(
        b"xref\n", b"99 0 obj\n" + first + b"\nendobj\nxref\n", 1
    )
    with open_pages(both, max_pages=5, max_pixels=1_000_000, page_s=3.0) as pages:
        assert next(pages.pictures).shape == (200, 400, 3)
        with pytest.raises((DeadlineExceeded, InvalidInput)):  # whichever bound this machine meets first
            next(pages.pictures)


def test_files_are_told_apart_by_their_first_bytes() -> None:
    assert kind_of(document([INK])) is Kind.PDF
    assert kind_of(b"\n\n%PDF-1.4") is Kind.PDF
    assert kind_of(document([INK], "TIFF")) is Kind.TIFF
    assert kind_of(encoded(INK)) is Kind.IMAGE
    assert kind_of(b"") is Kind.IMAGE
