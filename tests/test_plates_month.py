"""A busy lane for a month: the memory of its plates grows neither in bytes nor in what a frame costs."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from platoon.media.opencv_pixels import OpenCvPixels
from platoon.plates.detector import PlateBox
from platoon.plates.events import BOXES_MOST, Gate, PlatePipeline, ReadTask
from platoon.plates.grammar import Grammar
from platoon.plates.track_state import TEXTS_MOST
from platoon.plates.tracking import TRACKS_MOST, Tracker
from tests.plate_scripts import PIXELS, Seen, drive, line

VEHICLES = int(os.environ.get("PLATOON_TEST_VEHICLES", "600"))
"""A month has some 40,000: `PLATOON_TEST_VEHICLES=40000`. Growth shows with fewer, as each leaves the same behind."""
FRAMES, PAUSE = 4, 6
"""In which each is seen, and in which nobody is but the parked; at 4 a second."""
LETTERS = "ABCDEFGHJKLMNPRSTVWXY"
CROP = np.zeros((24, 96, 3), np.uint8)
PARKED = [Seen("LS15EBC", 900, 300, 22), Seen("YB19TFE", 1100, 320, 26)]


@dataclass(frozen=True, slots=True)
class At:
    """As much of a frame as the plates of one need."""

    media_time: float
    camera: str = "lane"
    width: int = 1280
    height: int = 720

    @property
    def captured_at(self) -> float:
        return 1e9 + self.media_time

    @property
    def pixels(self) -> OpenCvPixels:
        return PIXELS


class Lane:
    """Two vehicles that stand in the picture, and one after the other that passes in front of them."""

    def __init__(self) -> None:
        self.watch = PlatePipeline("lane", Grammar({"GB": 1}), parked_s=60.0)  # an hour's would fill for a tenth of it
        self.emitted: list[str] = []
        self.passed: set[str] = set()
        self.number = 0
        self.frames = 0

    def pass_one(self) -> None:
        """One more vehicle passes, by clocks that nobody waits for."""
        letters, number = divmod(self.number, 90)
        first, last = LETTERS[letters % 21], LETTERS[letters // 21 % 21]
        text = f"{first}{LETTERS[letters // 441]}{10 + number}KX{last}"
        self.passed.add(text)
        for step in range(FRAMES):
            # Larger than the parked, beside them, as its plate passes in front of them.
            plates = [*PARKED, Seen(text, 700 + 40 * step, 200 + 20 * step, 40 + 2 * step)]
            self._see(plates)
        for _ in range(PAUSE):
            self._see(PARKED)
        self.number += 1

    def pass_ten(self) -> None:
        for _ in range(10):
            self.pass_one()

    def _see(self, plates: Sequence[Seen]) -> None:
        self.frames += 1
        now: Any = At(self.frames / 4)
        looks, gone = self.watch.observe(now, [PlateBox(plate.quad, 0.9) for plate in plates])
        events = gone + self.watch.settle([self._read(look, plates) for look in looks])
        self.watch.overlay()
        self.emitted += [event.plate.text for event in events if event.state == "final"]

    @staticmethod
    def _read(look: ReadTask, plates: Sequence[Seen]) -> Any:
        said = next(plate for plate in plates if np.allclose(plate.quad, look.quad))
        return look, CROP, line(said.text)


def deep_size(root: object) -> int:
    """Bytes of all that can be reached from here, without code and what is loaded once."""
    seen: set[int] = set()
    waiting = [root]
    total = 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | Grammar):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting += gc.get_referents(one)
    return total


def lines_run(work: Any) -> int:
    """Lines of Python that `work` runs, loops by their turns: its cost, the same on every machine."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.fixture(scope="module")
def tenths() -> Iterator[tuple[list[int], list[int], Lane]]:
    """Bytes kept and lines run for ten vehicles, after each tenth of the time."""
    lane = Lane()
    sizes, costs = [], []
    for _ in range(10):
        for _ in range(VEHICLES // 100 - 1):
            lane.pass_ten()
        costs.append(lines_run(lane.pass_ten))
        sizes.append(deep_size(lane.watch))
    yield sizes, costs, lane


def test_a_month_of_vehicles_beside_parked_ones_leaves_memory_flat(tenths: tuple[list[int], list[int], Lane]) -> None:
    sizes, _, _ = tenths
    assert sizes[-1] <= 1.02 * sizes[1] + 2_000


def test_a_month_of_vehicles_beside_parked_ones_leaves_the_cost_of_a_frame_flat(
    tenths: tuple[list[int], list[int], Lane],
) -> None:
    _, costs, _ = tenths
    assert costs[-1] <= 1.05 * costs[1]


def test_every_vehicle_of_the_month_has_one_event(tenths: tuple[list[int], list[int], Lane]) -> None:
    *_, lane = tenths
    assert sorted(lane.emitted) == sorted({*lane.passed, *(plate.text for plate in PARKED)})


def test_vehicles_are_remembered_in_number_even_if_all_come_within_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platoon.plates.events.VEHICLES_MOST", 20)
    watch = PlatePipeline("lane", Grammar({"GB": 1}))
    parked = Seen("LS15EBC", 900, 300)
    emitted: list[str] = []
    for number in range(60):
        passing = [Seen(f"AB{10 + number}KXR", 300 + 20 * step, 500, 30) for step in range(4)]
        script = [(number * 2 + step / 10, [parked, plate]) for step, plate in enumerate(passing)]
        emitted += drive(watch, script, end=False).texts()
    assert len(watch._vehicles) == 20
    assert emitted.count("LS15EBC") == 1, "who is in sight is never forgotten for those who were"
    assert len(emitted) == 1 + 60


def test_a_track_that_is_read_ever_otherwise_keeps_no_more_than_its_last_texts() -> None:
    watch = PlatePipeline("lane", Grammar({"GB": 1}))
    now: Any = At(0.0)
    (look,), _ = watch.observe(now, [PlateBox(Seen("", 300, 200).quad, 0.9)])
    for number in range(3 * TEXTS_MOST):
        watch.settle([(look, CROP, line(f"Q{number}", 0.4))])
    assert len(look.track_state.read_at) == TEXTS_MOST


def test_of_a_picture_full_of_boxes_the_best_are_followed_and_the_others_counted() -> None:
    gates: list[Gate] = []
    watch = PlatePipeline("lane", Grammar({"GB": 1}), rejected=lambda one: gates.append(one.gate))
    now: Any = At(0.0)
    boxes = [PlateBox(Seen("", 40 + 12 * number, 300, 8).quad, number / 100) for number in range(BOXES_MOST + 9)]
    looks, _ = watch.observe(now, boxes)
    assert gates == [Gate.CROWDED] * 9
    assert {round(float(look.quad[0, 0])) for look in looks} == {40 + 12 * n for n in range(9, BOXES_MOST + 9)}


def test_what_flickers_all_over_the_picture_is_not_followed_without_end() -> None:
    tracker = Tracker()
    spots = np.random.default_rng(3).uniform(0, 1e6, (12, 40, 2))
    ended = 0
    for number, places in enumerate(spots):
        quads = [Seen("", float(x), float(y), 8).quad for x, y in places]
        ended += len(tracker.update(quads, number / 1000)[1])
        assert len(tracker.tracks) <= TRACKS_MOST + len(places)
    assert ended == spots.shape[0] * spots.shape[1] - len(tracker.tracks), "each that is let go is returned"
