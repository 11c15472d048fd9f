"""Reading by hand: what a camera sees now, all text and all plates, for somebody who waits."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, Unavailable
from platoon.media.frame import Pixels
from platoon.ocr.reading import ReadOptions, read
from platoon.plates.engine import PlateEngine
from platoon.plates.grammar import Grammar
from platoon.plates.recorded import read_picture
from platoon.settings import PlateSettings


class Sight(NamedTuple):
    """What a camera saw."""

    picture: Pixels
    captured_at: float
    """Seconds since 1970."""


def read_sight(
    sight: Sight, camera: str, engine: PlateEngine, plates: PlateSettings, grammar: Grammar, *, timeout_s: float
) -> dict[str, Any]:
    """What `Site.manual_read` gives.

    Raises:
        DeadlineExceeded: it took longer than `timeout_s`. Unavailable: it did, or would have, because models are still
            being loaded or measured.
    """
    warming = engine.not_ready()
    try:
        with RequestContext(Priority.INTERACTIVE, time.monotonic() + timeout_s) as call:
            (reading,) = read(engine, [sight.picture], ReadOptions(), call)
            found = read_picture(engine, sight.picture, plates, grammar, call)
    except DeadlineExceeded as error:
        if warming:
            raise Unavailable(f"camera {camera!r} was not read: {'; '.join(warming)}; try again in a moment") from error
        raise DeadlineExceeded(f"camera {camera!r} was not read within {timeout_s:g} s") from error
    height, width, _ = sight.picture.shape
    return {
        "camera": camera,
        "time": sight.captured_at,
        "width": width,
        "height": height,
        "plates": [plate.to_json() for plate in found],
        "lines": [line.to_json() for line in reading.lines],
    }
