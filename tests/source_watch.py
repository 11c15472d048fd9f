"""The taker's side of a source, for tests: its frames, its states so far, and waiting for them."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from platoon.media.frame import Frame
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.sampling import Sampler
from platoon.media.slot import NewestSlot
from platoon.media.source import Pace, Source, SourceState, SourceStatus
from platoon.metrics import Metrics, PixelMeter
from platoon.settings import SourceSettings

PATIENCE_S = 30


class Watch:
    """A source of camera `gate`, started and stopped as a context."""

    def __init__(
        self,
        url: str | Path,
        *,
        settings: SourceSettings | None = None,
        keep_all: bool = True,
        sampler: Sampler | None = None,
        **options: Any,
    ) -> None:
        self.changed = threading.Condition()
        self.metrics = Metrics(PixelMeter())
        self.slot = NewestSlot(ready=self.changed, keep_all=keep_all)
        self.states: list[SourceStatus] = []
        self.source = Source(
            "gate",
            str(url),
            self.slot,
            sampler or Sampler(fps=None),
            settings=settings or SourceSettings(),
            pixels=OpenCvPixels(self.metrics.pixels),
            metrics=self.metrics,
            pace=options.pop("pace", Pace.FULL_SPEED),
            on_status=self._note,
            **options,
        )

    def _note(self, status: SourceStatus) -> None:
        with self.changed:
            self.states.append(status)
            self.changed.notify_all()

    def __enter__(self) -> Self:
        self.source.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()
        assert self.source.join(PATIENCE_S)

    def wait(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S), self.source.status

    def wait_for(self, state: SourceState, *, after: int = 0) -> SourceStatus:
        """The first status in this state, skipping `after` statuses."""
        self.wait(lambda: any(status.state is state for status in self.states[after:]))
        return next(status for status in self.states[after:] if status.state is state)

    def frames(self, count: int | None = None) -> list[Frame]:
        """The next `count` frames, or all to the end."""
        frames: list[Frame] = []
        while count is None or len(frames) < count:
            self.wait(lambda: self.slot.filled or self.slot.finished)
            frame = self.slot.take()
            if frame is None:
                break
            frames.append(frame)
        return frames

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"camera": "gate", **labels}) or 0.0

    def state_series(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["state"], sample.labels["cause"]): sample.value
            for family in self.metrics.camera_state.collect()
            for sample in family.samples
        }
