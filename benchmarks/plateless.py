"""Pictures without a plate: what is read as one there is a false alarm.

Three kinds, the same every time: parts of road frames away from every plate that somebody marked, synthetic streets
without vehicles (shop signs, name and clock burnt in), and pages of documents.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import corpus
from benchmarks.photographs import Box
from benchmarks.pictures import pages as drawn_pages
from benchmarks.reels import DATA
from platoon.media.frame import Pixels
from platoon.media.synthetic.demo import demo_scenes
from platoon.media.synthetic.road import Road
from platoon.media.synthetic.scene import DAY, DUSK, NIGHT, Scene, Sign
from platoon.ocr.picture import load_picture
from platoon.ocr.recognition import recognition_graph

ROADS = Path(os.environ.get("PLATOON_DATA", DATA)) / "plates-train"
"""Frames in `images`, and `boxes.tsv` with the columns image, x1, y1, x2, y2 of every plate in them."""
PART = (480, 320)
"""Width and height of a part of a frame."""
TRIES = 40
"""Places in a frame that are tried."""
MARGIN = 1.0
"""Around a plate, in widths and heights of it, nothing is taken."""
ROAD_PARTS, STREETS, PAGES_PER_PACKAGE, DRAWN_PAGES = 300, 60, 2, 24
SHOPS = (
    "BAKERY", "OPEN 24H", "CAFE 1905", "SHOP 4 YOU", "HOTEL", "BUS 42A", "EXIT 12", "P 200M", "TAXI 555", "A4 M25",
    "SALE 50", "NO 17B", "H2O BAR", "AB 12 CD", "SINCE 1987", "ROUTE 66",
)  # fmt: skip


def road_parts(folder: Path = ROADS, count: int = ROAD_PARTS) -> Iterator[Pixels]:
    """Parts of so many frames, one of each, none where the folder is missing."""
    table = folder / "boxes.tsv"
    if not table.exists():
        return
    boxes: dict[str, list[Box]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
            boxes.setdefault(row["image"], []).append((x1, y1, x2, y2))
    taken = 0
    for name in sorted(boxes, key=_number):
        picture = load_picture(folder / "images" / name)
        place = away((picture.shape[1], picture.shape[0]), PART, boxes[name], seed=_number(name))
        if place is not None:
            left, top, right, bottom = place
            yield np.ascontiguousarray(picture[top:bottom, left:right])
            taken += 1
            if taken == count:
                return


def away(
    size: tuple[int, int], part: tuple[int, int], plates: Sequence[Box], *, seed: int
) -> tuple[int, int, int, int] | None:
    """A part (x1, y1, x2, y2) of a picture that keeps away from all plates; none if none is found.

    Args:
        size: width and height of the picture, as `part` of what is taken.
    """
    rng = np.random.default_rng(seed)
    width, height = min(part[0], size[0]), min(part[1], size[1])
    for _ in range(TRIES):
        left, top = int(rng.integers(size[0] - width + 1)), int(rng.integers(size[1] - height + 1))
        right, bottom = left + width, top + height
        if not any(_near(plate, (left, top, right, bottom)) for plate in plates):
            return left, top, right, bottom
    return None


def _near(plate: Box, part: Box) -> bool:
    x, y = MARGIN * (plate[2] - plate[0]), MARGIN * (plate[3] - plate[1])
    return plate[0] - x < part[2] and plate[2] + x > part[0] and plate[1] - y < part[3] and plate[3] + y > part[1]


def empty_scenes(count: int = STREETS) -> list[Scene]:
    """Scenes without vehicles: the demo's in another light, with other signs."""
    rng = np.random.default_rng(7)
    scenes = demo_scenes()
    found = []
    for number in range(count):
        scene = scenes[number % len(scenes)]
        words = rng.choice(SHOPS, 2, replace=False)
        sides = [float(rng.uniform(3.9, 5.2)) * side for side in (-1, 1)]
        signs = tuple(
            Sign(str(word), x, float(rng.uniform(1.6, 3.0)), float(rng.uniform(9, 40)), float(rng.uniform(1.2, 2.6)))
            for word, x in zip(words, sides, strict=True)
        )
        light = (DAY, DUSK, NIGHT)[number // len(scenes) % 3]
        clock = int(rng.integers(86_400))
        found.append(replace(scene, vehicles=(), signs=signs, light=light, clock_s=clock, seed=number, barrier_m=None))
    return found


def streets(count: int = STREETS) -> Iterator[Pixels]:
    """A picture of each of `empty_scenes`."""
    for scene in empty_scenes(count):
        yield Road(scene).frame(0)[0]


def pages(folder: Path = corpus.PDFS) -> Iterator[Pixels]:
    """Pages of the PDF files there, see `corpus`; drawn ones where there are none."""
    known = corpus.fold(" ".join(recognition_graph()[1]))
    try:
        yield from (page.picture for page in corpus.pages(folder, per_package=PAGES_PER_PACKAGE, known=known))
    except FileNotFoundError:
        yield from drawn_pages(DRAWN_PAGES)


def _number(name: str) -> int:
    """Scatters names, the same every time."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
