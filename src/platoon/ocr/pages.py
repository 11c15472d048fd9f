"""The pages in a file: a picture has one, a PDF or TIFF has as many as it has.

Sizes are known, and refused, before anything is decoded; pages are drawn one after the other as they are taken,
so a long document needs the memory of a few. PDF files are drawn in a process of their own, see `pdf_process`.
"""

from __future__ import annotations

import io
import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from PIL import Image

from platoon.errors import DeadlineExceeded, InvalidInput, Unavailable
from platoon.media.frame import Pixels
from platoon.ocr.picture import as_pixels, check_size, load_picture, picture_size, reading


class Kind(StrEnum):
    """What a file is."""

    IMAGE = "image"
    TIFF = "tiff"
    """Of several pages."""
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one file, to be taken once and in order."""

    kind: Kind
    sizes: Sequence[tuple[int, int]]
    """(width, height) of each in pixels; pictures that are turned upright swap theirs."""
    pictures: Iterator[Pixels]


def kind_of(data: bytes) -> Kind:
    """What a file seems to be by its first bytes; whatever is no PDF or TIFF counts as an image."""
    if data[:1024].lstrip().startswith(b"%PDF-"):
        return Kind.PDF
    return Kind.TIFF if data[:4] in (b"II*\0", b"MM\0*") else Kind.IMAGE


@contextmanager
def open_pages(data: bytes, *, max_pages: int, max_pixels: int, page_s: float) -> Iterator[Pages]:
    """The pages of the picture, TIFF or PDF in `data`.

    Args:
        page_s: no page of a PDF may take longer to be drawn.

    Raises:
        TooLarge: a page has more than `max_pixels`.
        InvalidInput: it is damaged, locked, of more than `max_pages`, or none of these; taking a page may too.
        DeadlineExceeded: a page could not be drawn in time; also when taking one.
    """
    kind = kind_of(data)
    if kind is Kind.PDF:
        with _pdf(data, max_pages=max_pages, max_pixels=max_pixels, page_s=page_s) as pages:
            yield pages
    elif kind is Kind.TIFF:
        with _tiff(data, max_pages=max_pages, max_pixels=max_pixels) as pages:
            yield pages
    else:
        size = picture_size(data, max_pixels=max_pixels)
        yield Pages(Kind.IMAGE, [size], (load_picture(data, max_pixels=max_pixels) for _ in range(1)))


@contextmanager
def _tiff(data: bytes, *, max_pages: int, max_pixels: int) -> Iterator[Pages]:
    name = f"TIFF of {len(data)} bytes"
    with reading(name), Image.open(io.BytesIO(data), formats=("TIFF",)) as tiff:
        sizes: list[tuple[int, int]] = []
        while len(sizes) <= max_pages:
            check_size(name, tiff.width, tiff.height, max_pixels)
            sizes.append((tiff.width, tiff.height))
            try:
                tiff.seek(len(sizes))
            except EOFError:
                break
        if len(sizes) > max_pages:
            raise InvalidInput(f"{name} has more than {max_pages} pages")

        def pictures() -> Iterator[Pixels]:
            for index in range(len(sizes)):
                with reading(name):
                    tiff.seek(index)
                    picture = as_pixels(tiff)
                yield picture

        yield Pages(Kind.TIFF if len(sizes) > 1 else Kind.IMAGE, sizes, pictures())


@contextmanager
def _pdf(data: bytes, *, max_pages: int, max_pixels: int, page_s: float) -> Iterator[Pages]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        # The processor's limit stands behind the deadline, for a process that nobody waits for any more.
        limits = (max_pages, math.ceil(page_s) + 2)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "platoon.ocr.pdf_process", *map(str, limits)],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise Unavailable(f"cannot start a process to draw a PDF: {error.strerror}") from error
    with process, _Pipe(process, page_s) as pipe:
        sizes = [(width, height) for width, height in pipe.message()["sizes"]]
        for width, height in sizes:
            check_size("a page of the PDF", width, height, max_pixels)
        yield Pages(Kind.PDF, sizes, (pipe.page() for _ in sizes))


class _Pipe:
    """Reads what the drawing process writes, and ends it: there is nothing it would have to finish."""

    def __init__(self, process: subprocess.Popen[bytes], page_s: float) -> None:
        assert process.stdout is not None
        self._process, self._page_s, self._fd = process, page_s, process.stdout.fileno()
        self._deadline = 0.0
        self._buffer = bytearray()
        self._selector = selectors.DefaultSelector()
        os.set_blocking(self._fd, False)
        self._selector.register(self._fd, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._process.kill()

    def message(self) -> dict[str, list[list[int]]]:
        """The next line, when it is an object."""
        self._deadline = time.monotonic() + self._page_s
        message: dict[str, list[list[int]]] = self._line()
        return message

    def page(self) -> Pixels:
        """The next page, (height, width, 3)."""
        self._deadline = time.monotonic() + self._page_s
        width, height, stride = self._line()
        rows = np.frombuffer(self._take(height * stride), np.uint8).reshape(height, stride)
        return np.ascontiguousarray(rows[:, : width * 3]).reshape(height, width, 3)

    def _line(self) -> Any:
        while b"\n" not in self._buffer:
            self._fill(1 << 16)
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        message = json.loads(line)
        if isinstance(message, dict) and "error" in message:
            raise InvalidInput(f"the PDF {message['error']}")
        return message

    def _take(self, n: int) -> bytes:
        while len(self._buffer) < n:
            self._fill(n - len(self._buffer))
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def _fill(self, n: int) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0 or not self._selector.select(left):
            raise DeadlineExceeded(f"a page of the PDF took longer than {self._page_s:g} s to draw")
        more = os.read(self._fd, max(n, 1 << 16))
        if not more:
            raise InvalidInput("the PDF cannot be drawn: it takes too much memory or time, or it is damaged")
        self._buffer += more
