"""The pages a person looks at: HTML, CSS and ES modules over the public API, nothing to build or fetch.

A static page needs no server state per viewer and none of the packages of a server-side page framework.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_FILES = Path(__file__).parent / "static"
_LINKS = "<!-- links -->"
"""Where a page has its links to all of them."""


class _Page(NamedTuple):
    path: str
    name: str
    file: str


def mount(app: Starlette, *, cameras: bool = True, documents: bool = False) -> None:
    """Serve cameras at `/`, documents at `/documents`, the documentation at `/docs`, what they load at `/static`.

    Without cameras `/` shows the next of them that there is.
    """
    pages = [_Page("/docs", "Interface", "docs.html")]
    if documents:
        pages.insert(0, _Page("/documents", "Documents", "documents.html"))
    if cameras:
        pages.insert(0, _Page("/", "Cameras", "index.html"))
    for page in pages:
        app.add_route(page.path, _serving(page, pages), include_in_schema=False)
    if not cameras:
        app.add_route("/", _serving(pages[0], pages), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_FILES))


def _serving(shown: _Page, pages: list[_Page]) -> Callable[[Request], HTMLResponse]:
    links = "".join(
        f'<a href="{page.path}"{" aria-current=page" if page is shown else ""}>{page.name}</a>' for page in pages
    )
    html = (_FILES / shown.file).read_text(encoding="utf-8").replace(_LINKS, links)
    return lambda _: HTMLResponse(html)
