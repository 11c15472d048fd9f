"""What browsers get to know and are refused.

Pages of other sites may neither change anything here nor listen to the cameras: a request that a browser sends for a
page of another host (it says so in `Origin`) is refused where it could do either, and whatever it says of itself to be
a part of such a page (`Sec-Fetch-Site`) in any case. Other ports of this host are welcome, as operators' tools open the
cameras' own ports. A name in `Host` that nobody gave this machine is refused: such a page would have its own name point
here, and then count as ours. Our pages load nothing from elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from platoon.api.access import is_loopback
from platoon.errors import Forbidden, InvalidInput, PlatoonError
from platoon.settings import ApiSettings, ServiceSettings

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""With every answer of every port, also with those that the server gives before any application is asked."""

_READING: Final = {"GET", "HEAD", "OPTIONS"}
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_WILDCARDS: Final = {"0.0.0.0", "::", ""}


class UnknownHost(PlatoonError):
    """The call is for a name that nobody gave this machine."""

    status = 421


class OtherSite(Forbidden):
    """A page of another site calls."""


class Hosts:
    """The names and addresses under which callers may ask for this machine."""

    def __init__(self, api: ApiSettings, service: ServiceSettings) -> None:
        self.public_url = api.public_url.rstrip("/") if api.public_url else None
        names = {*service.hosts, api.host} - _WILDCARDS
        if self.public_url:
            names.add(urlsplit(self.public_url).hostname or "")
        self._names = {_normal(name) for name in names}

    def check(self, scope: Any) -> None:
        """Refuse what a browser may send for a page of another site.

        Args:
            scope: of ASGI, http or websocket.

        Raises:
            InvalidInput: no `Host`, or more than one. UnknownHost: it is none of ours. OtherSite: as said.
        """
        headers = Headers(scope=scope)
        host = self._host_of(headers)
        local = str((scope.get("server") or ("",))[0])
        if not (is_loopback(host) or _normal(host) in self._names or _normal(host) == _normal(local)):
            raise UnknownHost(f"this machine is not known as {host!r}: add it to service.hosts, or ask for its address")
        if self._foreign(scope, headers, host):
            raise OtherSite("a page of another site may not do this; open Platoon's own page")

    def base_url(self, scope: Any) -> str:
        """Where answers say that something is: `api.public_url`, else the address that the caller reached."""
        if self.public_url:
            return self.public_url
        host, port = scope.get("server") or ("127.0.0.1", None)
        return f"http://{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}"

    def _host_of(self, headers: Headers) -> str:
        hosts = headers.getlist("host")
        found = _AUTHORITY.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
        if found is None:
            raise InvalidInput("Host: name one host, as in Host: 127.0.0.1:8080")
        return found[1].strip("[]")

    def _foreign(self, scope: Any, headers: Headers, host: str) -> bool:
        reading = scope["type"] == "http" and scope["method"] in _READING
        if headers.get("sec-fetch-site") == "cross-site":
            followed_a_link = (
                headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            )
            return not (reading and followed_a_link)
        origin = headers.get("origin")
        if reading or origin is None or origin == self.public_url:
            return False  # harmless; no browser; our page
        try:
            parts = urlsplit(origin)
            return parts.scheme not in ("http", "https") or _normal(parts.hostname or "") != _normal(host)
        except ValueError:
            return True


def _normal(host: str) -> str:
    """The same for all ways to write an address or a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower().removesuffix(".")
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(inner or address)
