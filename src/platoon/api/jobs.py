"""`/api/v1/ocr`: documents that are read in the background, asked for by the id that came back at once.

`POST process` answers 202 once the document is on the disk; `GET results/{task_id}` says where it stands, and gives the
lines of all pages when it is done; `DELETE` cancels within a page. Who sent a document with a key is the only one who
may ask for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from platoon.api.intake import Incoming, Intake, body_of
from platoon.api.job_calls import REFUSALS, TEXT_LAYERS, JobCall, JobContract, Submission, order_of
from platoon.api.problems import described
from platoon.documents.job_service import JobService
from platoon.documents.jobs import PRIORITIES, Job, Jobs, Order, State
from platoon.documents.page import Page
from platoon.errors import InvalidInput, NotFound, TooLarge, Unsupported


class Queued(BaseModel):
    """A document that will be read."""

    task_id: str
    status: Literal["pending"]
    message: str


class Detection(BaseModel):
    """A line of text."""

    text: str
    box: list[tuple[float, float]]
    """Four corners in pixels of the page at 144 dpi, clockwise from the top left of the first letter."""
    confidence: float
    page_number: int
    """From 1."""


class Result(BaseModel):
    """The lines of all pages, or why there are none."""

    detections: list[Detection] | None = None
    error: str | None = None


class Progress(BaseModel):
    """How far the reading is."""

    pages: int | None
    """That are asked for; null until the document was opened."""
    done: int


class Standing(BaseModel):
    """Where a document stands."""

    task_id: str
    status: Literal["PENDING", "STARTED", "PROGRESS", "SUCCESS", "FAILURE", "REVOKED"]
    result: Result | None
    pending_tasks: int
    """All documents that wait."""
    progress: Progress
    position: int | None
    """Its position among those that wait, from 1."""
    exports: str | None
    """Once it is read: where its other forms are, as `{exports}/md`."""


def routes(job_service: JobService, intake: Intake) -> APIRouter:
    """The calls of `/api/v1/ocr`."""
    router = APIRouter(prefix="/api/v1/ocr", tags=["documents"])
    jobs, webhooks = job_service.jobs, job_service.settings.jobs.webhook_secret is not None

    async def read(incoming: Incoming) -> tuple[bytes, Order]:
        fields = await incoming.fields("file")
        return fields.file("file"), order_of(fields, owner=incoming.caller, webhooks=webhooks)

    def accepted(job: Job) -> Response:
        return JSONResponse(Queued(task_id=job.id, status="pending", message=_QUEUED).model_dump(), 202)

    def standing(incoming: Incoming) -> Response:
        job = job_service.find(incoming.request.path_params["task_id"], incoming.caller)
        return Response(_as_json(_standing(jobs, job)), media_type="application/json")

    def cancel(incoming: Incoming) -> Response:
        job_service.cancel(job_service.find(incoming.request.path_params["task_id"], incoming.caller))
        return standing(incoming)

    contract = JobContract()
    submission = Submission(contract, job_service, read, accepted)
    asking, cancelling = JobCall(contract, standing), JobCall(contract, cancel)

    @router.post(
        "/process",
        status_code=202,
        response_model=Queued,
        openapi_extra=body_of({"multipart/form-data": _FORM}),
        responses=described(*REFUSALS, TooLarge, Unsupported, InvalidInput),
    )
    async def process(request: Request) -> Response:
        """Read a document in the background: multipart `file`, a PDF, TIFF or picture.

        With it may come `pages` (as `1-3,7`), `text_layer` (`auto`, `ignore`, `only`), `priority` (-9 to 9, higher
        first, and at most what the key may) and `webhook` (a URL that is notified when it is done).
        """
        return await intake.serve(request, submission)

    @router.get("/results/{task_id}", response_model=Standing, responses=described(*REFUSALS, NotFound))
    async def results(request: Request, task_id: str) -> Response:
        """Where a document stands, and its lines once it is read."""
        del task_id
        return await intake.serve(request, asking)

    @router.delete("/results/{task_id}", response_model=Standing, responses=described(*REFUSALS, NotFound))
    async def revoke(request: Request, task_id: str) -> Response:
        """Cancel the reading of a document, within a page; nothing happens where it has ended."""
        del task_id
        return await intake.serve(request, cancelling)

    return router


def detections(page: Page) -> list[dict[str, Any]]:
    """The lines of a page."""
    return [
        {
            "text": line.text,
            "box": [[round(x, 1), round(y, 1)] for x, y in line.corners],
            "confidence": round(line.confidence, 4),
            "page_number": page.index + 1,
        }
        for line in page.lines
    ]


def _standing(jobs: Jobs, job: Job) -> dict[str, Any]:
    status: str = "PROGRESS" if job.state is State.STARTED and job.done else job.state
    result: dict[str, Any] | None = None
    if job.state is State.SUCCESS:
        result = {"detections": [found for page in jobs.pages(job.id) for found in detections(page)]}
    elif job.state is State.FAILURE:
        result = {"error": job.error}
    return {
        "task_id": job.id,
        "status": status,
        "result": result,
        "pending_tasks": jobs.waiting(),
        "progress": {"pages": job.total, "done": job.done},
        "position": jobs.queue_position(job),
        "exports": f"/api/documents/{job.id}/exports" if job.state is State.SUCCESS else None,
    }


def _as_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


_QUEUED: Final = "OCR task queued successfully."
_FORM: Final = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "pages": {"type": "string"},
        "text_layer": {"type": "string", "enum": list(TEXT_LAYERS)},
        "priority": {"type": "integer", "minimum": PRIORITIES[0], "maximum": PRIORITIES[-1]},
        "webhook": {"type": "string", "format": "uri"},
    },
    "required": ["file"],
}
