"""Pictures under keys: a local folder by default, S3, GCS or Azure behind the same face.

On a local disk an object is written beside its place and renamed, so a reader sees all of it or nothing.
Which pictures are still wanted is for `retention` to decide.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from obstore import exceptions
from obstore.store import LocalStore, from_url

from platoon.errors import InvalidInput, NotFound, StoreError
from platoon.private import FILE_MODE, make_folder
from platoon.store import space

_MAX_KEY_BYTES = 512
_MISSING: Final = (FileNotFoundError, exceptions.NotFoundError)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing says of an object."""

    key: str
    size_bytes: int
    modified_at: float
    """Seconds since 1970."""


class ObjectStore:
    """Bytes under keys such as `crops/gate-1/2026-01-31/0a1b.jpg`. Safe from any thread.

    Args:
        place: a folder (made where there is none), or a URL: `s3://bucket/prefix`, `gs://…`, `az://…`, `memory:///`;
            credentials for these come from the environment, as their own tools take them.

    Raises:
        StoreError: from every method, when the place cannot be written or read.
        InvalidInput: a key is empty, too long, or leads out of the place.
    """

    def __init__(self, place: Path | str) -> None:
        self.place = str(place)
        self._folder: Path | None = None
        with self._explained("opened"):
            if isinstance(place, str) and "://" in place:
                self._store = from_url(place)
            else:
                self._folder = Path(place).absolute()
                make_folder(self._folder)
                self._store = LocalStore(self._folder, mkdir=True, automatic_cleanup=True)

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
                raise NotFound(f"no picture {key!r} in {self.place}: it may have outlived its time") from error

    def size(self, key: str) -> int:
        """Bytes under `key`; 0 where there is nothing."""
        with self._explained("read"):
            try:
                return self._store.head(_valid(key))["size"]
            except (FileNotFoundError, exceptions.NotFoundError):
                return 0

    def delete(self, keys: Iterable[str]) -> None:
        """Remove these, as a list where the place takes lists; what is not there is no error."""
        going = list(map(_valid, keys))
        with self._explained("deleted"):
            try:
                if going:
                    self._store.delete(going)
            except _MISSING:  # one of them; on a local disk that ends the list
                for key in going:
                    with suppress(*_MISSING):
                        self._store.delete(key)

    def list(self) -> Iterator[Sequence[StoredObject]]:
        """All objects, in chunks and in no particular order; memory stays bounded however many there are."""
        with self._explained("read"):
            for chunk in self._store.list(chunk_size=1000):
                yield [_stored(found) for found in chunk]

    def walk(self, folder: str = "") -> Iterator[Sequence[StoredObject]]:
        """All objects, folder by folder; each is only read when it is asked for."""
        with self._explained("read"):
            found = self._store.list_with_delimiter(folder or None)
        yield [_stored(one) for one in found["objects"]]
        for below in found["common_prefixes"]:
            yield from self.walk(below)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn the store's errors into one line that says what to do."""
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            reason = str(error).splitlines()[0]
            if any(sign in reason.lower() for sign in _FULL):
                reason = f"disk is full ({reason})"
            raise StoreError(f"pictures in {self.place} cannot be {what}: {reason}; {_way_out(reason)}") from error


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


def _stored(found: Mapping[str, Any]) -> StoredObject:
    return StoredObject(found["path"], found["size"], found["last_modified"].timestamp())


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


def _way_out(reason: str) -> str:
    if reason.startswith("disk is full"):
        return "free space on its disk, or keep less (PLATOON_STORE__MAX_BYTES, PLATOON_STORE__MAX_AGE_DAYS)"
    return "let this user write there, or choose another place with PLATOON_STORE__PATH"
