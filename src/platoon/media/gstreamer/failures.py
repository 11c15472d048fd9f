"""What GStreamer's errors mean for who looks after cameras. Its own words are not repeated: they may hold addresses."""

from __future__ import annotations

from typing import Final

from platoon.media.failures import SourceFailure

_RESOURCE: Final = {
    3: (SourceFailure.NOT_FOUND, "the host has no such stream"),
    7: (SourceFailure.CLOSED, "no connection, or the other side hung up"),
    5: (SourceFailure.CLOSED, "no connection, or the other side hung up"),
    9: (SourceFailure.CLOSED, "the other side ended the connection"),
    15: (SourceFailure.UNAUTHORISED, "user or password are not accepted"),
}
"""GstResourceError: NOT_FOUND, OPEN_READ_WRITE, OPEN_READ, READ, NOT_AUTHORIZED."""
_STREAM: Final = {
    3: (SourceFailure.UNSUPPORTED, "not a video that can be read here"),
    4: (SourceFailure.UNSUPPORTED, "not a video that can be read here"),
    5: (SourceFailure.UNSUPPORTED, "not a video"),
    6: (SourceFailure.UNSUPPORTED, "no decoder for its video"),
    7: (SourceFailure.CORRUPT, "the stream is damaged"),
    9: (SourceFailure.CORRUPT, "the stream is damaged"),
}
"""GstStreamError: NOT_IMPLEMENTED, TYPE_NOT_FOUND, WRONG_TYPE, CODEC_NOT_FOUND, DECODE, DEMUX."""
_MISSING_PLUGIN: Final = 12  # of GstCoreError


def failure_of(domain: str, code: int, text: str) -> tuple[SourceFailure, str]:
    """Name an error of this domain and code; `text` is what it says, read for the little that codes do not tell."""
    if domain == "gst-core-error-quark" and code == _MISSING_PLUGIN:
        if "(audio/" in text and "(video/" not in text:
            return SourceFailure.NO_VIDEO, "there is no video in it"
        return SourceFailure.UNSUPPORTED, "no decoder for what it holds is installed"
    if domain == "gst-resource-error-quark":
        if code == 9 and "Error (" in text:  # an answer of RTSP or HTTP
            return SourceFailure.REJECTED, "the host answered with an error"
        return _RESOURCE.get(code, (SourceFailure.FAILED, "the source failed"))
    if domain == "gst-stream-error-quark":
        return _STREAM.get(code, (SourceFailure.CORRUPT, "the stream cannot be read"))
    return SourceFailure.FAILED, "the pipeline failed"
