import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Job, Jobs, Order, State
from platoon.documents.read import Options
from platoon.documents.runner import JobRunner
from platoon.metrics import Metrics
from platoon.store.clock import StoreClock
from tests.clock import Clock
from tests.job_service import LIMITS
from tests.running import wait_until
from tests.scripted_reader import ScriptedReader, page

PATIENCE_S = 30


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    with closing(opened(tmp_path / "jobs.sqlite")) as store:
        yield store


def opened(path: Path, clock: Clock | None = None) -> JobStore:
    limits = replace(LIMITS, max_waiting=100, max_waiting_of_one=100)
    return JobStore(path, limits, clock=StoreClock(running=clock.running) if clock else None)


def running(jobs: Jobs, reader: ScriptedReader, at_once: int = 1) -> JobRunner:
    return JobRunner(jobs, reader, Metrics(), at_once=at_once)


def until(jobs: Jobs, job: Job, condition: Callable[[Job], bool]) -> Job:
    def found() -> Job | None:
        now = jobs.get(job.id)
        assert now is not None
        return now if condition(now) else None

    return wait_until(found, "the job stands as it should", patience_s=PATIENCE_S)


def ended(jobs: Jobs, job: Job) -> Job:
    return until(jobs, job, lambda now: now.state.ended)


def test_what_is_added_is_read_page_by_page(jobs: JobStore) -> None:
    reader = ScriptedReader()
    with running(jobs, reader) as runner:
        job = jobs.add(Order(Options(pages="2-4")), b"9")
        runner.look()
        done = ended(jobs, job)
    assert (done.state, done.total, done.done) == (State.SUCCESS, 3, 3)
    assert list(jobs.pages(job.id)) == [page(1), page(2), page(3)]


def test_progress_is_seen_while_it_is_read(jobs: JobStore) -> None:
    reader = ScriptedReader(turns=threading.Semaphore(2))
    with running(jobs, reader):
        job = jobs.add(Order(), b"5")
        half = until(jobs, job, lambda now: now.done == 2)
        assert (half.state, half.total) == (State.STARTED, 5)


def test_a_stop_puts_what_is_under_way_back_and_the_next_reads_only_the_rest(jobs: JobStore) -> None:
    job = jobs.add(Order(), b"5")
    first = ScriptedReader(turns=threading.Semaphore(3))
    with running(jobs, first):
        until(jobs, job, lambda now: now.done == 3)
    stopped = jobs.get(job.id)
    assert stopped is not None
    assert (stopped.state, stopped.done, stopped.attempts) == (State.PENDING, 3, 0)
    second = ScriptedReader()
    with running(jobs, second):
        assert ended(jobs, job).state is State.SUCCESS
    assert (first.read, second.read) == ([0, 1, 2], [3, 4])
    assert list(jobs.pages(job.id)) == [page(index) for index in range(5)]


def test_cancelling_ends_the_page_that_is_being_read(jobs: JobStore) -> None:
    reader = ScriptedReader(turns=threading.Semaphore(1))
    with running(jobs, reader):
        job, after = jobs.add(Order(), b"5"), jobs.add(Order(), b"0001")
        until(jobs, job, lambda now: now.done == 1)
        jobs.cancel(job.id)
        assert reader.turns is not None
        until(jobs, after, lambda now: now.state is State.STARTED)  # its worker is free though no page was finished
        reader.turns.release()
        assert ended(jobs, after).state is State.SUCCESS
    assert reader.read == [0, 0]
    cancelled = jobs.get(job.id)
    assert cancelled is not None
    assert (cancelled.state, cancelled.done) == (State.REVOKED, 1)


@pytest.mark.parametrize(
    ("file", "opened", "error"),
    [
        (b"broken", 1, "the PDF is damaged"),
        (b"slow", 2, "it took too long to be opened"),
        (b"odd", 2, "an error inside Platoon (RuntimeError); its log says more"),
    ],
)
def test_a_damaged_document_fails_at_once_and_what_may_pass_is_tried_again(
    jobs: JobStore, file: bytes, opened: int, error: str
) -> None:
    reader = ScriptedReader()
    with running(jobs, reader):
        failed = ended(jobs, jobs.add(Order(), file))
    assert (failed.state, failed.error, reader.opened) == (State.FAILURE, error, opened)


def test_a_document_waits_for_an_engine_that_is_away_as_long_as_it_takes(tmp_path: Path, clock: Clock) -> None:
    reader = ScriptedReader(away=True)
    with closing(opened(tmp_path / "jobs.sqlite", clock)) as jobs, running(jobs, reader) as runner:
        job = jobs.add(Order(), b"2")
        for tries in range(1, 6):
            runner.look()
            wait_until(lambda wanted=tries: reader.opened == wanted, "it is tried", patience_s=PATIENCE_S)  # type: ignore[misc]
            waits = until(jobs, job, lambda now: now.state is State.PENDING and now.error is not None)
            assert (waits.error, waits.attempts) == ("the engine is away", 0)
            clock.now += 5
        reader.away = False
        runner.look()
        assert ended(jobs, job).state is State.SUCCESS


def test_no_job_is_begun_before_the_models_are_loaded(jobs: JobStore) -> None:
    """Whoever is killed while they are has not tried to read it."""
    reader = ScriptedReader(warm=threading.Event())
    job = jobs.add(Order(), b"1")
    for _ in range(5):
        with running(jobs, reader):
            pass
    waits = jobs.get(job.id)
    assert waits is not None
    assert (waits.state, waits.attempts, waits.started) == (State.PENDING, 0, None)
    assert reader.warm is not None
    reader.warm.set()
    with running(jobs, reader):
        assert ended(jobs, job).state is State.SUCCESS


def test_a_document_that_does_not_let_itself_be_stopped_holds_up_no_stop(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.documents.runner._STOP_S", 0.1)
    before = threading.enumerate()
    reader = ScriptedReader(stuck=threading.Event())
    job = jobs.add(Order(), b"1")
    with running(jobs, reader):
        until(jobs, job, lambda now: now.state is State.STARTED)
        wait_until(lambda: reader.opened, "it is opened", patience_s=PATIENCE_S)
    given_back = jobs.get(job.id)
    assert given_back is not None
    assert given_back.state is State.PENDING
    assert reader.stuck is not None
    reader.stuck.set()
    for thread in set(threading.enumerate()) - set(before):  # who is late must not meet a store that is closed
        thread.join(PATIENCE_S)


def test_a_result_without_room_fails_by_itself_and_says_so(tmp_path: Path) -> None:
    limits = replace(LIMITS, max_bytes=2_000, max_bytes_of_one=2_000)
    with closing(JobStore(tmp_path / "jobs.sqlite", limits)) as jobs, running(jobs, ScriptedReader()):
        large = ended(jobs, jobs.add(Order(), b"100"))
    assert large.state is State.FAILURE
    assert "does not fit" in (large.error or "")
    assert 0 < large.done < 100


def test_a_document_that_takes_long_gives_way_to_those_that_wait(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.documents.runner._TURN_S", 0.0)
    reader = ScriptedReader(turns=threading.Semaphore(0))
    with running(jobs, reader):
        long = jobs.add(Order(), b"50")
        assert reader.begun.acquire(timeout=PATIENCE_S)
        short = jobs.add(Order(), b"2")
        reader.turns = threading.Semaphore(4)
        assert ended(jobs, short).state is State.SUCCESS
        assert until(jobs, long, lambda now: now.state is not State.SUCCESS).done < 5
        reader.turns = None
        assert ended(jobs, long).state is State.SUCCESS
    assert sorted(reader.read) == sorted([*range(50), 0, 1])


def test_as_many_documents_are_read_at_once_as_was_said(jobs: JobStore) -> None:
    reader = ScriptedReader(turns=threading.Semaphore(0))
    added = [jobs.add(Order(), b"1") for _ in range(3)]
    with running(jobs, reader, at_once=2):
        for _ in range(2):
            assert reader.begun.acquire(timeout=PATIENCE_S)
        assert jobs.waiting() == 1
        assert reader.turns is not None
        reader.turns.release(3)
        assert {ended(jobs, job).state for job in added} == {State.SUCCESS}


def test_two_runners_on_one_store_read_each_page_once(jobs: JobStore, tmp_path: Path) -> None:
    reader = ScriptedReader()
    added = [jobs.add(Order(), b"7") for _ in range(6)]
    with closing(opened(tmp_path / "jobs.sqlite")) as other, running(jobs, reader), running(other, reader):
        assert {ended(jobs, job).state for job in added} == {State.SUCCESS}
    assert sorted(reader.read) == sorted([*range(7)] * 6)


def test_a_runner_takes_over_what_a_dead_one_held(jobs: JobStore, tmp_path: Path) -> None:
    reader: Any = ScriptedReader()
    other = opened(tmp_path / "jobs.sqlite")
    job = jobs.add(Order(), b"4")
    claim = other.claim("it")
    assert claim is not None
    other.begin(claim, 4)
    other.keep(claim, page(0))
    other.close()  # as when its process ends
    with closing(opened(tmp_path / "jobs.sqlite")) as after, running(after, reader):
        assert ended(jobs, job).state is State.SUCCESS
    assert reader.read == [1, 2, 3]
