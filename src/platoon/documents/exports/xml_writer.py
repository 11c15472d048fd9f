"""XML written as it comes, an element a line: what is done is out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from platoon.documents.exports.characters import valid


class XmlWriter:
    """Writes a document of XML 1.0 in UTF-8; names are the caller's, all else is escaped."""

    def __init__(self, out: BinaryIO) -> None:
        self._xml = XMLGenerator(out, "utf-8", short_empty_elements=True)
        self._xml.startDocument()

    @contextmanager
    def element(self, name: str, attributes: Mapping[str, object] | None = None) -> Iterator[None]:
        """An element around what is written inside the context."""
        self.begin(name, attributes)
        yield
        self.end(name)

    def begin(self, name: str, attributes: Mapping[str, object] | None = None) -> None:
        """Open an element that `end` closes."""
        self._xml.startElement(name, _attributes(attributes))
        self._xml.characters("\n")

    def end(self, name: str) -> None:
        """Close the innermost element."""
        self._xml.endElement(name)
        self._xml.characters("\n")

    def leaf(self, name: str, attributes: Mapping[str, object] | None = None, text: str = "") -> None:
        """An element that holds nothing but text."""
        self._xml.startElement(name, _attributes(attributes))
        if text:
            self._xml.characters(valid(text))
        self._xml.endElement(name)
        self._xml.characters("\n")


def _attributes(attributes: Mapping[str, object] | None) -> AttributesImpl[str]:
    return AttributesImpl({name: valid(str(value)) for name, value in (attributes or {}).items()})
