"""Pages that were read before, each with its picture drawn again: for what shows parts of them, or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from platoon.documents.page import Page
from platoon.errors import PlatoonError
from platoon.media.frame import Pixels
from platoon.ocr.pages import open_file


def redrawn(
    pages: Iterable[Page], indices: Sequence[int], document: bytes, *, max_pages: int, max_pixels: int, page_s: float
) -> Iterator[tuple[Page, Pixels]]:
    """The pages with their pictures, RGB (height, width, 3); one that cannot be drawn has no height and no width.

    Args:
        indices: of the pages, which are taken one after the other.
        max_pages, max_pixels, page_s: as they were read with; see `open_file`.
    """
    with open_file(document, max_pages=max_pages, max_pixels=max_pixels, page_s=page_s) as file:
        for page, sheet in zip(pages, file.draw(indices), strict=True):
            yield page, np.zeros((0, 0, 3), np.uint8) if isinstance(sheet, PlatoonError) else sheet.picture
