"""Captions of cameras, beside whatever else is made of their pictures.

The packets of a camera are cut into segments as they come (`cutter`), on the thread that takes them; a few threads,
which yield the processor, decode what the model is to be shown and wait for answers. What is asked when is the
`Scheduler`'s. Nothing here makes a camera wait, and what is kept of one is bounded: the segment that is cut, one that
waits, one in flight, of `cutter.MOST_BYTES` each.
"""

from __future__ import annotations

import io
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import av

from platoon.captions.captioner import Captioner
from platoon.captions.cutter import Cut, Cutter
from platoon.captions.payload import Clip, Form, shrunk
from platoon.captions.scheduler import Effort, Scheduler, Segment, State
from platoon.captions.showing import chosen, shown
from platoon.engine.background import yield_processor
from platoon.engine.chat_server import Said
from platoon.errors import DeadlineExceeded, InvalidInput, InvalidSettings, Overloaded, PlatoonError
from platoon.media.frame import Pixels
from platoon.media.input import Input
from platoon.media.picture_sampler import PictureSampler
from platoon.metrics import Metrics
from platoon.redaction import redact, visible
from platoon.settings import CaptionSettings, SourceSettings

_log = logging.getLogger(__name__)

KIND: Final = "caption"
"""Of the events."""
_STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionEvent:
    """A caption as it is emitted; see `streams.sink.Emitted`."""

    id: str
    camera: str
    time: float
    """When the segment began, seconds since 1970."""
    text: str
    crop: Pixels
    """The picture in the middle of those that the model was shown."""
    facts: Mapping[str, Any]
    state: str = "final"
    emitted_at: None = None
    """Its lag has a metric of its own."""

    def to_json(self, *, crop_key: str | None) -> dict[str, Any]:
        """As the API gives it."""
        return {
            "id": self.id,
            "kind": KIND,
            "state": self.state,
            "text": self.text,
            **self.facts,
            "crop": crop_key,
        }


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the model is shown of a segment."""

    clip: Clip
    middle: Pixels
    wanted: int
    missing: list[str]


class LiveCaptions:
    """Captions the cameras of a site.

    Args:
        emit: takes a caption, on any thread; returns at once.
        on_gap: called with each segment that gets no caption, `{camera, time, until, media_start, media_end, cause,
            state}`; returns at once.
        now: the clock that deadlines count by.

    Raises:
        InvalidSettings: no server is named, or packets are not to be had.
    """

    def __init__(
        self,
        settings: CaptionSettings,
        source: SourceSettings,
        metrics: Metrics,
        *,
        emit: Callable[[CaptionEvent], None],
        on_gap: Callable[[Mapping[str, Any]], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if source.decoder in ("gstreamer", "deepstream"):
            raise InvalidSettings(
                f"captions.url and source.decoder = {source.decoder}: captions need the packets, which FFmpeg gives; "
                "set source.decoder = auto"
            )
        self._settings, self._source, self._metrics, self._now = settings, source, metrics, now
        self._emit, self._on_gap = emit, on_gap
        self._captioner = Captioner(settings)
        self._changed = threading.Condition()
        self._scheduler = Scheduler(
            max_requests=settings.max_requests, timeout_s=settings.timeout_s, on_end=self._ended, now=now
        )
        self._uncut: dict[str, str] = {}
        """Cameras whose stream cannot be cut, and why."""
        self._failure: str | None = None
        """Why the model could not be asked last; none: it answered."""
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"captions {number}", daemon=True)
            for number in range(settings.max_requests)
        ]
        for thread in self._threads:
            thread.start()

    def tap(self, camera: str) -> CameraTap | None:
        """What looks at the packets of a camera; none: it is not to be captioned."""
        if self._settings.cameras and camera not in self._settings.cameras:
            return None
        return CameraTap(
            self._settings.every,
            on_cut=partial(self._cut, camera),
            on_error=partial(self._uncut.__setitem__, camera),
        )

    def remove(self, camera: str) -> None:
        """A camera is no more; its tap is closed."""
        with self._changed:
            self._scheduler.remove(camera)
            self._uncut.pop(camera, None)
            self._changed.notify_all()

    def warnings(self) -> list[str]:
        """What somebody should look after."""
        failure = [] if self._failure is None else [f"captions: {self._failure}"]
        return failure + [f"captions of camera {camera}: {why}" for camera, why in self._uncut.copy().items()]

    def close(self) -> None:
        """Give up what waits and is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._captioner.close()
        for thread in self._threads:
            thread.join(_STOP_S)

    def _cut(self, camera: str, cut: Cut, start: float, still: bool) -> None:
        length_s = cut.end_s - cut.start_s
        segment = Segment(camera=camera, cut=cut, ended_at=self._now(), start=start, end=start + length_s)
        with self._changed:
            if self._closed:
                return
            self._metrics.caption_segments_cut.labels(camera, cut.cause).inc()
            self._scheduler.cut(segment, still=still and self._settings.skip_still)
            self._changed.notify()

    def _ended(self, segment: Segment, state: State) -> None:
        """A segment came to an end."""
        self._metrics.caption_segments.labels(segment.camera, state).inc()
        if state is not State.CAPTIONED:
            self._on_gap({**_span(segment), "state": state})

    def _run(self) -> None:
        yield_processor()
        while (work := self._next()) is not None:
            self._caption(*work)

    def _next(self) -> tuple[Segment, Effort] | None:
        """What is to be captioned now; waits for it. None at the end."""
        with self._changed:
            while not self._closed:
                segment = self._scheduler.next()
                effort = self._scheduler.effort
                self._metrics.caption_frames_share.set(effort.share)
                self._metrics.caption_stride.set(effort.stride)
                if segment is not None:
                    return segment, effort
                wait_s = self._scheduler.wakes_at() - self._now()
                self._changed.wait(None if math.isinf(wait_s) else max(0.0, min(wait_s, threading.TIMEOUT_MAX)))
        return None

    def _caption(self, segment: Segment, effort: Effort) -> None:
        state, began = State.FAILED, self._now()
        event: CaptionEvent | None = None
        failure: str | None = None
        try:
            event = self._asked(segment, effort)
            state = State.CAPTIONED
        except Overloaded as busy:
            self._failure = str(busy)
            with self._changed:
                self._scheduler.busy(segment, busy.retry_after_s)
                self._changed.notify_all()
            return
        except DeadlineExceeded as error:
            state, failure = State.EXPIRED, str(error)
        except PlatoonError as error:
            failure = str(error)
        except CancelledError:
            failure = "the site was stopped"
        except Exception as error:  # whatever a stream brings, the others are captioned
            _log.exception("a segment of camera %s cannot be captioned", segment.camera)
            failure = f"{type(error).__name__}: {redact(error)}"
        if failure is not None and not self._closed:
            _log.warning("camera %s: no caption of %s: %s", segment.camera, _time(segment.start), failure)
        self._failure = failure
        with self._changed:
            counts = self._scheduler.answered(segment, state)
            self._changed.notify_all()
        if counts:
            self._ended(segment, state)
            self._metrics.caption_seconds.observe(self._now() - began)
        if counts and event is not None:
            self._metrics.caption_lag.observe(self._now() - segment.ended_at)
            self._emit(event)

    def _asked(self, segment: Segment, effort: Effort) -> CaptionEvent:
        form = self._captioner.form()
        piece = self._shown(segment, form, effort)
        prompt = self._settings.camera_prompts.get(segment.camera, self._settings.prompt)
        deadline = time.monotonic() + self._scheduler.deadline(segment) - self._now()
        said = self._captioner.ask(piece.clip, prompt, deadline=deadline).result()
        self._count(piece, said)
        facts = {
            **_span(segment),
            "model": self._captioner.model,
            "frames": len(piece.clip.jpegs),
            "missing": piece.missing,
            "share": effort.share,
            "stride": effort.stride,
            "lag": round(self._now() - segment.ended_at, 3),
        }
        text = visible(" ".join(said.text.split()))
        return CaptionEvent(
            id=str(uuid.uuid4()),
            camera=segment.camera,
            time=segment.start,
            text=text,
            crop=piece.middle,
            facts=facts,
        )

    def _shown(self, segment: Segment, form: Form, effort: Effort) -> _Shown:
        """What the model is to be shown. Raises InvalidInput, SourceError: no picture of it can be decoded."""
        cut, settings = segment.cut, self._settings
        less: dict[str, Any] = {"fps": settings.fps * effort.share}
        if settings.frames is not None:
            less["frames"] = max(1, round(settings.frames * effort.share))
        fewer = settings.model_copy(update=less)

        def open_input() -> Input:
            return Input("a segment", self._source, file=io.BytesIO(cut.mp4))

        with closing(PictureSampler(open_input)) as sampler:
            numbers = chosen(sampler.index.times_s, 0.0, cut.end_s - cut.start_s, fewer)
            if form is Form.MP4:
                numbers = numbers[len(numbers) // 2 :][:1]
            jpegs, middle, missing = shown(sampler, numbers, settings.max_side)
        if middle is None:
            raise InvalidInput("; ".join(missing) or "no picture is shown in it")
        clip = Clip(mp4=cut.mp4) if form is Form.MP4 else Clip(jpegs=jpegs)
        return _Shown(clip, shrunk(middle, settings.max_side), len(numbers), missing)

    def _count(self, piece: _Shown, said: Said) -> None:
        metrics = self._metrics
        metrics.caption_frames.labels("wanted").inc(piece.wanted)
        metrics.caption_frames.labels("shown").inc(piece.wanted - len(piece.missing))
        metrics.caption_bytes.inc(len(piece.clip.mp4) + sum(map(len, piece.clip.jpegs)))
        metrics.caption_tokens.labels("prompt").inc(said.prompt_tokens or 0)
        metrics.caption_tokens.labels("answer").inc(said.answer_tokens or 0)


class CameraTap:
    """Cuts the packets of one camera; see `media.attention.PacketTap`.

    Stream time becomes wall clock by the packet of a segment that came soonest after its time: network and
    camera only ever delay.

    Args:
        on_cut: called with a segment, when it began (seconds since 1970), and whether its camera slept all the time.
        on_error: called with why the stream cannot be cut.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        every_s: float,
        *,
        on_cut: Callable[[Cut, float, bool], None],
        on_error: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._every_s, self._on_cut, self._on_error, self._clock = every_s, on_cut, on_error, clock
        self._cutter: Cutter | None = None
        self._offset = math.inf
        """Wall clock less stream time."""
        self._slept = True

    def opened(self, stream: av.VideoStream) -> None:
        """See `PacketTap`, as the following."""
        self._cutter, self._offset, self._slept = Cutter(stream, every_s=self._every_s), math.inf, True

    def packet(self, packet: av.Packet, *, asleep: bool) -> None:
        """As above."""
        if (cutter := self._cutter) is not None:
            self._give(lambda: cutter.put(packet))
            stamp = packet.pts if packet.dts is None else packet.dts
            if stamp is not None:
                self._offset = min(self._offset, self._clock() - float(stamp * packet.time_base))
            self._slept = self._slept and asleep

    def closed(self) -> None:
        """As above."""
        if (cutter := self._cutter) is not None:
            self._give(cutter.end)
            self._cutter = None

    def _give(self, cut: Callable[[], list[Cut]]) -> None:
        try:
            cuts = cut()
        except Exception as error:  # nothing that is wrong here may end the stream
            self._cutter = None
            self._on_error(
                str(error) if isinstance(error, PlatoonError) else f"{type(error).__name__}: {redact(error)}"
            )
            if not isinstance(error, PlatoonError):
                _log.exception("a stream cannot be cut into segments")
            return
        for one in cuts:
            start = self._clock() if math.isinf(self._offset) else one.start_s + self._offset
            self._on_cut(one, start, self._slept)
        if cuts:
            self._offset, self._slept = math.inf, True


def _span(segment: Segment) -> dict[str, Any]:
    """Which camera and what time a caption or a gap is of."""
    cut = segment.cut
    return {
        "camera": segment.camera,
        "time": _time(segment.start),
        "until": _time(segment.end),
        "media_start": round(cut.start_s, 3),
        "media_end": round(cut.end_s, 3),
        "cause": str(cut.cause),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
