"""`POST /manual-ocr`: read what a camera sees now, ahead of the queue.

The gateway on the main port serves every camera; a camera's own port and `/api/cameras/{id}/` serve one.
"""

import json
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from platoon.api.bodies import limit_body
from platoon.api.json_body import check_json
from platoon.api.problems import described
from platoon.errors import DeadlineExceeded, Forbidden, InvalidInput, NotFound, Overloaded, TooLarge, Unavailable
from platoon.streams.site import Site

_AT_ONCE = 8
"""Each holds a worker thread while it waits; the others stay free for pictures and lists."""
_MAX_BODY_BYTES = 16_384
_NAMES = ("camera", "camera_id", "id")
_NAMED = {"schema": {"type": "object", "properties": {name: {"type": "string"} for name in _NAMES}}}
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_WHICH = {"requestBody": {"content": dict.fromkeys(("application/json", *_FORMS), _NAMED)}}


class ManualReads:
    """Manual reads of one port."""

    def __init__(self, site: Site) -> None:
        self._site, self._running = site, 0

    async def read(self, camera: str) -> dict[str, Any]:
        """As `Site.manual_read`, in a worker thread. Raises `Overloaded` when too many wait already."""
        if self._running >= _AT_ONCE:
            raise Overloaded(f"{_AT_ONCE} manual reads are under way; try again in a moment")
        self._running += 1
        try:
            return await run_in_threadpool(partial(self._site.manual_read, camera))
        finally:
            self._running -= 1


def routes(site: Site) -> APIRouter:
    """The manual reads of the main port."""
    refusals = described(Forbidden, NotFound, Overloaded, Unavailable, DeadlineExceeded)
    router = APIRouter(tags=["manual reading"], responses=refusals)
    reads = ManualReads(site)

    @router.post("/manual-ocr", openapi_extra=_WHICH, responses=described(TooLarge))
    async def read_any_camera(request: Request) -> dict[str, Any]:
        """Read what a camera sees now, ahead of the queue.

        The camera's id comes as JSON (`{"camera": id}`), form field or query parameter, named `camera`,
        `camera_id` or `id`. Gives `{camera, time, width, height, plates: [{text, raw, confidence, box}],
        lines: [{text, confidence, box}]}`.
        """
        return await reads.read(await _camera_named_by(request))

    @router.post("/api/cameras/{camera}/manual-ocr")
    async def read_camera(camera: str) -> dict[str, Any]:
        """Read what this camera sees now, ahead of the queue; gives what `/manual-ocr` gives."""
        return await reads.read(camera)

    return router


async def _camera_named_by(request: Request) -> str:
    limit_body(request, _MAX_BODY_BYTES)
    fields: dict[str, Any] = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        async with request.form(max_files=1, max_fields=16, max_part_size=_MAX_BODY_BYTES) as form:
            fields |= {name: value for name, value in form.items() if not isinstance(value, UploadFile)}
    else:
        fields |= _json_object(await request.body())
    for name in _NAMES:
        if isinstance(value := fields.get(name), str | int) and str(value):
            return str(value)
    raise InvalidInput('which camera? Send its id as JSON, {"camera": "gate-1"}, as a form field or in the query')


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    check_json(body)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error
    if isinstance(value, str):
        return {"camera": value}
    return value if isinstance(value, dict) else {}
