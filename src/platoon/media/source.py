"""One camera or clip as a stream of frames: a thread that connects, decodes and never gives up.

A live source (RTSP, HTTP without an end) is opened again for ever, with exponential backoff and full jitter,
and names its state and the cause of its last failure. A recording (a file, HTTP of known duration) is played
once or in a loop, and ends. Decoding never waits for whoever takes the frames, except for a recording at full
speed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Any

import av

from platoon.media.attention import Arrival, Attention, Level, PacketTap, Reason, Role, Skipped, Taker
from platoon.media.decode import planar_frame
from platoon.media.failures import SourceError
from platoon.media.failures import SourceFailure as SourceFailure
from platoon.media.frame import Detection, Frame, PixelWork
from platoon.media.http_pictures import open_stream
from platoon.media.input import Opener, OpenInput
from platoon.media.sampling import MAX_STEP_S, MediaClock, Sampler
from platoon.media.slot import NewestSlot
from platoon.metrics import Metrics
from platoon.redaction import redact
from platoon.settings import SourceSettings

_log = logging.getLogger(__name__)

_FALLEN_BEHIND_S = 1.0


class SourceState(StrEnum):
    """What a source is doing."""

    CONNECTING = "connecting"
    """First attempt, up to the first picture."""
    LIVE = "live"
    """Giving frames."""
    RECONNECTING = "reconnecting"
    """Failed or lost; waiting for the next attempt, or at it."""
    ENDED = "ended"
    """A recording is over, or cannot be played (then with a cause)."""
    STOPPED = "stopped"
    """Asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """What is known of a source. No field holds a credential."""

    state: SourceState
    cause: SourceFailure | None = None
    """Why it is not live, or why a recording ended before its time."""
    message: str = ""
    """The same for people."""
    since: float = 0.0
    """When it came into this state, seconds since 1970."""
    width: int = 0
    """Of the newest frame in pixels, as is `height`; 0 before the first."""
    height: int = 0
    source_fps: float = 0.0
    """Frames per second as the stream declares them; 0: it does not say."""
    codec: str = ""
    decoded: int = 0
    """Frames decoded since the start."""
    reconnects: int = 0
    """How often it became live again."""
    lag: float = 0.0
    """How many seconds after their arrival live pictures are decoded, at worst in the last seconds; around 0 where the
    decoder keeps up."""
    by_arrival: bool = False
    """Whether the time at which its pictures come counts, as its time stamps stand still, crawl, race or jump."""
    attention: Level = Level.FULL
    """What is decoded of it."""
    reason: Reason | None = None
    """Why it is awake, or was woken last; none where it sleeps."""
    retry_at: float | None = None
    """When the next attempt begins, seconds since 1970."""


class Pace(StrEnum):
    """How fast recordings are read. Live sources give their own pace."""

    REAL_TIME = "real_time"
    FULL_SPEED = "full_speed"
    """As fast as they are taken; for slots that keep all."""


class Source:
    """One camera and its decoder thread.

    Args:
        camera: id, a label of the metrics and of every frame.
        url: see `platoon.media.input.Input`.
        slot: where frames go; closed when the source has ended or was asked to stop.
        pixels: takes the decoded pictures where it works on them.
        loop: play a recording again and again; media time goes on.
        on_status: called on the decoder's thread at every change of state, and when decoding falls behind or keeps up
            again; must return at once.
        on_look: called on the decoder's thread with every keyframe of a camera that sleeps, which nobody else may see;
            must return at once.
        tap: looks at its packets.
        open_input: decodes what is there.
        random: of the jitter; a seeded one makes the waits repeatable.
        now: the clock by which packets arrive, in seconds.

    Media time never goes backwards: it counts from the first frame, continues over loops and includes the
    time without a connection.
    """

    def __init__(
        self,
        camera: str,
        url: str,
        slot: NewestSlot,
        sampler: Sampler,
        *,
        settings: SourceSettings,
        pixels: PixelWork,
        metrics: Metrics,
        pace: Pace = Pace.REAL_TIME,
        loop: bool = False,
        on_status: Callable[[SourceStatus], None] = lambda _: None,
        on_look: Callable[[Frame], None] = lambda _: None,
        tap: PacketTap | None = None,
        open_input: Opener = open_stream,
        random: Random | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.camera = camera
        self._url, self._slot, self._sampler, self._settings = url, slot, sampler, settings
        self._pixels, self._metrics, self._pace, self._loop = pixels, metrics, pace, loop
        self._on_look = on_look
        self._on_status, self._open_input, self._random = on_status, open_input, random or Random()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source {camera}", daemon=True)
        self._clock = MediaClock()
        self._frames_decoded = metrics.frames_decoded.labels(camera)
        self._frames_sampled = metrics.frames_dropped.labels(camera, "sampled")
        self._frames_replaced = metrics.frames_dropped.labels(camera, "replaced")
        mode = settings.camera_attention.get(camera, settings.attention)
        self.attention = Attention(mode, awake_s=settings.awake_s, now=now)
        """Says how much is decoded of it, where it is live."""
        self.attention.on_change = self._note_attention
        self._taker = Taker(
            slot=slot, rate=sampler.rate, attention=self.attention, skipped=self._count_skipped, tap=tap
        )
        self._offered = -math.inf
        """Media time of the last frame that was handed on."""
        self._input: OpenInput | None = None
        """What is open at the moment."""
        self._behind = False
        self._decoded = 0
        self._failures = 0
        self._live_since: float | None = None
        self._last_frame: float | None = None
        self._status = SourceStatus(
            state=SourceState.CONNECTING,
            message=f"connecting to {redact(url)}",
            since=time.time(),
        )

    @property
    def status(self) -> SourceStatus:
        """As of now; from any thread."""
        source, attention = self._input, self.attention
        status = replace(self._status, decoded=self._decoded, lag=round(self.lag, 2))
        if source is None or not source.live:
            return status
        return replace(status, attention=attention.level, reason=attention.reason)

    @property
    def lag(self) -> float:
        """See `SourceStatus.lag`."""
        source = self._input
        return 0.0 if source is None else source.lag

    def start(self) -> None:
        """Start the decoder's thread."""
        self._metrics.source_lag.labels(self.camera).set_function(lambda: self.lag)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop and return at once; it ends at its next frame or at the read deadline."""
        self._stop.set()
        self._slot.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the thread, at most `timeout` seconds; whether it has ended, or was never started."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._enter(SourceState.CONNECTING, self._status.message)
        try:
            while not self._stop.is_set():
                try:
                    self._play()
                except SourceError as error:
                    if self._stop.is_set():
                        break
                    self._metrics.camera_failures.labels(self.camera, error.failure).inc()
                    if error.final:
                        self._enter(SourceState.ENDED, str(error), cause=error.failure)
                        return
                    self._back_off(error)
                else:
                    if not self._loop and not self._stop.is_set():
                        self._enter(SourceState.ENDED, "at its end")
                        return
            self._enter(SourceState.STOPPED, "stopped")
        finally:
            self._metrics.source_lag.remove(self.camera)
            self._slot.close()

    def _play(self) -> None:
        """Give frames until the recording ends or `stop` is asked for.

        Raises:
            SourceError: it cannot be opened, or broke.
        """
        self.attention.wake(Reason.START)
        source = self._input = self._open_input(self._url, self._settings, taker=self._taker)
        try:
            period_s = 1 / (source.fps or 25.0)
            gap_s = period_s if self._decoded else 0.0
            if source.live and self._last_frame is not None:
                gap_s = time.monotonic() - self._last_frame
            self._clock.restart(period_s=period_s, gap_s=gap_s)
            begin: float | None = None
            for picture, stamp in source.pictures():
                media_time = self._clock.tick(stamp, self._arrival(picture) if source.live else None)
                if not source.live and self._pace is Pace.REAL_TIME:
                    begin = self._await_turn(media_time, begin)
                if self._stop.is_set():
                    return
                self._note(picture, source)
                self._give(picture, media_time, source.detections())
        except SourceError:
            raise
        except Exception as error:  # whatever a stream brings, its thread lives on
            _log.error("camera %s: %s", self.camera, redact(traceback.format_exc()))
            raise SourceError(
                f"{redact(self._url)}: {error}", failure=SourceFailure.FAILED, final=not source.live
            ) from None
        finally:
            source.close()
            self._input = None

    def _arrival(self, picture: av.VideoFrame) -> float:
        """When a live picture came, by the clock of the camera."""
        arrival: Arrival | None = picture.opaque
        return self.attention.now() if arrival is None else arrival.at

    def _await_turn(self, media_time: float, begin: float | None) -> float:
        """Wait until a recording's frame is due; returns the (monotonic) time at which media time was 0."""
        now = time.monotonic()
        if begin is None or not -MAX_STEP_S <= now - begin - media_time <= _FALLEN_BEHIND_S:
            # As with a camera, what a busy machine could not decode in time is not made up for in a burst. Nor is what
            # a recording left out waited for.
            return now - media_time
        self._stop.wait(max(0.0, begin + media_time - now))
        return begin

    def _count_skipped(self, count: int, why: Skipped) -> None:
        self._metrics.frames_dropped.labels(self.camera, why).inc(count)

    def _note_attention(self, level: Level, reason: Reason | None) -> None:
        self._metrics.camera_asleep.labels(self.camera).set(level is Level.IDLE)
        if reason is not None:
            self._metrics.camera_wakeups.labels(self.camera, reason).inc()
        _log.debug("camera %s: %s (%s)", self.camera, level, reason or "nothing moves")
        self._on_status(self.status)

    def _note(self, picture: av.VideoFrame, source: OpenInput) -> None:
        self._decoded += 1
        self._frames_decoded.inc()
        self._last_frame = time.monotonic()
        if self._status.state is not SourceState.LIVE:
            first = self._live_since is None
            self._live_since = self._last_frame
            self._enter(
                SourceState.LIVE,
                f"{picture.width}x{picture.height} {source.codec}",
                width=picture.width,
                height=picture.height,
                source_fps=source.fps,
                codec=source.codec,
                reconnects=self._status.reconnects + (not first),
            )
        elif (picture.width, picture.height) != (self._status.width, self._status.height):
            self._status = replace(self._status, width=picture.width, height=picture.height)
        if self._clock.by_arrival is not self._status.by_arrival:
            self._status = replace(self._status, by_arrival=self._clock.by_arrival)
            said = "cannot be used; the time at which its pictures come counts"
            said = said if self._clock.by_arrival else "are right again and count"
            _log.log(
                logging.WARNING if self._clock.by_arrival else logging.INFO,
                "camera %s: time stamps %s",
                self.camera,
                said,
            )
            self._on_status(self.status)
        behind = source.lag > self._settings.max_lag_s
        if behind is not self._behind:
            self._behind = behind
            how = "is behind; what it has no time for is skipped" if behind else "keeps up again"
            _log.log(logging.WARNING if behind else logging.INFO, "camera %s: decoding %s", self.camera, how)
            self._on_status(self.status)

    def _give(self, picture: av.VideoFrame, media_time: float, detections: Sequence[Detection] | None) -> None:
        arrival: Arrival | None = picture.opaque
        role = Role.LIVE if arrival is None else arrival.role
        if role is Role.PAST and media_time <= self._offered:
            return  # it was looked at by itself
        if role is not Role.LOOK and not self._sampler.wants(media_time):
            self._frames_sampled.inc()
            return
        age_s = 0.0 if arrival is None else self.attention.now() - arrival.at
        frame = planar_frame(
            picture,
            camera=self.camera,
            media_time=media_time,
            captured_at=time.time() - age_s,
            pixels=self._pixels,
            detections=detections,
            past=role is Role.PAST,
        )
        if role is Role.LOOK:
            self._on_look(frame)
            if media_time - self._offered < self._settings.idle_look_s:
                self._frames_sampled.inc()
                return
        self._offered = media_time
        if self._slot.offer(frame):
            self._frames_replaced.inc()

    def _back_off(self, error: SourceError) -> None:
        """Wait for the next attempt; a stream that had lived longer than the longest wait starts afresh."""
        live_since = self._live_since if self._status.state is SourceState.LIVE else None
        if live_since is not None and time.monotonic() - live_since > self._settings.backoff_max_s:
            self._failures = 0
        self._failures += 1
        wait_s = backoff_s(self._failures, self._settings, self._random)
        retry_at = time.time() + wait_s
        self._enter(SourceState.RECONNECTING, str(error), cause=error.failure, retry_at=retry_at)
        self._stop.wait(wait_s)
        self._status = replace(self._status, retry_at=None)

    def _enter(
        self,
        state: SourceState,
        message: str,
        *,
        cause: SourceFailure | None = None,
        retry_at: float | None = None,
        **known: Any,
    ) -> None:
        before = self._status
        since = before.since if before.state is state else time.time()
        self._status = replace(
            before, state=state, message=message, cause=cause, retry_at=retry_at, since=since, **known
        )
        gauge = self._metrics.camera_state
        gauge.remove(self.camera, before.state, before.cause or "")
        if state is not SourceState.STOPPED:
            gauge.labels(self.camera, state, cause or "").set(1)
        _log.info("camera %s: %s (%s)", self.camera, state, message)
        self._on_status(self.status)


def backoff_s(failures: int, settings: SourceSettings, random: Random) -> float:
    """Choose the wait in seconds after so many failures in a row: exponential, with full jitter.

    It lies within the bounds of the settings. The jitter spreads cameras that failed together (Brooker,
    "Exponential Backoff And Jitter", AWS, 2015).
    """
    shortest = settings.backoff_min_s
    return random.uniform(shortest, max(shortest, min(settings.backoff_max_s, shortest * 2 ** min(failures, 64))))
