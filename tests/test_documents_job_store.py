import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Claim, Job, Jobs, Lost, Order, State
from platoon.documents.page import Block, Label, Line, Page
from platoon.documents.read import Options
from platoon.errors import NotFound, Overloaded, StoreError
from platoon.scale.redis_jobs import RedisJobs
from tests.clock import Clock
from tests.redis_server import RedisServer

LIMITS: dict[str, Any] = {"keep_s": 3600.0, "max_waiting": 100, "max_attempts": 3, "lease_s": 30.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


Place = Callable[..., AbstractContextManager[Jobs]]


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, path: Path, clock: Clock) -> Iterator[Place]:
    """Opens one and the same store, as often as it is called."""
    if request.param == "sqlite":
        yield lambda **limits: closing(opened(path, clock, **limits))
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    yield lambda **limits: closing(RedisJobs(server.url, clock=clock, **(LIMITS | limits)))
    server.forget()


@pytest.fixture
def jobs(place: Place) -> Iterator[Jobs]:
    with place() as store:
        yield store


def opened(path: Path, clock: Clock, **limits: Any) -> JobStore:
    return JobStore(path, clock=clock, **(LIMITS | limits))


def page(index: int, text: str = "Ink") -> Page:
    line = Line(text, ((1.0, 2.0), (30.0, 2.0), (30.0, 12.0), (1.0, 12.0)), 0.9, ())
    return Page(index, (100, 50), 2.0, (Block(Label.TEXT, line.box, 1.0, (line,), text),))


def claimed(jobs: Jobs, holder: str = "a", job: Job | None = None) -> Claim:
    claim = jobs.claim(holder, job.id if job else None)
    assert claim is not None
    return claim


def standing(jobs: Jobs, job: Job) -> Job:
    found = jobs.get(job.id)
    assert found is not None
    return found


def test_a_job_is_there_with_its_document_and_order_after_the_store_was_closed(place: Place) -> None:
    order = Order(
        Options(pages="2-3", text_layer="ignore"),
        priority=4,
        owner="me",
        batch="batch-1",
        webhook="https://example.org/hook",
        form="v1",
    )
    with place() as jobs:
        job = jobs.add(order, b"%PDF-")
    with place() as jobs:
        assert jobs.get(job.id) == job
        assert jobs.get(job.id).order == order  # type: ignore[union-attr]
        assert jobs.document(job.id) == b"%PDF-"
        assert jobs.batch("batch-1", "me") == [job]
        assert jobs.batch("batch-1", "somebody else") == []


def test_jobs_are_begun_by_priority_and_then_in_their_order(jobs: Jobs) -> None:
    low, first, second, high = (jobs.add(Order(priority=p), b"x") for p in (-1, 0, 0, 9))
    assert [jobs.place(job) for job in (low, first, second, high)] == [4, 2, 3, 1]
    assert [claimed(jobs).job.id for _ in range(4)] == [high.id, first.id, second.id, low.id]
    assert jobs.claim("a") is None
    assert jobs.place(low) is None


def test_a_job_can_be_claimed_by_its_id_once(jobs: Jobs) -> None:
    first, second = jobs.add(Order(), b"x"), jobs.add(Order(), b"y")
    claim = jobs.claim("a", second.id)
    assert claim is not None
    assert claim.job.id == second.id
    assert jobs.claim("b", second.id) is None
    assert claimed(jobs).job.id == first.id


def test_pages_are_kept_once_each_and_in_order(jobs: Jobs) -> None:
    job = jobs.add(Order(), b"x")
    claim = claimed(jobs)
    jobs.begin(claim, 40)
    for index in [*range(39, -1, -1), 7]:
        jobs.keep(claim, page(index, f"again {index}" if index == 7 else f"page {index}"))
    jobs.finish(claim)
    pages = list(jobs.pages(job.id))
    assert [found.index for found in pages] == list(range(40))
    assert pages[7] == page(7, "again 7")
    assert jobs.indices(job.id) == set(range(40))
    assert [jobs.page(job.id, index) for index in (7, 40)] == [pages[7], None]
    ended = standing(jobs, job)
    assert (ended.state, ended.total, ended.done, ended.error) == (State.SUCCESS, 40, 40, None)


def test_a_job_whose_lease_ran_out_is_another_s_and_the_first_can_do_nothing_more(jobs: Jobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    slow = claimed(jobs, "slow")
    jobs.keep(slow, page(0))
    clock.now += 29
    assert jobs.claim("quick") is None
    clock.now += 2
    quick = claimed(jobs, "quick", job)
    assert jobs.indices(job.id) == {0}
    assert not jobs.renew(slow)
    with pytest.raises(Lost):
        jobs.keep(slow, page(0, "late"))
    with pytest.raises(Lost):
        jobs.begin(slow, 99)
    jobs.finish(slow)
    jobs.retry(slow, "late")
    jobs.release(slow)
    assert standing(jobs, job).state is State.STARTED
    assert list(jobs.pages(job.id)) == [page(0)]
    jobs.keep(quick, page(1))
    jobs.finish(quick)
    assert standing(jobs, job).state is State.SUCCESS


def test_a_lease_that_is_renewed_does_not_run_out(jobs: Jobs, clock: Clock) -> None:
    jobs.add(Order(), b"x")
    claim = claimed(jobs)
    for _ in range(10):
        clock.now += 20
        assert jobs.renew(claim)
        assert jobs.claim("b") is None


def test_what_failed_is_tried_again_later_and_fails_in_the_end(jobs: Jobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    for wait_s in (1, 2):
        jobs.retry(claimed(jobs), "the engine is busy")
        assert standing(jobs, job).error == "the engine is busy"
        assert jobs.claim("a") is None
        clock.now += wait_s
    jobs.retry(claimed(jobs), "still busy")
    failed = standing(jobs, job)
    assert (failed.state, failed.error) == (State.FAILURE, "still busy")


def test_attempts_count_from_the_last_page_that_was_kept(jobs: Jobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    for index in range(10):
        jobs.keep(claimed(jobs, f"{index}", job), page(index))
        clock.now += 31
    for index in range(3):
        claimed(jobs, f"again {index}", job)
        clock.now += 31
    assert jobs.claim("once more", job.id) is None
    failed = standing(jobs, job)
    assert failed.state is State.FAILURE
    assert "3 times" in (failed.error or "")
    assert failed.done == 10


def test_a_job_that_is_given_back_may_be_begun_at_once_and_lost_no_attempt(jobs: Jobs) -> None:
    job = jobs.add(Order(), b"x")
    for _ in range(10):
        jobs.release(claimed(jobs))
    assert standing(jobs, job).attempts == 0
    assert claimed(jobs).job.id == job.id


def test_a_cancelled_job_is_lost_to_whoever_reads_it(jobs: Jobs) -> None:
    waits, runs = jobs.add(Order(priority=-1), b"x"), jobs.add(Order(), b"y")
    claim = claimed(jobs)
    for job in (waits, runs):
        jobs.cancel(job.id)
        assert standing(jobs, job).state is State.REVOKED
    assert not jobs.renew(claim)
    with pytest.raises(Lost):
        jobs.keep(claim, page(0))
    jobs.finish(claim)
    assert standing(jobs, runs).state is State.REVOKED
    assert jobs.claim("a") is None


def test_cancelling_what_has_ended_changes_nothing(jobs: Jobs) -> None:
    job = jobs.add(Order(), b"x")
    jobs.finish(claimed(jobs))
    jobs.cancel(job.id)
    assert standing(jobs, job).state is State.SUCCESS


def test_a_job_is_forgotten_with_all_that_belongs_to_it_so_long_after_it_has_ended(path: Path, clock: Clock) -> None:
    with closing(opened(path, clock)) as jobs:
        job, waiting = jobs.add(Order(), b"x"), jobs.add(Order(), b"y")
        clock.now += 5000
        claim = claimed(jobs)
        jobs.keep(claim, page(0))
        jobs.finish(claim)
        assert jobs.sweep() == 0
        clock.now += 3600
        assert jobs.get(job.id) is None
        assert jobs.sweep() == 1
        with pytest.raises(NotFound):
            jobs.document(job.id)
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT count(*) FROM page").fetchone() == (0,)
            assert database.execute("SELECT count(*) FROM document").fetchone() == (1,)
        assert standing(jobs, waiting).state is State.PENDING


def test_a_full_queue_turns_jobs_away(place: Place) -> None:
    with place(max_waiting=2) as jobs:
        first = jobs.add(Order(), b"x")
        jobs.add(Order(), b"x")
        with pytest.raises(Overloaded, match="2 documents"):
            jobs.add(Order(), b"x")
        jobs.cancel(first.id)
        jobs.add(Order(), b"x")


def test_webhooks_are_due_once_a_job_has_ended_until_they_are_told(jobs: Jobs, clock: Clock) -> None:
    job = jobs.add(Order(webhook="https://example.org/hook"), b"x")
    jobs.add(Order(), b"no webhook")
    claim = claimed(jobs)
    assert jobs.due_webhook() is None
    jobs.finish(claim)
    jobs.finish(claimed(jobs))
    due = jobs.due_webhook()
    assert due == standing(jobs, job)
    assert jobs.due_webhook() is None
    clock.now += 32
    assert jobs.due_webhook() == due
    jobs.told(job.id)
    clock.now += 3599
    assert jobs.due_webhook() is None


def test_a_webhook_that_never_answers_is_given_up(jobs: Jobs, clock: Clock) -> None:
    jobs.add(Order(webhook="https://example.org/hook"), b"x")
    jobs.finish(claimed(jobs))
    told = 0
    for _ in range(30):
        told += jobs.due_webhook() is not None
        clock.now += 100
    assert told == 10


def test_what_a_killed_process_held_may_be_begun_at_once_by_the_next(path: Path, clock: Clock) -> None:
    dies = f"""
import os, signal
from pathlib import Path
from platoon.documents.job_store import JobStore
jobs = JobStore(Path({str(path)!r}), keep_s=9, max_waiting=9, max_attempts=3, lease_s=1e9, clock=lambda: 1e9)
assert jobs.claim("a")
os.kill(os.getpid(), signal.SIGKILL)
"""
    with closing(opened(path, clock)) as jobs:
        job, held = jobs.add(Order(), b"x"), jobs.add(Order(priority=1), b"held here")
        assert claimed(jobs).job.id == held.id
        subprocess.run([sys.executable, "-c", dies], check=False)
        assert jobs.claim("b") is None
        with closing(opened(path, clock)) as after:
            assert claimed(after, "c").job.id == job.id
            assert after.claim("c") is None


def test_a_stranger_s_database_is_left_alone(path: Path, clock: Clock) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="another program"):
        opened(path, clock)
