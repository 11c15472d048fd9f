"""Feeds a model whatever waits.

A batch starts the moment the model is idle, with what has come by then: there is no waiting window, as it
would only add latency. Items share a batch only within a bucket (pictures of one size), so no neighbour
changes a result. The same batcher serves cameras, HTTP callers and documents. Where a model can be executed in the
background too, bulk goes there, and no plate waits behind a page.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from platoon.engine.gate import Gate, Gates, Urgency
from platoon.engine.turns import FairTurns
from platoon.errors import DeadlineExceeded, Overloaded, Unavailable, says_retry
from platoon.metrics import Metrics

Item = TypeVar("Item")
Result = TypeVar("Result")


class Priority(IntEnum):
    """Who goes first. Within a priority the oldest does."""

    INTERACTIVE = 0
    """Somebody at a camera waits for the answer."""
    VIDEO = 1
    """Live frames."""
    CALL = 2
    """A caller from elsewhere waits for the answer."""
    BATCH = 3
    """Many pictures of one call."""
    BULK = 4
    """Documents and clips."""


CALLERS_FIRST = (Priority.INTERACTIVE, Priority.CALL, Priority.VIDEO, Priority.BATCH, Priority.BULK)
"""The order in which single calls go before live frames."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a model."""

    items: int
    """How many travelled together."""
    seconds: float


class Reply(Future[Result]):
    """What `Batcher.submit` gives: the result to come, and with it the execution that brought it."""

    execution: Execution | None = None
    """None until the model has run."""


OTHERS_SHARE = 0.5
"""Each priority has a queue of its own, so that none fills that of another: live frames one as long as it may be, the
others this share of it."""


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    cost: int
    number: int
    """In order of submission."""
    submitted: float
    deadline: float | None
    future: Reply[Result] = field(default_factory=Reply)


Execute = Callable[[Sequence[Item]], Sequence[Result]]
"""Takes items of one bucket and gives a result for each, in order."""


class Batcher(Generic[Item, Result]):
    """Items in from any thread, futures out; a thread of its own calls each way of execution.

    Args:
        name: the model's, for metrics, messages and the thread.
        foreground: the model, in as many ways as may be executed at once. Where one raises, the batch is halved until
            only the items that cause it fail, each with that error; all fail with one that says to try again.
        background: the same model, in ways that leave the processor to others: they take all bulk, and nothing else.
            Without any the foreground takes it too.
        bucket: items with equal values may share a batch.
        order: of the priorities, the most urgent first.
        gates: those of the process, where executing takes the processor; none: it takes another or a server.
        max_batch: how many items may share a batch.
        queue_limit: how many live items may wait; of each other priority `OTHERS_SHARE` as many.
        cost: of executing an item and of keeping it, in pixels.
        max_batch_cost: how much the items of a batch may cost together; one that costs more goes alone.
        queue_cost_limit: how much those of a priority that wait may cost together, shared in the same way; one that
            costs more may wait alone.
        clock: seconds; deadlines are points of it.
    """

    def __init__(
        self,
        name: str,
        foreground: Sequence[Execute[Item, Result]],
        *,
        background: Sequence[Execute[Item, Result]] = (),
        bucket: Callable[[Item], Hashable],
        order: Sequence[Priority] = tuple(Priority),
        gates: Gates | None = None,
        max_batch: int,
        queue_limit: int,
        cost: Callable[[Item], int] = lambda _item: 0,
        max_batch_cost: int = 0,
        queue_cost_limit: int = 0,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._bucket, self._cost, self._clock = bucket, cost, clock
        self._max_batch, self._max_batch_cost = max_batch, max_batch_cost
        self._queue_limit, self._queue_cost_limit = queue_limit, queue_cost_limit
        self._items = metrics.batch_items.labels(name)
        self._executions = metrics.batch_executions.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        self._queue_wait = metrics.queue_wait.labels(name)
        self._queue_depth = metrics.queue_depth.labels(name)
        self._lock = threading.Lock()
        comes = threading.Condition(self._lock)
        self._comes = dict.fromkeys(Priority, comes)
        """Notified of items: one thread wakes that may take them."""
        if background:
            self._comes[Priority.BULK] = threading.Condition(self._lock)
        self._queues: dict[Priority, dict[Hashable, deque[_Waiting[Item, Result]]]] = {p: {} for p in order}
        self._waiting, self._waiting_cost = dict.fromkeys(order, 0), dict.fromkeys(order, 0)
        self._closed = False
        self._submitted = 0
        self._rank = {priority: rank for rank, priority in enumerate(order)}
        self._turns = FairTurns()
        first = [priority for priority in order if priority is not Priority.BULK or not background]
        front, back = (None, None) if gates is None else gates
        lanes = [(f"model {name}", one, first, front) for one in foreground]
        lanes += [(f"model {name}, background", one, [Priority.BULK], back) for one in background]
        self._threads = [
            threading.Thread(target=self._run, args=(execute, priorities, gate), name=name, daemon=True)
            for name, execute, priorities, gate in lanes
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, item: Item, *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> Reply[Result]:
        """Queue `item`. Cancelling the future drops it, unless the model has begun with it.

        Args:
            deadline: a point of the clock; an item still waiting then fails with DeadlineExceeded.

        Raises:
            Overloaded: the queue of its priority is full. Unavailable: the batcher is closed.
        """
        bucket, cost = self._bucket(item), self._cost(item)
        with self._lock:
            if self._closed:
                raise Unavailable(f"model {self.name} is closed")
            if self._is_full(priority, cost):
                self._forget_cancelled(priority)
            if self._is_full(priority, cost):
                raise Overloaded(
                    f"{self._waiting[priority]} items of {self._waiting_cost[priority]} pixels wait for model "
                    f"{self.name}, as many as may; try again later"
                )
            self._submitted += 1
            entry: _Waiting[Item, Result] = _Waiting(item, cost, self._submitted, self._clock(), deadline)
            self._queues[priority].setdefault(bucket, deque()).append(entry)
            self._count(priority, 1, cost)
            self._queue_depth.set(sum(self._waiting.values()))
            self._comes[priority].notify()
        return entry.future

    def close(self, *, drain: bool = True) -> None:
        """Take no more items, finish what waits (or, without `drain`, cancel it), and end the threads."""
        with self._lock:
            self._closed = True
            if not drain:
                for queue in self._all_queues():
                    for entry in queue:
                        entry.future.cancel()
            for comes in self._comes.values():
                comes.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, execute: Execute[Item, Result], priorities: Sequence[Priority], gate: Gate | None) -> None:
        while self._wait(priorities):
            with nullcontext() if gate is None else gate.slot(lambda: self._urgency(priorities)):
                # The batch lives in the call alone: a thread that waits holds no items.
                self._run_next(execute, priorities)

    def _wait(self, priorities: Sequence[Priority]) -> bool:
        """Whether there are items of these priorities, waiting for them; false when closed and empty."""
        comes = self._comes[priorities[0]]
        with comes:
            comes.wait_for(lambda: self._closed or any(self._queues[priority] for priority in priorities))
            return any(self._queues[priority] for priority in priorities)

    def _urgency(self, priorities: Sequence[Priority]) -> Urgency:
        """Of the most urgent item that waits now; of nothing, if another thread has taken what there was."""
        with self._lock:
            for priority in priorities:
                if queues := self._queues[priority].values():
                    return Urgency(self._rank[priority], min(queue[0].submitted for queue in queues))
        return Urgency(len(self._rank), math.inf)

    def _run_next(self, execute: Execute[Item, Result], priorities: Sequence[Priority]) -> None:
        """Execute a batch of the items that wait, if any do."""
        with self._lock:
            taken = self._take(priorities)
            self._queue_depth.set(sum(self._waiting.values()))
        now = self._clock()
        batch = [entry for entry in taken if self._begin(entry, now)]
        taken.clear()  # see `_run_batch`
        if batch:
            self._run_batch(execute, batch)

    def _take(self, priorities: Sequence[Priority]) -> list[_Waiting[Item, Result]]:
        """The next batch: the oldest item of the leading priority, and what waits in its bucket."""
        present = {self._rank[priority]: priority for priority in priorities if self._queues[priority]}
        if not present:
            return []
        lead = present[self._turns.next(present)]
        bucket = min(self._queues[lead].items(), key=lambda pair: pair[1][0].number)[0]
        taken: list[_Waiting[Item, Result]] = []
        left = self._max_batch_cost
        for priority in (lead, *(other for other in present.values() if other is not lead)):
            queue = self._queues[priority].get(bucket)
            while queue and len(taken) < self._max_batch and (queue[0].cost <= left or not taken):
                taken.append(queue.popleft())
                left -= taken[-1].cost
                self._count(priority, -1, taken[-1].cost)
            if queue is not None and not queue:
                del self._queues[priority][bucket]
        return taken

    def _begin(self, entry: _Waiting[Item, Result], now: float) -> bool:
        """Whether `entry` still wants to be executed."""
        if not entry.future.set_running_or_notify_cancel():
            return False
        waited = now - entry.submitted
        self._queue_wait.observe(waited)
        if entry.deadline is not None and now > entry.deadline:
            entry.future.set_exception(
                DeadlineExceeded(f"waited {waited:.2f} s for model {self.name}, past its deadline")
            )
            return False
        return True

    def _run_batch(self, execute: Execute[Item, Result], batch: list[_Waiting[Item, Result]]) -> None:
        self._items.inc(len(batch))
        self._executions.inc()
        self._batch_size.observe(len(batch))
        started = self._clock()
        try:
            results = execute([entry.item for entry in batch])
            pairs = list(zip(batch, results, strict=True))
        except Exception as error:
            # An error that says "try again" is about the model, or the server that runs it, not about an item.
            # It keeps this frame and its callers', and with the replies in them would keep itself, and the items, until
            # the garbage collector comes by: so these go as they are answered.
            if len(batch) == 1 or says_retry(error):
                while batch:
                    batch.pop(0).future.set_exception(error)
                return
            middle = len(batch) // 2
            halves = [batch[:middle], batch[middle:]]
            batch.clear()
            while halves:
                self._run_batch(execute, halves.pop(0))
            return
        execution = Execution(len(batch), self._clock() - started)
        for entry, result in pairs:
            entry.future.execution = execution
            entry.future.set_result(result)

    def _is_full(self, priority: Priority, cost: int) -> bool:
        """Whether an item of this priority that costs so much may not wait now."""
        share = 1.0 if priority is Priority.VIDEO else OTHERS_SHARE
        waiting, together = self._waiting[priority], self._waiting_cost[priority] + cost
        return waiting > 0 and (together > share * self._queue_cost_limit or waiting >= share * self._queue_limit)

    def _count(self, priority: Priority, items: int, cost: int) -> None:
        """So many items more (or less) wait, which cost so much each."""
        self._waiting[priority] += items
        self._waiting_cost[priority] += items * cost

    def _forget_cancelled(self, priority: Priority) -> None:
        """Make room: items nobody waits for any more count no longer."""
        queues = self._queues[priority]
        for bucket, queue in list(queues.items()):
            wanted: deque[_Waiting[Item, Result]] = deque()
            for entry in queue:
                if entry.future.cancelled():
                    entry.future.set_running_or_notify_cancel()
                    self._count(priority, -1, entry.cost)
                else:
                    wanted.append(entry)
            if wanted:
                queues[bucket] = wanted
            else:
                del queues[bucket]

    def _all_queues(self) -> list[deque[_Waiting[Item, Result]]]:
        return [queue for queues in self._queues.values() for queue in queues.values()]
