"""The pages of a file, drawn in a process of its own (see `confined`): what it cannot do ends it, and nobody else.

A page that cannot be drawn is an error in its place, and a new process draws the rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from platoon.errors import InvalidInput, PlatoonError, TooLarge
from platoon.media.frame import Pixels
from platoon.ocr.confined import Confined, Refused
from platoon.ocr.pdf_process import FLAGS

MAX_SIDE = 32_766
"""OpenCV cannot cut regions out of anything wider or higher."""
MOST_DEATHS = 5
"""After so many pages that took too much, the rest of a file is not drawn: others wait behind it."""
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
    """Pixels per point (1/72 inch); 1 where nothing says."""
    characters: Characters | None = None
    """The text that it carries, where that was wanted and there is some."""


class Sheets:
    """The pages of a PDF, a TIFF or a picture while it is open, as a context manager.

    Args:
        program: the module that draws them, such as `platoon.ocr.pdf_process`, which says how it is spoken to.
        name: of the file, for errors.
        max_pixels: larger pages are not drawn.
        page_s: no page may take longer to be drawn.

    Raises:
        InvalidInput: it is damaged, locked, or of more than `max_pages`. DeadlineExceeded: it took too long to open.
        Unavailable: no process can be started.
    """

    def __init__(self, data: bytes, program: str, name: str, *, max_pages: int, max_pixels: int, page_s: float) -> None:
        self._program, self._name = program, name
        self._max_pages, self._max_pixels, self._page_s = max_pages, max_pixels, page_s
        # Closed and gone with this object, which `__exit__` and whoever fails to make one let go of.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: _Process | None = None
        self._deaths = 0
        try:
            self._file.write(data)
            self._file.flush()
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
            text: give the text that they carry, too.
        """
        following = dict(pairwise(index for index in indices if self._refusal(index) is None))
        for index in indices:
            outcome = self._refusal(index) or self._draw(index, text)
            if index in following and isinstance(outcome, Sheet):
                self._ask(following[index], text)
            yield outcome

    def give_up(self) -> None:
        """Let nobody wait any longer for the page that is being drawn. From any thread."""
        if (process := self._process) is not None:
            process.kill()

    def _refusal(self, index: int) -> PlatoonError | None:
        if self._deaths >= MOST_DEATHS:
            return InvalidInput(
                f"{self._page_name(index)} is not drawn: {MOST_DEATHS} others took too much memory or time"
            )
        width, height = self.sizes[index]
        try:
            check_size(self._page_name(index), width, height, self._max_pixels)
        except PlatoonError as error:
            return error
        return None if width and height else InvalidInput(f"{self._page_name(index)} has no size")

    def _draw(self, index: int, text: bool) -> Sheet | PlatoonError:
        try:
            return self._ask(index, text).sheet(self._page_name(index))
        except PlatoonError as error:
            if self._process is not None and self._process.asked is not None:  # it has not answered, and never will
                self._end()
                self._deaths += 1
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
        self._process = _Process(self._program, self._file.fileno(), self._max_pages, self._page_s)
        try:
            self._process.open(self._name)
        except BaseException:
            self._end()
            raise
        return self._process

    def _page_name(self, index: int) -> str:
        return self._name if len(self.sizes) == 1 else f"page {index + 1} of {self._name}"

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Raises TooLarge where a picture of this size may not be decoded."""
    if width * height > max_pixels:
        raise TooLarge(f"{name} is {width}x{height}, more than {max_pixels} pixels")
    if max(width, height) > MAX_SIDE:
        raise TooLarge(f"{name} is {width}x{height}, longer than {MAX_SIDE} pixels")


class _Process:
    """The drawing process, in the words of pages."""

    def __init__(self, program: str, file: int, max_pages: int, page_s: float) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.asked: tuple[int, bool] | None = None
        """What it has not answered yet."""
        self._process = Confined(program, [file], [max_pages], work="draw", step_s=page_s)

    def open(self, name: str) -> None:
        self.sizes = [(width, height) for width, height in self._process.answer(name)["sizes"]]

    def ask(self, index: int, text: bool) -> None:
        self._process.ask([index, text])
        self.asked = (index, text)

    def sheet(self, name: str) -> Sheet:
        """What was asked for."""
        self._process.begin()
        try:
            message = self._process.answer(name)
        except Refused:
            self.asked = None
            raise
        (width, height), stride = message["size"], message["stride"]
        characters = self._characters(message, name) if "text" in message else None
        rows = np.frombuffer(self._process.take(height * stride, name), np.uint8).reshape(height, stride)
        self.asked = None
        picture = np.ascontiguousarray(rows[:, : width * 3]).reshape(height, width, 3)
        return Sheet(picture, message["scale"], characters)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.close()

    def _characters(self, message: dict[str, Any], name: str) -> Characters:
        count = message["text"]
        codes = np.frombuffer(self._process.take(4 * count, name), np.uint32)
        flags = np.frombuffer(self._process.take(4 * count, name), np.uint32)
        places = np.frombuffer(self._process.take(20 * count, name), np.float32)
        left, bottom, right, top, angles = places.reshape(count, 5).T
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
