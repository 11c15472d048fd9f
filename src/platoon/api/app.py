"""The application on the main port: page, JSON API, live feed, health, metrics and documentation."""

from importlib.metadata import version

from fastapi import FastAPI

from platoon import web
from platoon.api import cameras, events, health, live, manual, problems
from platoon.api.browser import BrowserGuard
from platoon.settings import Settings
from platoon.streams.site import Site


def create_app(site: Site, settings: Settings) -> FastAPI:
    """Everything that `site` shows to the world, for any ASGI server."""
    app = FastAPI(
        title="Platoon",
        version=version("platoon"),
        summary="Licence plates of every camera, read by one engine.",
        # FastAPI's own documentation page loads its assets from elsewhere; ours works on an isolated site.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(BrowserGuard)
    problems.install(app)
    app.include_router(cameras.routes(site))
    app.include_router(manual.routes(site))
    app.include_router(events.routes(site, settings))
    app.include_router(live.routes(site))
    app.include_router(health.routes(site))
    web.mount(app)
    return app
