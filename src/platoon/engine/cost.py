"""What executing a model costs: τ(b) = τ₀ + αb seconds for a batch of b items, fitted to executions seen.

τ₀ is paid for every execution, α for every item: batches pay as long as τ₀ is a good part of α. Items are counted in
items of the usual size, so that one fit holds for all sizes: a line twice as wide counts twice.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from platoon.arrays import Array
from platoon.engine.executor import Executor, Runtime, Shape
from platoon.metrics import Metrics

_MEMORY = 50
"""The mean of a size follows about its last so many executions: load on the machine changes."""


class Cost(NamedTuple):
    """Of executing a model."""

    fixed_s: float
    """τ₀, seconds for each execution."""
    item_s: float
    """α, seconds for each item of the usual size."""


class CostFit:
    """Fits a `Cost`."""

    def __init__(self) -> None:
        self._means: dict[float, tuple[int, float]] = {}
        """Items, to a tenth -> how many executions count, their mean seconds."""

    def observe(self, items: float, seconds: float) -> None:
        """One execution. The first of each size does not count: it allocates and compiles."""
        size = round(items, 1)
        if size not in self._means:
            self._means[size] = 0, 0.0
            return
        count, mean = self._means[size]
        count = min(count + 1, _MEMORY)
        self._means[size] = count, mean + (seconds - mean) / count

    def cost(self) -> Cost | None:
        """The least-squares line through the means, neither part below 0; none before two sizes were seen."""
        points = [(size, mean, count) for size, (count, mean) in self._means.items() if count]
        return fit(points) if len(points) > 1 else None


def fit(points: Sequence[tuple[float, float, float]]) -> Cost:
    """The weighted least-squares line through `points` (items, seconds, weight) with both parts at least 0."""
    total = sum(weight for _, _, weight in points)
    items = sum(weight * size for size, _, weight in points) / total
    seconds = sum(weight * taken for _, taken, weight in points) / total
    spread = sum(weight * (size - items) ** 2 for size, _, weight in points)
    together = sum(weight * (size - items) * (taken - seconds) for size, taken, weight in points)
    slope = together / spread if spread else 0.0
    if slope <= 0:
        return Cost(seconds, 0.0)
    if seconds < slope * items:
        squares = sum(weight * size**2 for size, _, weight in points)
        return Cost(0.0, sum(weight * size * taken for size, taken, weight in points) / squares)
    return Cost(seconds - slope * items, slope)


class TimedRuntime:
    """A `Runtime` that publishes what its executions cost.

    Args:
        model: its label in `metrics`.
        item: shape of an item of the usual size.
    """

    def __init__(self, runtime: Runtime, model: str, metrics: Metrics, *, item: Sequence[int]) -> None:
        self.name, self.on_cpu = runtime.name, runtime.on_cpu
        self._runtime, self._fit, self._usual = runtime, CostFit(), math.prod(item)
        self._fixed, self._item = metrics.model_fixed, metrics.model_item
        self._model = model
        self._lock = threading.Lock()
        metrics.model_runtime.labels(model, runtime.name).set(1)

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """See `Runtime`."""
        return _Timed(self._runtime, self._observe)(batch)

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`."""
        self._runtime.prepare(shape)

    def foreground(self) -> Sequence[Executor]:
        """See `Runtime`."""
        return [_Timed(executor, self._observe) for executor in self._runtime.foreground()]

    def background(self) -> Sequence[Executor]:
        """See `Runtime`. What it costs there is not published: nobody waits for it."""
        return self._runtime.background()

    def close(self) -> None:
        """See `Runtime`."""
        self._runtime.close()

    def _observe(self, size: int, seconds: float) -> None:
        with self._lock:
            self._fit.observe(size / self._usual, seconds)
            cost = self._fit.cost()
        if cost:
            self._fixed.labels(self._model).set(cost.fixed_s)
            self._item.labels(self._model).set(cost.item_s)


class _Timed:
    """An executor that reports how large each of its inputs was and how long it took."""

    def __init__(self, executor: Executor, observe: Callable[[int, float], None]) -> None:
        self._executor, self._observe = executor, observe

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        started = time.perf_counter()
        outputs = self._executor(batch)
        self._observe(math.prod(batch.shape), time.perf_counter() - started)
        return outputs

    def close(self) -> None:
        self._executor.close()
