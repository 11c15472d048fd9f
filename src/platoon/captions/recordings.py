"""Captions of recordings: segments one after the other, several under way at once, answers in order.

One segment that fails never costs another: it says why in its place.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platoon.captions.captioner import Captioner
from platoon.captions.cutter import Cause, Cutter
from platoon.captions.payload import Clip, Form
from platoon.captions.showing import ROUNDING_S, chosen, shown
from platoon.engine.chat_server import Said
from platoon.errors import DeadlineExceeded, InvalidInput, Overloaded, PlatoonError
from platoon.media.input import Input
from platoon.media.picture_sampler import PictureSampler
from platoon.redaction import visible
from platoon.settings import CaptionSettings, SourceSettings

BUSY_TRIES: Final = 8
"""So often may the server say of one segment that it is busy."""

OnSegment = Callable[[int, int], None]
"""Hears of progress: segments done, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """A segment of a recording, and what the model says of it."""

    number: int
    start_s: float
    """From the first visible picture, as is `end_s`, in seconds."""
    end_s: float
    text: str = ""
    error: str | None = None
    """Why it has no caption."""
    missing: tuple[str, ...] = ()
    """Pictures that should have been shown to the model and could not be had, and why."""
    answer_s: float = 0.0
    """How long the server took."""


@dataclass(frozen=True, slots=True)
class _Segment:
    number: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the model is shown of a segment."""

    segment: _Segment
    clip: Clip | None
    """None: there is nothing to be shown."""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A segment on its way."""

    shown: _Shown
    answer: Future[tuple[Said, float]]


class RecordingCaptioner:
    """Captions recordings, one at a time; `close` it.

    Args:
        settings: how they are cut and shown.
    """

    def __init__(self, captioner: Captioner, settings: CaptionSettings, source: SourceSettings) -> None:
        self._captioner, self._settings, self._source = captioner, settings, source
        self._asking = ThreadPoolExecutor(settings.max_requests, "caption")
        self._pause = _Pause()

    def close(self) -> None:
        """Give up what is under way."""
        self._pause.stop()
        self._asking.shutdown(wait=False, cancel_futures=True)

    def caption(
        self, path: Path | str, *, once: bool = False, on_segment: OnSegment = lambda _done, _of: None
    ) -> Iterator[Captioned]:
        """Each segment of a recording, in order.

        Args:
            once: the first segment only.

        Raises:
            SourceError: it cannot be opened, or no picture of it can be decoded. PlatoonError: the server cannot be
                asked at all.
        """
        form = self._captioner.form()
        with closing(PictureSampler(lambda: self._open(path))) as sampler:
            segments = self._segments(sampler.index.end_s)
            segments = segments[:1] if once else segments
            clips = self._videos(path, len(segments)) if form is Form.MP4 else self._pictures(sampler, segments)
            under_way: deque[_Asked] = deque()
            on_segment(done := 0, len(segments))
            for piece in clips:
                under_way.append(_Asked(piece, self._begin(piece)))
                while under_way and (len(under_way) >= self._settings.max_requests or under_way[0].answer.done()):
                    yield _ended(under_way.popleft())
                    on_segment(done := done + 1, len(segments))
            while under_way:
                yield _ended(under_way.popleft())
                on_segment(done := done + 1, len(segments))
            if sampler.index.cut_off is not None:
                raise InvalidInput(sampler.index.cut_off)

    def _open(self, path: Path | str) -> Input:
        opened = Input(str(path), self._source)
        if opened.live:
            opened.close()
            raise InvalidInput(f"{path} is a live stream: put it into a registry for platoon run")
        return opened

    def _segments(self, end_s: float) -> list[_Segment]:
        every, stride = self._settings.every, self._settings.every - self._settings.overlap
        # What the overlap alone would be of has been shown already.
        count = max(1, math.ceil((end_s - self._settings.overlap - ROUNDING_S) / stride))
        starts = (number * stride for number in range(count))
        return [_Segment(number, start, min(start + every, end_s)) for number, start in enumerate(starts)]

    def _pictures(self, sampler: PictureSampler, segments: list[_Segment]) -> Iterator[_Shown]:
        """The segments as pictures, each for one look into the recording."""
        for segment in segments:
            numbers = chosen(sampler.index.times_s, segment.start_s, segment.end_s, self._settings)
            jpegs, _, missing = shown(sampler, numbers, self._settings.max_side)
            yield _Shown(segment, Clip(jpegs=jpegs) if jpegs else None, tuple(missing))

    def _videos(self, path: Path | str, count: int) -> Iterator[_Shown]:
        """At most so many segments as videos, by the times that their packets have."""
        settings, number, before = self._settings, 0, 0.0
        zero_s: float | None = None
        with closing(self._open(path)) as source:
            cutter = Cutter(source.stream, every_s=settings.every, overlap_s=settings.overlap)
            for packet in source.packets():
                for cut in cutter.put(packet) if packet.size else cutter.end():
                    if number == count:
                        return
                    zero_s = cut.start_s - before if zero_s is None else zero_s
                    before = cut.end_s - zero_s
                    yield _Shown(_Segment(number, cut.start_s - zero_s, before), Clip(mp4=cut.mp4))
                    number += 1
                    if cut.cause is Cause.JUMP:
                        zero_s = None

    def _begin(self, shown: _Shown) -> Future[tuple[Said, float]]:
        if shown.clip is not None:
            return self._asking.submit(self._ask, shown.clip)
        answer: Future[tuple[Said, float]] = Future()
        answer.set_exception(InvalidInput("; ".join(shown.missing) or "no picture is shown in it"))
        return answer

    def _ask(self, clip: Clip) -> tuple[Said, float]:
        for _ in range(BUSY_TRIES):
            self._pause.wait()
            began = time.monotonic()
            try:
                asked = self._captioner.ask(clip, self._settings.prompt, deadline=began + self._settings.timeout_s)
                return asked.result(), time.monotonic() - began
            except Overloaded as busy:
                self._pause.extend(busy.retry_after_s)
        raise DeadlineExceeded(f"the caption server said {BUSY_TRIES} times that it is busy")


class _Pause:
    """While the server is busy, nobody asks it."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._until = 0.0

    def extend(self, for_s: float) -> None:
        self._until = max(self._until, time.monotonic() + for_s)

    def wait(self) -> None:
        while (left_s := self._until - time.monotonic()) > 0 and not self._stopped.wait(left_s):
            pass

    def stop(self) -> None:
        self._stopped.set()


def _ended(asked: _Asked) -> Captioned:
    segment = asked.shown.segment
    text, error, answer_s = "", None, 0.0
    try:
        said, answer_s = asked.answer.result()
        text = visible(" ".join(said.text.split()))
    except PlatoonError as failure:
        error = str(failure)
    return Captioned(
        number=segment.number,
        start_s=segment.start_s,
        end_s=segment.end_s,
        text=text,
        error=error,
        missing=asked.shown.missing,
        answer_s=answer_s,
    )
