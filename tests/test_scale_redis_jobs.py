"""What Redis adds to the promises of all stores of jobs, which are in `test_documents_job_store`."""

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from platoon.documents.jobs import Claim, Job, Order, State
from platoon.errors import StoreError, StoreUnusable
from platoon.scale.redis_jobs import RedisJobs
from tests.clock import Clock
from tests.job_service import LIMITS
from tests.redis_server import RedisServer
from tests.running import free_ports
from tests.scripted_reader import page


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


def announce(jobs: RedisJobs) -> list[str]:
    """The jobs that are to be announced to workers now; they are."""
    announcements = jobs.unannounced()
    for announcement in announcements:
        jobs.announced(announcement)
    return [announcement.job.id for announcement in announcements]


def test_a_job_is_announced_to_workers_once(jobs: RedisJobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    assert announce(jobs) == [job.id]
    clock.now += 100
    assert announce(jobs) == []


def test_whoever_dies_while_announcing_is_replaced(jobs: RedisJobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    assert [found.job.id for found in jobs.unannounced()] == [job.id]
    assert announce(jobs) == []
    clock.now += 11
    assert announce(jobs) == [job.id]


def test_what_was_given_back_failed_or_lost_its_worker_is_announced_again(jobs: RedisJobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    announce(jobs)
    jobs.release(claimed(jobs, job))
    assert announce(jobs) == [job.id]
    jobs.retry(claimed(jobs, job), "busy")
    assert announce(jobs) == []
    clock.now += 1
    assert announce(jobs) == [job.id]
    claimed(jobs, job)
    clock.now += 31
    assert announce(jobs) == [job.id]
    assert claimed(jobs, job, "b").job.state is State.STARTED


def test_a_job_that_was_given_back_while_it_was_announced_is_announced_again(jobs: RedisJobs) -> None:
    job = jobs.add(Order(), b"x")
    (announcement,) = jobs.unannounced()
    jobs.release(claimed(jobs, job))
    jobs.announced(announcement)
    assert announce(jobs) == [job.id]


def test_a_job_that_was_taken_by_an_earlier_version_goes_back_to_where_it_stood(
    redis_server: RedisServer, jobs: RedisJobs
) -> None:
    first, second = jobs.add(Order(), b"x"), jobs.add(Order(), b"y")
    with redis.Redis.from_url(redis_server.url) as client:
        (key,) = client.keys(f"*job:{first.id}")
        score = client.hget(key, "queue_score")
        assert score is not None
        client.hset(key, "place", score)
        client.hdel(key, "queue_score")
    jobs.release(claimed(jobs, first))
    assert [jobs.queue_position(job) for job in (first, second)] == [1, 2]


def test_the_clocks_of_the_workers_do_not_count(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(LIMITS, max_attempts=9)
    with closing(RedisJobs(redis_server.url, limits)) as jobs:
        added = jobs.add(Order(), b"x")
        for hours in (-1000, 1000):
            real = time.time
            monkeypatch.setattr(time, "time", lambda hours=hours, real=real: real() + hours * 3600)
            job = jobs.get(added.id)
            assert job is not None
            claim = claimed(jobs, job, f"{hours}")
            assert jobs.claim("another", job.id) is None
            assert jobs.renew(claim)
            assert jobs.unannounced() == []
            jobs.release(claim)
            assert announce(jobs) == [job.id]
            monkeypatch.undo()
    redis_server.forget()


def test_nothing_waits_when_the_clock_of_redis_is_set_back(jobs: RedisJobs, clock: Clock) -> None:
    waiting, retried, held, cancelled = (jobs.add(Order(), b"x") for _ in range(4))
    hooked = jobs.add(Order(webhook="https://example.org/hook"), b"x")
    jobs.finish(claimed(jobs, hooked))
    assert jobs.due_webhook() is not None
    announce(jobs)
    jobs.retry(claimed(jobs, retried), "busy")
    claimed(jobs, held, "dies")
    jobs.cancel(cancelled.id)
    clock.now -= 3600
    assert announce(jobs) == [retried.id]
    assert {claimed_next(jobs) for _ in range(2)} == {waiting.id, retried.id}
    clock.now += 31  # a lease more, for whoever holds it
    assert held.id in announce(jobs)
    assert jobs.due_webhook() is not None


def claimed_next(jobs: RedisJobs) -> str:
    claim = jobs.claim("next")
    assert claim is not None
    return claim.job.id


def test_a_job_that_was_announced_to_a_stopping_worker_is_announced_again(jobs: RedisJobs) -> None:
    job, begun = jobs.add(Order(), b"x"), jobs.add(Order(), b"y")
    assert set(announce(jobs)) == {job.id, begun.id}
    claimed(jobs, begun)
    for waiting in (job, begun):
        jobs.announce_again(waiting.id)
    assert announce(jobs) == [job.id]


def test_what_has_expired_leaves_nothing(jobs: RedisJobs, redis_server: RedisServer, clock: Clock) -> None:
    job = jobs.add(Order(owner="ann", batch="b", webhook="https://example.org/hook"), b"x")
    claim = claimed(jobs, job)
    jobs.keep(claim, page(0))
    jobs.finish(claim)
    assert jobs.sweep() == 0
    clock.now += 3601
    assert jobs.sweep() == 1
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        assert set(client.scan_iter()) == {b"platoon:number", b"platoon:turn", b"platoon:turns"}


def test_a_claim_whose_answer_was_lost_is_answered_again(jobs: RedisJobs) -> None:
    job = jobs.add(Order(), b"x")
    first, again = (claimed(jobs, job, "a") for _ in range(2))
    assert first == again
    assert again.job.attempts == 1
    assert jobs.claim("b", job.id) is None


def test_what_has_ended_is_not_announced(jobs: RedisJobs, clock: Clock) -> None:
    done, cancelled = jobs.add(Order(), b"x"), jobs.add(Order(), b"y")
    jobs.finish(claimed(jobs, done))
    jobs.cancel(cancelled.id)
    clock.now += 100
    assert announce(jobs) == []


def test_a_redis_that_is_killed_has_kept_what_was_taken(tmp_path: Path, clock: Clock) -> None:
    with RedisServer(tmp_path) as server, closing(opened(server.url, clock)) as jobs:
        job = jobs.add(Order(), b"x")
        server.kill()
        server.start()
        assert jobs.get(job.id) == job
        assert jobs.document(job.id) == b"x"
        assert announce(jobs) == [job.id]


def test_a_redis_that_forgets_is_warned_of(clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(tmp_path, durable=False) as forgetful, closing(opened(forgetful.url, clock)) as jobs:
        with caplog.at_level(logging.WARNING):
            jobs.check_durable()
        assert "appendonly yes" in caplog.text


def test_nobody_waits_for_a_redis_that_is_known_to_be_away(tmp_path: Path, clock: Clock) -> None:
    with RedisServer(tmp_path) as server, closing(opened(server.url, clock)) as jobs:
        job = jobs.add(Order(), b"x")
        assert jobs.not_ready() == []
        server.kill()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jobs, "_patient", jobs._quick)  # instead of ten seconds
            with pytest.raises(StoreUnusable, match="PLATOON_BROKER"):
                jobs.waiting()
        begun = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreUnusable) as refused:
                jobs.get(job.id)
            assert refused.value.status == 503
        assert "PLATOON_BROKER" in jobs.not_ready()[0]
        assert time.monotonic() - begun < 10  # not twenty times that
        server.start()
        assert jobs.get(job.id) == job
        assert jobs.not_ready() == []


def test_a_redis_that_is_not_there_is_a_clear_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platoon.scale.redis_jobs._TRIES", 1)
    (port,) = free_ports(1)
    with closing(opened(f"redis://127.0.0.1:{port}/0", clock)) as jobs, pytest.raises(StoreError, match="BROKER"):
        jobs.waiting()
