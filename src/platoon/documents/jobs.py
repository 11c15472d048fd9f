"""Documents that are read in the background: what a job is, and what a store of jobs promises.

A job is added with its document, and is durable from then on. Whoever reads it claims it, keeps page by page, and ends
it. A claim is held by a lease that is renewed; when the holder dies, the lease runs out and another goes on after the
last page that was kept. Whoever lost a claim can neither keep a page nor end the job, and each page has one place, so
that no page is in a result twice. Reading is left to `runner`, keeping to `job_store` and `scale.redis_jobs`.

Callers do not get into each other's way: each owner (a key's name; without keys there is one) has a share of the queue
and of the bytes, and of one priority the owners take turns. Nothing waits for the clock of a machine: what is due, held
or expires counts in seconds that neither step nor end with a restart.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from platoon.documents.page import Page
from platoon.documents.read import Options
from platoon.errors import Overloaded, PlatoonError, StoreError, TooLarge
from platoon.settings import Settings

PRIORITIES: Final = range(-9, 10)
"""Of jobs; higher goes first."""
LONGEST_WAIT_S: Final = 60.0
"""Nothing waits longer for its next attempt."""
OUTAGE_WAIT_S: Final = 5.0
"""What could not be read as something else was away is tried again after so long, as often as it takes."""
WEBHOOK_ATTEMPTS: Final = 10
_FULL_FOR_S: Final = 60.0


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
    """Whose key it came with: nobody else gets to see it, and it counts against his share. Empty without keys."""
    batch: str | None = None
    """The caller's own name for several jobs."""
    webhook: str | None = None
    """URL that is notified once the job has ended."""
    form: str = ""
    """In which form the result is wanted, as the contract calls it."""

    def to_json(self) -> dict[str, Any]:
        """As JSON; `from_json` is its inverse."""
        fields: dict[str, Any] = _ORDER.dump_python(self, mode="json")
        return fields

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """The order of which `to_json` made this, be it that of an earlier version."""
        options = dict(data.get("options", {}))
        if "how" in options:  # its name before
            options.setdefault("read_options", options.pop("how"))
        return _ORDER.validate_python({**data, "options": options})

    @property
    def receiver(self) -> str | None:
        """Whom the webhook notifies, as `https://host:port`: nobody is sent more at once than it can take."""
        if self.webhook is None:
            return None
        parts = urlsplit(self.webhook)
        return f"{parts.scheme}://{parts.netloc.lower()}"


_ORDER: Final = TypeAdapter(Order)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a store takes, and for how long. Bytes are those of documents and results, of jobs in any state."""

    max_waiting: int
    """Jobs of all that may wait."""
    max_waiting_of_one: int
    """Jobs of one owner that may."""
    max_bytes: int
    max_bytes_of_one: int
    max_attempts: int
    """How often a job is begun without getting a page further, before it has failed."""
    keep_s: float
    """How long a job is kept after it has ended."""
    lease_s: float
    """How long a claim is held that is not renewed."""
    reserve_bytes: int = 0
    """Bytes of the disk that are left to others."""

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings; what they do not say of one owner is an equal share for each key."""
        jobs, shares = settings.jobs, max(1, len(settings.service.keys))
        return cls(
            max_waiting=jobs.max_waiting,
            max_waiting_of_one=jobs.max_waiting_per_key or max(1, jobs.max_waiting // shares),
            max_bytes=jobs.max_bytes,
            max_bytes_of_one=jobs.max_bytes_per_key or max(1, jobs.max_bytes // shares),
            max_attempts=jobs.attempts,
            keep_s=jobs.keep_hours * 3600,
            lease_s=jobs.lease_s,
            reserve_bytes=settings.store.reserve_bytes,
        )

    def check_room(self, n_bytes: int, load: Load) -> None:
        """For one more job, whose document and order have so many bytes.

        Raises:
            Overloaded: the owner has used up his share. StoreError: all have used up all there is.
            TooLarge: there will never be room for it.
        """
        if n_bytes > min(self.max_bytes, self.max_bytes_of_one):
            most = min(self.max_bytes, self.max_bytes_of_one)
            raise TooLarge(f"a document of {n_bytes} bytes is more than all your jobs may take: {most}")
        for waiting, most_waiting in ((load.waiting_of_one, self.max_waiting_of_one), (load.waiting, self.max_waiting)):
            if waiting >= most_waiting:
                raise Overloaded(
                    f"{waiting} documents wait already, and no more may; try again later", retry_after_s=_FULL_FOR_S
                )
        if load.bytes_of_one + n_bytes > self.max_bytes_of_one:
            raise Overloaded(
                f"your jobs and their results take {load.bytes_of_one} bytes, and with {n_bytes} more would take more "
                f"than the {self.max_bytes_of_one} they may; cancel some, or wait until some have expired",
                retry_after_s=_FULL_FOR_S,
            )
        if load.bytes + n_bytes > self.max_bytes:
            raise StoreError(
                f"all jobs and their results take {load.bytes} bytes, and with {n_bytes} more it would be more than "
                f"the {self.max_bytes} of jobs.max_bytes; try again later"
            )

    def check_growth(self, n_bytes: int, load: Load) -> None:
        """For so many more bytes of a result. Raises TooLarge."""
        if load.bytes_of_one + n_bytes > self.max_bytes_of_one or load.bytes + n_bytes > self.max_bytes:
            raise TooLarge(
                f"the result does not fit: the caller's jobs take {load.bytes_of_one} bytes of "
                f"{self.max_bytes_of_one}, and all jobs {load.bytes} of {self.max_bytes}"
            )


class Load(NamedTuple):
    """What is taken already, of all and of one owner."""

    waiting: int
    waiting_of_one: int
    bytes: int
    bytes_of_one: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands."""

    id: str
    secret: str
    """Signs the addresses at which the result may be fetched without a key; never shown."""
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
        StoreError: from every method but `not_ready`, where the store cannot be written or read.
    """

    def not_ready(self) -> list[str]:
        """Why jobs cannot be taken or worked on; empty where they can. Answers within seconds."""

    def check_room(self, owner: str, n_bytes: int) -> None:
        """Whether a document of so many bytes could be added now. Raises as `Limits.check_room`."""

    def add(self, order: Order, document: bytes) -> Job:
        """Keep a job; durable on return. Raises as `Limits.check_room`."""

    def get(self, job_id: str) -> Job | None:
        """The job of this id."""

    def batch(self, batch: str, owner: str) -> list[Job]:
        """The jobs of a caller's batch, oldest first."""

    def waiting(self) -> int:
        """How many jobs wait to be begun."""

    def queue_position(self, job: Job) -> int | None:
        """The position of a job in the queue, from 1, if nothing is added; none: it does not wait."""

    def document(self, job_id: str) -> bytes:
        """The file. Raises NotFound; so it does once the job was cancelled, or has failed without a page."""

    def pages(self, job_id: str) -> Iterator[Page]:
        """The pages that are kept, in order."""

    def page(self, job_id: str, index: int) -> Page | None:
        """The page `index`, if it is kept."""

    def indices(self, job_id: str) -> set[int]:
        """Of the pages that are kept."""

    def due(self) -> bool:
        """Whether there is a job to claim."""

    def claim(self, holder: str, job_id: str | None = None) -> Claim | None:
        """The next job that is due, begun; or this one. None: there is none, or somebody works on it.

        The highest priority goes first. Of one priority the owners take turns, and of an owner's jobs those go first
        that were begun the least often, and then the oldest, or those that were put behind others first.
        """

    def renew(self, claim: Claim) -> bool:
        """Hold on for `lease_s` more; whether the claim is still held."""

    def begin(self, claim: Claim, total: int) -> None:
        """So many pages are asked for. Raises Lost."""

    def keep(self, claim: Claim, page: Page) -> None:
        """Keep a page, or replace it; durable on return. Raises Lost, and TooLarge as `Limits.check_growth`."""

    def finish(self, claim: Claim, error: str | None = None) -> None:
        """End the job, well or with why it failed. Nothing happens where the claim is lost."""

    def retry(self, claim: Claim, error: str) -> None:
        """Let it be tried again after a while, or fail where it was tried too often. As `finish`."""

    def release(self, claim: Claim, error: str | None = None, *, behind: bool = False) -> None:
        """Let anybody go on with it, as if this attempt had not been: at once, or, where an error says what is away,
        after `OUTAGE_WAIT_S`. As `finish`.

        Args:
            behind: after the others of its priority and owner that wait now.
        """

    def cancel(self, job_id: str) -> None:
        """End a job that has not ended, and forget its document and pages; whoever holds it has lost it."""

    def sweep(self) -> int:
        """Forget what has expired; returns how many jobs."""

    def due_webhook(self, receivers: Collection[str] = (), owners: Collection[str] = ()) -> Job | None:
        """A job that has ended and of which its webhook is to be notified now; tried again unless `notified`.

        Args:
            receivers, owners: of whom nobody is to be notified now.
        """

    def notified(self, job_id: str) -> None:
        """Its webhook has been notified, or never will be."""

    def close(self) -> None:
        """Let go of what is open."""


def backoff_s(attempts: int) -> float:
    """How long to wait before the next attempt: 1, 2, 4 … seconds, at most a minute."""
    return min(LONGEST_WAIT_S, 2.0 ** max(0, attempts - 1))


def too_often(attempts: int) -> str:
    """Why a job has failed whose workers died."""
    return f"reading it was begun {attempts} times without getting a page further: it may take too much memory"


def new_secret() -> str:
    """What nobody can guess."""
    return secrets.token_urlsafe(24)


def reason(error: Exception) -> str:
    """Why a job failed, for its owner."""
    if isinstance(error, PlatoonError):
        return str(error)
    return f"an error inside Platoon ({type(error).__name__}); its log says more"
