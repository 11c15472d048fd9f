import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from platoon.engine.background import NICE, background
from platoon.engine.executor import Executor
from platoon.engine.runtime import OnnxRuntime, OpenVinoRuntime
from platoon.ocr.recognition import PLATE, recognition_graph

LINES = recognition_graph(PLATE)[0]
linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")


class Recorder:
    """A runtime that notes on which thread, of which priority, it was called."""

    name = "recorder"
    on_cpu = True

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.closed = False

    def __call__(self, batch: Any) -> tuple[NDArray[Any], ...]:
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


def test_one_runtime_is_opened_at_the_first_call_whichever_executor_comes_first_and_closed_with_the_last() -> None:
    opener = Opener()
    executors = background(opener, 3)
    assert not opener.opened
    for executor, value in zip(executors, (3, 5, 7), strict=True):
        (answer,) = executor(np.array([value]))
        assert answer.tolist() == [value + 1]
    (runtime,) = opener.opened
    for executor in executors[:2]:
        executor.close()
    assert not runtime.closed
    executors[2].close()
    assert runtime.closed


def test_closing_what_was_never_called_opens_nothing() -> None:
    opener = Opener()
    for executor in background(opener, 2):
        executor.close()
    assert not opener.opened


@linux
def test_each_executes_on_a_thread_that_yields_and_the_caller_keeps_its_priority() -> None:
    opener = Opener()
    executors = background(opener, 2)
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    for executor in executors * 2:
        executor(np.zeros(1))
    threads, priorities = zip(*opener.opened[0].calls, strict=True)
    assert len(set(threads)) == 2
    assert threading.get_native_id() not in threads
    assert set(priorities) == {NICE}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine
    for executor in executors:
        executor.close()


@pytest.mark.parametrize("error", [ValueError, MemoryError])
def test_what_goes_wrong_reaches_the_caller(error: type[Exception]) -> None:
    def fail() -> Recorder:
        raise error("no model")

    (executor,) = background(fail, 1)
    with pytest.raises(error, match="no model"):
        executor(np.zeros(1))
    executor.close()


def spent() -> Counter[int]:
    """Ticks of processor time by thread of this process."""
    ticks = Counter[int]()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has ended
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            ticks[int(task.name)] = int(fields[11]) + int(fields[12])
    return ticks


def priorities_of(*executors: Executor) -> set[int]:
    """At what priority threads spend processor time while these execute at the same time, each on its own thread."""
    pixels = np.zeros((4, 48, 320, 3), np.uint8)
    before = spent()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        callers = [threading.Thread(target=executor, args=(pixels,)) for executor in executors]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
        busy = [thread for thread, ticks in (spent() - before).items() if ticks >= 5]
        if busy:
            return {os.getpriority(os.PRIO_PROCESS, thread) for thread in busy}
    raise AssertionError("no thread was busy")


@linux
@pytest.mark.parametrize("runtime", [OpenVinoRuntime, OnnxRuntime])
def test_executions_yield_and_those_beside_and_after_them_do_not(runtime: Any) -> None:
    """Threads of runtimes that were closed are not taken over at the wrong priority, in either direction."""
    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    closed, run = runtime(LINES, executions=2), runtime(LINES, executions=2)
    assert priorities_of(*closed.foreground(), *run.foreground()) == {usual}
    closed.close()
    executors = run.background()
    assert priorities_of(*executors) == {NICE}
    assert priorities_of(*run.foreground()) == {usual}
    for executor in executors:
        executor.close()
    later = runtime(LINES, executions=2)
    assert priorities_of(*later.foreground()) == {usual}
    for each in (run, later):
        each.close()


@pytest.mark.parametrize(("runtime", "loading", "most"), [
    (OpenVinoRuntime, (OpenVinoRuntime, "_compile"), 2),
    (OnnxRuntime, (onnxruntime, "InferenceSession"), 1),
])  # fmt: skip
def test_a_machine_of_64_cores_loads_the_weights_no_more_often(
    runtime: Any, loading: tuple[Any, str], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = loading
    load, loaded = getattr(owner, name), []

    def counted(*given: Any, **more: Any) -> Any:
        loaded.append(1)
        return load(*given, **more)

    monkeypatch.setattr(owner, name, counted)
    monkeypatch.setattr("platoon.engine.runtime.cores", lambda: 64)
    run = runtime(LINES, executions=64)
    executors = run.background()
    assert len(executors) == len(run.foreground()) == 64
    for executor in (*run.foreground(), *executors):
        executor(np.zeros((1, 48, 32, 3), np.uint8))
    assert len(loaded) == most
    run.close()
    for executor in executors:
        executor.close()
