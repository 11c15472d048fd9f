"""What the OCR service is measured with: real plates where there are some, and pages of real text.

Plates are cut out of photographs by their true boxes, with the margin that a detector leaves; without the photographs
they are drawn. Pages are the documentation of Python's own modules, set in a proportional font as on paper at 150 dpi.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.reels import DATA
from platoon.media.frame import Pixels
from platoon.media.synthetic.plates import STYLES, draw_plate
from platoon.ocr.picture import load_picture

MARGIN = (0.15, 0.3)
"""Left and right of a plate, above and below it, as parts of its width and height."""
DRAWN = 48
MODULES = ("argparse", "decimal", "logging", "tarfile", "threading", "typing", "difflib", "optparse")
PAPER_PX, BORDER_PX, FONT_PX, LEADING_PX, COLUMNS = (1240, 1754), 110, 24, 34, 88


def plate_crops() -> tuple[str, list[Pixels]]:
    """("real", the plates of the photographs), or ("drawn", some of the demo's)."""
    folder = Path(os.environ.get("PLATOON_DATA", DATA)) / "plates-dev"
    crops = [crop for truth in sorted(folder.glob("*/truth.tsv")) for crop in _cut(truth)]
    if crops:
        return "real", crops
    style = STYLES["GB"]
    return "drawn", [draw_plate(f"AB{10 + n} XYZ", style, px_per_mm=0.4) for n in range(DRAWN)]


def pages(count: int) -> list[Pixels]:
    """So many pages, all different."""
    return [_page(lines) for _, lines in zip(range(count), _page_texts(), strict=False)]


def _cut(truth: Path) -> Iterator[Pixels]:
    with truth.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            picture = load_picture(truth.parent / row["image"])
            x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
            left, top = round(width * MARGIN[0]), round(height * MARGIN[1])
            around = picture[max(0, y - top) : y + height + top, max(0, x - left) : x + width + left]
            yield np.ascontiguousarray(around)


def _page_texts() -> Iterator[list[str]]:
    fits = (PAPER_PX[1] - 2 * BORDER_PX) // LEADING_PX
    lines: list[str] = []
    for name in MODULES:
        module = importlib.import_module(name)
        for thing in (module, *(member for _, member in inspect.getmembers(module, inspect.isclass))):
            for paragraph in (inspect.getdoc(thing) or "").split("\n\n"):
                lines += [*textwrap.wrap(paragraph, COLUMNS), ""]
                while len(lines) >= fits:
                    yield lines[:fits]
                    lines = lines[fits:]


def _page(lines: list[str]) -> Pixels:
    paper = Image.new("RGB", PAPER_PX, (252, 251, 248))
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(FONT_PX)
    for number, line in enumerate(lines):
        draw.text((BORDER_PX, BORDER_PX + number * LEADING_PX), line, fill=(24, 24, 28), font=font)
    return np.array(paper)
