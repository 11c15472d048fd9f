"""The application on the main port: page, JSON API, live feed, OCR, health, metrics and documentation."""

from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.responses import Response

from platoon import web
from platoon.api import (
    cameras,
    captions,
    documents,
    events,
    health,
    jobs,
    live,
    login,
    manual,
    ocr,
    problems,
)
from platoon.api.access import Access
from platoon.api.bodies import BodyLimit, WaitingBytes
from platoon.api.browser import Hosts
from platoon.api.fetch import fetcher_for
from platoon.api.guard import Doors, Guard
from platoon.api.intake import Intake
from platoon.api.kserve import rest
from platoon.api.kserve.models import ServedModels
from platoon.api.paddlex import layout_parsing, sdk_jobs
from platoon.api.paddlex.pipelines.pipeline import Pipeline
from platoon.api.request_id import RequestId
from platoon.documents.job_service import JobService
from platoon.errors import Forbidden, InvalidInput, PlatoonError, Unauthorised
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import Settings
from platoon.streams.site import Site


def create_app(
    site: Site | None,
    settings: Settings,
    *,
    access: Access | None = None,
    service: OcrService | None = None,
    job_service: JobService | None = None,
    pipeline: Pipeline | None = None,
    connections: health.Part | None = None,
    event_file: health.Part | None = None,
    bodies: WaitingBytes | None = None,
) -> FastAPI:
    """What a site of cameras and the OCR service, or one of them, show to the world, for any ASGI server.

    Args:
        access: says who may call, on all ports alike; none: one of its own.
        job_service: takes documents that are read in the background, if there is a service.
        pipeline: parses documents while their callers wait, if there is a service.
        connections: says when no more calls are taken.
        event_file: says why it cannot be written.
        bodies: counts the bytes of those that other servers take, too; none: there are no others.

    Raises:
        ValueError: of a route it was not said whom it lets in.
    """
    app = FastAPI(
        title="Platoon",
        version=version("platoon"),
        responses=problems.described(InvalidInput, Unauthorised, Forbidden),
        summary="Licence plates of every camera and text of every picture, read by one engine.",
        # FastAPI's own documentation page loads its assets from elsewhere; ours works on an isolated site.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # redirects would give absolute addresses from the caller's Host
    )
    problems.install(app)
    metered = [part for part in (site, service) if part is not None]
    metrics = metered[0].metrics if metered else Metrics()
    access = access or Access(settings.service, settings.store.path)
    hosts, doors = Hosts(settings.api, settings.service), Doors(app)
    doors.say("key", app.routes)  # the API's description
    doors.add(login.login_routes(access, hosts), "nothing")
    doors.add(login.session_routes(access, hosts), "key")
    if site is not None:
        doors.add(cameras.routes(site), "read")
        doors.add(cameras.waking_routes(site), "operate")
        doors.add(manual.routes(site), "operate")
        doors.add(events.routes(site, settings), "read")
        ends = (lambda: False) if connections is None else (lambda: bool(connections.not_ready()))
        doors.add(captions.routes(site, ends), "read")
        doors.add(live.routes(site), "read")
    if service is not None:
        intake = Intake(settings.service, service.metrics, service.tracing, bodies=bodies)
        doors.add(ocr.routes(service, intake), "infer", ocr.refuse)
        models = ServedModels(service.engine, settings.engine, not_ready=service.not_ready)
        doors.add(rest.health_routes(models), "key", rest.refuse)
        doors.add(rest.routes(models, intake, settings.service), "infer", rest.refuse)
        fetcher = fetcher_for(settings.service) if settings.service.fetch else None
        if pipeline is not None:
            parsing = layout_parsing.routes(pipeline, intake, settings.gateway, fetcher)
            doors.add(parsing, "infer", layout_parsing.refuse)
        if job_service is not None:
            doors.add(jobs.routes(job_service, intake), "infer")
            doors.add(documents.routes(job_service, intake), "infer")
            doors.add(sdk_jobs.routes(job_service, intake, fetcher, hosts), "infer", sdk_jobs.refuse)
            doors.add(sdk_jobs.result_routes(job_service), "signature")
    parts = [part for part in (site, service, pipeline, job_service, connections, event_file) if part is not None]
    open_paths = settings.api.open_paths
    health_routes = health.routes(parts) if site is None else health.routes(parts, site.warnings)
    doors.add(health_routes, "nothing" if "/health" in open_paths else "key")
    doors.add(health.metrics_routes(metrics), "nothing" if "/metrics" in open_paths else "read")
    pages = web.Pages(cameras=site is not None, documents=service is not None and job_service is not None)
    for page, route in pages.routes():
        doors.add([route], page.scope or "key", partial(_login_page, pages))
    doors.add([web.assets()], "nothing")
    doors.check()
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, doors=doors, access=access, hosts=hosts, metrics=metrics)
    app.add_middleware(RequestId)
    return app


def _login_page(pages: web.Pages, error: PlatoonError, _: HTTPConnection) -> Response:
    response = pages.login(problems.message_of(error), error.status)
    response.headers.update(problems.headers_for(error))
    return response
