"""`/api/v1/ocr`: documents that are read in the background, asked for by the id that came back at once.

`POST process` answers 202 once the document is on the disk; `GET results/{task_id}` says where it stands, and gives the
lines of all pages when it is done; `DELETE` cancels within a page. Who sent a document with a key is the only one who
may ask for it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from platoon.api.fetch import check_url
from platoon.api.intake import Contract, Fields, Incoming, Intake, Work, body_of, content_type
from platoon.api.problems import as_problem, described
from platoon.documents.jobs import PRIORITIES, Job, Jobs, Order, State
from platoon.documents.page import Page
from platoon.documents.read import Options, page_indices
from platoon.documents.redraw import redrawn
from platoon.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    PlatoonError,
    StoreError,
    StoreUnusable,
    TooLarge,
    Unauthorised,
    Unsupported,
)
from platoon.media.frame import Pixels
from platoon.ocr.pages import Kind, kind_of
from platoon.ocr.picture import picture_size
from platoon.settings import Settings

TextLayer = Literal["auto", "ignore", "only"]
TEXT_LAYERS: Final[Mapping[str, TextLayer]] = {"auto": "auto", "ignore": "ignore", "only": "only"}
REFUSALS: Final = (Unauthorised, Forbidden, Overloaded, StoreError, StoreUnusable, DeadlineExceeded)
"""Of any call about jobs that needs a key."""


def check_document(document: bytes, max_pixels: int) -> None:
    """Refuse at once, before it is kept, what its first bytes show to be none. Raises InvalidInput, TooLarge."""
    if kind_of(document) is Kind.IMAGE:
        picture_size(document, max_pixels=max_pixels)


@dataclass(frozen=True)
class JobDesk:
    """Where jobs are handed in and asked for."""

    jobs: Jobs
    announce: Callable[[Job], object]
    """Tells whoever reads of one that was added or cancelled."""
    settings: Settings
    check: Callable[[bytes, int], object] = check_document

    def not_ready(self) -> list[str]:
        """Why jobs cannot be taken or worked on."""
        return self.jobs.not_ready()

    def check_room(self, owner: str, n_bytes: int) -> None:
        """For a document of so many bytes, before they are taken. Raises as `Limits.check_room`."""
        self.jobs.check_room(owner, n_bytes)

    def add(self, order: Order, document: bytes) -> Job:
        """Keep a job, and let it be begun. Raises InvalidInput, Forbidden, Overloaded, StoreError."""
        if not document:
            raise InvalidInput("file: is empty")
        for key in self.settings.service.keys:
            if key.name == order.owner and order.priority > key.job_priority:
                raise Forbidden(f"priority: {order.priority} is more than {key.job_priority}, the most for this key")
        self.check(document, self.settings.service.max_pixels)
        page_indices(order.options.pages, self.settings.jobs.max_pages)
        how = replace(order.options.how, max_lines=self.settings.service.max_lines)
        job = self.jobs.add(replace(order, options=replace(order.options, how=how)), document)
        self.announce(job)
        return job

    def cancel(self, job: Job) -> Job:
        """End a job, unless it has ended; returns how it stands then."""
        self.jobs.cancel(job.id)
        cancelled = self.jobs.get(job.id) or job
        self.announce(cancelled)
        return cancelled

    def redrawn(self, job: Job, page: Page | None = None) -> Iterator[tuple[Page, Pixels]]:
        """The pages of a job, or one of them, with their pictures; see `redrawn`."""
        return redrawn(
            self.jobs.pages(job.id) if page is None else [page],
            sorted(self.jobs.indices(job.id)) if page is None else [page.index],
            self.jobs.document(job.id),
            max_pages=self.settings.jobs.max_pages,
            max_pixels=self.settings.service.max_pixels,
            page_s=self.settings.service.deadline_s,
        )

    def find(self, job_id: str, caller: str) -> Job:
        """A job that came with the caller's key. Raises NotFound."""
        job = self.jobs.get(job_id)
        if job is None or job.order.owner != caller:
            raise NotFound(f"no job {job_id[:60]!r}: there never was one, or it has outlived its time")
        return job

    def at(self, job_id: str, until: int, signature: str) -> Job:
        """The job whose result was promised at this address, by `signature`, until a point of time.

        Raises:
            Forbidden: it was not, or that is over. NotFound: there is no such job any more.
        """
        if not signature:
            raise Forbidden("this address needs the signature that it was told with")
        job = self.jobs.get(job_id)
        if job is None:
            raise NotFound("nothing at this address: there never was, or it has outlived its time")
        if until < time.time() or not hmac.compare_digest(signature_of(job, until).encode(), signature.encode()):
            raise Forbidden("nobody signed this address, or its time is over: ask for the job again")
        return job


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
    """Its place among those that wait, from 1."""
    exports: str | None
    """Once it is read: where its other forms are, as `{exports}/md`."""


class JobContract:
    """The contract of these calls."""

    name = "jobs"

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        del incoming
        return as_problem(error)


class JobCall:
    """A call about jobs, without a body.

    Args:
        answer: called on a thread.
    """

    def __init__(self, contract: Contract, answer: Callable[[Incoming], Response]) -> None:
        self.name, self.refuse, self._answer = contract.name, contract.refuse, answer

    async def take(self, incoming: Incoming) -> Work:
        """See `Endpoint.take`."""

        async def work() -> Response:
            return await asyncio.to_thread(self._answer, incoming)

        return work


class Submission:
    """A call that hands in a document.

    Args:
        read: the document and the order from the body.
        accepted: what is said of the job.
    """

    def __init__(
        self,
        contract: Contract,
        desk: JobDesk,
        read: Callable[[Incoming], Awaitable[tuple[bytes, Order]]],
        accepted: Callable[[Job], Response],
    ) -> None:
        self.name, self.refuse = contract.name, contract.refuse
        self._desk, self._read, self._accepted = desk, read, accepted

    async def take(self, incoming: Incoming) -> Work:
        """See `Endpoint.take`."""
        told = incoming.request.headers.get("content-length", "")
        n_bytes = int(told) if told.isdecimal() and content_type(incoming.request) == "multipart/form-data" else 0
        await asyncio.to_thread(self._desk.check_room, incoming.caller, n_bytes)
        document, order = await self._read(incoming)

        async def work() -> Response:
            # Shielded: a document that was taken is told of to whoever is still there.
            return self._accepted(await asyncio.shield(asyncio.to_thread(self._desk.add, order, document)))

        return work


def routes(desk: JobDesk, intake: Intake) -> APIRouter:
    """The calls of `/api/v1/ocr`."""
    router = APIRouter(prefix="/api/v1/ocr", tags=["documents"])
    jobs, webhooks = desk.jobs, desk.settings.jobs.webhook_secret is not None

    async def read(incoming: Incoming) -> tuple[bytes, Order]:
        fields = await incoming.fields("file")
        return fields.file("file"), order_of(fields, owner=incoming.caller, webhooks=webhooks)

    def accepted(job: Job) -> Response:
        return JSONResponse(Queued(task_id=job.id, status="pending", message=_QUEUED).model_dump(), 202)

    def standing(incoming: Incoming) -> Response:
        job = desk.find(incoming.request.path_params["task_id"], incoming.caller)
        return Response(_as_json(_standing(jobs, job)), media_type="application/json")

    def cancel(incoming: Incoming) -> Response:
        desk.cancel(desk.find(incoming.request.path_params["task_id"], incoming.caller))
        return standing(incoming)

    contract = JobContract()
    submission = Submission(contract, desk, read, accepted)
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
        first, and at most what the key may) and `webhook` (a URL that is told when it is done).
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


def signature_of(job: Job, until: int) -> str:
    """What makes an address of the job's result good without a key, until a point of time (seconds since 1970)."""
    return hmac.digest(job.secret.encode(), f"{job.id}:{until}".encode(), "sha256").hex()


def order_of(fields: Fields, *, owner: str, webhooks: bool) -> Order:
    """What the fields of a form ask for.

    Raises:
        InvalidInput: names the field.
    """
    layer = fields.text("text_layer") or "auto"
    if layer not in TEXT_LAYERS:
        raise InvalidInput(f"text_layer: {layer[:40]!r} is none of {', '.join(TEXT_LAYERS)}")
    return Order(
        options=Options(pages=fields.text("pages"), text_layer=TEXT_LAYERS[layer]),
        priority=_priority(fields.text("priority") or "0"),
        owner=owner,
        webhook=_webhook(fields.text("webhook"), allowed=webhooks),
    )


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


def _priority(text: str) -> int:
    try:
        priority = int(text)
    except ValueError:
        raise InvalidInput(f"priority: {text[:40]!r} is no whole number") from None
    if priority not in PRIORITIES:
        raise InvalidInput(f"priority: {priority} is not between {PRIORITIES[0]} and {PRIORITIES[-1]}")
    return priority


def _webhook(url: str, *, allowed: bool) -> str | None:
    if not url:
        return None
    if not allowed:
        raise InvalidInput("webhook: there is no secret to sign it with; set jobs.webhook_secret")
    try:
        check_url(url)
    except ValueError as error:
        raise InvalidInput(f"webhook: {error}") from error
    return url


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
        "position": jobs.place(job),
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
