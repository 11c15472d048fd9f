"""The page an operator looks at: HTML, CSS and ES modules over the public API, nothing to build or fetch.

A static page needs no server state per viewer and none of the packages of a server-side page framework.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

_FILES = Path(__file__).parent / "static"


def mount(app: Starlette, *, cameras: bool = True) -> None:
    """Serve the page at `/`, the documentation at `/docs`, and what both load at `/static`.

    Without `cameras` there is nothing to look at, and `/` shows the documentation.
    """

    async def page(_: Request) -> FileResponse:
        return FileResponse(_FILES / ("index.html" if cameras else "docs.html"))

    async def docs(_: Request) -> FileResponse:
        return FileResponse(_FILES / "docs.html")

    app.add_route("/", page, include_in_schema=False)
    app.add_route("/docs", docs, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_FILES))
