"""What answers on a camera's own port: `/ws` and `POST /manual-ocr`, as operators' tools expect."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from platoon.api import live, problems
from platoon.api.browser import BrowserGuard
from platoon.api.manual import ManualReads
from platoon.streams.site import Site


def create_camera_app(site: Site, camera: str) -> Starlette:
    """The application of one camera's port; light, as a site may have thousands."""
    reads = ManualReads(site)

    async def manual_ocr(_: Request) -> JSONResponse:
        return JSONResponse(await reads.read(camera))

    async def ws(websocket: WebSocket) -> None:
        await live.feed(websocket, site, camera)

    app = Starlette(
        routes=[Route("/manual-ocr", manual_ocr, methods=["POST"]), WebSocketRoute("/ws", ws)],
        middleware=[Middleware(BrowserGuard)],
    )
    problems.install(app)
    return app
