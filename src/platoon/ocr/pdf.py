"""The pages of a PDF, drawn in a process of its own, see `pdf_process`: what it cannot do ends it, and nobody else.

A page that cannot be drawn is told as an error in its place, and a new process draws the rest.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from platoon.errors import DeadlineExceeded, InvalidInput, PlatoonError, Unavailable
from platoon.media.frame import Pixels
from platoon.ocr.pdf_process import FLAGS, SCALE
from platoon.ocr.picture import check_size

FAR = 1e6
"""Pixels. Characters beyond are nowhere, and numbers that large would make others that are none."""


@dataclass(frozen=True, slots=True, eq=False)
class Characters:
    """The text that a page carries, N characters in the order in which they are written."""

    codes: NDArray[np.uint32]
    """(N,): UTF-16 units or code points; line ends too."""
    corners: NDArray[np.float32]
    """(N, 4, 2): x, y in pixels of the page, clockwise from the top left as one reads the character."""
    generated: NDArray[np.bool_]
    """(N,): no glyph but a gap or line end that pdfium saw."""
    hyphens: NDArray[np.bool_]
    """(N,): hyphens at the end of a line."""
    unknown: NDArray[np.bool_]
    """(N,): nothing says what the glyph means."""
    pictured: float
    """Which share of the page is under pictures, 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A page as it was drawn."""

    picture: Pixels
    scale: float
    """Pixels per point (1/72 inch); 1 where nothing tells."""
    characters: Characters | None = None
    """The text that it carries, where that was wanted and there is some."""


class Pdf:
    """A PDF while it is open, as a context manager.

    Args:
        max_pixels: larger pages are not drawn.
        page_s: no page may take longer to be drawn.

    Raises:
        InvalidInput: it is damaged, locked, or of more than `max_pages`. DeadlineExceeded: it took too long to open.
        Unavailable: no process can be started.
    """

    def __init__(self, data: bytes, *, max_pages: int, max_pixels: int, page_s: float) -> None:
        self._max_pages, self._max_pixels, self._page_s = max_pages, max_pixels, page_s
        # Closed and gone with this object, which `__exit__` and whoever fails to make one let go of.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: _Process | None = None
        try:
            self._file.write(data)
            self.sizes = self._start().sizes
            """(width, height) of each page in pixels; 0 where it has none."""
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._file.close()

    def draw(self, indices: Sequence[int], *, text: bool = False) -> Iterator[Sheet | PlatoonError]:
        """These pages, drawn as they are taken, the next while one has the last; or why one cannot be drawn.

        Args:
            text: tell the text that they carry, too.
        """
        following = dict(pairwise(index for index in indices if self._refusal(index) is None))
        for index in indices:
            outcome = self._refusal(index) or self._draw(index, text)
            if index in following and isinstance(outcome, Sheet):
                self._ask(following[index], text)
            yield outcome

    def _refusal(self, index: int) -> PlatoonError | None:
        width, height = self.sizes[index]
        try:
            check_size(_name(index), width, height, self._max_pixels)
        except PlatoonError as error:
            return error
        return None if width and height else InvalidInput(f"{_name(index)} has no size")

    def _draw(self, index: int, text: bool) -> Sheet | PlatoonError:
        try:
            return self._ask(index, text).sheet(_name(index))
        except PlatoonError as error:
            if self._process is not None and self._process.asked is not None:  # it has not answered, and never will
                self._end()
            return error

    def _ask(self, index: int, text: bool) -> _Process:
        """A process that draws this page."""
        if self._process is not None and self._process.asked not in (None, (index, text)):
            self._end()
        process = self._process or self._start()
        if process.asked is None:
            process.ask(index, text)
        return process

    def _start(self) -> _Process:
        self._file.seek(0)
        # The processor's limit stands behind the deadline, for a process that nobody waits for any more.
        limits = (self._file.fileno(), self._max_pages, math.ceil(self._page_s) + 2)
        try:
            started = subprocess.Popen(
                [sys.executable, "-P", "-m", "platoon.ocr.pdf_process", *map(str, limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[self._file.fileno()],
            )
        except OSError as error:
            raise Unavailable(f"cannot start a process to draw a PDF: {error.strerror}") from error
        self._process = _Process(started, self._page_s)
        try:
            self._process.open()
        except BaseException:
            self._end()
            raise
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


class _Process:
    """Asks the drawing process, reads what it writes, and ends it: there is nothing it would have to finish."""

    def __init__(self, process: subprocess.Popen[bytes], page_s: float) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.sizes: list[tuple[int, int]] = []
        self.asked: tuple[int, bool] | None = None
        """What it has not answered yet."""
        self._process, self._page_s = process, page_s
        self._requests, self._fd = process.stdin, process.stdout.fileno()
        self._deadline = 0.0
        self._buffer = bytearray()
        self._selector = selectors.DefaultSelector()
        os.set_blocking(self._fd, False)
        self._selector.register(self._fd, selectors.EVENT_READ)

    def open(self) -> None:
        self._deadline = time.monotonic() + self._page_s
        self.sizes = [(width, height) for width, height in self._message("the PDF")["sizes"]]

    def ask(self, index: int, text: bool) -> None:
        try:
            self._requests.write(json.dumps([index, text]).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            pass  # it has died; whoever reads its answer learns why
        self.asked = (index, text)

    def sheet(self, name: str) -> Sheet:
        """What was asked for."""
        self._deadline = time.monotonic() + self._page_s
        message = self._message(name)
        (width, height), stride = message["size"], message["stride"]
        characters = self._characters(message, name) if "text" in message else None
        rows = np.frombuffer(self._take(height * stride, name), np.uint8).reshape(height, stride)
        self.asked = None
        return Sheet(np.ascontiguousarray(rows[:, : width * 3]).reshape(height, width, 3), SCALE, characters)

    def close(self) -> None:
        self._selector.close()
        self._process.kill()
        for pipe in (self._requests, self._process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except BrokenPipeError:
                continue
        self._process.wait()

    def _characters(self, message: dict[str, Any], name: str) -> Characters:
        count = message["text"]
        codes = np.frombuffer(self._take(4 * count, name), np.uint32)
        flags = np.frombuffer(self._take(4 * count, name), np.uint32)
        left, bottom, right, top, angles = np.frombuffer(self._take(20 * count, name), np.float32).reshape(count, 5).T
        a, b, c, d, e, f = message["matrix"]
        corners = np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).reshape(count, 4, 2)
        # A box of the page's own coordinates is one of upright characters; those that run up or down begin elsewhere.
        quarters = np.rint(np.nan_to_num(angles) / (np.pi / 2)).astype(int) % 4
        order = (np.arange(4) + quarters[:, None]) % 4
        corners = np.take_along_axis(corners, order[..., None], axis=1)
        pixels = corners @ np.array([[a, b], [c, d]], np.float32) + np.array([e, f], np.float32)
        return Characters(
            codes=codes,
            corners=np.clip(np.nan_to_num(pixels), -FAR, FAR).astype(np.float32),
            generated=(flags & FLAGS["generated"]) > 0,
            hyphens=(flags & FLAGS["hyphen"]) > 0,
            unknown=(flags & FLAGS["unknown"]) > 0,
            pictured=message["pictured"],
        )

    def _message(self, name: str) -> dict[str, Any]:
        """The next line."""
        while b"\n" not in self._buffer:
            self._fill(1 << 16, name)
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            self.asked = None
            raise InvalidInput(f"{name} {message['error']}")
        return message

    def _take(self, n: int, name: str) -> bytes:
        while len(self._buffer) < n:
            self._fill(n - len(self._buffer), name)
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def _fill(self, n: int, name: str) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0 or not self._selector.select(left):
            raise DeadlineExceeded(f"{name} took longer than {self._page_s:g} s to draw")
        more = os.read(self._fd, max(n, 1 << 16))
        if not more:
            raise InvalidInput(f"{name} cannot be drawn: it takes too much memory or time, or it is damaged")
        self._buffer += more


def _name(index: int) -> str:
    return f"page {index + 1} of the PDF"
