import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, Unavailable
from platoon.ocr.workers import Workers
from platoon.tracing import Tracing


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(1, "test", Tracing())
    yield workers
    workers.close()


class Waiting:
    """Work that goes on until its call ends."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()

    def __call__(self, call: RequestContext) -> None:
        self.begun.set()
        try:
            while True:
                call.check()
                self.ended.wait(0.01)
        finally:
            self.ended.set()


def test_work_is_done_on_a_thread_with_the_callers_priority(workers: Workers) -> None:
    def work(call: RequestContext) -> tuple[Priority, bool]:
        return call.priority, threading.current_thread() is threading.main_thread()

    assert asyncio.run(workers.run(Priority.BULK, work, most_s=30)) == (Priority.BULK, False)


def test_work_that_takes_too_long_is_given_up(workers: Workers) -> None:
    work = Waiting()
    with pytest.raises(DeadlineExceeded):
        asyncio.run(workers.run(Priority.BULK, work, most_s=0.2))
    assert work.ended.wait(30)


def test_time_in_the_queue_counts(workers: Workers) -> None:
    first, second = Waiting(), Waiting()

    async def queue() -> None:
        running = asyncio.create_task(workers.run(Priority.BULK, first, most_s=300))
        await asyncio.to_thread(first.begun.wait, 30)
        with pytest.raises(DeadlineExceeded):
            await workers.run(Priority.BULK, second, most_s=0.2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await workers.run(Priority.BULK, lambda call: None, most_s=30)

    asyncio.run(queue())
    assert not second.begun.is_set()


def test_a_caller_who_leaves_takes_his_work_along(workers: Workers) -> None:
    work = Waiting()

    async def leave() -> None:
        running = asyncio.create_task(workers.run(Priority.BULK, work, most_s=30))
        await asyncio.to_thread(work.begun.wait, 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(leave())
    assert work.ended.wait(30)


def test_closing_ends_what_is_under_way_and_takes_nothing_more(workers: Workers) -> None:
    work = Waiting()

    async def close() -> None:
        running = asyncio.create_task(workers.run(Priority.BULK, work, most_s=30))
        await asyncio.to_thread(work.begun.wait, 30)
        await asyncio.to_thread(workers.close)
        with pytest.raises(Unavailable, match="cancelled"):
            await running
        with pytest.raises(Unavailable, match="stopping"):
            await workers.run(Priority.BULK, work, most_s=30)

    asyncio.run(close())


def test_what_an_engine_cancels_is_unavailable(workers: Workers) -> None:
    def cancelled(_: RequestContext) -> None:
        raise CancelledError

    with pytest.raises(Unavailable):
        asyncio.run(workers.run(Priority.BULK, cancelled, most_s=30))
