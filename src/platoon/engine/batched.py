"""A loaded model behind its batcher: the one way in which models are executed for many callers.

It owns the runtime with its executors, chooses the batch by measuring, runs each usual shape once before anybody waits
for it, and forms batches of inputs of one shape. What goes in and what is made of what comes out its user says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from numpy.typing import NDArray

from platoon.arrays import Array, Device, device_of, stacked
from platoon.engine.batcher import CALLERS_FIRST, Batcher, Priority, Reply
from platoon.engine.executor import Executor, Shape, ShapeProfile
from platoon.engine.gate import Gates
from platoon.engine.runtime import ModelReport, best_batch, execute, open_runtime, report
from platoon.engine.surgery import Graph
from platoon.engine.tuning import Tuning
from platoon.metrics import Metrics
from platoon.settings import EngineSettings

Item = TypeVar("Item")
Result = TypeVar("Result")


class Capacity(NamedTuple):
    """What keeps a model busy."""

    executions: int
    """How many batches are executed at once."""
    batch: int
    """Items of the usual size from which on more in one batch gain nothing."""


class BatchedModel(Generic[Item, Result]):
    """Executes a graph for whoever submits items; safe from any thread.

    Args:
        gates: of the process, which bound how many executions run at once on the processor.
        item: shape of the usual input, without the batch's axis.
        pixels: the input of an item, whose shape and device decide who shares its batch.
        results: what each item of a batch gets of the graph's outputs, whose first axis is the items.
        allow_bf16: allow bfloat16, see `open_runtime`.
        profile: all shapes it will see; none: batches of `item`.
        small: shape of inputs of which more than of the usual ones pay in a batch; none: there are no such.
        compiled: compile the graph for batches of the usual input, which then run faster and differ in the last bits.
        warm: further shapes, with the batch's axis, to run before anybody waits.
        max_batch: the largest batch, if the graph takes less than the settings allow.

    Raises:
        ModelError, MissingExtra, InvalidSettings, Unavailable: see `open_runtime`.
    """

    def __init__(
        self,
        graph: Graph,
        settings: EngineSettings,
        tuning: Tuning,
        metrics: Metrics,
        gates: Gates,
        *,
        item: Shape,
        pixels: Callable[[Item], Array],
        results: Callable[[Sequence[Item], tuple[NDArray[Any], ...]], Sequence[Result]],
        allow_bf16: bool = False,
        profile: ShapeProfile | None = None,
        small: Shape | None = None,
        compiled: bool = False,
        warm: Sequence[Shape] = (),
        max_batch: int | None = None,
    ) -> None:
        limit = max_batch or settings.max_batch
        self._runtime = open_runtime(
            graph,
            settings,
            tuning,
            example=(1, *item),
            profile=profile,
            allow_bf16=allow_bf16,
            executions=gates.foreground.slots,
            metrics=metrics,
        )
        self._pixels, self._results = pixels, results
        foreground, self._background = self._runtime.foreground(), self._runtime.background()
        self.best_batch = largest = best_batch(self._runtime, graph, tuning, item=item, limit=limit)
        sizes = range(1, self.best_batch + 1)
        shapes = {*((n, *item) for n in sizes), *warm}
        if small is not None:
            largest = max(largest, best_batch(self._runtime, graph, tuning, item=small, limit=limit))
            shapes |= {(n, *small) for n in range(1, largest + 1)}
        if len(shapes) == 1:  # which gives no cost of an execution from that of an item
            shapes.add((min(2, limit), *item))
        if compiled:
            for n in sizes:
                self._runtime.prepare((n, *item))
        execute(foreground, shapes)
        self.capacity = Capacity(len(foreground), self.best_batch)
        self._report = partial(report, self._runtime, graph.name, item=item, best=self.best_batch, limit=limit)
        self._batcher: Batcher[Item, Result] = Batcher(
            graph.name,
            [partial(self._execute, executor) for executor in foreground],
            background=[partial(self._execute, executor) for executor in self._background],
            bucket=lambda entry: _kind(pixels(entry)),
            order=CALLERS_FIRST if settings.callers_first else tuple(Priority),
            gates=gates if self._runtime.on_cpu else None,
            cost=lambda entry: _area(pixels(entry).shape),
            max_batch=largest,
            max_batch_cost=self.best_batch * _area(item),
            queue_limit=settings.queue_limit,
            queue_cost_limit=settings.queue_pixels,
            metrics=metrics,
        )

    def submit(
        self, items: Iterable[Item], *, priority: Priority, deadline: float | None = None
    ) -> list[Reply[Result]]:
        """Queue items.

        Args:
            items: made one by one; an error of theirs cancels those before.
            priority: against other callers.
            deadline: a point of `time.monotonic()`.

        Raises:
            Overloaded, Unavailable: see `Batcher.submit`; items already queued are cancelled.
        """
        replies: list[Reply[Result]] = []
        try:
            for item in items:
                reply = self._batcher.submit(item, priority=priority, deadline=deadline)
                replies.append(reply)
        except Exception:
            for reply in replies:
                reply.cancel()
            raise
        return replies

    def report(self) -> ModelReport:
        """How the model runs here, measured now: nobody may use it meanwhile."""
        return self._report()

    def close(self) -> None:
        """Finish what waits and free the model."""
        self._batcher.close()
        for executor in (self._runtime, *self._background):
            executor.close()

    def _execute(self, executor: Executor, items: Sequence[Item]) -> Sequence[Result]:
        inputs = [self._pixels(item) for item in items]
        return self._results(items, executor(stacked(inputs)))


def _kind(array: Array) -> tuple[Device, Shape]:
    """What inputs have in common that share a batch."""
    return device_of(array), tuple(array.shape)


def _area(shape: Sequence[int]) -> int:
    return shape[0] * shape[1]
