"""A document as one JSON object: `{"name": …, "pages": […]}`, a page a line, each as `Page.to_json` makes it."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from platoon.documents.page import Page
from platoon.media.frame import Pixels


class JsonExport:
    """Writes pages as members of one object.

    Args:
        name: of the document.
    """

    def __init__(self, out: BinaryIO, *, name: str) -> None:
        self._out, self._begun = out, False
        out.write(b'{"name": %s, "pages": [' % _encoded(name))

    def add(self, page: Page, _picture: Pixels) -> None:
        """Write the next page."""
        self._out.write((b",\n" if self._begun else b"\n") + _encoded(page.to_json()))
        self._begun = True

    def finish(self) -> None:
        """Write what follows the last page."""
        self._out.write(b"\n]}\n")


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
