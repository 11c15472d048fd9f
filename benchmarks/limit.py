"""What no deployment can go below: decoding alone, and each model alone at its best batch, each on all cores.

python -m benchmarks.limit REEL... prints as JSON what each costs while all cores are busy with it: CPU time
(`decode_s`, `detect_s`, `read_s`), and the time from one to the next (`decode_every_s` and so on). Loading the engine
also makes the choices that its cache remembers, so that no deployment started afterwards has to.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from platoon.engine.runtime import cores
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


class Cost(NamedTuple):
    """Of one item."""

    cpu_s: float
    """CPU time."""
    every_s: float
    """Time from one to the next, on all cores."""


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
        measured = {
            "decode": _decoding(reels, settings),
            "detect": _cost(lambda: detector.find(batch), len(batch)),
            "read": _cost(lambda: [line.result() for line in read(list(lines))], LINES),
        }
    limit: dict[str, float] = {"detect_batch": len(batch)}
    for name, cost in measured.items():
        limit |= {f"{name}_s": cost.cpu_s, f"{name}_every_s": cost.every_s}
    print(json.dumps(limit))


def _decoding(reels: Sequence[str], settings: Settings) -> Cost:
    """Of a frame, over all reels: each core decodes all of them."""

    def decode(_: int) -> int:
        frames = 0
        for reel in reels:
            source = Input(reel, settings.source)
            frames += sum(1 for _ in source.pictures())
            source.close()
        return frames

    return _on_all_cores(decode)


def _fill(batch: Pixels, reel: str, settings: Settings) -> None:
    """Write the first frames of a reel into the detector's input."""
    source = Input(reel, settings.source)
    pixels = OpenCvPixels(PixelMeter())
    for number, (picture, _) in zip(range(len(batch)), source.pictures(), strict=False):
        frame = planar_frame(picture, camera="", media_time=0.0, captured_at=0.0, pixels=pixels)
        pixels.scale([frame], batch[number : number + 1])
    source.close()


def _cost(run: Callable[[], object], items: int) -> Cost:
    """Of one of the `items` of a run; the first run does not count."""
    run()
    end = time.monotonic() + MEASURE_S

    def repeat(_: int) -> int:
        done = 0
        while time.monotonic() < end:
            run()
            done += items
        return done

    return _on_all_cores(repeat)


def _on_all_cores(work: Callable[[int], int]) -> Cost:
    """Of one item, where as many threads as there are cores do this work, each of which says how many it has done."""
    with ThreadPoolExecutor(cores()) as pool:
        begin, start = time.monotonic(), time.process_time()
        done = sum(pool.map(work, range(cores())))
        return Cost((time.process_time() - start) / done, (time.monotonic() - begin) / done)


if __name__ == "__main__":
    main()
