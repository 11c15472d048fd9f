"""A scene in motion: frame by frame its picture, and where every plate is to be read in it."""

from __future__ import annotations

import cv2
import numpy as np

from platoon.media.frame import Pixels
from platoon.media.synthetic.buses import Bus
from platoon.media.synthetic.cars import Car
from platoon.media.synthetic.glyphs import Typeface, text_mask
from platoon.media.synthetic.rain import Rain
from platoon.media.synthetic.scene import Body, Drive, Projection, Scene
from platoon.media.synthetic.scenery import paint_scenery
from platoon.media.synthetic.shapes import Mask, Points, fill, paint

_HAZE_SHARE = 0.25
"""Part of the way to the far end in which vehicles come out of the haze."""
_OVERLAY_FACE = Typeface(letter=0.6, digit=0.56, stroke=0.13, gap=0.16)
_BARRIER_RISE_S = 1.2


class Road:
    """One scene, painted as far as it stands still."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._projection = Projection(scene.camera, scene.size)
        self._scenery = paint_scenery(scene, self._projection)
        self._vehicles: list[Car | Bus] = []
        for vehicle in scene.vehicles:
            kind = Bus if vehicle.body is Body.BUS else Car
            self._vehicles.append(kind(vehicle, front=scene.lanes[vehicle.lane].towards, light=scene.light))
        self._rain = Rain(scene) if scene.rain else None
        self._barrier_times = _barrier_times(scene)
        self._clock: tuple[str, Mask] = ("", np.zeros((0, 0), np.uint8))
        self._text_height = max(1, round(scene.size[1] / 34))
        self._title = text_mask(scene.name.upper(), self._text_height, _OVERLAY_FACE)

    def frame(self, index: int) -> tuple[Pixels, dict[int, Points]]:
        """The picture of frame `index`, and the plates wholly in view.

        Returns:
            RGB of the scene's size; by index of the vehicle its plate's corners in pixels, (4, 2) clockwise from the
            text's top left. Plates cut off by the border, covered, or still in the haze are left out.
        """
        time_s = index / self.scene.fps
        picture = self._scenery.copy()
        quads: dict[int, Points] = {}
        places = [(self.scene.depth_of(vehicle, time_s), i) for i, vehicle in enumerate(self.scene.vehicles)]
        barrier = self.scene.barrier_m
        for z, i in sorted(((z, i) for z, i in places if z is not None), reverse=True):
            if barrier is not None and z < barrier:
                self._hide(quads, self._draw_barrier(picture, barrier, time_s))
                barrier = None
            vehicle = self.scene.vehicles[i]
            x = self.scene.lanes[vehicle.lane].x_m + vehicle.offset_m
            clear = float(np.clip((self.scene.far_m - z) / (_HAZE_SHARE * self.scene.far_m), 0, 1))
            if isinstance(vehicle.motion, Drive) and clear < 1:
                behind = picture.copy()
                covered = self._vehicles[i].draw(picture, x, z, self._projection)
                cv2.addWeighted(picture, clear, behind, 1 - clear, 0, dst=picture)
            else:
                covered = self._vehicles[i].draw(picture, x, z, self._projection)
            self._hide(quads, covered)
            quad = self._vehicles[i].plate_quad(x, z, self._projection)
            if quad is not None and clear == 1 and self._in_view(quad):
                quads[i] = quad
        if barrier is not None:
            self._hide(quads, self._draw_barrier(picture, barrier, time_s))
        if self._rain:
            self._rain.fall(picture, index)
        if self.scene.overlay:
            for area in self._draw_overlay(picture, time_s):
                self._hide(quads, area)
        return picture, quads

    def _in_view(self, quad: Points) -> bool:
        return bool((quad >= 1).all() and (quad <= np.array(self.scene.size) - 2).all())

    @staticmethod
    def _hide(quads: dict[int, Points], covered: Points) -> None:
        if len(covered) < 3:
            return
        outline = covered.astype(np.float32)
        for i in [i for i, quad in quads.items() if cv2.intersectConvexConvex(outline, quad.astype(np.float32))[0] > 0]:
            del quads[i]

    def _draw_barrier(self, picture: Pixels, z: float, time_s: float) -> Points:
        """The arm across the first lane, hinged at its left; returns its outline."""
        lane = self.scene.lanes[0]
        angle = self._barrier_open(time_s) * 1.45
        hinge = np.array([lane.x_m - lane.width_m / 2 - 0.2, 0.98, z])
        along, up = np.array([np.cos(angle), np.sin(angle), 0]), np.array([-np.sin(angle), np.cos(angle), 0])
        length = lane.width_m + 0.1
        for start in np.arange(0, length, 0.45):
            end = min(start + 0.45, length)
            part = hinge + np.array([start * along, end * along, end * along - 0.1 * up, start * along - 0.1 * up])
            colour = (232, 230, 226) if round(start / 0.45) % 2 else (204, 44, 40)
            fill(
                picture,
                self._projection.outline(part),
                (np.array(colour) * self.scene.light.ambient).tolist(),
            )
        post = hinge + np.array([[-0.22, 0.12, 0], [0.12, 0.12, 0], [0.12, -0.98, 0], [-0.22, -0.98, 0]])
        fill(
            picture,
            self._projection.outline(post),
            (np.array([226, 174, 40]) * self.scene.light.ambient).tolist(),
        )
        return self._projection.outline(
            hinge + np.array([0 * up, length * along, length * along - 0.1 * up, -0.1 * up])
        )

    def _barrier_open(self, time_s: float) -> float:
        """0 closed to 1 open."""
        rising = ((time_s - start) / _BARRIER_RISE_S for start, _ in self._barrier_times)
        falling = (1 + (end - time_s) / _BARRIER_RISE_S for _, end in self._barrier_times)
        return max((min(max(min(pair), 0.0), 1.0) for pair in zip(rising, falling, strict=True)), default=0.0)

    def _draw_overlay(self, picture: Pixels, time_s: float) -> list[Points]:
        second = self.scene.clock_s + int(time_s)
        text = f"2026-05-18 {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
        if self._clock[0] != text:
            self._clock = text, text_mask(text, self._text_height, _OVERLAY_FACE)
        margin, height = self._text_height, self._text_height
        clock_left = max(0, self.scene.size[0] - margin - self._clock[1].shape[1])
        areas = []
        for words, left in ((self._title, margin), (self._clock[1], clock_left)):
            for shift, colour in ((2, (10, 10, 10)), (0, (244, 244, 244))):
                area = picture[margin + shift : margin + shift + height, left + shift :][:, : words.shape[1]]
                paint(area, words[:, : area.shape[1]], colour)
            right, bottom = left + words.shape[1], margin + height
            areas.append(np.array([[left, margin], [right, margin], [right, bottom], [left, bottom]], np.float64))
        return areas


def _barrier_times(scene: Scene) -> list[tuple[float, float]]:
    """When the barrier starts to rise and to fall: up before its vehicle moves off, down behind its end."""
    times = []
    for vehicle in scene.vehicles:
        stop = vehicle.motion.stop_at_m if isinstance(vehicle.motion, Drive) else None
        if scene.barrier_m is None or stop is None or vehicle.lane != 0:
            continue
        steps = [step / 10 for step in range(round(scene.duration_s * 10))]
        places = [(time_s, z) for time_s in steps if (z := scene.depth_of(vehicle, time_s)) is not None]
        ahead = 1 if scene.barrier_m > stop else -1
        away = [(time_s, ahead * (z - stop)) for time_s, z in places]
        moving = [
            time_s for time_s, way in away if 0.02 < way < ahead * (scene.barrier_m - stop) + (1 if ahead > 0 else 5.5)
        ]
        if moving:
            times.append((moving[0] - _BARRIER_RISE_S, moving[-1]))
    return times
