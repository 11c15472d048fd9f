"""What answers on a camera's own port: `/ws` and `POST /manual-ocr`, as operators' tools expect."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from platoon.api import live, problems
from platoon.api.access import Access
from platoon.api.bodies import BodyLimit
from platoon.api.browser import Hosts
from platoon.api.guard import Doors, Guard
from platoon.api.manual import ManualReads
from platoon.streams.site import Site


def create_camera_app(site: Site, camera: str, *, access: Access, hosts: Hosts) -> Starlette:
    """The application of one camera's port; light, as a site may have thousands."""
    reads, texts = ManualReads(site), live.Texts()

    async def manual_ocr(_: Request) -> JSONResponse:
        return JSONResponse(await reads.read(camera))

    async def ws(websocket: WebSocket) -> None:
        await live.feed(websocket, site, texts, camera)

    app = Starlette()
    app.router.redirect_slashes = False  # redirects would give absolute addresses from the caller's Host
    problems.install(app)
    doors = Doors(app)
    doors.add([Route("/manual-ocr", manual_ocr, methods=["POST"])], "operate")
    doors.add([WebSocketRoute("/ws", ws)], "read")
    doors.check()
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, doors=doors, access=access, hosts=hosts, metrics=site.metrics)
    return app
