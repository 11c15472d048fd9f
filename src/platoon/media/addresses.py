"""What FFmpeg may open, by which protocols and as which formats.

A playlist leads to no file: one over HTTP (HLS) to what is there over HTTP alone. A text is not taken for text art.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from platoon.media.failures import BY_ERRNO, SourceError, SourceFailure
from platoon.redaction import redact
from platoon.settings import SourceSettings

_FORMATS: Final = (
    "rtsp,mpjpeg,mjpeg,mpegts,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,mpeg,mpegvideo,m4v,dhav,"
    "h264,hevc,av1,obu,ivf,ogg,mxf,nut,yuv4mpegpipe,wav,mp3,aac,flac"
)
"""Audio formats are among them so that a file of sound is told from a file of nonsense."""

# The frame rate is taken from the parameter sets: measuring it would delay every start by 20 frames.
_RTSP: Final = {"allowed_media_types": "video", "fpsprobesize": "0"}
_REMOTE: Final = {
    "rtsp": {**_RTSP, "protocol_whitelist": "tcp,udp,rtp", "rtsp_flags": "prefer_tcp"},
    "rtsps": {**_RTSP, "protocol_whitelist": "tcp,tls", "rtsp_transport": "tcp"},
    "http": {"protocol_whitelist": "http,https,tcp,tls,crypto"},
    "https": {"protocol_whitelist": "https,tls,tcp,crypto"},
}
"""Schemes of streams, and FFmpeg's options for them."""


def is_remote(url: str) -> bool:
    """Whether `url` is a network stream and not a file."""
    return _scheme(url) in _REMOTE


def is_http(url: str) -> bool:
    """Whether `url` is a network stream over HTTP."""
    return _scheme(url) in ("http", "https")


def lower_scheme(url: str) -> str:
    """`url` as FFmpeg and GStreamer know schemes: in small letters."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.lower()}{separator}{rest}" if separator else url


def target_of(url: str, settings: SourceSettings, file: BinaryIO | None) -> tuple[str | BinaryIO, dict[str, str]]:
    """Name what FFmpeg opens, and its options."""
    options = {"format_whitelist": _FORMATS, "max_pixels": str(settings.max_pixels)}
    if file is not None:  # what it may name is opened by no protocol
        file.seek(0)
        return file, {**options, "protocol_whitelist": "none"}
    if is_http(url):
        options["format_whitelist"] += ",hls"
    if is_remote(url):
        return lower_scheme(url), {**options, **_REMOTE[_scheme(url)]}
    return f"file:{file_of(url)}", {**options, "protocol_whitelist": "file"}


def file_of(url: str) -> Path:
    """The file that `url`, a path or `file://`, names. Raises SourceError if it cannot be read, or is no file."""
    scheme = _scheme(url)
    if scheme not in ("", "file"):
        raise SourceError(
            f"{redact(url)}: {scheme}:// is not supported; use rtsp(s)://, http(s):// or a file",
            failure=SourceFailure.UNSUPPORTED,
            final=True,
        )
    return _checked(Path(unquote(urlsplit(url).path)) if scheme else Path(url))


def _scheme(url: str) -> str:
    """Empty for a path."""
    return url.partition("://")[0].lower() if "://" in url else ""


def host_of(url: str) -> str | None:
    """The host that `url` names; none: it names none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _checked(path: Path) -> Path:
    failure, reason = SourceFailure.NO_FILE, ""
    try:
        if not path.is_file():  # a pipe or a device would block here for ever
            reason = "a folder" if path.is_dir() else "no such file" if not path.exists() else "not a regular file"
        else:
            with path.open("rb") as file:
                if not file.read(1):
                    failure, reason = SourceFailure.CORRUPT, "the file is empty"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        if isinstance(error, OSError) and error.errno in BY_ERRNO:
            failure, reason = BY_ERRNO[error.errno]
    if reason:
        raise SourceError(f"{path}: {reason}", failure=failure, final=failure is not SourceFailure.NO_DESCRIPTORS)
    return path
