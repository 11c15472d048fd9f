"""Exact pictures of a recording, for the decoding of the groups of pictures that they are in.

Promises the very pictures that decoding everything gives, or a reason for each that cannot be had. Where each lies
comes from a `FrameIndex` of our own; seeking is FFmpeg's, which may lead anywhere: the packets that come then are
looked up in the index, and where they are none of it, the recording is read from its beginning. Memory is that of the
index and one picture, however long a recording is. One group is decoded after the other, on one thread.
"""

from __future__ import annotations

import io
import math
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import av
import av.error
import numpy as np
from av.codec.hwaccel import HWAccel
from numpy.typing import NDArray

from platoon.errors import InvalidInput, InvalidSettings
from platoon.media.decode import planar_frame
from platoon.media.failures import SourceError, SourceFailure
from platoon.media.frame import Pixels
from platoon.media.frame_index import FedPackets, FrameIndex, Numbers
from platoon.media.input import Input
from platoon.metrics import PixelMeter
from platoon.settings import SourceSettings

Source = str | Path | bytes | bytearray | memoryview | BinaryIO
"""A path, `file://`, `http(s)://`, the bytes of a file, or a file that is open for reading."""

_MARK_UNREFERENCED: Final = frozenset({"h264", "mpeg2video"})
"""Codecs whose pictures say whether another refers to them. HEVC says so within a temporal layer only."""
_LOOKED_UP: Final = 8
"""Packets after a seek that may be none of the index, as one whose beginning was not read."""
_EARLIER: Final = (0, 1, 4, 16)
"""How many keyframes before the one that is wanted FFmpeg is sent to, one after the other, while it goes past it."""

_DAMAGED: Final = "its data, or data of a picture that it refers to, are damaged"


@dataclass(frozen=True, slots=True)
class Missing:
    """Something of a recording that was wanted and cannot be had."""

    time_s: float | None
    """Of the picture, from the first visible one, in seconds; none: it is about no single picture."""
    reason: str
    """For people."""

    def __str__(self) -> str:
        return self.reason if self.time_s is None else f"{self.time_s:.3f} s: {self.reason}"


@dataclass(frozen=True, slots=True)
class Sample:
    """Pictures of a recording, in the order in which they were wished for."""

    pictures: list[Pixels] = field(default_factory=list)
    """Each (height, width, 3) uint8 RGB, upright; samples that are not square are left as they are."""
    times_s: list[float] = field(default_factory=list)
    """When each is shown, in seconds from the first visible picture."""
    missing: list[Missing] = field(default_factory=list)
    """One for each picture that could not be had, and one more if the recording ends before its time."""


class PictureSampler:
    """Decodes pictures of a recording by their numbers; for one thread, and closed when done with.

    Args:
        open_input: opens the recording, from its beginning each time.
        as_rgb: makes the upright picture.

    Raises:
        SourceError: it cannot be opened, or no picture of it can be decoded.
    """

    def __init__(self, open_input: Callable[[], Input], *, as_rgb: Callable[[av.VideoFrame], Pixels] | None = None):
        self._open_input, self._as_rgb = open_input, as_rgb or upright
        self.index = FrameIndex.build(open_input)
        self.decoded = 0
        """Pictures that the decoder gave, wanted or not."""
        self._strict = True
        self._input = self._opened()
        self._fed = FedPackets(self._input)
        self._start = 0
        """The keyframe at which a run of decoding began."""
        self._damage_at: int | None = None
        """The first packet of a run of decoding that was seen to be damaged."""
        self._seeks = True
        """Whether what comes after a seek has always been what the index says."""

    def pictures(self, numbers: Numbers) -> Iterator[tuple[int, Pixels | str]]:
        """Each of these pictures once, group by group, with its number; a text says why it cannot be had.

        Raises:
            SourceError: the recording is no longer what it was, or exceeds the pixel limit.
        """
        starts = ((self.index.start_of(int(self.index.packets[number])), int(number)) for number in np.unique(numbers))
        for key, group in groupby(starts, key=lambda start: start[0]):
            yield from self._group(key, {number for _, number in group})

    def close(self) -> None:
        """Free the decoder."""
        self._input.close()

    def _group(self, key: int, wanted: set[int]) -> Iterator[tuple[int, Pixels | str]]:
        """The pictures that are decoded from keyframe number `key` on.

        What refers to damaged data depends on all that was decoded before, as the decoder makes up for it from there.
        So where one does not come, or damage is seen, decoding begins anew, at an earlier group that is whole.
        """
        step, is_final = 2, (yield from self._attempt(key, wanted, careful=False))
        while wanted and not is_final:
            key, step = max(key - step, 0), 2 * step
            is_final = (yield from self._attempt(key, wanted, careful=True)) or not key
        yield from ((number, _DAMAGED) for number in sorted(wanted))

    def _attempt(self, key: int, wanted: set[int], *, careful: bool) -> Generator[tuple[int, Pixels | str], None, bool]:
        """Take pictures out of those that are `wanted`; whether no earlier beginning would bring more of them.

        Args:
            careful: the decoder makes the best of what is damaged, and nothing is left out.
        """
        first: int | None = None
        self._damage_at = None
        try:
            packets = {int(self.index.packets[number]) for number in wanted}
            for packet, picture in self._decoded(key, packets, all_of_them=careful):
                if self._damage_at is not None and (not careful or self._is_damaged(key)):
                    return False
                number = int(self.index.numbers[packet])
                if first is None and number >= 0:
                    # No keyframe, whatever it is called; or one that does not come itself, as it is damaged.
                    if key and not (_is_intra(picture) if packet == self._start else careful):
                        return False
                    first = number
                if number in wanted:
                    wanted.remove(number)
                    yield number, self._as_rgb(picture)
        except _LostError:
            self._seeks = False
            return (yield from self._attempt(key, wanted, careful=careful))
        return careful and first is not None and first <= min(wanted, default=first)

    def _decoded(self, key: int, packets: set[int], *, all_of_them: bool) -> Iterator[tuple[int, av.VideoFrame]]:
        """What comes out of the decoder from a keyframe to the last of `packets`; of pictures that no other refers to
        only these, but for `all_of_them`.
        """
        last, self._start = max(packets), int(self.index.keyframes[key])
        # At the beginning of an open group a strict decoder finds fault with what is sound.
        self._make(strict=not all_of_them and not self.index.is_open(key))
        for number, packet in self._packets_from(key):
            context = self._input.stream.codec_context
            if context.name in _MARK_UNREFERENCED:
                context.skip_frame = "DEFAULT" if all_of_them or number in packets else "NONREF"
            self._fed.add(number, packet)
            if packet.is_corrupt:
                self._damaged(number)
            yield from self._given(number, packet)
            if number >= last:
                break
        yield from self._given(last, None)

    def _given(self, at: int, packet: av.Packet | None) -> Iterator[tuple[int, av.VideoFrame]]:
        """The sound pictures that come out for packet number `at`, or behind it at the end, with their packets."""
        context = self._input.stream.codec_context
        try:
            pictures = context.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            self._input.check_size(context.width, context.height)
            self._damaged(at)
            return
        for picture in pictures:
            self.decoded += 1
            number = self._fed.number_of(picture, timed=self.index.timed)
            if picture.is_corrupt:
                self._damaged(at if number is None else number)
            elif number is not None:
                self._input.check_size(picture.width, picture.height)
                yield number, picture

    def _damaged(self, packet: int) -> None:
        """A packet was seen to be damaged; none of an open group where decoding began, as it refers further back."""
        if self.index.is_later(self._start, packet):
            return
        self._damage_at = packet if self._damage_at is None else min(packet, self._damage_at)

    def _is_damaged(self, key: int) -> bool:
        """Whether the group that begins at a keyframe is damaged, and not the first: no decoding begins there."""
        if not key or self._damage_at is None:
            return False
        return key + 1 == len(self.index.keyframes) or self._damage_at < self.index.keyframes[key + 1]

    def _packets_from(self, key: int) -> Iterator[tuple[int, av.Packet]]:
        """The packets from a keyframe on with their numbers, to where reading breaks. Raises _LostError."""
        start = int(self.index.keyframes[key])
        found = self._sought(key) if self._seeks and start else None
        if found is None:
            self._input.close()
            self._input = self._opened()
        self._fed = FedPackets(self._input)
        number, packets = found or (0, self._input.packets())
        try:
            for packet in packets:
                if not packet.size:
                    continue
                if number == len(self.index.stamps):
                    return
                if found is not None and packet.pts != self.index.stamps[number]:
                    raise _LostError
                if number >= start:
                    yield number, packet
                number += 1
        except SourceError:  # as it broke for the index
            return

    def _make(self, *, strict: bool) -> None:
        """Have a decoder that says which data are damaged, or one that makes the best of them."""
        if strict != self._strict:
            self._strict = strict
            self._input.close()
            self._input = self._opened()

    def _opened(self) -> Input:
        source = self._open_input()
        if self._strict:
            context = source.stream.codec_context
            context.options = {**context.options, "err_detect": "explode"}
        return source

    def _sought(self, key: int) -> tuple[int, Iterator[av.Packet]] | None:
        """Seek to a keyframe or before it: the number of the packet there, and the packets from it on; none: seeking
        leads nowhere that is known.
        """
        for earlier in _EARLIER:
            if not self._input.seek(int(self.index.key_stamps[max(key - earlier, 0)])):
                return None
            packets = self._input.packets()
            try:
                for packet in islice(packets, _LOOKED_UP):
                    number = self.index.find(packet)
                    if number is not None:
                        if number <= self.index.keyframes[key]:
                            return number, chain([packet], packets)
                        break
            except SourceError:
                return None
            if earlier >= key:
                return None
        return None


class _LostError(Exception):
    """After a seek came what the index does not know."""


def sample(
    source: Source,
    *,
    n: int | None = None,
    fps: float | None = None,
    max_frames: int | None = None,
    at_s: Sequence[float] | NDArray[np.floating[Any]] | None = None,
    exact: bool = True,
    device: str = "cpu",
) -> Sample:
    """Pictures of a recording, the same as if all of it were decoded: `sample("clip.mp4", n=8).pictures`.

    Args:
        source: a path, `file://`, `http(s)://`, the bytes of a file, or a file open for reading; one that cannot seek
            is copied to a temporary file first.
        n: so many pictures, from the first to the last, evenly over their number (`linspace(0, N - 1, n)`, rounded
            down).
        fps: or what is shown at each multiple of 1 / `fps` seconds, no picture twice.
        max_frames: of these at most so many; more are replaced by so many evenly over all.
        at_s: or what is shown at each of these times, in seconds from the first visible picture.
        exact: otherwise the nearest keyframe takes the place of each picture, which costs a decoded picture each.
        device: where it is decoded, `cpu`, `cuda` or `cuda:1`; not run on a GPU yet. Pictures come to the host.

    Raises:
        InvalidInput: not exactly one of `n`, `fps` and `at_s` is given, or none that can be.
        InvalidSettings: the device cannot decode; the message says what is missing.
        SourceError: no file, no video, empty, damaged as a whole, over the pixel limit, or a live stream.
    """
    times = None if at_s is None else [float(time_s) for time_s in at_s]
    _check_wishes(n, fps, max_frames, times)
    with _named_file(source) as (name, file), closing(_sampler(name, file, device)) as sampler:
        index, result = sampler.index, Sample()
        if n is not None:
            numbers = index.uniform(n)
            few = Missing(None, f"it has {len(index)} pictures, and {n} were wanted")
            result.missing.extend([few] * (n - len(numbers)))
        elif fps is not None:
            numbers = index.rate(fps, max_frames)
        else:
            numbers = index.at(times or ())
            for time_s, number in zip(times or (), numbers, strict=True):
                if number < 0:
                    result.missing.append(Missing(time_s, f"it ends after {index.end_s:.3f} s"))
            numbers = numbers[numbers >= 0]
        if not exact:
            numbers = index.nearest_keyframes(numbers)
        had = dict(sampler.pictures(numbers))
        for number in numbers:
            time_s, picture = float(index.times_s[number]), had[int(number)]
            if isinstance(picture, str):
                result.missing.append(Missing(time_s, picture))
            else:
                result.pictures.append(picture)
                result.times_s.append(time_s)
        if index.cut_off is not None:
            result.missing.append(Missing(None, index.cut_off))
        return result


def upright(picture: av.VideoFrame) -> Pixels:
    """A decoded picture as it is meant to be seen, without stretching what samples are not square."""
    return np.ascontiguousarray(np.rot90(picture.to_ndarray(format="rgb24"), picture.rotation % 360 // 90))


@contextmanager
def _named_file(source: Source) -> Iterator[tuple[str, BinaryIO | None]]:
    """Its name for people, and the file whose content it is; none: its name says where it is."""
    if isinstance(source, str | Path):
        yield str(source), None
    elif isinstance(source, bytes | bytearray | memoryview):
        yield "the bytes given", io.BytesIO(source)
    elif not hasattr(source, "read") or isinstance(source, io.TextIOBase):
        raise InvalidInput(f"source: a path, bytes or a file open for reading bytes, got {type(source).__name__}")
    elif source.seekable():
        yield str(getattr(source, "name", "the file given")), source
    else:
        with tempfile.TemporaryFile() as whole:
            shutil.copyfileobj(source, whole)
            yield str(getattr(source, "name", "the file given")), whole


def _sampler(name: str, file: BinaryIO | None, device: str) -> PictureSampler:
    if file is not None:
        file.seek(0)
        if not file.read(1):
            raise SourceError(f"{name}: it is empty", failure=SourceFailure.CORRUPT, final=True)
    acceleration, as_rgb = _decoding_on(device)

    def open_input() -> Input:
        opened = Input(name, SourceSettings(), acceleration=acceleration, file=file)
        if opened.live:
            opened.close()
            raise opened.error(SourceFailure.UNSUPPORTED, "a live stream; pictures are sampled of recordings")
        return opened

    return PictureSampler(open_input, as_rgb=as_rgb)


def _decoding_on(device: str) -> tuple[HWAccel | None, Callable[[av.VideoFrame], Pixels]]:
    """What decodes on a device, and takes pictures from there."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return None, upright
    if kind != "cuda" or not (number or "0").isdecimal():
        raise InvalidSettings(f"device = {device!r}: it must be cpu, cuda or cuda:1")
    from platoon.media.decoder import missing_for_nvdec, nvdec, on_gpu

    gpu = int(number or 0)
    if (missing := missing_for_nvdec(gpu)) is not None:
        raise InvalidSettings(f"device = {device!r}: {missing}; 'cpu' works everywhere")
    pixels = on_gpu(PixelMeter(), gpu)

    def as_rgb(picture: av.VideoFrame) -> Pixels:
        return pixels.picture(planar_frame(picture, camera="", media_time=0.0, captured_at=0.0, pixels=pixels))

    return nvdec(gpu, or_else_the_cpu=True), as_rgb


def _is_intra(picture: av.VideoFrame) -> bool:
    return bool(picture.key_frame) or picture.pict_type == av.video.frame.PictureType.I


def _check_wishes(n: int | None, fps: float | None, max_frames: int | None, at_s: Sequence[float] | None) -> None:
    if sum(wish is not None for wish in (n, fps, at_s)) != 1:
        raise InvalidInput("say which pictures: n, fps or at_s, and one of them only")
    if n is not None and n < 1:
        raise InvalidInput(f"n must be 1 or more, got {n}")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InvalidInput(f"fps must be more than 0, got {fps}")
    if max_frames is not None and (fps is None or max_frames < 1):
        raise InvalidInput(f"max_frames goes with fps, and must be 1 or more, got {max_frames}")
    for time_s in at_s or ():
        if not (math.isfinite(time_s) and time_s >= 0):
            raise InvalidInput(f"at_s: times are seconds from the first picture, 0 or more, got {time_s}")
