"""What all contracts of PaddleX serving have in common: JSON in an envelope, faults named field by field, and files
that come as base64 or by URL.

Success is `{logId, errorCode: 0, errorMsg: "Success", result}`, an error the same without `result` and with its HTTP
status as `errorCode`. A caller's own `logId` comes back, else a new one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import pydantic_core
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response

from platoon.api.fetch import Fetcher
from platoon.api.intake import Incoming
from platoon.api.json_body import MAX_KEYS, MAX_VALUES, check_json, faults_of
from platoon.api.problems import headers_for, message_of
from platoon.errors import InvalidInput, PlatoonError
from platoon.redaction import redact

Request = TypeVar("Request", bound=BaseModel)
MAX_LOG_ID = 256
_BLANKS = string.whitespace.encode()


class PaddleXRefused(BaseModel):
    """An error in PaddleX serving's contract."""

    logId: str  # noqa: N815 - the contract's names
    errorCode: int  # noqa: N815
    errorMsg: str  # noqa: N815


class Faults(InvalidInput):
    """Fields that cannot be used, as the contract words them: `{type, loc, msg}` each."""

    def __init__(self, faults: Sequence[Mapping[str, str]], *, status: int = 422) -> None:
        super().__init__("; ".join(fault["msg"] for fault in faults))
        self.faults = [{**fault, "msg": redact(fault["msg"])} for fault in faults]
        self.status = status

    @classmethod
    def of(cls, field: str, message: str, *, status: int = 422) -> Faults:
        """One field's fault."""
        return cls([{"type": "value_error", "loc": f"body.{field}", "msg": f"{field} {message}"}], status=status)

    @classmethod
    def unsupported(cls, fields: Mapping[str, str]) -> Faults:
        """Fields that ask for what cannot be done, and why."""
        return cls(
            [{"type": "unsupported", "loc": f"body.{name}", "msg": f"{name} {why}"} for name, why in fields.items()]
        )


def tree_of(body: bytes, incoming: Incoming, *, max_keys: int = MAX_KEYS, max_values: int = MAX_VALUES) -> Any:
    """The JSON in a body; the caller's `logId` is kept for the answer, whatever becomes of the call.

    Raises:
        Faults: there is too much in it. ValueError: it is no JSON.
    """
    try:
        check_json(body, max_keys=max_keys, max_values=max_values)
    except InvalidInput as error:
        raise Faults([{"type": "too_much", "loc": "body", "msg": str(error)}]) from None
    tree = pydantic_core.from_json(body, allow_inf_nan=False)
    if isinstance(tree, dict) and isinstance(log_id := tree.get("logId"), str) and len(log_id) <= MAX_LOG_ID:
        incoming.log_id = log_id
    return tree


def validated(model: type[Request], tree: Any) -> Request:
    """The request in a tree of JSON. Raises Faults."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise Faults(faults_of(error)) from None


async def file_of(file: str, fetcher: Fetcher | None) -> bytes:
    """The bytes of the field `file`: base64, or what is at a URL.

    Args:
        fetcher: none: URLs are refused.

    Raises:
        Faults: it is neither, or cannot be had.
    """
    if file.startswith(("http://", "https://")):
        if fetcher is None:
            raise Faults.of("file", "is a URL, and this service fetches none; send it as base64")
        try:
            return await fetcher.fetch(file)
        except InvalidInput as error:
            raise Faults.of("file", f"cannot be had: {error}", status=error.status) from error
    try:
        return await asyncio.to_thread(_decode, file)
    except ValueError:
        raise Faults.of("file", "is neither base64 nor an http or https URL") from None


async def success(result: Mapping[str, Any], incoming: Incoming) -> Response:
    """What was asked for."""
    content = {"logId": log_id(incoming), "errorCode": 0, "errorMsg": "Success", "result": result}
    # Pages come with their pictures: megabytes, which are not turned into text on the event loop.
    return Response(await asyncio.to_thread(as_json, content), media_type="application/json")


def refusal(error: PlatoonError, incoming: Incoming | None = None, *, message: str = "") -> Response:
    """Why it is not done; `message` takes the place of the error's own words.

    Args:
        incoming: none: the call was refused before it was taken in.
    """
    if error.status == 422 and not message:
        about_file = {"type": "value_error", "loc": "body.file", "msg": message_of(error)}
        message = json.dumps(error.faults if isinstance(error, Faults) else [about_file])
    content = {"logId": log_id(incoming), "errorCode": error.status, "errorMsg": message or message_of(error)}
    return JSONResponse(content, error.status, headers_for(error))


def log_id(incoming: Incoming | None) -> str:
    """The caller's name for a call, or a new one."""
    return (incoming.log_id if incoming else None) or str(uuid4())


def as_json(content: Any) -> bytes:
    """Compact, in UTF-8."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _decode(file: str) -> bytes:
    """Raises ValueError for what is no base64."""
    if file.startswith("data:"):
        file = file.partition(",")[2]
    # Blanks are taken out in one go: `split` would make an object of each word, and a body may hold millions of them.
    return base64.b64decode(file.encode("ascii").translate(None, _BLANKS), validate=True)
