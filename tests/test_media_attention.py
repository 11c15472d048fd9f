import threading

import pytest

from platoon.media.attention import Attention, Level, Reason
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def asleep(clock: Clock) -> Attention:
    attention = Attention("auto", awake_s=4, now=clock)
    clock.now += 4
    assert attention.rest()
    return attention


def test_a_camera_sleeps_once_nothing_has_asked_for_it_for_a_while(clock: Clock) -> None:
    attention = Attention("auto", awake_s=4, now=clock)
    assert (attention.level, attention.reason) == (Level.WATCH, Reason.START)
    clock.now += 3.9
    assert not attention.rest()
    attention.wake(Reason.CHANGE)
    clock.now += 3.9
    assert not attention.rest()
    assert attention.reason is Reason.CHANGE
    clock.now += 0.2
    assert attention.rest()
    assert {attention.level, attention.reason} == {Level.IDLE, None}


def test_it_never_falls_asleep_but_at_a_keyframe(clock: Clock) -> None:
    attention = Attention("auto", awake_s=4, now=clock)
    clock.now += 3600
    assert attention.level is Level.WATCH


@pytest.mark.parametrize(("mode", "level"), [("watch", Level.WATCH), ("full", Level.FULL)])
def test_where_it_may_not_sleep_it_does_not(clock: Clock, mode: str, level: Level) -> None:
    attention = Attention(mode, awake_s=4, now=clock)  # type: ignore[arg-type]
    clock.now += 3600
    assert not attention.rest()
    attention.wake(Reason.CALL)
    assert attention.level is level


def test_the_longer_of_two_reasons_holds(clock: Clock) -> None:
    attention = asleep(clock)
    attention.wake(Reason.CALL, 60)
    attention.wake(Reason.CHANGE)
    assert attention.reason is Reason.CALL
    clock.now += 59
    assert not attention.rest()
    clock.now += 1
    assert attention.rest()


def test_changes_are_reported_once_whoever_wakes_it(clock: Clock) -> None:
    attention = asleep(clock)
    changes: list[tuple[Level, Reason | None]] = []
    woken = threading.Semaphore(0)
    attention.on_change = lambda level, reason: changes.append((level, reason))
    attention.on_wake = woken.release
    barrier = threading.Barrier(8)

    def wake() -> None:
        barrier.wait()
        attention.wake(Reason.VIEWER)

    threads = [threading.Thread(target=wake) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert changes == [(Level.WATCH, Reason.VIEWER)]
    assert woken.acquire(blocking=False)
    assert not woken.acquire(blocking=False)
