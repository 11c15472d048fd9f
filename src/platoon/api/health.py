"""`/health`, `/health/ready` and `/metrics`, as gateways and Prometheus ask for them."""

from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from platoon.streams.site import Site


def routes(site: Site) -> APIRouter:
    """Health and metrics of the main port."""
    router = APIRouter(tags=["operation"])

    @router.get("/health")
    def get_health() -> dict[str, Any]:
        """Whether the process answers; says nothing about its cameras."""
        return _verdict(0, "Healthy")

    @router.get("/health/ready")
    def get_ready() -> JSONResponse:
        """Whether the site can work: 200, or 503 naming what is not ready. Cameras do not count."""
        if missing := site.not_ready():
            return JSONResponse(_verdict(503, f"Not ready: {'; '.join(missing)}"), 503, {"Retry-After": "1"})
        return JSONResponse(_verdict(0, "Ready"))

    @router.get("/metrics", response_class=Response)
    def get_metrics() -> Response:
        """All metrics in the Prometheus text format."""
        return Response(site.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router


def _verdict(code: int, message: str) -> dict[str, Any]:
    return {"logId": str(uuid4()), "errorCode": code, "errorMsg": message}
