"""The models of text and plates as others know them who bring and take tensors: inference servers and their clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from platoon.engine.surgery import Graph
from platoon.ocr.detection import detection_graph
from platoon.ocr.plate_detection import plate_detection_graph
from platoon.ocr.plate_recognition import plate_reading_graph
from platoon.ocr.recognition import PLATE, recognition_graph

TEXT_DETECTION: Final = "text-detection"
TEXT_RECOGNITION: Final = "text-recognition"
PLATE_DETECTION: Final = "plate-detection"
PLATE_READING: Final = "plate-reading"
PLATE_RECOGNITION: Final = "plate-recognition"

FOR_CALLERS: Final = (TEXT_DETECTION, TEXT_RECOGNITION, PLATE_RECOGNITION, PLATE_READING)
"""What those may need who send pictures, or have a camera's read; the most wanted first."""

PURPOSES: Mapping[str, str] = {
    TEXT_DETECTION: "finds lines of text",
    TEXT_RECOGNITION: "reads lines of any text",
    PLATE_DETECTION: "finds plates and their corners",
    PLATE_READING: "reads whole plates, in one line or two",
    PLATE_RECOGNITION: "reads lines of plates: A-Z and 0-9 only",
}
"""Of each model, by its name."""


def served(name: str) -> tuple[Graph, Mapping[str, str]]:
    """The graph called `name`, one of `PURPOSES`, and what its clients must know.

    For recognition of lines that is `alphabet`: the characters of the classes from 1 on, one a line; class 0 is the CTC
    blank. For plates as a whole: those of the classes from 0 on; the last is none.

    Raises:
        ModelError: its file is damaged or not installed.
    """
    if name == TEXT_DETECTION:
        return detection_graph(), {}
    if name == PLATE_DETECTION:
        return plate_detection_graph(), {}
    if name == PLATE_READING:
        return plate_reading_graph(), {"alphabet": "\n".join(PLATE)}
    graph, characters = recognition_graph(PLATE if name == PLATE_RECOGNITION else None)
    return graph, {"alphabet": "\n".join(characters[1:])}
