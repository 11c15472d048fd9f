"""A document as plain text: paragraphs parted by empty lines, pages by a form feed."""

from __future__ import annotations

from typing import BinaryIO

from platoon.documents.exports.characters import valid
from platoon.documents.page import Page
from platoon.media.frame import Pixels


class TextExport:
    """Writes what pages say in UTF-8."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._begun = out, False

    def add(self, page: Page, _picture: Pixels) -> None:
        """Write the next page."""
        text = valid(page.text)
        self._out.write((("\f" if self._begun else "") + (f"{text}\n" if text else "")).encode())
        self._begun = True

    def finish(self) -> None:
        """Nothing follows the last page."""
