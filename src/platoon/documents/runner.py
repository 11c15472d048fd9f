"""Works on jobs: claims them, reads their documents page by page, and keeps each page as soon as it is read.

A document is read with bulk priority, so that nobody who waits for an answer waits behind it. Whatever ends a worker,
what it has kept stays, and the next one reads only what is left. Models are loaded before a job is claimed, so that
being ended meanwhile is no attempt of it; nor is what fails as something else is away. Keeping jobs is left to a store
(`Jobs`).
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Final, Self

from platoon.documents.jobs import Claim, Jobs, Lost, reason
from platoon.documents.read import ReadsDocuments
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import Overloaded, PlatoonError, StoreError, Unavailable
from platoon.metrics import Metrics

_BEAT_S: Final = 1.0
"""How often it is seen whether a job is still held; so long a cancelled page may go on."""
_LOOK_S: Final = 1.0
"""How often a worker looks for jobs that other processes have added, or whose time has come."""
_SWEEP_S: Final = 60.0
_TURN_S: Final = 180.0
"""A document gives way to others after so long: more than the pages take after which the rest of it is not drawn."""
_STOP_S: Final = 10.0
"""What does not let itself be stopped within so long is given back, and left behind."""

_log = logging.getLogger(__name__)


class _GivesWay(Exception):
    """A document has been read for long, and others wait."""


class Worker:
    """Works on claimed jobs, and keeps their claims alive meanwhile. Safe from any thread.

    Args:
        jobs, reader: stay their owners'.
    """

    def __init__(self, jobs: Jobs, reader: ReadsDocuments, metrics: Metrics) -> None:
        self._jobs, self._reader, self._metrics = jobs, reader, metrics
        self._calls: dict[RequestContext, Claim] = {}
        self.stopping = False
        """Whether no more is to be begun."""
        self._look = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="job leases", daemon=True)

    def __enter__(self) -> Self:
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._beating.join()

    def warm_up(self) -> None:
        """Load what reading needs, before anything is claimed: to be ended meanwhile is no attempt.

        Raises:
            PlatoonError: something is not there yet. What can never be loaded fails the jobs that need it.
        """
        try:
            self._reader.warm_up()
        except PlatoonError as error:
            if error.retry:
                raise
            _log.warning("documents are read without what could not be loaded: %s", error)

    def stop(self) -> None:
        """What is under way goes back to the queue."""
        self.stopping = True
        self._look.set()
        for call in list(self._calls):
            call.cancel()

    def give_up(self) -> None:
        """Give back what is under way still, though somebody may be busy with it: after `stop`, and patience."""
        for claim in list(self._calls.values()):
            _log.warning("job %s does not let itself be stopped; it goes back to the queue", claim.job.id)
            try:
                self._jobs.release(claim)
            except StoreError as error:
                _log.warning("job %s goes back once its lease has run out: %s", claim.job.id, error)

    def look(self) -> None:
        """A job may have been cancelled: do not wait until it is seen."""
        self._look.set()

    def work(self, claim: Claim) -> None:
        """Read what is left of the job, and end it; or give it back. Blocks."""
        with RequestContext(Priority.BULK) as call:
            self._calls[call] = claim
            try:
                if self.stopping:
                    raise CancelledError
                self._read(claim, call)
                self._jobs.finish(claim)
                _log.info("job %s is read", claim.job.id)
            except _GivesWay:
                self._jobs.release(claim, behind=True)
                _log.info("job %s gives way to others, and goes on after them", claim.job.id)
            except Lost:
                _log.info("job %s was cancelled, or is another's", claim.job.id)
            except CancelledError:
                self._jobs.release(claim)
                _log.info("job %s goes back to the queue, unless it was cancelled", claim.job.id)
            except (Unavailable, Overloaded, StoreError) as error:
                _log.warning("job %s waits: %s", claim.job.id, error)
                self._jobs.release(claim, reason(error))
            except PlatoonError as error:
                self._failed(claim, error, again=error.retry)
            except Exception as error:
                _log.exception("job %s failed", claim.job.id)
                self._failed(claim, error, again=True)
            finally:
                del self._calls[call]

    def _read(self, claim: Claim, call: RequestContext) -> None:
        job = claim.job
        kept = self._jobs.indices(job.id)
        with self._reader.open(self._jobs.document(job.id), job.order.options, call, skip=kept) as document:
            self._jobs.begin(claim, len(kept) + len(document.indices))
            until, left = time.monotonic() + _TURN_S, len(document.indices)
            for read in document:
                self._jobs.keep(claim, read.page)
                self._metrics.job_pages.inc()
                left -= 1
                if left and time.monotonic() >= until:
                    if self._jobs.due():
                        raise _GivesWay
                    until = time.monotonic() + _BEAT_S

    def _failed(self, claim: Claim, error: Exception, *, again: bool) -> None:
        _log.warning("job %s: %s", claim.job.id, error)
        if again:
            self._jobs.retry(claim, reason(error))
        else:
            self._jobs.finish(claim, reason(error))

    def _beat(self) -> None:
        while not self.stopping:
            self._look.wait(_BEAT_S)
            self._look.clear()
            for call, claim in list(self._calls.items()):
                try:
                    if not self._jobs.renew(claim):
                        call.cancel()
                except StoreError as error:
                    _log.warning("the claim of job %s cannot be renewed: %s", claim.job.id, error)


class JobRunner:
    """Workers in this process, between `__enter__` and `__exit__`: what they hold then goes back to the queue.

    Args:
        at_once: documents that are read at the same time.
    """

    def __init__(self, jobs: Jobs, reader: ReadsDocuments, metrics: Metrics, *, at_once: int) -> None:
        self._jobs = jobs
        self._worker = Worker(jobs, reader, metrics)
        self._changed = threading.Condition()
        self._news = 0
        self._stopping = False
        self._trouble = ""
        self._threads = [
            threading.Thread(target=self._run, args=(f"{number}",), name=f"job {number}", daemon=True)
            for number in range(at_once)
        ]
        self._threads.append(threading.Thread(target=self._sweep, name="job expiry", daemon=True))

    def __enter__(self) -> Self:
        self._worker.__enter__()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._worker.__exit__(kind, error, trace)
        deadline = time.monotonic() + _STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self._worker.give_up()

    def look(self) -> None:
        """A job was added or cancelled: do not wait until it is seen."""
        with self._changed:
            self._news += 1
            self._changed.notify_all()
        self._worker.look()

    def _run(self, holder: str) -> None:
        while not self._stopping:
            seen = self._news
            try:
                claim = self._next(holder)
                self._trouble = ""
                if claim is not None:
                    self._worker.work(claim)
                    continue
            except PlatoonError as error:
                self._stand_still(error)
            except Exception:
                _log.exception("a job could not be begun")
            with self._changed:
                if self._news == seen and not self._stopping:
                    self._changed.wait(_LOOK_S)

    def _next(self, holder: str) -> Claim | None:
        if not self._jobs.due():
            return None
        self._worker.warm_up()
        return self._jobs.claim(holder)

    def _sweep(self) -> None:
        while not self._stopping:
            try:
                self._jobs.sweep()
            except StoreError as error:
                self._stand_still(error)
            except Exception:
                _log.exception("jobs that have expired stay")
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _SWEEP_S)

    def _stand_still(self, error: PlatoonError) -> None:
        """Log once what is tried every second."""
        if self._trouble != str(error):
            self._trouble = str(error)
            _log.error("jobs stand still: %s", error)
