"""The pages in a file: a picture has one, a PDF or TIFF has as many as it has.

Sizes are known, and refused, before anything is decoded; pages are drawn one after the other as they are taken,
so a long document needs the memory of a few. PDF files are drawn in a process of their own, see `pdf`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from PIL import Image

from platoon.errors import InvalidInput, PlatoonError
from platoon.media.frame import Pixels
from platoon.ocr.pdf import Pdf, Sheet
from platoon.ocr.picture import as_pixels, check_size, density, opened, picture_size, reading


class Kind(StrEnum):
    """What a file is."""

    IMAGE = "image"
    TIFF = "tiff"
    """Of several pages."""
    PDF = "pdf"


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
            text: tell the text that they carry, too, as only those of a PDF do.
        """


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
    return Kind.TIFF if data[:4] in (b"II*\0", b"MM\0*") else Kind.IMAGE


@contextmanager
def open_file(data: bytes, *, max_pages: int, max_pixels: int, page_s: float) -> Iterator[File]:
    """The picture, TIFF or PDF in `data`. Of a picture and a TIFF no page may have too many pixels.

    Args:
        page_s: no page of a PDF may take longer to be drawn.

    Raises:
        TooLarge, InvalidInput, DeadlineExceeded: as `open_pages`.
    """
    kind = kind_of(data)
    if kind is Kind.PDF:
        with Pdf(data, max_pages=max_pages, max_pixels=max_pixels, page_s=page_s) as pdf:
            yield _Pdf(pdf)
    elif kind is Kind.TIFF:
        name = f"TIFF of {len(data)} bytes"
        with reading(name), Image.open(io.BytesIO(data), formats=("TIFF",)) as tiff:
            yield _Tiff(name, tiff, max_pages=max_pages, max_pixels=max_pixels)
    else:
        yield _Picture(data, max_pixels)


@contextmanager
def open_pages(data: bytes, *, max_pages: int, max_pixels: int, page_s: float) -> Iterator[Pages]:
    """The pages of the picture, TIFF or PDF in `data`, all of them or an error.

    Args:
        page_s: no page of a PDF may take longer to be drawn.

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


class _Pdf:
    kind = Kind.PDF

    def __init__(self, pdf: Pdf) -> None:
        self.sizes, self.draw = pdf.sizes, pdf.draw


class _Tiff:
    def __init__(self, name: str, tiff: Image.Image, *, max_pages: int, max_pixels: int) -> None:
        self._name, self._tiff = name, tiff
        self.sizes: list[tuple[int, int]] = []
        while len(self.sizes) <= max_pages:
            check_size(name, tiff.width, tiff.height, max_pixels)
            self.sizes.append((tiff.width, tiff.height))
            try:
                tiff.seek(len(self.sizes))
            except EOFError:
                break
        if len(self.sizes) > max_pages:
            raise InvalidInput(f"{name} has more than {max_pages} pages")
        self.kind = Kind.TIFF if len(self.sizes) > 1 else Kind.IMAGE

    def draw(self, indices: Sequence[int], *, text: bool = False) -> Iterator[Sheet | PlatoonError]:
        del text  # there is none
        for index in indices:
            outcome: Sheet | PlatoonError
            try:
                with reading(f"page {index + 1} of the {self._name}"):
                    self._tiff.seek(index)
                    outcome = Sheet(as_pixels(self._tiff), density(self._tiff))
            except PlatoonError as error:
                outcome = error
            yield outcome


class _Picture:
    kind = Kind.IMAGE

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data, self._max_pixels = data, max_pixels
        self.sizes = [picture_size(data, max_pixels=max_pixels)]

    def draw(self, indices: Sequence[int], *, text: bool = False) -> Iterator[Sheet | PlatoonError]:
        del text  # there is none
        for _ in indices:
            try:
                with opened(self._data, "", self._max_pixels) as picture:
                    sheet = Sheet(as_pixels(picture), density(picture))
            except PlatoonError as error:
                yield error
            else:
                yield sheet
