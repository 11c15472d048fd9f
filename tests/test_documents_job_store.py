import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from platoon.documents.job_schema import jobs_at
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Claim, Job, Jobs, Limits, Lost, Order, State
from platoon.documents.page import Block, Label, Line, Page
from platoon.documents.read import Options
from platoon.errors import NotFound, Overloaded, StoreError, StoreUnusable, TooLarge
from platoon.ocr.reading import ReadOptions
from platoon.scale.redis_jobs import RedisJobs
from platoon.store import space
from platoon.store.clock import StoreClock
from tests.clock import Clock
from tests.redis_server import RedisServer

LIMITS = Limits(
    max_waiting=100,
    max_waiting_of_one=100,
    max_bytes=1_000_000,
    max_bytes_of_one=1_000_000,
    max_attempts=3,
    keep_s=3600.0,
    lease_s=30.0,
)


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
    yield lambda **limits: closing(RedisJobs(server.url, replace(LIMITS, **limits), clock=clock))
    server.forget()


@pytest.fixture
def jobs(place: Place) -> Iterator[Jobs]:
    with place() as store:
        yield store


def opened(path: Path, clock: Clock, *, boot: str = "first", **limits: Any) -> JobStore:
    return JobStore(path, replace(LIMITS, **limits), clock=StoreClock(clock, clock.running, lambda: boot))


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
    assert [jobs.queue_position(job) for job in (low, first, second, high)] == [4, 2, 3, 1]
    assert [claimed(jobs).job.id for _ in range(4)] == [high.id, first.id, second.id, low.id]
    assert jobs.claim("a") is None
    assert jobs.queue_position(low) is None


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


def test_a_job_that_is_put_behind_others_goes_after_those_that_wait(jobs: Jobs, clock: Clock) -> None:
    long, second, third = (jobs.add(Order(name=name), b"x") for name in ("long", "second", "third"))
    later = jobs.add(Order(priority=-2), b"x")
    claim = claimed(jobs)
    assert claim.job.id == long.id
    jobs.keep(claim, page(0))
    clock.now += 200
    jobs.release(claim, behind=True)
    order = (second, third, long, later)
    assert [jobs.queue_position(standing(jobs, job)) for job in order] == [1, 2, 3, 4]
    assert [claimed(jobs, f"{number}").job.id for number in range(4)] == [job.id for job in order]
    assert standing(jobs, long).attempts == 1
    assert jobs.indices(long.id) == {0}


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


def test_what_one_owner_s_jobs_wait_for_is_no_reason_to_turn_others_away(place: Place) -> None:
    with place(max_waiting=100, max_waiting_of_one=50) as jobs:
        for _ in range(50):
            jobs.add(Order(owner="ann"), b"x")
        with pytest.raises(Overloaded, match="50 documents"):
            jobs.add(Order(owner="ann"), b"x")
        for _ in range(50):
            jobs.add(Order(owner="bob"), b"x")
        with pytest.raises(Overloaded, match="100 documents"):
            jobs.add(Order(owner="cat"), b"x")


def test_owners_take_turns_whoever_came_first_with_however_many(jobs: Jobs) -> None:
    added = {}
    for owner, count in (("ann", 5), ("bob", 2), ("cat", 1)):
        for number in range(count):
            added[f"{owner} {number}"] = jobs.add(Order(owner=owner), b"x")
    added["dan 0"] = jobs.add(Order(owner="dan", priority=1), b"x")
    turns = ["dan 0", "ann 0", "bob 0", "cat 0", "ann 1", "bob 1", "ann 2", "ann 3", "ann 4"]
    assert [jobs.queue_position(added[name]) for name in turns] == [*range(1, 10)]
    assert [claimed(jobs).job.id for _ in turns] == [added[name].id for name in turns]
    late, later = jobs.add(Order(owner="ann"), b"x"), jobs.add(Order(owner="bob"), b"x")
    assert [claimed(jobs).job.id for _ in range(2)] == [later.id, late.id]  # it was ann's turn last


def test_the_queue_position_of_a_job_is_the_order_in_which_all_are_begun(jobs: Jobs, clock: Clock) -> None:
    chance = random.Random(5)

    def add(count: int) -> list[Job]:
        return [
            jobs.add(Order(owner=chance.choice("abcd"), priority=chance.choice((-1, 0))), b"x") for _ in range(count)
        ]

    waiting = add(6)
    for _ in range(3):  # so that turns and attempts differ
        jobs.retry(claimed(jobs), "busy")
    waiting += add(14)
    clock.now += 2
    while waiting:
        places = {jobs.queue_position(job): job for job in waiting}
        assert sorted(place or 0 for place in places) == [*range(1, len(waiting) + 1)]
        assert claimed(jobs).job.id == places[1].id
        waiting.remove(places[1])


def test_a_document_that_kills_its_workers_holds_up_no_other_of_its_owner_twice(jobs: Jobs, clock: Clock) -> None:
    poison, honest = jobs.add(Order(), b"x"), jobs.add(Order(), b"y")
    assert claimed(jobs, "dies").job.id == poison.id
    clock.now += 31
    let_go(jobs)
    assert claimed(jobs).job.id == honest.id
    assert claimed(jobs).job.id == poison.id


def let_go(jobs: Jobs) -> None:
    """In Redis it is the publisher that sees that a lease ran out."""
    if isinstance(jobs, RedisJobs):
        jobs.unannounced()


def test_bytes_of_documents_and_results_count_until_they_are_gone(place: Place, clock: Clock) -> None:
    text = "x" * 50_000
    with place(max_bytes=900_000, max_bytes_of_one=300_000) as jobs:

        def fits(n_bytes: int, owner: str = "ann") -> bool:
            try:
                jobs.check_room(owner, n_bytes)
            except Overloaded:
                return False
            return True

        jobs.add(Order(owner="ann", priority=1), bytes(150_000))
        assert not fits(150_000)
        assert fits(149_000)
        assert fits(299_000, "bob")
        claim = claimed(jobs)
        jobs.keep(claim, page(0, text))
        assert not fits(100_000)
        assert fits(40_000)
        jobs.keep(claim, page(0, text))  # again: it replaces the first
        assert fits(40_000)
        jobs.finish(claim)
        assert not fits(100_000)  # as it is kept
        clock.now += 3601
        jobs.sweep()
        assert fits(299_000)
        with pytest.raises(TooLarge, match="300000"):
            jobs.add(Order(owner="ann"), bytes(300_001))


def cancelled(jobs: Jobs, job: Job) -> None:
    jobs.cancel(job.id)


def cancelled_while_it_was_read(jobs: Jobs, job: Job) -> None:
    jobs.keep(claimed(jobs, "a", job), page(0))
    jobs.cancel(job.id)


def failed(jobs: Jobs, job: Job) -> None:
    jobs.finish(claimed(jobs, "a", job), "it is no document")


@pytest.mark.parametrize("end", [cancelled, cancelled_while_it_was_read, failed])
def test_bytes_are_free_at_once_when_a_job_is_cancelled_or_fails_without_a_page(
    place: Place, end: Callable[[Jobs, Job], None]
) -> None:
    with place(max_bytes_of_one=300_000) as jobs:
        job = jobs.add(Order(), bytes(290_000))
        with pytest.raises(Overloaded, match="290"):
            jobs.add(Order(), bytes(290_000))
        end(jobs, job)
        assert standing(jobs, job).state.ended
        with pytest.raises(NotFound):
            jobs.document(job.id)
        assert list(jobs.pages(job.id)) == []
        jobs.add(Order(), bytes(290_000))


def test_all_jobs_together_take_no_more_than_there_is(place: Place) -> None:
    with place(max_bytes=500_000, max_bytes_of_one=300_000) as jobs:
        for owner in ("ann", "bob"):
            jobs.add(Order(owner=owner), bytes(200_000))
        with pytest.raises(StoreError, match=r"jobs\.max_bytes"):
            jobs.add(Order(owner="cat"), bytes(200_000))


def test_what_the_disk_keeps_for_events_is_left_to_them(path: Path, clock: Clock) -> None:
    with closing(opened(path, clock)) as jobs:
        jobs.add(Order(), b"x")
    free = space.free(path)
    reserve = space.reserved(path, 1 << 60)  # as much as it ever may be
    with closing(opened(path, clock, reserve_bytes=1 << 60, max_bytes=1 << 50, max_bytes_of_one=1 << 50)) as jobs:
        with pytest.raises(StoreError, match="kept for events"):
            jobs.check_room("", max(0, free - reserve) + 1_000_000_000)
        claimed(jobs)


def test_a_result_that_grows_too_large_is_refused_and_what_was_kept_stays(place: Place) -> None:
    with place(max_bytes_of_one=100_000) as jobs:
        job = jobs.add(Order(), b"x")
        claim = claimed(jobs)
        for index in range(4):
            jobs.keep(claim, page(index, "x" * 5_000))
        with pytest.raises(TooLarge, match="100000"):
            jobs.keep(claim, page(4, "x" * 50_000))
        jobs.finish(claim, "the result does not fit")
        assert standing(jobs, job).done == len(list(jobs.pages(job.id))) == 4


def test_what_waits_for_something_that_is_away_lost_no_attempt(jobs: Jobs, clock: Clock) -> None:
    job = jobs.add(Order(), b"x")
    for _ in range(10):
        jobs.release(claimed(jobs), "the engine is away")
        assert (standing(jobs, job).attempts, standing(jobs, job).error) == (0, "the engine is away")
        assert jobs.claim("a") is None
        clock.now += 5


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0, 40 * 86_400.0])
def test_nothing_waits_or_is_lost_when_the_clock_is_set(path: Path, clock: Clock, ahead: float) -> None:
    with closing(opened(path, clock)) as jobs:
        done, hooked = jobs.add(Order(), b"x"), jobs.add(Order(webhook="https://example.org/hook"), b"x")
        for _ in range(2):
            jobs.finish(claimed(jobs))
        assert jobs.due_webhook() is not None
        held, retried, waiting = (jobs.add(Order(), b"x") for _ in range(3))
        holds = claimed(jobs)
        jobs.retry(claimed(jobs, "b"), "busy")
        clock.ahead = ahead
        clock.now += 1
        assert [claimed(jobs, "c").job.id for _ in range(2)] == [waiting.id, retried.id]
        assert jobs.claim("d") is None  # the first is held still
        assert jobs.renew(holds)
        assert jobs.sweep() == 0
        assert standing(jobs, done).state is State.SUCCESS
        expires = standing(jobs, done).expires
        assert expires is not None
        assert expires - clock() == pytest.approx(3599)
        clock.now += 31
        due = jobs.due_webhook()
        assert due is not None
        assert due.id == hooked.id
        assert claimed(jobs, "e").job.id == held.id
        clock.now += 3600
        assert jobs.sweep() == 2


def test_after_the_machine_was_started_anew_jobs_go_on_and_results_have_their_time(path: Path, clock: Clock) -> None:
    with closing(opened(path, clock)) as jobs:
        done = jobs.add(Order(), b"x")
        jobs.finish(claimed(jobs))
        held, retried = jobs.add(Order(), b"x"), jobs.add(Order(), b"x")
        claimed(jobs, "dies with the machine", held)
        jobs.retry(claimed(jobs, "b", retried), "busy")
        clock.now += 1800
        jobs.sweep()
    clock.now = 12.0  # seconds since its start
    clock.ahead = 5e9  # with a clock that is years ahead
    with closing(opened(path, clock, boot="second")) as jobs:
        assert {claimed(jobs, "c").job.id for _ in range(2)} == {held.id, retried.id}
        assert jobs.sweep() == 0
        clock.now += 1799
        assert jobs.sweep() == 0
        clock.now += 2
        assert jobs.sweep() == 1
        assert jobs.get(done.id) is None


def test_webhooks_are_due_once_a_job_has_ended_until_they_are_notified(jobs: Jobs, clock: Clock) -> None:
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
    jobs.notified(job.id)
    clock.now += 3599
    assert jobs.due_webhook() is None


def test_webhooks_of_busy_receivers_and_owners_are_passed_over(jobs: Jobs) -> None:
    for host, owner in (("slow", "ann"), ("quick", "bob"), ("quick", "cat")):
        jobs.finish(claimed(jobs, job=jobs.add(Order(webhook=f"https://{host}.test/hook?x=1", owner=owner), b"x")))
    due = jobs.due_webhook(["https://slow.test"], ["bob"])
    assert due is not None
    assert due.order.owner == "cat"
    assert jobs.due_webhook(["https://slow.test"], ["bob"]) is None
    assert {job.order.owner for _ in range(2) if (job := jobs.due_webhook())} == {"ann", "bob"}


def test_a_webhook_that_never_answers_is_given_up(jobs: Jobs, clock: Clock) -> None:
    jobs.add(Order(webhook="https://example.org/hook"), b"x")
    jobs.finish(claimed(jobs))
    attempts = 0
    for _ in range(30):
        attempts += jobs.due_webhook() is not None
        clock.now += 100
    assert attempts == 10


def test_what_a_killed_process_held_may_be_begun_at_once_by_the_next(path: Path, clock: Clock) -> None:
    dies = f"""
import os, signal
from pathlib import Path
from platoon.store.clock import StoreClock
from platoon.documents.job_schema import jobs_at
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Limits
clock = StoreClock(lambda: 1e9, lambda: 1e9, lambda: "first")
jobs = JobStore(Path({str(path)!r}), Limits(**{asdict(LIMITS) | {"lease_s": 1e9}}), clock=clock)
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
    with closing(opened(path, clock)) as jobs, pytest.raises(StoreUnusable, match="another program"):
        jobs.waiting()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    path.write_bytes(b"no database at all " * 1000)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_stranger_s(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (x)")


def no_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("a file")


@pytest.mark.parametrize("spoil", [truncated, overwritten, a_folder, a_stranger_s, no_folder])
def test_a_file_that_cannot_be_used_is_named_and_needs_no_new_start_once_it_is_gone(
    tmp_path: Path, clock: Clock, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "store" / "jobs.sqlite"
    with closing(opened(path, clock)) as jobs:
        for _ in range(20):
            jobs.add(Order(), bytes(10_000))
    spoil(path)
    with closing(opened(path, clock)) as jobs:
        (cause,) = jobs.not_ready()
        assert "store" in cause
        assert any(way_out in cause for way_out in ("move it away", "PLATOON_STORE__PATH"))
        for call in (jobs.waiting, jobs.due, jobs.sweep, lambda: jobs.add(Order(), b"x"), lambda: jobs.claim("a")):
            with pytest.raises(StoreUnusable) as refused:
                call()
            assert refused.value.status == 503
        moved = path if path.parent.is_dir() else path.parent
        moved.rename(tmp_path / "away")
        for companion in path.parent.glob("jobs.sqlite-*") if path.parent.exists() else ():
            companion.unlink()
        job = jobs.add(Order(), b"x")
        assert jobs.not_ready() == []
        assert claimed(jobs).job.id == job.id


def test_damage_that_is_found_while_it_is_used_is_reported_from_then_on(path: Path, clock: Clock) -> None:
    with closing(opened(path, clock)) as jobs:
        job = jobs.add(Order(), bytes(200_000))
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (root,) = database.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_page_1'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    with closing(opened(path, clock)) as jobs:
        assert jobs.not_ready() == []
        with pytest.raises(StoreUnusable, match="move it away"):
            jobs.indices(job.id)
        assert "move it away" in jobs.not_ready()[0]
        assert jobs.waiting() == 1  # what can be read is


def test_a_file_that_somebody_empties_is_named_until_it_is_moved_away(path: Path, clock: Clock) -> None:
    with closing(opened(path, clock)) as jobs:
        jobs.add(Order(), bytes(200_000))
        path.write_bytes(b"")
        for _ in range(2):
            assert "somebody has emptied the file" in jobs.not_ready()[0]
        with pytest.raises(StoreUnusable, match="move it away"):
            jobs.add(Order(), b"document")
        for part in path.parent.glob(f"{path.name}*"):
            part.unlink()
        assert jobs.not_ready() == []
        jobs.add(Order(), b"document")
        assert jobs.waiting() == 1


def test_jobs_go_on_where_somebody_takes_their_whole_folder_away(path: Path, clock: Clock) -> None:
    with closing(opened(path, clock)) as jobs:
        jobs.add(Order(), b"document")
        shutil.rmtree(path.parent)
        assert jobs.not_ready() == []
        job = jobs.add(Order(), b"another")
        claim = jobs.claim("worker")
        assert claim is not None
        assert claim.job.id == job.id


def test_jobs_of_the_version_before_go_on(path: Path, clock: Clock) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_FIRST_VERSION)
        for number, state, expires in ((1, "PENDING", None), (2, "SUCCESS", 4e9), (3, "REVOKED", 4e9)):
            body = json.dumps(Order(owner="ann").to_json())
            database.execute(
                "INSERT INTO job (number, id, secret, owner, priority, body, state, created, expires, due) "
                "VALUES (?, ?, 's', 'ann', 0, ?, ?, 1e9, ?, 4e9)",
                (number, f"job {number}", body, state, expires),
            )
            database.execute("INSERT INTO document VALUES (?, ?)", (number, bytes(60_000)))
            database.execute("INSERT INTO page VALUES (?, 0, ?)", (number, json.dumps(page(0).to_json())))
        database.commit()
    with closing(opened(path, clock, max_bytes_of_one=130_000)) as jobs:
        assert claimed(jobs).job.id == "job 1"
        assert list(jobs.pages("job 2")) == [page(0)]
        assert [found.done for found in map(jobs.get, ("job 1", "job 2")) if found] == [1, 1]
        assert list(jobs.pages("job 3")) == []
        with pytest.raises(Overloaded, match="more than the 130000"):
            jobs.check_room("ann", 20_000)
        jobs.check_room("ann", 5_000)


def test_orders_of_earlier_versions_keep_how_they_are_read() -> None:
    order = Order(Options(pages="2", read_options=ReadOptions(max_lines=7)), name="a.pdf")
    written = order.to_json()
    written["options"]["how"] = written["options"].pop("read_options")
    assert Order.from_json(written) == order
    assert Order.from_json(order.to_json()) == order


def test_a_database_that_was_brought_up_to_date_has_what_a_new_one_has(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    with closing(sqlite3.connect(old)) as database:
        database.executescript(_FIRST_VERSION)
    for path in (old, new):
        jobs_at(path).open().close()
    assert names_in(old) == names_in(new)


def names_in(path: Path) -> dict[str, set[str]]:
    """Of each table, index and trigger the columns it has, or is of."""
    with closing(sqlite3.connect(path)) as database:
        made = database.execute("SELECT name, type FROM sqlite_schema").fetchall()
        info = {"table": "table_info", "index": "index_info"}
        return {
            name: {row[1 if kind == "table" else 2] for row in database.execute(f"PRAGMA {info[kind]}({name})")}
            if kind in info
            else set()
            for name, kind in made
        }


_FIRST_VERSION = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, secret TEXT NOT NULL, owner TEXT NOT NULL,
    batch TEXT, priority INTEGER NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, started REAL,
    ended REAL, expires REAL, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, holder TEXT, lease REAL,
    total INTEGER, error TEXT, webhook_due REAL, webhook_attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX job_waiting ON job (priority DESC, number) WHERE state = 'PENDING';
CREATE INDEX job_started ON job (lease) WHERE state = 'STARTED';
CREATE INDEX job_by_batch ON job (batch, owner) WHERE batch IS NOT NULL;
CREATE INDEX job_by_expiry ON job (expires);
CREATE INDEX job_to_tell ON job (webhook_due) WHERE webhook_due IS NOT NULL;
CREATE TABLE document (job INTEGER PRIMARY KEY REFERENCES job ON DELETE CASCADE, data BLOB NOT NULL);
CREATE TABLE page (
    job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE, place INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (job, place)
);
PRAGMA application_id = 0x504C4A42;
PRAGMA user_version = 1;
"""
