"""Models that are loaded when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from platoon.errors import Unavailable


class Closable(Protocol):
    """What holds something until it is closed."""

    def close(self) -> None:
        """Let go of it."""


Part = TypeVar("Part", bound=Closable)


class Lazy(Generic[Part]):
    """Made at the first call, once, whichever thread comes first.

    Args:
        make: makes it.
        owner: who is closed, in the error that a call brings after `close`.
    """

    def __init__(self, make: Callable[[], Part], *, owner: str) -> None:
        self._make, self._owner = make, owner
        self._lock = threading.Lock()
        self._part: Part | None = None
        self._closed = False

    def __call__(self) -> Part:
        """What was made. Raises Unavailable after `close`."""
        with self._lock:
            if self._closed:
                raise Unavailable(f"{self._owner} is closed")
            if self._part is None:
                self._part = self._make()
            return self._part

    def close(self) -> None:
        """Close what was made; nothing is made any more."""
        with self._lock:
            self._closed = True
            if self._part is not None:
                self._part.close()
