"""Who may call the OCR service, and how often.

With API keys in the settings a caller shows one, as `Authorization: Bearer KEY` or `X-API-Key: KEY`; each key may
have a rate. Without any, callers on this machine are served, and others only if the settings say so. The settings
hold the digests of keys: whoever reads them learns no key.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable, Mapping
from hashlib import sha256

from platoon.errors import Forbidden, InvalidSettings, Overloaded, Unauthorised
from platoon.settings import ApiKey, ServiceSettings

NO_KEYS = "no API keys are set, so only callers on this machine are served; set service.keys, or service.open = true"


class Access:
    """Admits callers. Belongs to one event loop.

    Args:
        clock: seconds.
    """

    def __init__(self, settings: ServiceSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._open = settings.open
        self._keys = [(key, _Bucket(key, clock)) for key in settings.keys]

    def admit(self, headers: Mapping[str, str], client: str | None) -> str:
        """The caller's name, for logs: its key's, or empty where no keys are set.

        Args:
            client: the caller's address.

        Raises:
            Unauthorised: no key, or none that is known. Forbidden: not from this machine, which would need one.
            Overloaded: more often than its key allows.
        """
        if not self._keys:
            if not self._open and not is_loopback(client or ""):
                raise Forbidden(NO_KEYS)
            return ""
        given = _key_in(headers)
        if not given:
            raise Unauthorised("an API key is needed: send it as Authorization: Bearer KEY, or as X-API-Key: KEY")
        digest = sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
        for key, bucket in self._keys:
            if hmac.compare_digest(digest, key.sha256):
                bucket.take()
                return key.name
        raise Unauthorised("this API key is not known here")


def check_listening(host: str, settings: ServiceSettings) -> None:
    """Raises InvalidSettings where a service that is there to be called from elsewhere would refuse all who do."""
    if not settings.keys and not settings.open and not is_loopback(host):
        raise InvalidSettings(f"cannot serve on {host}: {NO_KEYS}")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower() == "localhost"
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_loopback


def _key_in(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()


class _Bucket:
    """A token bucket: `burst` requests at once, then `rate` a second."""

    def __init__(self, key: ApiKey, clock: Callable[[], float]) -> None:
        self._key, self._clock = key, clock
        self._tokens = float(key.burst)
        self._filled_at = clock()

    def take(self) -> None:
        if self._key.rate is None:
            return
        now = self._clock()
        self._tokens = min(self._key.burst, self._tokens + (now - self._filled_at) * self._key.rate)
        self._filled_at = now
        if self._tokens < 1:
            wait_s = (1 - self._tokens) / self._key.rate
            raise Overloaded(f"key {self._key.name!r} may call {self._key.rate:g} times a second", retry_after_s=wait_s)
        self._tokens -= 1
