"""The application on the main port: page, JSON API, live feed, OCR, health, metrics and documentation."""

from importlib.metadata import version

from fastapi import FastAPI

from platoon import web
from platoon.api import cameras, documents, events, health, jobs, layout_parsing, live, manual, ocr, problems, sdk_jobs
from platoon.api.browser import BrowserGuard
from platoon.api.fetch import fetcher_for
from platoon.api.intake import Intake
from platoon.api.jobs import JobDesk
from platoon.api.kserve import rest
from platoon.api.kserve.models import ServedModels
from platoon.api.request_id import RequestId
from platoon.documents.pipelines.pipeline import Pipeline
from platoon.errors import InvalidInput
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import Settings
from platoon.streams.site import Site


def create_app(
    site: Site | None,
    settings: Settings,
    *,
    service: OcrService | None = None,
    desk: JobDesk | None = None,
    pipeline: Pipeline | None = None,
) -> FastAPI:
    """What a site of cameras and the OCR service, or one of them, show to the world, for any ASGI server.

    Args:
        desk: takes documents that are read in the background, if there is a service.
        pipeline: parses documents while their callers wait, if there is a service.
    """
    app = FastAPI(
        title="Platoon",
        version=version("platoon"),
        responses=problems.described(InvalidInput),
        summary="Licence plates of every camera and text of every picture, read by one engine.",
        # FastAPI's own documentation page loads its assets from elsewhere; ours works on an isolated site.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(BrowserGuard)
    app.add_middleware(RequestId)
    problems.install(app)
    if site is not None:
        app.include_router(cameras.routes(site))
        app.include_router(manual.routes(site))
        app.include_router(events.routes(site, settings))
        app.include_router(live.routes(site))
    if service is not None:
        intake = Intake(settings.service, service.metrics, service.tracing)
        app.include_router(ocr.routes(service, intake))
        models = ServedModels(service.engine, not_ready=service.not_ready)
        app.include_router(rest.routes(models, intake, settings.service))
        fetcher = fetcher_for(settings.service) if settings.service.fetch else None
        if pipeline is not None:
            app.include_router(layout_parsing.routes(pipeline, intake, settings.gateway, fetcher))
        if desk is not None:
            app.include_router(jobs.routes(desk, intake))
            app.include_router(documents.routes(desk, intake))
            app.include_router(sdk_jobs.routes(desk, intake, fetcher))
    metered = [part for part in (site, service) if part is not None]
    parts = [part for part in (site, service, pipeline) if part is not None]
    app.include_router(health.routes(parts, metered[0].metrics if metered else Metrics()))
    web.mount(app, cameras=site is not None, documents=service is not None and desk is not None)
    return app
