import gc
import weakref

import numpy as np
import pytest

from platoon.media.frame import PlanarFrame
from platoon.plates.detector import PlateBox
from platoon.plates.events import EventState, Gate, PlatePipeline, Rejected
from platoon.plates.grammar import Grammar
from tests.plate_scripts import Seen, drive, frame, line, passing, together


def watch(**options) -> PlatePipeline:  # type: ignore[no-untyped-def]
    return PlatePipeline("gate", Grammar(), **options)


def test_a_passing_vehicle_gives_one_preview_and_one_final_of_the_same_id() -> None:
    emitted = drive(watch(), passing("AB123CD"))
    assert [event.state for event in emitted.events] == [EventState.PREVIEW, EventState.FINAL]
    assert len({event.id for event in emitted.events}) == 1
    assert emitted.texts() == ["AB123CD"]


def test_reading_stops_once_a_plate_is_decided() -> None:
    emitted = drive(watch(), [(i / 10, [Seen("AB123CD", 300 + 5 * i, 300)]) for i in range(100)])
    assert emitted.reads == 3


def test_a_single_reading_is_no_final() -> None:
    emitted = drive(watch(), passing(lambda i: "AB123CD" if i == 4 else ""))
    assert emitted.texts() == []


def test_two_agreeing_readings_are_enough_once_the_vehicle_has_gone() -> None:
    emitted = drive(watch(), passing(lambda i: "AB123CD" if i in (4, 9) else ""))
    assert emitted.texts() == ["AB123CD"]


def test_an_event_carries_the_very_crop_and_box_that_were_read() -> None:
    emitted = drive(watch(hold_finals=True), passing("AB123CD"))
    (event,) = emitted.events
    number = round((event.media_time) * 10)
    seen = passing("AB123CD")[number][1][0]
    assert event.box == pytest.approx((seen.x, seen.y, seen.x + 4 * seen.height, seen.y + seen.height), abs=1)
    assert np.all(event.crop == number)
    assert event.time == pytest.approx(1e9 + event.media_time)


def test_an_event_says_whose_plate_it_may_be_and_how_likely() -> None:
    emitted = drive(PlatePipeline("gate", Grammar({"US-NY": 3, "US-OH": 1}), hold_finals=True), passing("ABC1234"))
    (event,) = [event.to_json(crop_key=None) for event in emitted.events]
    assert event["countries"] == ["US-NY", "US-OH"]
    assert event["country_probabilities"] == pytest.approx({"US-NY": 0.75, "US-OH": 0.25}, abs=0.02)


def test_held_finals_are_emitted_once_the_vehicle_has_gone_and_without_previews() -> None:
    script = passing("AB123CD", frames=10)
    emitted = drive(watch(hold_finals=True), script, end=False)
    assert emitted.events == []
    held = watch(hold_finals=True)
    emitted = drive(held, [*script, (30.0, [])], end=False)
    assert emitted.texts() == ["AB123CD"]


def test_a_plate_that_is_cut_by_the_border_is_not_read() -> None:
    emitted = drive(watch(), [(i / 10, [Seen("LN390", 1280 - 96 + i * 0.1, 300)]) for i in range(10)])
    assert emitted.reads == 0
    assert emitted.events == []


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("TOYOTA", Gate.IMPLAUSIBLE),
        ("20261120", Gate.IMPLAUSIBLE),
        ("14B02819T", Gate.IMPLAUSIBLE),
        ("", Gate.UNREAD),
    ],
)
def test_moving_text_that_is_no_plate_becomes_no_event_and_is_counted(text: str, gate: Gate) -> None:
    rejected: list[Gate] = []
    emitted = drive(watch(rejected=lambda one: rejected.append(one.gate)), passing(text))
    assert emitted.events == []
    assert rejected == [gate]


@pytest.mark.parametrize("text", ["4827193", "NOFAST", "TOOLAZY", "V8R", "KL01CA2555"])
def test_a_sure_plate_with_a_sure_text_is_one_whatever_it_says(text: str) -> None:
    assert drive(watch(), passing(text, plate=0.9)).texts() == [text]


@pytest.mark.parametrize("text", ["4827193", "NOFAST", "V8R"])
@pytest.mark.parametrize(("plate", "sure"), [(0.5, 0.97), (0.9, 0.7), (0.0, 0.97)])
def test_what_says_no_plate_is_held_back_where_either_is_unsure(text: str, plate: float, sure: float) -> None:
    rejected: list[Rejected] = []
    assert drive(watch(rejected=rejected.append), passing(text, plate=plate, sure=sure)).events == []
    (one,) = rejected
    assert one.gate is Gate.IMPLAUSIBLE
    assert one.plate is not None
    assert one.plate.text == text
    assert one.box[2] > one.box[0]


@pytest.mark.parametrize("text", ["AB", "12"])
def test_what_is_shorter_than_any_plate_is_none(text: str) -> None:
    assert drive(watch(), passing(text, plate=0.95)).events == []


def test_a_burnt_in_overlay_is_no_plate_even_if_it_reads_like_one() -> None:
    rejected: list[Gate] = []
    emitted = drive(
        watch(rejected=lambda one: rejected.append(one.gate)), [(i / 10, [Seen("CAM12", 30, 20)]) for i in range(30)]
    )
    assert emitted.events == []
    assert rejected == [Gate.STILL]


def test_a_still_sign_that_fits_no_pattern_is_no_plate() -> None:
    emitted = drive(watch(), [(i / 10, [Seen("SHOP24H", 300, 300)]) for i in range(30)])
    assert emitted.events == []


def test_a_sign_stands_still_though_its_track_came_from_something_else() -> None:
    script = [[Seen("", 330, 420, 60)], *[[Seen("NORTH12", 300, 300, 60)]] * 20]
    emitted = drive(watch(hold_finals=True), [(i / 10, plates) for i, plates in enumerate(script)])
    assert emitted.events == []


def test_the_page_is_shown_plates_and_what_may_become_one() -> None:
    plates = watch()
    sign = [(i / 10, [Seen("BAKERY", 300, 100)]) for i in range(20)]
    drive(plates, together(passing("AB123CD"), sign), end=False)
    assert [box["text"] for box in plates.overlay()] == ["AB123CD"]
    (task, *_), _ = plates.observe(frame(2.0), [PlateBox(Seen("", 900, 600).quad, 0.9)])
    assert task.quad[0].tolist() == [900, 600]
    assert [(box["text"], box["state"]) for box in plates.overlay()] == [("", "seen")]


def test_a_badge_beside_the_plate_of_its_vehicle_is_no_plate() -> None:
    plate = passing("AB123CD")
    badge = [(t, [Seen("GLC300", s.x + s.height, s.y - 3 * s.height, s.height / 2) for s in seen]) for t, seen in plate]
    emitted = drive(watch(), together(plate, badge))
    assert emitted.texts() == ["AB123CD"]
    assert "GLC300" not in emitted.texts("preview")


def test_a_smaller_plate_that_only_passes_by_a_larger_one_is_a_plate() -> None:
    near = [(i / 10, [Seen("AB123CD", 300 + 2 * i, 400, 34)]) for i in range(20)]
    far = [(i / 10, [Seen("XY987ZW", 340 + 9 * i, 330 + 2 * i, 18)]) for i in range(20)]
    assert sorted(drive(watch(), together(near, far)).texts()) == ["AB123CD", "XY987ZW"]


def test_a_parked_vehicle_is_emitted_once_however_long_it_stands() -> None:
    script = [(float(i), [Seen("AB123CD", 300, 300)] if i % 100 < 60 else []) for i in range(600)]
    emitted = drive(watch(), script)
    assert emitted.texts() == ["AB123CD"]


def test_a_vehicle_that_comes_back_later_is_a_new_event() -> None:
    emitted = drive(watch(), [*passing("AB123CD"), (10.0, []), (20.0, []), *passing("AB123CD", start=60.0)])
    assert emitted.texts() == ["AB123CD", "AB123CD"]
    assert len({event.id for event in emitted.events if event.state == "final"}) == 2


def test_a_vehicle_lost_for_a_moment_is_not_emitted_again() -> None:
    first, second = passing("AB123CD", frames=8), passing("AB123CD", start=4.0, frames=8)
    emitted = drive(watch(), [*first, (2.0, []), (3.5, []), *second])
    assert emitted.texts() == ["AB123CD"]


def test_vehicles_of_a_fleet_whose_plates_differ_in_one_character_are_each_emitted() -> None:
    plates = ("BTX2841", "BTX2842", "BTX2847")
    script = [step for number, text in enumerate(plates) for step in passing(text, start=3.0 * number, frames=12)]
    emitted = drive(watch(), script)
    assert emitted.texts() == list(plates)
    assert not emitted.texts("revised")


def test_the_next_of_a_fleet_may_come_before_the_last_one_is_forgotten() -> None:
    script = [*passing("BTX2841", frames=12), *passing("BTX2842", start=1.8, frames=12, lane=700)]
    assert drive(watch(), script).texts() == ["BTX2841", "BTX2842"]


def test_a_vehicle_found_again_and_read_unsurely_with_one_other_character_is_the_same() -> None:
    first, second = passing("AB123CD", frames=8), passing("AB128CD", start=4.0, frames=8)
    unsure = [(time, [Seen(s.text, s.x, s.y, s.height, 0.7) for s in seen]) for time, seen in second]
    assert drive(watch(), [*first, (2.0, []), (3.5, []), *unsure]).texts() == ["AB123CD"]


def test_tailgating_vehicles_keep_their_own_plates() -> None:
    front = passing("AB123CD", frames=20)
    behind = [(t, [Seen("XY987ZW", s.x, s.y - 120, s.height) for s in seen]) for t, seen in front]
    emitted = drive(watch(), together(front, behind))
    assert sorted(emitted.texts()) == ["AB123CD", "XY987ZW"]


def test_at_one_frame_a_second_the_next_vehicle_at_the_same_place_is_another_one() -> None:
    script = [
        (0.0, [Seen("AB123CD", 300, 300)]),
        (1.0, [Seen("AB123CD", 380, 320)]),
        (2.0, [Seen("XY987ZW", 330, 310)]),
        (3.0, [Seen("XY987ZW", 420, 330)]),
        (20.0, []),
    ]
    emitted = drive(watch(), script)
    assert sorted(emitted.texts()) == ["AB123CD", "XY987ZW"]


def test_a_vehicle_that_jumps_across_the_picture_is_known_by_its_text() -> None:
    script = [
        (0.0, [Seen("AB123CD", 100, 200, 16)]),
        (1.0, [Seen("AB123CD", 700, 400, 30)]),
        (20.0, []),
    ]
    assert drive(watch(), script).texts() == ["AB123CD"]


def test_a_final_that_better_readings_contradict_is_revised_under_its_id() -> None:
    far = [(i / 10, [Seen("AB123CO", 300 + 4 * i, 200, 14, 0.94)]) for i in range(4)]
    near = [(0.4 + i / 10, [Seen("AB123CD", 316 + 8 * i, 210 + 6 * i, 22 + 4 * i, 0.99)]) for i in range(14)]
    emitted = drive(watch(), [*far, *near])
    assert [event.state for event in emitted.events] == ["preview", "final", "revised"]
    assert emitted.events[-1].plate.text == "AB123CD"
    assert len({event.id for event in emitted.events}) == 1


def test_undecidable_text_is_looked_at_ever_less_often() -> None:
    emitted = drive(watch(), [(i / 10, [Seen("", 300, 300)]) for i in range(400)])
    assert 6 <= emitted.reads <= 20


def test_an_event_says_when_it_was_decided_and_when_its_crop_was_taken() -> None:
    (final,) = [event for event in drive(watch(), passing("AB123CD")).events if event.state == "final"]
    assert final.emitted_at == pytest.approx(1e9 + 0.2)
    assert final.time <= final.emitted_at


def test_no_frame_is_kept_in_memory_for_what_was_read_of_it() -> None:
    held: list[weakref.ref[PlanarFrame]] = []
    plates = watch()
    for media_time, seen in passing("AB123CD", frames=8):
        now = frame(media_time)
        held.append(weakref.ref(now))
        tasks, _ = plates.observe(now, [PlateBox(plate.quad, 0.9) for plate in seen])
        plates.settle([(task, np.zeros((24, 96, 3), np.uint8), line("AB123CD")) for task in tasks])
        del now, tasks
    gc.collect()
    assert [reference() for reference in held] == [None] * 8
