"""The text models as others know them who bring and take tensors: inference servers and their clients."""

from __future__ import annotations

from collections.abc import Mapping

from platoon.engine.surgery import Graph
from platoon.ocr.detection import detection_graph
from platoon.ocr.recognition import PLATE, recognition_graph

PURPOSES: Mapping[str, str] = {
    "text-detection": "finds lines of text, and plates where no other detector is set",
    "plate-recognition": "reads plates: A-Z and 0-9 only",
    "text-recognition": "reads lines of any text",
}
"""Of each model, by its name."""
NAMES = tuple(PURPOSES)


def served(name: str) -> tuple[Graph, Mapping[str, str]]:
    """The graph called `name`, one of `NAMES`, and what its clients must know.

    For recognition that is `alphabet`: the characters of the classes from 1 on, one a line; class 0 is the CTC blank.

    Raises:
        ModelError: its file is damaged or not installed.
    """
    if name == "text-detection":
        return detection_graph(), {}
    graph, characters = recognition_graph(PLATE if name == "plate-recognition" else None)
    return graph, {"alphabet": "\n".join(characters[1:])}
