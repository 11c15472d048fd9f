"""Frames, and an engine that finds and reads in them, of which a test says where they fail."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from platoon.arrays import Array
from platoon.engine.batched import Capacity
from platoon.engine.batcher import Reply
from platoon.media.frame import Detection, Letterbox, Pixels, PixelWork, Planes
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.metrics import PixelMeter, Purpose
from platoon.ocr.recognition import TextLine
from tests.plate_scripts import Seen, line

CAPACITY = Capacity(executions=1, batch=8)
SIZE = (256, 256)
"""(width, height) of the detector's input and of the frames, so that either's pixels are the other's."""
PLATES = ["KX52NHA", "YB19TFE", "GM64WCK", "RE07DHL", "LN23VKP", "HT71XSB"]
"""Of the only vehicle that each camera sees, by the camera's number."""
PLACE = Seen("", 80, 100)


@dataclass
class ScriptedFrame:
    """A `Frame` of a camera with a number, with one plate or none."""

    number: int
    media_time: float
    captured_at: float = 1e9
    empty: bool = False
    fails: Callable[[str], None] = lambda _stage: None
    """Called with `scale` and `cut`; may raise."""
    width: int = SIZE[0]
    height: int = SIZE[1]
    detections: Sequence[Detection] | None = None
    past: bool = False

    @property
    def camera(self) -> str:
        return f"camera {self.number}"

    @property
    def planes(self) -> Planes:
        raise NotImplementedError("its pixels are made up")

    @property
    def pixels(self) -> PixelWork:
        return SCRIPTED


class ScriptedPixels(OpenCvPixels):
    """Makes pixels of the numbers of scripted frames."""

    def scale(self, frames: Sequence[Any], out: Array, *, purpose: Purpose = Purpose.DETECT) -> list[Letterbox]:
        for frame, room in zip(frames, out, strict=True):
            room[:] = 0
            room[0, 0] = (frame.number, 0 if frame.empty else 1, 0)
            frame.fails("scale")  # half written, as a decoder's planes may leave it
        return [Letterbox.fit(SIZE, SIZE) for _ in frames]

    def rectify(self, regions: Sequence[Any]) -> list[Array]:
        for frame, _, _ in regions:
            frame.fails("cut")
        return [np.full((size[1], size[0], 3), frame.number, np.uint8) for frame, _, size in regions]

    def picture(self, frame: Any) -> Pixels:
        return np.full((frame.height, frame.width, 3), frame.number, np.uint8)


SCRIPTED = ScriptedPixels(PixelMeter())


@dataclass
class ScriptedEngine:
    """In the place of a `TextEngine`: it sees in pictures of `ScriptedFrame` what is in them."""

    plate_capacity: Capacity = CAPACITY
    fails: Callable[[str, int], None] = lambda _stage, _number: None
    """Called with `detect` or `read` and the number of the camera, -1 for none; may raise."""
    away: Exception | None = None
    """Why nothing is found or read at all, as of a server that is not there."""
    asked: int = 0
    """How often it was, for batches of whatever."""
    batches: list[list[int]] = field(default_factory=list)
    """The cameras of each batch of pictures, by their numbers."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find_plates(self, pictures: Iterable[Pixels], **_: Any) -> list[Reply[Any]]:
        marks = [(int(picture[0, 0, 0]), bool(picture[0, 0, 1])) for picture in pictures]
        with self.lock:
            self.asked += 1
            self.batches.append([number for number, _ in marks])
        return [self._reply("detect", number if any_there else -1, _places(any_there)) for number, any_there in marks]

    def read_plates(self, crops: Sequence[Pixels], **_: Any) -> list[Reply[TextLine]]:
        with self.lock:
            self.asked += 1
        numbers = [int(crop[0, 0, 0]) for crop in crops]
        return [self._reply("read", number, line(PLATES[number])) for number in numbers]

    def not_ready(self) -> list[str]:
        return []

    def close(self) -> None: ...

    def _reply(self, stage: str, number: int, result: Any) -> Reply[Any]:
        reply: Reply[Any] = Reply()
        try:
            if self.away is not None:
                raise self.away
            self.fails(stage, number)
            reply.set_result(result)
        except Exception as error:
            reply.set_exception(error)
        return reply


def _places(any_there: bool) -> Any:
    places = np.zeros((50, 13), np.float32)
    if any_there:
        quad = PLACE.quad
        places[0] = [0.9, *quad[0], *quad[2], *quad.ravel()]
    return places
