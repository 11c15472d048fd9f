"""Executing a graph for work that nobody waits for, beside executions that somebody does wait for.

An execution of a page takes a fifth of a second and cannot be stopped. On one runtime a plate would wait for its end;
beside it, on runtimes of one thread each that yield the processor, it hardly notices. Measured on two cores, reading
lines without pause in the background: a plate took 10.0 ms at the median and 15.0 ms at the 99th percentile (7.4 and
11.5 without them, 20.7 and 26.8 without yielding), and under plates without pause the lines still got a third of the
processor.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from platoon.engine.runtime import Runtime

NICE = 19
"""The lowest priority but for idle time only, in which work would starve."""


class BackgroundRuntime:
    """A runtime of one thread, which yields the processor to all other threads; opened at its first call.

    Args:
        open_runtime: opens a runtime that executes on the thread that calls it. Where threads have no priority of their
            own (all systems but Linux) it runs at the usual one.
    """

    def __init__(self, open_runtime: Callable[[], Runtime]) -> None:
        self._open = open_runtime
        self._runtime: Runtime | None = None
        # A priority once lowered cannot be raised again: the thread that calls must not be the one that yields, as it
        # has other things to do, under a lock that all threads share.
        self._thread = ThreadPoolExecutor(1, "background", initializer=_yield_processor)

    def __call__(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """See `Runtime`."""
        return self._thread.submit(self._execute, batch).result()

    def close(self) -> None:
        """See `Runtime`."""
        self._thread.shutdown()
        if self._runtime is not None:
            self._runtime.close()

    def _execute(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        if self._runtime is None:
            self._runtime = self._open()
        return self._runtime(batch)


def _yield_processor() -> None:
    if sys.platform == "linux":  # elsewhere this is the priority of the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
