"""Reading pictures and clips from Python: what `ocr.reading` does for one call, for any number of pictures of any kind.

Pictures are taken a few at a time, so any number of them needs the memory of a few. What several readers ask for at
the same time travels in common batches; the models are the engine's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput
from platoon.media.failures import SourceError
from platoon.media.frame import Pixels
from platoon.media.recording import recording
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.picture import MAX_PIXELS, as_pixels, load_picture
from platoon.ocr.picture_process import reading
from platoon.ocr.reading import Reading, ReadLine, ReadOptions, options_of, read
from platoon.ocr.sheets import check_size
from platoon.plates.engine import PlateEngine
from platoon.settings import Settings, SourceSettings

AT_A_TIME = 64
"""Pictures held in memory at most, enough crops for any batch."""
PIXELS_AT_A_TIME = 32_000_000
"""With so many pixels, three bytes each, no further picture joins those that are held."""

SECONDS_BETWEEN = 1.0
"""Of a clip, frames so far apart are read."""

Picture = Pixels | Image.Image | Path | str | bytes
"""An RGB array (height, width, 3) of uint8, a picture of Pillow's, the path of a file, or the bytes of one."""


@dataclass(frozen=True, slots=True)
class ClipLine:
    """A text of a clip, as it was read in the frame where it was surest."""

    line: ReadLine
    time_s: float
    """Of the frame, from the beginning of the clip, in seconds."""

    def to_json(self) -> dict[str, Any]:
        """As `ReadLine.to_json`, with `time_s`."""
        return {**self.line.to_json(), "time_s": round(self.time_s, 3)}


class Reader:
    """Reads the text of pictures: `Reader().read(["page.png"])[0].text`. Safe from any thread and event loop.

    A reader that loads models of its own is closed when done with, or used as a context manager, `with` or
    `async with`.

    Args:
        engine: shared models, which stay their owner's; none: the reader loads its own when first needed, as the
            environment sets them.
    """

    def __init__(self, engine: TextEngine | None = None) -> None:
        self._owns_engine = engine is None
        if engine is None:
            settings = Settings()
            engine = PlateEngine(settings.engine, settings.cache, Metrics())
        self._engine = engine

    def read(
        self,
        pictures: Iterable[Picture],
        mode: str | ReadOptions = "det-rec",
        *,
        priority: Priority = Priority.BULK,
        timeout_s: float = math.inf,
    ) -> list[Reading]:
        """What each picture says, in order; files and Pillow's pictures are turned upright as their EXIF data say.

        Args:
            mode: `det-rec` finds and reads all lines, `rec-only` reads each picture as one line, `plate` reads the
                lines of a licence plate's picture in A-Z and 0-9. A `reading.ReadOptions` says more than these.
            priority: against others who share the engine.
            timeout_s: for all pictures together.

        Raises:
            InvalidInput: the mode is unknown, or there is a picture that cannot be loaded: the first is named by its
                path or its place. NotFound: there is no such file. And what `reading.read` raises.
        """
        with RequestContext(priority, time.monotonic() + timeout_s) as call:
            return self._read(pictures, mode, call)

    async def aread(
        self,
        pictures: Iterable[Picture],
        mode: str | ReadOptions = "det-rec",
        *,
        priority: Priority = Priority.BULK,
        timeout_s: float = math.inf,
    ) -> list[Reading]:
        """As `read`, in a thread of the event loop's executor, where `pictures` is iterated too.

        Cancelling it gives up whatever still waits in the engine.
        """
        with RequestContext(priority, time.monotonic() + timeout_s) as call:
            return await asyncio.to_thread(self._read, pictures, mode, call)

    def read_clip(
        self,
        source: Path | str,
        settings: SourceSettings | None = None,
        *,
        fps: float | None = None,
        on_frame: Callable[[int, int | None], None] = lambda _done, _total: None,
    ) -> tuple[list[ClipLine], SourceError | None]:
        """The texts of a clip, each once, by time, and why it ended before its time if it did.

        Args:
            source: a path, or the address of a recording.
            settings: how it is opened; none: as the defaults are.
            fps: so many frames a second are read at most; none: one.
            on_frame: called for each frame with its number and how many the clip says it has.

        Raises:
            SourceError: the file is no video. And what `read` raises.
        """
        surest: dict[str, ClipLine] = {}
        broken = None
        due, between_s = 0.0, SECONDS_BETWEEN if fps is None else 1 / fps
        with recording(source, settings or SourceSettings()) as clip:
            try:
                for number, (picture, stamp) in enumerate(clip.pictures(), 1):
                    on_frame(number, clip.frames)
                    time_s = stamp if stamp is not None else number / (clip.fps or 25.0)
                    if time_s < due:
                        continue
                    due = time_s + between_s
                    for line in self.read([picture.to_ndarray(format="rgb24")])[0].lines:
                        before = surest.get(line.text)
                        # To the digits that are shown: what is no surer by these leaves the text where it was first.
                        if line.text and (
                            before is None or round(line.confidence, 4) > round(before.line.confidence, 4)
                        ):
                            surest[line.text] = ClipLine(line, time_s)
            except SourceError as error:
                broken = error
        return sorted(surest.values(), key=lambda found: (found.time_s, found.line.box[1])), broken

    def close(self) -> None:
        """Finish what waits and free the models, if they are its own."""
        if self._owns_engine:
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def _read(self, pictures: Iterable[Picture], mode: str | ReadOptions, call: RequestContext) -> list[Reading]:
        options = options_of(mode) if isinstance(mode, str) else mode
        if isinstance(pictures, str | bytes):
            raise InvalidInput("pictures: a list is wanted; one picture is read by read([picture])")
        numbered = enumerate(pictures)
        readings: list[Reading] = []
        while some := self._read_some(numbered, options, call):
            readings += some
        return readings

    def _read_some(
        self, numbered: Iterator[tuple[int, Picture]], options: ReadOptions, call: RequestContext
    ) -> list[Reading]:
        """What the next few pictures say; nothing at the end."""
        some: list[Pixels] = []
        held = 0
        for number, picture in islice(numbered, AT_A_TIME):
            call.check()
            some.append(_pixels_of(picture, f"pictures[{number}]"))
            held += some[-1].shape[0] * some[-1].shape[1]
            if held >= PIXELS_AT_A_TIME:
                break
        return read(self._engine, some, options, call) if some else []


def _pixels_of(picture: Picture, name: str) -> Pixels:
    if isinstance(picture, str | Path):
        return load_picture(picture)
    if isinstance(picture, bytes):
        return load_picture(picture, name=name)
    if isinstance(picture, Image.Image):
        with reading(name):
            check_size(name, picture.width, picture.height, MAX_PIXELS)
            return as_pixels(picture)
    if not isinstance(picture, np.ndarray):
        raise InvalidInput(f"{name} is of type {type(picture).__name__}, which is no picture")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise InvalidInput(f"{name} must be RGB uint8 (height, width, 3), got {picture.dtype} {picture.shape}")
    check_size(name, picture.shape[1], picture.shape[0], MAX_PIXELS)
    return np.ascontiguousarray(picture)  # OpenCV would copy a view that is none again for every line
