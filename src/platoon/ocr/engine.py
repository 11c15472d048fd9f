"""The text models of one process, each loaded once and when first needed, shared by all who read.

It owns the models and their threads. Cameras, HTTP callers and documents find text and read lines from any thread; what
they submit travels in common batches. With the models of plates besides it is a `plates.engine.PlateEngine`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array
from platoon.engine.batched import Capacity
from platoon.engine.batcher import Priority, Reply
from platoon.engine.gate import Gates
from platoon.engine.lazy import Lazy, Part
from platoon.engine.runtime import ModelReport, executions_at_once
from platoon.engine.tuning import Tuning
from platoon.errors import InvalidInput, PlatoonError
from platoon.metrics import Metrics
from platoon.ocr.detection import TextBox, TextDetector
from platoon.ocr.recognition import PLATE, CtcTopK, Recogniser, TextLine
from platoon.ocr.served import PLATE_RECOGNITION, TEXT_DETECTION, TEXT_RECOGNITION
from platoon.settings import EngineSettings

RETRY_S = 5.0
"""How long after a model could not be loaded it is tried again."""
_log = logging.getLogger(__name__)


class TextEngine:
    """Finds and reads text. `close` it, or use it as a context manager.

    Args:
        cache: folder for measured choices.
        size: (height, width) of the pictures given to `find`, mostly.
        executions: of all its models together, at once on the CPU; none: as many as there are cores for.
    """

    def __init__(
        self,
        settings: EngineSettings,
        cache: Path,
        metrics: Metrics,
        *,
        size: tuple[int, int] = (544, 960),
        executions: int | None = None,
    ) -> None:
        self.metrics = metrics
        self.gates = Gates.of(executions or executions_at_once(settings))
        """For the other models of the process, too."""
        self._tuning = Tuning(cache)
        self._by_name: dict[str, Lazy[Any]] = {}
        self._detector = self._lazy(
            TEXT_DETECTION, lambda tuning: TextDetector(settings, tuning, metrics, self.gates, size=size)
        )
        self._plate_lines = self._lazy(
            PLATE_RECOGNITION, lambda tuning: Recogniser(settings, tuning, metrics, self.gates, alphabet=PLATE)
        )
        self._lines = self._lazy(TEXT_RECOGNITION, lambda tuning: Recogniser(settings, tuning, metrics, self.gates))
        self._cold: dict[str, str] = {}
        """Models that are to be ready for callers -> why they are not yet."""
        self._closing = threading.Event()
        self._warming: list[threading.Thread] = []

    def warm_up(self, models: Sequence[str]) -> None:
        """Load and measure these, names as in `served`, in the background, one after another; see `not_ready`.

        Callers with a deadline are served before a model is measured. What could not be loaded, as a server is away,
        is tried again until `close`.
        """
        self._cold |= {name: f"model {name} is warming up" for name in models}
        self._warming.append(threading.Thread(target=self._warm_up, args=(models,), name="warming up", daemon=True))
        self._warming[-1].start()

    def not_ready(self) -> list[str]:
        """Which of the models that were to be warmed up are not ready, and why; empty once all are measured."""
        return list(self._cold.copy().values())

    @property
    def capacity(self) -> Capacity:
        """What keeps `find` busy."""
        with self._detector.lent() as detector:
            return detector.capacity

    def find(
        self,
        pictures: Iterable[Array],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[list[TextBox]]:
        """Where text is in each picture of a list or a batch (N, H, W, 3); see `TextDetector.find`."""
        with self._detector.lent(deadline) as detector:
            return detector.find(pictures, priority=priority, deadline=deadline)

    def detect(
        self,
        pictures: Iterable[Array],
        *,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[Reply[NDArray[np.float32]]]:
        """Maps of where text is, for callers with boxes of their own making; see `TextDetector.submit`."""
        with self._detector.lent(deadline) as detector:
            return detector.submit(pictures, priority=priority, deadline=deadline)

    def read_plates(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """What whole plates say: for a `PlateEngine` to answer. Raises InvalidInput."""
        del crops, priority, deadline
        raise InvalidInput("these models read no whole plates; give them by platoon.plates.open_engine")

    def read_plate_lines(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """What lines of plates say, in A-Z and 0-9; see `Recogniser.submit`."""
        with self._plate_lines.lent(deadline) as lines:
            return lines.submit(crops, priority=priority, deadline=deadline)

    def read_lines(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """What lines say, in all characters the model knows; see `Recogniser.submit`."""
        with self._lines.lent(deadline) as lines:
            return lines.submit(crops, priority=priority, deadline=deadline)

    def read_steps(
        self,
        lines: Iterable[Array],
        *,
        plates: bool,
        priority: Priority = Priority.VIDEO,
        deadline: float | None = None,
    ) -> list[Reply[CtcTopK]]:
        """What the model of `read_plate_lines` or `read_lines` says of fitted lines; see `Recogniser.submit_lines`."""
        with (self._plate_lines if plates else self._lines).lent(deadline) as lines_model:
            return lines_model.submit_lines(lines, priority=priority, deadline=deadline)

    def report(self, model: str) -> ModelReport:
        """How `model`, one of `served.PURPOSES`, runs here: loaded and measured now, so nobody may use it meanwhile.

        Raises:
            PlatoonError: it cannot be executed as the settings say.
        """
        with self._by_name[model].lent() as loaded:
            report: ModelReport = loaded.report()
            return report

    def close(self) -> None:
        """Finish what waits and free the models."""
        self._closing.set()
        for part in self._by_name.values():
            part.close()
        for thread in self._warming:
            thread.join()

    def _lazy(self, name: str, make: Callable[[Tuning], Part]) -> Lazy[Part]:
        """A model that is warmed up, reported on and closed with the others."""
        part = Lazy(make, self._tuning, name=f"model {name}", owner="the text engine")
        self._by_name[name] = part
        return part

    def _warm_up(self, models: Sequence[str]) -> None:
        able = list(models)
        for settled in (False, True):  # all can serve before the first is measured
            left = list(able)
            while left and not self._closing.is_set():
                name = left.pop(0)
                try:
                    self._by_name[name].warm_up(settled=settled)
                except PlatoonError as error:
                    if self._closing.is_set():
                        return
                    self._cold[name] = f"model {name}: {error}"
                    _log.error("model %s cannot be loaded: %s", name, error)
                    if error.retry:
                        left.append(name)
                        self._closing.wait(RETRY_S)
                    else:
                        able.remove(name)
                else:
                    if settled:
                        del self._cold[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
