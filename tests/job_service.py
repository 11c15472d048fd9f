"""The job service on a port of its own, with a reader whose pages are known."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
from pydantic import SecretStr

from platoon.api.fetch import fetcher_for
from platoon.api.serve import HttpServer
from platoon.api.webhooks import job_webhooks
from platoon.documents.job_service import JobService
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Limits
from platoon.documents.read import ReadsDocuments
from platoon.documents.runner import JobRunner
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, JobSettings, ServiceSettings, Settings, StoreSettings
from platoon.streams.site import Site

SECRET = "between us"
"""Signs webhooks."""


LIMITS = Limits(
    max_waiting=5,
    max_waiting_of_one=5,
    max_bytes=10_000_000,
    max_bytes_of_one=10_000_000,
    max_attempts=2,
    keep_s=3600,
    lease_s=30,
)


def opened(folder: Path, limits: Limits = LIMITS) -> JobStore:
    """The jobs in a folder."""
    return JobStore(folder / "jobs.sqlite", limits)


@contextmanager
def serving(
    folder: Path,
    reader: ReadsDocuments,
    *,
    site: Site | None = None,
    limits: Limits = LIMITS,
    public_url: str | None = None,
    **service: Any,
) -> Iterator[httpx.Client]:
    """A client of a service with this reader, whose jobs are in this folder; and with cameras, if there is a site."""
    settings = Settings(
        api=ApiSettings(port=0, public_url=public_url),
        store=StoreSettings(path=folder / "store"),
        service=ServiceSettings(**service),
        jobs=JobSettings(max_pages=100, webhook_secret=SecretStr(SECRET)),
    )
    metrics = Metrics()
    engine: Any = Mock(not_ready=list)  # nothing here reads pictures
    ocr = OcrService(engine, settings.service, metrics)
    with closing(opened(folder, limits)) as jobs, JobRunner(jobs, reader, metrics, at_once=1) as runner:
        job_service = JobService(jobs, lambda _: runner.look(), settings, check=lambda *_: None)
        with (
            job_webhooks(jobs, fetcher_for(settings.service), SECRET),
            HttpServer(site, settings, service=ocr, job_service=job_service) as http_server,
            httpx.Client(base_url=http_server.address, timeout=60, trust_env=False) as client,
        ):
            yield client
    ocr.close()
