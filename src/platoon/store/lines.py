"""Events as lines of JSON in a file, for whoever reads files."""

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from platoon.errors import StoreError


class JsonLines:
    """An append-only file of JSON objects, open between `__enter__` and `__exit__`.

    Raises:
        StoreError: the file cannot be opened or written; says which and why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise self._error("opened", error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one object; it is on the disk when this returns. One that does not fit leaves nothing of itself."""
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        size = os.fstat(self._file.fileno()).st_size
        try:
            while line:  # a disk that is nearly full takes a part
                line = line[self._file.write(line) :]
            self._sync()
        except OSError as error:
            with suppress(OSError):  # a pipe or a device keeps what it got
                self._file.truncate(size)
            raise self._error("written", error) from error

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno != errno.EINVAL:  # said of pipes and terminals, which have no disk
                raise

    def _error(self, verb: str, error: OSError) -> StoreError:
        return StoreError(f"the event file {self._path} cannot be {verb}: {error.strerror or error}")
