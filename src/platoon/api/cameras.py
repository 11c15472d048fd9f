"""`/api/cameras`: what each camera does, and what it sees."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from platoon.api.problems import described
from platoon.errors import DeadlineExceeded, NotFound, Unavailable
from platoon.streams.site import CameraStatus, Site


def find(site: Site, camera: str) -> CameraStatus:
    """The camera of this id.

    Raises:
        NotFound: there is none.
    """
    for status in site.cameras():
        if status.id == camera:
            return status
    raise NotFound(f"no camera {camera!r} in the registry")


def routes(site: Site) -> APIRouter:
    """The cameras of the main port."""
    router = APIRouter(tags=["cameras"])

    @router.get("/api/cameras")
    def list_cameras() -> dict[str, list[dict[str, Any]]]:
        """All cameras, in the registry's order: `{"cameras": [...]}`."""
        return {"cameras": [status.to_json() for status in site.cameras()]}

    @router.get("/api/cameras/{camera}", responses=described(NotFound))
    def get_camera(camera: str) -> dict[str, Any]:
        """One camera: its state, with the cause when it is not live, its rates and what it left out."""
        return find(site, camera).to_json()

    @router.get(
        "/api/cameras/{camera}/preview.jpg",
        response_class=Response,
        responses=described(NotFound, Unavailable, DeadlineExceeded),
    )
    def get_preview(camera: str, width: Annotated[int, Query(ge=64, le=1920)] = 480) -> Response:
        """What the camera saw last, `width` pixels wide at most. 503 with the cause while it is not live."""
        picture = site.preview(camera, width=width)
        return Response(picture, media_type="image/jpeg")

    return router
