import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from platoon.engine.batcher import Execution, Priority, Reply
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, InvalidInput, Overloaded, PlatoonError, TooLarge, Unavailable
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr import picture as ocr_picture
from platoon.ocr.engine import TextEngine
from platoon.ocr.pages import Kind
from platoon.ocr.reading import Reading, ReadOptions
from platoon.ocr.service import OcrService, PixelBudget, in_portions
from platoon.settings import ServiceSettings
from tests.drawn import INVOICE, INVOICE_TEXTS, document, encoded, page

INK = page(*INVOICE)
PNG = encoded(INK)
PATIENCE_S = 30


class Blind:
    """An engine that finds no text anywhere; it notes what it sees, and may be told to hold its answers back."""

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[int, ...], Priority]] = []
        self.held: list[Reply[Any]] = []
        self.hold = False
        self.fail: PlatoonError | None = None
        self.asked = threading.Semaphore(0)

    def detect(self, pictures: Sequence[Pixels], *, priority: Priority, deadline: float) -> list[Reply[Any]]:
        if self.fail is not None:
            raise self.fail
        replies = []
        for picture in pictures:
            self.seen.append((picture.shape, priority))
            reply = Reply[Any]()
            reply.execution = Execution(len(pictures), 0.01)
            if self.hold:
                self.held.append(reply)
            else:
                reply.set_result(np.zeros(picture.shape[:2], np.float32))
            replies.append(reply)
        self.asked.release()
        return replies


@pytest.fixture
def blind() -> Blind:
    return Blind()


@pytest.fixture
def service(blind: Blind) -> Iterator[OcrService]:
    settings = ServiceSettings(max_pixels=200_000, max_decoded_pixels=200_000, max_pages=5, deadline_s=20)
    service = OcrService(blind, settings, Metrics())  # type: ignore[arg-type]
    yield service
    service.close()


@pytest.fixture
def seeing(text_engine: TextEngine) -> Iterator[OcrService]:
    service = OcrService(text_engine, ServiceSettings(), Metrics())
    yield service
    service.close()


def lines(outcome: Reading | PlatoonError) -> list[str]:
    assert isinstance(outcome, Reading), outcome
    return [line.text for line in outcome.lines]


def test_pictures_come_back_in_order_and_a_bad_one_fails_alone(seeing: OcrService) -> None:
    files = [PNG, b"nothing", encoded(page(("Second", 40, 80))), PNG[:-200], PNG]
    first, none, second, half, last = asyncio.run(seeing.read_pictures(files, ReadOptions()))
    assert lines(first) == lines(last) == INVOICE_TEXTS
    assert lines(second) == ["Second"]
    assert isinstance(none, InvalidInput)
    assert isinstance(half, InvalidInput)
    assert seeing.metrics.pictures_read._value.get() == 3


def test_a_picture_with_too_many_lines_spoils_no_other(text_engine: TextEngine) -> None:
    service = OcrService(text_engine, ServiceSettings(max_lines=2), Metrics())
    crowded, fine = asyncio.run(service.read_pictures([PNG, encoded(page(("Fine", 40, 80)))], ReadOptions()))
    service.close()
    assert isinstance(crowded, InvalidInput)
    assert lines(fine) == ["Fine"]


def test_pages_of_a_document_are_read_in_order(seeing: OcrService) -> None:
    data = document([INK, page(("Second page", 40, 100))])
    kind, pages = asyncio.run(
        seeing.read_pages(data, ReadOptions(), lambda picture, reading: (picture.shape, lines(reading)))
    )
    assert kind is Kind.PDF
    assert pages == [((400, 800, 3), INVOICE_TEXTS), ((400, 800, 3), ["Second page"])]


@pytest.mark.parametrize(("data", "kind"), [(PNG, Kind.PDF), (document([INK[:50]]), Kind.IMAGE)])
def test_a_file_that_is_not_what_the_caller_says_is_refused(service: OcrService, data: bytes, kind: Kind) -> None:
    with pytest.raises(InvalidInput, match=rf"not {kind}"):
        asyncio.run(service.read_pages(data, ReadOptions(), lambda *_: None, kind=kind))


def test_somebody_waits_for_a_picture_and_nobody_for_a_document(service: OcrService, blind: Blind) -> None:
    small = page(size=(64, 32))
    asyncio.run(service.read_picture(encoded(small), ReadOptions()))
    asyncio.run(service.read_pictures([encoded(small)], ReadOptions()))
    asyncio.run(service.read_pages(document([small]), ReadOptions(), lambda *_: None))
    assert [priority for _, priority in blind.seen] == [Priority.CALL, Priority.BATCH, Priority.BULK]


def test_what_declares_too_many_pixels_is_refused_before_it_is_decoded(service: OcrService, blind: Blind) -> None:
    with pytest.raises(TooLarge, match="more than 200000 pixels"):
        asyncio.run(service.read_picture(encoded(page(size=(600, 400))), ReadOptions()))
    assert blind.seen == []


def test_no_more_is_decoded_at_once_than_the_settings_allow(service: OcrService, blind: Blind) -> None:
    async def talk() -> None:
        blind.hold = True
        reading = [asyncio.create_task(service.read_picture(PNG, ReadOptions())) for _ in range(6)]
        for _ in range(2):  # of 80,000 pixels each, in 200,000
            assert await asyncio.to_thread(blind.asked.acquire, timeout=PATIENCE_S)
        await asyncio.sleep(0.05)
        assert len(blind.held) == 2
        for answered in range(6):
            if answered > 1:
                assert await asyncio.to_thread(blind.asked.acquire, timeout=PATIENCE_S)
            blind.held[answered].set_result(np.zeros((224, 416), np.float32))
        assert len(await asyncio.gather(*reading)) == 6

    asyncio.run(asyncio.wait_for(talk(), PATIENCE_S))


def test_many_pictures_of_one_call_are_taken_in_portions(service: OcrService, blind: Blind) -> None:
    asyncio.run(service.read_pictures([PNG] * 5, ReadOptions()))
    assert len(blind.seen) == 5


def test_a_caller_who_leaves_takes_what_waits_along(service: OcrService, blind: Blind) -> None:
    async def talk() -> None:
        blind.hold = True
        reading = asyncio.create_task(service.read_picture(PNG, ReadOptions()))
        assert await asyncio.to_thread(blind.asked.acquire, timeout=PATIENCE_S)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert blind.held[0].cancelled()
        blind.hold = False
        await asyncio.wait_for(service.read_picture(PNG, ReadOptions()), PATIENCE_S)

    asyncio.run(talk())


def test_an_answer_that_takes_too_long_is_given_up(blind: Blind) -> None:
    service = OcrService(blind, ServiceSettings(deadline_s=0.2), Metrics())  # type: ignore[arg-type]
    blind.hold = True
    with pytest.raises(DeadlineExceeded):
        asyncio.run(service.read_picture(PNG, ReadOptions()))
    assert blind.held[0].cancelled()
    service.close()


def test_a_full_queue_is_an_error_for_every_picture(service: OcrService, blind: Blind) -> None:
    blind.fail = Overloaded("full", retry_after_s=3)
    outcomes = asyncio.run(service.read_pictures([PNG, PNG], ReadOptions()))
    assert all(isinstance(outcome, Overloaded) for outcome in outcomes)


def test_a_stopping_service_gives_up_what_is_under_way_and_takes_no_more(service: OcrService, blind: Blind) -> None:
    async def talk() -> None:
        blind.hold = True
        reading = asyncio.create_task(service.read_picture(PNG, ReadOptions()))
        assert await asyncio.to_thread(blind.asked.acquire, timeout=PATIENCE_S)
        await asyncio.to_thread(service.close)
        with pytest.raises(Unavailable):
            await reading
        with pytest.raises(Unavailable, match="stopping"):
            await service.read_picture(PNG, ReadOptions())

    asyncio.run(asyncio.wait_for(talk(), PATIENCE_S))


def soon() -> RequestContext:
    return RequestContext(Priority.VIDEO, time.monotonic() + PATIENCE_S)


def test_the_budget_serves_whoever_came_first_even_where_less_would_fit() -> None:
    budget, served = PixelBudget(100), list[str]()
    waiting = threading.Event()

    def take(name: str, pixels: int) -> None:
        if name == "large":
            waiting.set()
        with budget.holding(pixels, soon()):
            served.append(name)

    with ThreadPoolExecutor(2) as pool:
        with budget.holding(60, soon()):
            large = pool.submit(take, "large", 80)
            assert waiting.wait(PATIENCE_S)
            while not budget._queue:
                time.sleep(0.001)
            small = pool.submit(take, "small", 10)
            time.sleep(0.02)
            assert served == []
        large.result(PATIENCE_S)
        small.result(PATIENCE_S)
    assert served == ["large", "small"]


def test_who_gives_up_waiting_for_the_budget_blocks_nobody() -> None:
    budget = PixelBudget(100)
    leaving = soon()
    with ThreadPoolExecutor(1) as pool:
        with budget.holding(60, soon()):
            gone = pool.submit(budget._take, 80, leaving)
            while not budget._queue:
                time.sleep(0.001)
            leaving.cancel()
            assert isinstance(gone.exception(PATIENCE_S), CancelledError)
            late = RequestContext(Priority.VIDEO, time.monotonic() + 0.01)
            with pytest.raises(DeadlineExceeded), budget.holding(80, late):
                pass
            with budget.holding(40, soon()):
                pass
        with budget.holding(100, soon()):
            pass


def test_what_is_slow_to_decode_keeps_no_plain_picture_waiting(blind: Blind, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, opened = threading.Event(), threading.Semaphore(0)
    apart = ocr_picture._opened_apart

    def endless(*given: Any) -> Any:
        opened.release()
        assert stuck.wait(PATIENCE_S)
        return apart(*given)

    monkeypatch.setattr(ocr_picture, "_opened_apart", endless)
    settings = ServiceSettings(max_pixels=200_000, max_decoded_pixels=400_000, deadline_s=PATIENCE_S)
    service = OcrService(blind, settings, Metrics())  # type: ignore[arg-type]
    gif = encoded(INK, "GIF")

    async def talk() -> None:
        slow = [asyncio.create_task(service.read_picture(gif, ReadOptions())) for _ in range(70)]
        assert await asyncio.to_thread(opened.acquire, timeout=PATIENCE_S)
        await asyncio.wait_for(service.read_picture(PNG, ReadOptions()), PATIENCE_S / 2)
        assert not any(task.done() for task in slow)
        for task in slow[4:]:
            task.cancel()
        stuck.set()
        await asyncio.gather(*slow[:4])

    try:
        asyncio.run(talk())
    finally:
        stuck.set()
        service.close()


def test_what_is_slow_to_decode_leaves_room_for_the_largest_plain_picture() -> None:
    settings = ServiceSettings(max_pixels=100_000, max_decoded_pixels=300_000)
    service = OcrService(Blind(), settings, Metrics())  # type: ignore[arg-type]
    slow = soon()
    with service.slow_budget.holding(200_000, slow), service.budget.holding(100_000, soon()):
        late = RequestContext(Priority.BULK, time.monotonic() + 0.01)
        with pytest.raises(DeadlineExceeded), service.slow_budget.holding(1, late):
            pass
    service.close()


def test_portions_keep_the_order_and_the_limit() -> None:
    assert list(in_portions({0: 5, 2: 4, 3: 9, 5: 1, 6: 1}, 9)) == [[0, 2], [3], [5, 6]]
    assert list(in_portions(dict.fromkeys(range(5), 1), 9, most=2)) == [[0, 1], [2, 3], [4]]
    assert list(in_portions({}, 9)) == []


def test_what_a_call_makes_the_detector_take_is_charged_before_it_is_made(blind: Blind) -> None:
    held: list[int] = []

    class Counting(PixelBudget):
        @contextmanager
        def holding(self, pixels: int, call: RequestContext) -> Iterator[None]:
            held.append(pixels)
            seen = len(blind.seen)
            with super().holding(pixels, call):
                yield
            assert sum(height * width for (height, width, _), _ in blind.seen[seen:]) <= pixels

    settings = ServiceSettings(max_pixels=10_000_000, max_decoded_pixels=10_000_000)
    service = OcrService(blind, settings, Metrics())  # type: ignore[arg-type]
    service.budget = Counting(settings.max_decoded_pixels)
    service.slow_budget = PixelBudget(settings.max_decoded_pixels, within=service.budget)
    dots = [encoded(INK[:2, :2])] * 5
    how = ReadOptions(limit_side=4000, limit_type="min")
    try:
        readings = asyncio.run(service.read_pictures(dots, how))
        assert [type(reading) for reading in readings] == [Reading] * 5
        asyncio.run(service.read_pages(document([INK[:9, :9]] * 3, "TIFF"), how, lambda _, reading: reading))
    finally:
        service.close()
    assert len(held) == 3 + 2  # of inputs of 4 megapixels no more than two are held at once
    assert max(held) <= settings.max_decoded_pixels
