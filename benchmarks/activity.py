"""Does what sleeps wake for every vehicle, and for nothing else? Rendered still scenes and spliced clips, by kind.

python -m benchmarks.activity --seeds 1000 20 --traces FOLDER renders a minute of each, encodes it as several cameras
do, and keeps sizes of packets and small pictures in FOLDER, from where they are taken the next time. Thresholds were
chosen on seeds below 100. What cameras do asleep is played by the rules of `platoon.media.attention`: a camera falls
asleep at a keyframe, four seconds after the last reason not to; on waking, its group is decoded from the keyframe on.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from benchmarks.report import machine
from platoon.media.activity import LOOK_S, Looks, PacketActivity, PictureChange
from platoon.media.synthetic.encoding import Encoding
from platoon.media.synthetic.sensor import Sensor
from platoon.media.synthetic.still import still_frames, still_scene
from platoon.media.synthetic.unrest import Unrest

RESULTS = Path(__file__).parent / "results" / "activity.json"
SECONDS, FPS, SIZE = 60.0, 10, (960, 540)
READABLE_PX = 45
"""Of a picture 960 wide: plates of 60 pixels where it is 1280 wide."""
AWAKE_S = 4.0
LUMA_SIZE, LUMA_EVERY = (96, 54), 5
"""Small pictures: of keyframes, and of every fifth frame for second looks."""
LOOP_S, LOOPS = (8.0, 24.0), 8
"""What is still in a clip is played so many times more before its vehicles come: a camera has known its place for
minutes then. Not where the clip has a course."""
STILL_S = 16.0
"""False wakes count from so long before the first vehicle on: where the repetitions are joined, encoders jump."""
COURSES = (Unrest.NIGHTFALL, Unrest.INFRARED, Unrest.TURN)

ENCODINGS = {
    "H.264 crf, 2 s": Encoding(),
    "H.264 cbr, 4 s": Encoding(kbps=800, group_s=4.0, preset="ultrafast"),
    "H.264 vbv, 3 B, 4 s": Encoding(group_s=4.0, b_frames=3, quality=26, most_kbps=2000),
}
HEVC = {
    "HEVC vbv, 2 B, 4 s": Encoding(
        codec="libx265", group_s=4.0, b_frames=2, quality=28, preset="ultrafast", most_kbps=2500
    )
}

Luma = NDArray[np.uint8]


@dataclass(frozen=True)
class Trace:
    """One clip as one encoder has it."""

    kind: str
    encoding: str
    seconds: float
    packets: Sequence[tuple[int, bool, float, float]]
    """Size in bytes, whether a keyframe, presentation and decoding time in seconds."""
    lumas: Sequence[tuple[float, Luma]]
    vehicles: Sequence[tuple[float, float, Sequence[float]]]
    """When each comes and is gone, and the times of the frames in which its plate can be read."""


@dataclass(frozen=True)
class Outcome:
    """What a camera did."""

    vehicles: int
    caught: int
    """Of which it decoded a picture with a readable plate."""
    share: float
    """Of the pictures with readable plates, those it decoded."""
    false_wakes: int
    minutes: float
    """Of the time in which these were counted."""
    awake: float
    """Share of the time before the first vehicle, once the camera was known."""
    looked: float
    """Share of that time whose pictures were decoded for second looks."""
    us_per_packet: float


class Recorder:
    """Encodes frames, and keeps what `Trace` says."""

    def __init__(self, encoding: Encoding, size: tuple[int, int], fps: int) -> None:
        self._encoder: VideoCodecContext = av.CodecContext.create(encoding.codec, "w")
        encoding.apply(self._encoder, size, fps)
        decoder = "hevc" if encoding.codec == "libx265" else "h264"
        self._decoder: VideoCodecContext = av.CodecContext.create(decoder, "r")
        self._fps = fps
        self.packets: list[tuple[int, bool, float, float]] = []
        self.lumas: list[tuple[float, Luma]] = []

    def feed(self, frame: VideoFrame | None) -> None:
        """Take the next frame; None at the end."""
        for packet in self._encoder.encode(frame):
            if not self.packets:
                self._decoder.extradata = self._encoder.extradata
            assert packet.pts is not None
            assert packet.dts is not None
            self.packets.append((packet.size, packet.is_keyframe, packet.pts / self._fps, packet.dts / self._fps))
            self._see(self._decoder.decode(packet))
        if frame is None:
            self._see(self._decoder.decode(None))

    def _see(self, frames: Iterable[VideoFrame]) -> None:
        for frame in frames:
            assert frame.pts is not None
            if frame.key_frame or frame.pts % LUMA_EVERY == 0:
                small = cv2.resize(frame.to_ndarray(format="gray"), LUMA_SIZE, interpolation=cv2.INTER_AREA)
                self.lumas.append((frame.pts / self._fps, small.astype(np.uint8)))


def rendered(seed: int, kind: Unrest, encodings: Mapping[str, Encoding]) -> Iterator[Trace]:
    """A minute in which two vehicles come."""
    rng = np.random.default_rng([seed, 77])
    enters = [float(26 + rng.uniform(0, 3)), float(42 + rng.uniform(0, 4))]
    scene = still_scene(seed=seed, seconds=SECONDS, enters_s=enters, fps=FPS, size=SIZE)
    recorders = {name: Recorder(encoding, SIZE, FPS) for name, encoding in encodings.items()}
    widths: dict[int, dict[float, float]] = defaultdict(dict)
    for index, (frame, quads) in enumerate(still_frames(scene, kind)):
        for i, quad in quads.items():
            widths[i][index / FPS] = float(np.hypot(*(quad[1] - quad[0])))
        for recorder in recorders.values():
            recorder.feed(frame)
    vehicles = []
    for i, enters_s in enumerate(enters):
        readable = [at for at, width in widths[i].items() if width >= READABLE_PX]
        vehicles.append((enters_s, max(widths[i], default=enters_s) + 1, readable))
    for name, recorder in recorders.items():
        recorder.feed(None)
        yield Trace(kind, name, SECONDS, recorder.packets, recorder.lumas, vehicles)


def spliced(clip: Path, encodings: Mapping[str, Encoding]) -> Iterator[Trace]:
    """A real clip after 40 seconds of its first picture, with a sensor's noise; all of it counts as one vehicle."""
    with av.open(str(clip)) as container:
        fps = round(float(container.streams.video[0].average_rate or FPS))
        pictures = [cv2.resize(frame.to_ndarray(format="rgb24"), SIZE) for frame in container.decode(video=0)]
    sensor, still = Sensor(SIZE, seed=1), 40 * fps
    recorders = {name: Recorder(encoding, SIZE, fps) for name, encoding in encodings.items()}
    for index in range(still + len(pictures)):
        frame = sensor.expose(pictures[max(0, index - still)].astype(np.uint8), index, noise=1.5)
        for recorder in recorders.values():
            recorder.feed(frame)
    end = 40 + len(pictures) / fps
    vehicle = (40.0, end, [40 + number / fps for number in range(len(pictures))])
    for name, recorder in recorders.items():
        recorder.feed(None)
        yield Trace(f"clip {clip.stem}", name, end, recorder.packets, recorder.lumas, [vehicle])


def known_for_minutes(trace: Trace) -> Trace:
    """The same, after minutes of what is still in it."""
    if trace.kind in COURSES or trace.kind.startswith("clip"):
        return trace
    start, end = LOOP_S
    later = (end - start) * LOOPS

    def played(at: float) -> Iterator[float]:
        """When what was at this time is to be seen."""
        if at < start - 0.01:
            yield at
        elif at < end - 0.01:
            yield from (at + n * (end - start) for n in range(LOOPS + 1))
        else:
            yield at + later

    packets = [
        (shown, decoded + shown - at, size, key) for size, key, at, decoded in trace.packets for shown in played(at)
    ]
    packets.sort(key=lambda packet: packet[1])
    return Trace(
        trace.kind,
        trace.encoding,
        trace.seconds + later,
        [(size, key, shown, decoded) for shown, decoded, size, key in packets],
        sorted(((shown, luma) for at, luma in trace.lumas for shown in played(at)), key=lambda one: one[0]),
        [(enters + later, gone + later, [at + later for at in seen]) for enters, gone, seen in trace.vehicles],
    )


def replay(trace: Trace, *, looks: bool) -> Outcome:
    """What a camera does over a trace; `looks`: whether it takes second looks, and then those alone wake it."""
    activity, due, change = PacketActivity(), Looks(), PictureChange()
    luma_times = [at for at, _ in trace.lumas]
    readable = sorted(at for _, _, seen in trace.vehicles for at in seen)
    first = min(enters for enters, _, _ in trace.vehicles)
    since = first - STILL_S
    awake_from: float | None = 0.0
    reason, group, looked, false_wakes = 0.0, 0.0, 0.0, 0
    awake: list[tuple[float, float]] = []
    looks_s: list[tuple[float, float]] = []
    for size, key, shown, decoded in trace.packets:
        look = due.packet(size, keyframe=key, time=decoded)
        moves = not looks and activity.packet(size, keyframe=key, time=decoded)
        now = shown if key else decoded
        if awake_from is not None:
            if looks and (key or now - looked >= LOOK_S):
                looked = now
                moves = change.differs(trace.lumas[bisect_right(luma_times, now + 0.01) - 1][1], now)
            seen = bisect_right(readable, now)
            if moves or (seen and now - readable[seen - 1] < 0.5):
                reason = now
            if not (key and now - reason > AWAKE_S):
                group = shown if key else group
                continue
            awake.append((awake_from, now))
            awake_from = None
        if key:
            group = looked = shown
            moves |= change.differs(trace.lumas[bisect_right(luma_times, shown + 0.01) - 1][1], shown)
        elif looks and look:
            looks_s.append((looked, now))
            looked = now
            moves = change.differs(trace.lumas[bisect_right(luma_times, now + 0.01) - 1][1], now)
        if moves:
            awake_from, reason = group, now
            near = (enters - 0.3 <= now and group <= gone for enters, gone, _ in trace.vehicles)
            false_wakes += now >= since and not any(near)
    if awake_from is not None:
        awake.append((awake_from, trace.seconds))
    shares = [
        sum(any(start <= at <= end for start, end in awake) for at in seen) / len(seen)
        for _, _, seen in trace.vehicles
        if len(seen) >= 0.5 * FPS
    ]
    return Outcome(
        vehicles=len(shares),
        caught=sum(share > 0 for share in shares),
        share=float(np.mean(shares)) if shares else 1.0,
        false_wakes=false_wakes,
        minutes=(trace.seconds - since) / 60,
        awake=_share(awake, since, first),
        looked=_share(looks_s, since, first),
        us_per_packet=_cost_us(trace),
    )


def _cost_us(trace: Trace) -> float:
    """Processor time of a packet's sizes."""
    activity, began = PacketActivity(), time.thread_time()
    for size, key, _, decoded in trace.packets:
        activity.packet(size, keyframe=key, time=decoded)
    return (time.thread_time() - began) / len(trace.packets) * 1e6


def _share(spans: Sequence[tuple[float, float]], start: float, end: float) -> float:
    return sum(max(0.0, min(end, one[1]) - max(start, one[0])) for one in spans) / (end - start)


def summed(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Over several cameras."""
    vehicles = sum(one.vehicles for one in outcomes)
    return {
        "vehicles": vehicles,
        "caught": sum(one.caught for one in outcomes),
        "readable_pictures_decoded": round(sum(one.share * one.vehicles for one in outcomes) / max(vehicles, 1), 3),
        "false_wakes_per_minute": round(
            sum(one.false_wakes for one in outcomes) / sum(one.minutes for one in outcomes), 3
        ),
        "awake_while_still": round(float(np.mean([one.awake for one in outcomes])), 3),
        "decoded_for_looks": round(float(np.mean([one.looked for one in outcomes])), 3),
        "us_per_packet": round(float(np.median([one.us_per_packet for one in outcomes])), 1),
    }


def traces(first_seed: int, scenes: int, clips: Sequence[Path], folder: Path) -> Iterator[Trace]:
    """Of all scenes and clips; taken from the folder, or made and put there."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = list(Unrest)
    for number in range(scenes):
        seed, kind = first_seed + number, kinds[number % len(kinds)]
        path = folder / f"{seed}-{kind}.pkl"
        if not path.exists():
            encodings = ENCODINGS | (HEVC if number % 5 == 3 else {})
            path.write_bytes(pickle.dumps([vars(trace) for trace in rendered(seed, kind, encodings)]))
        yield from (Trace(**fields) for fields in pickle.loads(path.read_bytes()))
    for clip in clips:
        path = folder / f"{clip.stem}.pkl"
        if not path.exists():
            path.write_bytes(pickle.dumps([vars(trace) for trace in spliced(clip, ENCODINGS)]))
        yield from (Trace(**fields) for fields in pickle.loads(path.read_bytes()))


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs=2, type=int, default=(1000, 20), metavar=("FIRST", "NUMBER"))
    parser.add_argument("--traces", type=Path, required=True, help="a folder for what was rendered and encoded")
    parser.add_argument(
        "--clips", type=Path, nargs="*", default=(), help="real clips, spliced into their first picture"
    )
    parser.add_argument("--no-results", action="store_true", help="print alone")
    options = parser.parse_args(arguments or sys.argv[1:])
    found: dict[str, dict[str, dict[str, float]]] = {}
    known = [
        known_for_minutes(trace) for trace in traces(options.seeds[0], options.seeds[1], options.clips, options.traces)
    ]
    for way, looks in (("sizes and keyframes", False), ("second looks", True)):
        by: dict[str, list[Outcome]] = defaultdict(list)
        for trace in known:
            outcome = replay(trace, looks=looks)
            for row in (trace.kind, trace.encoding, f"{trace.kind}: {trace.encoding}", "all"):
                by[row].append(outcome)
        found[way] = {row: summed(outcomes) for row, outcomes in by.items()}
        print(way)
        for row, figures in found[way].items():
            print(f"  {row:32}", "  ".join(f"{name} {value:g}" for name, value in figures.items()))
    if not options.no_results:
        setting: dict[str, Any] = {
            "machine": machine(),
            "seeds": list(options.seeds),
            "seconds": SECONDS,
            "fps": FPS,
            "size": SIZE,
            "encodings": {name: asdict(encoding) for name, encoding in (ENCODINGS | HEVC).items()},
        }
        RESULTS.write_text(json.dumps(setting | {"ways": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
