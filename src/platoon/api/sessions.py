"""Sessions: a person shows a key once, and the browser holds a cookie from then on.

The cookie is a signed statement that it was given for a key, until when: the server keeps nothing but those that were
ended before their time, as long as it runs. It holds for the very key: with another digest in the settings, or none, it
is worth nothing.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from platoon.private import FILE_MODE, close, make_folder
from platoon.settings import ApiKey, ServiceSettings

_PREFIX: Final = "platoon-"
_SECRET_BYTES: Final = 32
_MOST_ENDED: Final = 10_000

_log = logging.getLogger(__name__)


class Sessions:
    """Makes and reads the cookies. Safe from any thread.

    Args:
        folder: where the secret they are signed with is kept, so that they outlive the process; none: they do not.
        clock: seconds since 1970, as a session may outlive the process.
    """

    def __init__(
        self, settings: ServiceSettings, folder: Path | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.lasts_s = settings.session_hours * 3600
        self._keys, self._folder, self._clock = settings.keys, folder, clock
        self._ended: dict[str, int] = {}
        """Statement -> until when it would have held."""

    @property
    def cookie(self) -> str:
        """Its name. Cookies know no ports: another Platoon on this host has another secret, and so another name."""
        return _PREFIX + sha256(self._secret).hexdigest()[:8]

    def begin(self, key: ApiKey) -> str:
        """The cookie's value for whoever has shown this key."""
        said = f"{secrets.token_urlsafe(12)}.{int(self._clock() + self.lasts_s)}"
        return f"{said}.{self._signature(said, key)}"

    def key_of(self, cookies: str) -> ApiKey | None:
        """The key that a session was begun with; none: there is no session, or it has ended.

        Args:
            cookies: as the header `Cookie` has them.
        """
        if not self._keys or _PREFIX not in cookies:  # the secret is made for whoever has a session
            return None
        said, _, signature = self._value_in(cookies).rpartition(".")
        until = said.rpartition(".")[2]
        if said in self._ended or not until.isdecimal() or int(until) <= self._clock():
            return None
        found = None
        for key in self._keys:
            if hmac.compare_digest(signature.encode(), self._signature(said, key).encode()):
                found = key
        return found

    def end(self, cookies: str) -> None:
        """End the session that these cookies are of, if they are of one."""
        if self.key_of(cookies) is None:
            return
        now = self._clock()
        said = self._value_in(cookies).rpartition(".")[0]
        ended = {one: until for one, until in self._ended.items() if until > now} | {said: int(said.rpartition(".")[2])}
        self._ended = dict(list(ended.items())[-_MOST_ENDED:])

    def _value_in(self, cookies: str) -> str:
        for part in cookies.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                return value[:200]
        return ""

    def _signature(self, said: str, key: ApiKey) -> str:
        return hmac.digest(self._secret, f"session:{said}:{key.sha256}".encode(), "sha256").hex()

    @cached_property
    def _secret(self) -> bytes:
        if self._folder is None:
            return secrets.token_bytes(_SECRET_BYTES)
        try:
            return _kept(self._folder / "session.key")
        except OSError as error:
            _log.warning("sessions of the page end with this process, as their secret cannot be kept: %s", error)
            return secrets.token_bytes(_SECRET_BYTES)


def _kept(path: Path) -> bytes:
    """The secret in a file that only its owner reads; made where there is none, or none that is whole."""
    make_folder(path.parent)
    for _ in range(2):
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            found = b""
        if len(found) == _SECRET_BYTES:
            close(path)
            return found
        # Written beside it and linked: of two processes that start at once, both get the secret of the first.
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
            if found:
                draft.replace(path)
            else:
                os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    return path.read_bytes()
