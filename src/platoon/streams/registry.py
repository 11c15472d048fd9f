"""The camera registry: a text file, one camera a line, that operators and their tools already write.

`id|name|url|port`, an optional fifth field `disabled` (or `off`), `#` comments and blank lines. All that is wrong is
reported at once, with line numbers; a registry with a bad line starts nothing, and an edit with one changes nothing.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from platoon.errors import InvalidSettings
from platoon.media.addresses import host_of
from platoon.redaction import redact

_log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often the file is looked at while it runs."""
SCHEMES = ("rtsp", "rtsps", "http", "https", "file")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_OF_A_NAME = 200
_HINT = "in a password '/', '?', '#', '@', '|' and blanks are written %2F, %3F, %23, %40, %7C, %20"


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One line of the registry."""

    id: str
    name: str
    url: str = field(repr=False)
    """With its credentials: shown only as `redact` leaves it."""
    port: int
    """Of the camera's own interfaces; 0: none."""
    enabled: bool = True


def read_registry(path: Path, *, main_port: int = 0) -> list[CameraSpec]:
    """The cameras of a registry file.

    Args:
        main_port: taken by the site itself, so no camera may have it.

    Raises:
        InvalidSettings: the file cannot be read, holds no camera or has bad lines; names each with its reason.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidSettings(f"cannot read the camera registry {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"the camera registry {path} is not a text file (UTF-8): {error.reason}") from error
    return parse_registry(text, where=str(path), folder=path.parent, main_port=main_port)


def parse_registry(text: str, *, where: str, folder: Path, main_port: int = 0) -> list[CameraSpec]:
    """The cameras of a registry's text; relative file paths start at `folder`. Raises as `read_registry`."""
    cameras: list[CameraSpec] = []
    problems: list[str] = []
    ids: dict[str, int] = {}
    ports: dict[int, int] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        camera, reasons = _parse_line(line, folder)
        if camera is not None:
            if camera.id in ids and _ID.fullmatch(camera.id):
                reasons.append(f"id {camera.id!r} is already used in line {ids[camera.id]}")
            if camera.port and camera.port in ports:
                reasons.append(f"port {camera.port} is already used in line {ports[camera.port]}")
            if camera.port and camera.port == main_port:
                reasons.append(f"port {camera.port} is the main port")
            ids.setdefault(camera.id, number)
            ports.setdefault(camera.port, number)
        if reasons:
            problems.append(f"line {number}: {'; '.join(reasons)}")
        elif camera is not None:
            cameras.append(camera)
    if problems:
        listed = "\n  ".join(problems)
        raise InvalidSettings(f"{where}: {len(problems)} bad line{'s' * (len(problems) > 1)}\n  {listed}")
    if not cameras:
        raise InvalidSettings(f"{where} names no camera; a line is id|name|url|port")
    return cameras


def camera_of(url: str) -> CameraSpec:
    """The camera at an address, for whoever has one and no registry. Raises InvalidSettings: it is none."""
    url, reason = _resolve(url.strip(), Path())
    if reason:
        raise InvalidSettings(reason)
    return CameraSpec("camera", host_of(url) or "camera", url, 0)


def changes(old: Sequence[CameraSpec], new: Sequence[CameraSpec]) -> tuple[list[CameraSpec], list[CameraSpec]]:
    """What to stop and what to start to get from `old` to `new`; a changed camera is in both."""
    before, after = set(old), set(new)
    return [camera for camera in old if camera not in after], [camera for camera in new if camera not in before]


def _parse_line(line: str, folder: Path) -> tuple[CameraSpec | None, list[str]]:
    """The camera of a line, and what is wrong with it, without quoting what may be a part of a password."""
    fields = [field.strip() for field in line.split("|")]
    if not 4 <= len(fields) <= 5:
        hint = f"; {_HINT}" if len(fields) > 5 else ""
        return None, [f"has {len(fields)} field{'s' * (len(fields) != 1)}, a line is id|name|url|port{hint}"]
    identity, name, url, port_text = fields[:4]
    reasons = []
    if not _ID.fullmatch(identity):
        named = repr(identity) if re.fullmatch(r"[\w .-]{1,80}", identity) else "of the camera"
        reasons.append(f"id {named} must be 1 to 64 letters, digits, '_', '.' or '-'")
    if not url:
        reasons.append("the url is empty")
    else:
        url, reason = _resolve(url, folder)
        reasons += [reason] if reason else []
    port = int(port_text) if re.fullmatch(r"\d{1,5}", port_text, re.ASCII) else -1
    if not 0 <= port <= 65535:
        named = f", not {port_text}" if re.fullmatch(r"-?\d{1,9}", port_text, re.ASCII) else ""
        reasons.append(f"the port must be a number from 0 (none) to 65535{named or f'; {_HINT}'}")
    if len(fields) == 5 and fields[4].lower() not in ("disabled", "off", ""):
        reasons.append(f"the fifth field may only be 'disabled' or 'off'; {_HINT}")
    enabled = not (len(fields) == 5 and fields[4])
    return CameraSpec(identity, redact(name, _MOST_OF_A_NAME) or identity, url, max(port, 0), enabled), reasons


def _resolve(url: str, folder: Path) -> tuple[str, str]:
    """The url, relative file paths made absolute, and what is wrong with it."""
    if any(ord(letter) < 32 for letter in url):
        return url, "the url has a control character in it"
    if "://" not in url:
        try:
            path = (folder / Path(url).expanduser()).resolve()
            if ("@" in url or re.match(r"[A-Za-z][A-Za-z0-9+.-]{1,31}:", url)) and not path.exists():
                return url, f"the url begins with none of {', '.join(SCHEMES)}:// and is no file's path"
        except (OSError, RuntimeError, ValueError):  # too long, links in a circle, no home folder
            return url, "the url is a file's path that leads nowhere"
        return str(path), ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text repeats what may be a password
        return url, f"the url {redact(url)} is malformed; {_HINT}"
    if parts.scheme.lower() not in SCHEMES:
        return url, f"the url {redact(url)} must start with {', '.join(SCHEMES)} or be a file's path"
    if parts.scheme.lower() == "file":
        return url, ""
    if re.search(r"\s", url):
        return url, f"the url has a blank in it; {_HINT}"
    if not host:
        return url, f"the url {redact(url)} names no host"
    return url, ""


class RegistryFollower:
    """Applies edits of a registry file while a site runs; a bad edit is reported and changes nothing.

    Args:
        apply: called with the cameras of every good edit, on the follower's thread.
    """

    def __init__(self, path: Path, apply: Callable[[list[CameraSpec]], None], *, main_port: int) -> None:
        self._path, self._apply, self._main_port = path, apply, main_port
        self._stopping = threading.Event()
        self._seen = self._stamp()
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            stamp = self._stamp()
            if stamp == self._seen:
                continue
            self._seen = stamp
            try:
                cameras = read_registry(self._path, main_port=self._main_port)
            except InvalidSettings as error:
                _log.error("the edited registry is not used, the cameras go on as before: %s", error)
                continue
            _log.info("registry changed: %d cameras", len(cameras))
            try:
                self._apply(cameras)
            except Exception:  # the next edit may mend it
                _log.exception("the edited registry cannot be applied")

    def _stamp(self) -> tuple[int, int, int]:
        """Differs after an edit in place as well as after an editor put a new file there."""
        try:
            status = self._path.stat()
        except OSError:
            return 0, 0, 0
        return status.st_ino, status.st_mtime_ns, status.st_size
