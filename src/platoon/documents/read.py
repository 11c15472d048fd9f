"""Reading a document: its pages one after the other, each with its blocks in reading order.

Pages are drawn, read and handed out a few at a time, so any number of them needs the memory of a few. A page that
cannot be read says why, and the rest goes on. How pages are shown is left to the exports, and keeping what was read
to the jobs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from platoon.documents.layout import Layout, Region
from platoon.documents.order import blocks_of, share
from platoon.documents.page import Block, Box, Label, Line, Page, Word
from platoon.documents.tables import gapped_tables, ruled_tables, table_in
from platoon.documents.text_layer import lines_of, sound
from platoon.engine.batcher import Priority, Reply
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput, PlatoonError
from platoon.media.frame import Pixels, Quad
from platoon.ocr.engine import TextEngine
from platoon.ocr.pages import File, Kind, open_file
from platoon.ocr.reading import ReadLine, ReadOptions, read
from platoon.ocr.sheets import Sheet

AT_A_TIME = 4
"""Pages held in memory at most: neighbours share batches."""
PIXELS_AT_A_TIME = 32_000_000
"""With so many pixels, three bytes each, no further page joins those that are held."""
SURE = 0.9
"""How sure it is that rules with text between them are a table, or words with gaps that run through all rows, on the
scale of layout models."""
MAX_LISTED = 100_000
"""Pages of a file that only a few are read of."""

_RANGE = re.compile(r"(?P<first>\d{1,9})(?:\s*(?P<dash>-)\s*(?P<last>\d{1,9})?)?", re.ASCII)


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
    read_options: ReadOptions = field(default_factory=ReadOptions)
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


class ReadsDocuments(Protocol):
    """What `DocumentReader` does, for whoever needs to know no more of it."""

    def warm_up(self) -> None:
        """See `DocumentReader.warm_up`."""

    def open(
        self, data: bytes, options: Options, call: RequestContext, *, skip: Container[int] = ()
    ) -> AbstractContextManager[OpenDocument]:
        """See `DocumentReader.open`."""


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
        self._warm = threading.Lock()
        self._is_warm = False

    def warm_up(self) -> None:
        """Load all that reading needs, and run it once. Blocks the first time.

        Raises:
            PlatoonError: something cannot be loaded.
        """
        with self._warm:
            if self._is_warm:
                return
            picture = np.zeros((64, 320, 3), np.uint8)
            with RequestContext(Priority.BULK) as call:
                for find in (True, False):
                    read(self._engine, [picture], ReadOptions(find=find), call)
                if self._layout is not None:
                    call.result(self._layout.submit([picture], call)[0])
            self._is_warm = True

    @contextmanager
    def open(
        self, data: bytes, options: Options, call: RequestContext, *, skip: Container[int] = ()
    ) -> Iterator[OpenDocument]:
        """The document in `data`: a PDF, TIFF or picture.

        Args:
            skip: indices, from 0, of pages that are known already: they are neither drawn nor read.

        Raises:
            TooLarge, InvalidInput: the file as a whole cannot be read, or `options.pages` are none of its pages.
            DeadlineExceeded: it took too long to be opened. Iterating raises what the engine does (Overloaded,
            DeadlineExceeded, Unavailable), and CancelledError.
        """
        with open_file(data, max_pages=MAX_LISTED, max_pixels=self._max_pixels, page_s=self._page_s) as file:
            call.when_cancelled(file.give_up)
            wanted = page_indices(options.pages, len(file.sizes))
            if len(wanted) > self._max_pages:
                raise InvalidInput(
                    f"the document has {len(wanted)} pages to be read, more than {self._max_pages}; "
                    f"choose fewer, as in 1-{self._max_pages}"
                )
            indices = [index for index in wanted if index not in skip]
            yield OpenDocument(file.kind, file.sizes, indices, self._read(file, indices, options, call))

    def _read(self, file: File, indices: Sequence[int], options: Options, call: RequestContext) -> Iterator[ReadPage]:
        outcomes = zip(indices, file.draw(indices, text=options.text_layer != "ignore"), strict=True)
        while some := _portion(outcomes, call):
            yield from self._read_some(some, file.sizes, options, call)

    def _read_some(
        self,
        some: Sequence[tuple[int, Drawn]],
        sizes: Sequence[tuple[int, int]],
        options: Options,
        call: RequestContext,
    ) -> Iterator[ReadPage]:
        """These pages, which share batches."""
        sheets = {index: drawn for index, drawn in some if isinstance(drawn, Sheet)}
        lines: dict[int, Lines] = {index: _carried(sheet, options) for index, sheet in sheets.items()}
        unread = [index for index, carried in lines.items() if carried is None]
        regions = self._regions({index: sheet.picture for index, sheet in sheets.items()}, options, call)
        lines |= zip(unread, self._read_each([sheets[index].picture for index in unread], options, call), strict=True)
        for index, drawn in some:
            found = lines[index] if isinstance(drawn, Sheet) else drawn
            page = Page(index, sizes[index], 1.0, (), "ocr" if index in unread else "text-layer")
            picture = np.zeros((0, 0, 3), np.uint8)
            if isinstance(drawn, Sheet):
                picture = drawn.picture
                page = replace(page, size=(picture.shape[1], picture.shape[0]), scale=drawn.scale)
            if isinstance(found, PlatoonError):
                yield ReadPage(replace(page, source="ocr", error=str(found)), picture)
                continue
            standing = call.result(regions[index]) if index in regions else []
            if options.tables:
                standing = [*standing, *_ruled(picture, found or ())]
                standing += _gapped(found or (), standing)
            blocks = blocks_of(found or (), standing, page.size)
            if options.tables:
                blocks = [_with_cells(block, picture) for block in blocks]
            yield ReadPage(replace(page, blocks=tuple(blocks)), picture)

    def _regions(
        self, pictures: Mapping[int, Pixels], options: Options, call: RequestContext
    ) -> dict[int, Reply[list[Region]]]:
        if self._layout is None or not options.layout or not pictures:
            return {}
        return dict(zip(pictures, self._layout.submit(list(pictures.values()), call), strict=True))

    def _read_each(self, pictures: Sequence[Pixels], options: Options, call: RequestContext) -> list[Lines]:
        """All pictures together, or, when one of them cannot be read, each alone."""
        if not pictures:
            return []
        try:
            readings = read(self._engine, pictures, options.read_options, call)
        except PlatoonError as error:
            if error.retry:
                raise
            if len(pictures) == 1:
                return [error]
            return [lines for picture in pictures for lines in self._read_each([picture], options, call)]
        return [[line_of(line) for line in reading.lines] for reading in readings]


Drawn = Sheet | PlatoonError
"""A page, or why it could not be drawn."""
Lines = Sequence[Line] | PlatoonError | None
"""What a page says, or why it could not be read; none: it has to be read yet."""


def _portion(outcomes: Iterator[tuple[int, Drawn]], call: RequestContext) -> list[tuple[int, Drawn]]:
    """The next few pages; nothing at the end."""
    some: list[tuple[int, Drawn]] = []
    held = 0
    for index, drawn in outcomes:
        call.check()
        some.append((index, drawn))
        held += drawn.picture.shape[0] * drawn.picture.shape[1] if isinstance(drawn, Sheet) else 0
        if len(some) == AT_A_TIME or held >= PIXELS_AT_A_TIME:
            break
    return some


def _carried(sheet: Sheet, options: Options) -> Lines:
    """The lines that a page carries, where they are to be taken."""
    size = (sheet.picture.shape[1], sheet.picture.shape[0])
    if options.text_layer == "ignore":
        return None
    if sheet.characters is None or (options.text_layer == "auto" and not sound(sheet.characters, size)):
        return [] if options.text_layer == "only" else None
    lines = [line for line in lines_of(sheet.characters) if _is_on(line.box, size)]
    if len(lines) > options.read_options.max_lines:
        return InvalidInput(f"the page carries {len(lines)} lines of text, more than {options.read_options.max_lines}")
    return lines


def _is_on(box: Box, size: tuple[int, int]) -> bool:
    """Whether some of a box is on a page: what PDFs carry may stand beside it."""
    return box[0] < size[0] and box[1] < size[1] and box[2] > 0 and box[3] > 0


def _ruled(picture: Pixels, lines: Sequence[Line]) -> list[Region]:
    """Tables that are known by their rules, whatever the model takes them for."""
    return [Region(Label.TABLE, box, SURE) for box in ruled_tables(picture, lines)]


def _gapped(lines: Sequence[Line], standing: Sequence[Region]) -> list[Region]:
    """Tables that are known by the gaps between their words, where none of those that are known stands."""
    known = [region.box for region in standing if region.label is Label.TABLE]
    return [
        Region(Label.TABLE, box, SURE)
        for box in gapped_tables(lines)
        if sum(share(box, other) for other in known) < 0.5
    ]


def _with_cells(block: Block, picture: Pixels) -> Block:
    """The block, with its cells if it is a table that has some: rows are its lines then, cells parted by tabs."""
    table = table_in(picture, block.box, block.lines) if block.label is Label.TABLE else None
    if table is None:
        return block
    rows = [[cell.text for cell in table.cells if cell.row == row] for row in range(table.rows)]
    return replace(block, table=table, text="\n".join("\t".join(row) for row in rows))


def page_indices(pages: str, count: int) -> list[int]:
    """The indices, from 0 and in order, of the pages that `pages` names, as in `1-3,7`; all where it is empty.

    Raises:
        InvalidInput: it names none of `count` pages, or cannot be understood.
    """
    ranges: list[tuple[int, int]] = []
    for part in filter(None, (part.strip() for part in pages.split(","))):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise InvalidInput(f"pages: {part[:40]!r} is no page and no range as in 1-3,7")
        first = int(match["first"])
        last = int(match["last"]) if match["last"] else count if match["dash"] else first
        ranges.append((max(0, first - 1), min(last, count)))
    chosen: list[int] = []
    end = 0
    for start, stop in sorted(ranges):  # those that overlap cost nothing
        chosen.extend(range(max(start, end), stop))
        end = max(end, stop)
    if pages.strip() and not chosen:
        raise InvalidInput(f"pages: {pages[:40]!r} names none of the document's {count}")
    return chosen or list(range(count))


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
