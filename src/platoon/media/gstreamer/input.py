"""A camera or clip as `platoon.media.source` reads it, out of the pipeline of all cameras: an `OpenInput`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import av

from platoon.media.addresses import file_of, is_remote, lower_scheme
from platoon.media.attention import Skipped, Taker
from platoon.media.failures import SourceError, SourceFailure, unreachable
from platoon.media.frame import Detection
from platoon.media.gstreamer.branch import Broken, Decoded, Phase
from platoon.media.gstreamer.pipeline import CameraPipeline
from platoon.redaction import redact
from platoon.settings import SourceSettings

_KEYFRAME_WAITS: Final = 3
"""See `platoon.media.input`: read deadlines until the first picture of a stream that has answered."""

_LOOK_S: Final = 0.1
"""How often it is looked at how far a camera has come that gives no picture yet."""


class PipelineInput:
    """A branch of `pipeline`, for one thread; see `Input` for its arguments and what it raises."""

    def __init__(self, pipeline: CameraPipeline, url: str, settings: SourceSettings, *, taker: Taker) -> None:
        self._pipeline, self._url, self._settings = pipeline, redact(url), settings
        self._live = is_remote(url)
        self._detections: Sequence[Detection] | None = None
        target = lower_scheme(url) if self._live else file_of(url).absolute().as_uri()
        try:
            self._branch = pipeline.attach(target, settings, skipped=lambda count: taker.skipped(count, Skipped.BEHIND))
        except Broken as broken:
            raise self._error(broken.failure, broken.reason) from None
        try:
            self._first = self._await_first(url)
        except BaseException:
            self.close()
            raise
        self._duration_s = pipeline.duration_s(self._branch)
        self._live = self._live and self._duration_s is None
        self._branch.patient = not self._live

    @property
    def live(self) -> bool:
        """See `Input.live`."""
        return self._live

    @property
    def codec(self) -> str:
        """See `Input.codec`."""
        return self._branch.codec

    @property
    def fps(self) -> float:
        """See `Input.fps`."""
        return self._branch.fps

    @property
    def lag(self) -> float:
        """See `Input.lag`."""
        return self._branch.arrivals.lag if self._live else 0.0

    def detections(self) -> Sequence[Detection] | None:
        """See `OpenInput.detections`."""
        return self._detections

    def close(self) -> None:
        """End the branch; the other cameras' run on."""
        self._pipeline.detach(self._branch)

    def pictures(self) -> Iterator[tuple[av.VideoFrame, float | None]]:
        """See `Input.pictures`."""
        decoded: Decoded | None = self._first
        end_s = None
        while decoded is not None:
            picture, stamp, self._detections = decoded
            self._check_size(picture)
            if stamp is not None:
                end_s = stamp
            yield picture, stamp
            del picture, decoded  # the pipeline has its memory back while this waits
            decoded = self._taken(self._settings.read_timeout_s)
        if self._live:
            raise self._error(SourceFailure.CLOSED, "the other side ended the stream")
        self._check_complete(end_s)

    def _await_first(self, url: str) -> Decoded:
        """The first picture; whoever has answered gets more time for it, as do data that wait for a keyframe."""
        asked, settings = time.monotonic(), self._settings
        limits = {
            Phase.ASKED: (settings.open_timeout_s, SourceFailure.OPEN_TIMEOUT, "no answer within {:g} s"),
            Phase.ANSWERED: (
                settings.read_timeout_s,
                SourceFailure.READ_TIMEOUT,
                "it answers, but sent nothing for {:g} s",
            ),
            Phase.TYPED: (
                _KEYFRAME_WAITS * settings.read_timeout_s,
                SourceFailure.CORRUPT,
                "it brings data, but no whole picture in {:g} s",
            ),
        }
        while True:
            try:
                decoded = self._branch.take(_LOOK_S)
            except TimeoutError:
                limit_s, failure, reason = limits[self._branch.phase]
                if time.monotonic() - asked > limit_s:
                    raise self._error(failure, reason.format(limit_s)) from None
                continue
            except Broken as broken:
                raise self._error(*(self._unreached(url, broken) or (broken.failure, broken.reason))) from None
            if decoded is None:
                failure = SourceFailure.CLOSED if self._live else SourceFailure.CORRUPT
                raise self._error(failure, "it ended before its first picture")
            return decoded

    def _taken(self, timeout_s: float) -> Decoded | None:
        try:
            return self._branch.take(timeout_s)
        except TimeoutError:
            reason = f"nothing that can be read came for {timeout_s:g} s"
            raise self._error(SourceFailure.READ_TIMEOUT, reason) from None
        except Broken as broken:
            raise self._error(broken.failure, broken.reason) from None

    def _unreached(self, url: str, broken: Broken) -> tuple[SourceFailure, str] | None:
        """Why there is no connection, which GStreamer does not tell; None: that was not it."""
        if broken.failure is not SourceFailure.CLOSED or not self._live:
            return None
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        return None if host is None else unreachable(host, port or {"http": 80, "https": 443}.get(parts.scheme, 554))

    def _check_size(self, picture: av.VideoFrame) -> None:
        if picture.width * picture.height > self._settings.max_pixels:
            size = f"{picture.width}x{picture.height}"
            limit = f"the limit of {self._settings.max_pixels} pixels"
            raise self._error(SourceFailure.TOO_LARGE, f"pictures of {size} exceed {limit}")

    def _check_complete(self, end_s: float | None) -> None:
        """As `Input` does: raise where not all of a recording was there."""
        if end_s is None or self._duration_s is None:
            return
        if self._duration_s - end_s > max(0.5, 0.1 * self._duration_s):
            reason = f"cut off: it ends after {end_s:.1f} s of {self._duration_s:.1f} s"
            raise self._error(SourceFailure.CORRUPT, reason)

    def _error(self, failure: SourceFailure, reason: str) -> SourceError:
        return SourceError(f"{self._url}: {reason}", failure=failure, final=not self._live)
