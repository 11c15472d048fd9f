"""Reading a picture the way one caller wants it, and giving more than the text: what was found, how sure, in
which company.

What a caller chooses is a value that travels with the call, so it touches nobody else. What a caller has waiting
in the engine is held by a `RequestContext`, which can be cancelled from any thread. The pictures of several callers
still share batches, as the engine forms them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeVar

import cv2
import numpy as np

from platoon.engine.batcher import Execution, Reply
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput
from platoon.media.frame import Letterbox, Pixels, Quad
from platoon.ocr.detection import STRIDE, Postprocessing, text_boxes
from platoon.ocr.engine import TextEngine
from platoon.ocr.lines import Turn, cut, in_reading_order, inside, outline, upright, ways_to_read
from platoon.ocr.plate import INPUT_SIZE, plate_letterbox, plate_lines
from platoon.ocr.recognition import Candidate, TextLine, width_of

MAX_SIDE = 4000
"""No input of the detector is longer, whatever a caller asks for."""
MAX_INPUT_PIXELS = 4_194_304
"""None has more: where a caller's limits make more of a picture, it is scaled to so many."""
LINES_AHEAD = 64
"""So many lines of one call wait for the recogniser: enough for any batch, little to hold in memory."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a caller may choose."""

    find: bool = True
    """Look for lines; otherwise the whole picture is one."""
    plates: bool = False
    """Pictures are of licence plates: of what is found only the plate's own lines are read, in A-Z and 0-9. The limits
    of the detector's input do not count then."""
    whole: bool = False
    """Pictures are of plates up to their edges, and read as a whole, in one line or two; no lines are looked for."""
    limit_side: int = 1280
    """Pixels, of the longer or the shorter side of what the detector sees, by `limit_type`."""
    limit_type: Literal["max", "min"] = "max"
    """`max`: larger pictures are scaled down to that; `min`: smaller ones are scaled up to it."""
    boxes: Postprocessing = field(default_factory=Postprocessing)
    min_confidence: float = 0.5
    """Lines read with less are left out."""
    upside_down: bool = False
    """Read each line as it is and turned by 180 degrees; the surer reading counts."""
    max_lines: int = 2000
    """A picture in which more are found is refused."""


MODES: Final = {
    "det-rec": ReadOptions(),
    "rec-only": ReadOptions(find=False),
    "plate": ReadOptions(plates=True, min_confidence=0.0),  # what a reading is worth is for a vote over several to say
    "whole-plate": ReadOptions(find=False, plates=True, whole=True, min_confidence=0.0),
}
"""What callers want who say no more than what their pictures are: pages and scenes, lines, licence plates with room
around them, or cut out along their edges.
"""


def options_of(mode: str) -> ReadOptions:
    """What the name of a mode stands for.

    Raises:
        InvalidInput: it is none of `MODES`.
    """
    if mode not in MODES:
        raise InvalidInput(f"mode: {mode[:40]!r} is none of {', '.join(MODES)}")
    return MODES[mode]


@dataclass(frozen=True, slots=True, eq=False)
class ReadLine:
    """A line that was found and read."""

    quad: Quad
    """Clockwise from the top left of the picture, in its pixels and inside it."""
    turn: Turn
    text: str
    confidence: float
    """0 to 1."""
    breaks: tuple[float, ...]
    """Where each character of the text begins, and the last ends: 0 to 1 along the line."""
    characters: tuple[tuple[Candidate, ...], ...]
    """See `TextLine.characters`."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2: the upright rectangle around `quad`; never empty."""
        return upright(self.quad)

    @property
    def reading_quad(self) -> Quad:
        """The corners from the top left of the first character, as one holds the picture to read it."""
        return np.roll(self.quad, {Turn.UPWARDS: 1, Turn.UPSIDE_DOWN: 2, Turn.DOWNWARDS: 3}.get(self.turn, 0), axis=0)

    def part(self, start: int, end: int) -> Quad:
        """The corners of the characters `start` to `end` (exclusive), in the order of `reading_quad`."""
        top_left, top_right, bottom_right, bottom_left = self.reading_quad
        left, right = (np.float32(self.breaks[index]) for index in (start, end))
        along_top, along_bottom = top_right - top_left, bottom_right - bottom_left
        corners = (
            top_left + along_top * left,
            top_left + along_top * right,
            bottom_left + along_bottom * right,
            bottom_left + along_bottom * left,
        )
        return np.array(corners, np.float32)

    def to_json(self) -> dict[str, Any]:
        """`{text, confidence, box: [x1, y1, x2, y2]}`."""
        return {"text": self.text, "confidence": round(self.confidence, 4), "box": list(self.box)}


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one picture says."""

    size: tuple[int, int]
    """(width, height)."""
    found: Sequence[Quad]
    """All lines that were found, whether or not they could be read."""
    lines: Sequence[ReadLine]
    """From top to bottom."""
    seconds: float
    """From having the picture until its text was known, waiting included."""
    execution: Execution
    """The run of the first model that this picture went through."""

    @property
    def text(self) -> str:
        """All lines, one below the other."""
        return "\n".join(line.text for line in self.lines)


def read(engine: TextEngine, pictures: Sequence[Pixels], options: ReadOptions, call: RequestContext) -> list[Reading]:
    """What each picture says; blocks.

    Args:
        pictures: RGB, (H, W, 3) uint8 each; few enough to be held in memory with the detector's inputs.

    Raises:
        InvalidInput: more than `options.max_lines` were found. Overloaded, DeadlineExceeded, Unavailable: see
        `Batcher.submit`. CancelledError: the call was cancelled.
    """
    call.check()
    lines = _Lines(engine, options, call)
    try:
        for found in find(engine, pictures, options, call):
            if len(found.quads) > options.max_lines:
                raise InvalidInput(
                    f"{len(found.quads)} lines of text were found in one picture, more than {options.max_lines}"
                )
            lines.add(found)
        return lines.readings()
    finally:
        lines.forget()
        call.trace.record()


class Found(NamedTuple):
    """A picture and where its lines are."""

    picture: Pixels
    quads: Sequence[Quad]
    """In the order in which they are read. They may reach out of the picture."""
    execution: Execution | None
    """The run of the detector."""


def find(engine: TextEngine, pictures: Sequence[Pixels], options: ReadOptions, call: RequestContext) -> Iterator[Found]:
    """Where the lines of each picture are; `read` without reading, which blocks and raises as that does."""
    if not options.find:
        yield from (Found(picture, [outline(picture)], None) for picture in pictures)
        return
    letterboxes = [letterbox_of(picture.shape[1], picture.shape[0], options) for picture in pictures]
    size = INPUT_SIZE if options.plates else None
    inputs = [_input(picture, letterbox, size) for picture, letterbox in zip(pictures, letterboxes, strict=True)]
    replies = call.hold("detect", engine.detect(inputs, priority=call.priority, deadline=call.deadline))
    for picture, letterbox, reply in zip(pictures, letterboxes, replies, strict=True):
        quads = [letterbox.to_frame(box.quad) for box in text_boxes(call.result(reply), options.boxes)]
        lines = (plate_lines(quads) or [outline(picture)]) if options.plates else in_reading_order(quads)
        yield Found(picture, lines, reply.execution)


class _Lines:
    """Reads the lines of some pictures: those of one wait together with those of the next."""

    def __init__(self, engine: TextEngine, options: ReadOptions, call: RequestContext) -> None:
        self._engine, self._options, self._call = engine, options, call
        self._started = time.monotonic()
        self._drafts: list[_Draft] = []
        self._waiting: deque[_Waiting] = deque()

    def add(self, found: Found) -> None:
        """Submit the lines of another picture."""
        height, width = found.picture.shape[:2]
        draft = _Draft((width, height), found.quads, found.execution, time.monotonic() - self._started)
        self._drafts.append(draft)
        for quad in found.quads:
            crops = self._ways(found.picture, quad)
            ways = [(turn, _filled(crop)) for turn, crop in crops]
            submit = self._engine.read_plate_lines if self._options.plates else self._engine.read_lines
            submit = self._engine.read_plates if self._options.whole else submit
            replies = submit([crop for _, crop in crops], priority=self._call.priority, deadline=self._call.deadline)
            self._waiting.append(_Waiting(draft, quad, ways, self._call.hold("recognise", replies)))
            if len(self._waiting) > LINES_AHEAD:
                self._take()

    def readings(self) -> list[Reading]:
        """What the pictures say, in order."""
        while self._waiting:
            self._take()
        return [
            Reading(
                size=draft.size,
                found=[inside(quad, draft.size) for quad in draft.quads],
                lines=draft.lines,
                seconds=draft.seconds,
                execution=draft.execution or Execution(0, 0.0),
            )
            for draft in self._drafts
        ]

    def forget(self) -> None:
        """Cancel what nobody has taken."""
        for waiting in self._waiting:
            for reply in waiting.replies:
                reply.cancel()

    def _ways(self, picture: Pixels, quad: Quad) -> list[tuple[Turn, Pixels]]:
        if self._options.plates:  # lines of plates run from left to right, however tall they are
            return [(Turn.NONE, cut(picture, quad))]
        return ways_to_read(picture, quad, upside_down=self._options.upside_down)

    def _take(self) -> None:
        """The oldest line that waits: into its picture, if it was read surely enough."""
        waiting = self._waiting[0]
        draft = waiting.draft
        readings = [self._call.result(reply) for reply in waiting.replies]
        self._waiting.popleft()
        (turn, filled), said = max(zip(waiting.ways, readings, strict=True), key=lambda pair: pair[1].confidence)
        if said.text.strip() and said.confidence >= self._options.min_confidence:
            breaks = _breaks([position / filled for position in said.positions])
            quad = inside(waiting.quad, draft.size)
            draft.lines.append(ReadLine(quad, turn, said.text, said.confidence, breaks, said.characters))
        draft.execution = draft.execution or waiting.replies[0].execution
        draft.seconds = time.monotonic() - self._started


@dataclass(slots=True, eq=False)
class _Draft:
    """A picture while it is read."""

    size: tuple[int, int]
    quads: Sequence[Quad]
    execution: Execution | None
    seconds: float
    lines: list[ReadLine] = field(default_factory=list)


class _Waiting(NamedTuple):
    """A line that waits, in all ways in which it may have to be read: how it was turned, and how much of the
    recogniser's input is it and no padding.
    """

    draft: _Draft
    quad: Quad
    ways: Sequence[tuple[Turn, float]]
    replies: Sequence[Reply[TextLine]]


def _filled(crop: Pixels) -> float:
    """How much of the recogniser's input is this crop and no padding."""
    scaled, padded = width_of(crop.shape[0], crop.shape[1])
    return scaled / padded


def _breaks(middles: Sequence[float]) -> tuple[float, ...]:
    """Borders of characters from their middles: half way between neighbours, the outer ones mirrored."""
    if len(middles) < 2:
        return (0.0, 1.0) if middles else ()
    between = [(left + right) / 2 for left, right in itertools.pairwise(middles)]
    first, last = 2 * middles[0] - between[0], 2 * middles[-1] - between[-1]
    return tuple(min(1.0, max(0.0, place)) for place in (first, *between, last))


def letterbox_of(width: int, height: int, options: ReadOptions) -> Letterbox:
    """Where a picture lies in the detector's input: by PaddleX's rules for its two limits, or as plates do."""
    if options.plates:
        return plate_letterbox(width, height)
    most = _largest_scale(width, height)
    if options.limit_type == "max":
        side = min(options.limit_side, MAX_SIDE, int(most * max(width, height)))
        return Letterbox.fit((width, height), (side, side))
    scale = min(max(1.0, options.limit_side / min(width, height)), MAX_SIDE / max(width, height), most)
    scaled = (max(2, round(width * scale)), max(2, round(height * scale)))
    return Letterbox(scale=scale, left=0, top=0, width=scaled[0], height=scaled[1])


def limit_met(width: int, height: int, options: ReadOptions) -> int:
    """The `limit_side` with which lines of such a picture were looked for: the caller's, or what `MAX_INPUT_PIXELS`
    left of it.
    """
    if options.plates or not width * height:
        return options.limit_side
    letterbox = letterbox_of(width, height, options)
    asked = options.limit_side / (max(width, height) if options.limit_type == "max" else min(width, height))
    wanted = min(1.0, asked) if options.limit_type == "max" else max(1.0, asked)
    if wanted <= _largest_scale(width, height):
        return options.limit_side
    side = max if options.limit_type == "max" else min
    return side(letterbox.width, letterbox.height)


def pixels_held(width: int, height: int, options: ReadOptions) -> int:
    """How many pixels count for reading such a picture: its own or, where the detector is given more, those."""
    if not options.find or not width * height:
        return width * height
    letterbox = letterbox_of(width, height, options)
    across, down = INPUT_SIZE if options.plates else (_up(letterbox.width), _up(letterbox.height))
    return max(width * height, across * down)


def _largest_scale(width: int, height: int) -> float:
    """That of which an input has at most `MAX_INPUT_PIXELS`, with its sides made up to the stride."""
    sides, area, more = (STRIDE + 1) * (width + height), width * height, (STRIDE + 1) ** 2
    # (width * scale + more) * (height * scale + more) = MAX_INPUT_PIXELS
    return (math.sqrt(sides**2 + 4 * area * (MAX_INPUT_PIXELS - more)) - sides) / (2 * area)


def _input(picture: Pixels, letterbox: Letterbox, size: tuple[int, int] | None) -> Pixels:
    """The picture in its letterbox, in black up to `size` (width, height), or else to the detector's stride."""
    width, height = size or (_up(letterbox.width), _up(letterbox.height))
    padded = np.zeros((height, width, 3), np.uint8)
    interpolation = cv2.INTER_AREA if letterbox.scale <= 1 else cv2.INTER_CUBIC
    padded[: letterbox.height, : letterbox.width] = cv2.resize(
        picture, (letterbox.width, letterbox.height), interpolation=interpolation
    )
    return padded


def _up(length: int) -> int:
    return -(-length // STRIDE) * STRIDE
