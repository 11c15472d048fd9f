"""Events as lines of JSON in a file, for whoever reads files."""

import json
import os
from collections.abc import Mapping
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
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._error("opened", error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one object; it is on the disk when this returns."""
        try:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._error("written", error) from error

    def _error(self, verb: str, error: OSError) -> StoreError:
        return StoreError(f"the event file {self._path} cannot be {verb}: {error.strerror or error}")
