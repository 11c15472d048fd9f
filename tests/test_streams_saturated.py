"""Cameras that together show far more than the analysis has time for, by a clock that only the test moves."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from platoon.media.backlog import Backlog, Taken
from platoon.media.slot import NewestSlot
from platoon.streams.mux import Mux
from tests.clock import Clock
from tests.plate_scripts import frame

PATIENCE_S = 30
TICKS_PER_S = 30
SECONDS = 20
RATES = {"a": 30, "b": 30, "c": 15, "d": 15, "e": 10, "f": 10}
"""Pictures a second, by camera: 110 in all."""
ANALYSED_PER_S = 6
GROUP_S = 2
MAX_LAG_S = 0.5


@dataclass(eq=False)
class Packet:
    is_keyframe: bool
    size: int = 1000


class Decoding(Backlog):
    """Knows when its decoder has nothing to do."""

    asked = False

    def take(self, *, hold: bool = False) -> Taken | None:
        with self._changed:
            self.asked = True
            self._changed.notify_all()
            taken = super().take(hold=hold)
            self.asked = False
            return taken

    def await_decoder(self) -> None:
        with self._changed:
            self._changed.notify_all()
            for _ in range(PATIENCE_S * 1000):  # what it leaves out it notifies nobody of
                if self.asked and not self._goes_on():
                    return
                self._changed.wait(0.001)
        raise AssertionError("the decoder stands still")


class Saturated:
    """A camera whose decoder takes no time."""

    def __init__(self, name: str, rate: int, slot: NewestSlot, clock: Clock) -> None:
        self.name, self.rate, self._slot, self._clock = name, rate, slot, clock
        self.decoded = self.sent = self.skipped = 0
        self.served: list[float] = []
        """How old each picture was that was analysed, in seconds."""
        self._coming: queue.Queue[Any] = queue.Queue()
        self._arrived = threading.Semaphore(0)
        self.backlog = Decoding(
            self._packets(),
            max_lag_s=MAX_LAG_S,
            keyframe_max_s=10.0,
            skipped=self._skip,
            has_room=lambda: slot.has_room,
            now=clock,
        )
        slot.on_room = self.backlog.look_again
        self._decoder = threading.Thread(target=self._decode, daemon=True)
        self._decoder.start()

    def _skip(self, count: int, _why: object) -> None:
        self.skipped += count

    def _packets(self) -> Iterator[Any]:
        while (packet := self._coming.get()) is not None:
            yield packet
            self._arrived.release()

    def _decode(self) -> None:
        while (taken := self.backlog.take(hold=True)) is not None:
            self.decoded += 1
            self._slot.offer(replace(frame(0.0), camera=self.name, captured_at=taken.arrived))

    def send(self) -> None:
        self._coming.put(Packet(self.sent % (GROUP_S * self.rate) == 0))
        self.sent += 1
        assert self._arrived.acquire(timeout=PATIENCE_S)
        self.backlog.await_decoder()

    def end(self) -> None:
        self._coming.put(None)
        self.backlog.close()
        self._decoder.join(PATIENCE_S)


def test_saturated_cameras_share_the_analysis_evenly_and_none_falls_behind() -> None:
    clock = Clock()
    mux = Mux(stale=lambda _: None, now=clock)
    cameras = {
        name: Saturated(name, rate, mux.add(name, keep_all=False, max_age_s=None), clock)
        for name, rate in RATES.items()
    }
    for tick in range(SECONDS * TICKS_PER_S):
        clock.now += 1 / TICKS_PER_S
        for camera in cameras.values():
            if tick % (TICKS_PER_S // camera.rate) == 0:
                camera.send()
        for one in mux.collect(1, timeout_s=0) if tick % (TICKS_PER_S // ANALYSED_PER_S) == 0 else ():
            cameras[one.camera].served.append(clock.now - one.captured_at)
            mux.release([one.camera])
            cameras[one.camera].backlog.await_decoder()
    for camera in cameras.values():
        camera.end()
    counts = [len(camera.served) for camera in cameras.values()]
    assert sum(counts) >= 0.95 * SECONDS * ANALYSED_PER_S, "the analysis is never idle"
    assert min(counts) >= 0.9 * max(counts)
    for camera in cameras.values():
        assert np.max(camera.served) <= MAX_LAG_S + len(RATES) / ANALYSED_PER_S
        assert camera.backlog.lag <= MAX_LAG_S
        assert camera.sent == camera.decoded + camera.skipped
    assert sum(camera.decoded for camera in cameras.values()) < 0.9 * sum(camera.sent for camera in cameras.values())
