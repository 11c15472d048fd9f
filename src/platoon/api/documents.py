"""`/api/documents`: what the page about documents shows. Jobs like all others, in the words of people.

Whoever hands a document in names a batch that nobody can guess, and lists what is in it; a key finds only what came
with it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, BinaryIO, Final, Literal
from urllib.parse import quote

import cv2
import numpy as np
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response, StreamingResponse

from platoon.api.access import caller_of
from platoon.api.intake import Incoming, Intake, body_of
from platoon.api.job_calls import REFUSALS, TEXT_LAYERS, JobCall, JobContract, Submission, order_of
from platoon.api.problems import described
from platoon.documents.exports.exporting import exporting
from platoon.documents.exports.form import Form
from platoon.documents.exports.markdown import body_height, title_level
from platoon.documents.job_service import JobService
from platoon.documents.jobs import Job, Order, State
from platoon.documents.page import Label, Page
from platoon.errors import DeadlineExceeded, InvalidInput, NotFound, StoreError, StoreUnusable, TooLarge, Unsupported
from platoon.media.frame import Pixels, as_jpeg
from platoon.ocr.pages import Kind, kind_of

LONGEST_SIDE: Final = 2000
"""Pixels of a page's picture; larger ones are scaled down."""
_QUALITY: Final = 85
_DRAWN_AT_ONCE: Final = 2
"""Pages and files; others wait."""
_LISTED: Final = 100
_NAME: Final = 200
"""Characters of a document's name; the rest is cut off."""
_CHUNK_BYTES: Final = 1 << 18
_WORDS: Final[dict[State, Literal["waiting", "reading", "done", "failed", "cancelled"]]] = {
    State.PENDING: "waiting",
    State.STARTED: "reading",
    State.SUCCESS: "done",
    State.FAILURE: "failed",
    State.REVOKED: "cancelled",
}
_NOTHING_DRAWN: Final = np.zeros((0, 0, 3), np.uint8)


class Document(BaseModel):
    """A document, and how far its reading is."""

    id: str
    name: str
    state: Literal["waiting", "reading", "done", "failed", "cancelled"]
    pages: int | None
    """That are asked for; null until the document was opened."""
    done: int
    """Pages that are read."""
    queue_position: int | None
    """Among those that wait, from 1; null where it does not wait."""
    error: str | None
    """Why it failed; while it waits for another attempt, why the last one did."""
    created: float
    """Seconds since 1970, as the other."""
    expires: float | None
    """When it will be forgotten."""
    address: str
    """Of its pictures (`/pages/{number}.jpg`) and of its other forms (`/exports/{form}`)."""


class OpenDocument(Document):
    """A document, and which of its pages can be seen."""

    numbers: list[int]
    """Of the pages that are read, from 1."""


class Documents(BaseModel):
    """The documents of a batch."""

    documents: list[Document]
    """Newest first."""
    max_bytes: int
    """Of a document that is handed in."""


class ShownBlock(BaseModel):
    """A part of a page."""

    label: Label
    box: tuple[int, int, int, int]
    """left, top, right, bottom, in pixels of the page."""
    text: str
    level: int | None
    """Of a title, 1 for the largest."""
    table: dict[str, Any] | None
    """As in the form `json`."""
    lines: list[list[tuple[float, float]]]
    """The corners of each."""


class ShownPage(BaseModel):
    """What stands on a page."""

    number: int
    """From 1."""
    width: int
    """Pixels."""
    height: int
    source: Literal["ocr", "text-layer"]
    error: str | None
    """Why it could not be read."""
    blocks: list[ShownBlock]
    """In reading order."""


Batch = Annotated[str, Query(min_length=16, max_length=64)]
Number = Annotated[int, Path(ge=1, le=1_000_000)]


def routes(job_service: JobService, intake: Intake) -> APIRouter:
    """The calls of `/api/documents`."""
    router = APIRouter(prefix="/api/documents", tags=["documents"])
    jobs, contract = job_service.jobs, JobContract()
    drawing = asyncio.Semaphore(_DRAWN_AT_ONCE)

    def asked(incoming: Incoming) -> Job:
        return job_service.find(incoming.request.path_params["job_id"], incoming.caller)

    async def read(incoming: Incoming) -> tuple[bytes, Order]:
        fields = await incoming.fields("file")
        document, order = fields.file("file"), order_of(fields, owner=incoming.caller, webhooks=False)
        batch, name = fields.text("batch"), fields.text("name")
        if not 16 <= len(batch) <= 64:
            raise InvalidInput("batch: give a name of 16 to 64 characters that nobody can guess")
        return document, replace(order, name=name[:_NAME], batch=batch)

    def listed(incoming: Incoming) -> Response:
        found = jobs.batch(incoming.request.query_params["batch"], incoming.caller)
        documents = [_document(job_service, job) for job in reversed(found[-_LISTED:])]
        return _json(Documents(documents=documents, max_bytes=job_service.settings.service.max_body_bytes))

    def opened(incoming: Incoming) -> Response:
        job = asked(incoming)
        numbers = sorted(index + 1 for index in jobs.indices(job.id))
        return _json(OpenDocument(**_document(job_service, job).model_dump(), numbers=numbers))

    def cancelled(incoming: Incoming) -> Response:
        return _json(_document(job_service, job_service.cancel(asked(incoming))))

    def shown(incoming: Incoming) -> Response:
        job, number = asked(incoming), int(incoming.request.path_params["number"])
        return _json(_shown(_page(job_service, job, number)))

    submission = Submission(contract, job_service, read, lambda job: _json(_document(job_service, job), 202))
    listing, opening, showing = (JobCall(contract, answer) for answer in (listed, opened, shown))
    cancelling = JobCall(contract, cancelled)

    @router.post(
        "",
        status_code=202,
        response_model=Document,
        openapi_extra=body_of({"multipart/form-data": _FORM}),
        responses=described(*REFUSALS, TooLarge, Unsupported, InvalidInput),
    )
    async def hand_in(request: Request) -> Response:
        """Read a document: multipart `file`, a PDF, TIFF or picture, and `batch`, the name of the caller's documents.

        With it may come the document's `name`, `pages` (as `1-3,7`) and `text_layer` (`auto`, `ignore`, `only`).
        """
        return await intake.serve(request, submission)

    @router.get("", response_model=Documents, responses=described(*REFUSALS))
    async def list_documents(request: Request, batch: Batch) -> Response:
        """The last hundred documents of a batch, newest first."""
        del batch
        return await intake.serve(request, listing)

    @router.get("/{job_id}", response_model=OpenDocument, responses=described(*REFUSALS, NotFound))
    async def get_document(request: Request, job_id: str) -> Response:
        """A document, and which of its pages are read."""
        del job_id
        return await intake.serve(request, opening)

    @router.delete("/{job_id}", response_model=Document, responses=described(*REFUSALS, NotFound))
    async def cancel_document(request: Request, job_id: str) -> Response:
        """Stop reading a document, within a page; nothing happens where that has ended."""
        del job_id
        return await intake.serve(request, cancelling)

    @router.get(
        "/{job_id}/pages/{number}.jpg",
        response_class=Response,
        responses={
            200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
            **_DRAWN,
        },
    )
    async def get_picture(request: Request, job_id: str, number: Number) -> Response:
        """The picture of a page that is read, at most 2000 pixels long and wide."""
        # It never changes, and drawing it is work: browsers keep it, and ask whether they may still see it.
        headers = {"ETag": f'"{job_id}-{number}"', "Cache-Control": "private, no-cache"}
        owner = caller_of(request.scope).name

        def picture() -> bytes | None:
            job = job_service.find(job_id, owner)
            if request.headers.get("if-none-match") == headers["ETag"]:
                return None
            ((_, drawn),) = job_service.redrawn(job, _page(job_service, job, number))
            if not drawn.size:
                raise NotFound(f"page {number} cannot be drawn")
            return as_jpeg(_scaled(drawn), quality=_QUALITY)

        async with drawing:
            jpeg = await asyncio.to_thread(picture)
        if jpeg is None:
            return Response(status_code=304, headers=headers)
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    @router.get("/{job_id}/pages/{number}", response_model=ShownPage, responses=described(*REFUSALS, NotFound))
    async def get_page(request: Request, job_id: str, number: Number) -> Response:
        """A page that is read: its blocks in reading order."""
        del job_id, number
        return await intake.serve(request, showing)

    @router.get(
        "/{job_id}/exports/{form}",
        response_class=Response,
        responses={
            200: {"content": {form.media_type: _ANY if form is Form.JSON else _TEXT for form in Form}},
            **_DRAWN,
        },
    )
    async def get_export(request: Request, job_id: str, form: Form) -> Response:
        """A document in another form, once it is read."""
        owner = caller_of(request.scope).name

        def export() -> tuple[Job, BinaryIO]:
            job = job_service.find(job_id, owner)
            return job, _exported(job_service, job, form)

        async with drawing:
            job, file = await asyncio.to_thread(export)
        headers = {
            "Content-Length": str(file.seek(0, 2)),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(_stem(job) + form.suffix, safe='')}",
        }
        return StreamingResponse(_chunks(file), media_type=form.media_type, headers=headers)

    return router


def _document(job_service: JobService, job: Job) -> Document:
    return Document(
        id=job.id,
        name=job.order.name,
        state=_WORDS[job.state],
        pages=job.total,
        done=job.done,
        queue_position=job_service.jobs.queue_position(job) if job.state is State.PENDING else None,
        error=job.error,
        created=job.created,
        expires=job.expires,
        address=f"/api/documents/{job.id}",
    )


def _page(job_service: JobService, job: Job, number: int) -> Page:
    page = job_service.jobs.page(job.id, number - 1)
    if page is None:
        raise NotFound(f"page {number} is not read, or not yet")
    return page


def _shown(page: Page) -> ShownPage:
    body = body_height(page)
    blocks = [
        ShownBlock(
            label=block.label,
            box=block.box,
            text=block.text,
            level=title_level(block, body) if block.label is Label.TITLE else None,
            table=fields.get("table"),
            lines=[line["corners"] for line in fields["lines"]],
        )
        for block, fields in zip(page.blocks, page.to_json()["blocks"], strict=True)
    ]
    width, height = page.size
    return ShownPage(
        number=page.index + 1, width=width, height=height, source=page.source, error=page.error, blocks=blocks
    )


def _scaled(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _exported(job_service: JobService, job: Job, form: Form) -> BinaryIO:
    """The document in this form, at the end of a file that is nowhere else."""
    if job.state is not State.SUCCESS:
        raise NotFound("the document is not read to its end, or not yet: there are no other forms of it")
    document = job_service.jobs.document(job.id) if form is Form.PDF else b""
    source = document if kind_of(document) is Kind.PDF else None
    drawn = form is Form.PDF and source is None
    pages = job_service.redrawn(job) if drawn else ((page, _NOTHING_DRAWN) for page in job_service.jobs.pages(job.id))
    # Closed by whoever sends it.
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with exporting(form, file, name=job.order.name or job.id, source=source) as export:
            for page, picture in pages:
                export.add(page, picture)
    except BaseException:
        file.close()
        raise
    return file


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _stem(job: Job) -> str:
    """Of the names of its files."""
    name = job.order.name.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name or job.id


def _json(content: BaseModel, status: int = 200) -> Response:
    return JSONResponse(content.model_dump(mode="json"), status)


_DRAWN: Final = described(NotFound, InvalidInput, StoreError, StoreUnusable, DeadlineExceeded)
_TEXT: Final = {"schema": {"type": "string"}}
_ANY: Final[dict[str, Any]] = {"schema": {}}
_FORM: Final = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "batch": {"type": "string", "minLength": 16, "maxLength": 64},
        "name": {"type": "string"},
        "pages": {"type": "string"},
        "text_layer": {"type": "string", "enum": list(TEXT_LAYERS)},
    },
    "required": ["file", "batch"],
}
