"""A document as a searchable PDF: what it looks like, with its text lying over it unseen (see `invisible_text`).

Pages of a PDF stay as they are, with their links, letters and size in bytes; all others become pictures. Written by
pikepdf (MPL-2.0), which knows everything of a PDF's structure and leaves the pages' contents alone. Libraries that
make PDFs from nothing (reportlab, fpdf2, Pillow) hold all pages until the last and cannot lay text over those of
others; pdfium would write contents anew in its own way.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import pikepdf
from pikepdf import Job, Name, Pdf, Stream

from platoon.documents.exports.invisible_text import InvisibleText
from platoon.documents.page import Page
from platoon.errors import InvalidInput
from platoon.media.frame import Pixels, as_jpeg

QUALITY = 85
"""Of the JPEGs of pages."""
AT_A_TIME = 16
"""Pages that are pictures are held in memory at most, then they wait in temporary files."""
SIDES = (3.0, 14_400.0)
"""Points: a page may not be smaller or larger."""
A4 = (595.0, 842.0)


class OverlaidPdf:
    """Lays text over the pages of a PDF. Those that have their text already keep it; those never added are left out.

    What it holds in memory is the file and the text, compressed.

    Raises:
        InvalidInput: from every method, when `source` cannot be taken apart.
    """

    def __init__(self, out: BinaryIO, source: bytes) -> None:
        self._out = out
        with _explained():
            self._pdf = Pdf.open(io.BytesIO(source))
        self._text = InvisibleText(self._pdf)
        self._added = set[int]()

    def add(self, page: Page, _picture: Pixels) -> None:
        """Lay the text of the next page over it."""
        self._added.add(page.index)
        with _explained():
            pdf_page = self._pdf.pages[page.index]
            if page.source != "text-layer":
                self._text.lay(pdf_page, page)

    def finish(self) -> None:
        """Write all pages."""
        with _explained(), self._pdf as pdf:
            self._text.finish()
            for index in reversed(range(len(pdf.pages))):
                if index not in self._added:
                    del pdf.pages[index]
            pdf.save(self._out, encryption=pdf.is_encrypted)


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what pikepdf raises about a file into Platoon's error."""
    try:
        yield
    except (pikepdf.PdfError, IndexError, TypeError, ValueError) as error:
        raise InvalidInput(f"the PDF cannot be written again: {error}") from error


class PicturePdf:
    """Makes pages of pictures and their text. A page that could not be drawn is an empty one.

    Args:
        files: takes the temporary files, to be closed once the PDF is finished, or given up.
    """

    def __init__(self, out: BinaryIO, files: ExitStack) -> None:
        self._out, self._folder = out, Path(files.enter_context(tempfile.TemporaryDirectory()))
        self._parts: list[str] = []
        self._begin_part()

    def add(self, page: Page, picture: Pixels) -> None:
        """Append the next page."""
        if len(self._part.pages) == AT_A_TIME:
            self._end_part()
            self._begin_part()
        if picture.size:
            append_page(self._part, page, picture, self._text)
        else:
            self._part.add_blank_page(page_size=A4)

    def finish(self) -> None:
        """Write all pages."""
        self._end_part()
        whole = self._folder / "whole.pdf"
        # A `Pdf` would hold all that is put into it from others.
        Job(["pikepdf", "--empty", "--pages", *self._parts, "--", str(whole)]).run()
        with whole.open("rb") as file:
            shutil.copyfileobj(file, self._out)

    def _begin_part(self) -> None:
        self._part = Pdf.new()
        self._text = InvisibleText(self._part)

    def _end_part(self) -> None:
        with self._part as part:
            self._text.finish()
            self._parts.append(str(self._folder / f"{len(self._parts)}.pdf"))
            part.save(self._parts[-1])


def append_page(pdf: Pdf, page: Page, picture: Pixels | None, text: InvisibleText) -> None:
    """Append a page with its text over its picture, or, without one, over nothing."""
    width, height = _points(page)
    pdf_page = pdf.add_blank_page(page_size=(width, height))
    if picture is not None:
        image = Stream(
            pdf,
            as_jpeg(picture, quality=QUALITY),
            Type=Name.XObject,
            Subtype=Name.Image,
            Width=picture.shape[1],
            Height=picture.shape[0],
            ColorSpace=Name.DeviceRGB,
            BitsPerComponent=8,
            Filter=Name.DCTDecode,
        )
        name = pdf_page.add_resource(image, Name.XObject, prefix="Page")
        pdf_page.contents_add(f"q {width:.4f} 0 0 {height:.4f} 0 0 cm {name} Do Q\n".encode("ascii"))
    text.lay(pdf_page, page)


def _points(page: Page) -> tuple[float, float]:
    """The size of a page, as near to its own as a PDF can say."""
    scale = max(page.scale, max(page.size) / SIDES[1])
    return max(SIDES[0], page.size[0] / scale), max(SIDES[0], page.size[1] / scale)
