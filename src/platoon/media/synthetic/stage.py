"""What stands still is painted here, once per scene: the sky, the ground, and flat things upon it.

The ground is found by following every pixel's ray to it, so markings and texture lie in true perspective. All else
is painted over it from far to near, together with its own light and its distance; haze and the scene's light come
at the end. Which things stand where is the business of `scenery`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.media.frame import Pixels
from platoon.media.synthetic.glyphs import text_mask
from platoon.media.synthetic.scene import Projection, Scene, Setting, Sign
from platoon.media.synthetic.shapes import Colour, Points, Texture, fill, paint, shaded

Field = NDArray[np.float32]
"""One number per pixel, (height, width)."""

_LINE_M = 0.14
_KERB_M = 0.16
_LAMP_EVERY_M = 26.0
_LAMP_LIGHT = np.array([255, 214, 150], np.float32)
_BLACK: Colour = (0, 0, 0)


class Stage:
    """The picture in the making: colour in daylight, own light, and distance, of every pixel."""

    def __init__(self, scene: Scene, projection: Projection) -> None:
        self.scene, self.projection = scene, projection
        width, height = scene.size
        self.rng = np.random.default_rng(scene.seed)
        self.picture: Pixels = np.zeros((height, width, 3), np.uint8)
        self.own_light: Pixels = np.zeros((height, width, 3), np.uint8)
        self.distance: Field = np.full((height, width), np.inf, np.float32)
        self.left = min(lane.x_m - lane.width_m / 2 for lane in scene.lanes) - 0.5
        self.right = max(lane.x_m + lane.width_m / 2 for lane in scene.lanes) + 0.5
        self._things: list[tuple[float, Callable[[], None]]] = []
        self._trees: list[Texture] = []
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        seen = np.stack(
            [columns - width / 2 + 0.5, rows - height / 2 + 0.5, np.full_like(rows, projection.focal_px)], -1
        )
        self._rays: Field = (seen / projection.focal_px @ projection.rotation).astype(np.float32)

    # What a setting calls, in any order; nearer things cover farther ones.

    def polygon(self, corners: Points, colour: Colour, light: Colour = _BLACK) -> None:
        """A flat thing, corners (n, 3) in metres; `light` is what it sends out by itself."""

        def draw() -> None:
            outline = self.projection.outline(corners)
            fill(self.picture, outline, colour)
            fill(self.own_light, outline, light)
            if len(outline):
                cv2.fillPoly(self.distance, [np.round(outline).astype(np.int32)], away)

        away = float(corners[:, 2].mean())
        self._things.append((away, draw))

    def board(self, corners: Points, picture: Texture, light: Texture | None = None) -> None:
        """A painted thing, corners (4, 3) clockwise from the picture's top left; `light` is its own."""

        def draw() -> None:
            quad = self.projection.project(corners)
            if quad is not None:
                part, covers = picture.lay(self.picture, quad)
                self.own_light[part][covers > 127] = 0
                self.distance[part][covers > 127] = away
                if light:
                    light.lay(self.own_light, quad)

        away = float(corners[:, 2].mean())
        self._things.append((away, draw))

    def upright(
        self, x: tuple[float, float], y: tuple[float, float], z: float, colour: Colour, light: Colour = _BLACK
    ) -> None:
        """A rectangle that faces the camera."""
        self.polygon(facing(x, y, z), colour, light)

    def beside(self, x: float, y: tuple[float, float], z: tuple[float, float], colour: Colour) -> None:
        """A rectangle along the road."""
        self.polygon(along(x, y, z), colour)

    def tree(self, x: float, z: float, height: float) -> None:
        """A broad-leaved tree."""
        if not self._trees:
            self._trees = [paint_tree(self.rng) for _ in range(3)]
        half = height * 0.36
        crown = self._trees[int(self.rng.integers(len(self._trees)))]
        self.board(facing((x - half, x + half), (0, height), z), crown)

    def lamp_post(self, x: float, z: float, *, arm: float) -> None:
        """A street lamp whose arm reaches `arm` metres to the right (negative: left)."""
        grey = (98, 102, 106)
        self.upright((x - 0.07, x + 0.07), (0, 7), z, grey)
        self.upright((min(x, x + arm), max(x, x + arm)), (6.9, 7.0), z, grey)
        tip = x + arm
        self.upright((tip - 0.35, tip + 0.35), (6.75, 6.9), z - 0.01, (210, 210, 205), self.lit((255, 236, 190)))

    def sign(self, sign: Sign) -> None:
        """A board with words, on two posts."""
        wide, high = 640, 180
        board = np.empty((high, wide, 3), np.uint8)
        board[:] = sign.colour
        cv2.rectangle(board, (8, 8), (wide - 9, high - 9), (236, 236, 230), 6)
        words = text_mask(sign.words, 84)
        if words.shape[1] > wide - 60:
            words = cv2.resize(words, (wide - 60, 84), interpolation=cv2.INTER_AREA)
        x, y = (wide - words.shape[1]) // 2, (high - 84) // 2
        paint(board[y : y + 84, x : x + words.shape[1]], words, (240, 240, 236))
        half = sign.width_m / 2
        tall = half * high / wide
        for post in (-0.7 * half, 0.7 * half) if sign.posts else ():
            self.upright(
                (sign.x_m + post - 0.05, sign.x_m + post + 0.05),
                (0, sign.y_m),
                sign.z_m + 0.05,
                (110, 112, 116),
            )
        solid = np.full((high, wide), 255, np.uint8)
        glow = Texture((board * 0.5).astype(np.uint8), solid) if self.scene.light.lamps else None
        self.board(
            facing((sign.x_m - half, sign.x_m + half), (sign.y_m - tall, sign.y_m + tall), sign.z_m),
            Texture(board, solid),
            glow,
        )

    def lit(self, colour: Colour) -> Colour:
        """`colour` where the scene's lamps are on, else black."""
        return colour if self.scene.light.lamps else _BLACK

    def lamp_positions(self) -> list[tuple[float, float]]:
        """(x, z) of the street lamps' light on the road, left and right by turns; none along a motorway."""
        if self.scene.setting is Setting.MOTORWAY:
            return []
        every = np.arange(12.0, self.scene.far_m * 1.3, _LAMP_EVERY_M)
        return [(self.left + 1 if i % 2 else self.right - 1, float(z)) for i, z in enumerate(every)]

    # The painting itself.

    def paint_sky(self) -> None:
        """Bright at the horizon, with clouds."""
        up = np.clip(self._rays[:, :, 1] / 0.22, 0, 1)[:, :, None]
        top, horizon = (np.array(colour, np.float32) for colour in self.scene.light.sky)
        sky = horizon + (top - horizon) * up
        clouds = (
            _noise(self.rng, self.picture.shape[:2], (26, 90)) * 0.6
            + _noise(self.rng, self.picture.shape[:2], (9, 30)) * 0.4
        )
        cover = np.clip(clouds * 1.1, 0, 0.75)[:, :, None]
        self.picture[:] = np.clip(sky + (np.minimum(horizon * 1.12, 255) - sky) * cover, 0, 255)

    def paint_ground(self) -> None:
        """Road, markings, kerbs and what lies beside, with the light of the lamps on it."""
        down = self._rays[:, :, 1] < -1e-4
        way: Field = np.where(down, -self.projection.eye[1] / np.where(down, self._rays[:, :, 1], -1), 0).astype(
            np.float32
        )
        x = self._rays[:, :, 0] * way + np.float32(self.projection.eye[0])
        z = self._rays[:, :, 2] * way
        fine_x = np.maximum(way / self.projection.focal_px, 1e-4)
        fine_z = np.maximum(fine_x * way / self.projection.eye[1], 1e-4)

        def within(low: float, high: float) -> Field:
            inside: Field = np.clip((x - low) / fine_x + 0.5, 0, 1) * np.clip((high - x) / fine_x + 0.5, 0, 1)
            return inside

        grain = _sample(_noise_tile(self.rng, 1.2), x * 38, z * 38) * np.clip(0.03 / fine_z, 0, 1)
        patches = _sample(_noise_tile(self.rng, 10), x * 9, z * 2.2)
        rough = _sample(_noise_tile(self.rng, 2.5), x * 8, z * 5)
        ground = self._roadside(rough, within)
        asphalt = np.full((*x.shape, 3), (98, 99, 102), np.float32)
        asphalt += (grain * 12 + patches * 3)[:, :, None]
        for lane in self.scene.lanes:
            for track in (-0.78, 0.78):
                asphalt -= (9 * np.exp(-(((x - lane.x_m - track) / 0.28) ** 2)))[:, :, None]
            asphalt -= (6 * np.exp(-(((x - lane.x_m) / 0.3) ** 2)) * (1 + patches))[:, :, None]
        road = within(self.left, self.right)[:, :, None]
        ground += (asphalt - ground) * road
        paint_left = self._markings(z, fine_z, within) * (0.86 + 0.1 * np.clip(patches, -1, 1))
        ground += (np.array([222, 222, 214], np.float32) - ground) * paint_left[:, :, None]
        self.picture[down] = np.clip(ground, 0, 255)[down]
        self.distance[down] = z[down]
        if self.scene.light.lamps:
            pool = np.zeros_like(x)
            for lamp_x, lamp_z in self.lamp_positions():
                pool += np.exp(-((x - lamp_x) ** 2 / 18 + (z - lamp_z) ** 2 / 40))
            light = ground / 255 * np.clip(pool, 0, 1.2)[:, :, None] * _LAMP_LIGHT * 0.62
            self.own_light[down] = np.clip(light, 0, 255)[down]

    def _roadside(self, rough: Field, within: Callable[[float, float], Field]) -> Field:
        colour = (92, 108, 62) if self.scene.setting is Setting.MOTORWAY else (142, 138, 132)
        ground = np.full((*rough.shape, 3), colour, np.float32) + (rough * 12)[:, :, None]
        if self.scene.setting is not Setting.MOTORWAY:
            for low in (self.left - _KERB_M, self.right):
                kerb = within(low, low + _KERB_M)[:, :, None]
                ground += (np.array([176, 174, 168], np.float32) - ground) * kerb
        return ground

    def _markings(self, z: Field, fine_z: Field, within: Callable[[float, float], Field]) -> Field:
        lines = [within(edge - _LINE_M / 2, edge + _LINE_M / 2) for edge in (self.left + 0.35, self.right - 0.35)]
        lanes = sorted(self.scene.lanes, key=lambda lane: lane.x_m)
        for one, other in pairwise(lanes):
            middle = (one.x_m + one.width_m / 2 + other.x_m - other.width_m / 2) / 2
            line = within(middle - _LINE_M / 2, middle + _LINE_M / 2)
            if one.towards == other.towards:
                phase = np.abs((z % 9.0) - 4.5)
                line = line * np.clip((1.5 - phase) / fine_z + 0.5, 0, 1)
            lines.append(line)
        if self.scene.barrier_m is not None:
            stop = np.clip((0.25 - np.abs(z - self.scene.barrier_m - 0.9)) / fine_z + 0.5, 0, 1)
            lines.append(stop * within(self.left + 0.4, self.right - 0.4))
        drawn: Field = np.clip(sum(lines), 0, 1).astype(np.float32)
        return drawn

    def finish(self) -> Pixels:
        """Draw the things from far to near, then lay haze and light over all."""
        for sign in self.scene.signs:
            self.sign(sign)
        for _, draw in sorted(self._things, key=lambda thing: -thing[0]):
            draw()
        light = self.scene.light
        haze = 1 - np.exp(-np.minimum(self.distance / max(self.scene.far_m * 2, 150.0), 8.0))
        haze[np.isinf(self.distance)] = 0
        share = haze[:, :, None] ** 1.5
        lit = self.picture.astype(np.float32) * np.array(light.ambient, np.float32)
        sky = np.isinf(self.distance)
        lit[sky] = self.picture[sky]
        lit += (np.array(light.sky[1], np.float32) * np.float32(0.9) - lit) * share
        lit += self.own_light * (1 - share * 0.6)
        if light.lamps:
            lit += cv2.GaussianBlur(self.own_light, (0, 0), self.scene.size[0] / 90) * np.float32(0.7)
        finished: Pixels = np.clip(lit, 0, 255).astype(np.uint8)
        return finished


def paint_tree(rng: np.random.Generator, brightness: float = 1.0) -> Texture:
    """Trunk and crown, as wide as 0.72 of the height."""
    high, wide = 400, 288
    tree, coverage = np.zeros((high, wide, 3), np.uint8), np.zeros((high, wide), np.uint8)

    def both(outline: Points, colour: Colour) -> None:
        fill(tree, outline, colour)
        fill(coverage, outline, (255,))

    trunk = [
        [wide * 0.475, high],
        [wide * 0.485, high * 0.4],
        [wide * 0.515, high * 0.4],
        [wide * 0.53, high],
    ]
    both(np.array(trunk), shaded((78, 64, 52), brightness))
    turn = np.linspace(0, 2 * np.pi, 9)[:-1]
    clumps = rng.normal(0, 1, (16, 2)) * [wide * 0.17, high * 0.11] + [wide / 2, high * 0.36]
    for _ in range(700):
        middle = clumps[rng.integers(len(clumps))] + rng.normal(0, 1, 2) * [wide * 0.06, high * 0.042]
        # Leaves above catch the sky, leaves beneath lie in shadow.
        green = 0.62 + 0.62 * float(np.clip(0.85 - middle[1] / high, 0, 1)) + float(rng.normal(0, 0.09))
        radius = rng.uniform(2.5, 7.5)
        both(
            middle + radius * np.column_stack([np.cos(turn), np.sin(turn) * 0.8]),
            shaded((84, 112, 58), green * brightness),
        )
    return Texture(tree, coverage)


def facing(x: tuple[float, float], y: tuple[float, float], z: float) -> Points:
    """A rectangle that faces the camera, corners (4, 3) clockwise from top left."""
    return np.array([[x[0], y[1], z], [x[1], y[1], z], [x[1], y[0], z], [x[0], y[0], z]])


def along(x: float, y: tuple[float, float], z: tuple[float, float]) -> Points:
    """A rectangle along the road, as seen from its left; corners (4, 3) from the far top."""
    return np.array([[x, y[1], z[1]], [x, y[1], z[0]], [x, y[0], z[0]], [x, y[0], z[1]]])


def _noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Smooth noise of about unit deviation; `cells` are the (height, width) of its features in pixels."""
    coarse = rng.normal(0, 1, (shape[0] // cells[0] + 3, shape[1] // cells[1] + 3)).astype(np.float32)
    smooth: Field = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return smooth


def _noise_tile(rng: np.random.Generator, blur: float) -> Field:
    """Noise of unit deviation that tiles; its last row and column repeat the first, (513, 513)."""
    white = np.tile(rng.normal(0, 1, (512, 512)).astype(np.float32), (2, 2))
    tile = cv2.GaussianBlur(white, (0, 0), blur)[256:769, 256:769]
    unit: Field = tile / tile.std()
    return unit


def _sample(tile: Field, x: Field, y: Field) -> Field:
    period = tile.shape[0] - 1
    sampled: Field = cv2.remap(tile, x % period, y % period, cv2.INTER_LINEAR)
    return sampled
