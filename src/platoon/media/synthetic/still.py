"""Still scenes: a fixed camera before which nothing passes for minutes, but for a few vehicles at known times.

What sleeping cameras are tried with. Weather, light and leaves keep such a picture from standing still (`unrest`).
Seconds cost little: all that stands is painted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from platoon.media.synthetic.clips import Truth, record
from platoon.media.synthetic.encoding import Encoding
from platoon.media.synthetic.plates import STYLES
from platoon.media.synthetic.road import Road
from platoon.media.synthetic.scene import DAY, DUSK, NIGHT, Camera, Drive, Lane, Scene, Setting, Vehicle
from platoon.media.synthetic.sensor import Sensor
from platoon.media.synthetic.shapes import Colour, Points
from platoon.media.synthetic.unrest import Disturbance, Unrest

_COUNTRIES = ("DE", "FR", "NL", "GB", "ES", "IT", "PL")
_COLOURS: tuple[Colour, ...] = (
    (168, 172, 178),
    (216, 218, 220),
    (64, 68, 76),
    (150, 34, 34),
    (44, 78, 132),
    (50, 92, 74),
    (178, 160, 130),
)
_LANES = (Lane(-1.75, towards=False), Lane(1.75, towards=True))


def still_scene(
    *, seed: int, seconds: float, enters_s: Sequence[float] = (), fps: int = 15, size: tuple[int, int] = (1280, 720)
) -> Scene:
    """A camera at a gate, in a street or far above a road, by day, dusk or night, as the seed has it.

    Args:
        enters_s: when vehicles enter; plates, lanes and speeds are the seed's. A plate is in view for 1.2 s or
            longer; now and then a vehicle stops on its way.
    """
    rng = np.random.default_rng([seed, 1])
    view = (_gate, _street, _far)[int(rng.integers(3))]
    light = (DAY, DUSK, NIGHT)[int(rng.choice(3, p=[0.5, 0.15, 0.35]))]
    camera, far_m, setting, (slowest, fastest), stop_at_m = view(rng)
    vehicles = []
    for enters in enters_s:
        country = str(rng.choice(_COUNTRIES))
        stops = rng.random() < 0.2
        vehicles.append(
            Vehicle(
                plate=STYLES[country].invent(rng),
                country=country,
                lane=int(rng.integers(len(_LANES))),
                colour=_COLOURS[int(rng.integers(len(_COLOURS)))],
                motion=Drive(
                    enters_s=enters,
                    speed_mps=float(rng.uniform(slowest, fastest)),
                    stop_at_m=stop_at_m if stops else None,
                    stop_s=float(rng.uniform(2, 8)) if stops else 0.0,
                ),
            )
        )
    return Scene(
        name=f"Camera {seed}",
        camera=camera,
        lanes=_LANES,
        vehicles=tuple(vehicles),
        duration_s=seconds,
        far_m=far_m,
        setting=setting,
        light=light,
        overlay=bool(rng.random() < 0.5),
        size=size,
        fps=fps,
        seed=seed,
    )


_View = tuple[Camera, float, Setting, tuple[float, float], float]
"""The camera, where the haze ends, what lies around, slowest and fastest in m/s, and where who stops does."""


def _gate(rng: np.random.Generator) -> _View:
    camera = Camera(focal=1.5, height_m=float(rng.uniform(1.8, 2.6)), yaw_deg=float(rng.uniform(-4, 4)), pitch_deg=3.5)
    return camera, 30.0, Setting.CAR_PARK, (3.0, 13.0), 8.0


def _street(rng: np.random.Generator) -> _View:
    camera = Camera(focal=3.6, height_m=float(rng.uniform(2.2, 3.5)), yaw_deg=float(rng.uniform(-1, 1)), pitch_deg=3.0)
    return camera, 85.0, Setting.STREET, (5.0, 20.0), 25.0


def _far(rng: np.random.Generator) -> _View:
    """Plates grow to no more than 70 pixels of a picture 1280 wide."""
    camera = Camera(focal=6.0, height_m=6.0, yaw_deg=float(rng.uniform(-0.5, 0.5)), pitch_deg=3.0)
    return camera, 125.0, Setting.MOTORWAY, (8.0, 22.0), 75.0


def still_frames(scene: Scene, kind: Unrest) -> Iterator[tuple[VideoFrame, Mapping[int, Points]]]:
    """The frames of a scene, their numbers as time stamps, and by index of the vehicle the plates in view, (4, 2)."""
    road, sensor, disturbance = Road(scene), Sensor(scene.size, seed=scene.seed + 1), Disturbance(kind, scene)
    for index in range(scene.frames):
        picture, quads = road.frame(index)
        disturbance.lay(picture, index)
        yield sensor.expose(picture, index, noise=disturbance.noise(index)), quads


def still_clip(path: Path, scene: Scene, kind: Unrest, encoding: Encoding | None = None) -> Truth:
    """Render a still scene into an MP4 at `path`, and its truth into the JSON of the same name.

    Where the unrest covers or moves plates (leaves, a turned camera), the truth is where they would be without it.

    Raises:
        OSError: the files cannot be written.
    """
    return record(still_frames(scene, kind), scene, path, encoding or Encoding())
