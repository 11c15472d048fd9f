"""The pages in a file: a picture has one, a PDF or TIFF has as many as it has.

Sizes are known, and refused, before anything is decoded; pages are drawn one after the other as they are taken,
so a long document needs the memory of a few. PDF and TIFF files are drawn in a process of their own, see `sheets`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from platoon.errors import PlatoonError
from platoon.media.frame import Pixels
from platoon.ocr.picture import kind_of_picture, load_sheet, may_hold_several, picture_size
from platoon.ocr.sheets import Sheet, Sheets, check_size


class Kind(StrEnum):
    """What a file is."""

    IMAGE = "image"
    TIFF = "tiff"
    """Of several pages."""
    PDF = "pdf"


PROGRAMS = {Kind.PDF: "platoon.ocr.pdf_process", Kind.TIFF: "platoon.ocr.picture_process"}
"""What draws the pages of a file; see `Sheets`."""
MOST_PICTURES = 10_000
"""Of one file; one with more is refused."""


class File(Protocol):
    """The pages of one file while it is open."""

    @property
    def kind(self) -> Kind:
        """What it is."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """(width, height) of each page in pixels; pictures that are turned upright swap theirs."""

    def draw(self, indices: Sequence[int], *, text: bool = False) -> Iterator[Sheet | PlatoonError]:
        """These pages, drawn as they are taken; or why one cannot be drawn.

        Args:
            text: give the text that they carry, too, as only those of a PDF do.
        """

    def give_up(self) -> None:
        """Let nobody wait any longer for the page that is being drawn. From any thread."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one file, to be taken once and in order."""

    kind: Kind
    sizes: Sequence[tuple[int, int]]
    """(width, height) of each in pixels; pictures that are turned upright swap theirs."""
    pictures: Iterator[Pixels]


def kind_of(data: bytes) -> Kind:
    """What a file seems to be by its first bytes; whatever is no PDF or TIFF counts as an image."""
    if data[:1024].lstrip().startswith(b"%PDF-"):
        return Kind.PDF
    return Kind.TIFF if kind_of_picture(data) == "TIFF" else Kind.IMAGE


@contextmanager
def open_file(data: bytes, *, max_pages: int, max_pixels: int, page_s: float) -> Iterator[File]:
    """The picture, TIFF or PDF in `data`. Of a picture and a TIFF no page may have too many pixels.

    Args:
        page_s: no page may take longer to be drawn.

    Raises:
        TooLarge, InvalidInput, DeadlineExceeded: as `open_pages`.
    """
    kind = kind_of(data)
    if kind is Kind.IMAGE:
        yield _Picture(data, max_pixels, page_s)
        return
    name = "the PDF" if kind is Kind.PDF else f"the TIFF of {len(data)} bytes"
    with Sheets(data, PROGRAMS[kind], name, max_pages=max_pages, max_pixels=max_pixels, page_s=page_s) as sheets:
        if kind is Kind.TIFF:
            for width, height in sheets.sizes:
                check_size(name, width, height, max_pixels)
            kind = Kind.TIFF if len(sheets.sizes) > 1 else Kind.IMAGE
        yield _Apart(kind, sheets)


@contextmanager
def open_pictures(data: bytes, name: str, *, max_pixels: int, picture_s: float) -> Iterator[File]:
    """All pictures in a file: the pages of a TIFF, those of an animation, or the one.

    Args:
        picture_s: none may take longer to be decoded.

    Raises:
        TooLarge, InvalidInput, DeadlineExceeded: as `open_pages`; drawing one gives the same as its outcome.
    """
    if not may_hold_several(data):
        yield _Picture(data, max_pixels, picture_s, name)
        return
    program = PROGRAMS[Kind.TIFF]
    with Sheets(data, program, name, max_pages=MOST_PICTURES, max_pixels=max_pixels, page_s=picture_s) as sheets:
        yield _Apart(kind_of(data), sheets)


@contextmanager
def open_pages(data: bytes, *, max_pages: int, max_pixels: int, page_s: float) -> Iterator[Pages]:
    """The pages of the picture, TIFF or PDF in `data`, all of them or an error.

    Args:
        page_s: no page may take longer to be drawn.

    Raises:
        TooLarge: a page has more than `max_pixels`.
        InvalidInput: it is damaged, locked, of more than `max_pages`, or none of these; taking a page may too.
        DeadlineExceeded: a page could not be drawn in time; also when taking one.
    """
    with open_file(data, max_pages=max_pages, max_pixels=max_pixels, page_s=page_s) as file:
        for index, (width, height) in enumerate(file.sizes):
            check_size(f"page {index + 1}", width, height, max_pixels)

        def pictures() -> Iterator[Pixels]:
            for outcome in file.draw(range(len(file.sizes))):
                if isinstance(outcome, PlatoonError):
                    raise outcome
                yield outcome.picture

        yield Pages(file.kind, file.sizes, pictures())


class _Apart:
    def __init__(self, kind: Kind, sheets: Sheets) -> None:
        self.kind, self.sizes, self.draw, self.give_up = kind, sheets.sizes, sheets.draw, sheets.give_up


class _Picture:
    kind = Kind.IMAGE

    def __init__(self, data: bytes, max_pixels: int, page_s: float, name: str = "") -> None:
        self._data, self._max_pixels, self._page_s, self._name = data, max_pixels, page_s, name
        self.sizes = [picture_size(data, name=name, max_pixels=max_pixels, most_s=page_s)]

    def draw(self, indices: Sequence[int], *, text: bool = False) -> Iterator[Sheet | PlatoonError]:
        del text  # there is none
        for _ in indices:
            try:
                yield load_sheet(self._data, name=self._name, max_pixels=self._max_pixels, most_s=self._page_s)
            except PlatoonError as error:
                yield error

    def give_up(self) -> None:
        """There is one, and it takes no longer than `page_s`."""
