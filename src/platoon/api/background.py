"""Reading documents in the background, put together: the store of jobs, whoever reads them, the webhooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from platoon.api.fetch import fetcher_for
from platoon.api.webhooks import job_webhooks
from platoon.documents.job_service import JobService
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Job, Jobs, Limits
from platoon.documents.layout import Layout
from platoon.documents.read import DocumentReader
from platoon.documents.runner import JobRunner
from platoon.errors import StoreError
from platoon.ocr.service import OcrService
from platoon.settings import Settings


@contextmanager
def documents_in_background(
    service: OcrService, settings: Settings, layout: Layout | None = None
) -> Iterator[JobService]:
    """Where jobs are handed in, as long as it lasts. They are read here through the service's engine, or by the workers
    of the broker that the settings name.

    Args:
        layout: finds the blocks of pages, and stays its owner's; none: all is text.

    Raises:
        StoreError: the jobs cannot be kept. MissingExtra: what a broker needs is not installed.
    """
    with ExitStack() as stack:
        jobs, announce = _at_workers(settings, stack) if settings.broker else _here(service, settings, layout, stack)
        service.metrics.jobs_waiting.set_function(lambda: _waiting(jobs))
        if (secret := settings.jobs.webhook_secret) is not None:
            stack.enter_context(job_webhooks(jobs, fetcher_for(settings.service), secret.get_secret_value()))
        yield JobService(jobs, announce, settings)


def reader_for(service: OcrService, layout: Layout | None, *, max_pages: int) -> DocumentReader:
    """Reads documents through the service's engine, within its limits."""
    limits = service.settings
    return DocumentReader(
        service.engine, layout, max_pages=max_pages, max_pixels=limits.max_pixels, page_s=limits.deadline_s
    )


def _waiting(jobs: Jobs) -> float:
    try:
        return jobs.waiting()
    except StoreError:
        return math.nan  # other metrics are shown all the same


def _here(
    service: OcrService, settings: Settings, layout: Layout | None, stack: ExitStack
) -> tuple[Jobs, Callable[[Job], object]]:
    limits = settings.jobs
    jobs = JobStore(settings.store.path / "jobs.sqlite", Limits.of(settings))
    stack.callback(jobs.close)
    reader = reader_for(service, layout, max_pages=limits.max_pages)
    runner = stack.enter_context(JobRunner(jobs, reader, service.metrics, at_once=limits.at_once))
    return jobs, lambda _: runner.look()


def _at_workers(settings: Settings, stack: ExitStack) -> tuple[Jobs, Callable[[Job], object]]:
    from platoon.scale.celery_jobs import CeleryPublisher, celery_app, open_jobs

    jobs = open_jobs(settings)
    stack.callback(jobs.close)
    publisher = stack.enter_context(CeleryPublisher(jobs, celery_app(settings)))
    return jobs, lambda _: publisher.look()
