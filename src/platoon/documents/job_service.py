"""Where documents are handed in to be read in the background, and asked for, whatever contract callers speak."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from platoon.documents.jobs import Job, Jobs, Order
from platoon.documents.page import Page
from platoon.documents.read import page_indices
from platoon.documents.redraw import redrawn
from platoon.errors import Forbidden, InvalidInput, NotFound
from platoon.media.frame import Pixels
from platoon.ocr.pages import Kind, kind_of
from platoon.ocr.picture import picture_size
from platoon.settings import Settings


def check_document(document: bytes, max_pixels: int) -> None:
    """Refuse at once, before it is kept, what its first bytes show to be none. Raises InvalidInput, TooLarge."""
    if kind_of(document) is Kind.IMAGE:
        picture_size(document, max_pixels=max_pixels)


@dataclass(frozen=True)
class JobService:
    """Where jobs are handed in and asked for."""

    jobs: Jobs
    announce: Callable[[Job], object]
    """Wakes whoever reads: one was added or cancelled."""
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
        read_options = replace(order.options.read_options, max_lines=self.settings.service.max_lines)
        job = self.jobs.add(replace(order, options=replace(order.options, read_options=read_options)), document)
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
            raise Forbidden("this address needs the signature that it was given with")
        job = self.jobs.get(job_id)
        if job is None:
            raise NotFound("nothing at this address: there never was, or it has outlived its time")
        if until < time.time() or not hmac.compare_digest(signature_of(job, until).encode(), signature.encode()):
            raise Forbidden("nobody signed this address, or its time is over: ask for the job again")
        return job


def signature_of(job: Job, until: int) -> str:
    """What makes an address of the job's result good without a key, until a point of time (seconds since 1970)."""
    return hmac.digest(job.secret.encode(), f"{job.id}:{until}".encode(), "sha256").hex()
