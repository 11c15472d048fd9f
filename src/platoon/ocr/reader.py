"""Pictures in, lines of text out: find, cut, read.

Pictures are taken a few at a time, so any number of them needs the memory of a few. What several readers ask
for at the same time travels in common batches; the models are the engine's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from platoon.engine.batcher import Priority
from platoon.media.frame import Letterbox, Pixels, Quad, rectify
from platoon.metrics import Metrics
from platoon.ocr.detection import STRIDE
from platoon.ocr.engine import TextEngine
from platoon.ocr.picture import load_picture
from platoon.settings import Settings

AT_A_TIME = 8
"""Pictures held in memory."""
MAX_SIDE = 1280
"""Of a picture in which text is looked for, in pixels."""
TALL = 1.5
"""A crop higher than this times its width holds text that runs up or down. PaddleOCR turns it as if down; here
both are read, and the surer one counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line of text in a picture."""

    text: str
    confidence: float
    """0 to 1."""
    quad: Quad
    """In pixels of the picture."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2: the upright rectangle around `quad`."""
        x1, y1 = np.floor(self.quad.min(axis=0)).astype(int).tolist()
        x2, y2 = np.ceil(self.quad.max(axis=0)).astype(int).tolist()
        return x1, y1, x2, y2

    def to_json(self) -> dict[str, Any]:
        """`{text, confidence, box: [x1, y1, x2, y2]}`."""
        return {"text": self.text, "confidence": round(self.confidence, 4), "box": list(self.box)}


class Reader:
    """Reads all text in pictures: `Reader().read(["page.png"])`.

    Args:
        engine: shared models; none: the reader loads its own, as the environment sets them, and `close` frees them.
        max_side: pictures are scaled down so that their longer side has at most so many pixels before text is
            looked for; lines are read at full size.
        min_confidence: lines read with less are left out.
    """

    def __init__(
        self, engine: TextEngine | None = None, *, max_side: int = MAX_SIDE, min_confidence: float = 0.5
    ) -> None:
        self._owns_engine = engine is None
        if engine is None:
            settings = Settings()
            engine = TextEngine(settings.engine, settings.cache, Metrics())
        self._engine, self._max_side, self._min_confidence = engine, max_side, min_confidence

    def read(
        self,
        pictures: Iterable[Pixels | Path | str | bytes],
        *,
        priority: Priority = Priority.BULK,
        deadline: float | None = None,
    ) -> list[list[Line]]:
        """The lines of each picture, top to bottom.

        Args:
            pictures: RGB arrays (H, W, 3) uint8, paths, or the bytes of files.
            deadline: a point of `time.monotonic()`.

        Raises:
            InvalidInput: the first picture that cannot be read, named; see `load_picture`.
            Overloaded, DeadlineExceeded: as the engine is busy.
        """
        remaining = iter(pictures)
        lines: list[list[Line]] = []
        while some := list(itertools.islice(remaining, AT_A_TIME)):
            loaded = [picture if isinstance(picture, np.ndarray) else load_picture(picture) for picture in some]
            lines += self._read_some(loaded, priority, deadline)
        return lines

    def close(self) -> None:
        """Free the models, if they are its own."""
        if self._owns_engine:
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_some(
        self, pictures: Sequence[Pixels], priority: Priority, deadline: float | None
    ) -> Iterator[list[Line]]:
        found = find_lines(self._engine, pictures, max_side=self._max_side, priority=priority, deadline=deadline)
        waiting = [
            [
                (quad, self._engine.read_lines(ways_to_read(picture, quad), priority=priority, deadline=deadline))
                for quad in in_reading_order(quads)
            ]
            for picture, quads in zip(pictures, found, strict=True)
        ]
        for lines in waiting:
            best = [
                (quad, max((future.result() for future in ways), key=lambda line: line.confidence))
                for quad, ways in lines
            ]
            yield [
                Line(line.text, line.confidence, quad)
                for quad, line in best
                if line.text.strip() and line.confidence >= self._min_confidence
            ]


def find_lines(
    engine: TextEngine,
    pictures: Sequence[Pixels],
    *,
    max_side: int = MAX_SIDE,
    priority: Priority = Priority.BULK,
    deadline: float | None = None,
) -> list[list[Quad]]:
    """Where lines of text are in pictures of any size, in their own pixels; see `Reader` for the arguments."""
    places = [Letterbox.fit((picture.shape[1], picture.shape[0]), (max_side, max_side)) for picture in pictures]
    inputs = [_input(picture, place) for picture, place in zip(pictures, places, strict=True)]
    found = engine.find(inputs, priority=priority, deadline=deadline)
    return [[place.to_frame(box.quad) for box in boxes] for place, boxes in zip(places, found, strict=True)]


def ways_to_read(picture: Pixels, quad: Quad) -> list[Pixels]:
    """The line inside `quad`; where it is tall, turned to either side."""
    crop = cut(picture, quad)
    if crop.shape[0] < TALL * crop.shape[1]:
        return [crop]
    return [np.ascontiguousarray(np.rot90(crop, turns)) for turns in (1, -1)]


def cut(picture: Pixels, quad: Quad) -> Pixels:
    """What is inside `quad`, rectified at its own size."""
    width = (np.hypot(*(quad[1] - quad[0])) + np.hypot(*(quad[2] - quad[3]))) / 2
    height = (np.hypot(*(quad[3] - quad[0])) + np.hypot(*(quad[2] - quad[1]))) / 2
    return rectify(picture, quad, (max(1, round(float(width))), max(1, round(float(height)))))


def in_reading_order(quads: Sequence[Quad]) -> list[Quad]:
    """Rows from top to bottom, each from left to right; a line joins the row it stands beside."""
    rows: list[list[Quad]] = []
    for quad in sorted(quads, key=lambda quad: float(quad[:, 1].mean())):
        middle = float(quad[:, 1].mean())
        if rows and rows[-1][0][:, 1].min() <= middle <= rows[-1][0][:, 1].max():
            rows[-1].append(quad)
        else:
            rows.append([quad])
    return [quad for row in rows for quad in sorted(row, key=lambda quad: float(quad[:, 0].min()))]


def _input(picture: Pixels, place: Letterbox) -> Pixels:
    """The picture scaled to its place, in black up to the detector's stride."""
    padded = np.zeros((_up(place.height), _up(place.width), 3), np.uint8)
    padded[: place.height, : place.width] = cv2.resize(
        picture, (place.width, place.height), interpolation=cv2.INTER_AREA
    )
    return padded


def _up(length: int) -> int:
    return -(-length // STRIDE) * STRIDE
