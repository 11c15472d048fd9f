import threading

import pytest

from platoon.streams.mux import Mux
from tests.clock import Clock
from tests.plate_scripts import frame


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
