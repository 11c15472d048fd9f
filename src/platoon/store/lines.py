"""Events as lines of JSON in a file."""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from platoon.errors import StoreError
from platoon.private import FILE_MODE
from platoon.store import space

_TAIL_BYTES: Final = 1_000_000


class JsonLines:
    """An append-only file of JSON objects, open between `__enter__` and `__exit__`.

    A new file is for this user alone. A last line that a killed process left unfinished is taken away.

    Raises:
        StoreError: the file cannot be opened or written; says which and why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                with self.held():
                    self._repair()
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise self._error("opened", error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else who asks for it writes meanwhile; waits for whoever does."""
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one object; it is on the disk when this returns. One that does not fit leaves nothing of itself."""
        self._write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def last(self, count: int) -> list[Any]:
        """The last objects in the file, at most `count`; none of a pipe or a device."""
        rows = []
        for line in self._tail().splitlines()[-count:]:
            with suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def is_at(self, path: Path) -> bool:
        """Whether this is still the file at `path`: somebody may have moved it away."""
        try:
            return os.path.samestat(os.fstat(self._file), path.stat())
        except OSError:
            return False

    def _repair(self) -> None:
        tail = self._tail()
        whole, _, rest = tail.rpartition(b"\n")
        if not rest:
            return
        try:
            json.loads(rest)
        except ValueError:
            if rest.startswith(b"{") and (whole or len(tail) < _TAIL_BYTES):
                os.ftruncate(self._file, os.fstat(self._file).st_size - len(rest))
                return
        self._write(b"\n")  # the line of somebody else, or a whole one

    def _tail(self) -> bytes:
        """The end of the file, if it is one."""
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            return b""
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                return file.read()
        except OSError:  # it may be written, but not read
            return b""

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            while data:  # a disk that is nearly full takes a part
                data = data[os.write(self._file, data) :]
            self._sync()
        except OSError as error:
            with suppress(OSError):  # a pipe or a device keeps what it got
                os.ftruncate(self._file, size)
            raise self._error("written", error) from error

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            if error.errno != errno.EINVAL:  # said of pipes and terminals, which have no disk
                raise

    def _error(self, verb: str, error: OSError) -> StoreError:
        full = ": the disk is full" if error.errno in space.FULL else ""
        return StoreError(f"the event file {self._path} cannot be {verb}: {error.strerror or error}{full}")
