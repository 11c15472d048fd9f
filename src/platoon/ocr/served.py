"""The models of text as others know them who bring and take tensors: inference servers and their clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from platoon.engine.surgery import Graph
from platoon.ocr.detection import detection_graph
from platoon.ocr.recognition import PLATE, recognition_graph
from platoon.settings import EngineSettings

TEXT_DETECTION: Final = "text-detection"
TEXT_RECOGNITION: Final = "text-recognition"
PLATE_RECOGNITION: Final = "plate-recognition"

PURPOSES: Mapping[str, str] = {
    TEXT_DETECTION: "finds lines of text",
    TEXT_RECOGNITION: "reads lines of any text",
    PLATE_RECOGNITION: "reads lines of plates: A-Z and 0-9 only",
}
"""Of each model, by its name."""


def served(name: str, settings: EngineSettings | None = None) -> tuple[Graph, Mapping[str, str]]:
    """The graph called `name`, one of `PURPOSES`, and what its clients must know.

    `settings` may name other weights than those that come with Platoon.

    For recognition that is `alphabet`: the characters of the classes from 1 on, one a line; class 0 is the CTC blank.

    Raises:
        ModelError: its file is damaged or not installed, or one of a user's cannot be used.
    """
    own = settings or EngineSettings()
    if name == TEXT_DETECTION:
        return detection_graph(own.text_detection), {}
    graph, characters = recognition_graph(PLATE if name == PLATE_RECOGNITION else None, own.text_recognition)
    return graph, {"alphabet": "\n".join(characters[1:])}
