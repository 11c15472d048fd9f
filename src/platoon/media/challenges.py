"""How a camera wants its user and password, where FFmpeg only knows that it did not accept them."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_WAIT_S: Final = 2.0
_MOST_BYTES: Final = 16_384


def unsupported_login(url: str) -> str | None:
    """What kind of login a camera asks for that FFmpeg does not know, for people; none: it is one that it knows.

    Asks the camera once more, without a login; what it answers is believed for this sentence only.
    """
    asked = _challenges(url)
    digests = [said for said in asked if said.lower().startswith("digest")]
    algorithms = [_algorithm(said) for said in digests]
    if not asked or any(said.lower().startswith("basic") for said in asked) or "MD5" in algorithms:
        return None
    if algorithms:
        return (
            f"the camera wants a login by {algorithms[0]} Digest, which is not supported; set it to MD5 Digest or Basic"
        )
    kind = re.sub(r"[^A-Za-z0-9-]", "", asked[0].split(" ", 1)[0])[:20]
    return f"the camera wants a login by {kind}, which is not supported; set it to Digest or Basic"


def _algorithm(challenge: str) -> str:
    found = re.search(r'algorithm\s*=\s*"?([A-Za-z0-9-]{1,20})', challenge, re.IGNORECASE)
    return found[1].upper() if found else "MD5"


def _challenges(url: str) -> list[str]:
    """The values of `WWW-Authenticate`; nothing: it cannot be asked, or wants no login."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
        if host is None or scheme not in _PORTS:
            return []
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with socket.create_connection((host, port or _PORTS[scheme]), _WAIT_S) as plain:
            plain.settimeout(_WAIT_S)
            if scheme in ("rtsps", "https"):
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as for FFmpeg; no secret is sent
                connection: socket.socket = context.wrap_socket(plain, server_hostname=host)
            else:
                connection = plain
            named = f"[{host}]" if ":" in host else host
            place = f"{named}:{port}" if port else named
            if scheme.startswith("rtsp"):
                request = f"DESCRIBE {scheme}://{place}{path} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
            else:
                request = f"GET {path} HTTP/1.0\r\nHost: {place}\r\n\r\n"
            connection.sendall(request.encode("ascii"))
            head = b""
            while b"\r\n\r\n" not in head and len(head) < _MOST_BYTES:
                more = connection.recv(4096)
                if not more:
                    break
                head += more
    except (OSError, ValueError):
        return []
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    return [value.strip() for name, _, value in pairs if name.strip().lower() == "www-authenticate"]
