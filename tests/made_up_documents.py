"""A reader of documents for tests: a file is a number of pages, and what stands on them is known."""

import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from platoon.api.paddlex.pipelines.own import BlockReader, OwnBlockReader, OwnPipeline
from platoon.documents.read import OpenDocument, Options, ReadPage
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput
from platoon.ocr.pages import Kind
from platoon.ocr.service import OcrService
from platoon.ocr.workers import Workers
from platoon.settings import Settings
from tests.pages import report


@dataclass
class MadeUpReader:
    """`PDF3` is a PDF of three pages, `PNG` a picture, `PDF2 broken` two pages of which the last cannot be read."""

    turns: threading.Semaphore | None = None
    """Each page takes one; none: they are read at once."""
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released when a page is begun."""
    given_up: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released when a call ends before its page."""
    options: list[Options] = field(default_factory=list)
    """Of all calls."""

    def warm_up(self) -> None:
        pass

    @contextmanager
    def open(
        self, data: bytes, options: Options, call: RequestContext, *, skip: Container[int] = ()
    ) -> Iterator[OpenDocument]:
        """See `DocumentReader.open`."""
        del skip
        self.options.append(options)
        text = data.decode()
        if not text.startswith(("PDF", "PNG")):
            raise InvalidInput("the file is neither a PDF nor a picture")
        kind = Kind.PDF if text.startswith("PDF") else Kind.IMAGE
        count = int(text.split()[0][3:] or 1)
        failing = count - 1 if "broken" in text else count
        yield OpenDocument(kind, [(400, 800)] * count, range(count), self._pages(count, failing, call))

    def _pages(self, count: int, failing: int, call: RequestContext) -> Iterator[ReadPage]:
        for index in range(count):
            self.begun.release()
            try:
                while self.turns is not None and not self.turns.acquire(timeout=0.01):
                    call.check()
                call.check()
            except BaseException:
                self.given_up.release()
                raise
            page = report(index)
            if index >= failing:
                page = replace(page, blocks=(), error=f"page {index + 1} cannot be drawn")
            yield ReadPage(page, np.full((800, 400, 3), 240, np.uint8))


def parsing(
    reader: MadeUpReader, service: OcrService, settings: Settings, block_reader: BlockReader | None = None
) -> OwnPipeline:
    """A pipeline over such documents."""
    workers = Workers(settings.gateway.max_inference_requests, "documents", service.tracing)
    return OwnPipeline(
        reader, block_reader or OwnBlockReader(), workers, service.budget, max_lines=service.settings.max_lines
    )
