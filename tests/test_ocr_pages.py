import threading
import time

import numpy as np
import psutil
import pytest

from platoon.errors import DeadlineExceeded, InvalidInput, PlatoonError, TooLarge
from platoon.media.frame import Pixels
from platoon.ocr.pages import Kind, Pages, kind_of, open_file, open_pages
from platoon.ocr.sheets import Sheet
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


def with_an_endless_page(*, first: bytes) -> bytes:
    """A PDF of three pages, of which the second can never be drawn."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]>>"
    objects = b"99 0 obj\n" + first + b"\nendobj\n98 0 obj\n" + page + b"\nendobj\n"
    return (
        endless_pdf()
        .replace(b"/Kids[3 0 R]/Count 1", b"/Kids[99 0 R 3 0 R 98 0 R]/Count 3")
        .replace(b"xref\n", objects + b"xref\n", 1)
    )


def test_a_page_that_cannot_be_drawn_is_an_error_in_its_place_and_the_rest_is_drawn() -> None:
    data = with_an_endless_page(first=b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9000 9000]>>")
    with open_file(data, max_pages=5, max_pixels=1_000_000, page_s=2.0) as file:
        large, endless, plain = file.draw([0, 1, 2])
    assert isinstance(large, TooLarge)
    assert isinstance(endless, DeadlineExceeded | InvalidInput)  # whichever bound this machine meets first
    assert isinstance(plain, Sheet)
    assert plain.picture.shape == (200, 400, 3)


def test_pages_are_drawn_in_any_order_and_those_that_nobody_wants_are_not() -> None:
    data = with_an_endless_page(first=b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>")
    with open_file(data, max_pages=5, max_pixels=1_000_000, page_s=30.0) as file:
        heights = [sheet.picture.shape[1] for sheet in file.draw([2, 0]) if isinstance(sheet, Sheet)]
        next(file.draw([2, 0]))
        heights += [sheet.picture.shape[1] for sheet in file.draw([2]) if isinstance(sheet, Sheet)]
    assert heights == [400, 200, 400]


def endless_pages(n_pages: int) -> bytes:
    """A PDF whose pages can never be drawn."""
    kids = b"/Kids[" + b"3 0 R " * n_pages + b"]/Count %d" % n_pages
    return endless_pdf().replace(b"/Kids[3 0 R]/Count 1", kids)


def test_a_file_whose_pages_all_take_too_long_does_not_hold_up_others_for_all_of_them() -> None:
    with open_file(endless_pages(50), max_pages=50, max_pixels=1_000_000, page_s=1.0) as file:
        outcomes = list(file.draw(range(50)))
    assert all(isinstance(outcome, DeadlineExceeded | InvalidInput) for outcome in outcomes)
    assert sum("is not drawn: 5 others" in str(outcome) for outcome in outcomes) == 45


def test_who_waits_for_a_page_can_be_let_go() -> None:
    with open_file(endless_pages(1), max_pages=5, max_pixels=1_000_000, page_s=300.0) as file:
        letting_go = threading.Timer(0.5, file.give_up)
        letting_go.start()
        (outcome,) = file.draw([0])
        letting_go.join()
    assert isinstance(outcome, InvalidInput)


TEXT = b"BT /F 12 Tf 20 80 Td (Total 99) Tj ET"
FONT = b"/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"


def test_the_text_of_a_page_is_given_where_it_is_drawn() -> None:
    with open_file(one_page_pdf(content=TEXT, resources=FONT), **LIMITS) as file:  # type: ignore[arg-type]
        (sheet,) = file.draw([0], text=True)
    assert isinstance(sheet, Sheet)
    assert sheet.characters is not None
    assert bytes(sheet.characters.codes.astype(np.uint8)) == b"Total 99"
    ink = np.argwhere(sheet.picture[..., 0] < 128)[:, ::-1]
    boxes = sheet.characters.corners
    assert np.abs(boxes[0, 0, 0] - ink[:, 0].min()) < 4
    assert np.abs(boxes[-1, 2, 0] - ink[:, 0].max()) < 4
    assert boxes[:, :, 1].min() < ink[:, 1].min() < ink[:, 1].max() < boxes[:, :, 1].max()
    assert (boxes[:, 0, 1] < boxes[:, 3, 1]).all()
    assert not sheet.characters.unknown.any()
    assert sheet.characters.pictured == 0


@pytest.mark.parametrize(("matrix", "up"), [(b"0 1 -1 0 100 20 Tm", True), (b"0 -1 1 0 100 80 Tm", False)])
def test_text_that_runs_up_or_down_begins_where_one_begins_to_read(matrix: bytes, up: bool) -> None:
    turned = one_page_pdf(content=b"BT /F 12 Tf " + matrix + b" (go) Tj ET", resources=FONT)
    with open_file(turned, **LIMITS) as file:  # type: ignore[arg-type]
        (sheet,) = file.draw([0], text=True)
    assert isinstance(sheet, Sheet)
    assert sheet.characters is not None
    first, second = sheet.characters.corners
    assert (first[0, 1] > second[0, 1]) == up
    assert (first[0, 0] < first[3, 0]) == up  # its top is on the left if it runs up
    assert (first[0, 1] > first[1, 1]) == up


def test_the_text_of_a_turned_page_is_given_where_it_is_drawn() -> None:
    turned = one_page_pdf(b"[0 0 200 100]/Rotate 90", TEXT, FONT)
    with open_file(turned, **LIMITS) as file:  # type: ignore[arg-type]
        (sheet,) = file.draw([0], text=True)
    assert isinstance(sheet, Sheet)
    assert sheet.characters is not None
    ink = np.argwhere(sheet.picture[..., 0] < 128)[:, ::-1]
    boxes = sheet.characters.corners.reshape(-1, 2)
    assert sheet.picture.shape == (400, 200, 3)
    assert (boxes.min(axis=0) < ink.min(axis=0) + 4).all()
    assert (boxes.max(axis=0) > ink.max(axis=0) - 4).all()
    assert sheet.characters.corners[0, 0, 1] < sheet.characters.corners[-1, 0, 1]


def test_files_are_distinguished_by_their_first_bytes() -> None:
    assert kind_of(document([INK])) is Kind.PDF
    assert kind_of(b"\n\n%PDF-1.4") is Kind.PDF
    assert kind_of(document([INK], "TIFF")) is Kind.TIFF
    assert kind_of(encoded(INK)) is Kind.IMAGE
    assert kind_of(b"") is Kind.IMAGE
