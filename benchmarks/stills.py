"""What sixty cameras show before which next to nothing passes: rendered still scenes, and real clips after their first
picture, as streams of a few minutes.

A clip costs seconds to render, so a stream is a clip whose still beginning is played again and again before the rest of
it: a camera has known its place for a while when its vehicles come. Where the repetitions are joined the picture jumps,
which makes it harder to sleep than it is. All is kept in a folder and taken from there the next time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame

from benchmarks.reels import real_clips
from platoon.engine.runtime import cores
from platoon.media.synthetic.clips import READABLE_PX, Truth
from platoon.media.synthetic.encoding import Encoding
from platoon.media.synthetic.sensor import Sensor
from platoon.media.synthetic.still import still_clip, still_scene
from platoon.media.synthetic.unrest import Unrest

FIRST_SEED = 2000
"""Nothing was tuned on seeds from here on."""
CLIP_S, ENTERS_S = 48.0, (18.0, 31.0)
"""How long a scene is rendered, and about when its vehicles enter."""
FROM_S, HEAD_S = 4.0, 16.0
"""From when to when it is repeated, in whole groups of pictures: not the first, as encoders begin with other sizes."""
SUBSTREAM_FPS = 5
READABLE_S = 0.5
"""A vehicle was to be seen if its plate was readable for so long."""
ENCODINGS = (
    Encoding(),
    Encoding(group_s=4.0, most_kbps=4000),
    Encoding(group_s=4.0, kbps=1500),
)


@dataclass(frozen=True)
class Still:
    """What a camera shows, again and again."""

    kind: str
    path: Path
    substream: Path
    """The same, 5 pictures a second."""
    plates: Sequence[str] | None
    """That are to be read each time; none: there is traffic, and nobody counts."""
    seconds: float
    """How long it is."""


@dataclass(frozen=True)
class Order:
    """A stream to be made: `render` writes a clip and says which plates are to be read in it."""

    name: str
    kind: str
    head_s: float
    whole: bool
    """Whether more than its beginning is shown."""
    render: Callable[[Path], Sequence[str]]


def make_stills(
    folder: Path, cameras: int, seconds: float, *, size: tuple[int, int], fps: int, on_render: Callable[[str], object]
) -> list[Still]:
    """Streams of so many cameras that play for `seconds` or a little longer, a fifth of them with vehicles at the end.

    Args:
        folder: for clips and streams, where they are found the next time.
        on_render: called with what is being rendered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    orders = _orders(cameras, size, fps)
    distinct = list({order.name: order for order in orders}.values())
    with ThreadPoolExecutor(cores()) as pool:
        made = dict(pool.map(lambda order: (order.name, _made(order, folder, seconds, on_render)), distinct))
    return [made[order.name] for order in orders]


def _orders(cameras: int, size: tuple[int, int], fps: int) -> list[Order]:
    """What each camera shows: one of each kind with vehicles and the real clips, as far as they are a fifth of all, and
    otherwise all kinds in turn without any.
    """
    with_vehicles = [_scene(kind, number, size, fps, empty=False) for number, kind in enumerate(Unrest)]
    with_vehicles = [*(_spliced(clip, plates, size) for clip, plates in real_clips().items()), *with_vehicles]
    with_vehicles = with_vehicles[: math.ceil(cameras / 5)]
    without = [_scene(kind, number, size, fps, empty=True) for number, kind in enumerate(Unrest)]
    return with_vehicles + [without[n % len(without)] for n in range(cameras - len(with_vehicles))]


def _scene(kind: Unrest, number: int, size: tuple[int, int], fps: int, *, empty: bool) -> Order:
    """A rendered scene of this kind."""
    seed, encoding = FIRST_SEED + number, ENCODINGS[number % len(ENCODINGS)]
    course = kind in (Unrest.NIGHTFALL, Unrest.INFRARED, Unrest.TURN)
    head_s = FROM_S + 4.0 if kind in (Unrest.NIGHTFALL, Unrest.TURN) else HEAD_S
    length_s = CLIP_S if course or not empty else HEAD_S
    enters = np.random.default_rng([seed, 78]).uniform(0, 2, len(ENTERS_S)) + ENTERS_S
    scene = still_scene(seed=seed, seconds=length_s, enters_s=() if empty else enters.tolist(), fps=fps, size=size)

    def render(path: Path) -> Sequence[str]:
        return readable(still_clip(path, scene, kind, encoding))

    name = f"{kind}-{scene.digest}-{encoding.group_s:g}-{encoding.kbps or encoding.most_kbps or 'crf'}"
    return Order(name, kind, head_s, course or not empty, render)


def _spliced(clip: Path, plates: Sequence[str], size: tuple[int, int]) -> Order:
    """A real clip after its first picture, with a sensor's noise."""

    def render(path: Path) -> Sequence[str]:
        with av.open(str(clip)) as source:
            fps = round(float(source.streams.video[0].average_rate or 25))
            pictures = [cv2.resize(frame.to_ndarray(format="rgb24"), size) for frame in source.decode(video=0)]
        sensor, still = Sensor(size, seed=1), round(HEAD_S * fps)
        shown = [pictures[0]] * still + pictures
        frames = (sensor.expose(picture.astype(np.uint8), i, noise=1.5) for i, picture in enumerate(shown))
        _encode(frames, path, size, fps)
        return plates

    return Order(f"{clip.stem}-{size[0]}", f"clip {clip.stem}", HEAD_S, True, render)


def readable(truth: Truth) -> list[str]:
    """Plates that were readable for long enough."""
    return [
        plate.text
        for plate in truth.vehicles
        if sum(np.hypot(*(quad[1] - quad[0])) >= READABLE_PX for quad in plate.quads.values()) >= READABLE_S * truth.fps
    ]


def _made(order: Order, folder: Path, seconds: float, on_render: Callable[[str], object]) -> Still:
    clip, facts = folder / f"{order.name}.mp4", folder / f"{order.name}.plates.json"
    if not facts.exists():
        on_render(f"rendering {order.name}")
        facts_text = json.dumps(list(order.render(clip)))
        substream(clip, clip.with_suffix(".sub.mp4"))
        facts.write_text(facts_text, encoding="utf-8")
    once_s = _duration_s(clip) if order.whole else order.head_s
    times = 1 + max(0, math.ceil((seconds - once_s) / (order.head_s - FROM_S)))

    def stream(source: Path) -> Path:
        target = folder / f"{source.stem}-{times}x.mp4"
        lengthen(source, (FROM_S, order.head_s), times, target, whole=order.whole)
        return target

    plates = json.loads(facts.read_text(encoding="utf-8"))
    path = stream(clip)
    return Still(order.kind, path, stream(clip.with_suffix(".sub.mp4")), plates, _duration_s(path))


def _duration_s(clip: Path) -> float:
    with av.open(str(clip)) as source:
        return float(source.duration or 0) / 1e6


def lengthen(clip: Path, part_s: tuple[float, float], times: int, target: Path, *, whole: bool) -> None:
    """Write the packets of a clip with a part of it, (from, to) in seconds, so many times; up to there, or the `whole`.

    Groups of pictures must begin and end there.
    """
    start, end = (second - 1e-3 for second in part_s)
    with av.open(str(target), "w", format="mp4") as longer:
        written: av.VideoStream | None = None
        for turn in range(times):
            with av.open(str(clip)) as source:
                stream = source.streams.video[0]
                written = written or longer.add_stream_from_template(stream)
                offset = round(turn * (end - start) / stream.time_base)
                for packet in source.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue
                    at = packet.pts * stream.time_base
                    if turn and at < start:
                        continue
                    if at >= end and not (whole and turn == times - 1):
                        break
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, written
                    longer.mux(packet)


def substream(source: Path, target: Path) -> None:
    """The same pictures, as many a second as cameras give for motion detection."""

    def frames(container: av.container.InputContainer) -> Iterator[VideoFrame]:
        taken = 0
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= taken / SUBSTREAM_FPS - 1e-3:
                taken = math.floor(frame.time * SUBSTREAM_FPS + 1e-3) + 1
                yield frame.reformat(*size)

    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        size = (stream.width, stream.height)
        _encode(frames(container), target, size, SUBSTREAM_FPS)


def _encode(frames: Iterator[VideoFrame], target: Path, size: tuple[int, int], fps: int) -> None:
    encoding = ENCODINGS[1]
    with av.open(str(target), "w", format="mp4") as container:
        stream = container.add_stream(encoding.codec, rate=fps)
        encoding.apply(stream.codec_context, size, fps)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, fps), 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
