import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from platoon.media import backlog
from platoon.media.attention import Attention, Mode, Role, Skipped
from platoon.media.backlog import LAG_WINDOW_S, MAX_WAIT_S, SATURATED, Backlog, FallenBehind
from tests.clock import Clock

PATIENCE_S = 30


@dataclass(eq=False)
class Packet:
    number: int
    is_keyframe: bool = False
    size: int = 1000


class Stream:
    """Packets that arrive when the test says so, and the backlog that they go into."""

    def __init__(self, max_lag_s: float = 0.5, mode: Mode = "full") -> None:
        self.clock = Clock()
        self.attention = Attention(mode, awake_s=0, now=self.clock)
        self.skipped: list[int] = []
        self.causes: set[Skipped] = set()
        self.room = True
        self.asked = threading.Event()
        self._coming: queue.Queue[Any] = queue.Queue()
        self._arrived = threading.Semaphore(0)
        self._sent = 0
        self.backlog = Backlog(
            self._packets(),
            max_lag_s=max_lag_s,
            keyframe_max_s=3.0,
            skipped=self._skip,
            has_room=self._has_room,
            attention=self.attention,
            now=self.clock,
        )

    def _skip(self, count: int, why: Skipped) -> None:
        self.skipped.append(count)
        self.causes.add(why)

    def _has_room(self) -> bool:
        self.asked.set()
        return self.room

    def _packets(self) -> Iterator[Any]:
        while True:
            coming = self._coming.get()
            if coming is None:
                return
            if isinstance(coming, Exception):
                raise coming
            yield coming
            self._arrived.release()

    def bring(self, *, keyframe: bool = False, size: int = 1000) -> None:
        """The next packet arrives now."""
        self._coming.put(Packet(self._sent, keyframe, size))
        self._sent += 1
        assert self._arrived.acquire(timeout=PATIENCE_S)

    def bring_one_too_many(self) -> None:
        """A packet arrives for which there is no room any more."""
        self._coming.put(Packet(self._sent))
        self.backlog.close()

    def end(self, error: Exception | None = None) -> None:
        self._coming.put(error)

    def take(self, *, hold: bool = False) -> int | None:
        taken = self.backlog.take(hold=hold)
        return None if taken is None else taken[0].number

    def make_room(self) -> None:
        """The picture that waited was taken."""
        self.room = True
        self.backlog.look_again()


@pytest.fixture
def stream() -> Iterator[Stream]:
    one = Stream()
    yield one
    one.end()
    one.backlog.close()


def test_a_decoder_that_keeps_up_gets_every_packet_with_the_moment_it_arrived(stream: Stream) -> None:
    for number in range(5):
        stream.bring(keyframe=number == 0)
        arrived = stream.clock.now
        stream.clock.now += 0.4
        taken = stream.backlog.take()
        assert taken is not None
        assert taken[1:] == (arrived, False, Role.LIVE)
        assert stream.backlog.lag == pytest.approx(0.4)
    assert stream.skipped == []


def test_a_decoder_that_is_behind_goes_on_from_the_newest_keyframe(stream: Stream) -> None:
    for number in range(10):
        stream.bring(keyframe=number in (0, 4, 7))
        stream.clock.now += 0.1
    taken = stream.backlog.take()
    assert taken is not None
    assert taken[0].number == 7
    assert taken[2]
    assert stream.skipped == [7]
    assert [stream.take() for _ in range(2)] == [8, 9]


def test_a_stream_of_keyframes_alone_is_taken_up_at_its_newest(stream: Stream) -> None:
    for _ in range(10):
        stream.bring(keyframe=True)
        stream.clock.now += 0.1
    assert stream.take() == 9
    assert stream.skipped == [9]


def test_without_a_keyframe_to_go_on_from_nothing_is_left_out(stream: Stream) -> None:
    for number in range(10):
        stream.bring(keyframe=number == 0)
        stream.clock.now += 0.5
    assert [stream.take() for _ in range(10)] == list(range(10))
    assert stream.skipped == []


def test_a_decoder_that_is_hopelessly_behind_without_a_keyframe_is_a_failure_instead_of_drifting(
    stream: Stream,
) -> None:
    stream.bring(keyframe=True)
    assert stream.take() == 0
    stream.bring()
    stream.clock.now += MAX_WAIT_S + 0.1
    stream.bring_one_too_many()
    with pytest.raises(FallenBehind, match="no keyframe"):
        stream.backlog.take()


@pytest.mark.parametrize("keyframes", [False, True])
def test_what_waits_for_a_decoder_that_hangs_is_bounded(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, keyframes: bool
) -> None:
    monkeypatch.setattr(backlog, "MAX_BYTES", 10_000)
    for number in range(10):
        stream.bring(keyframe=keyframes and number % 4 == 0)
    if keyframes:
        for number in range(10, 100):
            stream.bring(keyframe=number % 4 == 0)
        taken = stream.backlog.take()
        assert taken is not None
        assert taken[2]
        assert sum(stream.skipped) >= 88
    else:
        stream.bring_one_too_many()
        with pytest.raises(FallenBehind):
            stream.backlog.take()


def asleep() -> Stream:
    """A camera that fell asleep at packet 2, its second keyframe, at which there was nothing to see."""
    one = Stream(mode="auto")
    for number in range(3):
        one.bring(keyframe=number != 1)
        one.clock.now += 1
        if number < 2:
            assert one.take() == number
    taken = one.backlog.take()
    assert taken is not None
    assert (taken.packet.number, taken.role) == (2, Role.LOOK)
    one.backlog.forget(taken.packet)
    return one


def test_a_glance_gives_what_came_since_the_keyframe_once_and_the_next_what_came_since() -> None:
    sleeper = asleep()
    roles: list[tuple[int, Role]] = []

    def glance(count: int) -> None:
        sleeper.backlog.glance()
        for _ in range(count):
            taken = sleeper.backlog.take()
            assert taken is not None
            roles.append((taken.packet.number, taken.role))

    sleeper.bring()
    glance(2)
    sleeper.bring()
    glance(1)
    assert roles == [(2, Role.REFERENCE), (3, Role.GLANCE), (4, Role.GLANCE)]
    sleeper.end()
    assert sleeper.take() is None


def test_a_glance_that_is_late_comes_before_the_keyframe_that_came_meanwhile() -> None:
    sleeper = asleep()
    sleeper.bring()
    sleeper.bring()
    sleeper.backlog.glance()
    sleeper.bring()
    sleeper.clock.now += 1
    sleeper.bring(keyframe=True)
    taken = [sleeper.backlog.take() for _ in range(4)]
    assert [(one.packet.number, one.role) for one in taken if one is not None] == [
        (2, Role.REFERENCE),
        (3, Role.REFERENCE),
        (4, Role.GLANCE),
        (6, Role.LOOK),
    ]
    sleeper.bring()
    sleeper.backlog.glance()
    glanced = [sleeper.backlog.take() for _ in range(2)]
    assert [one.packet.number for one in glanced if one is not None] == [6, 7], (
        "from the keyframe on, not from packet 5"
    )
    sleeper.end()
    assert sleeper.take() is None


def test_the_lag_is_how_late_the_decoder_is_at_worst_in_the_last_seconds(stream: Stream) -> None:
    assert stream.backlog.lag == 0
    stream.bring(keyframe=True)
    stream.bring()
    stream.take()
    for waited in (1.0, 2.0):
        stream.clock.now += 1.0
        assert stream.backlog.lag == pytest.approx(waited)
    stream.take()
    for _ in range(5):
        stream.bring()
        stream.take()
        assert stream.backlog.lag == pytest.approx(2.0)
    for _ in range(3):
        stream.clock.now += LAG_WINDOW_S + 0.1
        stream.bring()
        stream.take()
    assert stream.backlog.lag == 0


@pytest.mark.parametrize("error", [None, OSError("reset")])
def test_the_end_comes_after_all_that_came_before_it(error: Exception | None) -> None:
    stream = Stream()
    stream.bring(keyframe=True)
    stream.bring()
    stream.end(error)
    assert [stream.take(), stream.take()] == [0, 1]
    if error is None:
        assert stream.take() is None
    else:
        with pytest.raises(OSError, match="reset"):
            stream.take()
    stream.backlog.close()


def saturate(stream: Stream, *, keyframe_every: int = 20) -> None:
    """Let pictures wait while twice as many packets arrive as are decoded without saturation."""
    for _ in range(10):
        stream.room = False
        for _ in range(round(2 * SATURATED)):
            stream.bring(keyframe=stream._sent % keyframe_every == 0)
            stream.clock.now += 0.05
            stream.take()
        stream.make_room()
    assert stream.backlog.saturated


def test_a_pause_of_who_takes_the_pictures_costs_none_and_is_no_saturation(stream: Stream) -> None:
    stream.bring(keyframe=True)
    assert stream.take() == 0
    stream.room = False
    for number in range(1, 20):
        stream.bring()
        stream.clock.now += 0.05
        assert stream.take(hold=True) == number
    stream.make_room()
    assert not stream.backlog.saturated
    assert stream.skipped == []


def test_where_saturated_the_decoder_waits_until_its_picture_was_taken(stream: Stream) -> None:
    saturate(stream)
    stream.bring(keyframe=True)
    first = stream.take(hold=True)
    stream.room = False
    stream.bring()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(stream.take, hold=True)
        stream.bring()
        assert not waiting.done()
        stream.make_room()
        assert waiting.result(PATIENCE_S) == (first or 0) + 1
    assert stream.take(hold=False) == (first or 0) + 2, "a picture that is owed is not waited for"


def test_where_saturated_the_rest_of_a_group_is_left_out_once_it_is_too_old(stream: Stream) -> None:
    saturate(stream)
    stream.bring(keyframe=True)
    stream.take(hold=True)
    stream.room = False
    stream.asked.clear()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(stream.take, hold=True)
        assert stream.asked.wait(PATIENCE_S)
        for _ in range(16):
            stream.bring()
            stream.clock.now += 0.05
        assert not waiting.done()
        stream.make_room()
        stream.bring()
        keyframe = stream._sent
        stream.bring(keyframe=True)
        assert waiting.result(PATIENCE_S) == keyframe
    assert sum(stream.skipped) == 17
    assert stream.causes == {Skipped.SATURATED}
    assert stream.backlog.lag < 0.1, "it was held, and was not slow"


def test_where_saturated_a_picture_that_nobody_takes_is_replaced_by_a_keyframe(stream: Stream) -> None:
    saturate(stream)
    stream.room = False
    keyframe = stream._sent
    stream.bring(keyframe=True)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(stream.take, hold=True)
        for _ in range(12):
            stream.clock.now += 0.05
            stream.bring()
        assert waiting.result(PATIENCE_S) == keyframe


def test_where_keyframes_are_rare_a_saturated_camera_is_decoded_through(stream: Stream) -> None:
    saturate(stream, keyframe_every=100)  # five seconds
    stream.room = False
    stream.bring()
    first = stream._sent - 1
    stream.bring()
    stream.clock.now += 1.0
    assert [stream.take(hold=True) for _ in range(2)] == [first, first + 1]
    assert stream.skipped == []


def test_saturation_ends_once_pictures_are_taken_at_once(stream: Stream) -> None:
    saturate(stream)
    for number in range(40):
        stream.bring(keyframe=number == 0)
        stream.take(hold=True)
        stream.make_room()
    assert not stream.backlog.saturated


def test_the_end_of_a_stream_is_known_although_nobody_takes_its_pictures(stream: Stream) -> None:
    saturate(stream)
    stream.room = False
    stream.bring(keyframe=True)
    stream.end(OSError("reset"))
    stream.take(hold=True)
    with pytest.raises(OSError, match="reset"):
        stream.take(hold=True)
