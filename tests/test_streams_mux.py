import threading
from collections.abc import Sequence

import pytest

from platoon.media.frame import Frame
from platoon.media.slot import NewestSlot
from platoon.streams.mux import Mux
from tests.clock import Clock
from tests.plate_scripts import frame
from tests.running import wait_until


@pytest.fixture
def stale() -> list[str]:
    return []


def test_every_camera_that_has_a_frame_is_in_the_batch_and_none_twice(stale: list[str]) -> None:
    mux = Mux(stale=stale.append, now=Clock())
    slots = [mux.add(f"cam{i}", keep_all=False, max_age_s=1.0) for i in range(4)]
    for i in (0, 2, 3):
        slots[i].offer(frame(0.0))
        slots[i].offer(frame(0.1))
    batch = mux.collect(16, timeout_s=0)
    assert [f.media_time for f in batch] == [0.1, 0.1, 0.1]
    assert mux.collect(16, timeout_s=0) == []


def test_a_camera_that_was_left_out_goes_first_next_time(stale: list[str]) -> None:
    mux = Mux(stale=stale.append, now=Clock())
    slots = {name: mux.add(name, keep_all=False, max_age_s=None) for name in "abc"}
    order = []
    for _ in range(6):
        for number, slot in enumerate(slots.values()):
            slot.offer(frame(float(number)))
        (served,) = mux.collect(1, timeout_s=0)
        mux.release("abc")
        order.append(round(served.media_time))
    assert sorted(order) == [0, 0, 1, 1, 2, 2]


def test_a_frame_that_got_too_old_is_dropped_and_counted(stale: list[str]) -> None:
    clock = Clock()
    mux = Mux(stale=stale.append, now=clock)
    mux.add("slow", keep_all=False, max_age_s=1.0).offer(frame(0.0))
    mux.add("file", keep_all=False, max_age_s=None).offer(frame(0.0))
    clock.now += 5.0
    assert len(mux.collect(16, timeout_s=0)) == 1
    assert stale == ["slow"]


def test_a_waiting_collector_wakes_at_the_first_frame_of_any_camera(stale: list[str]) -> None:
    mux = Mux(stale=stale.append, now=Clock())
    mux.add("stalled", keep_all=False, max_age_s=None)
    busy = mux.add("busy", keep_all=False, max_age_s=None)
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(len(mux.collect(16, timeout_s=60))))
    waiter.start()
    busy.offer(frame(0.0))
    waiter.join(30)
    assert got == [1]


def test_it_is_finished_once_all_sources_have_ended_and_their_frames_are_taken(stale: list[str]) -> None:
    mux = Mux(stale=stale.append, now=Clock())
    slots = [mux.add(name, keep_all=True, max_age_s=None) for name in "ab"]
    slots[0].offer(frame(0.0))
    for slot in slots:
        slot.close()
    assert not mux.finished()
    assert len(mux.collect(16, timeout_s=0)) == 1
    assert mux.finished()


def test_a_removed_camera_lets_its_decoder_go(stale: list[str]) -> None:
    mux = Mux(stale=stale.append, now=Clock())
    slot = mux.add("file", keep_all=True, max_age_s=None)
    slot.offer(frame(0.0))
    blocked = threading.Thread(target=slot.offer, args=(frame(0.1),))
    blocked.start()
    mux.remove("file")
    blocked.join(30)
    assert not blocked.is_alive()


@pytest.fixture
def mux(stale: list[str]) -> Mux:
    return Mux(stale=stale.append, now=Clock())


def offered(mux: Mux, cameras: str) -> dict[str, NewestSlot]:
    """Slots of these cameras, each with a frame whose media time is the camera's number."""
    slots = {camera: mux.add(camera, keep_all=False, max_age_s=None) for camera in cameras}
    for number, slot in enumerate(slots.values()):
        slot.offer(frame(float(number)))
    return slots


def numbers(frames: Sequence[Frame]) -> list[int]:
    return [round(each.media_time) for each in frames]


def test_a_camera_in_flight_gives_no_frame_until_it_is_released(mux: Mux) -> None:
    slots = offered(mux, "ab")
    assert numbers(mux.collect(1, timeout_s=0)) == [0]
    slots["a"].offer(frame(2.0))
    assert numbers(mux.collect(16, timeout_s=0)) == [1]
    assert mux.collect(16, timeout_s=0) == []
    mux.release("a")
    assert numbers(mux.collect(16, timeout_s=0)) == [2]


def test_a_lane_that_waits_goes_on_once_a_camera_is_released_that_has_a_frame(mux: Mux) -> None:
    slots = offered(mux, "a")
    mux.collect(1, timeout_s=0)
    slots["a"].offer(frame(1.0))
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.extend(numbers(mux.collect(16, timeout_s=60))))
    waiter.start()
    mux.release("a")
    waiter.join(30)
    assert got == [1]


def test_lanes_that_wait_share_what_is_ready(mux: Mux) -> None:
    got: list[list[Frame]] = []
    lanes = [threading.Thread(target=lambda: got.append(mux.collect(16, timeout_s=60))) for _ in range(3)]
    for lane in lanes:
        lane.start()
    wait_until(lambda: mux._idle == 3, "all wait")
    with mux.ready:  # so that all is there before the first of them looks
        offered(mux, "abcdefg")
    for lane in lanes:
        lane.join(30)
    assert sorted(len(frames) for frames in got) == [2, 2, 3]
    assert sorted(number for frames in got for number in numbers(frames)) == list(range(7))


def test_those_served_longest_ago_go_first_whichever_lanes_served_them(mux: Mux) -> None:
    slots = offered(mux, "abcd")
    assert numbers(mux.collect(3, timeout_s=0)) == [0, 1, 2]
    mux.release("b")
    mux.release("ca")
    for number, slot in enumerate(slots.values()):
        slot.offer(frame(float(number)))
    assert numbers(mux.collect(4, timeout_s=0)) == [3, 0, 1, 2]


def test_a_camera_is_removed_once_it_is_not_in_flight_and_gives_no_frame_before(mux: Mux) -> None:
    slots = offered(mux, "ab")
    mux.collect(1, timeout_s=0)
    slots["a"].offer(frame(2.0))
    removing = threading.Thread(target=mux.remove, args=("a",))
    removing.start()
    wait_until(lambda: not slots["a"].filled, "it gives nothing any more")
    assert removing.is_alive()
    mux.remove("b")  # which is not in flight
    mux.release("a")
    removing.join(30)
    assert not removing.is_alive()
    assert mux.finished()


def test_only_a_known_camera_that_is_not_in_flight_can_be_claimed(mux: Mux) -> None:
    offered(mux, "ab")
    assert numbers(mux.collect(1, timeout_s=0)) == [0]
    assert not mux.claim("a")
    assert mux.claim("b")
    assert not mux.claim("b")
    assert mux.collect(16, timeout_s=0) == []
    mux.release("b")
    assert numbers(mux.collect(16, timeout_s=0)) == [1]
    assert not mux.claim("c")
