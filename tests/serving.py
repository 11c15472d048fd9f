"""The OCR service on a port of its own, as its clients see it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from platoon.api.paddlex.pipelines.pipeline import Pipeline
from platoon.api.serve import HttpServer
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, GatewaySettings, ServiceSettings, Settings
from platoon.tracing import Tracing


@contextmanager
def serving(
    engine: Any,
    *,
    tracing: Tracing | None = None,
    pipeline: Callable[[OcrService, Settings], Pipeline] | None = None,
    gateway: GatewaySettings | None = None,
    **settings: Any,
) -> Iterator[httpx.Client]:
    """A client of a service with this engine and these settings.

    Args:
        pipeline: makes what parses documents.
    """
    service_settings = ServiceSettings(**settings)
    service = OcrService(engine, service_settings, Metrics(), tracing)
    whole = Settings(api=ApiSettings(port=0), service=service_settings, gateway=gateway or GatewaySettings())
    with ExitStack() as stack:
        stack.callback(service.close)
        parser = None
        if pipeline is not None:
            parser = pipeline(service, whole)
            stack.callback(parser.close)
        http_server = stack.enter_context(HttpServer(None, whole, service=service, pipeline=parser))
        yield stack.enter_context(httpx.Client(base_url=http_server.address, timeout=60, trust_env=False))


def metric(client: httpx.Client, sample: str) -> float:
    """The value of a sample, named with its labels as `/metrics` shows it; 0 where it is not there."""
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{sample} "):
            return float(line.rpartition(" ")[2])
    return 0.0
