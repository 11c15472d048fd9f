"""Events that the store could not take, in a folder beside it: a file each, until they are taken in.

Single files need no rewriting on a disk that is nearly full, and any process may add to them or take from them.
"""

import fcntl
import json
import math
import os
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from platoon.errors import StoreError
from platoon.private import FILE_MODE, make_folder
from platoon.store import space

MOST_BYTES: Final = 1_000_000_000
"""Hours of events of a busy site; what is older than a store without room for so long is found by its operator."""
LARGEST: Final = 100_000_000
"""Bytes of an event with its picture; what is larger is none of ours."""
COUNT_S: Final = 5.0
"""How long what was counted holds; what others add meanwhile shows later."""
ABANDONED_S: Final = 3600.0
"""What is unfinished for so long is what a killed process left."""
_ENDING: Final = ".json"
_UNFINISHED: Final = ".part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled:
    """An event as it waits in the folder."""

    event: Mapping[str, Any]
    """As it would have been stored."""
    cause: str
    """Why it was not."""
    picture: bytes | None
    """Of its crop, as JPEG, or as an array of NumPy where that could not be made."""


class Spill:
    """The events in `folder`, which is made when there is one.

    Raises:
        StoreError: from every method, when the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = self._bytes = 0
        self._counted_at = -math.inf

    def put(self, spilled: Spilled) -> str:
        """Keep an event; it is on the disk when this returns, and nothing of it is where it does not fit. Its name."""
        picture = None if spilled.picture is None else b64encode(spilled.picture).decode()
        tree = {"cause": spilled.cause, "event": spilled.event, "picture": picture}
        data = json.dumps(tree, default=repr).encode()
        label = re.sub(r"[^A-Za-z0-9-]", "_", f"{spilled.event.get('id')}-{spilled.event.get('state')}")
        path = self.folder / f"{time.time_ns():020d}-{label:.100}{_ENDING}"
        with self._explained("written"):
            make_folder(self.folder)
            if self.size()[1] + len(data) > MOST_BYTES:
                raise StoreError(f"{self.folder} holds {MOST_BYTES} bytes of events, which is its bound")
            unfinished = path.with_suffix(_UNFINISHED)
            try:
                with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(path)
                self._add(1, len(data))
                return path.name
            except BaseException:
                with suppress(OSError):
                    unfinished.unlink()
                raise

    def names(self) -> list[str]:
        """Of the events that wait, the oldest first."""
        with self._explained("read"):
            return sorted(entry.name for entry in self._entries())

    def get(self, name: str) -> Spilled:
        """The event of this name.

        Raises:
            ValueError: the file holds no event.
        """
        with self._explained("read"):
            if (self.folder / name).stat().st_size > LARGEST:
                raise ValueError(f"no event: it is larger than {LARGEST} bytes")
            data = (self.folder / name).read_bytes()
        try:
            tree = json.loads(data)
            picture = None if tree["picture"] is None else b64decode(tree["picture"])
            return Spilled(event=dict(tree["event"]), cause=tree["cause"], picture=picture)
        except (KeyError, TypeError) as error:
            raise ValueError(f"no event: {error}") from error

    def remove(self, name: str) -> None:
        """It has been taken in."""
        with self._explained("written"):
            path = self.folder / name
            n_bytes = path.stat().st_size
            path.unlink()
            self._add(-1, -n_bytes)

    def tidy(self) -> None:
        """Remove what killed processes left unfinished."""
        with self._explained("written"), suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_UNFINISHED) and time.time() - entry.stat().st_mtime > ABANDONED_S:
                    (self.folder / entry.name).unlink(missing_ok=True)

    def size(self) -> tuple[int, int]:
        """How many events wait, and in how many bytes; now and then they are counted anew."""
        if time.monotonic() - self._counted_at > COUNT_S:
            with self._explained("read"):
                sizes = [size for entry in self._entries() if (size := _size(entry)) is not None]
            self._count, self._bytes, self._counted_at = len(sizes), sum(sizes), time.monotonic()
        return self._count, self._bytes

    def _add(self, events: int, n_bytes: int) -> None:
        self._count, self._bytes = max(0, self._count + events), max(0, self._bytes + n_bytes)

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Whether nobody else takes events in meanwhile."""
        if not self.folder.is_dir():
            yield True
            return
        with self._explained("read"):
            folder = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True
        finally:
            os.close(folder)

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                return [entry for entry in entries if entry.name.endswith(_ENDING) and _is_file(entry)]
        except FileNotFoundError:
            return []

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = "disk is full: " if error.errno in space.FULL else ""
            raise StoreError(f"{full}events in {self.folder} cannot be {what}: {error.strerror or error}") from error


def _size(entry: os.DirEntry[str]) -> int | None:
    """In bytes; none: another process has taken it in meanwhile."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return None


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it can be an event: a folder, a pipe or a link that somebody put there is none."""
    return entry.is_file(follow_symlinks=False)
