"""The OCR service: bytes of pictures and documents in, readings out, for many callers at once.

Every limit on what one caller may ask of the engine is kept here: sizes are checked before anything is decoded,
what is decoded at once is bounded in pixels, time in any queue counts against the deadline, and what a caller who
left had waiting is cancelled. Bodies, keys and rates are left to the faces, and how answers look to each contract.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput, PlatoonError
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.pages import Kind, kind_of, open_pages
from platoon.ocr.picture import DECODE_S, PROCESSES, is_plain, load_picture, picture_size
from platoon.ocr.reading import Reading, ReadOptions, pixels_held, read
from platoon.ocr.workers import Workers
from platoon.settings import ServiceSettings
from platoon.tracing import Tracing

PICTURES_AT_ONCE = 64
"""Threads for calls with pictures: most of them wait for the engine, which makes batches of what they bring."""
DOCUMENTS_AT_ONCE = 4
"""Threads for documents, so that these never keep pictures waiting."""
PAGES_AT_A_TIME = 4
"""Pages of one document that are held in memory."""

T = TypeVar("T")


class OcrService:
    """Reads what callers send, through a shared engine. Await its methods from one event loop.

    Args:
        engine: stays its owner's: `close` leaves it open. So does `tracing`; none: nothing is traced.
    """

    def __init__(
        self, engine: TextEngine, settings: ServiceSettings, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self.settings, self.metrics, self.engine = settings, metrics, engine
        self.tracing = tracing or Tracing()
        self.budget = PixelBudget(settings.max_decoded_pixels)
        """Of all callers together, also of those who read through the engine in other ways."""
        spare = settings.max_decoded_pixels - settings.max_pixels
        self.slow_budget = PixelBudget(max(settings.max_pixels, spare), within=self.budget)
        """For what may take as long to be decoded as it is given: it leaves room for the largest plain picture."""
        self._pictures = Workers(PICTURES_AT_ONCE, "ocr pictures", self.tracing)
        self._pictures_apart = Workers(PROCESSES, "ocr pictures apart", self.tracing)
        self._documents = Workers(DOCUMENTS_AT_ONCE, "ocr documents", self.tracing)

    def not_ready(self) -> list[str]:
        """Why the service cannot work yet, or not at all."""
        return self.engine.not_ready()

    async def read_picture(self, data: bytes, options: ReadOptions) -> Reading:
        """What the picture in `data` says; somebody waits for it.

        Raises:
            TooLarge, InvalidInput: by the picture. Overloaded, DeadlineExceeded, Unavailable: by the engine.
        """
        (reading,) = await self.read_pictures([data], options, priority=Priority.CALL)
        if isinstance(reading, PlatoonError):
            raise reading
        return reading

    async def read_pictures(
        self, files: Sequence[bytes], options: ReadOptions, *, priority: Priority = Priority.BATCH
    ) -> list[Reading | PlatoonError]:
        """What each picture says, in order; or, in its place, why it could not be read.

        Raises:
            DeadlineExceeded: all together took too long.
        """
        options = replace(options, max_lines=self.settings.max_lines)
        plain = all(map(is_plain, files))
        workers = self._pictures if plain else self._pictures_apart
        budget = self.budget if plain else self.slow_budget
        return await workers.run(
            priority, lambda call: self._read_pictures(files, options, budget, call), most_s=self.settings.deadline_s
        )

    async def read_pages(
        self, data: bytes, options: ReadOptions, make: Callable[[Pixels, Reading], T], *, kind: Kind | None = None
    ) -> tuple[Kind, list[T]]:
        """What `make` makes of each page of a picture, TIFF or PDF, and what of these it is.

        `make` is called on a worker's thread, page by page, so that no more than a few are held.

        Args:
            kind: what the caller says it is; something else is refused. A TIFF may be called an image.

        Raises:
            As `read_picture`; InvalidInput for more than `max_pages` too.
        """
        options = replace(options, max_lines=self.settings.max_lines)
        document = kind_of(data) is not Kind.IMAGE
        deadline_s = self.settings.deadline_s
        plain = is_plain(data)
        workers = self._documents if document else self._pictures if plain else self._pictures_apart
        budget = self.budget if plain else self.slow_budget
        return await workers.run(
            Priority.BULK if document else Priority.CALL,
            lambda call: self._read_pages(data, options, make, kind, budget, call),
            first_s=deadline_s,
            most_s=deadline_s * (self.settings.max_pages if document else 1),
        )

    def close(self) -> None:
        """Give up what is under way, and end the threads."""
        self._pictures.close()
        self._pictures_apart.close()
        self._documents.close()

    def _read_pictures(
        self, files: Sequence[bytes], options: ReadOptions, budget: PixelBudget, call: RequestContext
    ) -> list[Reading | PlatoonError]:
        outcomes: list[Reading | PlatoonError | None] = [None] * len(files)
        sizes: dict[int, int] = {}
        for index, data in enumerate(files):
            call.check()
            try:
                most_s = min(call.left_s, DECODE_S)
                width, height = picture_size(data, max_pixels=self.settings.max_pixels, most_s=most_s)
                sizes[index] = pixels_held(width, height, options)
            except PlatoonError as error:
                outcomes[index] = error
        for indices in in_portions(sizes, self.settings.max_pixels):
            with budget.holding(sum(sizes[index] for index in indices), call):
                loaded: dict[int, Pixels] = {}
                with call.trace.stage("decode", len(indices)):
                    for index in indices:
                        call.check()
                        most_s = min(call.left_s, DECODE_S)
                        try:
                            loaded[index] = load_picture(
                                files[index], max_pixels=self.settings.max_pixels, most_s=most_s
                            )
                        except PlatoonError as error:
                            outcomes[index] = error
                for index, outcome in zip(loaded, self._read_each(list(loaded.values()), options, call), strict=True):
                    outcomes[index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _read_each(
        self, pictures: Sequence[Pixels], options: ReadOptions, call: RequestContext
    ) -> list[Reading | PlatoonError]:
        """All pictures together, or, when one of them fails, each alone."""
        try:
            readings: list[Reading | PlatoonError] = [*read(self.engine, pictures, options, call)]
        except PlatoonError as error:
            if len(pictures) == 1 or error.retry:
                return [error] * len(pictures)
            return [outcome for picture in pictures for outcome in self._read_each([picture], options, call)]
        self.metrics.pictures_read.inc(len(readings))
        return readings

    def _read_pages(
        self,
        data: bytes,
        options: ReadOptions,
        make: Callable[[Pixels, Reading], T],
        kind: Kind | None,
        budget: PixelBudget,
        call: RequestContext,
    ) -> tuple[Kind, list[T]]:
        call.check()
        settings = self.settings
        made: list[T] = []
        with open_pages(
            data, max_pages=settings.max_pages, max_pixels=settings.max_pixels, page_s=settings.deadline_s
        ) as pages:
            if kind is not None and (kind is Kind.PDF) != (pages.kind is Kind.PDF):
                raise InvalidInput(f"the file is of the kind {pages.kind}, not {kind}")
            call.deadline += settings.deadline_s * (len(pages.sizes) - 1)
            areas = {index: pixels_held(width, height, options) for index, (width, height) in enumerate(pages.sizes)}
            for indices in in_portions(areas, settings.max_pixels, most=PAGES_AT_A_TIME):
                call.check()
                with budget.holding(sum(areas[index] for index in indices), call):
                    with call.trace.stage("decode", len(indices)):
                        pictures = list(islice(pages.pictures, len(indices)))
                    readings = read(self.engine, pictures, options, call)
                    made += [make(picture, reading) for picture, reading in zip(pictures, readings, strict=True)]
                    self.metrics.pictures_read.inc(len(readings))
        return pages.kind, made


class PixelBudget:
    """Bounds the pixels that are held decoded; who comes first is served first. Safe from any thread.

    Args:
        within: what is held here is held there, too.
    """

    def __init__(self, pixels: int, *, within: PixelBudget | None = None) -> None:
        self._all = self._free = pixels
        self._within = within
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @contextmanager
    def holding(self, pixels: int, call: RequestContext) -> Iterator[None]:
        """Hold so many, or the whole budget if that is less, waiting for them until the call ends.

        Raises:
            DeadlineExceeded, CancelledError: the call ended first.
        """
        pixels = min(pixels, self._all)
        self._take(pixels, call)
        try:
            with nullcontext() if self._within is None else self._within.holding(pixels, call):
                yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()

    def _take(self, pixels: int, call: RequestContext) -> None:
        place = object()
        call.when_cancelled(self._wake)
        with self._changed:
            self._queue.append(place)
            try:
                while self._queue[0] is not place or self._free < pixels:
                    call.check()
                    self._changed.wait(call.left_s)
                self._free -= pixels
            finally:
                self._queue.remove(place)
                self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def in_portions(costs: dict[int, int], limit: int, *, most: int = 64) -> Iterator[list[int]]:
    """The keys of `costs` in order, in groups of at most `most` that together cost at most `limit`; what costs more is
    alone.
    """
    portion: list[int] = []
    total = 0
    for key, cost in costs.items():
        if portion and (total + cost > limit or len(portion) == most):
            yield portion
            portion, total = [], 0
        portion.append(key)
        total += cost
    if portion:
        yield portion
