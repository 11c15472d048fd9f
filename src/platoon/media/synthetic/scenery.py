"""What lies around the road: a street of houses, a motorway's verge, a car park's entrance, a toll plaza."""

from __future__ import annotations

import cv2
import numpy as np

from platoon.media.frame import Pixels
from platoon.media.synthetic.scene import Projection, Scene, Setting
from platoon.media.synthetic.shapes import Colour, Points, Texture, shaded
from platoon.media.synthetic.stage import Stage, along


def paint_scenery(scene: Scene, projection: Projection) -> Pixels:
    """The scene's picture without anything that moves, RGB of the scene's size."""
    stage = Stage(scene, projection)
    stage.paint_sky()
    stage.paint_ground()
    {
        Setting.STREET: _street,
        Setting.MOTORWAY: _motorway,
        Setting.CAR_PARK: _car_park,
        Setting.TOLL: _toll,
    }[scene.setting](stage)
    return stage.finish()


def _street(stage: Stage) -> None:
    _houses(stage, stage.left - 3.2, -1)
    _houses(stage, stage.right + 3.2, 1)
    for i, (_, z) in enumerate(stage.lamp_positions()):
        if i % 2:
            stage.lamp_post(stage.left - 0.7, z, arm=1.6)
        else:
            stage.lamp_post(stage.right + 0.7, z, arm=-1.6)
    for z in np.arange(34.0, stage.scene.far_m, 33.0):
        stage.tree(stage.right + 1.6, float(z), 5.5)


def _houses(stage: Stage, x: float, side: int) -> None:
    tones: tuple[Colour, ...] = (
        (176, 148, 122),
        (150, 96, 78),
        (186, 178, 164),
        (128, 120, 116),
        (160, 132, 108),
    )
    z = 9.0
    while z < stage.scene.far_m * 1.8:
        deep = float(stage.rng.uniform(10, 17))
        floors = int(stage.rng.integers(3, 6))
        tone = tones[int(stage.rng.integers(len(tones)))]
        facade, light = _facade(stage, tone, floors, max(2, round(deep / 3)))
        high = floors * 3.1 + 0.8
        corners = along(x, (0, high), (z, z + deep))
        stage.board(corners if side > 0 else corners[[1, 0, 3, 2]], facade, light)
        far_x = x + side * 10
        stage.upright((min(x, far_x), max(x, far_x)), (0, high), z + 0.01, shaded(tone, 0.72))
        z += deep + float(stage.rng.choice([0.0, 0.0, 2.5]))


def _facade(stage: Stage, tone: Colour, floors: int, windows: int) -> tuple[Texture, Texture]:
    """A house front with its windows, and the light of those where somebody is at home."""
    wall = np.empty((floors * 64 + 16, windows * 60, 3), np.uint8)
    wall[:] = np.clip(np.array(tone) + stage.rng.normal(0, 5, (*wall.shape[:2], 1)), 0, 255)
    light = np.zeros_like(wall)
    cv2.rectangle(wall, (0, 0), (wall.shape[1], 9), shaded(tone, 0.6), -1)
    for floor in range(floors):
        for window in range(windows):
            x, y = window * 60 + 16, floor * 64 + 24
            ground_floor = floor == floors - 1
            first, last = (
                (x - 6, y - 2) if ground_floor else (x, y),
                (x + 34, y + 48) if ground_floor else (x + 28, y + 38),
            )
            cv2.rectangle(wall, (first[0] - 3, first[1] - 3), (last[0] + 3, last[1] + 3), shaded(tone, 1.2), -1)
            pane = shaded((70, 84, 98), float(stage.rng.uniform(0.7, 1.5)))
            cv2.rectangle(wall, first, last, pane, -1)
            if stage.scene.light.lamps and stage.rng.random() < (0.45 if ground_floor else 0.2):
                cv2.rectangle(light, first, last, shaded((150, 112, 60), float(stage.rng.uniform(0.4, 1.0))), -1)
    solid = np.full(wall.shape[:2], 255, np.uint8)
    return Texture(wall, solid), Texture(light, solid)


def _motorway(stage: Stage) -> None:
    far = stage.scene.far_m
    for distance, height, tone in (
        (far * 6, far * 0.16, (96, 118, 118)),
        (far * 3.5, far * 0.07, (84, 108, 86)),
    ):
        span = np.linspace(-far * 2.2, far * 2.2, 60)
        ridge = height * (0.6 + 0.4 * _smooth(stage.rng, 60))
        line = np.column_stack([span, ridge, np.full(60, distance)])
        stage.polygon(np.vstack([line, [[span[-1], 0, distance], [span[0], 0, distance]]]), tone)
    for side, edge in ((-1, stage.left - 0.7), (1, stage.right + 0.7)):
        for z in np.arange(6.0, far * 2, 4.0):
            stage.upright((edge - 0.06, edge + 0.06), (0, 0.75), float(z), (120, 124, 126))
            for low, high, tone in (
                (0.48, 0.6, (150, 154, 156)),
                (0.6, 0.68, (112, 116, 120)),
                (0.68, 0.8, (172, 176, 178)),
            ):
                stage.beside(edge - side * 0.08, (low, high), (float(z), float(z) + 4.0), tone)
        for _ in range(26):
            z = float(stage.rng.uniform(0.35, 2.4)) * far
            stage.tree(edge + side * float(stage.rng.uniform(4, 6 + z * 0.12)), z, float(stage.rng.uniform(5, 11)))


def _car_park(stage: Stage) -> None:
    """The road leads into a multi-storey car park; a hedge and trees on the left, a wall on the right."""
    z = stage.scene.far_m * 0.72
    left, right, high = stage.left - 0.5, stage.right + 0.5, 2.9
    concrete = (172, 170, 164)
    for low in (high, 6.0, 9.1):
        stage.upright((left - 26, right + 26), (low, low + 1.15), z, concrete)
        stage.upright((left - 26, right + 26), (low + 1.15, low + 3.1), z + 0.6, (54, 57, 62))
    for x in (left - 26, right):
        stage.upright((x, x + 26), (0, high), z, shaded(concrete, 0.92))
    for x in np.arange(left - 25.6, right + 26, 5.2):
        stage.upright((float(x), float(x) + 0.4), (high, 12.0), z - 0.01, shaded(concrete, 1.06))
    stage.upright((left, right), (0, high), z + 0.3, (30, 31, 34))
    for x, side in ((left, 1), (right, -1)):
        for stripe in range(6):
            low = stripe * high / 6
            tone = (222, 186, 44) if stripe % 2 else (40, 40, 42)
            stage.upright((min(x, x + side * 0.22), max(x, x + side * 0.22)), (low, low + high / 6), z - 0.02, tone)
    stage.upright((left + 0.6, right - 0.6), (high - 0.45, high - 0.25), z - 0.02, (222, 186, 44))
    for near in np.arange(3.0, z, 1.2):
        green = float(stage.rng.uniform(0.82, 1.12))
        span = (float(near), min(float(near) + 1.2, z))
        stage.beside(stage.left - 1.5, (0, 1.1 + green * 0.1), span, shaded((62, 92, 50), green))
        stage.beside(stage.right + 1.7, (0, 0.9), span, shaded((158, 128, 108), 0.9 + 0.1 * green))
    for near in np.arange(5.0, z - 1, 3.0):
        stage.upright((stage.left - 0.5, stage.left - 0.38), (0, 0.8), float(near), (196, 60, 48))
    for near in (12.0, 18.0):
        stage.tree(stage.left - 4.2, near, 6.5)
        stage.tree(stage.right + 3.6, near + 2, 5.0)


def _toll(stage: Stage) -> None:
    """Booths between the lanes under a lit roof."""
    z = stage.scene.far_m * 0.8
    left, right = stage.left - 9, stage.right + 9
    stage.upright((left, right), (4.3, 5.3), z, (206, 204, 198), stage.lit((40, 37, 34)))
    stage.polygon(
        np.array([[left, 4.3, z], [right, 4.3, z], [right, 4.3, z + 9], [left, 4.3, z + 9]]),
        (150, 150, 148),
        stage.lit((112, 104, 88)),
    )
    for x in (stage.left - 1.3, stage.right + 1.3):
        stage.upright((x - 0.25, x + 0.25), (0, 4.3), z + 0.3, (150, 150, 150))
        stage.upright((x - 0.7, x + 0.7), (0, 2.6), z + 1.0, (188, 70, 52))
        stage.upright((x - 0.55, x + 0.55), (1.1, 2.2), z + 0.95, (70, 84, 94), stage.lit((150, 130, 90)))
    for lane in stage.scene.lanes:
        stage.upright((lane.x_m - 0.45, lane.x_m + 0.45), (4.4, 5.2), z - 0.1, (20, 22, 24))
        across = np.array([-0.1, 0.1, 0.1, 0.28, 0, -0.28, -0.1])
        up = np.array([5.1, 5.1, 4.8, 4.8, 4.5, 4.8, 4.8])
        arrow = np.column_stack([across, up, np.zeros(7)])
        stage.polygon(arrow + np.array([lane.x_m, 0, z - 0.12]), (60, 200, 90), stage.lit((40, 190, 80)))
    for side, edge in ((-1, stage.left), (1, stage.right)):
        stage.beside(edge + side * 0.3, (0, 0.8), (4.0, z - 4), (186, 184, 178))
        stage.beside(edge + side * 0.3, (0.8, 0.81), (4.0, z - 4), (210, 208, 200))
        for far in np.arange(z + 20, z * 2.6, 11.0):
            stage.tree(edge + side * float(stage.rng.uniform(4, 14)), float(far), float(stage.rng.uniform(5, 9)))
    for i, (_, lamp_z) in enumerate(stage.lamp_positions()):
        side, edge = (-1, stage.left) if i % 2 else (1, stage.right)
        stage.lamp_post(edge + side * 0.9, lamp_z, arm=-side * 1.8)


def _smooth(rng: np.random.Generator, n: int) -> Points:
    bumps = np.convolve(rng.normal(0, 1, n + 12), np.hanning(13), "valid")
    line: Points = bumps / np.abs(bumps).max()
    return line
