"""The pages a person looks at: HTML, CSS and ES modules over the public API, nothing to build or fetch.

A static page needs no server state per viewer and none of the packages of a server-side page framework.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from platoon.settings import Scope

_FILES: Final = Path(__file__).parent / "static"
_LINKS: Final = "<!-- links -->"
"""Where a page has its links to all of them."""
_WHY: Final = "<!-- why -->"
"""Where the page that asks for a key says why."""
_STATUS: Final = "<!-- status -->"
"""And where, in a number."""


class Page(NamedTuple):
    """A page and its address."""

    path: str
    name: str
    file: str
    scope: Scope | None
    """Of the key that can use it; none: any."""


class Pages:
    """Cameras at `/`, documents at `/documents`, the documentation at `/docs`. Without cameras `/` shows the next of
    them that there is.
    """

    def __init__(self, *, cameras: bool = True, documents: bool = False) -> None:
        pages = [Page("/docs", "Interface", "docs.html", None)]
        if documents:
            pages.insert(0, Page("/documents", "Documents", "documents.html", "infer"))
        if cameras:
            pages.insert(0, Page("/", "Cameras", "index.html", "read"))
        self._pages = pages

    def routes(self) -> Iterator[tuple[Page, Route]]:
        """The route of each page."""
        for page in self._pages:
            yield page, self._route(page.path, page)
        if self._pages[0].path != "/":
            yield self._pages[0], self._route("/", self._pages[0])

    def login(self, why: str, status: int) -> HTMLResponse:
        """In the place of a page: it asks for a key, and shows nothing else."""
        html = self._html("login.html", None).replace(_STATUS, str(status)).replace(_WHY, escape(why))
        return HTMLResponse(html, status)

    def _route(self, path: str, page: Page) -> Route:
        html = self._html(page.file, page)

        def serve(_: Request) -> HTMLResponse:
            return HTMLResponse(html)

        return Route(path, serve, include_in_schema=False)

    def _html(self, file: str, shown: Page | None) -> str:
        links = "".join(
            f'<a href="{page.path}"{" aria-current=page" if page is shown else ""}>{page.name}</a>'
            for page in self._pages
        )
        return (_FILES / file).read_text(encoding="utf-8").replace(_LINKS, links)


def assets() -> Mount:
    """What the pages load, at `/static`: the files of this package and no data."""
    return Mount("/static", StaticFiles(directory=_FILES))
