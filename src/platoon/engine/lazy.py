"""Models that are loaded when first needed, or ahead of that, on a thread of their own.

Loading takes seconds, and at the first start on a machine measuring takes as long again. Neither may cost a caller who
waits for an answer more than a part of his time: he is told that the model is warming up.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from platoon.engine.tuning import Offhand, Tuning
from platoon.errors import Unavailable

WAITING_SHARE = 0.5
"""Of the time that a caller has left he waits so much for loading; the rest is for what he came for."""


class Closable(Protocol):
    """What holds something until it is closed."""

    def close(self) -> None:
        """Let go of it."""


Part = TypeVar("Part", bound=Closable)


class Lazy(Generic[Part]):
    """Made once, whichever thread comes first.

    Where choices are still to be measured, callers with a deadline are served by one that was made without, until the
    measured one takes its place.

    Args:
        make: makes it, by the choices of the tuning that it is given.
        tuning: measures.
        name: what it is, in errors.
        owner: who is closed, in the error that a call brings after `close`.
    """

    def __init__(self, make: Callable[[Tuning], Part], tuning: Tuning, *, name: str, owner: str) -> None:
        self._make, self._tuning, self.name, self._owner = make, tuning, name, owner
        self._changed = threading.Condition()
        self._part: Part | None = None
        self._settled = False
        """What was made is as measured, and stays."""
        self._making = False
        self._failures = 0
        self._failure: Exception | None = None
        """The last."""
        self._lent: Counter[Part] = Counter()
        self._closed = False

    @contextmanager
    def lent(self, deadline: float | None = None) -> Iterator[Part]:
        """It, made if need be, which stays open meanwhile.

        Args:
            deadline: a point of `time.monotonic()`; none or infinity: wait as long as it takes, measuring included.

        Raises:
            Unavailable: it is not made soon enough, or closed. And what making it raises; the next call tries again.
        """
        with self._changed:
            if deadline is None or deadline == math.inf:
                part = self._wait(settled=True)
            else:
                now = time.monotonic()
                part = self._wait(settled=False, until=now + WAITING_SHARE * (deadline - now))
            self._lent[part] += 1
        try:
            yield part
        finally:
            with self._changed:
                self._lent[part] -= 1
                self._changed.notify_all()

    def warm_up(self, *, settled: bool) -> None:
        """Make it, and wait until callers with a deadline can be served, or until it is `settled`; raises as `lent`."""
        with self._changed:
            if self._part is None and not self._making:
                self._begin(offhand=True)
            self._wait(settled=settled)

    def close(self) -> None:
        """Close what was made; nothing is made any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._making)
            part, self._part = self._part, None
        if part is not None:
            part.close()

    def _wait(self, *, settled: bool, until: float = math.inf) -> Part:
        failures = self._failures
        while not self._closed:
            if self._part is not None and (self._settled or not settled):
                return self._part
            if self._failure is not None and self._failures > failures:
                raise self._failure
            if not self._making:
                self._begin(offhand=not settled)
            left = until - time.monotonic()
            if left <= 0:
                raise Unavailable(f"{self.name} is warming up; try again in a moment")
            self._changed.wait(None if left == math.inf else left)
        raise Unavailable(f"{self._owner} is closed")

    def _begin(self, *, offhand: bool) -> None:
        self._making = True
        threading.Thread(target=self._run, args=(offhand,), name=f"loading {self.name}", daemon=True).start()

    def _run(self, offhand: bool) -> None:
        guess = Offhand(self._tuning.folder)
        failure: Exception | None = None
        for tuning in (guess, self._tuning) if offhand else (self._tuning,):
            if self._settled or self._closed:
                break
            try:
                self._replace(self._make(tuning), settled=tuning is not guess or not guess.guessed)
            except Exception as error:  # a runtime that was guessed may be none for this model
                failure = error
        with self._changed:
            if self._part is not None:
                self._settled = True
            elif failure is not None:
                self._failure, self._failures = failure, self._failures + 1
            self._making = False
            self._changed.notify_all()

    def _replace(self, part: Part, *, settled: bool) -> None:
        """Lend `part` from now on, and close its forerunner once nobody has it."""
        with self._changed:
            old, self._part, self._settled = self._part, part, settled
            self._changed.notify_all()
            if old is None:
                return
            self._changed.wait_for(lambda: not self._lent[old])
        old.close()
