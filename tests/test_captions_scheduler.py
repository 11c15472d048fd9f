"""What the scheduler promises, whatever happens in whatever order."""

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.captions.cutter import Cause, Cut
from platoon.captions.scheduler import CALM, JUDGED, MOST_STRIDE, SHARES, Effort, Scheduler, Segment, State
from tests.clock import Clock

EVERY_S = 10.0
TIMEOUT_S = 60.0
ANSWERS = [State.CAPTIONED, State.EXPIRED, State.FAILED]


class Bench:
    """A scheduler, its clock, and what it has ended by itself."""

    def __init__(self, max_requests: int = 2) -> None:
        self.clock = Clock()
        self.ended: list[tuple[Segment, State]] = []
        self.answers: list[tuple[Segment, State]] = []
        self.scheduler = Scheduler(
            max_requests=max_requests,
            timeout_s=TIMEOUT_S,
            on_end=lambda segment, state: self.ended.append((segment, state)),
            now=self.clock,
        )

    def cut(self, camera: str = "a", *, still: bool = False) -> Segment:
        now = self.clock()
        piece = Cut(start_s=now - EVERY_S, end_s=now, mp4=b"", cause=Cause.FULL)
        segment = Segment(camera=camera, cut=piece, ended_at=now, start=now - EVERY_S, end=now)
        self.scheduler.cut(segment, still=still)
        return segment

    def answer(self, segment: Segment, state: State = State.CAPTIONED) -> None:
        if self.scheduler.answered(segment, state):
            self.answers.append((segment, state))


@settings(max_examples=200, deadline=None)
@given(
    max_requests=st.integers(1, 3),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("cut"), st.sampled_from("abcd"), st.booleans()),
            st.tuples(st.just("next")),
            st.tuples(st.just("answer"), st.integers(0, 9), st.sampled_from(ANSWERS)),
            st.tuples(st.just("busy"), st.integers(0, 9), st.floats(0.01, 30)),
            st.tuples(st.just("remove"), st.sampled_from("abcd")),
            st.tuples(st.just("pass"), st.floats(0, 40)),
        ),
        max_size=200,
    ),
)
def test_every_segment_ends_in_one_state(max_requests: int, steps: list[tuple]) -> None:  # type: ignore[type-arg]
    bench = Bench(max_requests)
    scheduler = bench.scheduler
    cut: list[Segment] = []
    in_flight: list[Segment] = []
    for step in steps:
        match step:
            case ("cut", camera, still):
                cut.append(bench.cut(camera, still=still))
            case ("next",):
                if (segment := scheduler.next()) is not None:
                    in_flight.append(segment)
                    assert bench.clock() < scheduler.deadline(segment)
            case ("answer", which, state) if in_flight:
                bench.answer(in_flight.pop(which % len(in_flight)), state)
            case ("busy", which, for_s) if in_flight:
                scheduler.busy(in_flight.pop(which % len(in_flight)), for_s)
                assert scheduler.next() is None
            case ("remove", camera):
                scheduler.remove(camera)
                in_flight = [segment for segment in in_flight if segment.camera != camera]
            case ("pass", seconds):
                bench.clock.ahead += seconds
        of_camera = Counter(segment.camera for segment in in_flight)
        assert len(in_flight) <= max_requests
        assert set(of_camera.values()) <= {1}
        for camera in "abcd":
            n_cut, ended, pending = scheduler.counts(camera)
            assert sum(ended.values()) + pending == n_cut
            assert pending <= 2
    for camera in "abcd":
        scheduler.remove(camera)
    over = [segment for segment, _ in bench.ended + bench.answers]
    assert len(over) == len(cut)
    assert set(map(id, over)) == set(map(id, cut))


def test_a_newer_segment_replaces_the_one_that_waits_and_only_that() -> None:
    bench = Bench()
    first = bench.cut()
    assert bench.scheduler.next() is first
    second, third = bench.cut(), bench.cut()
    assert bench.ended == [(second, State.SUPERSEDED)]
    assert bench.scheduler.next() is None  # one of a camera at a time
    bench.answer(first)
    assert bench.scheduler.next() is third


def test_the_camera_that_was_without_a_caption_for_longest_is_served_first() -> None:
    bench = Bench(max_requests=1)
    order = []
    for _ in range(9):
        bench.clock.ahead += EVERY_S
        for camera in "abc":
            bench.cut(camera)
        segment = bench.scheduler.next()
        assert segment is not None
        order.append(segment.camera)
        bench.clock.ahead += 1
        bench.answer(segment)
    assert "".join(order) == "abc" * 3


def test_a_camera_that_always_fails_keeps_no_other_waiting() -> None:
    bench = Bench(max_requests=1)
    served: Counter[str] = Counter()
    for _ in range(12):
        bench.clock.ahead += EVERY_S
        for camera in "ab":
            bench.cut(camera)
        segment = bench.scheduler.next()
        assert segment is not None
        served[segment.camera] += 1
        bench.answer(segment, State.FAILED if segment.camera == "a" else State.CAPTIONED)
    assert min(served["a"], served["b"]) >= 5


def test_a_segment_that_waited_too_long_expires() -> None:
    bench = Bench()
    segment = bench.cut()
    assert bench.scheduler.wakes_at() == bench.clock() + TIMEOUT_S
    bench.clock.ahead += TIMEOUT_S
    assert bench.scheduler.next() is None
    assert bench.ended == [(segment, State.EXPIRED)]
    assert bench.scheduler.wakes_at() == math.inf


def test_a_busy_server_is_left_alone_by_all_cameras_and_asked_again_about_the_same() -> None:
    bench = Bench()
    first = bench.cut("a")
    assert bench.scheduler.next() is first
    bench.cut("b")
    bench.scheduler.busy(first, 5)
    assert bench.scheduler.next() is None
    assert bench.scheduler.wakes_at() == bench.clock() + 5
    bench.clock.ahead += 5
    assert {bench.scheduler.next(), bench.scheduler.next()} >= {first}
    assert not bench.ended


def test_still_segments_are_skipped_and_leave_what_waits_alone() -> None:
    bench = Bench()
    moving = bench.cut()
    still = bench.cut(still=True)
    assert bench.ended == [(still, State.SKIPPED)]
    assert bench.scheduler.next() is moving


def test_under_overload_pictures_become_fewer_first_and_strides_longer_then() -> None:
    bench = Bench()
    efforts = [bench.scheduler.effort]
    for _ in range(2000):
        bench.cut()
        bench.cut()
        if (segment := bench.scheduler.next()) is not None:
            bench.answer(segment)
        if bench.scheduler.effort != efforts[-1]:
            efforts.append(bench.scheduler.effort)
    assert efforts[:3] == [Effort(share) for share in SHARES]
    assert efforts[3:4] == [Effort(SHARES[-1], 2)]
    assert all(effort.stride <= MOST_STRIDE for effort in efforts)


def test_what_a_longer_stride_leaves_out_is_reported_as_superseded_at_once() -> None:
    bench = Bench()
    while bench.scheduler.effort.stride < 2:
        bench.cut()
    bench.ended.clear()
    cut = [bench.cut() for _ in range(6)]
    told = [segment for segment, state in bench.ended if state is State.SUPERSEDED and segment in cut]
    assert len(told) >= 3


def test_a_model_that_keeps_up_again_is_shown_everything_again() -> None:
    bench = Bench()
    while bench.scheduler.effort == Effort():
        bench.cut()
    for _ in range(JUDGED * (CALM + 2)):
        bench.cut()
        if (segment := bench.scheduler.next()) is not None:
            bench.answer(segment)
    assert bench.scheduler.effort == Effort()
