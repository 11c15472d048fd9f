"""The plates in pictures and clips, for whoever has files instead of cameras.

A picture has no motion that would tell a plate from a sign, so its texts are ranked by what they say and how large
they are. A clip is read like a camera's stream, every frame of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.media.decode import planar_frame
from platoon.media.failures import SourceError
from platoon.media.frame import Letterbox, Pixels, Quad
from platoon.media.input import Input
from platoon.media.opencv_pixels import OpenCvPixels, rectify
from platoon.media.sampling import MediaClock
from platoon.metrics import Metrics
from platoon.ocr.reading import MODES, ReadOptions, find, read
from platoon.ocr.recognition import TextLine, line_of
from platoon.plates.analysis import Analysis
from platoon.plates.corner_detector import plate_boxes
from platoon.plates.engine import PlateEngine
from platoon.plates.events import PlateEvent, PlatePipeline, box_of
from platoon.plates.finder import STRIDE
from platoon.plates.grammar import Grammar
from platoon.plates.reader import grown, text_size
from platoon.plates.text_detector import plate_like
from platoon.plates.vote import PlateText, Vote
from platoon.settings import PlateSettings, Settings

RANK_LEAST = 0.05
SIDE_PX = 960
"""Longer side of what finds whole plates in a picture: more than of a frame, as no next one comes nearer."""
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

    def to_json(self) -> dict[str, Any]:
        """As `platoon read --plates --json` prints it."""
        return {
            "text": self.text,
            "raw": self.raw,
            "confidence": round(self.confidence, 4),
            "box": list(self.box),
        }


def read_picture(
    engine: PlateEngine, picture: Pixels, plates: PlateSettings, grammar: Grammar, call: RequestContext
) -> list[FoundPlate]:
    """The plates in a picture (height, width, 3), best first; raises as `reading.read`."""
    ranked = []
    for quad, lines in (_whole_plates if plates.detector == "plates" else _lines)(engine, picture, plates, call):
        vote = Vote(grammar)
        for line in lines:
            vote.add(line, 1.0)
        plate = vote.result()
        rank = _rank(plate, quad) if plate is not None else 0.0
        if plate is not None and rank >= RANK_LEAST:
            ranked.append((rank, FoundPlate(plate.text, plate.raw, plate.confidence, box_of(quad), plate.likeliest)))
    return [plate for _, plate in sorted(ranked, key=lambda pair: -pair[0])]


Readings = list[tuple[Quad, list[TextLine]]]
"""Where something may be a plate, and what was read there."""


def _lines(engine: PlateEngine, picture: Pixels, _: PlateSettings, call: RequestContext) -> Readings:
    """Lines of text in the shape of plates."""
    (found,) = find(engine, [picture], ReadOptions(), call)
    quads = [quad for quad in found.quads if plate_like(quad)]
    crops = [rectify(picture, quad, text_size(quad)) for quad in quads]
    replies = call.hold("recognise", engine.read_plate_lines(crops, priority=call.priority, deadline=call.deadline))
    return [(quad, [call.result(reply)]) for quad, reply in zip(quads, replies, strict=True)]


def _whole_plates(engine: PlateEngine, picture: Pixels, plates: PlateSettings, call: RequestContext) -> Readings:
    """Plates, as `CornerPlateDetector` finds them in frames; those that were not read surely are read as lines, too."""
    letterbox = Letterbox.fit((picture.shape[1], picture.shape[0]), (SIDE_PX, SIDE_PX))
    look = _scaled(picture, letterbox)
    replies = call.hold("detect", engine.find_plates([look], priority=call.priority, deadline=call.deadline))
    quads = [letterbox.to_frame(box.quad) for box in plate_boxes(call.result(replies[0]), plates.least_score)]
    crops = [rectify(picture, grown(quad), text_size(quad)) for quad in quads]
    whole = call.hold("recognise", engine.read_plates(crops, priority=call.priority, deadline=call.deadline))
    readings = [[call.result(reply)] for reply in whole]
    unsure = [number for number, (line,) in enumerate(readings) if line.weakest < SURE]
    again = read(engine, [crops[number] for number in unsure], MODES["plate"], call)
    for number, reading in zip(unsure, again, strict=True):
        readings[number].append(line_of(character for line in reading.lines for character in line.characters))
    return list(zip(quads, readings, strict=True))


def _scaled(picture: Pixels, letterbox: Letterbox) -> Pixels:
    """The picture at its position in the smallest input that its detector takes."""
    height, width = (STRIDE * math.ceil(side / STRIDE) for side in (letterbox.height, letterbox.width))
    scaled = np.zeros((height, width, 3), np.uint8)
    size = (letterbox.width, letterbox.height)
    scaled[: letterbox.height, : letterbox.width] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return scaled


def read_clip(
    path: Path,
    engine: PlateEngine,
    settings: Settings,
    grammar: Grammar,
    metrics: Metrics,
    *,
    on_frame: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> tuple[list[FoundPlate], SourceError | None]:
    """The vehicles of a clip, each once, surest first, and why it ended before its time if it did.

    Args:
        on_frame: called before each frame with its number and how many the clip says it has.

    Raises:
        SourceError: the file is no video.
    """
    analysis = Analysis(engine, settings, metrics)
    watch = PlatePipeline("clip", grammar, min_reads=settings.plates.min_reads, hold_finals=True)
    events: list[PlateEvent] = []
    broken = None
    source = Input(str(path), settings.source)
    pixels = OpenCvPixels(metrics.pixels)
    clock = MediaClock()
    try:
        for number, (picture, stamp) in enumerate(source.pictures(), 1):
            on_frame(number, source.frames)
            frame = planar_frame(
                picture, camera="clip", media_time=clock.tick(stamp), captured_at=time.time(), pixels=pixels
            )
            events += analysis.run([(frame, watch)], priority=Priority.BULK)
    except SourceError as error:
        broken = error
    finally:
        source.close()
        analysis.close()
    events += watch.finish()
    plates = [FoundPlate(e.plate.text, e.plate.raw, e.plate.confidence, e.box, e.plate.likeliest) for e in events]
    return sorted(plates, key=lambda plate: -plate.confidence), broken


def _rank(plate: PlateText, quad: Quad) -> float:
    """How likely a text is the plate somebody asks for: sure, fitting a pattern, and large."""
    digits = sum(char.isdigit() for char in plate.text)
    letters = len(plate.text) - digits
    if not 4 <= len(plate.text) <= 9 or (not digits and not 5 <= len(plate.text) <= 8):
        return 0.0
    height = float(np.hypot(*(quad[3] - quad[0])))
    rank = plate.confidence * math.sqrt(height / 40)
    rank *= 1.0 if plate.countries else 0.5
    rank *= 0.15 if not digits else 0.3 if not letters else 1.0
    return rank * (0.4 if len(plate.text) == 4 else 1.0)
