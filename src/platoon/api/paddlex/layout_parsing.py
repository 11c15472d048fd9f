"""PaddleX serving's `/layout-parsing` and `/restructure-pages`, as PP-StructureV3 and PaddleOCR-VL's gateway have them:
a document in JSON, its blocks, tables and pictures and its Markdown page by page; and its pages put together.

How many documents are parsed at once is bounded for the whole service. Whoever waits for a slot spends his own time,
and frees it when he leaves. Who parses them is a `Pipeline`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, Literal, TypeVar
from uuid import uuid4

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import Response

from platoon.api.fetch import Fetcher
from platoon.api.intake import Incoming, Intake, Work, body_of
from platoon.api.json_body import MAX_KEYS, MAX_VALUES
from platoon.api.paddlex.envelope import Faults, PaddleXRefused, file_of, refusal, success, tree_of, validated
from platoon.api.paddlex.layout_request import MODELS, LayoutRequest, Refusals, RestructureRequest, refusals
from platoon.api.paddlex.pipelines.pipeline import Pipeline
from platoon.api.problems import described
from platoon.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    Overloaded,
    PlatoonError,
    TooLarge,
    Unauthorised,
    Unavailable,
)
from platoon.settings import GatewaySettings

_log = logging.getLogger(__name__)

Asked = TypeVar("Asked", LayoutRequest, RestructureRequest)
_SAID: Final = {500: "Internal server error", 504: "Gateway timeout"}
"""In these words clients know them; what it was stands in the log."""
_PAGES_KEYS: Final = 500_000
_PAGES_VALUES: Final = 2_000_000
"""Of parsed pages that come back: a hundred full ones, with the corners of all their lines."""


class NotJson(InvalidInput):
    """The body is no JSON."""

    status = 400


class PaddleXSuccess(BaseModel):
    """The answer in PaddleX serving's contract."""

    logId: str  # noqa: N815 - the contract's names
    errorCode: Literal[0]  # noqa: N815
    errorMsg: str  # noqa: N815
    result: dict[str, Any]


def routes(pipeline: Pipeline, intake: Intake, settings: GatewaySettings, fetcher: Fetcher | None) -> APIRouter:
    """The gateway's endpoints.

    Args:
        fetcher: none: files are not fetched.
    """
    router = APIRouter(tags=["documents"])

    async def parse(asked: LayoutRequest, deadline: float) -> Mapping[str, Any]:
        return await pipeline.parse(asked, await file_of(asked.file, fetcher), deadline=deadline)

    async def restructure(asked: RestructureRequest, deadline: float) -> Mapping[str, Any]:
        return await pipeline.restructure(asked, deadline=deadline)

    parsing = PagesCall(
        "layout-parsing", LayoutRequest, pipeline.cannot, parse, settings, settings.max_inference_requests
    )
    restructuring = PagesCall(
        "restructure-pages",
        RestructureRequest,
        pipeline.cannot_restructure,
        restructure,
        settings,
        settings.max_other_requests,
        most=(_PAGES_KEYS, _PAGES_VALUES),
    )

    @router.post(
        "/layout-parsing", response_model=PaddleXSuccess, openapi_extra=_body(LayoutRequest), responses=_REFUSALS
    )
    async def layout_parsing(request: Request) -> Response:
        """Parse a document: blocks in reading order, tables as HTML, Markdown with its pictures, for each page."""
        return await intake.serve(request, parsing)

    @router.get("/layout-parsing", response_model=PaddleXRefused)
    def probe() -> dict[str, Any]:
        """Whether this is served here, as RAGFlow asks before it sends documents: any answer will do."""
        return {"logId": str(uuid4()), "errorCode": 0, "errorMsg": "POST a document as JSON: {file, fileType}"}

    @router.post(
        "/restructure-pages",
        response_model=PaddleXSuccess,
        openapi_extra=_body(RestructureRequest),
        responses=_REFUSALS,
    )
    async def restructure_pages(request: Request) -> Response:
        """Put parsed pages together: tables that go on over page breaks, levels of headings, all pages as one."""
        return await intake.serve(request, restructuring)

    return router


def refuse(error: PlatoonError, _: HTTPConnection) -> Response:
    """A refusal, as the contract has it."""
    return refusal(error)


class PagesCall(Generic[Asked]):
    """One of the two calls, as an `Endpoint`.

    Args:
        cannot: what is refused by name.
        work: does it, by a point of `time.monotonic()`.
        at_once: so many are worked on; more wait.
        most: keys and values in the JSON of a body.
    """

    def __init__(
        self,
        name: str,
        model: type[Asked],
        cannot: Refusals,
        work: Callable[[Asked, float], Awaitable[Mapping[str, Any]]],
        settings: GatewaySettings,
        at_once: int,
        most: tuple[int, int] = (MAX_KEYS, MAX_VALUES),
    ) -> None:
        self.name = name
        self._model: type[Asked] = model
        self._work: Callable[[Asked, float], Awaitable[Mapping[str, Any]]] = work
        self._cannot, self._settings, self._most = cannot, settings, most
        self._slots = asyncio.Semaphore(at_once)

    async def take(self, incoming: Incoming) -> Work:
        """See `Endpoint.take`."""
        deadline = time.monotonic() + self._settings.timeout_s
        asked, left_out = await asyncio.to_thread(self._asked, await incoming.body(), incoming)

        async def work() -> Response:
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())), self._slots:
                    result = await self._work(asked, deadline)
            except DeadlineExceeded:
                raise
            except TimeoutError as error:
                raise DeadlineExceeded(f"not done within {self._settings.timeout_s:g} s") from error
            for page in result["layoutParsingResults"] if left_out else ():
                page["prunedResult"]["left_out"] = left_out
            return await success(result, incoming)

        return work

    def refuse(self, error: PlatoonError, incoming: Incoming) -> Response:
        """See `Contract.refuse`."""
        if error.status in _SAID:
            _log.warning("%s: %s", self.name, error)
        return refusal(error, incoming, message=_SAID.get(error.status, ""))

    def _asked(self, body: bytes, incoming: Incoming) -> tuple[Asked, list[str]]:
        """What a body asks for, and what of it is left out. Raises NotJson, Faults."""
        try:
            tree = tree_of(body, incoming, max_keys=self._most[0], max_values=self._most[1])
        except Faults:
            raise
        except ValueError as error:
            raise NotJson(f"Invalid JSON: {error}") from None
        asked = validated(self._model, tree)
        refused = refusals(asked, self._cannot)
        left_out = [name for name in refused if name in MODELS] if self._settings.unavailable == "leave-out" else []
        if len(left_out) < len(refused):
            raise Faults.unsupported({name: why for name, why in refused.items() if name not in left_out})
        return asked.model_copy(update=dict.fromkeys(left_out)), left_out


def _body(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    return body_of({"application/json": _inlined(schema, schema.pop("$defs", {}))})


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with its definitions in their places: their names mean nothing inside the API's description."""
    if isinstance(schema, dict):
        if (name := schema.get("$ref", "").rpartition("/")[2]) in definitions:
            return _inlined(definitions[name], definitions)
        return {key: _inlined(value, definitions) for key, value in schema.items()}
    return [_inlined(value, definitions) for value in schema] if isinstance(schema, list) else schema


_REFUSALS: Final = described(
    *(NotJson, Unauthorised, Forbidden, TooLarge, InvalidInput, Overloaded, Unavailable, DeadlineExceeded),
    form=PaddleXRefused,
)
