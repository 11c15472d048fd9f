"""The OCR service on a port of its own, as its clients see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from platoon.api.serve import Faces
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, ServiceSettings, Settings
from platoon.tracing import Tracing


@contextmanager
def serving(engine: Any, *, tracing: Tracing | None = None, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a service with this engine and these settings."""
    service_settings = ServiceSettings(**settings)
    service = OcrService(engine, service_settings, Metrics(), tracing)
    whole = Settings(api=ApiSettings(port=0), service=service_settings)
    try:
        with (
            Faces(None, whole, service=service) as faces,
            httpx.Client(base_url=faces.address, timeout=60, trust_env=False) as client,
        ):
            yield client
    finally:
        service.close()


def metric(client: httpx.Client, sample: str) -> float:
    """The value of a sample, named with its labels as `/metrics` shows it; 0 where it is not there."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{sample} "):
            return float(line.rpartition(" ")[2])
    return 0.0
