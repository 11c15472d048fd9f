"""Which pictures a recording has, when each is shown, and where decoding must begin to get it.

One demux without decoding says all that, but for the head, which is decoded until pictures come: of a recording that
begins in the middle of a group of pictures, those are shown that can be decoded. What headers say of counts is not
believed. A stream without time stamps is decoded through instead: only its decoder knows the order of its pictures.

Arrays of some 30 bytes a picture: the index of two hours at 30 frames a second takes 6 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import av.error
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from platoon.media.failures import SourceError, SourceFailure
from platoon.media.input import Input
from platoon.media.sampling import ROUNDING_S

_NO_STAMP: Final = -(2**63)
_RESTART_S: Final = 1.0
"""A decoding time so far back is a clock that began anew, as where two recordings were joined."""
_OWED: Final = 256
"""Packets for which a decoder may still owe a picture; none holds back so many."""
_REORDERED_MOST: Final = 16
"""Packets after a keyframe that may be shown before it."""
_SETTLING: Final = 32
"""Packets within which all pictures come, once the first one has that is not of the first packet."""
_USUAL_FPS: Final = 25.0
"""Of streams that say neither times nor a rate."""

Numbers = NDArray[np.int64]
"""Pictures by their place in the order in which they are shown, from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameIndex:
    """The pictures of a recording, by number in the order in which they are shown; see `build`."""

    times_s: NDArray[np.float64]
    """When each picture is shown, in seconds from the first; ascending, of shape (pictures,)."""
    end_s: float
    """When the last one ends."""
    packets: NDArray[np.int32]
    """The packet of each picture, by number in the order of the file, (pictures,)."""
    numbers: NDArray[np.int32]
    """The picture of each packet, (packets,); -1: it gives none that is shown."""
    stamps: NDArray[np.int64]
    """Presentation time of each packet (PTS), in units of the stream, (packets,)."""
    sizes: NDArray[np.int32]
    """Bytes of each packet, (packets,)."""
    keyframes: NDArray[np.int32]
    """Packets at which decoding can begin, ascending; the first packet is always among them."""
    key_stamps: NDArray[np.int64]
    """When each keyframe is decoded (DTS), (keyframes,): FFmpeg seeks to that."""
    timed: bool
    """Whether every packet has a time stamp of its own, by which its picture is known again."""
    restarts: NDArray[np.int32]
    """Packets at which time stamps begin anew."""
    rotation: int
    """By how many degrees the pictures are turned anticlockwise to stand upright: 0, 90, 180 or 270."""
    sample_aspect: Fraction
    """Width of a sample of a picture to its height."""
    cut_off: str | None
    """Why it ends before its time, for people; none: as far as one can tell, it does not."""

    @classmethod
    def build(cls, open_input: Callable[[], Input]) -> FrameIndex:
        """Read a recording through.

        Args:
            open_input: opens it, from its beginning each time.

        Raises:
            SourceError: it cannot be opened, or no picture of it can be decoded.
        """
        for through in (False, True):
            with closing(open_input()) as source:
                scan = _Scan(source, through=through)
                if through or scan.timed:
                    return scan.index()
        raise AssertionError  # the second one is taken whatever it finds

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.packets)

    def uniform(self, n: int) -> Numbers:
        """The first, the last and others evenly between: all, where there are fewer than `n`; for 1, the first."""
        return np.linspace(0, len(self) - 1, min(n, len(self)), dtype=np.int64)

    def rate(self, fps: float, most: int | None = None) -> Numbers:
        """What is shown at each multiple of 1 / `fps` seconds, no picture twice; where these are more than `most`, so
        many spread evenly.
        """
        multiples = np.ceil((np.append(self.times_s, self.end_s) - ROUNDING_S / 2) * fps)
        numbers = np.flatnonzero(np.diff(multiples) > 0)
        return numbers if most is None or len(numbers) <= most else self.uniform(most)

    def at(self, times_s: Sequence[float] | NDArray[np.float64]) -> Numbers:
        """What is shown at each of these times, in seconds; -1: nothing, as it is behind the end."""
        times = np.asarray(times_s, np.float64)
        # Time stamps are rounded, mostly to milliseconds: whoever asks for 2/3 s means the picture at 0.667.
        found = np.maximum(np.searchsorted(self.times_s, times + ROUNDING_S / 2, side="right") - 1, 0)
        return np.where(times > self.end_s + ROUNDING_S, -1, found).astype(np.int64)

    def nearest_keyframes(self, numbers: Numbers) -> Numbers:
        """For each picture the keyframe that is shown nearest to it; itself, if there is no keyframe."""
        keys = np.sort(self.numbers[self.keyframes])
        keys = keys[keys >= 0]
        if not keys.size:
            return numbers
        behind = np.minimum(np.searchsorted(keys, numbers), len(keys) - 1)
        before, after = keys[np.maximum(behind - 1, 0)], keys[behind]
        is_nearer = self.times_s[after] - self.times_s[numbers] < self.times_s[numbers] - self.times_s[before]
        return np.where(is_nearer | (after == numbers), after, before).astype(np.int64)

    def start_of(self, packet: int) -> int:
        """The place in `keyframes` from which a packet is decoded.

        A picture that is shown before the keyframe it follows in the file belongs to an open group of pictures, and
        refers to the group before.
        """
        key = int(np.searchsorted(self.keyframes, packet, side="right")) - 1
        while key and self.is_later(int(self.keyframes[key]), packet):
            key -= 1
        return key

    def is_open(self, key: int) -> bool:
        """Whether pictures that are shown before a keyframe, number `key` of `keyframes`, follow it in the file."""
        start = int(self.keyframes[key])
        return bool((self.stamps[start + 1 : start + 1 + _REORDERED_MOST] < self.stamps[start]).any())

    def find(self, packet: av.Packet) -> int | None:
        """The number of a packet that was read after seeking; none: no one packet is like it."""
        (found,) = np.nonzero((self.stamps == packet.pts) & (self.sizes == packet.size))
        return int(found[0]) if len(found) == 1 else None

    def is_later(self, one: int, other: int) -> bool:
        """Whether the picture of packet `one`, which comes first in the file, is shown after that of `other`."""
        restarted = bool(np.searchsorted(self.restarts, one, "right") != np.searchsorted(self.restarts, other, "right"))
        return not restarted and bool(self.stamps[one] > self.stamps[other])


class FedPackets:
    """Which packet a decoded picture is of, among those that a decoder was fed.

    FFmpeg hands a mark of ours from packet to picture; but a picture of VP9 that is shown later than it was decoded has
    the mark of its decoding, so the time stamp says it wherever there is one.
    """

    def __init__(self, source: Input) -> None:
        source.stream.codec_context.flags |= Flags.copy_opaque
        self._by_stamp: dict[int, int] = {}

    def add(self, number: int, packet: av.Packet) -> None:
        """A packet that goes to the decoder now."""
        packet.opaque = number
        if packet.pts is not None:
            self._by_stamp.pop(packet.pts, None)
            self._by_stamp[packet.pts] = number
            if len(self._by_stamp) > _OWED:
                del self._by_stamp[next(iter(self._by_stamp))]

    def number_of(self, picture: av.VideoFrame, *, timed: bool) -> int | None:
        """The number of its packet; none: it is of none of the last packets."""
        return self._by_stamp.get(picture.pts) if timed else picture.opaque


class _Scan:
    """Reads a recording through, for its index.

    Args:
        through: all of it is decoded; otherwise its head, and reading ends at the first packet without a time stamp.
    """

    def __init__(self, source: Input, *, through: bool) -> None:
        self._source, self._through = source, through
        self._fed = FedPackets(source)
        self._context = source.stream.codec_context
        self._stamps, self._sizes, self._keyframes, self._key_stamps = array("q"), array("i"), array("i"), array("q")
        self._restarts = array("i")
        self._hidden = bytearray()
        self._shown = array("i")
        """Packets of the pictures that were decoded, in the order in which they came."""
        self._shown_stamps = array("q")
        self._rotation = 0
        self._last_stamp, self._last_duration = _NO_STAMP, 0
        self._broken: SourceError | None = None
        self.timed = True
        """Whether every packet has a time stamp of its own."""
        self._read()
        self.timed = self.timed and self._is_distinct()

    def _read(self) -> None:
        before: int | None = None
        decoded_at: int | None = None
        try:
            for packet in self._source.packets():
                if not packet.size:
                    continue
                number = len(self._stamps)
                self.timed = self.timed and packet.pts is not None
                if not self.timed and not self._through:
                    return
                if packet.dts is not None:
                    back_s = float(((decoded_at or packet.dts) - packet.dts) * packet.time_base)
                    goes_on = before is not None and packet.dts > before  # after one stamp that was damaged
                    if back_s > _RESTART_S and not goes_on:
                        self._restarts.append(number)
                        self._last_stamp = _NO_STAMP
                    before, decoded_at = decoded_at, packet.dts
                self._add(number, packet)
                if self._decodes(number):
                    self._fed.add(number, packet)
                    self._decode(packet)
        except SourceError as error:
            self._broken = error
        if self._decodes(len(self._stamps) - 1):
            self._decode(None)

    def _decodes(self, number: int) -> bool:
        """Whether a packet is to be decoded."""
        if self._through or not self._shown:
            return True
        return self._shown[0] > 0 and number <= self._shown[0] + _SETTLING

    def _add(self, number: int, packet: av.Packet) -> None:
        stamp = _NO_STAMP if packet.pts is None else packet.pts
        if not number or (packet.is_keyframe and not packet.is_corrupt and not self._through):
            self._keyframes.append(number)
            self._key_stamps.append(stamp if packet.dts is None else packet.dts)
        self._stamps.append(stamp)
        self._sizes.append(packet.size)
        self._hidden.append(packet.is_discard)
        if not packet.is_discard and stamp >= self._last_stamp:
            self._last_stamp, self._last_duration = stamp, packet.duration or 0

    def _decode(self, packet: av.Packet | None) -> None:
        try:
            pictures = self._context.decode(packet)
        except av.error.FFmpegError:
            self._source.check_size(self._context.width, self._context.height)
            return
        for picture in pictures:
            number = self._fed.number_of(picture, timed=not self._through)
            if not picture.is_corrupt and number is not None and not self._hidden[number]:
                self._source.check_size(picture.width, picture.height)
                self._shown.append(number)
                self._shown_stamps.append(_NO_STAMP if picture.pts is None else picture.pts)
                self._rotation = self._rotation if len(self._shown) > 1 else picture.rotation % 360

    def index(self) -> FrameIndex:
        """What was read. Raises SourceError if no picture came."""
        if not self._shown:
            raise self._broken or self._source.error(SourceFailure.CORRUPT, "no picture of it could be decoded")
        stream, stamps, restarts = self._source.stream, np.array(self._stamps), np.array(self._restarts, np.int32)
        if self._through:
            visible = np.array(self._shown)
            period_s = 1 / (self._source.fps or _USUAL_FPS)
            times_s = self._decoded_times(period_s)
        else:
            visible = self._in_order()
            came = np.flatnonzero(np.isin(visible, self._shown))
            visible = np.concatenate([visible[came], visible[came[-1] + 1 :]])
            times_s = self._continued(stamps[visible] * float(stream.time_base), visible, restarts)
            period_s = self._last_duration * float(stream.time_base) or self._period_s(times_s)
        numbers = np.full(len(stamps), -1, np.int32)
        numbers[visible] = np.arange(len(visible))
        announced = not self._through and not len(restarts)
        ends_at_s = self._last_stamp * float(stream.time_base) + period_s if announced else 0.0
        return FrameIndex(
            times_s=times_s,
            end_s=float(times_s[-1] + period_s),
            packets=visible.astype(np.int32),
            numbers=numbers,
            stamps=stamps,
            sizes=np.array(self._sizes),
            keyframes=np.array(self._keyframes),
            key_stamps=np.array(self._key_stamps),
            timed=not self._through,
            restarts=restarts,
            rotation=self._rotation,
            sample_aspect=Fraction(stream.sample_aspect_ratio or 1),
            cut_off=str(self._broken) if self._broken else self._source.shortfall(ends_at_s),
        )

    def _in_order(self) -> NDArray[np.int64]:
        """The packets that are not hidden, in the order in which they are shown by their time stamps."""
        (visible,) = np.nonzero(~np.frombuffer(self._hidden, np.bool_))
        run = np.searchsorted(np.array(self._restarts), visible, side="right")
        return np.asarray(visible[np.lexsort((np.array(self._stamps)[visible], run))], np.int64)

    def _is_distinct(self) -> bool:
        """Whether no two pictures in a row are shown at the same time."""
        return bool((np.diff(np.array(self._stamps)[self._in_order()]) != 0).all())

    def _decoded_times(self, period_s: float) -> NDArray[np.float64]:
        """Times of the pictures that were decoded, by their own stamps if these ascend, or one each `period_s`."""
        stamps = np.array(self._shown_stamps)
        steps = np.diff(stamps)
        if (stamps == _NO_STAMP).any() or (steps < 0).any() or not steps.any():
            return np.arange(len(stamps), dtype=np.float64) * period_s
        return np.asarray((stamps - stamps[0]) * float(self._source.stream.time_base), np.float64)

    def _continued(
        self, times_s: NDArray[np.float64], packets: NDArray[np.int64], restarts: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Times from the first picture on, in seconds; where time stamps begin anew, they go on a period later."""
        times_s = (times_s - times_s[0]).astype(np.float64)
        run = np.searchsorted(restarts, packets, side="right")
        for first in np.flatnonzero(np.diff(run)) + 1:
            times_s[first:] += times_s[first - 1] + self._period_s(times_s[:first]) - times_s[first]
        return times_s

    def _period_s(self, times_s: NDArray[np.float64]) -> float:
        """How long a picture is shown, by those there are."""
        return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1 / (self._source.fps or _USUAL_FPS)
