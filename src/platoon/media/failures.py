"""Why a camera or clip gives no frames, by name, and how the system's own errors are told apart."""

from __future__ import annotations

import errno
import socket
from enum import StrEnum
from typing import Final

from platoon.errors import PlatoonError


class SourceFailure(StrEnum):
    """Why a source does not give frames."""

    REFUSED = "refused"
    """Nobody listens on that port."""
    UNREACHABLE = "unreachable"
    """The host's name is unknown, or no network leads there."""
    UNAUTHORISED = "unauthorised"
    """User or password are wrong, or may not see this stream."""
    NOT_FOUND = "not_found"
    """The host has no stream of that path."""
    OPEN_TIMEOUT = "open_timeout"
    """No answer within the deadline."""
    READ_TIMEOUT = "read_timeout"
    """The stream brought nothing for too long."""
    CLOSED = "closed"
    """The other side ended the connection."""
    REJECTED = "rejected"
    """The other side answered with an error of its own."""
    NO_VIDEO = "no_video"
    """Opened, but there is no video in it."""
    UNSUPPORTED = "unsupported"
    """Not a video that can be read here."""
    CORRUPT = "corrupt"
    """Damaged, cut off, or nothing that can be decoded."""
    BEHIND = "behind"
    """Decoded too slowly, without a keyframe to go on from."""
    NO_FILE = "no_file"
    """There is no such file, or it may not be read."""
    TOO_LARGE = "too_large"
    """The pictures exceed the pixel limit."""
    NO_DESCRIPTORS = "no_descriptors"
    """This process or the system has no file descriptor left."""
    FAILED = "failed"
    """Anything else."""


class SourceError(PlatoonError):
    """A source cannot be opened, or broke. `final`: trying again is useless."""

    def __init__(self, message: object, *, failure: SourceFailure, final: bool) -> None:
        super().__init__(message)
        self.failure = failure
        self.final = final


NO_DESCRIPTORS: Final = (
    SourceFailure.NO_DESCRIPTORS,
    "no file descriptor is left; raise the limit (`ulimit -n`, LimitNOFILE= of the service)",
)
BY_ERRNO: Final = {
    errno.EMFILE: NO_DESCRIPTORS,
    errno.ENFILE: NO_DESCRIPTORS,
    errno.ECONNREFUSED: (SourceFailure.REFUSED, "connection refused: is the port right and the device on?"),
    errno.EHOSTUNREACH: (SourceFailure.UNREACHABLE, "no route to the host"),
    errno.ENETUNREACH: (SourceFailure.UNREACHABLE, "no network leads to the host"),
    errno.ECONNRESET: (SourceFailure.CLOSED, "the other side reset the connection"),
    errno.EPIPE: (SourceFailure.CLOSED, "the other side closed the connection"),
}
"""Errors of the system, as failures and in words."""


def unreachable(host: str, port: int, *, timeout_s: float = 2.0) -> tuple[SourceFailure, str] | None:
    """Why nobody can connect to `host`; None: somebody can."""
    if not is_known(host):
        return SourceFailure.UNREACHABLE, f"there is no host {host}"
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError as error:
        return BY_ERRNO.get(error.errno or 0)
    return None


def descriptors_left() -> bool:
    """Whether this process may open another file or connection."""
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True


def is_known(host: str) -> bool:
    """Whether the name of `host` has an address."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
