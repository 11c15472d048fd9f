"""How many models execute on the processor at once, and whose turn it is when one has ended.

Each model has threads of its own, one for each way in which it may be executed. Without a bound, those of several
models compete: the frame that somebody waits for then takes as long as all of them together. Here a thread takes a
slot before it takes items, so that what comes while it waits goes along, or goes first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from platoon.engine.turns import FairTurns


class Urgency(NamedTuple):
    """What decides who goes first: the rank, then the age."""

    rank: int
    """0: the most urgent."""
    since: float
    """When it was submitted, in seconds of a clock that all share."""


@dataclass(slots=True, eq=False)
class _Waiting:
    urgency: Callable[[], Urgency]
    called: threading.Event = field(default_factory=threading.Event)


class Gate:
    """So many slots; safe from any thread.

    Args:
        slots: executions at once.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._lock = threading.Lock()
        self._free = slots
        self._waiting: list[_Waiting] = []
        """Nobody, while a slot is free."""
        self._turns = FairTurns()

    @contextmanager
    def slot(self, urgency: Callable[[], Urgency]) -> Iterator[None]:
        """Wait for a slot and have it meanwhile.

        Args:
            urgency: asked anew whenever a slot becomes free, under the lock of the gate.
        """
        waiting = _Waiting(urgency)
        with self._lock:
            if self._free:
                self._free -= 1
                waiting.called.set()
            else:
                self._waiting.append(waiting)
        waiting.called.wait()
        try:
            yield
        finally:
            self._hand_on()

    @property
    def waiting(self) -> int:
        """How many threads wait for a slot."""
        return len(self._waiting)

    def _hand_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            urgencies = {waiting: waiting.urgency() for waiting in self._waiting}
            rank = self._turns.next({urgency.rank for urgency in urgencies.values()})
            _, chosen = min(
                ((urgency.since, waiting) for waiting, urgency in urgencies.items() if urgency.rank == rank),
                key=lambda pair: pair[0],
            )
            self._waiting.remove(chosen)
        chosen.called.set()


class Gates(NamedTuple):
    """The gates of one process, which belong to whoever opens its models."""

    foreground: Gate
    background: Gate
    """Of executions whose threads yield the processor to all others (`engine.background`). They hold no slot that
    somebody waits for, and have as many of their own: the system gives them what is left over."""

    @classmethod
    def of(cls, executions: int) -> Gates:
        """Gates that let so many executions run at once."""
        return cls(Gate(executions), Gate(executions))
