"""Recordings of a few kilobytes with everything in them that makes seeking go wrong, made on the spot."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from platoon.media.frame import Pixels

FRAMES = 45
WIDTH, HEIGHT = 64, 48


def drawn(number: int) -> Pixels:
    """Picture `number`: a slope that moves, and blocks that are others in each picture."""
    slope = (np.arange(WIDTH)[None] * 2 + np.arange(HEIGHT)[:, None] + 5 * number) % 256
    blocks = np.random.default_rng(number).integers(0, 80, (HEIGHT // 8, WIDTH // 8, 3))
    return (slope[:, :, None] * 0.6 + blocks.repeat(8, axis=0).repeat(8, axis=1)).astype(np.uint8)


def encode(
    path: Path,
    codec: str,
    options: dict[str, str] | None = None,
    *,
    stamps: Sequence[int] = range(FRAMES),
    time_base: Fraction = Fraction(1, 30),
    container_options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    degrees: int = 0,
    first: int = 0,
) -> Path:
    """Encode `drawn` pictures, from number `first` on, with these time stamps and a keyframe every 10 of them.

    The suffix chooses the container.
    """
    with av.open(str(path), "w", options={"fflags": "bitexact", **(container_options or {})}) as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, pixel_format, 10
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        if degrees:
            stream.set_display_rotation(degrees)
        for number, stamp in enumerate(stamps, first):
            frame = av.VideoFrame.from_ndarray(drawn(number), format="rgb24")
            frame.pts, frame.time_base, frame.pict_type = stamp, time_base, 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remuxed(source: Path, path: Path, change: Callable[[int, av.Packet], bool]) -> Path:
    """The same packets in another container, each after `change`, which says whether it stays."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if packet.size and change(number, packet):
                packet.stream = stream
                container.mux(packet)
    return path


def _x264(**more: str) -> dict[str, str]:
    # Macroblock trees of so small pictures are others each time.
    parameters = {"mbtree": "0", "bframes": "3", "b-pyramid": "normal", "scenecut": "0", "threads": "1", **more}
    return {"preset": "veryfast", "x264-params": ":".join(f"{key}={value}" for key, value in parameters.items())}


def _x265(more: str) -> dict[str, str]:
    return {"preset": "ultrafast", "x265-params": f"log-level=none:pools=none:frame-threads=1:bframes=4:{more}"}


def _cut_in_a_group(path: Path) -> Path:
    whole = encode(path.with_name("whole.ts"), "libx264", _x264())
    data = whole.read_bytes()
    with av.open(str(whole)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][4]
    path.write_bytes(data[place // 188 * 188 :])
    return path


def _without_labels(path: Path, *, cut: bool) -> Path:
    """Intra pictures in the middle are no IDR and have no recovery points: nothing calls them keyframes."""
    whole = encode(path.with_name("labelled.ts"), "libx264", _x264(**{"open-gop": "1"}))
    with av.open(str(whole)) as labelled, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(labelled.streams.video[0])
        units = BitStreamFilterContext("filter_units=remove_types=6", labelled.streams.video[0], stream)
        for number, packet in enumerate(labelled.demux(video=0)):
            if packet.size and not (cut and number < 4):
                for bare in units.filter(packet):
                    bare.stream = stream
                    container.mux(bare)
    return path


def _edited(path: Path) -> Path:
    """An edit list leaves out the keyframe at the beginning and four pictures behind it."""
    return remuxed(
        encode(path.with_name("whole.mp4"), "libx264", _x264()), path, lambda _, packet: _shifted(packet, -2560)
    )


def _late(path: Path) -> Path:
    whole = encode(path.with_name("whole.mp4"), "libx264", _x264())
    return remuxed(whole, path, lambda _, packet: _shifted(packet, 51200))


def _shifted(packet: av.Packet, ticks: int) -> bool:
    packet.pts += ticks
    packet.dts += ticks
    return True


def _call_keyframe(_: int, packet: av.Packet) -> bool:
    packet.is_keyframe = True
    return True


def _all_called_keyframes(path: Path) -> Path:
    return remuxed(encode(path.with_name("whole.mp4"), "libx264", _x264()), path, _call_keyframe)


def _at_zero(path: Path) -> Path:
    """Every picture is shown at 0."""

    def stop(_: int, packet: av.Packet) -> bool:
        packet.pts = packet.dts = 0
        return True

    return remuxed(encode(path.with_name("whole.mp4"), "libx264", _x264()), path, stop)


def _joined(path: Path) -> Path:
    one = encode(path.with_name("one.ts"), "libx264", _x264(), stamps=range(90, 120))
    other = encode(path.with_name("other.ts"), "libx264", _x264(), stamps=range(25), first=30)
    path.write_bytes(one.read_bytes() + other.read_bytes())
    return path


def _of_two_videos(path: Path) -> Path:
    whole = encode(path.with_name("whole.mp4"), "libx264", _x264())
    with av.open(str(whole)) as large, av.open(str(path), "w") as container:
        small = container.add_stream("mpeg4", rate=30)
        small.width, small.height, small.pix_fmt = 32, 16, "yuv420p"
        stream = container.add_stream_from_template(large.streams.video[0])
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(drawn(number)[:16, :32], format="rgb24")
            frame.pts = number
            container.mux(small.encode(frame))
        container.mux(small.encode())
        for packet in large.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return path


def _intervals() -> list[int]:
    return [int(stamp) for stamp in np.cumsum(np.random.default_rng(3).integers(5, 90, FRAMES))]


SOUND: dict[str, Callable[[Path], Path]] = {
    "x264.mp4": lambda path: encode(path, "libx264", _x264()),
    "x264-open.mkv": lambda path: encode(path, "libx264", _x264(**{"open-gop": "1"})),
    "x264-open.ts": lambda path: encode(path, "libx264", _x264(**{"open-gop": "1"})),
    "x264-interlaced.mp4": lambda path: encode(path, "libx264", _x264(tff="1")),
    "x264-refreshed.mp4": lambda path: encode(path, "libx264", _x264(**{"intra-refresh": "1"})),
    "x264.flv": lambda path: encode(path, "libx264", _x264()),
    "fragmented.mp4": lambda path: encode(
        path, "libx264", _x264(), container_options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "x265-open.mp4": lambda path: encode(path, "libx265", _x265("open-gop=1")),
    "x265-radl.ts": lambda path: encode(path, "libx265", _x265("open-gop=0:radl=2")),
    "x265-layers.mkv": lambda path: encode(path, "libx265", _x265("temporal-layers=3:open-gop=1")),
    "av1.mkv": lambda path: encode(path, "libsvtav1", {"preset": "11", "svtav1-params": "lp=1"}),
    "av1.mp4": lambda path: encode(path, "libsvtav1", {"preset": "11", "svtav1-params": "lp=1"}),
    "vp9.webm": lambda path: encode(path, "libvpx-vp9", {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp8.webm": lambda path: encode(path, "libvpx", {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "mpeg2.ts": lambda path: encode(path, "mpeg2video", {"bf": "2"}),
    "mpeg4.avi": lambda path: encode(path, "mpeg4", {"bf": "2"}),
    "mjpeg.avi": lambda path: encode(path, "mjpeg", pixel_format="yuvj420p"),
    "bare.h264": lambda path: encode(path, "libx264", _x264()),
    "bare.hevc": lambda path: encode(path, "libx265", _x265("open-gop=1")),
    "cut-in-a-group.ts": _cut_in_a_group,
    "no-labels.ts": lambda path: _without_labels(path, cut=False),
    "no-labels-cut-in-a-group.ts": lambda path: _without_labels(path, cut=True),
    "edited.mp4": _edited,
    "late.mp4": _late,
    "late.mkv": _late,
    "intervals.mkv": lambda path: encode(path, "libx264", _x264(), stamps=_intervals(), time_base=Fraction(1, 1000)),
    "rotated.mp4": lambda path: encode(path, "libx264", _x264(), degrees=90),
    "all-keyframes.mp4": _all_called_keyframes,
    "all-keyframes.avi": lambda path: remuxed(encode(path.with_name("whole.avi"), "mpeg4"), path, _call_keyframe),
    "joined.ts": _joined,
    "at-zero.mkv": _at_zero,
    "two-videos.mkv": _of_two_videos,
}
"""Recordings of which every visible picture can be had, by name."""


def _with_noise(source: Path, path: Path, *, of: int = 12) -> Path:
    """Bytes of the middle third are others, at `of` places."""
    noise = np.random.default_rng(5)
    data = bytearray(source.read_bytes())
    for place in noise.integers(len(data) // 3, 2 * len(data) // 3, of):
        data[place : place + 24] = noise.bytes(24)
    path.write_bytes(data)
    return path


def _without_middle(source: Path, path: Path) -> Path:
    data = source.read_bytes()
    third = len(data) // 3 // 188 * 188
    path.write_bytes(data[:third] + data[third + len(data) // 6 // 188 * 188 :])
    return path


def _cut_off(source: Path, path: Path) -> Path:
    data = source.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return path


def _first(path: Path) -> Path:
    return encode(
        path.with_name(f"sound{path.suffix}"), "libx264", _x264(), container_options=_INDEX_FIRST[path.suffix]
    )


_INDEX_FIRST = {".mp4": {"movflags": "faststart"}, ".mkv": {}, ".ts": {}}

DAMAGED: dict[str, Callable[[Path], Path]] = {
    "noise.mp4": lambda path: _with_noise(_first(path), path),
    "noise.mkv": lambda path: _with_noise(_first(path), path),
    "noise.ts": lambda path: _with_noise(_first(path), path),
    "hole.ts": lambda path: _without_middle(_first(path), path),
    "cut-off.mp4": lambda path: _cut_off(_first(path), path),
    "cut-off.mkv": lambda path: _cut_off(_first(path), path),
    "cut-off.ts": lambda path: _cut_off(_first(path), path),
    "noise-av1.mp4": lambda path: _with_noise(
        encode(path.with_name("sound.mp4"), "libsvtav1", {"preset": "11", "svtav1-params": "lp=1"}), path, of=3
    ),
    "noise-hevc.mp4": lambda path: _with_noise(
        encode(path.with_name("sound.mp4"), "libx265", _x265("open-gop=1")), path, of=3
    ),
}
"""Recordings of which not all can be had, by name."""
