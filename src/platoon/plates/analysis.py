"""Frames in, events out: scale, find, follow, read and settle, for a few frames of any cameras at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from platoon.engine.batcher import Priority
from platoon.media.frame import Frame
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.plates import open_detector
from platoon.plates.detector import PlateBox
from platoon.plates.events import Look, PlateEvent, PlateWatch
from platoon.plates.reader import PlateEngine, PlateReader
from platoon.settings import Settings


class Analysis:
    """The detector and the reader with the one batch that frames are written into; for one thread.

    Args:
        reads: plates, in the place of `engine`.

    Raises:
        ModelError: a model cannot be loaded.
    """

    def __init__(
        self, engine: TextEngine, settings: Settings, metrics: Metrics, *, reads: PlateEngine | None = None
    ) -> None:
        self._detector = open_detector(engine, settings)
        self._reader = PlateReader(reads or engine, tight=self._detector.tight)
        self._read_here = engine.read_plate_lines if self._detector.tight else engine.read_plates
        self._stage = metrics.stage
        self.max_batch = self._detector.max_batch
        """Frames that are best taken at once."""
        width, height = self._detector.input_size
        self._batch = np.zeros((self.max_batch, height, width, 3), np.uint8)

    def warm_up(self) -> None:
        """Load and run what frames need, so that none waits for a first run; takes seconds.

        Raises:
            ModelError: a model cannot be loaded or executed.
        """
        self._detector.warm_up()
        for reply in self._read_here([np.zeros((48, 160, 3), np.uint8)]):  # also if others read at first
            reply.result()

    def run(
        self, frames: Sequence[tuple[Frame, PlateWatch]], *, priority: Priority = Priority.VIDEO
    ) -> list[PlateEvent]:
        """Analyse at most `max_batch` frames, each with the watch of its camera; what is to be told."""
        with self._stage.labels("scale").time():
            placed = [frame.scaled_into(slot) for (frame, _), slot in zip(frames, self._batch, strict=False)]
        with self._stage.labels("detect").time():
            found = self._detector.find(self._batch[: len(frames)])
        events: list[PlateEvent] = []
        looks: list[tuple[PlateWatch, Look]] = []
        for (frame, watch), letterbox, boxes in zip(frames, placed, found, strict=True):
            on_frame = [PlateBox(letterbox.to_frame(box.quad), box.score) for box in boxes]
            worth_reading, gone = watch.observe(frame, on_frame)
            looks += [(watch, look) for look in worth_reading]
            events += gone
        with self._stage.labels("read").time():
            readings = self._reader.read([(look.frame, look.quad) for _, look in looks], priority=priority)
        for _, watch in frames:
            own = [(look, *said) for (of, look), said in zip(looks, readings, strict=True) if said and of is watch]
            events += watch.settle(own)
        return events

    def close(self) -> None:
        """Free the detector, if it has a model of its own."""
        self._detector.close()
