"""Opens files and streams with deadlines, decodes their pictures, and names whatever goes wrong.

Promises that nothing waits for ever, that no decoder allocates more than the pixel limit, that only video
formats over the expected protocols are opened (a playlist cannot reach local files, a text is not taken for
text art), and that no message holds a credential. What to do about a failure is left to `source`.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, Protocol

import av
import av.error
from av.codec.hwaccel import HWAccel

from platoon.media.activity import Looks
from platoon.media.addresses import host_of, is_remote, target_of
from platoon.media.attention import EVERYTHING, Arrival, Level, Role, Taker
from platoon.media.backlog import Backlog, FallenBehind
from platoon.media.challenges import unsupported_login
from platoon.media.failures import BY_ERRNO, NO_DESCRIPTORS, SourceError, SourceFailure, descriptors_left, is_known
from platoon.media.frame import Detection
from platoon.media.live_decoder import GLANCES, LiveDecoder
from platoon.media.pacing import SEGMENTED, paced
from platoon.media.sampling import MediaClock, Thinning
from platoon.redaction import redact
from platoon.settings import SourceSettings

_log = logging.getLogger(__name__)


_NOMINAL_STAMPS: Final = frozenset({"mpjpeg", "mjpeg"})
"""Formats without time stamps: those that FFmpeg fills in suppose 25 frames per second."""

_REORDERED_MOST: Final = 20
"""Packets a decoder may take before it gives a picture: H.264 and HEVC hold back 16 at most."""
_KEYFRAME_WAITS: Final = 3
"""A stream may take so many times the read deadline until its first keyframe: some send one every 20 s."""


class OpenInput(Protocol):
    """An open source, for one thread; closed once."""

    @property
    def live(self) -> bool:
        """Whether it goes on for ever; a network stream of known duration is a recording, as files are."""

    @property
    def codec(self) -> str:
        """Name, as in `h264`."""

    @property
    def fps(self) -> float:
        """Frames per second as the stream declares them; 0: it does not say."""

    @property
    def lag(self) -> float:
        """How many seconds after its arrival a live stream is decoded, at worst in the last seconds."""

    def pictures(self) -> Iterator[tuple[av.VideoFrame, float | None]]:
        """Each picture with its time stamp in seconds, to the end of a recording.

        The `opaque` of a live stream's picture is the `Arrival` of its packet.

        Raises:
            SourceError: the stream broke, or a recording turned out damaged or cut off at its end.
        """

    def detections(self) -> Sequence[Detection] | None:
        """What was found in the picture given last, where it was decoded; none: nobody has looked."""

    def close(self) -> None:
        """Free the decoder and the connection."""


class Opener(Protocol):
    """Opens a camera or clip; see `Input`, which is one."""

    def __call__(self, url: str, settings: SourceSettings, *, taker: Taker) -> OpenInput:
        """Open `url`. Raises SourceError."""


class Input:
    """An open source, for one thread; an `OpenInput` by FFmpeg.

    Args:
        url: `rtsp://`, `rtsps://`, `http://`, `https://`, `file://` or a path.
        taker: who takes the pictures of a live stream, of which no more are decoded than he wants.
        acceleration: decodes what it can on a device, and leaves the pictures there; none: the CPU decodes.
        file: what is read from its beginning in the place of `url`, which is then its name for people; it can seek,
            and stays open.
        format: FFmpeg's name of the format that it has; none: its content says.

    Raises:
        SourceError: it cannot be opened within the deadline, or holds no video that can be decoded.
    """

    def __init__(
        self,
        url: str,
        settings: SourceSettings,
        *,
        taker: Taker = EVERYTHING,
        acceleration: HWAccel | None = None,
        file: BinaryIO | None = None,
        format: str | None = None,  # noqa: A002  (av.open's name for it)
    ) -> None:
        self._address, self._named_format = url, format is not None
        self._url, self._settings, self._taker, self._acceleration = redact(url), settings, taker, acceleration
        self._backlog: Backlog | None = None
        self._is_tapped = False
        self._thinning = Thinning(taker.rate)
        self._decoder: LiveDecoder | None = None
        self._fruitless = 0
        """Packets since the last picture."""
        self._live = file is None and is_remote(url)
        target, options = target_of(url, settings, file)
        started = time.monotonic()
        try:
            self._container = av.open(
                target,
                format=format,
                options=options,
                timeout=(settings.open_timeout_s, settings.read_timeout_s),
                hwaccel=acceleration,
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._named(error, opening_s=time.monotonic() - started, host=host_of(url)) from None
        try:
            self._stream = self._choose_stream()
        except SourceError:
            self.close()
            raise
        self._live = self._live and self._container.duration is None
        self.damaged = 0
        """Packets and pictures left out because they were damaged."""

    @property
    def live(self) -> bool:
        """Whether it goes on for ever; a network stream of known duration is a recording, as files are."""
        return self._live

    @property
    def stream(self) -> av.VideoStream:
        """The video, for those who demux and seek themselves, as `frame_index` does."""
        return self._stream

    @property
    def codec(self) -> str:
        """Name, as in `h264`."""
        return str(self._stream.codec_context.name)

    @property
    def fps(self) -> float:
        """Frames per second as the stream declares them; 0: it does not say."""
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        return rate if 0 < rate <= 240 else 0.0

    @property
    def frames(self) -> int | None:
        """How many frames a recording says it has; None: it does not say."""
        return self._stream.frames or None

    @property
    def lag(self) -> float:
        """How many seconds after its arrival a live stream is decoded, at worst in the last seconds; but for the time
        for which nobody had time for its pictures.
        """
        return 0.0 if self._backlog is None else self._backlog.lag

    def detections(self) -> None:
        """See `OpenInput.detections`: decoding is all that is done."""

    def close(self) -> None:
        """Free the decoder and the connection; of a live stream with its next packet, or at the read deadline."""
        if self._backlog is not None:
            self._backlog.close()
        if self._is_tapped and self._taker.tap is not None:
            self._taker.tap.closed()
        self._container.close()

    def pictures(self) -> Iterator[tuple[av.VideoFrame, float | None]]:
        """Decode from the first keyframe on: each picture with its time stamp in seconds.

        Ends where a recording does. The `opaque` of a live stream's picture is the `Arrival` of its packet, whatever
        came of it before or after it.

        Raises:
            SourceError: the stream broke, or a recording turned out damaged or cut off at its end.
        """
        nominal = self.live and self._container.format.name in _NOMINAL_STAMPS
        waiting_for_key = True
        self._fruitless = 0
        given, end_s = 0, 0.0
        last_picture = time.monotonic()
        try:
            for packet in self._arrivals() if self.live else self._tapped(self.packets()):
                self._fruitless += 1
                if self.live and self._fruitless > _REORDERED_MOST:
                    self._check_decoding(time.monotonic() - last_picture, waiting_for_key)
                if waiting_for_key and packet.size and not packet.is_keyframe:
                    continue
                waiting_for_key = False
                self.damaged += packet.is_corrupt
                try:
                    pictures = packet.decode() if self._decoder is None else self._decoder.decode(packet)
                except av.error.EOFError:
                    break
                except av.error.FFmpegError:
                    self.check_size(self._stream.codec_context.width, self._stream.codec_context.height)
                    self.damaged += not packet.is_corrupt
                    continue
                for picture in pictures:
                    if picture.is_corrupt:
                        self.damaged += 1
                        continue
                    self.check_size(picture.width, picture.height)
                    last_picture = time.monotonic()
                    self._fruitless = 0
                    if picture.opaque is not None and picture.opaque.role in GLANCES:
                        continue
                    self._thinning.saw(picture.time)
                    given += 1
                    if given == 1 and self._acceleration is not None and picture.format.name != "cuda":
                        _log.warning("%s: NVDEC cannot decode its %s; the CPU does", self._url, self.codec)
                    if picture.pts is not None:
                        end_s = float((picture.pts + picture.duration) * picture.time_base)
                    yield picture, picture.opaque.at if nominal else picture.time
        except (av.error.FFmpegError, OSError) as error:
            raise self._named(error) from None
        except FallenBehind as error:
            raise self.error(SourceFailure.BEHIND, str(error)) from None
        if self.live:
            raise self.error(SourceFailure.CLOSED, "the other side ended the stream")
        if not given:
            raise self.error(SourceFailure.CORRUPT, "no picture of it could be decoded")
        self._check_complete(end_s)

    def _arrivals(self) -> Iterator[av.Packet]:
        """The packets of a live stream that are to be decoded, each with the time of its arrival; the decoder hands
        that to its picture.
        """
        taker, settings = self._taker, self._settings
        slot = taker.slot if taker.watches else None
        # Of a picture on a GPU no change is looked for.
        sleeps = slot is not None and self._acceleration is None and taker.attention.may_sleep
        backlog = self._backlog = Backlog(
            self._tapped(self._watched(self.packets()) if sleeps else self.packets()),
            max_lag_s=settings.max_lag_s,
            keyframe_max_s=settings.keyframe_max_s,
            skipped=taker.skipped,
            attention=taker.attention if sleeps else None,
            now=taker.attention.now,
            has_room=lambda: slot is None or slot.has_room,
        )
        decoder = self._decoder = LiveDecoder(self._stream, taker.attention, backlog.forget, sleeps=sleeps)
        if slot is not None:
            slot.on_room = backlog.look_again
        # A picture that the decoder still owes is worth nothing until it comes.
        while (taken := backlog.take(hold=not self._fruitless)) is not None:
            packet = taken.packet
            if taken.gap and taken.role is not Role.LOOK:
                decoder.restart()
                self._thinning.restart()
            if slot is not None:
                decoder.thin(taken.role in GLANCES or self._thinning.allowed or backlog.saturated)
            packet.opaque = Arrival(taken.arrived, taken.role)
            yield packet

    def _tapped(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """The packets, which whoever looks at all of them has seen; `close` says that no more come."""
        if (tap := self._taker.tap) is None:
            yield from packets
            return
        tap.opened(self._stream)
        self._is_tapped = True
        for packet in packets:
            tap.packet(packet, asleep=self._taker.attention.level is Level.IDLE)
            yield packet

    def _watched(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """The packets; while their camera sleeps, a glance is asked for where sizes do not say that nothing moves.

        Sizes are judged by the stream's own times: packets arrive in bursts.
        """
        looks, attention, clock = Looks(), self._taker.attention, MediaClock()
        clock.restart(period_s=1 / (self.fps or 25.0), gap_s=0.0)
        for packet in packets:
            stamp = None if packet.dts is None else float(packet.dts * packet.time_base)
            time = clock.tick(stamp, attention.now())
            due = looks.packet(packet.size, keyframe=packet.is_keyframe, time=time)
            if due and self._backlog is not None:
                self._backlog.glance()
            yield packet

    def _check_decoding(self, fruitless_s: float, waiting_for_key: bool) -> None:
        """Raise where packets have come for too long of which no picture came out."""
        limit = self._settings.read_timeout_s * (_KEYFRAME_WAITS if waiting_for_key else 1)
        if fruitless_s > limit:
            what = "no keyframe" if waiting_for_key else "no whole picture"
            raise self.error(
                SourceFailure.CORRUPT,
                f"it brings data, but {what} in {limit:g} s: damaged, encrypted, or of another codec than it says",
            )

    def packets(self) -> Iterator[av.Packet]:
        """The packets of the video from here to the end, and an empty one there.

        Raises:
            SourceError: the stream broke.
        """
        packets = self._container.demux(self._stream)
        if self._live and self._container.format.name == SEGMENTED:
            packets = paced(packets)
        while True:
            asked = time.monotonic()
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                if self._waited_too_long(asked):
                    raise self.error(*self._read_timeout) from None
                raise self._named(error) from None
            # FFmpeg answers an interrupted read with what its parser still holds, and would wait once more.
            if self._waited_too_long(asked):
                raise self.error(*self._read_timeout)
            if packet is None:
                return
            yield packet

    def seek(self, stamp: int) -> bool:
        """Go to where FFmpeg finds a keyframe for a time stamp, in units of the stream, and empty the decoder; whether
        it could. It may go past that time: see `frame_index`.
        """
        try:
            self._container.seek(stamp, stream=self._stream)
        except (av.error.FFmpegError, OSError):
            return False
        return True

    def _waited_too_long(self, asked: float) -> bool:
        return self.live and time.monotonic() - asked > self._settings.read_timeout_s

    @property
    def _read_timeout(self) -> tuple[SourceFailure, str]:
        return SourceFailure.READ_TIMEOUT, f"nothing that can be read came for {self._settings.read_timeout_s:g} s"

    def _choose_stream(self) -> av.VideoStream:
        stream = self._container.streams.best("video")
        if stream is None:
            raise self.error(SourceFailure.NO_VIDEO, "there is no video in it")
        context = stream.codec_context
        if context is None:
            raise self.error(SourceFailure.UNSUPPORTED, "no decoder for its video")
        if self._named_format and not context.width:
            raise self.error(SourceFailure.UNSUPPORTED, "not a video, or damaged at its beginning")
        self.check_size(context.width, context.height)
        # One thread per camera: more add contention, and no throughput once cameras outnumber cores.
        context.thread_count = 1
        context.thread_type = "NONE"
        context.options = {"max_pixels": str(self._settings.max_pixels)}
        return stream

    def check_size(self, width: int, height: int) -> None:
        """Raise SourceError for pictures over the pixel limit, whose decoder gives nothing but an error of its own."""
        if width * height > self._settings.max_pixels:
            raise self.error(
                SourceFailure.TOO_LARGE,
                f"pictures of {width}x{height} exceed the limit of {self._settings.max_pixels} pixels",
            )

    def _check_complete(self, end_s: float) -> None:
        """Raise where not all of a recording was there; `end_s` is the end of its last picture."""
        if self.damaged:
            raise self.error(SourceFailure.CORRUPT, f"{self.damaged} packets of it are damaged")
        if (shortfall := self.shortfall(end_s)) is not None:
            raise self.error(SourceFailure.CORRUPT, shortfall)

    def shortfall(self, end_s: float) -> str | None:
        """How much of a recording is missing behind its last picture, in words; none: nothing that one could tell.

        Args:
            end_s: when the last picture ends, by the stream's own time; 0: it has no time stamps.
        """
        stream, container = self._stream, self._container
        if not end_s:  # no time stamps: nothing to compare
            return None
        start_s = float((stream.start_time or 0) * stream.time_base)
        if stream.duration is not None:
            duration_s = float(stream.duration * stream.time_base)
        elif container.duration is not None and len(container.streams) == 1:
            duration_s = container.duration / 1e6
            start_s = min(start_s, 0.0)  # Matroska counts from zero, whenever the first picture is shown
        else:
            return None
        if duration_s - (end_s - start_s) <= max(0.5, 0.1 * duration_s):
            return None
        return f"cut off: it ends after {end_s - start_s:.1f} s of {duration_s:.1f} s"

    def error(self, failure: SourceFailure, reason: str) -> SourceError:
        """The error that names this source, with a reason for people."""
        final = not self._live and failure is not SourceFailure.NO_DESCRIPTORS
        return SourceError(f"{self._url}: {reason}", failure=failure, final=final)

    def _named(self, error: Exception, *, opening_s: float | None = None, host: str | None = None) -> SourceError:
        return self.error(*self._cause(error, opening_s, host))

    def _cause(self, error: Exception, opening_s: float | None, host: str | None) -> tuple[SourceFailure, str]:
        """Find the failure behind an error of FFmpeg, whose own text is not used: it repeats the address."""
        match error:
            case av.error.HTTPUnauthorizedError():
                reason = unsupported_login(self._address) or "user or password are not accepted"
                return SourceFailure.UNAUTHORISED, reason
            case av.error.HTTPForbiddenError():
                return SourceFailure.UNAUTHORISED, "user or password are not accepted"
            case av.error.HTTPNotFoundError():
                return SourceFailure.NOT_FOUND, "the host has no such stream"
            case av.error.HTTPError() | av.error.HTTPClientError():
                return SourceFailure.REJECTED, f"the host answered with an error: {error.strerror}"
        code = error.errno if isinstance(error, OSError | av.error.FFmpegError) else None
        if code in BY_ERRNO:
            return BY_ERRNO[code]
        if opening_s is not None:
            if not descriptors_left():  # FFmpeg and the resolver call that many things
                return NO_DESCRIPTORS
            limit = self._settings.open_timeout_s
            # FFmpeg reports some interrupted openings as invalid data: only the clock tells.
            if self._live and (isinstance(error, av.error.TimeoutError) or opening_s >= 0.95 * limit):
                return SourceFailure.OPEN_TIMEOUT, f"no answer within {limit:g} s"
            if code == errno.EIO and host and not is_known(host):
                return SourceFailure.UNREACHABLE, f"there is no host {host}"
            if self._live and (code == errno.EIO or self._url.lower().startswith("rtsp")):
                return SourceFailure.CLOSED, "the other side hung up, or speaks another protocol"
            if isinstance(error, ValueError | LookupError | av.error.EOFError):
                return SourceFailure.UNSUPPORTED, "not a video, or damaged at its beginning"
        if isinstance(error, av.error.ExitError | av.error.TimeoutError):
            return self._read_timeout
        if self._live and code == errno.EIO:
            return SourceFailure.CLOSED, "the other side ended the stream"
        if isinstance(error, av.error.InvalidDataError | av.error.EOFError):
            return SourceFailure.CORRUPT, "the stream is damaged"
        return SourceFailure.FAILED, redact(getattr(error, "strerror", None) or type(error).__name__)
