"""What Redis adds to the promises of all stores of jobs, which are in `test_documents_job_store`."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from platoon.documents.jobs import Claim, Job, Order, State
from platoon.errors import StoreError
from platoon.scale.redis_jobs import RedisJobs
from tests.clock import Clock
from tests.job_service import LIMITS
from tests.redis_server import RedisServer
from tests.running import free_ports


@pytest.fixture
def jobs(redis_server: RedisServer, clock: Clock) -> Iterator[RedisJobs]:
    with closing(opened(redis_server.url, clock)) as jobs:
        yield jobs
    redis_server.forget()


def opened(url: str, clock: Clock) -> RedisJobs:
    return RedisJobs(url, replace(LIMITS, max_waiting=100, max_waiting_of_one=100, max_attempts=3), clock=clock)


def claimed(jobs: RedisJobs, job: Job, holder: str = "a") -> Claim:
    claim = jobs.claim(holder, job.id)
    assert claim is not None
    return claim


def told_of(jobs: RedisJobs) -> list[str]:
    """Of which jobs workers are to be told now; they are."""
    announcements = jobs.unannounced()
    for announcement in announcements:
        jobs.announced(announcement)
    return [announcement.job.id for announcement in announcements]


def test_workers_are_told_of_a_job_once(jobs: RedisJobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    assert told_of(jobs) == [job.id]
    clock.now += 100
    assert told_of(jobs) == []


def test_whoever_dies_while_telling_is_replaced(jobs: RedisJobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    assert [found.job.id for found in jobs.unannounced()] == [job.id]
    assert told_of(jobs) == []
    clock.now += 11
    assert told_of(jobs) == [job.id]


def test_workers_are_told_again_of_what_was_given_back_failed_or_lost_its_worker(jobs: RedisJobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    told_of(jobs)
    jobs.release(claimed(jobs, job))
    assert told_of(jobs) == [job.id]
    jobs.retry(claimed(jobs, job), "busy")
    assert told_of(jobs) == []
    clock.now += 1
    assert told_of(jobs) == [job.id]
    claimed(jobs, job)
    clock.now += 31
    assert told_of(jobs) == [job.id]
    assert claimed(jobs, job, "b").job.state is State.STARTED


def test_a_job_that_was_given_back_while_it_was_told_of_is_told_of_again(jobs: RedisJobs) -> None:
    job = jobs.add(Order(), b"x")
    (announcement,) = jobs.unannounced()
    jobs.release(claimed(jobs, job))
    jobs.announced(announcement)
    assert told_of(jobs) == [job.id]


def test_a_claim_whose_answer_was_lost_is_answered_again(jobs: RedisJobs) -> None:
    job = jobs.add(Order(), b"x")
    first, again = (claimed(jobs, job, "a") for _ in range(2))
    assert first == again
    assert again.job.attempts == 1
    assert jobs.claim("b", job.id) is None


def test_nobody_is_told_of_what_has_ended(jobs: RedisJobs, clock: Clock) -> None:
    done, cancelled = jobs.add(Order(), b"x"), jobs.add(Order(), b"y")
    jobs.finish(claimed(jobs, done))
    jobs.cancel(cancelled.id)
    clock.now += 100
    assert told_of(jobs) == []


def test_a_redis_that_is_killed_has_kept_what_was_taken(tmp_path: Path, clock: Clock) -> None:
    with RedisServer(tmp_path) as server, closing(opened(server.url, clock)) as jobs:
        job = jobs.add(Order(), b"x")
        server.kill()
        server.start()
        assert jobs.get(job.id) == job
        assert jobs.document(job.id) == b"x"
        assert told_of(jobs) == [job.id]


def test_a_redis_that_forgets_is_warned_of(clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(tmp_path, durable=False) as forgetful, closing(opened(forgetful.url, clock)) as jobs:
        with caplog.at_level(logging.WARNING):
            jobs.check_durable()
        assert "appendonly yes" in caplog.text


def test_a_redis_that_is_not_there_is_a_clear_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platoon.scale.redis_jobs._TRIES", 1)
    (port,) = free_ports(1)
    with closing(opened(f"redis://127.0.0.1:{port}/0", clock)) as jobs, pytest.raises(StoreError, match="BROKER"):
        jobs.waiting()
