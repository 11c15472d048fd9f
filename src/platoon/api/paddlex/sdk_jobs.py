"""`/api/v2/ocr/jobs`: the job API that PaddleOCR's SDK, and what is built on it, speaks.

Success is `{code: 0, msg, data}`, an error `{code, msg}` with the HTTP status as its code; what does not fit is 400, as
the SDK keeps that apart from what broke. The result is fetched without a token, from an address that is signed and
holds for an hour: JSON lines, one for each page. Its models stand for what is said of a page: the lines, or the whole
layout. What reads them is ours in any case.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import pydantic_core
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response, StreamingResponse

from platoon.api.browser import Hosts
from platoon.api.fetch import Fetcher
from platoon.api.intake import Fields, Incoming, Intake, body_of, content_type
from platoon.api.job_calls import REFUSALS, JobCall, Submission
from platoon.api.json_body import check_json, faults_of
from platoon.api.paddlex import ocr
from platoon.api.paddlex.layout_request import OWN, LayoutOptions, refusals
from platoon.api.paddlex.layout_result import Shown, data_info, layout_result, overall
from platoon.api.problems import described, headers_for, message_of
from platoon.documents.job_service import JobService, signature_of
from platoon.documents.jobs import Job, Order, State
from platoon.documents.page import Page
from platoon.documents.read import Options
from platoon.errors import InvalidInput, NotFound, PlatoonError, StoreError, StoreUnusable, TooLarge, Unsupported
from platoon.media.frame import Pixels
from platoon.ocr.pages import Kind, kind_of

LINES: Final = ("PP-OCRv5", "PP-OCRv5-latin", "PP-OCRv6")
"""Models whose result is `ocrResults`."""
LAYOUTS: Final = ("PP-StructureV3", "PaddleOCR-VL", "PaddleOCR-VL-1.5", "PaddleOCR-VL-1.6")
"""Models whose result is `layoutParsingResults`."""
_STATES: Final = {
    State.PENDING: "pending",
    State.STARTED: "running",
    State.SUCCESS: "done",
    State.FAILURE: "failed",
    State.REVOKED: "failed",
}


_PREFIX: Final = "/api/v2/ocr/jobs"
_RESULT_S: Final = 3600
"""The address of a result is good for so long, from when it is given."""
Until = Annotated[int, Query(ge=0, le=2**40)]
Signature = Annotated[str, Query(max_length=64)]


class JobRequest(BaseModel):
    """A job whose file is at an address."""

    model_config = ConfigDict(extra="forbid")

    fileUrl: Annotated[str, Field(min_length=1, json_schema_extra={"format": "uri"})]  # noqa: N815 - the contract's names
    model: Annotated[str, Field(json_schema_extra={"enum": [*LINES, *LAYOUTS]})]
    optionalPayload: dict[str, Any] = Field(default_factory=dict)  # noqa: N815
    pageRanges: str | None = None  # noqa: N815
    batchId: Annotated[str, Field(min_length=1, max_length=256)] | None = None  # noqa: N815


class Refused(BaseModel):
    """An error."""

    code: int
    msg: str


class Added(BaseModel):
    """A job that was taken."""

    jobId: str  # noqa: N815


class AddedReply(BaseModel):
    """The answer to it."""

    code: Literal[0]
    msg: str
    data: Added


class Extracted(BaseModel):
    """How far a job is."""

    totalPages: int  # noqa: N815
    extractedPages: int  # noqa: N815
    startTime: str | None  # noqa: N815
    endTime: str | None  # noqa: N815


class ResultUrl(BaseModel):
    """Where a result is."""

    jsonUrl: str  # noqa: N815


class Standing(BaseModel):
    """Where a job stands."""

    jobId: str  # noqa: N815
    model: str
    state: Literal["pending", "running", "done", "failed"]
    extractProgress: Extracted  # noqa: N815
    resultUrl: ResultUrl | None = None  # noqa: N815
    errorMsg: str | None = None  # noqa: N815


class StandingReply(BaseModel):
    """The answer to that question."""

    code: Literal[0]
    msg: str
    data: Standing


class Batch(BaseModel):
    """The jobs of a batch."""

    batchId: str  # noqa: N815
    extractResult: list[Standing]  # noqa: N815


class BatchReply(BaseModel):
    """The answer to that question."""

    code: Literal[0]
    msg: str
    data: Batch


class SdkContract:
    """The contract of these calls."""

    name = "sdk-jobs"

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        return refuse(error, incoming.request)


def refuse(error: PlatoonError, _: HTTPConnection) -> Response:
    """A refusal, as the contract has it."""
    status = _STATUSES.get(error.status, error.status)
    return JSONResponse({"code": status, "msg": message_of(error)}, status, headers_for(error))


def routes(job_service: JobService, intake: Intake, fetcher: Fetcher | None, hosts: Hosts) -> APIRouter:
    """The calls of `/api/v2/ocr/jobs`.

    Args:
        fetcher: none: files are not fetched.
    """
    router = APIRouter(prefix=_PREFIX, tags=["documents"])
    jobs, contract = job_service.jobs, SdkContract()

    async def read(incoming: Incoming) -> tuple[bytes, Order]:
        if content_type(incoming.request) != "application/json":
            fields = await incoming.fields("file")
            document = fields.file("file")
            return document, order_of(_request_in(fields), owner=incoming.caller)
        try:
            body = await incoming.body()
            check_json(body)
            tree = pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError as error:
            if isinstance(error, PlatoonError):
                raise
            raise InvalidInput(f"the body is no JSON: {error}") from None
        request = _validated(tree)
        order = order_of(request, owner=incoming.caller)
        if fetcher is None:
            raise InvalidInput("fileUrl: this service fetches no files; send it as file in a multipart body")
        try:
            return await fetcher.fetch(request.fileUrl), order
        except TooLarge as error:
            raise TooLarge(f"fileUrl: {error}") from error
        except InvalidInput as error:
            raise InvalidInput(f"fileUrl: {error}") from error

    def accepted(job: Job) -> Response:
        return _success({"jobId": job.id})

    def standing(incoming: Incoming) -> Response:
        job = job_service.find(incoming.request.path_params["job_id"], incoming.caller)
        return _success(_standing(job, hosts.base_url(incoming.request.scope)))

    def batch_standing(incoming: Incoming) -> Response:
        batch = incoming.request.path_params["batch_id"]
        found = jobs.batch(batch, incoming.caller)
        if not found:
            raise NotFound(f"no batch {batch[:60]!r}: there never was one, or it has outlived its time")
        results = [_standing(job, hosts.base_url(incoming.request.scope)) for job in found]
        return _success({"batchId": batch, "extractResult": results})

    submission = Submission(contract, job_service, read, accepted)
    asking, asking_batch = JobCall(contract, standing), JobCall(contract, batch_standing)

    @router.post("", response_model=AddedReply, openapi_extra=_BODY, responses=_refusals(InvalidInput, TooLarge))
    async def add(request: Request) -> Response:
        """Read a document in the background, as PaddleOCR's SDK asks for it.

        Multipart with `file`, `model` and `optionalPayload` (JSON), or JSON with `fileUrl`. `pageRanges` is as in
        `1-3,7`; `batchId` is the caller's own name for several jobs.
        """
        return await intake.serve(request, submission)

    @router.get("/batch/{batch_id}", response_model=BatchReply, responses=_refusals(NotFound))
    async def get_batch(request: Request, batch_id: str) -> Response:
        """Where the jobs of a batch stand."""
        del batch_id
        return await intake.serve(request, asking_batch)

    @router.get("/{job_id}", response_model=StandingReply, responses=_refusals(NotFound))
    async def get_job(request: Request, job_id: str) -> Response:
        """Where a job stands, and where its result is."""
        del job_id
        return await intake.serve(request, asking)

    return router


def result_routes(job_service: JobService) -> APIRouter:
    """Where results are fetched, at addresses that `routes` give. They are signed, and that is what guards them."""
    router = APIRouter(prefix=_PREFIX, tags=["documents"])

    @router.get(
        "/{job_id}/result.jsonl",
        response_class=Response,
        responses={
            200: {"content": {_JSON_LINES: {"schema": {"type": "string"}}}},
            **described(NotFound, StoreError, StoreUnusable),
        },
    )
    def get_result(job_id: str, until: Until = 0, signature: Signature = "") -> Response:
        """The result: a line of JSON for each page. Needs no key, only an address that was given within the hour."""
        job = job_service.at(job_id, until, signature)
        if not job.order.form:
            raise NotFound(f"the job {job_id[:60]!r} was handed in over another API: it has no such result")
        if job.state is not State.SUCCESS:
            raise NotFound(f"the job {job_id[:60]!r} was not read to its end")
        return StreamingResponse(result_lines(job_service, job), media_type=_JSON_LINES)

    return router


def order_of(request: JobRequest, *, owner: str) -> Order:
    """What a request asks for. Raises InvalidInput, naming the field."""
    if request.model not in (*LINES, *LAYOUTS):
        raise InvalidInput(f"model: {request.model[:60]!r} is not known; there are {', '.join((*LINES, *LAYOUTS))}")
    options, _ = asked(request.model, request.optionalPayload)
    form = json.dumps({"model": request.model, "payload": request.optionalPayload})
    return Order(replace(options, pages=request.pageRanges or ""), owner=owner, batch=request.batchId, form=form)


def asked(model: str, payload: Mapping[str, Any]) -> tuple[Options, Shown | None]:
    """How a document is read, and, of a layout, how it is shown. Raises InvalidInput, naming the field."""
    if model in LINES:
        request = ocr.validated({**payload, "file": "-"})
        if request.visualize:
            raise InvalidInput("visualize: a job sends no pictures of lines; leave it out or send false")
        options = Options(text_layer="ignore", layout=False, tables=False, read_options=request.read_options())
        return options, None
    try:
        layout = LayoutOptions.model_validate(payload)
    except ValidationError as error:
        raise InvalidInput(_faults(error)) from None
    refused = refusals(layout, OWN)
    if layout.restructurePages:
        refused["restructurePages"] = "is not available: a job gives each page alone; see /restructure-pages"
    if refused:
        raise InvalidInput("; ".join(f"{name} {why}" for name, why in refused.items()))
    return layout.options(), layout.shown()


def result_lines(job_service: JobService, job: Job) -> Iterator[bytes]:
    """The result, a line for each page."""
    wanted = json.loads(job.order.form)
    options, shown = asked(wanted["model"], wanted["payload"])
    kind = kind_of(job_service.jobs.document(job.id))
    pages: Iterable[tuple[Page, Pixels | None]] = ((page, None) for page in job_service.jobs.pages(job.id))
    if shown is not None and (shown.images or shown.visualize):
        pages = job_service.redrawn(job)
    for page, picture in pages:
        info = data_info(kind, [page.size]) | ({} if kind is Kind.IMAGE else {"numPages": job.done})
        if shown is None:
            pruned = overall(page.lines, options.read_options, page.size) | (
                {} if page.error is None else {"error": page.error}
            )
            result: dict[str, Any] = {"ocrResults": [{"prunedResult": pruned}]}
        else:
            layout = layout_result(page, picture, options, shown, page_count=job.done)
            result = {"layoutParsingResults": [layout]}
        line = {"result": {**result, "dataInfo": info}}
        yield json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _standing(job: Job, base_url: str) -> dict[str, Any]:
    standing: dict[str, Any] = {
        "jobId": job.id,
        "model": json.loads(job.order.form)["model"] if job.order.form else "",
        "state": _STATES[job.state],
        "extractProgress": {
            "totalPages": job.total or 0,
            "extractedPages": job.done,
            "startTime": _moment(job.started),
            "endTime": _moment(job.ended),
        },
    }
    if job.state is State.SUCCESS and job.order.form:
        until = int(time.time()) + _RESULT_S
        query = f"until={until}&signature={signature_of(job, until)}"
        standing["resultUrl"] = {"jsonUrl": f"{base_url}{_PREFIX}/{job.id}/result.jsonl?{query}"}
    elif job.state is State.REVOKED:
        standing["errorMsg"] = "cancelled"
    elif job.state is State.FAILURE:
        standing["errorMsg"] = job.error
    return standing


def _moment(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")


def _request_in(fields: Fields) -> JobRequest:
    """What a form asks for."""
    tree: dict[str, Any] = {"fileUrl": "-", "model": fields.text("model")}
    if payload := fields.text("optionalPayload"):
        try:
            tree["optionalPayload"] = pydantic_core.from_json(payload, allow_inf_nan=False)
        except ValueError as error:
            raise InvalidInput(f"optionalPayload: is no JSON: {error}") from None
    for name in ("pageRanges", "batchId"):
        if value := fields.text(name):
            tree[name] = value
    return _validated(tree)


def _validated(tree: Any) -> JobRequest:
    try:
        return JobRequest.model_validate(tree)
    except ValidationError as error:
        raise InvalidInput(_faults(error)) from None


def _faults(error: ValidationError) -> str:
    return "; ".join(fault["msg"] for fault in faults_of(error))


def _success(data: dict[str, Any]) -> Response:
    return JSONResponse({"code": 0, "msg": "Success", "data": data})


def _refusals(*errors: type[PlatoonError]) -> dict[int | str, dict[str, Any]]:
    found = described(*REFUSALS, *errors, form=Refused)
    return {_STATUSES.get(int(status), status): refusal for status, refusal in found.items()}


_STATUSES: Final = {InvalidInput.status: 400, Unsupported.status: 400, StoreError.status: 503}
"""As which statuses these errors leave: the SDK knows no others of their kind."""
_JSON_LINES: Final = "application/jsonl"
_MODEL: Final = {"type": "string", "enum": [*LINES, *LAYOUTS]}
_FORM: Final = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "model": _MODEL,
        "optionalPayload": {"type": "string", "contentMediaType": "application/json"},
        "pageRanges": {"type": "string"},
        "batchId": {"type": "string", "maxLength": 256},
    },
    "required": ["file", "model"],
}
_BODY: Final = body_of({"multipart/form-data": _FORM, "application/json": JobRequest.model_json_schema()})
