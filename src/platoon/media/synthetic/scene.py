"""A synthetic scene as data: where the camera hangs, which vehicles pass when, in what light.

Everything is in metres and seconds of a right-handed world: x to the right, y up, z along the road away from the
camera, whose foot stands at z = 0. A scene says all that its pictures depend on, so the same scene gives the same
pictures, and its `digest` names them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from platoon.errors import InvalidInput
from platoon.media.synthetic.plates import STYLES
from platoon.media.synthetic.shapes import Colour, Points

NEAR_M = 0.4
"""What is nearer to the lens is not drawn."""
GONE_M = -8.0
"""A vehicle whose near face is here is behind the camera with its whole length."""
_BRAKING_MPS2 = 2.0


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera beside or above the road."""

    focal: float
    """Focal length in widths of the picture; 1.6 is a normal lens, 6 a long one."""
    x_m: float = 0.0
    height_m: float = 2.3
    yaw_deg: float = 0.0
    """To the right."""
    pitch_deg: float = 0.0
    """Downwards."""
    roll_deg: float = 0.0
    """Clockwise: the picture's horizon falls to the left."""

    def rotation(self) -> Points:
        """World directions to camera directions (x right, y down, z ahead), shape (3, 3)."""
        yaw, pitch, roll = (math.radians(angle) for angle in (self.yaw_deg, self.pitch_deg, self.roll_deg))
        flip = np.diag([1.0, -1.0, 1.0])
        turn = np.array([[math.cos(yaw), 0, -math.sin(yaw)], [0, 1, 0], [math.sin(yaw), 0, math.cos(yaw)]])
        tilt = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
        lean = np.array([[math.cos(roll), math.sin(roll), 0], [-math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
        matrix: Points = lean @ tilt @ flip @ turn
        return matrix


@dataclass(frozen=True)
class Lane:
    """A lane parallel to z."""

    x_m: float
    towards: bool = True
    """Whether traffic comes towards the camera, and so shows its front."""
    width_m: float = 3.4


@dataclass(frozen=True, kw_only=True)
class Drive:
    """Passes at a steady speed, with at most one stop on the way."""

    enters_s: float
    """When it comes into sight: at the scene's far end, or from beneath the camera on a lane that leads away."""
    speed_mps: float
    stop_at_m: float | None = None
    """Where the near face stands during the stop."""
    stop_s: float = 0.0

    def travelled_m(self, time_s: float, until_stop_m: float) -> float:
        """Way since entering, `until_stop_m` being the way to the stop; brakes and starts at 2 m/s²."""
        elapsed = max(0.0, time_s - self.enters_s)
        if self.stop_at_m is None:
            return self.speed_mps * elapsed
        slowing_s = self.speed_mps / _BRAKING_MPS2
        brakes_at_s = until_stop_m / self.speed_mps - slowing_s / 2
        if elapsed <= brakes_at_s:
            return self.speed_mps * elapsed
        left_s = slowing_s - (elapsed - brakes_at_s)
        if left_s > 0:
            return until_stop_m - _BRAKING_MPS2 / 2 * left_s**2
        moving_s = -left_s - self.stop_s
        if moving_s <= 0:
            return until_stop_m
        gaining_s = min(moving_s, slowing_s)
        return until_stop_m + _BRAKING_MPS2 / 2 * gaining_s**2 + self.speed_mps * (moving_s - gaining_s)


@dataclass(frozen=True)
class Parked:
    """Stands there the whole time."""

    at_m: float


class Body(StrEnum):
    """What kind of vehicle it is."""

    CAR = "car"
    BUS = "bus"


@dataclass(frozen=True, kw_only=True)
class Vehicle:
    """A vehicle with its plate; in a lane it shows the front or the rear."""

    plate: str
    """As written, its groups parted by spaces, its lines by slashes: "M KX 204"."""
    country: str
    """A key of `plates.STYLES`."""
    motion: Drive | Parked
    lane: int = 0
    """Index into the scene's lanes."""
    offset_m: float = 0.0
    """To the right of the lane's middle."""
    colour: Colour = (120, 126, 134)
    badge: str = ""
    """Lettering on the body, on a bus several lines parted by slashes: not a plate."""
    body: Body = Body.CAR

    @property
    def text(self) -> str:
        """What a reader should give: the plate without its gaps."""
        return self.plate.replace(" ", "").replace("/", "")


@dataclass(frozen=True)
class Sign:
    """A board with words beside the road: not a plate."""

    words: str
    x_m: float
    y_m: float
    """Height of its middle."""
    z_m: float
    width_m: float
    colour: Colour = (20, 92, 60)
    posts: bool = True
    """Whether it stands; else it hangs on what is behind."""


class Setting(StrEnum):
    """What lies around the road."""

    STREET = "street"
    MOTORWAY = "motorway"
    CAR_PARK = "car park"
    TOLL = "toll"


@dataclass(frozen=True)
class Light:
    """How bright and in what colour."""

    ambient: tuple[float, float, float]
    """Share of daylight by channel."""
    sky: tuple[Colour, Colour]
    """At the top, and at the horizon, where the haze has it as well."""
    plate: float
    """Brightness of plates, which throw light back."""
    noise: float
    """Standard deviation of the sensor's noise in grey levels."""
    lamps: bool
    """Whether lamps and headlights are on."""


DAY = Light((1.0, 1.0, 1.0), ((104, 152, 206), (206, 216, 222)), 0.92, 1.5, False)
DUSK = Light((0.62, 0.52, 0.5), ((64, 70, 112), (228, 158, 116)), 0.8, 2.2, True)
NIGHT = Light((0.25, 0.25, 0.31), ((8, 10, 20), (26, 28, 40)), 0.72, 2.6, True)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that a clip's pictures depend on."""

    name: str
    """For people; burnt into the picture."""
    camera: Camera
    lanes: tuple[Lane, ...]
    vehicles: tuple[Vehicle, ...]
    duration_s: float
    far_m: float
    """Where vehicles come out of the haze, or vanish in it."""
    setting: Setting = Setting.STREET
    light: Light = DAY
    signs: tuple[Sign, ...] = ()
    barrier_m: float | None = None
    """A barrier across the first lane, raised for who has stopped before it."""
    rain: float = 0.0
    """Streaks in a picture, by a thousand of its pixels; 0.5 is a shower."""
    overlay: bool = True
    """Whether name and clock are burnt into the picture."""
    clock_s: int = 38_537
    """What the burnt-in clock starts at, in seconds since midnight."""
    size: tuple[int, int] = (1280, 720)
    """Width and height in pixels, even."""
    fps: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        for vehicle in self.vehicles:
            style = STYLES.get(vehicle.country)
            if style is None:
                raise InvalidInput(f"no plates known of {vehicle.country!r}; known: {', '.join(STYLES)}")
            if not style.allows(vehicle.plate):
                raise InvalidInput(
                    f"{vehicle.plate!r} is no plate of {style.country}; possible: {', '.join(style.patterns)}"
                )
            if not 0 <= vehicle.lane < len(self.lanes):
                raise InvalidInput(f"vehicle {vehicle.plate!r} is in lane {vehicle.lane} of {len(self.lanes)}")
        if self.size[0] % 2 or self.size[1] % 2:
            raise InvalidInput(f"the picture's sides must be even, got {self.size}")

    @property
    def frames(self) -> int:
        """How many there are."""
        return round(self.duration_s * self.fps)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change with any detail of the scene."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    def depth_of(self, vehicle: Vehicle, time_s: float) -> float | None:
        """The z of the face that `vehicle` shows, or None while it is out of sight."""
        if isinstance(vehicle.motion, Parked):
            return vehicle.motion.at_m
        if time_s < vehicle.motion.enters_s:
            return None
        start, sign = (self.far_m, -1) if self.lanes[vehicle.lane].towards else (GONE_M, 1)
        stop = vehicle.motion.stop_at_m
        way = vehicle.motion.travelled_m(time_s, 0.0 if stop is None else abs(stop - start))
        z = start + sign * way
        return z if GONE_M <= z <= self.far_m else None


class Projection:
    """From the world to the pixels of one scene's picture."""

    def __init__(self, camera: Camera, size: tuple[int, int]) -> None:
        self.size = size
        self.focal_px = camera.focal * size[0]
        self.centre = np.array([size[0] / 2, size[1] / 2])
        self.eye = np.array([camera.x_m, camera.height_m, 0.0])
        self.rotation = camera.rotation()

    def to_camera(self, points: Points) -> Points:
        """World points, shape (n, 3), as the camera sees them: x right, y down, z ahead, in metres."""
        seen: Points = (points - self.eye) @ self.rotation.T
        return seen

    def project(self, points: Points) -> Points | None:
        """Pixels, shape (n, 2), of world points (n, 3), or None where one of them is too near or behind."""
        seen = self.to_camera(points)
        return None if seen[:, 2].min() < NEAR_M else self._to_pixels(seen)

    def outline(self, polygon: Points) -> Points:
        """Pixels of a polygon (n, 3), cut off where it is too near; may be empty."""
        seen = self.to_camera(polygon)
        inside = seen[:, 2] >= NEAR_M
        if inside.all():
            return self._to_pixels(seen)
        kept: list[Points] = []
        for i, point in enumerate(seen):
            before = seen[i - 1]
            if inside[i] != inside[i - 1]:
                kept.append(before + (point - before) * (NEAR_M - before[2]) / (point[2] - before[2]))
            if inside[i]:
                kept.append(point)
        return self._to_pixels(np.array(kept)) if len(kept) > 2 else np.zeros((0, 2))

    def _to_pixels(self, seen: Points) -> Points:
        pixels: Points = seen[:, :2] / seen[:, 2:] * self.focal_px + self.centre
        return pixels
