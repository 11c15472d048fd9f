"""RapidOCR, which runs the same weights picture by picture: as it comes, and tuned as well as its options allow."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rapidocr import EngineType, RapidOCR

from platoon.media.frame import Pixels, Quad

TUNED = {
    "Det.engine_type": EngineType.OPENVINO,
    "Cls.engine_type": EngineType.OPENVINO,
    "Rec.engine_type": EngineType.OPENVINO,
    "Global.use_cls": False,
}
SMALL = {"Det.limit_side_len": 96}
"""For crops: scaled up until their shorter side has 96 pixels, instead of 736."""
EXACT = {"Det.limit_side_len": 96, "Global.use_cls": False, "Global.min_side_len": 1}
"""For comparing texts: in float32, as ONNX Runtime computes, where OpenVINO takes bfloat16 if the processor has it; and
lines of less than 30 pixels are not scaled up beforehand."""
PAGE = {"Det.limit_side_len": 1280, "Det.limit_type": "max"}
"""For pages: as large as Platoon has them."""
WAYS: Mapping[str, Mapping[str, Any]] = {"rapidocr": {}, "rapidocr tuned": {**TUNED, **PAGE}}
"""How pages are read: as it comes, and as well as its options allow."""


class Rapid:
    """One loaded RapidOCR. `options` are its own."""

    def __init__(self, **options: Any) -> None:
        self._engine = RapidOCR(params={"Global.log_level": "critical", **options})
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)

    def read(self, picture: Pixels) -> list[str]:
        """The lines of a picture."""
        return [text for _, text in self.read_with_places(picture)]

    def read_with_places(self, picture: Pixels) -> list[tuple[Quad, str]]:
        """The lines of a picture, each with its corners clockwise from the top left."""
        return [(quad, text) for quad, text, _ in self.read_with_scores(picture)]

    def read_with_scores(self, picture: Pixels) -> list[tuple[Quad, str, float]]:
        """The lines of a picture, each with its corners clockwise from the top left, and how sure it is, 0 to 1."""
        said = self._engine(bgr(picture))
        return [] if said.txts is None else list(zip(said.boxes, said.txts, said.scores, strict=True))

    def read_line(self, line: Pixels) -> str:
        """What a picture says that is one line."""
        said = self._engine(bgr(line), use_det=False, use_cls=False, use_rec=True, text_score=0.0).txts
        return said[0] if said else ""

    def read_together(self, lines: Sequence[Pixels]) -> list[str]:
        """What pictures of lines say, read as those of one page: six at once, all as wide as the widest of them."""
        return list(self._engine.recognize_txt([bgr(line) for line in lines]).txts) if lines else []


def bgr(picture: Pixels) -> Pixels:
    """As RapidOCR wants pictures."""
    return np.ascontiguousarray(picture[:, :, ::-1])
