import os
import sys
import threading
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from platoon.engine.background import NICE, BackgroundRuntime


class Recorder:
    """A runtime that notes on which thread, of which priority, it was called."""

    name = "recorder"

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.closed = False

    def __call__(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        thread = threading.get_native_id()
        self.calls.append((thread, os.getpriority(os.PRIO_PROCESS, thread)))
        if batch.size == 0:
            raise ValueError("nothing to execute")
        return (batch + 1,)

    def prepare(self, shape: tuple[int, ...]) -> None: ...

    def foreground(self) -> tuple[Self]:
        return (self,)

    def background(self) -> tuple[()]:
        return ()

    def close(self) -> None:
        self.closed = True


class Opener:
    def __init__(self) -> None:
        self.opened: list[Recorder] = []

    def __call__(self) -> Recorder:
        self.opened.append(Recorder())
        return self.opened[-1]


def test_it_opens_at_the_first_call_and_once() -> None:
    opener = Opener()
    executor = BackgroundRuntime(opener)
    assert not opener.opened
    for value in (3, 5):
        (answer,) = executor(np.array([value]))
        assert answer.tolist() == [value + 1]
    (runtime,) = opener.opened
    executor.close()
    assert runtime.closed


def test_closing_what_was_never_called_opens_nothing() -> None:
    opener = Opener()
    BackgroundRuntime(opener).close()
    assert not opener.opened


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_it_executes_on_one_thread_that_yields_and_the_caller_keeps_its_priority() -> None:
    opener = Opener()
    executor = BackgroundRuntime(opener)
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    for _ in range(2):
        executor(np.zeros(1))
    threads, priorities = zip(*opener.opened[0].calls, strict=True)
    assert len(set(threads)) == 1
    assert set(threads) != {threading.get_native_id()}
    assert set(priorities) == {NICE}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine
    executor.close()


@pytest.mark.parametrize("error", [ValueError, MemoryError])
def test_what_goes_wrong_reaches_the_caller(error: type[Exception]) -> None:
    def fail() -> Recorder:
        raise error("no model")

    executor = BackgroundRuntime(fail)
    with pytest.raises(error, match="no model"):
        executor(np.zeros(1))
    executor.close()
