"""Whether frames can be analysed now, and if not, what has to happen first.

What analyses may be elsewhere (a Triton server) and away: at the start, or at any time later. Getting it going again is
left to a thread of its own, so that the analysis meanwhile goes on taking frames from the cameras, and counts them.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from platoon.errors import PlatoonError, Unavailable, says_retry

_log = logging.getLogger(__name__)

WAITS_S = (0.5, 15.0)
"""Between two attempts, at first and at most; doubled each time, with jitter."""
ATTEMPTS_MOST = 20
"""So many in a row that nobody who waits can mend (a GPU that was lost), some four minutes: a new process may."""


class Readiness:
    """Not ready at first; `begin` it.

    An error that says `retry` is waited out, however long it takes. Any other is final before it has ever worked, as it
    then is a mistake that somebody can see who has just started it, and later after `ATTEMPTS_MOST` attempts.

    Args:
        attempt: returns once frames can be analysed, or raises what keeps them from it; called again and again.
        stopping: ends it.
        patient: wait for a server that is away at the start; otherwise that is final too.
    """

    def __init__(
        self,
        attempt: Callable[[], None],
        stopping: threading.Event,
        *,
        patient: bool = True,
    ) -> None:
        self._attempt, self._stopping, self._patient = attempt, stopping, patient
        self._ready = threading.Event()
        self._changing = threading.Lock()
        self._worked = False
        self._thread: threading.Thread | None = None
        self.trouble: PlatoonError | None = Unavailable("the models that find and read plates are warming up")
        """Why frames cannot be analysed now; None while they can."""
        self.failure: PlatoonError | None = None
        """Why they never will be."""

    def begin(self) -> None:
        """Try for the first time, and go on until it works."""
        self._thread = threading.Thread(target=self._run, args=(0.0,), name="engine start", daemon=True)
        self._thread.start()

    def lost(self, error: Exception) -> None:
        """It worked and does not any more; from any thread. Of several that find out at once the first is heard."""
        with self._changing:
            if self.trouble is not None:
                return
            self.trouble = _explained(error)
            self._ready.clear()
        self._thread = threading.Thread(target=self._run, args=(WAITS_S[0],), name="engine again", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether frames can be analysed, waiting for it so long."""
        return self._ready.wait(timeout_s)

    def join(self) -> None:
        """Wait for an attempt that is under way, once `stopping` is set."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, wait_s: float) -> None:
        hopeless = 0
        logged = ""
        while not self._stopping.wait(wait_s * random.uniform(0.75, 1.25)):
            try:
                self._attempt()
            except Exception as error:
                self.trouble = _explained(error)
                hopeless = 0 if says_retry(error) else hopeless + 1
                if self._is_final(hopeless):
                    unforeseen = None if isinstance(error, PlatoonError) else error
                    _log.error("frames cannot be analysed: %s", self.trouble, exc_info=unforeseen)
                    self.failure = self.trouble
                    return
                wait_s = min(max(2 * wait_s, WAITS_S[0]), WAITS_S[1])
                if (kind := type(error).__name__) != logged:
                    _log.warning("frames cannot be analysed, trying again: %s", self.trouble)
                    logged = kind
            else:
                if logged:
                    _log.warning("frames are analysed again")
                with self._changing:
                    self._worked, self.trouble = True, None
                    self._ready.set()
                return

    def _is_final(self, hopeless: int) -> bool:
        if not self._worked:
            return hopeless > 0 or not self._patient
        return hopeless >= ATTEMPTS_MOST


def _explained(error: Exception) -> PlatoonError:
    return error if isinstance(error, PlatoonError) else PlatoonError(f"{type(error).__name__}: {error}")
