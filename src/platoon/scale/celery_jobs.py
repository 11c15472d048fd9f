"""Jobs on Celery: workers on any machines that reach one Redis read what is handed in.

A message says that there is something to be begun; everything else is in the store (`RedisJobs`), which decides who
works on what: on a message a worker takes what is next, until nothing is left. So a message that comes twice does
nothing, and one that is lost is sent again: a `CeleryPublisher` sends what the store holds to be sent, again and
again, and runs in every process. Messages are acknowledged late and taken one at a time. Celery's priorities are ten,
from 0 for what goes first.

Workers are threads, as they share one engine, whose batches bring their pages together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from platoon.documents.jobs import PRIORITIES, Limits
from platoon.documents.layout import LayoutModel
from platoon.documents.read import DocumentReader
from platoon.documents.runner import Worker
from platoon.errors import MissingExtra, PlatoonError, StoreError
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.scale.redis_jobs import RedisJobs
from platoon.settings import Settings

try:
    from celery import Celery
    from celery.signals import worker_shutting_down
    from kombu.exceptions import OperationalError
except ImportError as missing:
    raise MissingExtra.of("a broker", "celery") from missing

TASK: Final = "platoon.read"
QUEUE: Final = "platoon"
_STEPS: Final = range(10)
_LOOK_S: Final = 1.0
_LEASES: Final = 10
"""So many leases after it was taken, Redis gives a message that was not acknowledged to another worker."""

_log = logging.getLogger(__name__)


def celery_app(settings: Settings) -> Celery:
    """Celery as senders and workers have to agree on it."""
    assert settings.broker is not None
    app = Celery(QUEUE, broker=settings.broker.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "priority_steps": list(_STEPS),
            "queue_order_strategy": "priority",
            "visibility_timeout": _LEASES * settings.jobs.lease_s,
        },
    )
    return app


class CeleryPublisher:
    """Announces jobs to workers, between `__enter__` and `__exit__`."""

    def __init__(self, jobs: RedisJobs, app: Celery) -> None:
        self._jobs, self._app = jobs, app
        self._look = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="job messages", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._look.set()
        self._thread.join()

    def look(self) -> None:
        """There may be one to announce."""
        self._look.set()

    def _run(self) -> None:
        while not self._stopping:
            try:
                for announcement in self._jobs.unannounced():
                    job = announcement.job
                    self._app.send_task(TASK, [job.id], queue=QUEUE, priority=step(job.order.priority))
                    self._jobs.announced(announcement)
                self._jobs.sweep()
            except (StoreError, OperationalError) as error:
                _log.warning("new jobs are not announced to workers: %s", error)
            except Exception:
                _log.exception("new jobs are not announced to workers")
            self._look.wait(_LOOK_S)
            self._look.clear()


class CeleryWorker:
    """Works on jobs in this process until it is asked to end by a signal, or by `stop`.

    Args:
        at_once: documents that are read at the same time.
        on_stop: called once it is asked to end.
    """

    def __init__(
        self,
        jobs: RedisJobs,
        worker: Worker,
        app: Celery,
        *,
        at_once: int,
        on_stop: Callable[[], object] = lambda: None,
    ) -> None:
        self._jobs, self._worker, self._app, self._on_stop = jobs, worker, app, on_stop
        app.task(self._read, name=TASK)
        self._celery: Any = app.Worker(
            pool="threads",
            concurrency=at_once,
            hostname=f"platoon-{uuid4().hex[:12]}@%h",
            queues=[QUEUE],
            loglevel="WARNING",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )

    def run(self) -> None:
        """Work. Jobs that are under way when it ends go back to the queue."""

        def stop(**_: object) -> None:
            self._worker.stop()
            self._on_stop()

        worker_shutting_down.connect(stop, weak=False)
        try:
            self._celery.start()
        finally:
            worker_shutting_down.disconnect(stop)

    def _read(self, job_id: str) -> None:
        while not self._worker.stopping:
            try:
                claim = self._jobs.claim(uuid4().hex)
                if claim is None:
                    return
                self._worker.work(claim)
            except StoreError as error:  # the message would be gone, and the job wait for another
                _log.warning("no job can be worked on: %s", error)
                time.sleep(_LOOK_S)
        self._jobs.announce_again(job_id)  # another worker takes it, if it waits still


def open_jobs(settings: Settings) -> RedisJobs:
    """The jobs that the settings name."""
    assert settings.broker is not None
    jobs = RedisJobs(settings.broker.get_secret_value(), Limits.of(settings))
    jobs.check_durable()
    return jobs


def work(
    settings: Settings, engine: TextEngine, metrics: Metrics, *, on_stop: Callable[[], object] = lambda: None
) -> None:
    """Read what is handed in, until this process is asked to end; then `on_stop` is called."""
    with ExitStack() as stack:
        app, jobs = celery_app(settings), open_jobs(settings)
        stack.callback(jobs.close)
        layout = LayoutModel(settings.engine, settings.cache, metrics, engine.gates, path=settings.documents.layout)
        stack.callback(layout.close)
        reader = DocumentReader(
            engine,
            layout,
            max_pages=settings.jobs.max_pages,
            max_pixels=settings.service.max_pixels,
            page_s=settings.service.deadline_s,
        )
        worker = stack.enter_context(Worker(jobs, reader, metrics))
        _warm_up(worker)
        stack.enter_context(CeleryPublisher(jobs, app))
        CeleryWorker(jobs, worker, app, at_once=settings.jobs.at_once, on_stop=on_stop).run()


def _warm_up(worker: Worker) -> None:
    """Wait for what reading needs, however long that is away."""
    reported = ""
    while True:
        try:
            return worker.warm_up()
        except PlatoonError as error:
            if reported != str(error):
                _log.error("no documents are read: %s", error)
            reported = str(error)
            time.sleep(_LOOK_S)


def step(priority: int) -> int:
    """Celery's priority for one of ours."""
    return _STEPS[-1] * (PRIORITIES[-1] - priority) // (PRIORITIES[-1] - PRIORITIES[0])
