"""Segments cut out of a stream of packets, without decoding: each a recording by itself, from any moment to any other.

A segment is an MP4 file of the very packets. It begins with the keyframe before its first moment, and an edit list says
from when on it is shown. Behind its last moment there are pictures that others within it refer to: two or three of a
stream with B-frames. Times are the stream's own.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import av
import av.error

from platoon.errors import Unsupported

MOST_BYTES: Final = 16 * 2**20
"""Of a segment: ten seconds of 12 Mbit/s. It ends early where it would be more."""
_START_CODE: Final = re.compile(rb"\x00\x00\x01")


class Cause(StrEnum):
    """Why a segment ends where it does."""

    FULL = "full"
    """It is as long as it should be."""
    END = "end"
    """The stream was closed: it is over, was lost, or begins anew."""
    JUMP = "jump"
    """Time stamps went back, or on by more than a segment."""
    SIZE = "size"
    """Pictures are of another size from there on, or coded in another way."""
    BYTES = "bytes"
    """It would have become too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A segment."""

    start_s: float
    """By the stream's own time, as is `end_s`, in seconds."""
    end_s: float
    mp4: bytes
    cause: Cause


class Cutter:
    """Cuts one open stream, for one thread.

    Args:
        stream: whose packets come; it must be open whenever a method is called.
        every_s: how long segments are.
        overlap_s: how much of a segment is the end of the one before.
    """

    def __init__(self, stream: av.VideoStream, *, every_s: float, overlap_s: float = 0.0) -> None:
        self._stream = stream
        self._every, self._overlap = self._units(every_s), self._units(overlap_s)
        self._packets: list[av.Packet] = []
        """From the keyframe before the segment's first moment."""
        self._bytes = 0
        self._start: int | None = None
        """The first moment; none: a keyframe is awaited. In units of the stream."""
        self._shown = 0
        """When the last picture of the segment ends, as far as is known."""
        self._last: int | None = None
        """When the last packet is decoded."""
        self._parameters: bytes | None = None

    def put(self, packet: av.Packet) -> list[Cut]:
        """Take the next packet in order of the stream; the segments that have ended with it."""
        if not packet.size or packet.pts is None or packet.is_corrupt:
            return []
        decoded = packet.pts if packet.dts is None else packet.dts
        cuts: list[Cut] = []
        if self._last is not None and not -1 < decoded - self._last <= self._every:
            cuts += self.end(Cause.JUMP)
        self._last = decoded
        if packet.is_keyframe and (parameters := _parameters(self._stream.codec_context, packet)) is not None:
            if self._parameters is not None and parameters != self._parameters:
                cuts += self.end(Cause.SIZE)
                self._last = decoded
            self._parameters = parameters
        while self._start is not None and decoded >= self._start + self._every:
            cuts += self._cut(self._start, self._start + self._every, Cause.FULL)
            self._start += self._every - self._overlap
            self._let_go(self._start)
        if self._start is not None and self._bytes + packet.size > MOST_BYTES:
            cuts += self.end(Cause.BYTES)
            self._last = decoded
        if self._start is None:
            if not packet.is_keyframe:
                return cuts
            self._start = self._shown = packet.pts
        self._packets.append(packet)
        self._bytes += packet.size
        self._shown = max(self._shown, packet.pts + (packet.duration or 0))
        return cuts

    def end(self, cause: Cause = Cause.END) -> list[Cut]:
        """The segment up to here, if anything of it is shown; the next one begins with a keyframe."""
        cuts = []
        if self._start is not None:
            cuts = self._cut(self._start, min(max(self._shown, self._start + 1), self._start + self._every), cause)
        self._packets, self._bytes, self._start, self._last = [], 0, None, None
        return cuts

    def _cut(self, start: int, end: int, cause: Cause) -> list[Cut]:
        """The segment, if it shows any picture."""
        if not any(start <= (packet.pts or 0) < end for packet in self._packets):
            return []
        base = self._stream.time_base
        return [Cut(start_s=float(start * base), end_s=float(end * base), mp4=self._muxed(start), cause=cause)]

    def _muxed(self, start: int) -> bytes:
        """What there is, as a file that is shown from `start` on.

        Raises:
            Unsupported: the codec does not go into MP4.
        """
        file = io.BytesIO()
        # Stamps before zero are what makes the edit list.
        options = {"avoid_negative_ts": "disabled"}
        try:
            with av.open(file, "w", format="mp4", options=options) as container:
                stream: Any = container.add_stream_from_template(self._stream)
                for packet in self._packets:
                    copy = av.Packet(bytes(packet))
                    copy.pts = None if packet.pts is None else packet.pts - start
                    copy.dts = copy.pts if packet.dts is None else packet.dts - start
                    copy.time_base, copy.duration = packet.time_base, packet.duration or 0
                    copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                    container.mux_one(copy)
        except (av.error.FFmpegError, ValueError) as error:
            name = self._stream.codec_context.name
            raise Unsupported(f"its codec {name} cannot be cut into MP4 ({type(error).__name__})") from error
        return file.getvalue()

    def _let_go(self, start: int) -> None:
        """Forget what comes before the keyframe from which a segment is decoded."""
        key = 0
        for number, packet in enumerate(self._packets):
            if packet.is_keyframe and packet.pts is not None and packet.pts <= start:
                key = number
        del self._packets[:key]
        self._bytes = sum(packet.size for packet in self._packets)

    def _units(self, seconds: float) -> int:
        return round(seconds / float(self._stream.time_base))


def _parameters(context: Any, packet: av.Packet) -> bytes | None:
    """The sequence parameter set that a keyframe brings, as streams of cameras do; none: it brings none."""
    codec = context.name
    if codec not in ("h264", "hevc") or (context.extradata or b"")[:1] == b"\x01":  # in files they have a place apart
        return None
    data = bytes(packet)
    starts = [found.end() for found in _START_CODE.finditer(data, 0, 4096)]
    for start, following in zip(starts, [*starts[1:], len(data) + 3], strict=True):
        if start >= len(data):
            continue
        kind = data[start] & 0x1F if codec == "h264" else data[start] >> 1 & 0x3F
        if kind == (7 if codec == "h264" else 33):
            return data[start : following - 3].rstrip(b"\x00")
    return None
