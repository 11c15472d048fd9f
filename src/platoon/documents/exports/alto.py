"""A document as ALTO 4.4 (https://www.loc.gov/standards/alto/), measured in pixels of the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import BinaryIO

from platoon import __version__
from platoon.documents.exports.xml_writer import XmlWriter
from platoon.documents.page import Block, Box, Label, Line, Page, Word
from platoon.media.frame import Pixels

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd"
HYPHENS = "-\u00ad\u2010"


class AltoExport:
    """Writes each page as a `Page`: headers into its top margin, footers into its bottom margin, all else into its
    print space. What a block is, its tag says. A page that could not be read is of the quality `Damaged`, with the
    reason.

    Args:
        name: of the document.
    """

    def __init__(self, out: BinaryIO, *, name: str) -> None:
        self._xml = XmlWriter(out)
        self._xml.begin(
            "alto",
            {
                "xmlns": NAMESPACE,
                "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
                "xsi:schemaLocation": f"{NAMESPACE} {SCHEMA}",
                "SCHEMAVERSION": "4.4",
            },
        )
        with self._xml.element("Description"):
            self._xml.leaf("MeasurementUnit", text="pixel")
            with self._xml.element("sourceImageInformation"):
                self._xml.leaf("fileName", text=name)
            with self._xml.element("Processing", {"ID": "reading"}):
                self._xml.leaf("processingCategory", text="contentGeneration")
                with self._xml.element("processingSoftware"):
                    self._xml.leaf("softwareName", text="Platoon")
                    self._xml.leaf("softwareVersion", text=__version__)
        with self._xml.element("Tags"):
            for label in Label:
                self._xml.leaf("StructureTag", {"ID": label.value, "LABEL": label.value})
        self._xml.begin("Layout")

    def add(self, page: Page, _picture: Pixels) -> None:
        """Write the next page."""
        number = page.index + 1
        spaces: dict[str, list[tuple[str, Block]]] = {"TopMargin": [], "BottomMargin": [], "PrintSpace": []}
        for index, block in enumerate(page.blocks, 1):
            spaces[_space(block)].append((f"{number}_{index}", block))
        attributes = {"ID": f"page_{number}", "PHYSICAL_IMG_NR": number, "WIDTH": page.size[0], "HEIGHT": page.size[1]}
        if page.error is not None:
            attributes |= {"QUALITY": "Damaged", "QUALITY_DETAIL": page.error}
        with self._xml.element("Page", attributes):
            for space, blocks in spaces.items():
                if blocks:
                    with self._xml.element(space, _position(_hull([block.box for _, block in blocks]))):
                        for block_number, block in blocks:
                            self._block(block, block_number)

    def finish(self) -> None:
        """Write what follows the last page."""
        self._xml.end("Layout")
        self._xml.end("alto")

    def _block(self, block: Block, number: str) -> None:
        if block.label is Label.FIGURE:
            self._xml.leaf(
                "Illustration", {"ID": f"image_{number}", "TAGREFS": block.label.value, **_position(block.box)}
            )
        lines = [line for line in block.lines if line.words]
        if not lines:
            return
        divided = _divided(block, lines)
        attributes = {"ID": f"block_{number}", "TAGREFS": block.label.value, **_position(block.box)}
        with self._xml.element("TextBlock", attributes):
            for index, line in enumerate(lines):
                self._line(line, f"{number}_{index + 1}", divided.get(index - 1), divided.get(index))

    def _line(self, line: Line, number: str, begun: str | None, divided: str | None) -> None:
        """A line; the word whose end it begins with, and the one that is divided at its end."""
        right, left = line.corners[2], line.corners[3]
        baseline = f"{left[0]:.1f},{left[1]:.1f} {right[0]:.1f},{right[1]:.1f}"
        with self._xml.element("TextLine", {"ID": f"line_{number}", "BASELINE": baseline, **_position(line.box)}):
            last = len(line.words) - 1
            for index, word in enumerate(line.words):
                if index:
                    self._xml.leaf("SP", _position(_between(line.words[index - 1].box, word.box)))
                content, more = word.text, {}
                if begun is not None and not index:
                    more = {"SUBS_TYPE": "HypPart2", "SUBS_CONTENT": begun}
                if divided is not None and index == last:
                    content, more = word.text[:-1], {"SUBS_TYPE": "HypPart1", "SUBS_CONTENT": divided}
                self._xml.leaf("String", {**_string(word, content), **more})
            if divided is not None:
                self._xml.leaf("HYP", {"CONTENT": line.words[-1].text[-1]})


def _space(block: Block) -> str:
    return {Label.HEADER: "TopMargin", Label.FOOTER: "BottomMargin"}.get(block.label, "PrintSpace")


def _divided(block: Block, lines: Sequence[Line]) -> Mapping[int, str]:
    """The words that begin at the end of a line, by the line's place: those that the block's text has joined."""
    said = set(block.text.split())
    divided = {}
    for index, (line, following) in enumerate(pairwise(lines)):
        first, second = line.words[-1].text, following.words[0].text
        if len(first) > 1 and first[-1] in HYPHENS and first[:-1] + second in said:
            divided[index] = first[:-1] + second
    return divided


def _string(word: Word, content: str) -> dict[str, object]:
    return {"CONTENT": content, **_position(word.box), "WC": f"{min(1.0, max(0.0, word.confidence)):.4f}"}


def _position(box: Box) -> dict[str, object]:
    left, top, right, bottom = box
    return {"HPOS": left, "VPOS": top, "WIDTH": max(0, right - left), "HEIGHT": max(0, bottom - top)}


def _between(before: Box, after: Box) -> Box:
    """The blank between two words of a line, whichever way it runs; of no extent where they touch."""
    (left, right) = (before[2], after[0]) if before[2] <= after[0] else (after[2], before[0])
    top, bottom = max(before[1], after[1]), min(before[3], after[3])
    return left, top, right, bottom


def _hull(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
