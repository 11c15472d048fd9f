"""Reading documents in the background, put together: the store of jobs, the workers of this process, the webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from platoon.api.fetch import fetcher_for
from platoon.api.jobs import JobDesk
from platoon.api.webhooks import Webhooks
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Jobs
from platoon.documents.layout import Layout
from platoon.documents.read import DocumentReader
from platoon.documents.runner import JobRunner
from platoon.ocr.service import OcrService
from platoon.settings import Settings


@contextmanager
def documents_in_background(service: OcrService, settings: Settings, layout: Layout | None = None) -> Iterator[JobDesk]:
    """Where jobs are handed in; as long as it lasts they are read through the service's engine.

    Args:
        layout: finds the blocks of pages, and stays its owner's; none: all is text.

    Raises:
        StoreError: the jobs cannot be kept.
    """
    with ExitStack() as stack:
        jobs = open_jobs(settings)
        stack.callback(jobs.close)
        reader = reader_for(service, layout, max_pages=settings.jobs.max_pages)
        runner = JobRunner(jobs, reader, service.metrics, at_once=settings.jobs.at_once)
        stack.enter_context(runner)
        secret = settings.jobs.webhook_secret
        if secret is not None:
            stack.enter_context(Webhooks(jobs, fetcher_for(settings.service), secret.get_secret_value()))
        yield JobDesk(jobs, lambda _: runner.look(), settings)


def open_jobs(settings: Settings) -> Jobs:
    """The store of jobs that the settings name."""
    return JobStore(
        settings.store.path / "jobs.sqlite",
        keep_s=settings.jobs.keep_hours * 3600,
        max_waiting=settings.jobs.max_waiting,
        max_attempts=settings.jobs.attempts,
        lease_s=settings.jobs.lease_s,
    )


def reader_for(service: OcrService, layout: Layout | None, *, max_pages: int) -> DocumentReader:
    """Reads documents through the service's engine, within its limits for a page."""
    limits = service.settings
    return DocumentReader(
        service.engine, layout, max_pages=max_pages, max_pixels=limits.max_pixels, page_s=limits.deadline_s
    )
