"""Threads on which the work of callers is done who wait for it in an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, Unavailable
from platoon.tracing import Tracing

T = TypeVar("T")


class Workers:
    """So many threads. Await `run` from one event loop.

    Args:
        name: of the threads.
    """

    def __init__(self, threads: int, name: str, tracing: Tracing) -> None:
        self._threads = ThreadPoolExecutor(threads, name)
        self._tracing = tracing
        self._calls: set[RequestContext] = set()
        """Under way; cancelled when the workers stop."""

    async def run(
        self, priority: Priority, work: Callable[[RequestContext], T], *, most_s: float, first_s: float | None = None
    ) -> T:
        """`work` on a thread. It is cancelled with its caller, and given up after `most_s`.

        Args:
            first_s: until the deadline that `work` begins with, and may move; `most_s` unless given.

        Raises:
            DeadlineExceeded: it took too long, time in the queue included. Unavailable: it was cancelled.
        """
        call = RequestContext(
            priority, time.monotonic() + (most_s if first_s is None else first_s), trace=self._tracing.work()
        )

        def run() -> T:
            try:
                return work(call)
            except CancelledError as error:  # by the caller, who hears nothing any more, or by a closing engine
                raise Unavailable("what waited was cancelled") from error

        try:
            begun = self._threads.submit(copy_context().run, run)
        except RuntimeError as error:
            raise Unavailable("the service is stopping") from error
        self._calls.add(call)
        call.when_cancelled(begun.cancel)
        try:
            async with asyncio.timeout(most_s):
                return await asyncio.wrap_future(begun)
        except DeadlineExceeded:
            raise
        except TimeoutError as error:
            raise DeadlineExceeded(f"not read within {most_s:g} s") from error
        finally:
            self._calls.discard(call)
            call.cancel()

    def close(self) -> None:
        """Give up what is under way, and end the threads."""
        for call in list(self._calls):
            call.cancel()
        self._threads.shutdown(cancel_futures=True)
