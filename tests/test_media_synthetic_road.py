"""The road: plates where the truth says, hidden ones left out, the same pictures every time."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from platoon.media.frame import Pixels
from platoon.media.opencv_pixels import rectify
from platoon.media.synthetic.plates import STYLES, draw_plate
from platoon.media.synthetic.road import Road
from platoon.media.synthetic.scene import (
    DAY,
    NIGHT,
    Body,
    Camera,
    Drive,
    Lane,
    Light,
    Parked,
    Scene,
    Sign,
    Vehicle,
)

CAR = Vehicle(plate="M KX 204", country="DE", motion=Parked(7.0))
SCENE = Scene(
    name="Test",
    camera=Camera(focal=1.5, pitch_deg=5.0),
    lanes=(Lane(0.0),),
    vehicles=(CAR,),
    duration_s=2.0,
    far_m=60.0,
    size=(640, 360),
    fps=10,
)


def likeness(one: Pixels, other: Pixels) -> float:
    """Correlation of two pictures of the same size, 1: the same but for brightness."""
    return float(np.corrcoef(one.astype(float).ravel(), other.astype(float).ravel())[0, 1])


@pytest.mark.parametrize("towards", [True, False], ids=["front", "rear"])
@pytest.mark.parametrize("light", [DAY, NIGHT], ids=["day", "night"])
@pytest.mark.parametrize("country", ["DE", "GB", "US-CA", "BR", "VN", "IN square"])
def test_the_truth_names_the_corners_of_the_very_plate(country: str, light: Light, towards: bool) -> None:
    style = STYLES[country]
    written = style.invent(np.random.default_rng(3))
    car = replace(CAR, plate=written, country=country, offset_m=0.4)
    camera = Camera(focal=3.0, x_m=1.2, yaw_deg=-6.0, pitch_deg=11.5, roll_deg=2.0)
    scene = replace(SCENE, camera=camera, light=light, vehicles=(car,), lanes=(Lane(0.0, towards),))
    picture, quads = Road(scene).frame(0)
    drawn = draw_plate(written, style, px_per_mm=0.4, rear=not towards)
    size = (drawn.shape[1], drawn.shape[0])
    assert likeness(rectify(picture, quads[0].astype(np.float32), size), drawn) > 0.85
    beside = quads[0] + [0.2 * float(np.ptp(quads[0][:, 0])), 0]
    assert likeness(rectify(picture, beside.astype(np.float32), size), drawn) < 0.7


def test_a_plate_behind_another_car_is_left_out() -> None:
    behind = replace(CAR, plate="M KX 205", motion=Parked(15.0))
    beside = replace(CAR, plate="M KX 206", motion=Parked(15.0), offset_m=3.0)
    _, quads = Road(replace(SCENE, vehicles=(CAR, behind, beside))).frame(0)
    assert set(quads) == {0, 2}


def test_a_plate_cut_off_by_the_border_is_left_out() -> None:
    whole, cut = (replace(CAR, offset_m=offset) for offset in (1.8, 2.3))
    assert Road(replace(SCENE, vehicles=(whole,))).frame(0)[1]
    assert not Road(replace(SCENE, vehicles=(cut,))).frame(0)[1]


def test_a_plate_under_the_burnt_in_clock_is_left_out() -> None:
    raised = replace(SCENE, camera=Camera(focal=1.5, height_m=0.3, pitch_deg=8.4, yaw_deg=-14.4))
    assert Road(replace(raised, overlay=False)).frame(0)[1]
    assert not Road(raised).frame(0)[1]


def test_a_vehicle_grows_as_it_comes_and_shrinks_as_it_leaves() -> None:
    for towards in (True, False):
        drive = Drive(enters_s=-3.0 if towards else -1.5, speed_mps=10.0)
        scene = replace(SCENE, lanes=(Lane(0.0, towards),), vehicles=(replace(CAR, motion=drive),), duration_s=6.0)
        road = Road(scene)
        widths = [float(np.ptp(quads[0][:, 0])) for i in range(scene.frames) if (quads := road.frame(i)[1])]
        assert len(widths) > 8
        assert widths == sorted(widths, reverse=not towards)


def test_the_same_scene_gives_the_same_pictures_and_another_seed_others() -> None:
    first, again, other = (Road(scene).frame(3)[0] for scene in (SCENE, SCENE, replace(SCENE, seed=5)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_parked_car_and_the_road_do_not_move_but_the_clock_runs() -> None:
    road = Road(SCENE)
    (first, quads), (later, later_quads) = road.frame(0), road.frame(15)
    assert np.array_equal(quads[0], later_quads[0])
    changed = np.argwhere((first != later).any(axis=2))
    assert len(changed) > 0
    assert changed[:, 0].max() < 30, "something but the clock has changed"


def test_the_barrier_stands_open_only_while_its_vehicle_passes() -> None:
    drive = Drive(enters_s=0.0, speed_mps=8.0, stop_at_m=9.0, stop_s=2.0)
    scene = replace(SCENE, vehicles=(replace(CAR, motion=drive),), barrier_m=7.5, duration_s=18.0, overlay=False)
    road = Road(scene)
    empty = Road(replace(scene, vehicles=()))
    closed, _ = empty.frame(0)
    houses = np.s_[:90, :300]  # only the raised arm comes before them
    raised = [i for i in range(scene.frames) if not np.array_equal(road.frame(i)[0][houses], closed[houses])]
    stands = [i for i in range(scene.frames) if scene.depth_of(scene.vehicles[0], i / 10) == pytest.approx(9.0)]
    gone = next(i for i in range(stands[-1], scene.frames) if scene.depth_of(scene.vehicles[0], i / 10) is None)
    assert stands[0] < raised[0] <= stands[-1] + 1, "it rises while the vehicle waits"
    assert np.array_equal(road.frame(gone + 15)[0], closed), "it is down again behind it"


def test_signs_can_be_read_and_stay_out_of_the_truth() -> None:
    sign = Sign("PARKING", 0.0, 2.6, 12.0, 3.0)
    with_sign, quads = Road(replace(SCENE, vehicles=(), signs=(sign,))).frame(0)
    without, _ = Road(replace(SCENE, vehicles=())).frame(0)
    changed = cv2.absdiff(with_sign, without).max(axis=2) > 40
    assert not quads
    assert changed.sum() > 5_000


@pytest.mark.parametrize("towards", [True, False], ids=["front", "rear"])
def test_a_bus_carries_its_plate_where_the_truth_says_and_other_words_elsewhere(towards: bool) -> None:
    bus = replace(CAR, body=Body.BUS, motion=Parked(9.0))
    scene = replace(SCENE, vehicles=(bus,), lanes=(Lane(0.0, towards),), camera=Camera(focal=2.0, pitch_deg=4.4))
    picture, quads = Road(scene).frame(0)
    drawn = draw_plate(bus.plate, STYLES["DE"], px_per_mm=0.4, rear=not towards)
    assert likeness(rectify(picture, quads[0].astype(np.float32), (drawn.shape[1], drawn.shape[0])), drawn) > 0.75
    with_words, _ = Road(replace(scene, vehicles=(replace(bus, badge="CALL 0800 442/SALE"),))).frame(0)
    changed = np.argwhere((with_words != picture).any(axis=2))
    assert len(changed) > 100
    assert changed[:, 0].max() < quads[0][:, 1].min(), "words stand above the plate"


def test_a_plate_behind_a_bus_is_left_out() -> None:
    bus = replace(CAR, body=Body.BUS)
    assert set(Road(replace(SCENE, vehicles=(bus, replace(CAR, motion=Parked(20.0))))).frame(0)[1]) == {0}


def test_rain_differs_from_frame_to_frame_and_is_the_same_every_time() -> None:
    rainy = replace(SCENE, rain=0.6, overlay=False)
    dry, first, later = Road(replace(rainy, rain=0.0)).frame(0)[0], Road(rainy).frame(0)[0], Road(rainy).frame(1)[0]
    assert np.array_equal(Road(rainy).frame(0)[0], first)
    assert (first != later).any(axis=2).mean() > 0.02
    assert first.std() < dry.std(), "it takes contrast away"
    assert likeness(first, dry) > 0.8


def test_a_name_longer_than_the_picture_is_cut_off() -> None:
    small = replace(SCENE, name="A CAMERA WITH A NAME THAT NEVER ENDS " * 4, size=(96, 160))
    assert Road(small).frame(0)[0].shape == (160, 96, 3)
