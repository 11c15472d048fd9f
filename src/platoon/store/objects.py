"""Pictures under keys: a local folder by default, S3, GCS or Azure behind the same face.

On a local disk an object is written beside its name and renamed, so a reader sees all of it or nothing.
Which pictures are still wanted is for `retention` to decide.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from obstore import exceptions
from obstore.store import LocalStore, from_url

from platoon.errors import InvalidInput, NotFound, StoreError
from platoon.private import FILE_MODE, make_folder
from platoon.redaction import redact
from platoon.store import space

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as AnyStore

_MAX_KEY_BYTES = 512
_TIMEOUTS: Final[ClientConfig] = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=20)}
_PREFIXES: Final = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
_CLIENT_OPTIONS: Final = (
    *("allow_http", "allow_invalid_certificates"),
    *("proxy_url", "proxy_ca_certificate", "proxy_excludes"),
)
_RETRY: Final[RetryConfig] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
"""A store that is away fails in seconds, as a disk does: whoever writes there tries again by itself."""
_MISSING: Final = (FileNotFoundError, exceptions.NotFoundError)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing says of an object."""

    key: str
    modified_at: float
    """Seconds since 1970."""


class ObjectStore:
    """Bytes under keys such as `crops/gate-1/2026-01-31/0a1b.jpg`. Safe from any thread.

    Args:
        location: a folder (made where there is none), or a URL: `file:///folder`, `s3://bucket/prefix`, `gs://…`, `az://…`,
            `memory:///`; credentials for these come from the environment, as their own tools take them.
        unattended: a folder that cannot be made is no error of the constructor, but of each method until it can be.

    Raises:
        StoreError: from every method, when the location cannot be written or read.
        InvalidInput: a key is empty, too long, or leads out of the location.
    """

    def __init__(self, location: Path | str, *, unattended: bool = False) -> None:
        self.location = str(location)
        self._folder = _folder_of(location)
        if self._folder is None or not unattended:
            with self._explained("opened"):
                _ = self._store  # what cannot be used is found out now

    @cached_property
    def _store(self) -> AnyStore:
        if self._folder is None:
            return from_url(self.location, client_options=_client(self.location), retry_config=_RETRY)
        make_folder(self._folder)
        return LocalStore(self._folder, mkdir=True, automatic_cleanup=True)

    def shares_disk(self, folder: Path) -> bool:
        """Whether deleting here makes room on the disk of `folder`, which exists."""
        return self._folder is not None and self._folder.stat().st_dev == folder.stat().st_dev

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, all or nothing; replaces what was there."""
        with self._explained("written"):
            if self._folder is not None:
                make_folder((self._folder / _valid(key)).parent)
            self._store.put(_valid(key), data)
            if self._folder is not None:
                _keep(self._folder / key)

    def get(self, key: str) -> bytes:
        """The bytes under `key`.

        Raises:
            NotFound: there are none.
        """
        with self._explained("read"):
            try:
                return bytes(self._store.get(_valid(key)).bytes())
            except (FileNotFoundError, exceptions.NotFoundError) as error:
                raise NotFound(f"no picture {key!r} in {self.location}: it may have outlived its time") from error

    def size(self, key: str) -> int:
        """Bytes under `key`; 0 where there is nothing."""
        with self._explained("read"):
            try:
                return self._store.head(_valid(key))["size"]
            except (FileNotFoundError, exceptions.NotFoundError):
                return 0

    def delete(self, keys: Iterable[str]) -> None:
        """Remove these, as a list where the location takes lists; what is not there is no error."""
        going = list(map(_valid, keys))
        with self._explained("deleted"):
            try:
                if going:
                    self._store.delete(going)
            except _MISSING:  # one of them; on a local disk that ends the list
                for key in going:
                    with suppress(*_MISSING):
                        self._store.delete(key)

    def walk(self, folder: str = "") -> Iterator[Sequence[StoredObject]]:
        """All objects, folder by folder; each is only read when it is asked for."""
        with self._explained("read"):
            found = self._store.list_with_delimiter(folder or None)
        yield _stored(found["objects"])
        for below in found["common_prefixes"]:
            yield from self.walk(below)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn the store's errors into one line that says what to do."""
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            reason = redact(str(error).splitlines()[0])
            if any(sign in reason.lower() for sign in _FULL):
                reason = f"disk is full ({reason})"
            raise StoreError(
                f"pictures in {self.location} cannot be {what}: {reason}; {_way_out(reason, self._folder)}"
            ) from error


_FULL: Final = (
    "no space left",
    "quota",
    *(f"os error {number})" for number in space.FULL),
    "insufficient storage",
)


def _keep(path: Path) -> None:
    """Let nobody else read a picture, and have it on the disk when this returns."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(file, FILE_MODE)
        os.fsync(file)
    finally:
        os.close(file)


def _stored(found: Iterable[Mapping[str, Any]]) -> list[StoredObject]:
    """What a listing found, but for what is empty: no picture is, and some servers list empty folders so."""
    return [StoredObject(one["path"], one["last_modified"].timestamp()) for one in found if one["size"]]


def _valid(key: str) -> str:
    parts = key.split("/")
    if (
        not key.isprintable()
        or "\\" in key
        or len(key.encode()) > _MAX_KEY_BYTES
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise InvalidInput(f"not a key for a picture: {key!r:.120}")
    return key


def _folder_of(location: Path | str) -> Path | None:
    """The folder that is meant; None: it is elsewhere."""
    if isinstance(location, str) and "://" in location:
        parts = urlsplit(location)
        return Path(url2pathname(parts.path)).absolute() if parts.scheme == "file" else None
    return Path(location).absolute()


def _client(url: str) -> ClientConfig:
    """How to speak with the store. Options given here keep obstore from looking for any in the environment."""
    prefix = _PREFIXES.get(urlsplit(url).scheme, "")
    given = {option: os.environ.get(f"{prefix}_{option.upper()}") for option in _CLIENT_OPTIONS}
    set_there: Any = {option: value for option, value in given.items() if value}
    return {**set_there, **_TIMEOUTS}


def _way_out(reason: str, folder: Path | None) -> str:
    if folder is None:
        return "see that its address (PLATOON_STORE__CROPS) and its credentials in the environment are right"
    if reason.startswith("disk is full"):
        return "free space on its disk, or keep less (PLATOON_STORE__MAX_BYTES, PLATOON_STORE__MAX_AGE_DAYS)"
    return "let this user write there, or choose another place with PLATOON_STORE__PATH"
