"""A reader of documents for tests of jobs: a file says what happens to it, and what is read is known."""

import threading
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from platoon.documents.page import Block, Label, Line, Page
from platoon.documents.read import OpenDocument, Options, ReadPage, page_indices
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, InvalidInput, Unavailable
from platoon.ocr.pages import Kind, open_pages

SIZE = (100, 50)
"""(width, height) of every page."""


def page(index: int) -> Page:
    """What the reader reads on the page `index`."""
    line = Line(f"Page {index + 1}", ((10.0, 20.0), (90.0, 20.0), (90.0, 40.0), (10.0, 40.0)), 0.9876, ())
    return Page(index, SIZE, 2.0, (Block(Label.TEXT, line.box, 1.0, (line,), line.text),))


@dataclass
class ScriptedReader:
    """A file is a number of pages, or `broken`, `slow` or `odd`, or a real one; pages are read as far as `turns` lets,
    if it is set.
    """

    turns: threading.Semaphore | None = None
    read: list[int] = field(default_factory=list)
    """Indices of the pages that were read, by whomever."""
    opened: int = 0
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released when a page is begun."""
    away: bool = False
    """Whether the engine is."""
    warm: threading.Event | None = None
    """Set once models are loaded; none: they are."""
    stuck: threading.Event | None = None
    """Opening a document waits for it, whoever cancels."""

    def warm_up(self) -> None:
        while self.warm is not None and not self.warm.wait(0.01):
            raise Unavailable("models are loaded still")

    @contextmanager
    def open(
        self, data: bytes, options: Options, call: RequestContext, *, skip: Container[int] = ()
    ) -> Iterator[OpenDocument]:
        self.opened += 1
        if self.stuck is not None:
            self.stuck.wait()
        if data == b"broken":
            raise InvalidInput("the PDF is damaged")
        if self.away:
            raise Unavailable("the engine is away")
        if data == b"slow":
            raise DeadlineExceeded("it took too long to be opened")
        if data == b"odd":
            raise RuntimeError("secret of the house")
        count = _count(data)
        indices = [index for index in page_indices(options.pages, count) if index not in skip]
        yield OpenDocument(Kind.PDF, [SIZE] * count, indices, self._pages(indices, call))

    def _pages(self, indices: Sequence[int], call: RequestContext) -> Iterator[ReadPage]:
        for index in indices:
            self.begun.release()
            while self.turns is not None and not self.turns.acquire(timeout=0.01):
                call.check()
            call.check()
            self.read.append(index)
            yield ReadPage(page(index), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))


def _count(data: bytes) -> int:
    if data.isdigit():
        return int(data)
    with open_pages(data, max_pages=100, max_pixels=1_000_000, page_s=60) as pages:
        return len(pages.sizes)
