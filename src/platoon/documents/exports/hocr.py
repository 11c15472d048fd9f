"""A document as hOCR 1.2 (http://kba.github.io/hocr-spec/1.2/), in XHTML."""

from __future__ import annotations

import math
from typing import BinaryIO

from platoon import __version__
from platoon.documents.exports.xml_writer import XmlWriter
from platoon.documents.page import Block, Box, Label, Line, Page
from platoon.media.frame import Pixels

_CLASSES = ("ocr_page", "ocr_carea", "ocr_image", "ocr_par", "ocr_line", "ocrx_word", "ocrp_wconf")


class HocrExport:
    """Writes each page as an `ocr_page`; what could not be read is one without content.

    Args:
        name: of the document, which its pages are said to be of.
    """

    def __init__(self, out: BinaryIO, *, name: str) -> None:
        self._xml, self._name = XmlWriter(out), name
        self._xml.begin("html", {"xmlns": "http://www.w3.org/1999/xhtml"})
        with self._xml.element("head"):
            self._xml.leaf("title", text=name)
            self._xml.leaf("meta", {"http-equiv": "Content-Type", "content": "text/html; charset=utf-8"})
            self._xml.leaf("meta", {"name": "ocr-system", "content": f"platoon {__version__}"})
            self._xml.leaf("meta", {"name": "ocr-capabilities", "content": " ".join(_CLASSES)})
        self._xml.begin("body")

    def add(self, page: Page, _picture: Pixels) -> None:
        """Write the next page."""
        number, dpi = page.index + 1, round(72 * page.scale)
        image = self._name.replace('"', "'")  # a property cannot hold what delimits it
        where = f'image "{image}"; bbox 0 0 {page.size[0]} {page.size[1]}; ppageno {page.index}; scan_res {dpi} {dpi}'
        with self._xml.element("div", {"class": "ocr_page", "id": f"page_{number}", "title": where}):
            for index, block in enumerate(page.blocks, 1):
                self._block(block, f"{number}_{index}")

    def finish(self) -> None:
        """Write what follows the last page."""
        self._xml.end("body")
        self._xml.end("html")

    def _block(self, block: Block, number: str) -> None:
        if block.label is Label.FIGURE:
            self._xml.leaf("div", {"class": "ocr_image", "id": f"image_{number}", "title": _bbox(block.box)})
        if not block.lines:
            return
        with (
            self._xml.element("div", {"class": "ocr_carea", "id": f"block_{number}", "title": _bbox(block.box)}),
            self._xml.element("p", {"class": "ocr_par", "id": f"par_{number}", "title": _bbox(block.box)}),
        ):
            for index, line in enumerate(block.lines, 1):
                self._line(line, f"{number}_{index}")

    def _line(self, line: Line, number: str) -> None:
        title = "; ".join(filter(None, (_bbox(line.box), _slope(line))))
        with self._xml.element("span", {"class": "ocr_line", "id": f"line_{number}", "title": title}):
            for index, word in enumerate(line.words, 1):
                title = f"{_bbox(word.box)}; x_wconf {round(100 * word.confidence)}"
                word_id = f"word_{number}_{index}"
                self._xml.leaf("span", {"class": "ocrx_word", "id": word_id, "title": title}, word.text)


def _bbox(box: Box) -> str:
    return "bbox {} {} {} {}".format(*(max(0, side) for side in box))


def _slope(line: Line) -> str:
    """The angle of a line that does not run from left to right, else its baseline: slope and height above the bottom
    left of its box.
    """
    right, left = line.corners[2], line.corners[3]
    along, down = right[0] - left[0], right[1] - left[1]
    angle = math.degrees(math.atan2(-down, along)) % 360
    if 45 < angle < 315:
        return f"textangle {round(angle)}"
    if not along:
        return ""
    slope = down / along
    box = line.box
    return f"baseline {slope:.4f} {round(left[1] + slope * (box[0] - left[0]) - box[3])}"
