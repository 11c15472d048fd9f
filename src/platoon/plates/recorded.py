"""The plates in pictures and clips, for whoever has files instead of cameras.

A picture has no motion that would tell a plate from a sign, so its texts are ranked by what they say and how large
they are. A clip is read like a camera's stream, every frame of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.media.decode import planar_frame
from platoon.media.failures import SourceError
from platoon.media.frame import Frame, Pixels, Quad
from platoon.media.input import Input
from platoon.media.opencv_pixels import OpenCvPixels, rectify
from platoon.media.recording import recording
from platoon.media.sampling import MediaClock, Sampler
from platoon.metrics import Metrics
from platoon.ocr.reading import MODES, ReadOptions, find, read
from platoon.ocr.recognition import TextLine, line_of
from platoon.plates.analysis import Analysis
from platoon.plates.engine import PlateEngine
from platoon.plates.events import Gate, PlateEvent, PlatePipeline, Rejected, box_of
from platoon.plates.finder import PlateCandidates
from platoon.plates.grammar import Grammar
from platoon.plates.looks import look
from platoon.plates.reader import grown, text_size
from platoon.plates.text_detector import plate_like
from platoon.plates.vote import LENGTHS, PlateText, Vote, is_certain
from platoon.settings import PlateSettings, Settings

RANK_LEAST = 0.05
SURE = 0.95
"""A whole plate whose least certain character is surer needs no second reading: no other picture of it will come."""


@dataclass(frozen=True, slots=True)
class FoundPlate:
    """A plate in a picture or clip."""

    text: str
    raw: str
    """Before the grammar."""
    confidence: float
    box: tuple[int, int, int, int]
    """x1, y1, x2, y2 in pixels; of a clip's plate where it was read best."""
    candidates: tuple[tuple[str, float], ...] = ()
    """Texts it may be with the probability of each, the one given first; see `PlateText.likeliest`."""
    countries: Mapping[str, float] = field(default_factory=dict)
    """Whose it may be, with probabilities, likeliest first."""
    time_s: float | None = None
    """Of a clip's plate, when it was read best, from the beginning in seconds."""

    def to_json(self) -> dict[str, Any]:
        """As `platoon read --plates --json` prints it."""
        return {
            "text": self.text,
            "raw": self.raw,
            "confidence": round(self.confidence, 4),
            "box": list(self.box),
            "candidates": [{"text": text, "confidence": round(share, 4)} for text, share in self.candidates],
            "countries": {code: round(share, 4) for code, share in self.countries.items()},
            **({} if self.time_s is None else {"time_s": round(self.time_s, 3)}),
        }


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What was read and is not told as a plate."""

    gate: Gate
    """Why."""
    plate: FoundPlate | None = None
    """None: nothing was read, or it is not known where."""

    def to_json(self) -> dict[str, Any]:
        """As `platoon read --plates --json --all` prints it."""
        plate = self.plate or FoundPlate("", "", 0.0, (0, 0, 0, 0))
        return {"gate": str(self.gate), **plate.to_json()}


@dataclass(frozen=True, slots=True)
class ClipPlates:
    """What was read of a clip."""

    plates: Sequence[FoundPlate]
    """The vehicles, each once, surest first."""
    held_back: Sequence[HeldBack]
    broken: SourceError | None
    """Why it ended before its time, if it did."""


def read_picture(
    engine: PlateEngine,
    picture: Pixels,
    plates: PlateSettings,
    grammar: Grammar,
    call: RequestContext,
    *,
    held_back: Callable[[HeldBack], None] = lambda _: None,
) -> list[FoundPlate]:
    """The plates in a picture (height, width, 3), best first; raises as `reading.read`.

    Args:
        held_back: called with what was found or read and is not told.
    """
    ranked = []
    for quad, score, lines in (_whole_plates if plates.detector == "plates" else _lines)(engine, picture, plates, call):
        vote = Vote(grammar)
        for line in lines:
            vote.add(line, 1.0)
        text = vote.result()
        if text is None:
            held_back(HeldBack(Gate.UNREAD, FoundPlate("", "", 0.0, box_of(quad))))
            continue
        plate = FoundPlate(text.text, text.raw, text.confidence, box_of(quad), text.likeliest, text.countries)
        rank = _rank(text, quad, score)
        if rank >= RANK_LEAST:
            ranked.append((rank, plate))
        else:
            held_back(HeldBack(Gate.IMPLAUSIBLE, plate))
    return [plate for _, plate in sorted(ranked, key=lambda pair: -pair[0])]


Readings = list[tuple[Quad, float, list[TextLine]]]
"""Where something may be a plate, how sure its detector is of that (0: it knows text only), and what was read there."""


def _lines(engine: PlateEngine, picture: Pixels, _: PlateSettings, call: RequestContext) -> Readings:
    """Lines of text in the shape of plates."""
    (found,) = find(engine, [picture], ReadOptions(), call)
    quads = [quad for quad in found.quads if plate_like(quad)]
    crops = [rectify(picture, quad, text_size(quad)) for quad in quads]
    replies = call.hold("recognise", engine.read_plate_lines(crops, priority=call.priority, deadline=call.deadline))
    return [(quad, 0.0, [call.result(reply)]) for quad, reply in zip(quads, replies, strict=True)]


def _whole_plates(engine: PlateEngine, picture: Pixels, plates: PlateSettings, call: RequestContext) -> Readings:
    """Plates, as `CornerPlateDetector` finds them in frames; those that were not read surely are read as lines, too."""

    def find_plates(looks: Sequence[Pixels]) -> list[PlateCandidates]:
        replies = engine.find_plates(looks, priority=call.priority, deadline=call.deadline)
        return [call.result(reply) for reply in call.hold("detect", replies)]

    boxes = look(picture, find_plates, plates.least_score)
    quads = [box.quad for box in boxes]
    crops = [rectify(picture, grown(quad), text_size(quad)) for quad in quads]
    whole = call.hold("recognise", engine.read_plates(crops, priority=call.priority, deadline=call.deadline))
    readings = [[call.result(reply)] for reply in whole]
    unsure = [number for number, (line,) in enumerate(readings) if line.weakest < SURE]
    again = read(engine, [crops[number] for number in unsure], MODES["plate"], call)
    for number, reading in zip(unsure, again, strict=True):
        readings[number].append(line_of(character for line in reading.lines for character in line.characters))
    return [(box.quad, box.score, lines) for box, lines in zip(boxes, readings, strict=True)]


def read_clip(
    source: Path | str,
    engine: PlateEngine,
    settings: Settings,
    grammar: Grammar,
    metrics: Metrics,
    *,
    fps: float | None = None,
    on_frame: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> ClipPlates:
    """The plates of a clip, followed as in a camera's stream.

    A clip of fewer frames than must agree (`plates.min_reads`) is read by those that it has.

    Args:
        fps: at most so many frames a second are read; none: all.
        on_frame: called before each frame with its number and how many the clip says it has.

    Raises:
        SourceError: the file is no video, or it is a live stream.
    """
    with recording(source, settings.source) as opened:
        return _read_opened(opened, engine, settings, grammar, metrics, fps=fps, on_frame=on_frame)


def _read_opened(
    opened: Input,
    engine: PlateEngine,
    settings: Settings,
    grammar: Grammar,
    metrics: Metrics,
    *,
    fps: float | None,
    on_frame: Callable[[int, int | None], None],
) -> ClipPlates:
    broken: SourceError | None = None
    held_back: list[HeldBack] = []
    pixels = OpenCvPixels(metrics.pixels)
    clock, sampler = MediaClock(), Sampler(fps=fps)
    clock.restart(period_s=1 / (opened.fps or 25.0), gap_s=0.0)

    def frames() -> Iterator[Frame]:
        nonlocal broken
        try:
            for number, (picture, stamp) in enumerate(opened.pictures(), 1):
                on_frame(number, opened.frames)
                time_s = clock.tick(stamp)
                if sampler.wants(time_s):
                    yield planar_frame(
                        picture, camera="clip", media_time=time_s, captured_at=time.time(), pixels=pixels
                    )
        except SourceError as error:
            broken = error

    wanted = frames()
    first = list(islice(wanted, settings.plates.min_reads))
    watch = PlatePipeline(
        "clip",
        grammar,
        min_reads=max(1, min(settings.plates.min_reads, len(first))),
        hold_finals=True,
        rejected=lambda rejected: held_back.append(_held_back(rejected)),
    )
    events: list[PlateEvent] = []
    analysis = Analysis(engine, settings, metrics)
    try:
        for frame in chain(first, wanted):
            events += analysis.run([(frame, watch)], priority=Priority.BULK)
    finally:
        analysis.close()
    events += watch.finish()
    plates = [_found(event.plate, event.box, event.media_time) for event in events]
    return ClipPlates(sorted(plates, key=lambda plate: -plate.confidence), held_back, broken)


def _found(text: PlateText, box: tuple[int, int, int, int], time_s: float) -> FoundPlate:
    return FoundPlate(text.text, text.raw, text.confidence, box, text.likeliest, text.countries, time_s)


def _held_back(rejected: Rejected) -> HeldBack:
    if rejected.plate is None:
        return HeldBack(rejected.gate)
    return HeldBack(rejected.gate, _found(rejected.plate, rejected.box, rejected.media_time))


def _rank(plate: PlateText, quad: Quad, score: float) -> float:
    """How likely a text is the plate somebody asks for: sure, fitting a pattern, and large."""
    digits = sum(char.isdigit() for char in plate.text)
    letters = len(plate.text) - digits
    height = float(np.hypot(*(quad[3] - quad[0])))
    rank = plate.confidence * math.sqrt(height / 40) * (1.0 if plate.countries else 0.5)
    if is_certain(plate, score):
        return max(rank, RANK_LEAST)
    if not 4 <= len(plate.text) <= LENGTHS[1] or (not digits and not 5 <= len(plate.text) <= 8):
        return 0.0
    rank *= 0.15 if not digits else 0.3 if not letters else 1.0
    return rank * (0.4 if len(plate.text) == 4 else 1.0)
