"""Text in a PDF that nobody sees and everybody finds: it lies over the picture of itself, word for word.

Each word is set in the text rendering mode that draws nothing (ISO 32000-2, 9.3.6), scaled to fill its box, in a font
whose only glyph is empty. Which character a code stands for is said by the font's ToUnicode map alone, so any text of
Unicode can be searched, selected and copied.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, Stream

from platoon.documents.exports.characters import valid
from platoon.documents.page import Line, Page

FONT = Path(__file__).with_name("glyphless.ttf")
"""Made by `scripts/glyphless-font`."""
ADVANCE = 0.5
"""Of every glyph, as a part of the font's size."""
_CODES = 0xFFFF
_AT_A_TIME = 100
"""Entries in a section of a ToUnicode map at most."""

Matrix = tuple[float, float, float, float, float, float]


class InvisibleText:
    """The text of one PDF's pages; `finish` it before the PDF is saved.

    Args:
        font: how pages call the font of the text; none of theirs may be called so.
    """

    def __init__(self, pdf: Pdf, *, font: Name | None = None) -> None:
        self._pdf, self._name = pdf, font or Name.random(prefix="Platoon")
        self._codes: dict[str, int] = {}
        self._font = pdf.make_indirect(Dictionary(Type=Name.Font))

    def lay(self, pdf_page: pikepdf.Page, page: Page) -> None:
        """Put the words of `page` over `pdf_page`, which it is the reading of."""
        if not page.lines:
            return
        if Name.Resources not in pdf_page.obj:
            pdf_page.obj[Name.Resources] = pdf_page.get_resources()  # or those it inherits would be hidden
        pdf_page.add_resource(self._font, Name.Font, self._name)
        matrix = " ".join(f"{value:.6f}" for value in pixels_to_page(pdf_page, page.size))
        text = "\n".join(self._shown(page.lines))
        content = f"q {matrix} cm\nBT {self._name} 1 Tf 3 Tr\n{text}\nET Q\n".encode("ascii")
        # Whatever the page's own content leaves changed is put back before.
        pdf_page.contents_add(b"q\n", prepend=True)
        pdf_page.contents_add(b"\nQ\n")
        pdf_page.contents_add(Stream(self._pdf, zlib.compress(content), Filter=Name.FlateDecode))

    def finish(self) -> None:
        """Describe the font, now that all characters are known."""
        font_file = Stream(self._pdf, FONT.read_bytes())
        descriptor = Dictionary(
            Type=Name.FontDescriptor,
            FontName=Name.Glyphless,
            Flags=4,  # symbolic: its characters are none of a standard set
            FontBBox=Array([0, 0, 500, 1000]),
            ItalicAngle=0,
            Ascent=1000,
            Descent=0,
            CapHeight=1000,
            StemV=80,
            FontFile2=self._pdf.make_indirect(font_file),
        )
        descendant = Dictionary(
            Type=Name.Font,
            Subtype=Name.CIDFontType2,
            BaseFont=Name.Glyphless,
            CIDSystemInfo=Dictionary(
                Registry=pikepdf.String("Adobe"), Ordering=pikepdf.String("Identity"), Supplement=0
            ),
            FontDescriptor=self._pdf.make_indirect(descriptor),
            DW=round(1000 * ADVANCE),
            CIDToGIDMap=self._pdf.make_indirect(Stream(self._pdf, b"\0\1" * (len(self._codes) + 1))),
        )
        self._font.update(
            Dictionary(
                Subtype=Name.Type0,
                BaseFont=Name.Glyphless,
                Encoding=Name("/Identity-H"),
                DescendantFonts=Array([self._pdf.make_indirect(descendant)]),
                ToUnicode=self._pdf.make_indirect(Stream(self._pdf, self._to_unicode())),
            )
        )

    def _shown(self, lines: Iterable[Line]) -> Iterator[str]:
        """The operators that show the words, in pixels of the page from its top left corner."""
        for line in lines:
            for word in line.words:
                text = valid(word.text)
                if not text:
                    continue
                top_left, _, bottom_right, bottom_left = word.corners
                along = _unit(bottom_left, bottom_right, (1.0, 0.0))
                up = _unit(bottom_left, top_left, (0.0, -1.0))
                size = math.dist(bottom_left, top_left) or 1.0
                matrix = (*(size * part for part in (*along, *up)), *bottom_left)
                width = math.dist(bottom_left, bottom_right) / size or ADVANCE * len(text)
                yield f"{' '.join(f'{value:.2f}' for value in matrix)} Tm"
                stretch = 100 * width / (ADVANCE * len(text))
                # The blank is part of the word for readers that take a line for a word where a page is turned.
                yield f"{stretch:.2f} Tz <{self._encoded(text + ' ')}> Tj"

    def _encoded(self, text: str) -> str:
        return "".join(f"{self._code(character):04X}" for character in text)

    def _code(self, character: str) -> int:
        """From 1; 0, which stands for nothing, once there are no more."""
        if character not in self._codes and len(self._codes) < _CODES:
            self._codes[character] = len(self._codes) + 1
        return self._codes.get(character, 0)

    def _to_unicode(self) -> bytes:
        rows = [f"<{code:04X}> <{text.encode('utf-16-be').hex().upper()}>" for text, code in self._codes.items()]
        sections = [rows[start : start + _AT_A_TIME] for start in range(0, len(rows), _AT_A_TIME)]
        mapped = [line for part in sections for line in (f"{len(part)} beginbfchar", *part, "endbfchar")]
        lines = (
            "/CIDInit /ProcSet findresource begin",
            "12 dict begin",
            "begincmap",
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            "/CMapName /Adobe-Identity-UCS def",
            "/CMapType 2 def",
            "1 begincodespacerange",
            "<0000> <FFFF>",
            "endcodespacerange",
            *mapped,
            "endcmap",
            "CMapName currentdict /CMap defineresource pop",
            "end",
            "end",
        )
        return "\n".join(lines).encode("ascii")


def pixels_to_page(pdf_page: pikepdf.Page, size: tuple[int, int]) -> Matrix:
    """Where pixels of a picture lie, from its top left corner, in the space of the page that it shows upright.

    Args:
        size: (width, height) of the picture.
    """
    left, bottom, right, top = _shown_box(pdf_page)
    across, upwards = (right - left), (top - bottom)
    match pdf_page.rotation:
        case 90:
            return 0, upwards / size[0], across / size[1], 0, left, bottom
        case 180:
            return -across / size[0], 0, 0, upwards / size[1], right, bottom
        case 270:
            return 0, -upwards / size[0], -across / size[1], 0, right, top
        case _:
            return across / size[0], 0, 0, -upwards / size[1], left, top


def _shown_box(pdf_page: pikepdf.Page) -> tuple[float, float, float, float]:
    """What viewers show of a page: its crop box, inside its media box."""
    media, crop = (_upright(box) for box in (pdf_page.mediabox, pdf_page.cropbox))
    box = max(media[0], crop[0]), max(media[1], crop[1]), min(media[2], crop[2]), min(media[3], crop[3])
    return box if box[0] < box[2] and box[1] < box[3] else media


def _upright(box: Array) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _unit(start: Sequence[float], end: Sequence[float], otherwise: tuple[float, float]) -> tuple[float, float]:
    length = math.dist(start, end)
    return ((end[0] - start[0]) / length, (end[1] - start[1]) / length) if length else otherwise
