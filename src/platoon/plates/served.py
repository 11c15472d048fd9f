"""All models, of text and of plates, as others know them who bring and take tensors: see `platoon.ocr.served`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from platoon.engine.surgery import Graph
from platoon.ocr import served as text
from platoon.ocr.recognition import PLATE
from platoon.ocr.served import PLATE_RECOGNITION, TEXT_DETECTION, TEXT_RECOGNITION
from platoon.plates.finder import PLATE_DETECTION, plate_detection_graph
from platoon.plates.recogniser import PLATE_READING, plate_reading_graph
from platoon.settings import EngineSettings

FOR_CALLERS: Final = (TEXT_DETECTION, TEXT_RECOGNITION, PLATE_RECOGNITION, PLATE_READING)
"""What those may need who send pictures, or have a camera's read; the most wanted first."""

PURPOSES: Mapping[str, str] = {
    **text.PURPOSES,
    PLATE_DETECTION: "finds plates and their corners",
    PLATE_READING: "reads whole plates, in one line or two",
}
"""Of each model, by its name."""


def served(name: str, settings: EngineSettings | None = None) -> tuple[Graph, Mapping[str, str]]:
    """The graph called `name`, one of `PURPOSES`, and what its clients must know; see `platoon.ocr.served.served`.

    For plates as a whole that is `alphabet`: the characters of the classes from 0 on, one a line; the last is none.

    Raises:
        ModelError: its file is damaged or not installed, or one of a user's cannot be used.
    """
    if name == PLATE_DETECTION:
        return plate_detection_graph(), {}
    if name == PLATE_READING:
        return plate_reading_graph(), {"alphabet": "\n".join(PLATE)}
    return text.served(name, settings)
