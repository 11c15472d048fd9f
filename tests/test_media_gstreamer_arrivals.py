"""What is left out where decoding is behind, by a clock that the test sets."""

from platoon.media.gstreamer.arrivals import Arrivals
from tests.clock import Clock


def test_packets_that_are_decoded_in_time_are_all_wanted_and_known_by_their_arrival(clock: Clock) -> None:
    arrivals = Arrivals(max_lag_s=0.5, skipped=lambda _: None, now=clock)
    for stamp in range(10):
        arrivals.came(stamp, keyframe=stamp == 0)
    began = clock()
    clock.now += 0.4
    assert all(arrivals.wanted(stamp, keyframe=stamp == 0) for stamp in range(10))
    assert arrivals.lag == 0.4 or abs(arrivals.lag - 0.4) < 1e-6
    assert {arrivals.of(stamp) for stamp in (0, 2, 1)} == {began, None}, "an older one is forgotten with a later"


def test_one_that_is_behind_goes_on_from_the_newest_keyframe(clock: Clock) -> None:
    skipped: list[int] = []
    arrivals = Arrivals(max_lag_s=0.5, skipped=skipped.append, now=clock)
    for stamp in range(30):
        arrivals.came(stamp, keyframe=stamp % 10 == 0)
    clock.now += 1
    assert [stamp for stamp in range(30) if arrivals.wanted(stamp, keyframe=stamp % 10 == 0)] == list(range(20, 30))
    assert sum(skipped) == 20


def test_one_that_is_behind_without_a_keyframe_goes_on_in_order(clock: Clock) -> None:
    arrivals = Arrivals(max_lag_s=0.5, skipped=lambda _: None, now=clock)
    for stamp in range(1, 10):
        arrivals.came(stamp, keyframe=False)
    clock.now += 1
    assert all(arrivals.wanted(stamp, keyframe=False) for stamp in range(1, 10))


def test_what_nobody_saw_arrive_is_wanted(clock: Clock) -> None:
    arrivals = Arrivals(max_lag_s=0.5, skipped=lambda _: None, now=clock)
    assert arrivals.wanted(7, keyframe=False)
    assert arrivals.of(7) == clock()
    assert arrivals.of(8) is None
