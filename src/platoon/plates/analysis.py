"""Frames in, events out: scale, find, follow, read and settle, for a few frames of any cameras at once.

Each frame is a transaction of its own. Whatever fails, at any stage, costs the frames that it concerns and no other,
and never an event: those of vehicles that have gone are emitted before anything that can fail is tried, the others
one by one, as soon as they are decided.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

import numpy as np

from platoon.arrays import Array
from platoon.engine.batcher import Priority
from platoon.errors import says_retry
from platoon.media.frame import Frame, Letterbox, PixelWork
from platoon.metrics import Metrics
from platoon.plates import open_detector
from platoon.plates.detector import PlateBox
from platoon.plates.engine import PlateEngine
from platoon.plates.events import PlateEvent, PlatePipeline, ReadTask
from platoon.plates.reader import PlateReader, ReadsPlates
from platoon.settings import Settings

Emit = Callable[[Sequence[PlateEvent]], object]


@dataclass(slots=True, eq=False)
class _Turn:
    """A frame on its way; as a context manager it keeps an error to itself."""

    frame: Frame
    watch: PlatePipeline
    letterbox: Letterbox | None = None
    """In the detector's input."""
    boxes: Sequence[PlateBox] = ()
    tasks: Sequence[ReadTask] = ()
    errors: list[Exception] = field(default_factory=list)

    def found(self) -> list[PlateBox]:
        """In pixels of the frame: what was found where it was decoded, or else here."""
        if self.frame.detections is not None:
            return [PlateBox(quad, score, is_plate=True) for quad, score in self.frame.detections]
        if self.letterbox is None:
            return []
        return [replace(box, quad=self.letterbox.to_frame(box.quad)) for box in self.boxes]

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self.errors.append(error)
        return True


class _Rooms(threading.local):
    """Of each thread, for each device that has frames, the batch that these are written into."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._by_device: dict[PixelWork, Array] = {}

    def of(self, pixels: PixelWork, frames: int) -> Array:
        """One for at least so many frames."""
        room = self._by_device.get(pixels)
        if room is None or room.shape[0] < frames:
            room = self._by_device[pixels] = pixels.room(frames, self._size)
        return room


class Analysis:
    """The detector and the reader, which all threads share. Those that analyse at once do so for different cameras.

    Args:
        reads: plates, in the place of `engine`.

    Raises:
        ModelError: a model cannot be loaded. Unavailable: the server that has it is away.
    """

    def __init__(
        self, engine: PlateEngine, settings: Settings, metrics: Metrics, *, reads: ReadsPlates | None = None
    ) -> None:
        self._detector = open_detector(engine, settings)
        self._reader = PlateReader(reads or engine, tight=self._detector.tight)
        self._read_here = engine.read_plate_lines if self._detector.tight else engine.read_plates
        self._stage = metrics.stage
        self.capacity = self._detector.capacity
        """How many threads keep it busy, and how many frames each best takes."""
        self._rooms = _Rooms(self._detector.input_size)

    def warm_up(self) -> None:
        """Load and run what frames need, so that none waits for a first run; takes seconds.

        Raises:
            ModelError: a model cannot be loaded or executed. Unavailable: the server that has it is away.
        """
        self._detector.warm_up()
        self.check()

    def check(self) -> None:
        """Analyse a black frame, and read a black plate: raises what keeps any frame from being analysed."""
        width, height = self._detector.input_size
        self._detector.find(np.zeros((1, height, width, 3), np.uint8))
        for reply in self._read_here([np.zeros((48, 160, 3), np.uint8)]):  # also if others read at first
            reply.result()

    def run(
        self, frames: Sequence[tuple[Frame, PlatePipeline]], *, priority: Priority = Priority.VIDEO
    ) -> list[PlateEvent]:
        """As `analyse`, for who cannot go on without a frame: the events to be emitted. Raises the first error."""
        events: list[PlateEvent] = []
        for error in self.analyse(frames, events.extend, priority=priority):
            if error is not None:
                raise error
        return events

    def analyse(
        self, frames: Sequence[tuple[Frame, PlatePipeline]], emit: Emit, *, priority: Priority = Priority.VIDEO
    ) -> list[Exception | None]:
        """Analyse frames of as many cameras, each with the watch of its camera.

        Args:
            emit: called with events as soon as there are any; must not raise.

        Returns:
            Why each frame was lost, wholly or in part; none: it was not.
        """
        turns = [_Turn(frame, watch) for frame, watch in frames]
        for turn in turns:
            with turn:
                emit(turn.watch.gone(turn.frame))
        going = [turn for turn in turns if not turn.errors]
        with self._stage.labels("scale").time():
            unseen = [turn for turn in going if turn.frame.detections is None]
            batches = [
                self._placed(pixels, [turn for turn in unseen if turn.frame.pixels == pixels])
                for pixels in dict.fromkeys(turn.frame.pixels for turn in unseen)
            ]
        with self._stage.labels("detect").time():
            for batch, there in batches:
                self._detect(batch, there)
        for turn in going:
            if not turn.errors:
                with turn:
                    turn.tasks, gone = turn.watch.observe(turn.frame, turn.found())
                    emit(gone)
        with self._stage.labels("read").time():
            self._read([(turn, task) for turn in going for task in turn.tasks], emit, priority)
        return [turn.errors[0] if turn.errors else None for turn in turns]

    def close(self) -> None:
        """Free the detector, if it has a model of its own."""
        self._detector.close()

    def _placed(self, pixels: PixelWork, turns: Sequence[_Turn]) -> tuple[Array, list[_Turn]]:
        """The frames that could be scaled, side by side in a batch: all in one go, or, should that fail, each alone."""
        room = self._rooms.of(pixels, len(turns))
        try:
            letterboxes = pixels.scale([turn.frame for turn in turns], room[: len(turns)])
            for turn, letterbox in zip(turns, letterboxes, strict=True):
                turn.letterbox = letterbox
        except Exception:
            placed: list[_Turn] = []
            for turn in turns:
                with turn:
                    (turn.letterbox,) = pixels.scale([turn.frame], room[len(placed) : len(placed) + 1])
                    placed.append(turn)
            return room, placed
        return room, list(turns)

    def _detect(self, batch: Array, turns: Sequence[_Turn]) -> None:
        """All in one go; should that fail for something in a frame, each alone."""
        if not turns:
            return
        try:
            found = self._detector.find(batch[: len(turns)])
            for turn, boxes in zip(turns, found, strict=True):
                turn.boxes = boxes
        except Exception as error:
            if len(turns) == 1 or says_retry(error):
                for turn in turns:
                    turn.errors.append(error)
                return
            for number, turn in enumerate(turns):
                with turn:
                    (turn.boxes,) = self._detector.find(batch[number : number + 1])

    def _read(self, wanted: Sequence[tuple[_Turn, ReadTask]], emit: Emit, priority: Priority) -> None:
        readings = self._reader.read([(task.frame, task.quad) for _, task in wanted], priority=priority)
        for (turn, task), said in zip(wanted, readings, strict=True):
            with turn:
                if isinstance(said, Exception):
                    raise said
                emit(turn.watch.settle([(task, *said)]))
