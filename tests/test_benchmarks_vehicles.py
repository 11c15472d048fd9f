from pathlib import Path

import numpy as np
import pytest
from benchmarks.trials import trials
from benchmarks.vehicles import (
    Clip,
    Emitted,
    Reading,
    by_voting,
    drawn_vehicles,
    judge,
    poor,
    real_vehicles,
    sureness,
)

from platoon.media.synthetic.clips import PlateTruth, Truth
from platoon.plates.events import PlateEvent, PlatePipeline
from platoon.plates.grammar import Grammar
from tests.plate_scripts import Seen, drive

QUAD = np.array([[100, 50], [220, 50], [220, 80], [100, 80]], np.float32)


def clip_of(*texts: str, hidden: tuple[str, ...] = ()) -> Clip:
    return Clip("trials", "made up", Path("none.mp4"), real_vehicles(texts), hidden)


def emitted_of(*passages: tuple[str, int]) -> list[PlateEvent]:
    """Vehicles that come one after the other, each read so many times while it moves."""
    events = []
    for number, (text, frames) in enumerate(passages):
        watch = PlatePipeline(f"camera {number}", Grammar())
        script = [(step / 5, [Seen(text, 200 + 30 * step, 300)]) for step in range(frames)]
        events += drive(watch, script).events
    return events


def reading(text: str, *, at: float = 0.0, height: float = 20, sure: float = 0.9) -> Reading:
    return Reading(at, QUAD * np.float32(height / 30), text, sure)


def test_a_vehicle_with_one_event_is_right_and_with_two_is_not() -> None:
    clip = clip_of("MKX204", "AB371CD")
    assert judge(emitted_of(("MKX204", 6), ("AB371CD", 6)), clip).right == 2
    twice = judge(emitted_of(("MKX204", 6), ("AB371CD", 6), ("MKX204", 6)), clip)
    assert (twice.right, twice.wrong, twice.false) == (1, ("MKX204",), ())


def test_a_vehicle_of_which_there_is_a_preview_alone_is_not_right_nor_false() -> None:
    verdict = judge(emitted_of(("MKX204", 1)), clip_of("MKX204"))
    assert (verdict.right, verdict.false) == (0, ())


def test_what_is_on_no_plate_is_false_unless_it_is_one_that_is_hard_to_see() -> None:
    events = emitted_of(("MKX204", 6), ("GX15MBK", 6))
    assert judge(events, clip_of("MKX204")).false == ("GX15MBK",)
    assert judge(events, clip_of("MKX204", hidden=("GX15MBK",))).false == ()


def test_the_gain_of_the_vote_is_reported_beside_what_one_reading_says() -> None:
    readings = [
        reading("MKX284", sure=0.99),
        reading("MKX204", height=40, sure=0.7),
        reading("MKX204", sure=0.6),
        reading("SHOP24"),
    ]
    emitted = Emitted(emitted_of(("MKX204", 6)), readings)
    found = by_voting(emitted, real_vehicles(["MKX204", "AB371CD"]))
    assert found["vehicles"] == 1, "nothing was read of the other one"
    assert found["readings"] == 3
    assert found["any"] == pytest.approx(2 / 3)
    assert (found["first"], found["largest"], found["surest"], found["vote"]) == (0, 1, 0, 1)


def test_answers_are_the_final_events_and_the_readings_with_whether_they_are_right() -> None:
    emitted = Emitted(emitted_of(("MKX204", 6)), [reading("MKX284", sure=0.99)])
    event, single = sureness(emitted, real_vehicles(["MKX204"]))
    assert event[1]
    assert single == (0.99, False)


def test_a_reading_of_a_drawn_clip_is_of_the_vehicle_whose_plate_is_there() -> None:
    plates = (PlateTruth("MKX204", "DE", {2: QUAD}), PlateTruth("AB371CD", "FR", {2: QUAD + np.float32(300)}))
    vehicles = drawn_vehicles(Truth(fps=5, size=(640, 360), frames=3, vehicles=plates))
    assert [vehicle.is_of(reading("ANY", at=0.4, height=30)) for vehicle in vehicles] == [True, False]
    assert not vehicles[0].is_of(reading("ANY", at=0.2, height=30)), "then it was somewhere else"


def test_the_trials_are_twelve_clips_with_fifty_vehicles_of_different_plates() -> None:
    scenes = trials()
    texts = [vehicle.text for scene in scenes for vehicle in scene.vehicles]
    assert len(scenes) == 12
    assert len({scene.digest for scene in (*scenes, *map(poor, scenes))}) == 24
    assert len(texts) >= 50
    assert all(len({vehicle.text for vehicle in scene.vehicles}) == len(scene.vehicles) for scene in scenes)
