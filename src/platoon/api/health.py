"""`/health`, `/health/ready` and `/metrics`, as gateways and Prometheus ask for them."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Protocol
from uuid import uuid4

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from platoon.errors import Unavailable
from platoon.metrics import Metrics


class Part(Protocol):
    """Something that has to get ready: a site, the OCR service."""

    def not_ready(self) -> Sequence[str]:
        """Why it cannot work yet; empty once it can."""


def routes(parts: Sequence[Part], warnings: Callable[[], Sequence[str]] = tuple) -> APIRouter:
    """Health of the main port; `warnings`: what somebody should look after although all can work."""
    router = APIRouter(tags=["operation"])

    @router.get("/health")
    def get_health() -> dict[str, Any]:
        """Whether the process answers; says nothing about its cameras."""
        return _verdict(0, "Healthy")

    @router.get("/health/ready", responses={503: {"description": Unavailable.__doc__}})
    def get_ready() -> JSONResponse:
        """Whether all can work: 200, or 503 naming what is not ready. Cameras do not count.

        What somebody should look after all the same is listed in `warnings`.
        """
        if missing := dict.fromkeys(chain.from_iterable(part.not_ready() for part in parts)):  # parts share models
            return JSONResponse(_verdict(503, f"Not ready: {'; '.join(missing)}"), 503, {"Retry-After": "1"})
        return JSONResponse({**_verdict(0, "Ready"), "warnings": list(warnings())})

    return router


def metrics_routes(metrics: Metrics) -> APIRouter:
    """Metrics of the main port."""
    router = APIRouter(tags=["operation"])

    @router.get("/metrics", response_class=Response)
    def get_metrics() -> Response:
        """All metrics in the Prometheus text format."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router


def _verdict(code: int, message: str) -> dict[str, Any]:
    return {"logId": str(uuid4()), "errorCode": code, "errorMsg": message}
