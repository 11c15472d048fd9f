"""`/api/session`: the page asks for a key once, and is known by its cookie from then on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from platoon.api.access import Access, caller_of
from platoon.api.browser import Hosts
from platoon.api.problems import described
from platoon.errors import Overloaded, Unauthorised
from platoon.settings import Scope


class Shown(BaseModel):
    """A key that is shown."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(max_length=1024)]


class Session(BaseModel):
    """Whose key it is, and what it may do."""

    key: str
    """Its name; empty where no keys are set."""
    scopes: list[Scope]
    """With those that others imply."""


def login_routes(access: Access, hosts: Hosts) -> APIRouter:
    """How a session begins; the one call that takes a key in its body."""
    router = APIRouter(tags=["session"])

    @router.post("/api/session", response_model=Session, responses=described(Unauthorised, Overloaded))
    def begin(request: Request, shown: Shown) -> Response:
        """Show a key once: the answer sets a cookie that stands for it in this browser."""
        if not access.keyed:
            return JSONResponse(Session(key="", scopes=[]).model_dump())
        caller = access.known(shown.key.strip(), request.client.host if request.client else None)
        assert caller.key is not None
        response = JSONResponse(Session(key=caller.name, scopes=sorted(caller.scopes)).model_dump())
        response.set_cookie(
            access.sessions.cookie,
            access.sessions.begin(caller.key),
            max_age=int(access.sessions.lasts_s),
            secure=_is_https(request, hosts),
            httponly=True,
            samesite="strict",
        )
        return response

    return router


def session_routes(access: Access, hosts: Hosts) -> APIRouter:
    """Who a caller is, and how a session ends."""
    router = APIRouter(tags=["session"])

    @router.get("/api/session", response_model=Session)
    def who(request: Request) -> Session:
        """Whose key this caller has shown, and what it may do."""
        caller = caller_of(request.scope)
        return Session(key=caller.name, scopes=sorted(caller.scopes))

    @router.delete("/api/session", status_code=204)
    def end(request: Request) -> Response:
        """End the session: its cookie is worth nothing from now on."""
        access.sessions.end(request.headers.get("cookie", ""))
        response = Response(status_code=204)
        if access.keyed:
            response.delete_cookie(
                access.sessions.cookie, secure=_is_https(request, hosts), httponly=True, samesite="strict"
            )
        return response

    return router


def _is_https(request: Request, hosts: Hosts) -> bool:
    return request.scope["scheme"] == "https" or (hosts.public_url or "").startswith("https:")
