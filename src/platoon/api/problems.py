"""How errors leave: `{"error": {"code", "message", "retry"}}` with the error's own status.

What Platoon raised on purpose goes to the caller in words; anything else is logged, and the caller learns only that
it happened.
"""

import errno
import math
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from platoon.api.json_body import few_faults
from platoon.errors import InvalidInput, NotFound, Overloaded, PlatoonError, Unauthorised, Unavailable

_RETRY_AFTER_S = 1.0
_MAX_MESSAGE = 1_000
"""Characters of a message; the rest is cut off."""


class ErrorDetail(BaseModel):
    """What happened."""

    code: str
    message: str
    retry: bool


class Problem(BaseModel):
    """An error."""

    error: ErrorDetail


def described(*errors: type[PlatoonError], form: Any = Problem) -> dict[int | str, dict[str, Any]]:
    """With which statuses these errors leave, and in which form: for the API's description."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        by_status[error.status] = {"model": form, "description": (error.__doc__ or "").strip().partition("\n")[0]}
    return by_status


def install(app: Starlette) -> None:
    """Let `app` answer every error in the one form."""
    app.add_exception_handler(PlatoonError, _platoon_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)


def problem(status: int, code: str, message: str, *, retry: bool = False) -> JSONResponse:
    """One error as a response; `retry`: the same call may succeed later."""
    return JSONResponse({"error": {"code": code, "message": message, "retry": retry}}, status)


def as_problem(error: PlatoonError) -> JSONResponse:
    """An error of Platoon's own as a response."""
    response = problem(error.status, type(error).__name__, message_of(error), retry=error.retry)
    response.headers.update(headers_for(error))
    return response


def message_of(error: PlatoonError) -> str:
    """What an error says to a caller; what it repeats of what he sent does not make the answer long."""
    text = str(error)
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"


def headers_for(error: PlatoonError) -> dict[str, str]:
    """What goes with an error in any contract: when to try again, how to authenticate."""
    if isinstance(error, Unauthorised):
        return {"WWW-Authenticate": "Bearer"}
    if error.retry:
        wait_s = error.retry_after_s if isinstance(error, Overloaded) else _RETRY_AFTER_S
        return {"Retry-After": str(max(1, math.ceil(wait_s)))}
    return {}


def is_out_of_descriptors(error: BaseException) -> bool:
    """Whether this process, or the system, has as many files and connections open as it may."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def public_error(error: Exception) -> PlatoonError:
    """What a caller gets in place of an error that nobody raised on purpose."""
    if is_out_of_descriptors(error):
        return Unavailable("no file descriptors are left; try again in a moment")
    return PlatoonError("an error inside Platoon; its log says more")


async def _platoon_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PlatoonError)
    return as_problem(error)


async def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [{**fault, "loc": fault["loc"][1:]} for fault in error.errors()]
    return as_problem(InvalidInput("; ".join(fault["msg"] for fault in few_faults(faults, len(faults)))))


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(cause := error.__cause__, PlatoonError):  # FastAPI could not read a body, and this is why
        return as_problem(cause)
    if error.status_code == 404:
        return as_problem(NotFound(f"nothing at {request.url.path[:200]}; what there is: /docs"))
    if error.status_code == 400:  # a form that cannot be read
        return as_problem(InvalidInput(error.detail))
    response = problem(error.status_code, "Refused", str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    # The server logs the error itself once this response is out.
    if is_out_of_descriptors(error):
        return as_problem(public_error(error))
    return problem(500, "Unexpected", f"an error inside Platoon ({type(error).__name__}); its log says more")
