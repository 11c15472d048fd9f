"""`/api/cameras`: what each camera does, and what it sees."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from platoon.api.problems import described
from platoon.errors import DeadlineExceeded, NotFound, Unavailable
from platoon.streams.site import CameraStatus, Site


class Wake(BaseModel):
    """For how long a camera is to be looked at."""

    for_s: float = Field(default=10.0, gt=0, le=3600)


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
    def get_preview(camera: str, width: Annotated[int, Query(ge=64, le=1920)] = 480, wake: bool = True) -> Response:
        """What the camera saw last, `width` pixels wide at most. 503 with the cause while it is not live.

        A camera that sleeps wakes up, so that the next one is new; with `wake=false` it sleeps on, and the picture may
        be a few seconds old: nothing has moved since.
        """
        picture = site.preview(camera, width=width, wake=wake)
        return Response(picture, media_type="image/jpeg")

    return router


def waking_routes(site: Site) -> APIRouter:
    """Waking cameras of the main port."""
    router = APIRouter(tags=["cameras"])

    @router.post("/api/cameras/{camera}/wake", responses=described(NotFound, Unavailable, DeadlineExceeded))
    def wake_camera(camera: str, wish: Wake | None = None) -> dict[str, Any]:
        """Have a camera looked at for `for_s` seconds, whether or not anything moves before it, as loop detectors and
        gates may want. What came since its last keyframe is looked at, too. Gives the camera, as `/api/cameras/{id}`.
        """
        site.wake(camera, (wish or Wake()).for_s)
        return find(site, camera).to_json()

    return router
