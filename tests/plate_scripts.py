"""Made-up detections and readings for tests of what becomes an event: who is where in which frame, and what is read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from platoon.media.frame import PlanarFrame, Planes, Quad
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.metrics import PixelMeter
from platoon.ocr.recognition import Candidate, TextLine
from platoon.plates.detector import PlateBox
from platoon.plates.events import PlateEvent, PlatePipeline

PIXELS = OpenCvPixels(PixelMeter())


@dataclass(frozen=True)
class Seen:
    """A plate in one frame; the text is what the recogniser would say."""

    text: str
    x: float
    y: float
    height: float = 24
    sure: float = 0.97
    plate: float = 0.0
    """How sure the detector is that it is a plate; 0: it knows text only."""

    @property
    def quad(self) -> Quad:
        w, h = self.height * 4, self.height
        corners = [[self.x, self.y], [self.x + w, self.y], [self.x + w, self.y + h], [self.x, self.y + h]]
        return np.array(corners, np.float32)


def frame(media_time: float, *, width: int = 1280, height: int = 720) -> PlanarFrame:
    y, chroma = np.full((height, width), 90, np.uint8), np.full((height // 2, width // 2), 128, np.uint8)
    return PlanarFrame(Planes(y, chroma, chroma), PIXELS, "gate", media_time=media_time, captured_at=1e9 + media_time)


def line(text: str, sure: float = 0.97) -> TextLine:
    characters = tuple((Candidate(char, sure),) for char in text)
    return TextLine(text, sure if text else 0.0, sure if text else 0.0, characters)


@dataclass
class Emitted:
    """What a watch said, and how often it looked."""

    events: list[PlateEvent]
    reads: int

    def texts(self, state: str = "final") -> list[str]:
        return [event.plate.text for event in self.events if event.state == state]


def drive(watch: PlatePipeline, frames: Iterable[tuple[float, Sequence[Seen]]], *, end: bool = True) -> Emitted:
    """Run a script of (media time, plates in sight) through a watch."""
    emitted = Emitted([], 0)
    for media_time, plates in frames:
        now = frame(media_time)
        tasks, gone = watch.observe(
            now, [PlateBox(plate.quad, plate.plate or 0.9, is_plate=plate.plate > 0) for plate in plates]
        )
        readings = []
        for task in tasks:
            said = next(plate for plate in plates if np.allclose(plate.quad, task.quad))
            crop = np.full((24, 96, 3), round(media_time * 10) % 255, np.uint8)
            readings.append((task, crop, line(said.text, said.sure)))
        emitted.reads += len(readings)
        emitted.events += gone + watch.settle(readings)
    if end:
        emitted.events += watch.finish()
    return emitted


def passing(
    text: str | Callable[[int], str],
    *,
    start: float = 0.0,
    frames: int = 20,
    fps: float = 10.0,
    lane: float = 300.0,
    plate: float = 0.0,
    sure: float = 0.97,
) -> list[tuple[float, list[Seen]]]:
    """A vehicle that comes nearer; `text` may depend on the frame's number."""
    say = text if callable(text) else lambda _i, said=text: said
    return [(start + i / fps, [Seen(say(i), lane + 12 * i, 200 + 10 * i, 20 + i, sure, plate)]) for i in range(frames)]


def together(*scripts: Sequence[tuple[float, Sequence[Seen]]]) -> list[tuple[float, list[Seen]]]:
    """Several scripts in one picture."""
    merged: dict[float, list[Seen]] = {}
    for script in scripts:
        for media_time, plates in script:
            merged.setdefault(round(media_time, 6), []).extend(plates)
    return sorted(merged.items())
