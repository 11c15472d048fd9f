"""Reading a document: its pages one after the other, each with its blocks in reading order.

Pages are drawn, read and handed out a few at a time, so any number of them needs the memory of a few. A page that
cannot be read says why, and the rest goes on. How pages are shown is left to the exports, and keeping what was read
to the jobs.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from platoon.documents.layout import Layout
from platoon.documents.page import Block, Label, Line, Page, Word, around
from platoon.errors import InvalidInput, PlatoonError
from platoon.media.frame import Pixels, Quad
from platoon.ocr.engine import TextEngine
from platoon.ocr.pages import Kind, Pages, open_pages
from platoon.ocr.reading import Call, How, Reading, ReadLine, read

AT_A_TIME = 4
"""Pages held in memory at most: neighbours share batches."""


@dataclass(frozen=True)
class Options:
    """What a caller may choose."""

    pages: str = ""
    """Which, as in `1-3,7`, counted from 1; empty: all."""
    text_layer: Literal["auto", "ignore", "only"] = "auto"
    """Whether the text that a PDF carries is taken instead of being read from the picture: where it is sound, never, or
    always."""
    layout: bool = True
    """Look for titles, tables, figures and so on; otherwise all is text."""
    tables: bool = True
    """Find the cells of tables."""
    how: How = field(default_factory=How)
    """How lines are found and read."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadPage:
    """A page, and the picture that its boxes are of."""

    page: Page
    picture: Pixels
    """RGB (height, width, 3) uint8; where the page could not be drawn, of no height and no width."""


class OpenDocument:
    """A document that is being read: iterate it once, while it is open."""

    def __init__(
        self,
        kind: Kind,
        sizes: Sequence[tuple[int, int]],
        indices: Sequence[int],
        pages: Iterator[ReadPage],
    ) -> None:
        self.kind = kind
        self.sizes = sizes
        """(width, height) in pixels of all its pages."""
        self.indices = indices
        """Of the pages that iterating gives, from 0, in order."""
        self._pages = pages

    def __iter__(self) -> Iterator[ReadPage]:
        return self._pages


class DocumentReader:
    """Reads documents through shared models, which stay their owner's. Safe from any thread.

    Args:
        max_pages: of one document that are read at most; more are refused.
        max_pixels: of one page.
        page_s: no page of a PDF may take longer to be drawn.
    """

    def __init__(
        self, engine: TextEngine, layout: Layout | None, *, max_pages: int, max_pixels: int, page_s: float
    ) -> None:
        self._engine, self._layout = engine, layout
        self._max_pages, self._max_pixels, self._page_s = max_pages, max_pixels, page_s

    @contextmanager
    def open(self, data: bytes, options: Options, call: Call, *, skip: Container[int] = ()) -> Iterator[OpenDocument]:
        """The document in `data`: a PDF, TIFF or picture.

        Args:
            skip: indices, from 0, of pages that are known already: they are neither drawn nor read.

        Raises:
            TooLarge, InvalidInput: the file as a whole cannot be read, or `options.pages` are none of its pages.
            DeadlineExceeded: it took too long to be opened. Iterating raises what the engine does (Overloaded,
            DeadlineExceeded, Unavailable), and CancelledError.
        """
        with open_pages(data, max_pages=self._max_pages, max_pixels=self._max_pixels, page_s=self._page_s) as pages:
            wanted = page_indices(options.pages, len(pages.sizes))
            indices = [index for index in wanted if index not in skip]
            yield OpenDocument(pages.kind, pages.sizes, indices, self._read(pages, indices, options, call))

    def _read(self, pages: Pages, indices: Sequence[int], options: Options, call: Call) -> Iterator[ReadPage]:
        chosen = ((index, picture) for index, picture in enumerate(pages.pictures) if index in set(indices))
        scale = 2.0 if pages.kind is Kind.PDF else 1.0
        while some := list(islice(chosen, AT_A_TIME)):
            readings = self._read_each([picture for _, picture in some], options, call)
            for (index, picture), reading in zip(some, readings, strict=True):
                page = Page(index, (picture.shape[1], picture.shape[0]), scale, ())
                if isinstance(reading, PlatoonError):
                    page = replace(page, error=str(reading))
                else:
                    page = replace(page, blocks=tuple(_block(line_of(line)) for line in reading.lines))
                yield ReadPage(page, picture)

    def _read_each(self, pictures: Sequence[Pixels], options: Options, call: Call) -> list[Reading | PlatoonError]:
        """All pictures together, or, when one of them cannot be read, each alone."""
        try:
            return [*read(self._engine, pictures, options.how, call)]
        except PlatoonError as error:
            if error.retry:
                raise
            if len(pictures) == 1:
                return [error]
            return [outcome for picture in pictures for outcome in self._read_each([picture], options, call)]


def page_indices(pages: str, count: int) -> list[int]:
    """The indices, from 0 and in order, of the pages that `pages` names, as in `1-3,7`; all where it is empty.

    Raises:
        InvalidInput: it names none of `count` pages, or cannot be understood.
    """
    chosen: set[int] = set()
    for part in filter(None, (part.strip() for part in pages.split(","))):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not (first.isascii() and first.isdecimal()) or (last and not (last.isascii() and last.isdecimal())):
            raise InvalidInput(f"pages: {part[:40]!r} is no page and no range as in 1-3,7")
        end = int(last) if last else count if dash else int(first)
        chosen.update(range(int(first) - 1, min(end, count)))
    chosen.discard(-1)
    if pages.strip() and not chosen:
        raise InvalidInput(f"pages: {pages[:40]!r} names none of the document's {count}")
    return sorted(chosen) if chosen else list(range(count))


def line_of(line: ReadLine) -> Line:
    """A line that was read, with its words."""
    words = []
    start = 0
    for word in line.text.split(" "):
        if word.strip():
            words.append(Word(word, _corners(line.part(start, start + len(word))), line.confidence))
        start += len(word) + 1
    return Line(line.text, _corners(line.reading_quad), line.confidence, tuple(words))


def _corners(quad: Quad) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in quad)


def _block(line: Line) -> Block:
    return Block(Label.TEXT, around(line.corners), 1.0, (line,), line.text)
