"""Scenes as data: motion, projection, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platoon.errors import InvalidInput
from platoon.media.synthetic.demo import demo_scenes
from platoon.media.synthetic.scene import Camera, Drive, Lane, Parked, Projection, Scene, Vehicle

STOPPER = Vehicle(plate="M KX 204", country="DE", motion=Drive(enters_s=1.0, speed_mps=5.0, stop_at_m=8.0, stop_s=3.0))
SCENE = Scene(
    name="Test",
    camera=Camera(focal=2.0),
    lanes=(Lane(0.0),),
    vehicles=(STOPPER,),
    duration_s=20.0,
    far_m=40.0,
)


@given(
    towards=st.booleans(),
    speed=st.floats(2, 30),
    stop_at=st.floats(5, 20),
    time_s=st.floats(0, 40),
    step=st.floats(0.01, 1),
)
def test_a_vehicle_never_rolls_back_nor_jumps(
    towards: bool, speed: float, stop_at: float, time_s: float, step: float
) -> None:
    drive = Drive(enters_s=1.0, speed_mps=speed, stop_at_m=stop_at, stop_s=2.0)
    scene = replace(SCENE, far_m=400.0, lanes=(Lane(0.0, towards),), vehicles=(replace(STOPPER, motion=drive),))
    before, after = (scene.depth_of(scene.vehicles[0], at) for at in (time_s, time_s + step))
    if before is not None and after is not None and (towards or speed < 9):
        way = (before - after) if towards else (after - before)
        assert -1e-9 <= way <= speed * step + 1e-9


def test_a_vehicle_stands_at_its_stop_as_long_as_it_should_and_then_leaves() -> None:
    stands = [t / 10 for t in range(200) if SCENE.depth_of(STOPPER, t / 10) == pytest.approx(8.0, abs=1e-6)]
    assert stands[-1] - stands[0] == pytest.approx(3.0, abs=0.2)
    assert SCENE.depth_of(STOPPER, 20.0) is None


def test_a_parked_vehicle_stays() -> None:
    parked = replace(STOPPER, motion=Parked(9.0))
    assert {SCENE.depth_of(parked, float(t)) for t in range(20)} == {9.0}


@pytest.mark.parametrize("scene", demo_scenes(), ids=lambda scene: scene.name)
def test_the_demo_loops_without_a_vehicle_in_sight_at_its_seam(scene: Scene) -> None:
    for vehicle in scene.vehicles:
        assert scene.depth_of(vehicle, 0.0) is None
        assert scene.depth_of(vehicle, (scene.frames - 1) / scene.fps) is None


def test_any_change_changes_the_digest() -> None:
    changed = (
        replace(SCENE, seed=1),
        replace(SCENE, fps=25),
        replace(SCENE, camera=Camera(focal=2.1)),
        replace(SCENE, vehicles=(replace(STOPPER, plate="M KX 205"),)),
    )
    assert len({scene.digest for scene in (SCENE, *changed)}) == 5
    assert replace(SCENE).digest == SCENE.digest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vehicles": (replace(STOPPER, country="XX"),)}, "'XX'"),
        ({"vehicles": (replace(STOPPER, plate="MKX204"),)}, "'MKX204'"),
        ({"vehicles": (replace(STOPPER, lane=1),)}, "lane 1 of 1"),
        ({"size": (321, 180)}, "even"),
    ],
)
def test_a_scene_that_cannot_be_drawn_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        replace(SCENE, **change)  # type: ignore[arg-type]


def test_twice_as_far_is_half_as_large_about_the_vanishing_point() -> None:
    projection = Projection(Camera(focal=1.0, height_m=2.0), (1280, 720))
    near, far = (projection.project(np.array([[1.0, 1.0, z]])) for z in (10.0, 20.0))
    assert near is not None
    assert far is not None
    centre = np.array([640, 360])
    assert near[0] == pytest.approx([768, 488])
    assert far[0] - centre == pytest.approx((near[0] - centre) / 2)


@pytest.mark.parametrize(
    ("camera", "moves"),
    [
        (Camera(focal=1.0, yaw_deg=2.0), (-1, 0)),
        (Camera(focal=1.0, pitch_deg=2.0), (0, -1)),
    ],
)
def test_what_the_camera_turns_away_from_moves_to_the_other_side(camera: Camera, moves: tuple[int, int]) -> None:
    ahead = np.array([[0.0, camera.height_m, 30.0]])
    pixel = Projection(camera, (1280, 720)).project(ahead)
    assert pixel is not None
    assert np.sign(np.round(pixel[0] - [640, 360], 3)).tolist() == list(moves)


def test_polygons_are_cut_where_they_pass_the_camera() -> None:
    projection = Projection(Camera(focal=1.0), (1280, 720))
    road = np.array([[-2, 0, 50], [2, 0, 50], [2, 0, -5], [-2, 0, -5]], np.float64)
    assert projection.project(road) is None
    assert len(projection.outline(road)) == 4
    assert len(projection.outline(road - [0, 0, 60])) == 0
