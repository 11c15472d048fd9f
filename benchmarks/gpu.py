"""What one NVIDIA GPU does for cameras, in one command: decoding, the plate models, and what crosses to the host.

python -m benchmarks.gpu [--clip FILE] [--streams 1 16 64] [--seconds S] [--device N] [--results FOLDER]

The clip (of the demo, if none is named) is decoded in a loop by so many threads at once, and its pictures are copied on
the GPU, as cameras' are. Of each plate model τ₀ and α are measured; of the way to the host what crops cost that are cut
on the GPU, and what whole frames cost that are cut on the CPU. How many cameras a GPU carries follows from these. It
writes `gpu-NAME.json` into FOLDER, and exits with 3 where there is no GPU. On one it has not run yet; tests walk its
parts on the CPU.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import report
from platoon.arrays import on_host
from platoon.engine.cost import Cost
from platoon.errors import PlatoonError
from platoon.media.attention import EVERYTHING
from platoon.media.decode import planar_frame
from platoon.media.decoder import missing_for_nvdec, open_decoder
from platoon.media.frame import PixelWork, PlanarFrame, Planes, Region
from platoon.media.input import Opener
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.synthetic.clips import demo_clips
from platoon.metrics import Metrics, PixelMeter
from platoon.plates import open_engine
from platoon.plates.finder import PLATE_DETECTION
from platoon.plates.recogniser import PLATE_READING
from platoon.settings import EngineSettings, PlateSettings, Settings, SourceSettings

NO_GPU = 3
"""How it exits without one."""
RESULTS = Path(__file__).parent / "results"
CAMERA_FPS, LOOKS_PER_S, READ_PER_LOOK = 25.0, 5.0, 1.0
"""Of a camera: frames a second, of which so many are analysed, in each of which so many plates are read."""
PLATES_PER_FRAME = 4
CROP = (178, 48)
"""(width, height) of a plate as it is kept."""


@dataclass(frozen=True, slots=True)
class Device:
    """What is measured."""

    name: str
    runtime: Literal["cuda", "onnxruntime"]
    pixels: PixelWork
    open_input: Opener
    number: int = 0
    """Of the GPU."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--clip", type=Path, help="none: one of the demo's, drawn now")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    missing = missing_for_nvdec(asked.device)
    if missing is not None:
        print(f"no GPU to measure: {missing}", file=sys.stderr)
        raise SystemExit(NO_GPU)
    clip = asked.clip or demo_clips(Settings.load().cache / "demo")[0].path
    try:
        results = measure(gpu(asked.device), clip, streams=asked.streams, seconds=asked.seconds)
    except PlatoonError as error:
        raise SystemExit(f"not measured: {error}") from error
    print(json.dumps(results, indent=2))
    print(written(results, asked.results))


def gpu(number: int) -> Device:
    """GPU `number`, which must be there."""
    import torch

    engine = EngineSettings(runtime="cuda", device=number)
    settings = Settings(source=SourceSettings(decoder="nvdec"), engine=engine)
    decoder = open_decoder(settings, PixelMeter(), cameras=lambda: 1)
    return Device(torch.cuda.get_device_name(number), "cuda", decoder.pixels, decoder.open_input, number)


def measure(
    device: Device,
    clip: Path,
    *,
    streams: Sequence[int],
    seconds: float,
    max_batch: int = 32,
    plates: PlateSettings | None = None,
) -> dict[str, Any]:
    """Everything, part by part.

    Args:
        seconds: of each measurement.
        plates: how large the frames are in which plates are found.
    """
    decoded = {str(count): decoding(device, clip, streams=count, seconds=seconds) for count in streams}
    costs = models(device, plates or PlateSettings(), max_batch=max_batch)
    return {
        "device": device.name,
        "machine": report.machine(),
        "clip": clip.name,
        "decoded_frames_per_s": decoded,
        "models": {
            name: {"tau0_ms": 1e3 * cost.fixed_s, "alpha_ms": 1e3 * cost.item_s} for name, cost in costs.items()
        },
        "to_host": crossing(device, clip, seconds=seconds),
        "cameras": cameras(max(decoded.values()), costs, batch=max_batch),
    }


def decoding(device: Device, clip: Path, *, streams: int, seconds: float) -> float:
    """Frames a second of so many streams together, each decoded by a thread and taken over by the pixel work."""
    begin = time.monotonic()
    end = begin + seconds

    def decode(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            source = device.open_input(str(clip), SourceSettings(), taker=EVERYTHING)
            try:
                for picture, _stamp in source.pictures():
                    device.pixels.planes(picture, full_range=False)
                    count += 1
                    if time.monotonic() >= end:
                        break
            finally:
                source.close()
        return count

    with ThreadPoolExecutor(streams) as pool:
        return sum(pool.map(decode, range(streams))) / (time.monotonic() - begin)


def models(device: Device, plates: PlateSettings, *, max_batch: int) -> dict[str, Cost]:
    """τ₀ and α of the models that find and read plates."""
    engine = EngineSettings(runtime=device.runtime, device=device.number, max_batch=max_batch)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(engine=engine, plates=plates, cache=Path(folder))
        with open_engine(settings, Metrics()) as text:
            return {name: text.report(name).cost for name in (PLATE_DETECTION, PLATE_READING)}


def crossing(device: Device, clip: Path, *, seconds: float) -> dict[str, dict[str, float]]:
    """What the plates of a frame cost on their way to the host: cut where the frame lies, or cut there of all of it."""
    source = device.open_input(str(clip), SourceSettings(), taker=EVERYTHING)
    picture, _ = next(source.pictures())
    frame = planar_frame(picture, camera="", media_time=0.0, captured_at=0.0, pixels=device.pixels)
    source.close()
    corner = np.array([frame.width / 8, frame.height / 4], np.float32)
    unit = np.array([[0, 0], [1, 0.1], [1, 1], [0, 0.9]], np.float32)
    quads = [unit * (150, 50) + corner * (1, index) for index in range(1, PLATES_PER_FRAME + 1)]
    quads = [np.asarray(quad, np.float32) for quad in quads if quad.max(axis=0)[1] < frame.height]

    def crops() -> int:
        made = device.pixels.rectify([Region(frame, quad, CROP) for quad in quads])
        return sum(device.pixels.host(crop).nbytes for crop in made)

    def frames() -> int:
        y, u, v = (np.array(on_host(plane)) for plane in (frame.planes.y, frame.planes.u, frame.planes.v))
        pixels = OpenCvPixels(PixelMeter())
        here = PlanarFrame(Planes(y, u, v, frame.planes.full_range, frame.planes.matrix), pixels, "", 0.0, 0.0)
        pixels.rectify([Region(here, quad, CROP) for quad in quads])
        return int(y.nbytes + u.nbytes + v.nbytes)

    return {"crops": _each(crops, seconds), "whole_frames": _each(frames, seconds)}


def cameras(frames_per_s: float, costs: dict[str, Cost], *, batch: int) -> dict[str, float]:
    """How many cameras a GPU carries, by what it decodes and by what its models cost in batches of `batch`."""
    per_item = {name: cost.fixed_s / batch + cost.item_s for name, cost in costs.items()}
    analysed_s = LOOKS_PER_S * (per_item[PLATE_DETECTION] + READ_PER_LOOK * per_item[PLATE_READING])
    by_decoding, by_models = frames_per_s / CAMERA_FPS, 1 / analysed_s
    return {"by_decoding": by_decoding, "by_models": by_models, "carried": float(int(min(by_decoding, by_models)))}


def written(results: dict[str, Any], folder: Path) -> Path:
    """The file that results were written into, named after the device."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu-{re.sub(r'[^a-z0-9]+', '-', results['device'].lower()).strip('-')}.json"
    report.write(results, path)
    return path


def _each(step: Callable[[], int], seconds: float) -> dict[str, float]:
    """Bytes and milliseconds of one step; the first does not count."""
    n_bytes = step()
    done, begin = 0, time.perf_counter()
    while not done or time.perf_counter() - begin < seconds:
        step()
        done += 1
    return {"bytes": float(n_bytes), "ms": 1e3 * (time.perf_counter() - begin) / done}


if __name__ == "__main__":
    main()
