"""Room on a disk: what is free, what is kept free for events, and whether an error means that there is none.

Uploads ask before they are written and leave the reserve alone, so that events can still be written, and expiry can
still work, on a disk that others have filled up to it.
"""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from platoon.errors import StoreError
from platoon.private import make_file

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when there is no room on the disk, or in this user's share of it."""
RESERVE_MOST: Final = 0.1
"""Of the disk: what is kept free of a small one, whatever the settings say."""
_PROBE_BYTES: Final = 65_536


def free(path: Path) -> int:
    """Bytes that this user may still write on the disk where `path` is or will be."""
    found = os.statvfs(_there(path))
    return found.f_bavail * found.f_frsize


def reserved(path: Path, reserve: int) -> int:
    """`reserve` bytes, or a tenth of the disk where that is less."""
    found = os.statvfs(_there(path))
    return min(reserve, int(RESERVE_MOST * found.f_blocks * found.f_frsize))


def check_room(path: Path, n_bytes: int, reserve: int) -> None:
    """Return if `n_bytes` can be written where `path` is or will be, and leave `reserved(path, reserve)` bytes free.

    Raises:
        StoreError: they cannot; says how much is free, and what to do.
    """
    try:
        left, kept = free(path), reserved(path, reserve)
    except OSError as error:
        raise StoreError(f"cannot look at the disk of {path}: {error.strerror}") from error
    if left - n_bytes < kept:
        raise StoreError(
            f"disk is full: {n_bytes} bytes do not fit beside {path}: {left} are free, {kept} of them are kept "
            "for events; free space on its disk, or keep less"
        )


def is_full(folder: Path) -> bool:
    """Whether not even a small file can be written into `folder` for want of room, of inodes or of quota."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size < _PROBE_BYTES
    except OSError as error:
        return error.errno in FULL


def _there(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(above for above in (path, *path.parents) if above.exists())


class Ballast:
    """A file that takes up room while there is enough, and gives it back where there is none.

    Deleting takes room first: what goes is noted in a log before it goes. On a disk that others have filled to the last
    byte, this is what expiry and the next events live on.

    Args:
        n_bytes: its size; a tenth of the disk where that is less.
        reserve: is only held while so much is free beside it.
    """

    def __init__(self, path: Path, n_bytes: int, reserve: int) -> None:
        self._path, self._n_bytes, self._reserve = path, n_bytes, reserve

    def hold(self) -> None:
        """Take up the room, if it is there to be taken."""
        n_bytes = reserved(self._path, self._n_bytes)
        if not n_bytes or self._path.exists() or free(self._path) < n_bytes + reserved(self._path, self._reserve):
            return
        with suppress(OSError):
            make_file(self._path)
            with self._path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, n_bytes)

    def release_if_full(self) -> None:
        """Give the room back on a disk that is full."""
        if self._path.exists() and is_full(self._path.parent):
            with suppress(OSError):
                self._path.unlink()
