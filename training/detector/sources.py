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
from platoon.media.synthetic.scene import DAY, DUSK, NIGHT, Camera
from training.detector.geometry import UNIT, Picture, Plate
from training.detector.lettering import Lettering
from training.detector.scenes import Shot
from training.draw import fonts
from training.draw.plates import draw_plate


def frames(data: Path, split: str) -> list[Shot]:
    """The frames of one split of `plates-train`, "train" or "valid", at full size."""
    boxes: dict[str, list[Plate]] = defaultdict(list)
    with (data / "boxes.tsv").open() as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if row["split"] == split:
                low = np.array([float(row["x1"]), float(row["y1"])], np.float32)
                high = np.array([float(row["x2"]), float(row["y2"])], np.float32)
                boxes[row["image"]].append(Plate(UNIT * (high - low) + low, exact=False))
    return [Shot(load(data / "images" / name), plates) for name, plates in sorted(boxes.items())]


def load(path: Path) -> Picture:
    """A picture in a file, RGB."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f"{path} is no picture that can be read")
    rgb: Picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return rgb


def draw_plates(rng: np.random.Generator, count: int, *, height: int = 72) -> list[Picture]:
    """Flat plates of all kinds, `height` pixels high."""
    drawn = []
    for _ in range(count):
        plate = draw_plate(rng).picture
        wide = round(plate.shape[1] * height / plate.shape[0])
        drawn.append(cv2.resize(plate, (wide, height), interpolation=cv2.INTER_AREA))
    return drawn


def draw_streets(rng: np.random.Generator, count: int) -> list[Shot]:
    """Drawn streets with drawn cars: the scenes of the demo with other plates, colours, light and cameras."""
    shots: list[Shot] = []
    scenes = demo_scenes()
    names = list(STYLES)
    while len(shots) < count:
        scene = scenes[len(shots) // 6 % len(scenes)]
        vehicles = []
        for vehicle in scene.vehicles:
            name = names[rng.integers(len(names))]
            grey = int(rng.integers(15, 235))
            red, green, blue = rng.integers(15, 235, 3).tolist()
            colour = (red, green, blue) if rng.random() < 0.4 else (grey, grey, grey)
            vehicles.append(replace(vehicle, plate=STYLES[name].invent(rng), country=name, colour=colour))
        camera = scene.camera
        camera = Camera(
            focal=camera.focal * rng.uniform(0.8, 1.3),
            x_m=camera.x_m + rng.normal(0, 0.4),
            height_m=camera.height_m * rng.uniform(0.7, 1.5),
            yaw_deg=camera.yaw_deg + rng.normal(0, 2),
            pitch_deg=camera.pitch_deg + rng.normal(0, 1),
            roll_deg=rng.normal(0, 2),
        )
        light = (DAY, DUSK, NIGHT)[rng.integers(3)]
        road = Road(
            replace(scene, vehicles=tuple(vehicles), camera=camera, light=light, seed=int(rng.integers(1 << 30)))
        )
        for index in rng.integers(0, scene.frames, 40):
            picture, quads = road.frame(int(index))
            good = [Plate(quad.astype(np.float32), exact=True) for quad in quads.values() if np.ptp(quad[:, 0]) > 20]
            if good:
                shots.append(Shot(picture, good))
            if len(shots) % 6 == 0 and good:
                break
    return shots


def lettering() -> Lettering:
    """Text that is no plate, in the fonts that plates are drawn in too: it is not by them that it is told apart."""
    fonts.fetch()
    names = (name for family in fonts.FAMILIES for name in family.file_names())
    return Lettering([str(fonts.DEFAULT_CACHE / name) for name in names])


def kept(path: Path, rng: np.random.Generator, *, plates: int, streets: int) -> tuple[list[Picture], list[Shot]]:
    """Drawn plates and streets from the file `path`, which is written where it is missing: drawing takes minutes."""
    if not path.exists():
        flat, drawn = draw_plates(rng, plates), draw_streets(rng, streets)
        stored = {f"plate{i}": plate for i, plate in enumerate(flat)}
        for i, shot in enumerate(drawn):
            stored[f"street{i}"] = shot.picture
            stored[f"quads{i}"] = np.stack([plate.quad for plate in shot.plates])
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **stored)
    with np.load(path) as stored:
        flat = [stored[f"plate{i}"] for i in range(plates)]
        shots = [
            Shot(stored[f"street{i}"], [Plate(quad, exact=True) for quad in stored[f"quads{i}"]])
            for i in range(streets)
        ]
    return flat, shots
