"""What stands where on a page: regions of text, tables, figures and so on, found by a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from platoon.documents.page import Box, Label
from platoon.media.frame import Pixels
from platoon.ocr.reading import Call


@dataclass(frozen=True, slots=True)
class Region:
    """Where one thing stands."""

    label: Label
    box: Box
    """In pixels of the page, inside it."""
    score: float
    """0 to 1: how sure the model is."""


class Layout(Protocol):
    """Finds the regions of pages."""

    def find(self, pictures: Sequence[Pixels], call: Call) -> list[list[Region]]:
        """The regions of each page; blocks."""
