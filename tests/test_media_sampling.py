from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.media.sampling import MAX_GAP_S, RETRY_S, MediaClock, Sampler, Thinning

times = st.lists(st.floats(-1e4, 1e6, allow_nan=False), min_size=1, max_size=60)


def chosen(sampler: Sampler, times: list[float]) -> list[int]:
    return [i for i, time in enumerate(times) if sampler.wants(time)]


def test_without_a_rate_every_frame_is_wanted() -> None:
    assert chosen(Sampler(fps=None), [0.0, 0.1, 0.2]) == [0, 1, 2]


def test_every_third_frame_is_wanted_whatever_the_times_say() -> None:
    assert chosen(Sampler(fps=None, every=3), [0.0, 5.0, 4.0, 4.0, 9.0, 1.0, 1.5]) == [0, 3, 6]


@pytest.mark.parametrize(("source_fps", "fps"), [(30, 5), (30, 12), (25, 10), (15, 4), (30, 29)])
def test_the_rate_is_held_over_a_minute(source_fps: int, fps: int) -> None:
    kept = chosen(Sampler(fps=fps), [i / source_fps for i in range(60 * source_fps)])
    assert len(kept) == pytest.approx(60 * fps, abs=2)


@pytest.mark.parametrize("fps", [15, 25, 30])
def test_a_source_of_just_the_rate_loses_nothing_to_rounded_time_stamps(fps: int) -> None:
    assert len(chosen(Sampler(fps=fps), [round(7.019 + i / fps, 3) for i in range(1000)])) == 1000


def test_a_source_slower_than_the_rate_loses_nothing() -> None:
    assert len(chosen(Sampler(fps=10), [i / 7 for i in range(100)])) == 100


def test_after_a_pause_missed_frames_are_not_made_up_for() -> None:
    times = [i / 30 for i in range(30)] + [100 + i / 30 for i in range(30)]
    assert len(chosen(Sampler(fps=5), times)) == 10


def test_time_that_jumps_back_does_not_silence_a_camera() -> None:
    sampler = Sampler(fps=5)
    chosen(sampler, [500 + i / 30 for i in range(30)])
    assert len(chosen(sampler, [i / 30 for i in range(30)])) == 5


def test_the_rate_applies_to_what_every_nth_leaves() -> None:
    assert chosen(Sampler(fps=5, every=2), [i / 10 for i in range(10)]) == [0, 2, 4, 6, 8]


@given(times, st.floats(0.1, 60), st.integers(1, 5))
def test_the_same_times_give_the_same_frames(times: list[float], fps: float, every: int) -> None:
    assert chosen(Sampler(fps=fps, every=every), times) == chosen(Sampler(fps=fps, every=every), times)


@given(st.lists(st.floats(0, 0.5), min_size=2, max_size=200), st.floats(0.5, 60))
def test_the_rate_is_never_exceeded_by_more_than_one_frame(steps: list[float], fps: float) -> None:
    now, times = 0.0, []
    for step in steps:
        now += step
        times.append(now)
    kept = chosen(Sampler(fps=fps), times)
    assert len(kept) <= (times[-1] - times[0]) * fps + 2


def test_media_time_starts_at_zero_wherever_the_time_stamps_start() -> None:
    clock = MediaClock()
    clock.restart(period_s=0.04, gap_s=0)
    assert [clock.tick(stamp) for stamp in (90.0, 90.04, 90.1)] == pytest.approx([0, 0.04, 0.1])


def test_frames_without_a_time_stamp_are_counted() -> None:
    clock = MediaClock()
    clock.restart(period_s=0.1, gap_s=0)
    assert [clock.tick(stamp) for stamp in (None, None, 5.0, None, 5.2)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_restart_goes_on_after_the_gap() -> None:
    clock = MediaClock()
    clock.restart(period_s=0.1, gap_s=0)
    clock.tick(3.0)
    clock.tick(4.0)
    clock.restart(period_s=0.1, gap_s=7)
    assert [clock.tick(0.0), clock.tick(0.1)] == pytest.approx([8, 8.1])


@pytest.mark.parametrize("jump_to", [-50.0, 0.0, 1 + 2 * MAX_GAP_S])
def test_a_clock_that_was_set_costs_one_frame_period(jump_to: float) -> None:
    clock = MediaClock()
    clock.restart(period_s=0.5, gap_s=0)
    clock.tick(0.0)
    clock.tick(1.0)
    assert [clock.tick(jump_to), clock.tick(jump_to + 0.5)] == pytest.approx([1.5, 2.0])


def test_what_a_recording_left_out_stays_a_gap() -> None:
    clock = MediaClock()
    clock.restart(period_s=0.04, gap_s=0)
    assert [clock.tick(stamp) for stamp in (0.0, 0.04, 603.0, 603.04)] == pytest.approx([0, 0.04, 603, 603.04])


def live(stamps: Callable[[float], float | None], came: Iterable[float]) -> tuple[list[float], MediaClock]:
    """Media times of a live stream whose time stamps are a function of when its pictures came."""
    clock = MediaClock()
    clock.restart(period_s=0.04, gap_s=0)
    return [clock.tick(stamps(at), at) for at in came], clock


MINUTE = [1000 + number / 25 for number in range(60 * 25)]


@pytest.mark.parametrize(
    "stamps",
    [
        lambda _: 0.0,
        lambda _: None,
        lambda at: at / 90,
        lambda at: at * 30,
        lambda at: at * 1000,
        lambda at: at // 8,
        lambda at: -at,
        lambda at: at if round(at * 25) % 2 else at - 9800,
    ],
    ids=["still", "missing", "crawl", "race", "leap", "stairs", "backwards", "there and back"],
)
def test_where_time_stamps_are_wrong_arrivals_count(stamps: Callable[[float], float | None]) -> None:
    times, clock = live(stamps, MINUTE)
    assert times == sorted(times)
    assert times[-1] - times[4 * 25] == pytest.approx(56, abs=1)
    assert len(chosen(Sampler(fps=3), times[4 * 25 :])) == pytest.approx(56 * 3, abs=4)
    assert clock.by_arrival


def burst_after_the_start() -> list[tuple[float, float]]:
    """(stamp, arrival): a server hands out five seconds that it has kept at once."""
    return [(number / 25, 1000 + max(0, number - 125) / 25 + number / 1e4) for number in range(1500)]


def pause() -> list[tuple[float, float]]:
    """The network stands still for three seconds and makes up for it then."""
    return [(n / 25, 1003.0 + n / 1e4 if 20 <= n <= 95 else 1000 + n / 25) for n in range(1500)]


def slow_frames() -> list[tuple[float, float]]:
    return [(number * 2.0, 1000 + number * 2.0 + number % 3 / 10) for number in range(60)]


def clock_set_once() -> list[tuple[float, float]]:
    return [(number / 25 + (3600 if number > 300 else 0), 1000 + number / 25) for number in range(1500)]


@pytest.mark.parametrize("stream", [burst_after_the_start, pause, slow_frames, clock_set_once])
def test_what_a_network_does_is_no_fault_of_time_stamps(stream: Callable[[], list[tuple[float, float]]]) -> None:
    clock = MediaClock()
    clock.restart(period_s=0.04, gap_s=0)
    for stamp, came in stream():
        clock.tick(stamp, came)
        assert not clock.by_arrival


def test_a_live_clock_that_was_set_goes_on_by_the_time_between_arrivals() -> None:
    clock = MediaClock()
    clock.restart(period_s=0.04, gap_s=0)
    stream = [(5.0, 100.0), (5.5, 100.5), (5000.0, 103.0), (5000.5, 103.5)]
    assert [clock.tick(*both) for both in stream] == pytest.approx([0, 0.5, 3.0, 3.5])


def test_time_stamps_that_are_right_again_count_after_a_while() -> None:
    _, clock = live(lambda at: min(at, 1010) if at < 1020 else at, MINUTE)
    assert not clock.by_arrival
    _, clock = live(lambda at: min(at, 1010) if at < 1055 else at, MINUTE)
    assert clock.by_arrival


@given(st.lists(st.tuples(st.none() | st.floats(-1e5, 1e5, allow_nan=False), st.floats(0, 1e4)), max_size=60))
def test_live_media_time_never_goes_backwards(stream: list[tuple[float | None, float]]) -> None:
    clock = MediaClock()
    clock.restart(period_s=0.04, gap_s=0)
    ticks = [clock.tick(stamp, came) for stamp, came in stream]
    assert ticks == sorted(ticks)


@given(st.lists(st.none() | st.floats(-1e5, 1e5, allow_nan=False), max_size=60))
def test_media_time_never_goes_backwards(stamps: list[float | None]) -> None:
    clock = MediaClock()
    clock.restart(period_s=0.04, gap_s=0)
    ticks = [clock.tick(stamp) for stamp in stamps]
    assert ticks == sorted(ticks)


def test_pictures_that_no_other_refers_to_are_left_out_while_there_are_enough_without_them() -> None:
    thinning = Thinning(5)
    assert thinning.allowed
    for number in range(40):
        thinning.saw(number / 10)  # of thirty a second, every third
    assert thinning.allowed


@pytest.mark.parametrize("reference_fps", [3, 4, 7, 9])
def test_where_too_few_pictures_are_left_all_are_decoded_again(reference_fps: int) -> None:
    thinning = Thinning(5)
    for number in range(2):
        thinning.saw(number / reference_fps)
    assert not thinning.allowed
    for number in range(round(25 / reference_fps) + 1, round((RETRY_S - 1) * 25)):
        thinning.saw(number / 25)
        assert not thinning.allowed
    for number in range(round((RETRY_S - 1) * 25), round((RETRY_S + 1) * 25)):
        thinning.saw(number / 25)
    assert thinning.allowed, "and tried again after a while"


def test_a_gap_where_something_was_skipped_says_nothing() -> None:
    thinning = Thinning(5)
    for number in range(10):
        thinning.saw(number / 10)
    thinning.restart()
    thinning.saw(9.0)
    thinning.saw(9.1)
    assert thinning.allowed


@pytest.mark.parametrize("sampler", [Sampler(fps=None), Sampler(fps=5, every=2)])
def test_where_frames_are_counted_each_is_decoded(sampler: Sampler) -> None:
    thinning = Thinning(sampler.rate)
    thinning.saw(0.0)
    thinning.saw(0.04)
    assert not thinning.allowed


def test_where_time_stamps_stand_still_each_picture_is_decoded() -> None:
    thinning = Thinning(5)
    for _ in range(3):
        thinning.saw(7.0)
    assert not thinning.allowed
