"""Pictures under keys: a local folder by default, S3, GCS or Azure behind the same face.

On a local disk an object is written beside its place and renamed, so a reader sees all of it or nothing.
Which pictures are still wanted is for `retention` to decide.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from obstore import exceptions
from obstore.store import LocalStore, from_url

from platoon.errors import InvalidInput, NotFound, StoreError

_MAX_KEY_BYTES = 512


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
        with self._explained("opened"):
            if isinstance(place, str) and "://" in place:
                self._store = from_url(place)
            else:
                self._store = LocalStore(Path(place).absolute(), mkdir=True, automatic_cleanup=True)

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, all or nothing; replaces what was there."""
        with self._explained("written"):
            self._store.put(_valid(key), data)

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
        """Remove these; what is not there is no error."""
        with self._explained("deleted"):
            for key in map(_valid, keys):
                try:
                    self._store.delete(key)
                except (FileNotFoundError, exceptions.NotFoundError):
                    continue

    def list(self) -> Iterator[Sequence[StoredObject]]:
        """All objects, in chunks and in no particular order; memory stays bounded however many there are."""
        with self._explained("read"):
            for chunk in self._store.list(chunk_size=1000):
                yield [StoredObject(o["path"], o["size"], o["last_modified"].timestamp()) for o in chunk]

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn the store's errors into one line that says what to do."""
        try:
            yield
        except (exceptions.BaseError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise StoreError(f"pictures in {self.place} cannot be {what}: {reason}; {_way_out(reason)}") from error


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
    lowered = reason.lower()
    if "no space" in lowered or "quota" in lowered or "os error 28" in lowered:
        return "free space on its disk, or keep less (PLATOON_STORE__MAX_BYTES, PLATOON_STORE__MAX_AGE_DAYS)"
    return "let this user write there, or choose another place with PLATOON_STORE__PATH"
