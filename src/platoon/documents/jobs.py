"""Documents that are read in the background: what a job is, and what a store of jobs promises.

A job is added with its document, and is durable from then on. Whoever reads it claims it, keeps page by page, and ends
it. A claim is held by a lease that is renewed; when the holder dies, the lease runs out and another goes on after the
last page that was kept. Whoever lost a claim can neither keep a page nor end the job, and each page has one place, so
that no page is in a result twice. Reading is left to `runner`, keeping to `job_store` and `scale.redis_jobs`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from pydantic import TypeAdapter

from platoon.documents.page import Page
from platoon.documents.read import Options
from platoon.errors import PlatoonError

PRIORITIES: Final = range(-9, 10)
"""Of jobs; higher goes first."""
_BACKOFF_S: Final = 60.0


class State(StrEnum):
    """Where a job stands."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"
    """Cancelled."""

    @property
    def ended(self) -> bool:
        """Whether it stays so."""
        return self in (State.SUCCESS, State.FAILURE, State.REVOKED)


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller asks for besides the document."""

    options: Options = field(default_factory=Options)
    name: str = ""
    """Of the document, as the caller calls it."""
    priority: int = 0
    """One of `PRIORITIES`."""
    owner: str = ""
    """Whose key it came with: nobody else gets to see it."""
    batch: str | None = None
    """The caller's own name for several jobs."""
    webhook: str | None = None
    """URL that is told once the job has ended."""
    form: str = ""
    """In which form the result is wanted, as the contract calls it."""

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` is its inverse."""
        told: dict[str, Any] = _ORDER.dump_python(self, mode="json")
        return told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """The order that `to_json` told."""
        return _ORDER.validate_python(data)


_ORDER: Final = TypeAdapter(Order)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands."""

    id: str
    secret: str
    """Signs the addresses at which the result may be fetched without a key; never told."""
    order: Order
    state: State
    created: float
    """Seconds since 1970, as the others."""
    started: float | None = None
    ended: float | None = None
    expires: float | None = None
    """When it will be forgotten; not before it has ended."""
    attempts: int = 0
    """How often it was begun since a page was last kept."""
    total: int | None = None
    """Pages that are asked for; not known before it is opened."""
    done: int = 0
    """Pages that are kept."""
    error: str | None = None
    """Why it failed; while it waits for another attempt, why the last one did."""


class Claim(NamedTuple):
    """The right to work on a job, as long as its lease is renewed."""

    job: Job
    holder: str


class Lost(Exception):
    """The claim is no longer held: the job was cancelled, or its lease ran out and another has it."""


class Jobs(Protocol):
    """A store of jobs. Safe from any thread, and shared by several processes.

    Raises:
        StoreError: from every method, where the store cannot be written or read.
    """

    lease_s: float

    def add(self, order: Order, document: bytes) -> Job:
        """Keep a job; durable on return. Raises Overloaded where too many wait."""

    def get(self, job_id: str) -> Job | None:
        """The job of this id."""

    def batch(self, batch: str, owner: str) -> list[Job]:
        """The jobs of a caller's batch, oldest first."""

    def waiting(self) -> int:
        """How many jobs wait to be begun."""

    def place(self, job: Job) -> int | None:
        """How manyeth a job is of those that wait, from 1; none: it does not wait."""

    def document(self, job_id: str) -> bytes:
        """The file. Raises NotFound."""

    def pages(self, job_id: str) -> Iterator[Page]:
        """The pages that are kept, in order."""

    def page(self, job_id: str, index: int) -> Page | None:
        """The page `index`, if it is kept."""

    def indices(self, job_id: str) -> set[int]:
        """Of the pages that are kept."""

    def claim(self, holder: str, job_id: str | None = None) -> Claim | None:
        """The next job that is due, begun; or this one. None: there is none, or somebody works on it."""

    def renew(self, claim: Claim) -> bool:
        """Hold on for `lease_s` more; whether the claim is still held."""

    def begin(self, claim: Claim, total: int) -> None:
        """So many pages are asked for. Raises Lost."""

    def keep(self, claim: Claim, page: Page) -> None:
        """Keep a page, or replace it; durable on return. Raises Lost."""

    def finish(self, claim: Claim, error: str | None = None) -> None:
        """End the job, well or with why it failed. Nothing happens where the claim is lost."""

    def retry(self, claim: Claim, error: str) -> None:
        """Let it be tried again after a while, or fail where it was tried too often. As `finish`."""

    def release(self, claim: Claim) -> None:
        """Let anybody go on with it at once, as if this attempt had not been. As `finish`."""

    def cancel(self, job_id: str) -> None:
        """End a job that has not ended; whoever holds it has lost it."""

    def sweep(self) -> int:
        """Forget what has expired; returns how many jobs."""

    def due_webhook(self) -> Job | None:
        """A job that has ended and of which its webhook is to be told now; tried again unless `told`."""

    def told(self, job_id: str) -> None:
        """Its webhook has been told, or never will be."""

    def close(self) -> None:
        """Let go of what is open."""


def backoff_s(attempts: int) -> float:
    """How long to wait before the next attempt: 1, 2, 4 … seconds, at most a minute."""
    return min(_BACKOFF_S, 2.0 ** max(0, attempts - 1))


def too_often(attempts: int) -> str:
    """Why a job has failed whose workers died."""
    return f"reading it was begun {attempts} times without getting a page further: it may take too much memory"


def new_secret() -> str:
    """What nobody can guess."""
    return secrets.token_urlsafe(24)


def reason(error: Exception) -> str:
    """What a caller is told of an error."""
    if isinstance(error, PlatoonError):
        return str(error)
    return f"an error inside Platoon ({type(error).__name__}); its log says more"
