"""Cameras that give JPEGs over HTTP in ways that FFmpeg does not recognise: one per request, or without boundaries.

A snapshot address gives one picture, however often it is asked; so it is asked again and again. A stream of pictures
whose first boundary is missing is read as the pictures alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import av
from av.codec.hwaccel import HWAccel

from platoon.media.addresses import is_http
from platoon.media.attention import EVERYTHING, Taker
from platoon.media.failures import SourceError, SourceFailure
from platoon.media.input import Input, OpenInput
from platoon.settings import SourceSettings

EVERY_S: Final = 0.5
"""So often a snapshot is asked for where nobody says how many pictures a second he wants."""
OFTENEST_S: Final = 0.2
"""And no more often: small web servers of cameras answer no faster."""
_JPEGS: Final = "mjpeg"
"""FFmpeg's format of JPEGs one after the other, whatever stands between them."""


def open_stream(
    url: str, settings: SourceSettings, *, taker: Taker = EVERYTHING, acceleration: HWAccel | None = None
) -> OpenInput:
    """What FFmpeg recognises at `url`, or pictures that it does not. Raises SourceError."""
    try:
        return Input(url, settings, taker=taker, acceleration=acceleration)
    except SourceError as error:
        if not is_http(url) or error.failure is not SourceFailure.UNSUPPORTED:
            raise
        try:
            if _is_one_picture(url, settings):
                return Snapshots(url, settings, taker=taker)
            return Input(url, settings, taker=taker, format=_JPEGS)
        except SourceError:  # it is neither: what FFmpeg said at first is all that is known
            raise error from None


def _is_one_picture(url: str, settings: SourceSettings) -> bool:
    """Whether an answer ends after one JPEG. Raises SourceError: there is none in it."""
    with closing(Input(url, settings, format=_JPEGS)) as answer:
        seen = 0
        try:
            for packet in answer.packets():
                seen += bool(packet.size)
                if seen > 1:
                    return False
        except SourceError as error:  # the next takes long
            if error.failure is not SourceFailure.CLOSED:
                return False
    return seen == 1


class Snapshots:
    """A live `OpenInput` by asking for one picture after the other. Raises SourceError as `Input`."""

    live = True
    codec = "mjpeg"
    lag = 0.0

    def __init__(self, url: str, settings: SourceSettings, *, taker: Taker) -> None:
        self._url, self._settings = url, settings
        self._every_s = max(1 / taker.rate if taker.rate else EVERY_S, OFTENEST_S)
        self._closed = threading.Event()

    @property
    def fps(self) -> float:
        """As often as it is asked."""
        return 1 / self._every_s

    def pictures(self) -> Iterator[tuple[av.VideoFrame, float | None]]:
        """See `OpenInput.pictures`: each with the time at which it was asked for."""
        while not self._closed.is_set():
            asked = time.monotonic()
            yield self._one(), asked
            self._closed.wait(max(0.0, asked + self._every_s - time.monotonic()))

    def detections(self) -> None:
        """See `OpenInput.detections`."""

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _one(self) -> av.VideoFrame:
        with closing(Input(self._url, self._settings, format=_JPEGS)) as answer:
            context = answer.stream.codec_context
            context.options = {**context.options, "err_detect": "explode"}  # half a picture is none
            for packet in answer.packets():
                try:
                    for picture in packet.decode():
                        answer.check_size(picture.width, picture.height)
                        return picture
                except av.error.FFmpegError:
                    break
            raise answer.error(SourceFailure.CORRUPT, "its picture is damaged")
