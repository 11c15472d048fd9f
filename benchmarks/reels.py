"""What the cameras of a benchmark show: real clips, or the demo's where there are none.

Played again and again, a clip of a few seconds brings the same vehicle back before it is forgotten, and no event
comes any more. So the real clips are joined into reels, packet by packet and not encoded anew: every clip twice, then
the next, so that each vehicle stays away for longer than it takes to count as another.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from platoon.media.synthetic.clips import demo_clips
from platoon.settings import Settings

DATA = Path(__file__).parents[2] / "shared" / "data"


REAL = {"highway.mp4": ("JLN390", "JMH552"), "roadside.mp4": ("LS15EBC",)}
"""Plates of the real clips."""


def real_clips() -> dict[Path, tuple[str, ...]]:
    """The real clips, as far as they are there, with the plates that are to be read in them."""
    folder = Path(os.environ.get("PLATOON_DATA", DATA)) / "video"
    return {folder / name: plates for name, plates in REAL.items() if (folder / name).exists()}


def make_reels(folder: Path) -> tuple[str, list[Path]]:
    """("real", reels in `folder` that begin with different clips), or ("demo", the demo's clips, from their cache)."""
    clips = sorted((Path(os.environ.get("PLATOON_DATA", DATA)) / "video").glob("*.mp4"))
    if not clips:
        return "demo", [clip.path for clip in demo_clips(Settings.load().cache / "demo")]
    reels = []
    for first in range(len(clips)):
        order = clips[first:] + clips[:first]
        reels.append(folder / f"{order[0].stem}.ts")
        join([clip for clip in order for _ in range(2)], reels[-1])
    return "real", reels


def join(clips: Sequence[Path], target: Path) -> None:
    """Write the H.264 packets of `clips` one after the other, as an MPEG transport stream.

    There parameter sets travel within the stream, so that clips of different encoders may follow each other.
    """
    with av.open(str(target), "w", format="mpegts") as joined:
        written: av.VideoStream | None = None
        begin_s = end_s = 0.0
        for clip in clips:
            with av.open(str(clip)) as source:
                stream = source.streams.video[0]
                written = written or joined.add_stream_from_template(stream)
                to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
                offset: int | None = None
                for coded in source.demux(stream):
                    for packet in to_annex_b.filter(coded) if coded.size else ():
                        dts, pts = packet.dts or 0, packet.pts or 0
                        if offset is None:
                            offset = round(begin_s / stream.time_base) - dts
                        packet.dts, packet.pts, packet.stream = dts + offset, pts + offset, written
                        end_s = max(end_s, float((pts + offset + (packet.duration or 0)) * stream.time_base))
                        joined.mux(packet)
            begin_s = end_s
