"""The work that one caller has in the engine, wherever in it that waits.

A call carries its priority and its deadline through every model that it needs, and can be cancelled from any thread.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NoReply
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Self, TypeVar

from platoon.engine.batcher import Priority, Reply
from platoon.errors import DeadlineExceeded

Result = TypeVar("Result")
_NOTHING: Final = nullcontext()


class Trace:
    """The stages of one request's work; this one records none of them."""

    def stage(self, name: str, items: int) -> AbstractContextManager[object]:
        """What happens inside is this stage, of so many pictures."""
        del name, items
        return _NOTHING

    def follow(self, stage: str, replies: Sequence[Reply[Any]]) -> None:
        """The stage waits for these too, submitted just now."""

    def record(self) -> None:
        """Record the stages that were followed so far: they have ended."""


class RequestContext:
    """The work of one caller in the engine; as a context manager it ends with what still waits. Safe from any thread.

    Args:
        deadline: a point of `time.monotonic()`.
        trace: hears what is waited for.
    """

    def __init__(self, priority: Priority, deadline: float = math.inf, *, trace: Trace | None = None) -> None:
        self.priority, self.deadline, self.trace = priority, deadline, trace or Trace()
        self._lock = threading.Lock()
        self._cancelled = False
        self._on_cancel: list[Callable[[], object]] = []
        self._waiting: set[Reply[Any]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    @property
    def left_s(self) -> float:
        """Time until the deadline, as long as a thread can wait at most."""
        return min(max(0.0, self.deadline - time.monotonic()), threading.TIMEOUT_MAX)

    def cancel(self) -> None:
        """Give up whatever still waits; nothing is submitted any more."""
        with self._lock:
            self._cancelled = True
        for cancel in (*self._on_cancel, *[reply.cancel for reply in list(self._waiting)]):
            cancel()

    def check(self) -> None:
        """Raises CancelledError or DeadlineExceeded when there is no point in going on."""
        if self._cancelled:
            raise CancelledError
        if time.monotonic() > self.deadline:
            raise DeadlineExceeded("the answer would come too late; send less at once, or try again later")

    def when_cancelled(self, cancel: Callable[[], object]) -> None:
        """Call `cancel` as soon as this call is cancelled, which may be now."""
        with self._lock:
            if not self._cancelled:
                self._on_cancel.append(cancel)
                return
        cancel()

    def hold(self, stage: str, replies: Sequence[Reply[Result]]) -> Sequence[Reply[Result]]:
        """The stage waits for these: cancel them with this call. Those that are done are let go."""
        self.trace.follow(stage, replies)
        self._waiting.update(replies)
        for reply in replies:
            reply.add_done_callback(self._waiting.discard)
            if self._cancelled:
                reply.cancel()
        return replies

    def result(self, reply: Reply[Result]) -> Result:
        """The result, waiting for it until the deadline."""
        try:
            return reply.result(self.left_s)
        except NoReply as error:
            if isinstance(error, DeadlineExceeded):
                raise
            raise DeadlineExceeded("the answer would come too late; send less at once, or try again later") from None
