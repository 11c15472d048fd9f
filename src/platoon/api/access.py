"""Who may do what here, and how often: the same for every route, socket and port.

With API keys in the settings a caller shows one, as `Authorization: Bearer KEY` or `X-API-Key: KEY`, or the cookie of a
session that was opened with one (`sessions`). A key has scopes and may have a rate. Without any, callers on this
machine are served, and others only if the settings say so. The settings hold the digests of keys: whoever reads them
learns no key.
"""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, get_args

from platoon.api.sessions import Sessions
from platoon.errors import Forbidden, InvalidSettings, Overloaded, Unauthorised
from platoon.settings import ApiKey, Scope, ServiceSettings

Need = Scope | Literal["key", "signature", "nothing"]
"""What a route asks of its caller: a scope; any key; an address that was signed for him; nothing."""

NO_KEYS = "no API keys are set, so only callers on this machine are served; set service.keys, or service.open = true"
_ALL: Final = frozenset[Scope](get_args(Scope))
_IMPLIED: Final[Mapping[Scope, frozenset[Scope]]] = {"admin": _ALL, "operate": frozenset({"read"})}
_CALLER: Final = "platoon.caller"
_HOLDS: Final = "platoon.admission_holds"
_GUESSES: Final = 20
"""Different wrong keys that may come from one address within `_GUESSES_S`."""
_GUESSES_S: Final = 60.0
_ADDRESSES: Final = 4096
"""Addresses that wrong keys came from: so many are remembered, of 1.5 KB at most each."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    name: str = ""
    """Its key's, for logs and as owner of jobs; empty where it needed none."""
    scopes: frozenset[Scope] = _ALL
    """With those that others imply."""
    key: ApiKey | None = None


class Access:
    """Admits callers. Safe from any thread, so that all doors share the rates.

    Args:
        folder: where the secret that sessions are signed with is kept; none: it ends with the process.
        clock: seconds.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        folder: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keyed = bool(settings.keys)
        """Whether callers need a key."""
        self.sessions = Sessions(settings, folder)
        self._open = settings.open
        self._callers = [Caller(key.name, _with_implied(key.scopes), key) for key in settings.keys]
        self._buckets = {key.name: _Bucket(key, clock) for key in settings.keys}
        self._guesses = _Guesses(clock)
        self._lock = threading.Lock()

    def admit(self, headers: Mapping[str, str], client: str | None, need: Need) -> Caller:
        """Who calls, if that caller may do this.

        Args:
            headers: by their names in lower case.
            client: the caller's address.

        Raises:
            Unauthorised: no key, or none that is known. Forbidden: not from this machine, which would need one; or its
            key lacks the scope. Overloaded: more often than its key allows, or too many wrong keys from this address.
        """
        if need in ("nothing", "signature"):
            return Caller()
        caller = self._caller(headers, client)
        if need != "key" and need not in caller.scopes:
            has = ", ".join(caller.key.scopes) if caller.key else "no scopes"
            raise Forbidden(f"this needs a key with the scope {need!r}; {caller.name!r} has {has}: see service.keys")
        if caller.key is not None:
            with self._lock:
                self._buckets[caller.name].take()
        return caller

    def holds(self, headers: Mapping[str, str]) -> bool:
        """Whether a caller who was admitted with these still is: keys last as long as this process, sessions do not."""
        return not self.keyed or bool(_key_in(headers)) or self.sessions.key_of(headers.get("cookie", "")) is not None

    def known(self, given: str, client: str | None) -> Caller:
        """Whose key this is.

        Raises:
            Unauthorised: nobody's. Overloaded: too many wrong ones came from this address; it was not looked at.
        """
        digest = sha256(given.encode("utf-8", "surrogateescape")).hexdigest()
        with self._lock:
            self._guesses.check(client or "")
            for caller in self._callers:
                if caller.key is not None and hmac.compare_digest(digest, caller.key.sha256):
                    return caller
            self._guesses.add(client or "", digest)
        raise Unauthorised("this API key is not known here")

    def _caller(self, headers: Mapping[str, str], client: str | None) -> Caller:
        if not self.keyed:
            if not self._open and not is_loopback(client or ""):
                raise Forbidden(NO_KEYS)
            return Caller()
        if given := _key_in(headers):
            return self.known(given, client)
        key = self.sessions.key_of(headers.get("cookie", ""))
        if key is None:
            raise Unauthorised("an API key is needed: send it as X-API-Key, or as the bearer token of Authorization")
        return next(caller for caller in self._callers if caller.key is key)


def admitted(scope: Any, caller: Caller, holds: Callable[[], bool]) -> None:
    """Note in an ASGI scope who calls, and what says whether that caller still may."""
    scope[_CALLER], scope[_HOLDS] = caller, holds


def still_admitted(scope: Any) -> bool:
    """Whether who was admitted still is: a session may end while a socket is open. Raises KeyError as `caller_of`."""
    return bool(scope[_HOLDS]())


def caller_of(scope: Any) -> Caller:
    """Who was admitted. Raises KeyError where nobody guards: nothing is done for whom nobody looked at."""
    caller: Caller = scope[_CALLER]
    return caller


def check_listening(host: str, settings: ServiceSettings) -> None:
    """Raises InvalidSettings for an address that others reach, where nothing keeps strangers out."""
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


def _with_implied(scopes: tuple[Scope, ...]) -> frozenset[Scope]:
    return frozenset(scopes).union(*(_IMPLIED.get(scope, frozenset()) for scope in scopes))


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


class _Guesses:
    """The wrong keys that came from each address of late.

    The same wrong key again is no guess: a program with an old key shuts nobody out who shares its address.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, dict[str, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Raises Overloaded where too many came from there."""
        tried = self._by_address.get(_network(client), {})
        now = self._clock()
        for digest, at in list(tried.items()):
            if now - at >= _GUESSES_S:
                del tried[digest]
        if len(tried) >= _GUESSES:
            wait_s = min(tried.values()) + _GUESSES_S - now
            raise Overloaded("too many unknown API keys came from this address", retry_after_s=wait_s)

    def add(self, client: str, digest: str) -> None:
        """One more; the address not heard of for the longest time is forgotten."""
        network = _network(client)
        self._by_address.setdefault(network, {}).setdefault(digest, self._clock())
        self._by_address.move_to_end(network)
        if len(self._by_address) > _ADDRESSES:
            self._by_address.popitem(last=False)


def _network(client: str) -> str:
    """What one caller can have of addresses: one of IPv4, 2^64 of IPv6."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return client
