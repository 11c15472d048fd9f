"""`/api/events`: the plates that were read, newest first, with their crops."""

from hashlib import blake2b
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from platoon.api.problems import described
from platoon.errors import NotFound, StoreError
from platoon.settings import Settings
from platoon.store.event import PLATE
from platoon.store.pace import why_less
from platoon.streams.site import Site


def routes(site: Site, settings: Settings) -> APIRouter:
    """The events of the main port."""
    router = APIRouter(tags=["events"], responses=described(StoreError))

    @router.get("/api/events")
    def search_events(
        plate: Annotated[str | None, Query(max_length=64)] = None,
        camera: Annotated[str | None, Query(max_length=128)] = None,
        state: Literal["preview", "final", "revised", ""] = "",
        since: float | None = None,
        until: float | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> dict[str, list[dict[str, Any]]]:
        """Plate events, newest first: `{"events": [...]}`.

        `plate` is any part of a plate; spaces, dashes and case do not matter. `since` and `until` are seconds
        since 1970.
        """
        found = site.events.search(
            kind=PLATE,
            text=plate or None,
            camera=camera or None,
            state=state or None,
            since=since,
            until=until,
            limit=limit,
        )
        return {"events": found}

    @router.get("/api/events/{event}", responses=described(NotFound))
    def get_event(event: str) -> dict[str, Any]:
        """One event, by its id."""
        return _find(site, event)

    @router.get("/api/events/{event}/crop.jpg", response_class=Response, responses=described(NotFound))
    def get_crop(event: str, request: Request) -> Response:
        """The very picture that was read. 404 once it has outlived its time."""
        key = _find(site, event).get("crop")
        if key is None:
            raise NotFound(f"event {event!r} has no picture any more: crops are kept for a time, see PLATOON_STORE__*")
        # A final may bring a better crop under the same address, so whoever keeps one asks whether it still holds.
        tag = f'"{blake2b(key.encode(), digest_size=12).hexdigest()}"'
        headers = {"ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        try:
            jpeg = site.crops.get(key)
        except NotFound:
            if _find(site, event).get("crop") in (None, key):
                raise
            return get_crop(event, request)  # its final came meanwhile, with a crop of its own
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    @router.get("/api/summary")
    def summarise(since: float = 0.0) -> dict[str, Any]:
        """The site in a few figures: cameras, how many are live, plates since a time (seconds since 1970).

        `expiry_waits` says why events older than `kept_days` are still there; it is left out where they are not.
        """
        cameras = [status for status in site.cameras() if status.enabled]
        return {
            "cameras": len(cameras),
            "live": sum(status.source.state == "live" for status in cameras),
            "plates": site.events.count(since=since),
            "kept_days": settings.store.max_age_days,
            **({"expiry_waits": waits} if (waits := why_less(site.events)) else {}),
        }

    return router


def _find(site: Site, event: str) -> dict[str, Any]:
    found = site.events.get(event)
    if found is None:
        raise NotFound(f"no event {event!r}: it never was, or it has outlived its time")
    return found
