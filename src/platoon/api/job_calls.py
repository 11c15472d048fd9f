"""Calls about jobs: what the contracts have in common in which documents are handed in, asked for and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from starlette.responses import Response

from platoon.api.fetch import check_url
from platoon.api.intake import Contract, Fields, Incoming, Work, content_type
from platoon.api.problems import as_problem
from platoon.documents.job_service import JobService
from platoon.documents.jobs import PRIORITIES, Job, Order
from platoon.documents.read import Options
from platoon.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    Overloaded,
    PlatoonError,
    StoreError,
    StoreUnusable,
    Unauthorised,
)

TextLayer = Literal["auto", "ignore", "only"]
TEXT_LAYERS: Final[Mapping[str, TextLayer]] = {"auto": "auto", "ignore": "ignore", "only": "only"}
REFUSALS: Final = (Unauthorised, Forbidden, Overloaded, StoreError, StoreUnusable, DeadlineExceeded)
"""Of any call about jobs that needs a key."""


class JobContract:
    """The contract of those that word faults as all of this API does."""

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
        job_service: JobService,
        read: Callable[[Incoming], Awaitable[tuple[bytes, Order]]],
        accepted: Callable[[Job], Response],
    ) -> None:
        self.name, self.refuse = contract.name, contract.refuse
        self._job_service, self._read, self._accepted = job_service, read, accepted

    async def take(self, incoming: Incoming) -> Work:
        """See `Endpoint.take`."""
        declared = incoming.request.headers.get("content-length", "")
        n_bytes = (
            int(declared) if declared.isdecimal() and content_type(incoming.request) == "multipart/form-data" else 0
        )
        await asyncio.to_thread(self._job_service.check_room, incoming.caller, n_bytes)
        document, order = await self._read(incoming)

        async def work() -> Response:
            # Shielded: a document that was taken is announced to whoever is still there.
            return self._accepted(await asyncio.shield(asyncio.to_thread(self._job_service.add, order, document)))

        return work


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
