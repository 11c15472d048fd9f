"""Knows which holders of jobs belong to processes of this machine that still run.

Each process locks a file for as long as it lives; the system lets go of it when the process ends in whatever way.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from platoon.private import make_file, make_folder


class Holders:
    """The processes that have their files in one folder, of which this is one until `close`.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder, self._process = folder, uuid4().hex
        path = folder / self._process
        while not path.exists():  # another may take it away before it is locked
            make_file(path)
            self._file = path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def name(self, holder: str) -> str:
        """As which `holder` of this process is known to all."""
        return f"{self._process}/{holder}"

    def dead(self, holders: Iterable[str]) -> list[str]:
        """Those whose process has ended."""
        processes = {path.name for path in self._folder.iterdir()} - {self._process}
        running = {process for process in processes if not self._remove(process)}
        return [holder for holder in holders if holder.partition("/")[0] not in running | {self._process}]

    def seen(self) -> bool:
        """Whether others can see that this process runs: nobody has taken its file away."""
        return (self._folder / self._process).exists()

    def close(self) -> None:
        """As if this process had ended."""
        (self._folder / self._process).unlink(missing_ok=True)
        self._file.close()

    def _remove(self, process: str) -> bool:
        """Take away the file of a process, unless that holds it."""
        path = self._folder / process
        try:
            with path.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True
