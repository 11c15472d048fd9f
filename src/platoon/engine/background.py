"""Executing a graph for work that nobody waits for, beside executions that somebody does wait for.

An execution of a page takes a fifth of a second and cannot be stopped. On one runtime a plate would wait for its end;
beside it, on executions of one thread each that yield the processor, it hardly notices. Measured on two cores, reading
lines without pause in the background: a plate took 10.0 ms at the median and 15.0 ms at the 99th percentile (7.4 and
11.5 without them, 20.7 and 26.8 without yielding), and under plates without pause the lines still got a third of the
processor.

All executors of the background share one runtime, as its weights are as large for one as for many.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from platoon.arrays import Array
from platoon.engine.executor import Executor, Runtime

NICE = 19
"""The lowest priority but for idle time only, in which work would starve."""


def background(open_runtime: Callable[[], Runtime], count: int) -> list[BackgroundExecutor]:
    """So many executors of one runtime, which is opened when one of them is first called and closed with the last.

    Args:
        open_runtime: opens it on the thread that calls this, whose priority the threads have that it starts: all
            executions must run on these or on that of their caller. Where threads have no priority of their own (all
            systems but Linux) they run at the usual one.
    """
    shared = _Shared(open_runtime, count)
    return [BackgroundExecutor(shared, number) for number in range(count)]


class BackgroundExecutor:
    """An executor whose thread yields the processor to all other threads; `background` makes them."""

    def __init__(self, shared: _Shared, number: int) -> None:
        self._shared, self._number = shared, number
        # A priority once lowered cannot be raised again: the thread that calls must not be the one that yields, as it
        # has other things to do, under a lock that all threads share.
        self._thread = ThreadPoolExecutor(1, "background", initializer=yield_processor)

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """See `Executor`."""
        return self._thread.submit(self._execute, batch).result()

    def close(self) -> None:
        """See `Executor`."""
        self._thread.shutdown()
        self._shared.let_go()

    def _execute(self, batch: Array) -> tuple[NDArray[Any], ...]:
        return self._shared.executor(self._number)(batch)


class _Shared:
    """The runtime of so many executors."""

    def __init__(self, open_runtime: Callable[[], Runtime], users: int) -> None:
        self._open, self._users = open_runtime, users
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None
        self._executors: Sequence[Executor] = ()

    def executor(self, number: int) -> Executor:
        """What the executor of this number calls."""
        with self._lock:
            if self._runtime is None:
                self._runtime = self._open()
                self._executors = self._runtime.foreground()
            return self._executors[number % len(self._executors)]

    def let_go(self) -> None:
        """One of the executors is closed."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._runtime is not None:
                self._runtime.close()


def yield_processor() -> None:
    """Give this thread the lowest priority for good, where threads have one of their own."""
    if sys.platform == "linux":  # elsewhere this is the priority of the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
