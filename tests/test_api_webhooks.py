"""One receiver that does not answer, or a caller with many of them, delays nobody else."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from platoon.api.fetch import Fetcher
from platoon.api.webhooks import AT_ONCE_OF_OWNER, AT_ONCE_OF_RECEIVER, Webhooks
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Order
from tests.job_service import LIMITS, SECRET, opened
from tests.running import wait_until

PATIENCE_S = 30


class Receivers(Fetcher):
    """Those of the hosts that begin with `dead` never answer."""

    def __init__(self) -> None:
        super().__init__(hosts=(), max_bytes=1, timeout_s=1)
        self.told: list[str] = []
        self.waiting: list[str] = []

    async def post(self, url: str, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        del body, headers
        if "//dead" in url:
            self.waiting.append(url)
            await asyncio.Event().wait()
        self.told.append(url)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    with closing(opened(tmp_path, replace(LIMITS, max_waiting=1000, max_waiting_of_one=1000))) as jobs:
        yield jobs


def ended(jobs: JobStore, webhook: str, owner: str = "") -> None:
    job = jobs.add(Order(webhook=webhook, owner=owner), b"x")
    claim = jobs.claim("a", job.id)
    assert claim is not None
    jobs.finish(claim)


def test_a_receiver_that_never_answers_delays_no_other(jobs: JobStore) -> None:
    receivers = Receivers()
    for number in range(20):
        ended(jobs, f"https://dead.test/{number}")
    for number in range(10):
        ended(jobs, f"https://alive{number}.test/done")
    with Webhooks(jobs, receivers, SECRET):
        wait_until(lambda: len(receivers.told) == 10, "all others are told", patience_s=PATIENCE_S)
        assert len(receivers.waiting) == AT_ONCE_OF_RECEIVER


def test_a_caller_with_many_receivers_that_never_answer_delays_no_other(jobs: JobStore) -> None:
    receivers = Receivers()
    for number in range(100):
        ended(jobs, f"https://dead{number}.test/done", "ann")
    ended(jobs, "https://alive.test/done", "bob")
    with Webhooks(jobs, receivers, SECRET):
        wait_until(lambda: receivers.told, "the other is told", patience_s=PATIENCE_S)
        assert len(receivers.waiting) <= AT_ONCE_OF_OWNER


def test_a_stop_waits_for_nobody_who_does_not_answer(jobs: JobStore) -> None:
    receivers = Receivers()
    ended(jobs, "https://dead.test/done")
    stopped = threading.Event()

    def serve() -> None:
        with Webhooks(jobs, receivers, SECRET):
            wait_until(lambda: receivers.waiting, "it is told", patience_s=PATIENCE_S)
        stopped.set()

    threading.Thread(target=serve, daemon=True).start()
    assert stopped.wait(PATIENCE_S)
