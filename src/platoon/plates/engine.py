"""The models of text and of plates of one process: a `TextEngine` that finds and reads whole plates, too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from platoon.arrays import Array
from platoon.engine.batched import Capacity
from platoon.engine.batcher import Priority, Reply
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.recognition import TextLine
from platoon.plates.finder import PLATE_DETECTION, PlateCandidates, PlateFinder
from platoon.plates.recogniser import PLATE_READING, PlateRecogniser
from platoon.settings import EngineSettings


class PlateEngine(TextEngine):
    """Finds and reads text and plates. `close` it, or use it as a context manager.

    Args:
        cache: folder for measured choices.
        size: (height, width) of the pictures given to `find`, mostly.
        plate_size: of those given to `find_plates`.
        executions: see `TextEngine`.
    """

    def __init__(
        self,
        settings: EngineSettings,
        cache: Path,
        metrics: Metrics,
        *,
        size: tuple[int, int] = (544, 960),
        plate_size: tuple[int, int] = (448, 768),
        executions: int | None = None,
    ) -> None:
        super().__init__(settings, cache, metrics, size=size, executions=executions)
        self._finder = self._lazy(
            PLATE_DETECTION, lambda tuning: PlateFinder(settings, tuning, metrics, self.gates, size=plate_size)
        )
        self._plates = self._lazy(PLATE_READING, lambda tuning: PlateRecogniser(settings, tuning, metrics, self.gates))

    @property
    def plate_capacity(self) -> Capacity:
        """What keeps `find_plates` busy."""
        with self._finder.lent() as finder:
            return finder.capacity

    def find_plates(
        self,
        pictures: Iterable[Array],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[Reply[PlateCandidates]]:
        """Where plates are in each picture of a list or a batch (N, H, W, 3); see `PlateFinder.submit`."""
        with self._finder.lent(deadline) as finder:
            return finder.submit(pictures, priority=priority, deadline=deadline)

    def read_plates(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """What whole plates say, in A-Z and 0-9; see `PlateRecogniser.submit`."""
        with self._plates.lent(deadline) as plates:
            return plates.submit(crops, priority=priority, deadline=deadline)
