"""What eight pictures of a video cost: sampled, and by decoding all of it as others do.

python -m benchmarks.sampling encodes half a minute, repeats its packets up to the lengths that are asked for, and has
each way take the same pictures in a process of its own: CPU seconds of all its threads, pictures decoded for one that
was wanted, and by how much memory rose over the imports. `exact` says whether the pictures are those of PyAV.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from rich.console import Console
from rich.table import Table

from benchmarks.report import machine
from platoon.media.frame import Pixels
from platoon.media.input import Input
from platoon.media.picture_sampler import PictureSampler
from platoon.settings import SourceSettings

RESULTS = Path(__file__).parent / "results" / "sampling.json"
WANTED = 8
FPS, ENCODED_S = 30, 30
LENGTHS_S = (30, 600)


def encode(path: Path, size: tuple[int, int], keyframe_every: int) -> Path:
    """Half a minute of H.264 by x264, which chooses where B-frames are: a slope that moves, seen by a noisy sensor."""
    width, height = size
    random = np.random.default_rng(1)
    scene = cv2.GaussianBlur(random.integers(0, 255, (height * 2, width * 2, 3), np.uint8), (0, 0), 4)
    sensor = random.integers(0, 24, (height * 2, width * 2, 3), np.uint8)
    slope = np.linspace(20, 180, width, dtype=np.uint8)[None, :, None]
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "x264-params": f"keyint={keyframe_every}:scenecut=0:threads=1"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(ENCODED_S * FPS):
            down, right = random.integers(height), random.integers(width)
            drawn = scene[number % height :][:height, number // 2 % width :][:, :width] // 3 + slope
            drawn = drawn + sensor[down : down + height, right : right + width]
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, FPS), 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def repeat(source: Path, path: Path, seconds: int) -> Path:
    """The packets of `source` again and again, up to so many seconds."""
    with av.open(str(path), "w") as container:
        target = None
        for turn in range(seconds // ENCODED_S):
            with av.open(str(source)) as whole:
                target = target or container.add_stream_from_template(whole.streams.video[0])
                for packet in whole.demux(video=0):
                    if packet.size:
                        later = round(turn * ENCODED_S / packet.time_base)
                        packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, target
                        container.mux(packet)
    return path


def sampled(path: Path, *, exact: bool) -> tuple[list[Pixels], int]:
    """As `platoon.sample`: the pictures, and how many were decoded."""
    sampler = PictureSampler(partial(Input, str(path), SourceSettings()))
    numbers = sampler.index.uniform(WANTED)
    had = dict(sampler.pictures(numbers if exact else sampler.index.nearest_keyframes(numbers)))
    sampler.close()
    return [one for one in had.values() if not isinstance(one, str)], sampler.decoded


def opencv_grab_all(path: Path) -> tuple[list[Pixels], int]:
    """Every picture is grabbed, and those that are wanted are retrieved, by the count of the header."""
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, count - 1, WANTED, dtype=int).tolist())
    grabbed = (capture.retrieve()[1] for number in range(count) if capture.grab() and number in wanted)
    return [np.asarray(cv2.cvtColor(one, cv2.COLOR_BGR2RGB), np.uint8) for one in grabbed], count


def pyav_decode_all(path: Path) -> tuple[list[Pixels], int]:
    """Every picture is decoded, and those that are wanted are converted, by the count of the header."""
    with av.open(str(path)) as container:
        count = container.streams.video[0].frames
        wanted, pictures = set(np.linspace(0, count - 1, WANTED, dtype=int).tolist()), []
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                pictures.append(frame.to_ndarray(format="rgb24"))
    return pictures, count


WAYS: dict[str, Callable[[Path], tuple[list[Pixels], int]]] = {
    "platoon": partial(sampled, exact=True),
    "platoon, keyframes": partial(sampled, exact=False),
    "OpenCV, grab all": opencv_grab_all,
    "PyAV, decode all": pyav_decode_all,
}
PEERS = ("OpenCV, grab all", "PyAV, decode all")


def take(way: str, path: Path) -> dict[str, Any]:
    """Have this process take the pictures one way, and measure it."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew behind the imports
    before, started = _memory_mib("VmRSS"), time.process_time()
    pictures, decoded = WAYS[way](path)
    spent_s = time.process_time() - started
    peak = _memory_mib("VmHWM")
    return {
        "cpu_s": round(spent_s, 3),
        "decoded_per_wanted": round(decoded / WANTED, 1),
        "memory_mib": round(peak - before, 1),
        "pictures": len(pictures),
        "digest": hashlib.sha256(b"".join(one.tobytes() for one in pictures)).hexdigest(),
    }


def _memory_mib(kind: str) -> float:
    """Memory of this process, as Linux counts it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


def measure(way: str, path: Path) -> dict[str, Any]:
    """`take` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sampling", "--take", way, str(path)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def measurements(
    size: tuple[int, int], lengths_s: Sequence[int], keyframes_every: Sequence[int], ways: Sequence[str]
) -> list[dict[str, Any]]:
    """One for each length, group of pictures and way, with its ratio to the best of the others that is exact, where
    PyAV is among them.
    """
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for every in keyframes_every:
            part = encode(Path(folder, "part.mp4"), size, every)
            for seconds in lengths_s:
                path = repeat(part, Path(folder, f"{seconds}.mp4"), seconds)
                of_ways = {way: measure(way, path) for way in ways}
                right = of_ways.get("PyAV, decode all", {}).get("digest")
                for one in of_ways.values():
                    digest = one.pop("digest")
                    one["exact"] = digest == right if right else None
                best = min(
                    (one["cpu_s"] for way, one in of_ways.items() if one["exact"] and way in PEERS), default=None
                )
                for way, one in of_ways.items():
                    known = {"seconds": seconds, "keyframe_every": every, "way": way}
                    found.append({**known, **one, "times_cheaper": best and round(best / one["cpu_s"], 1)})
                path.unlink()
    return found


def main() -> None:
    """Measure, print a table and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 360), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--seconds", type=int, nargs="+", default=LENGTHS_S, help="multiples of 30; 7200 are two hours")
    parser.add_argument("--keyframe-every", type=int, nargs="+", default=(60, 250), help="pictures")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--take", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.take:
        print(json.dumps(take(given.take[0], Path(given.take[1]))))
        return
    found = measurements(tuple(given.size), given.seconds, given.keyframe_every, given.ways)
    columns = (
        "seconds",
        "keyframe_every",
        "way",
        "cpu_s",
        "times_cheaper",
        "decoded_per_wanted",
        "memory_mib",
        "exact",
    )
    table = Table(*columns, title=f"{WANTED} pictures of H.264, {given.size[0]}x{given.size[1]}, {FPS} a second")
    for one in found:
        table.add_row(*(str(one[column]) for column in columns))
    Console(width=100).print(table)
    given.out.write_text(json.dumps({"machine": machine(), "size": given.size, "measurements": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
