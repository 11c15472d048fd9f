"""Segments cut without decoding show the pictures that they should, whatever their keyframes."""

import io
import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from platoon import sample
from platoon.captions.cutter import Cause, Cut, Cutter
from platoon.errors import Unsupported
from tests.clips import bar_position, picture, write_clip

FPS = 16


def cut(path: Path, change: Any = lambda _: None, **how: float) -> list[Cut]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        cutter = Cutter(stream, every_s=how.get("every_s", 1.0), overlap_s=how.get("overlap_s", 0.0))
        cuts = []
        for packet in container.demux(stream):
            change(packet)
            cuts += cutter.put(packet)
        return cuts + cutter.end()


def shown(one: Cut) -> list[int]:
    """Which pictures of 16 a segment shows within its time."""
    whole = sample(one.mp4, fps=1000)
    within = zip(whole.times_s, whole.pictures, strict=True)
    return [bar_position(rgb) for time_s, rgb in within if time_s < one.end_s - one.start_s - 0.01]


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        (".mp4", {}),
        (".mp4", {"b_frames": 2}),
        (".ts", {"b_frames": 2}),
        (".mp4", {"codec": "libx265", "options": {"x265-params": "open-gop=1:bframes=3:keyint=20:log-level=none"}}),
        (".mkv", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    ],
    ids=["h264", "b-frames", "transport stream", "open groups", "mjpeg"],
)
@pytest.mark.parametrize("keyframe_every", [7, 40])
def test_a_segment_shows_every_picture_of_its_time_and_none_before(
    tmp_path: Path, suffix: str, how: dict[str, Any], keyframe_every: int
) -> None:
    clip = write_clip(tmp_path / f"clip{suffix}", frames=56, fps=FPS, keyframe_every=keyframe_every, **how)
    cuts = cut(clip)
    assert [one.cause for one in cuts] == [Cause.FULL, Cause.FULL, Cause.FULL, Cause.END]
    assert [one.end_s - one.start_s for one in cuts] == pytest.approx([1, 1, 1, 0.5], abs=0.01)
    assert [shown(one) for one in cuts] == [list(range(16))] * 3 + [list(range(8))]


def test_segments_overlap_by_so_much_and_go_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=48, fps=FPS, keyframe_every=9)
    cuts = cut(clip, overlap_s=0.25)
    starts = [one.start_s - cuts[0].start_s for one in cuts]
    assert starts == pytest.approx([0, 0.75, 1.5, 2.25])
    assert shown(cuts[1]) == [number % 16 for number in range(12, 28)]


@pytest.mark.parametrize("by_s", [3600, -0.5])
def test_a_jump_in_time_ends_a_segment_early_and_the_next_begins_with_a_keyframe(tmp_path: Path, by_s: float) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=32, fps=FPS, keyframe_every=4)
    numbers = itertools.count()

    def jump(packet: Any) -> None:
        if packet.size and next(numbers) >= 10:  # within a group of pictures
            packet.pts += round(by_s / packet.time_base)
            packet.dts += round(by_s / packet.time_base)

    cuts = cut(clip, jump)
    assert [one.cause for one in cuts] == [Cause.JUMP, Cause.FULL, Cause.END]
    assert shown(cuts[0]) == list(range(10))
    assert shown(cuts[1])[0] == 12
    assert cuts[1].start_s == pytest.approx(cuts[0].start_s + 12 / FPS + by_s, abs=0.01)


def test_another_size_ends_a_segment_early(tmp_path: Path) -> None:
    raw = b""
    for width in (160, 320):
        path = write_clip(tmp_path / f"{width}.h264", width=width, height=96, frames=8, fps=FPS, keyframe_every=8)
        raw += path.read_bytes()
    whole = tmp_path / "both.ts"
    with av.open(io.BytesIO(raw), format="h264") as source, av.open(str(whole), "w", format="mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.stream, packet.time_base = stream, Fraction(1, FPS)
            packet.pts = packet.dts = number
            target.mux(packet)
    cuts = cut(whole, every_s=10.0)
    assert [one.cause for one in cuts] == [Cause.SIZE, Cause.END]
    assert [sample(one.mp4, n=1).pictures[0].shape[1] for one in cuts] == [160, 320]


def test_a_segment_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=48, fps=FPS, keyframe_every=8)
    monkeypatch.setattr("platoon.captions.cutter.MOST_BYTES", clip.stat().st_size // 3)
    cuts = cut(clip, every_s=60.0)
    assert {one.cause for one in cuts[:-1]} == {Cause.BYTES}
    assert all(len(one.mp4) < clip.stat().st_size / 2 for one in cuts)


def test_what_mp4_does_not_hold_is_named(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", frames=32, fps=FPS, codec="libvpx")
    with pytest.raises(Unsupported, match="vp8"):
        cut(clip)


def test_pictures_differ() -> None:
    assert [bar_position(picture(number, 160, 96)) for number in range(16)] == list(range(16))
