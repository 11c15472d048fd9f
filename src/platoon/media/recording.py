"""Opens recordings by what they are, whatever they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from platoon.media.addresses import file_of
from platoon.media.failures import SourceFailure
from platoon.media.input import Input
from platoon.settings import SourceSettings


@contextmanager
def recording(source: Path | str, settings: SourceSettings) -> Iterator[Input]:
    """A recording by its path or address. What a file is, its content says: FFmpeg itself believes its name, too.

    Raises:
        SourceError: as `Input`, or it is a live stream.
    """
    name = str(source)
    with ExitStack() as stack:
        file = None if "://" in name else stack.enter_context(_nameless(file_of(name)))
        opened = stack.enter_context(closing(Input(name, settings, file=file)))
        if opened.live:
            raise opened.error(SourceFailure.UNSUPPORTED, "a live stream, which has no end")
        yield opened


def _nameless(path: Path) -> BinaryIO:
    """The file, with a number for a name: FFmpeg would ask it for one."""
    return open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")  # noqa: PTH123  (a descriptor has no path)
