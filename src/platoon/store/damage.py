"""A damaged SQLite file: known by what SQLite says of it, set aside whole, and remembered by lying there."""

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MOST: Final = 3
"""Files that are set aside in one folder. Where a new one is damaged each time, the disk or the memory is at fault, and
files would pile up."""
_MARK: Final = ".damaged-"
_WITH_IT: Final = ("-wal", "-shm", "")
"""What is moved, in this order: a log without its file is harmless, but would be taken for a part of a new file."""

_log = logging.getLogger(__name__)


def found_by(error: BaseException) -> bool:
    """Whether SQLite says by this error that the file itself is damaged, or no database.

    Where even names of its tables are, what it says is no text.
    """
    name = getattr(error, "sqlite_errorname", None) or ""
    damaged = isinstance(error, sqlite3.Error) and name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
    return damaged or isinstance(error, UnicodeDecodeError)


def set_aside(path: Path, what: str, damaged: tuple[int, int], error: BaseException) -> bool:
    """Rename the file at `path` and its log; whether the damaged one is not there any more.

    Args:
        what: it holds, in the plural.
        damaged: numbers of its disk and of itself: of processes that find the damage at once, one moves the file.
        error: what SQLite said of it.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as fault:
        _log.error("damaged %s in %s cannot be set aside: %s", what, path, fault)
        return False
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if _number(path) != damaged:
            return True
        if len(before := lying(path)) >= MOST:
            _log.error("%s in %s are damaged again: move away %s", what, path, ", ".join(map(str, before)))
            return False
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        names = (path.with_name(f"{path.name}{_MARK}{stamp}{suffix}") for suffix in ("", "-2", "-3"))
        aside = next(name for name in names if not name.exists())
        for ending in _WITH_IT:
            part = path.with_name(path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        os.fsync(folder)
    except OSError as fault:
        _log.error("damaged %s in %s cannot be set aside: %s", what, path, fault)
        return False
    finally:
        os.close(folder)
    _log.error("%s in %s are damaged (%s): the file is set aside as %s, and a new one begun", what, path, error, aside)
    return True


def lying(path: Path) -> Sequence[Path]:
    """Files that were set aside from `path` and lie there still, the oldest first."""
    found = path.parent.glob(f"{path.name}{_MARK}*")
    return sorted(file for file in found if not file.name.endswith(("-wal", "-shm")))


def warnings(what: str, files: Sequence[Path]) -> list[str]:
    """What to say of files that were set aside."""
    return [
        f"store: a damaged file of {what} is set aside as {file}, and a new one was begun: "
        f"`sqlite3 {file.name} .recover` may save what it holds; move it away to end this warning with the next start"
        for file in files
    ]


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
