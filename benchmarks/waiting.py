"""How long items wait for a model: taken as soon as it is idle, or collected for a while first; and behind others.

The window is what many servers have, and Platoon has not: it lives here alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.clients import percentiles_ms
from platoon.engine.batcher import Batcher, Priority
from platoon.engine.executor import Runtime
from platoon.engine.request_context import RequestContext
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.reading import ReadOptions, read

PLATES = ReadOptions(plates=True, min_confidence=0.0)
WINDOW_S = 0.03
MAX_BATCH = 16
BULK_READERS, BULK_CROPS = 4, 16
"""Threads that read bulk, and how many crops each of them brings at a time."""


class Windowed(Batcher[Pixels, Any]):
    """Waits for company, `WINDOW_S` from the first item on, before each batch."""

    def _wait(self, priorities: Sequence[Priority]) -> bool:
        any_there = super()._wait(priorities)
        time.sleep(WINDOW_S)
        return any_there


def open_loop(
    kind: type[Batcher[Pixels, Any]],
    runtime: Callable[[Pixels], Sequence[Any]],
    line: Pixels,
    *,
    rate: float,
    seconds: float,
) -> dict[str, float]:
    """Latencies in ms when items come at random, `rate` a second, whether or not the model keeps up."""

    def execute(lines: Sequence[Pixels]) -> list[Any]:
        return list(runtime(np.stack(lines))[0])

    batcher = kind(
        "measured", [execute], bucket=lambda _: 0, max_batch=MAX_BATCH, queue_limit=100_000, metrics=Metrics()
    )
    random = np.random.default_rng(7)
    done_s: list[float] = []
    due = time.monotonic()
    end = due + seconds
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        reply = batcher.submit(line)
        reply.add_done_callback(lambda _, came=due: done_s.append(time.monotonic() - came))  # type: ignore[misc]
        due += random.exponential(1 / rate)
    batcher.close()
    return percentiles_ms(done_s)


def capacity(runtime: Runtime, line: Pixels, *, seconds: float) -> float:
    """Items per second when batches are always full."""
    batch = np.stack([line] * MAX_BATCH)
    runtime(batch)
    begin, items = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        runtime(batch)
        items += len(batch)
    return items / (time.monotonic() - begin)


def interactive(
    engine: TextEngine, crops: Sequence[Pixels], bulk: Sequence[Pixels], options: ReadOptions, *, seconds: float
) -> dict[str, float]:
    """Latencies in ms of reading one plate after the other, while as much bulk waits as there can be.

    Args:
        bulk: pictures that are read meanwhile, as `options` says; none: nothing is.
    """
    stop = threading.Event()

    def read_bulk(first: int) -> None:
        while not stop.is_set():
            some = [bulk[(first + n) % len(bulk)] for n in range(min(BULK_CROPS, len(bulk)))]
            read(engine, some, options, RequestContext(Priority.BULK, time.monotonic() + 600))

    threads = [threading.Thread(target=read_bulk, args=(n,)) for n in range(BULK_READERS if bulk else 0)]
    for thread in threads:
        thread.start()
    latencies_s: list[float] = []
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        crop = crops[len(latencies_s) % len(crops)]
        asked = time.monotonic()
        read(engine, [crop], PLATES, RequestContext(Priority.INTERACTIVE, asked + 600))
        latencies_s.append(time.monotonic() - asked)
    stop.set()
    for thread in threads:
        thread.join()
    return percentiles_ms(latencies_s)
