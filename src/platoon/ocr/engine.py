"""The text models of one process, each loaded once and when first needed, shared by all who read.

It owns the models and their threads. Cameras, HTTP callers and documents find text and plates and read lines and
plates from any thread; what they submit travels in common batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from platoon.engine.batcher import Priority, Reply
from platoon.engine.lazy import Lazy
from platoon.engine.runtime import ModelReport
from platoon.engine.tuning import Tuning
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.detection import TextBox, TextDetector
from platoon.ocr.plate_detection import Places, PlateFinder
from platoon.ocr.plate_recognition import PlateRecogniser
from platoon.ocr.recognition import PLATE, Recogniser, Steps, TextLine
from platoon.ocr.served import PLATE_DETECTION, PLATE_READING, PLATE_RECOGNITION, TEXT_DETECTION, TEXT_RECOGNITION
from platoon.settings import EngineSettings


class TextEngine:
    """Finds and reads text. `close` it, or use it as a context manager.

    Args:
        cache: folder for measured choices.
        size: (height, width) of the pictures given to `find`, mostly.
        plate_size: of those given to `find_plates`.
    """

    def __init__(
        self,
        settings: EngineSettings,
        cache: Path,
        metrics: Metrics,
        *,
        size: tuple[int, int] = (544, 960),
        plate_size: tuple[int, int] = (448, 768),
    ) -> None:
        self.metrics = metrics
        tuning = Tuning(cache)
        owner = "the text engine"
        self._detector = Lazy(lambda: TextDetector(settings, tuning, metrics, size=size), owner=owner)
        self._finder = Lazy(lambda: PlateFinder(settings, tuning, metrics, size=plate_size), owner=owner)
        self._plates = Lazy(lambda: PlateRecogniser(settings, tuning, metrics), owner=owner)
        self._plate_lines = Lazy(lambda: Recogniser(settings, tuning, metrics, alphabet=PLATE), owner=owner)
        self._lines = Lazy(lambda: Recogniser(settings, tuning, metrics), owner=owner)
        self._by_name: Mapping[str, Lazy[Any]] = {
            TEXT_DETECTION: self._detector,
            PLATE_DETECTION: self._finder,
            PLATE_READING: self._plates,
            PLATE_RECOGNITION: self._plate_lines,
            TEXT_RECOGNITION: self._lines,
        }

    @property
    def at_once(self) -> int:
        """How many pictures keep `find` busy."""
        return self._detector().at_once

    def find(
        self,
        pictures: Iterable[Pixels],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[list[TextBox]]:
        """Where text is in each picture of a list or a batch (N, H, W, 3); see `TextDetector.find`."""
        return self._detector().find(pictures, priority=priority, deadline=deadline)

    def detect(
        self,
        pictures: Iterable[Pixels],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[Reply[NDArray[np.float32]]]:
        """Maps of where text is, for callers with boxes of their own making; see `TextDetector.submit`."""
        return self._detector().submit(pictures, priority=priority, deadline=deadline)

    @property
    def plates_at_once(self) -> int:
        """How many pictures keep `find_plates` busy."""
        return self._finder().at_once

    def find_plates(
        self,
        pictures: Iterable[Pixels],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[Reply[Places]]:
        """Where plates are in each picture of a list or a batch (N, H, W, 3); see `PlateFinder.submit`."""
        return self._finder().submit(pictures, priority=priority, deadline=deadline)

    def read_plates(
        self, crops: Sequence[Pixels], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """What whole plates say, in A-Z and 0-9; see `PlateRecogniser.submit`."""
        return self._plates().submit(crops, priority=priority, deadline=deadline)

    def read_plate_lines(
        self, crops: Sequence[Pixels], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """What lines of plates say, in A-Z and 0-9; see `Recogniser.submit`."""
        return self._plate_lines().submit(crops, priority=priority, deadline=deadline)

    def read_lines(
        self, crops: Sequence[Pixels], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """What lines say, in all characters the model knows; see `Recogniser.submit`."""
        return self._lines().submit(crops, priority=priority, deadline=deadline)

    def read_steps(
        self,
        lines: Iterable[Pixels],
        *,
        plates: bool,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[Reply[Steps]]:
        """What the model of `read_plate_lines` or `read_lines` says of fitted lines; see `Recogniser.submit_lines`."""
        recogniser = self._plate_lines() if plates else self._lines()
        return recogniser.submit_lines(lines, priority=priority, deadline=deadline)

    def report(self, model: str) -> ModelReport:
        """How `model`, one of `served.PURPOSES`, runs here: loaded and measured now, so nobody may use it meanwhile.

        Raises:
            PlatoonError: it cannot be executed as the settings say.
        """
        report: ModelReport = self._by_name[model]().report()
        return report

    def close(self) -> None:
        """Finish what waits and free the models."""
        for part in self._by_name.values():
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
