"""A sheet of samples, to look at: for each country some plates as drawn and some as photographed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from training.draw import world
from training.draw.layouts import Layout
from training.draw.photograph import photograph
from training.draw.plates import Pixels, draw_plate, layouts_by_country

_TILE = (214, 92)
_FLAT, _PHOTOGRAPHED = 4, 3
_GREY = (70, 70, 74)


def save_sheet(out: Path, *, seed: int = 0) -> None:
    """Write the sheet, two countries a row, as a picture of the suffix's format."""
    rng = np.random.default_rng(seed)
    rows = [_row(rng, layouts) for layouts in layouts_by_country().values()]
    rows.append(_row(rng, [world.invent_layout(rng) for _ in range(_FLAT + _PHOTOGRAPHED)]))
    if len(rows) % 2:
        rows.append(np.full_like(rows[0], _GREY[0]))
    half = len(rows) // 2
    sheet = np.vstack([np.hstack(pair) for pair in zip(rows[:half], rows[half:], strict=True)])
    Image.fromarray(sheet).save(out)


def _row(rng: np.random.Generator, layouts: list[Layout]) -> Pixels:
    tiles = []
    for i in range(_FLAT + _PHOTOGRAPHED):
        plate = draw_plate(rng, layouts[i % len(layouts)])
        seen = plate.picture if i < _FLAT else photograph(rng, plate.picture).picture
        tiles.append(_tile(seen, f"{plate.country} {plate.text}"))
    return np.hstack(tiles)


def _tile(picture: Pixels, title: str) -> Pixels:
    width, height = _TILE
    tile = np.full((height, width, 3), _GREY, np.uint8)
    share = min((width - 6) / picture.shape[1], (height - 20) / picture.shape[0])
    size = (max(1, int(picture.shape[1] * share)), max(1, int(picture.shape[0] * share)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR)
    tile[17 : 17 + size[1], 3 : 3 + size[0]] = small
    cv2.putText(tile, title, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 230, 120), 1, cv2.LINE_AA)
    return tile
