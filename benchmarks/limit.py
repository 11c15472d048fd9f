"""What no deployment can go below: decoding alone, and each model alone at its best batch.

python -m benchmarks.limit REEL... prints the CPU time of each as JSON. Loading the engine also makes the choices that
its cache remembers, so that no deployment started afterwards has to.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable

import numpy as np

from platoon.media.decode import planar_frame
from platoon.media.frame import Pixels
from platoon.media.input import Input
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.metrics import Metrics, PixelMeter
from platoon.plates import open_detector, open_engine
from platoon.settings import Settings

MEASURE_S = 5.0
LINES, LINE_SIZE = 16, (48, 240)
"""Lines read at a time, more than any best batch here; height and width of a plate's text."""


def main() -> None:
    """Measure and print."""
    reels = sys.argv[1:]
    settings = Settings.load()
    with open_engine(settings, Metrics()) as engine:
        detector = open_detector(engine, settings)
        read = engine.read_plate_lines if detector.tight else engine.read_plates
        batch = np.zeros((math.prod(detector.capacity), *settings.plates.input_size, 3), np.uint8)
        _fill(batch, reels[0], settings)
        lines = np.zeros((LINES, *LINE_SIZE, 3), np.uint8)
        limit = {
            "decode_s": _decode_s(reels, settings),
            "detect_s": _cpu_s(lambda: detector.find(batch)) / len(batch),
            "read_s": _cpu_s(lambda: [line.result() for line in read(list(lines))]) / LINES,
            "detect_batch": len(batch),
        }
    print(json.dumps(limit))


def _decode_s(reels: list[str], settings: Settings) -> float:
    """CPU seconds to decode a frame, over all reels."""
    frames = 0
    start = time.process_time()
    for reel in reels:
        source = Input(reel, settings.source)
        frames += sum(1 for _ in source.pictures())
        source.close()
    return (time.process_time() - start) / frames


def _fill(batch: Pixels, reel: str, settings: Settings) -> None:
    """Write the first frames of a reel into the detector's input."""
    source = Input(reel, settings.source)
    pixels = OpenCvPixels(PixelMeter())
    for number, (picture, _) in zip(range(len(batch)), source.pictures(), strict=False):
        frame = planar_frame(picture, camera="", media_time=0.0, captured_at=0.0, pixels=pixels)
        pixels.scale([frame], batch[number : number + 1])
    source.close()


def _cpu_s(run: Callable[[], object]) -> float:
    """CPU seconds of one run, on average; the first does not count."""
    run()
    runs, begin, start = 0, time.monotonic(), time.process_time()
    while time.monotonic() - begin < MEASURE_S:
        run()
        runs += 1
    return (time.process_time() - start) / runs


if __name__ == "__main__":
    main()
