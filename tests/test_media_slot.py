import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from platoon.media.frame import PlanarFrame, Planes
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.slot import NewestSlot
from platoon.metrics import PixelMeter

PATIENCE_S = 20
PIXELS = OpenCvPixels(PixelMeter())


def frame(number: int) -> PlanarFrame:
    luma, chroma = np.zeros((2, 2), np.uint8), np.zeros((1, 1), np.uint8)
    return PlanarFrame(Planes(luma, chroma, chroma), PIXELS, "gate", media_time=number, captured_at=number)


@pytest.fixture
def ready() -> threading.Condition:
    return threading.Condition()


def test_the_newest_frame_replaces_an_unread_one(ready: threading.Condition) -> None:
    slot = NewestSlot(ready=ready)
    newest = frame(2)
    assert not slot.offer(frame(1))
    assert slot.offer(newest)
    assert slot.take() is newest


def test_a_taken_frame_is_gone(ready: threading.Condition) -> None:
    slot = NewestSlot(ready=ready)
    slot.offer(frame(1))
    slot.take()
    assert slot.take() is None
    assert not slot.filled
    assert not slot.offer(frame(2))


def test_a_frame_wakes_who_waits_for_any_slot(ready: threading.Condition) -> None:
    slots = [NewestSlot(ready=ready) for _ in range(3)]
    with ThreadPoolExecutor() as pool:

        def wait() -> bool:
            with ready:
                return ready.wait_for(lambda: any(slot.filled for slot in slots), PATIENCE_S)

        waiting = pool.submit(wait)
        slots[1].offer(frame(1))
        assert waiting.result(PATIENCE_S)


def test_a_slot_that_keeps_all_hands_over_every_frame_in_order(ready: threading.Condition) -> None:
    slot = NewestSlot(ready=ready, keep_all=True)
    frames = [frame(number) for number in range(50)]

    def offer_all() -> list[bool]:
        replaced = [slot.offer(one) for one in frames]
        slot.close()
        return replaced

    taken = []
    with ThreadPoolExecutor() as pool:
        offering = pool.submit(offer_all)
        while not slot.finished:
            with ready:
                assert ready.wait_for(lambda: slot.filled or slot.finished, PATIENCE_S)
            if (one := slot.take()) is not None:
                taken.append(one)
        assert not any(offering.result(PATIENCE_S))
    assert taken == frames


def test_closing_frees_who_waits_to_offer(ready: threading.Condition) -> None:
    slot = NewestSlot(ready=ready, keep_all=True)
    slot.offer(frame(1))
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(slot.offer, frame(2))
        slot.close()
        assert waiting.result(PATIENCE_S) is False


@pytest.mark.parametrize("keep_all", [False, True])
def test_a_closed_slot_still_gives_its_last_frame_and_takes_no_other(
    ready: threading.Condition, keep_all: bool
) -> None:
    slot = NewestSlot(ready=ready, keep_all=keep_all)
    last = frame(1)
    slot.offer(last)
    slot.close()
    assert not slot.finished
    assert slot.take() is last
    assert slot.finished
    slot.offer(frame(2))
    assert slot.take() is None
