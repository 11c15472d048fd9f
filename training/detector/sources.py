"""What examples are made of: the frames of `plates-train`, drawn plates, drawn streets, fonts."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from platoon.media.synthetic.demo import demo_scenes
from platoon.media.synthetic.plates import STYLES
from platoon.media.synthetic.road import Road
from platoon.media.synthetic.scene import DAY, DUSK, NIGHT, Camera, Projection, Scene, Sign, Vehicle
from training.detector.geometry import UNIT, Picture, Plate, Points, any_of
from training.detector.lettering import Lettering, code
from training.detector.scenes import Shot
from training.draw import fonts
from training.draw.plates import draw_plate

_READABLE_PX = 20
"""Narrower plates of drawn streets need not be found."""
_BOARDS = ((20, 92, 60), (24, 66, 140), (30, 60, 120), (120, 30, 30), (20, 20, 24), (110, 70, 30))
"""Usual colours of signs."""
_BOARD_SHAPE = 180 / 640
"""Height of a drawn sign beside its width."""
_UNLABELLED = Path(__file__).with_name("unlabelled.tsv")
"""Plates in the frames of `plates-train` that its labels lack, most of them far away or blurred."""


def frames(data: Path, split: str) -> list[Shot]:
    """The frames of one split of `plates-train`, "train" or "valid", at full size."""
    labelled, unclear = _boxes(data / "boxes.tsv", split), _boxes(_UNLABELLED)
    return [
        Shot(load(data / "images" / name), [Plate(quad, exact=False) for quad in quads], unclear.get(name, []))
        for name, quads in sorted(labelled.items())
    ]


def _boxes(path: Path, split: str | None = None) -> dict[str, list[Points]]:
    """The outlines in a table, those of one split or all, by image."""
    found: dict[str, list[Points]] = defaultdict(list)
    with path.open() as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if split is None or row["split"] == split:
                low = np.array([float(row["x1"]), float(row["y1"])], np.float32)
                high = np.array([float(row["x2"]), float(row["y2"])], np.float32)
                found[row["image"]].append(UNIT * (high - low) + low)
    return found


def load(path: Path) -> Picture:
    """A picture in a file, RGB."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f"{path} is no picture that can be read")
    rgb: Picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return rgb


def draw_plates(rng: np.random.Generator, count: int, *, height: int = 112) -> list[Picture]:
    """Flat plates of all kinds, `height` pixels high."""
    drawn = []
    for _ in range(count):
        plate = draw_plate(rng).picture
        wide = round(plate.shape[1] * height / plate.shape[0])
        drawn.append(cv2.resize(plate, (wide, height), interpolation=cv2.INTER_AREA))
    return drawn


def draw_streets(rng: np.random.Generator, count: int) -> list[Shot]:
    """Drawn streets: the scenes of the demo with other signs, light and cameras, and with other vehicles or none."""
    shots: list[Shot] = []
    scenes = demo_scenes()
    while len(shots) < count:
        scene = any_of(rng, scenes)
        camera = _moved(rng, scene.camera)
        scene = replace(
            scene,
            vehicles=tuple(_other(rng, vehicle) for vehicle in scene.vehicles) if rng.random() < 0.3 else (),
            signs=tuple(_sign(rng, camera) for _ in range(int(rng.integers(2, 8)))),
            camera=camera,
            light=(DAY, DUSK, NIGHT)[rng.integers(3)],
            overlay=bool(rng.random() < 0.5),
            seed=int(rng.integers(1 << 30)),
        )
        road = Road(scene)
        signs = [quad for sign in scene.signs if (quad := _outline(scene, sign)) is not None]
        taken = 0
        for index in rng.integers(0, scene.frames, 40):
            picture, quads = road.frame(int(index))
            seen = [quad.astype(np.float32) for quad in quads.values()]
            good = [Plate(quad, exact=True) for quad in seen if np.ptp(quad[:, 0]) > _READABLE_PX]
            if good or (signs and not scene.vehicles):
                small = [quad for quad in seen if np.ptp(quad[:, 0]) <= _READABLE_PX]
                shots.append(Shot(picture, good, small, signs))
                taken += 1
            if taken == (4 if scene.vehicles else 1):
                break
    return shots[:count]


def _other(rng: np.random.Generator, vehicle: Vehicle) -> Vehicle:
    """The same vehicle with another plate and colour."""
    name = any_of(rng, list(STYLES))
    grey = int(rng.integers(15, 235))
    red, green, blue = rng.integers(15, 235, 3).tolist()
    colour = (red, green, blue) if rng.random() < 0.4 else (grey, grey, grey)
    return replace(vehicle, plate=STYLES[name].invent(rng), country=name, colour=colour)


def _moved(rng: np.random.Generator, camera: Camera) -> Camera:
    return Camera(
        focal=camera.focal * rng.uniform(0.8, 1.3),
        x_m=camera.x_m + rng.normal(0, 0.4),
        height_m=camera.height_m * rng.uniform(0.7, 1.5),
        yaw_deg=camera.yaw_deg + rng.normal(0, 2),
        pitch_deg=camera.pitch_deg + rng.normal(0, 1),
        roll_deg=rng.normal(0, 2),
    )


def _sign(rng: np.random.Generator, camera: Camera) -> Sign:
    """A board with a code such as plates have, somewhere in the camera's view."""
    z = float(rng.uniform(7, 45))
    view = z / camera.focal
    x = camera.x_m + z * np.tan(np.deg2rad(camera.yaw_deg)) + rng.uniform(-0.45, 0.45) * view
    y = camera.height_m - z * np.tan(np.deg2rad(camera.pitch_deg)) + rng.uniform(-0.1, 0.25) * view
    red, green, blue = rng.integers(0, 200, 3).tolist()
    return Sign(
        words=code(rng),
        x_m=float(x),
        y_m=max(0.5, float(y)),
        z_m=z,
        width_m=float(np.exp(rng.uniform(np.log(0.04), np.log(0.25)))) * view,
        colour=(red, green, blue) if rng.random() < 0.6 else any_of(rng, _BOARDS),
        posts=bool(rng.random() < 0.6),
    )


def _outline(scene: Scene, sign: Sign) -> Points | None:
    """Where a sign is in the scene's pictures, if wholly in view and not too small to be read."""
    half = np.array([sign.width_m / 2, -sign.width_m / 2 * _BOARD_SHAPE, 0])
    corners = np.column_stack([UNIT * 2 - 1, np.zeros(4)]) * half + [sign.x_m, sign.y_m, sign.z_m]
    quad = Projection(scene.camera, scene.size).project(corners)
    if quad is None or np.ptp(quad[:, 0]) < _READABLE_PX or (quad < 0).any() or (quad > np.array(scene.size)).any():
        return None
    return quad.astype(np.float32)


def lettering() -> Lettering:
    """Text that is no plate, in the fonts that plates are drawn in too: it is not by them that it is told apart."""
    fonts.fetch()
    names = (name for family in fonts.FAMILIES for name in family.file_names())
    return Lettering([str(fonts.DEFAULT_CACHE / name) for name in names])


def kept(path: Path, rng: np.random.Generator, *, plates: int, streets: int) -> tuple[list[Picture], list[Shot]]:
    """Drawn plates and streets from the file `path`, which is written where it is missing: drawing takes minutes."""
    if not path.exists():
        flat, drawn = draw_plates(rng, plates), draw_streets(rng, streets)
        stored: dict[str, Picture | Points] = {f"plate{i}": plate for i, plate in enumerate(flat)}
        for i, shot in enumerate(drawn):
            stored[f"street{i}"] = shot.picture
            parts = (("quads", [plate.quad for plate in shot.plates]), ("small", shot.unclear), ("signs", shot.signs))
            for part, quads in parts:
                stored[f"{part}{i}"] = np.array(quads, np.float32).reshape(-1, 4, 2)
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **stored)
    with np.load(path) as loaded:
        flat = [loaded[f"plate{i}"] for i in range(plates)]
        shots = [
            Shot(
                loaded[f"street{i}"],
                [Plate(quad, exact=True) for quad in loaded[f"quads{i}"]],
                *(list(loaded[f"{part}{i}"]) for part in ("small", "signs")),
            )
            for i in range(streets)
        ]
    return flat, shots
