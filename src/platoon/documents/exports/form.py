"""The names of the forms that a document can have."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """What a document becomes."""

    MARKDOWN = "md"
    JSON = "json"
    TEXT = "txt"
    HOCR = "hocr"
    ALTO = "alto"
    PDF = "pdf"

    @property
    def suffix(self) -> str:
        """Of its files' names."""
        return ".alto.xml" if self is Form.ALTO else f".{self.value}"

    @property
    def media_type(self) -> str:
        """As in the header Content-Type."""
        return {
            Form.MARKDOWN: "text/markdown; charset=utf-8",
            Form.JSON: "application/json",
            Form.TEXT: "text/plain; charset=utf-8",
            Form.HOCR: "application/xhtml+xml",
            Form.ALTO: "application/xml",
            Form.PDF: "application/pdf",
        }[self]
