"""Files and folders for this user alone: what cameras saw, what was handed in, what was measured."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


def make_folder(path: Path) -> None:
    """Make `path`, and what lacks above it, for this user alone; close one that is there to others.

    A folder that is there is left as it is where it is somebody else's, meant to be shared (sticky, as `/tmp`), this
    user's home, or right below the root.

    Raises:
        OSError: it cannot be made.
    """
    path = path.absolute()
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(FOLDER_MODE, exist_ok=True)
    if not path.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(path))
    if not path.stat().st_mode & stat.S_ISVTX and path != Path.home() and len(path.parts) > 2:
        close(path)


def make_file(path: Path) -> None:
    """Make an empty file at `path` for this user alone where there is none; close one that is there to others.

    Raises:
        OSError: it can neither be made nor opened.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except FileExistsError:
        close(path)


def close(path: Path) -> None:
    """Take from everybody else what they may do with this user's file or folder; a device or pipe is left as it is."""
    found = path.stat()
    plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    if plain and found.st_uid == os.geteuid() and found.st_mode & 0o077:
        with suppress(OSError):  # a disk that is mounted for reading, or knows no modes
            path.chmod(stat.S_IMODE(found.st_mode) & FOLDER_MODE)
