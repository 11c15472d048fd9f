"""What stands on plates besides their text: emblems, seals, pictures behind it, stickers, bolts, frames.

All are plain shapes that resemble no authority's sign in detail.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.draw.blank import Blank
from training.draw.layouts import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Colour, pick
from training.draw.typefaces import Style, Typeface


def any_colour(rng: np.random.Generator, low: int = 20, high: int = 235) -> Colour:
    """Any colour at all."""
    red, green, blue = (int(value) for value in rng.integers(low, high, 3))
    return red, green, blue


def draw_emblem(rng: np.random.Generator, blank: Blank, kind: str, x: float, y: float, cap: float, ink: Colour) -> None:
    """An emblem of about 0.8 capitals' height around (x, y)."""
    if kind == "seals":
        _seals(rng, blank, x, y, cap)
    elif kind in ("pair", "pair-hyphen"):
        _pair(rng, blank, x, y, cap, ink, hyphen=kind == "pair-hyphen")
    elif kind in ("crest", "shield"):
        _crest(rng, blank, x, y, cap)
    elif kind == "star":
        _star(blank, x, y, cap * rng.uniform(0.15, 0.26), ink)
    elif kind == "orange":
        _fruit(rng, blank, x, y, cap * rng.choice((0.9, 1.25, 1.6), p=(0.25, 0.4, 0.35)))
    elif kind == "outline":
        _figure(rng, blank, x, y, cap * rng.uniform(0.16, 0.26), ink)
    elif kind == "block":
        _block(rng, blank, x, y, cap)
    elif kind == "sticker":
        colour = pick_colour(rng, ((220, 190, 60), (200, 60, 40), (60, 120, 80), (190, 190, 196)))
        blank.rectangle(x - 0.14 * cap, y - 0.26 * cap, 0.28 * cap, 0.42 * cap, colour)
        blank.rectangle(x - 0.1 * cap, y - 0.18 * cap, 0.2 * cap, 0.06 * cap, ink)
        blank.rectangle(x - 0.1 * cap, y - 0.06 * cap, 0.2 * cap, 0.04 * cap, ink)
    elif kind == "large":
        for _ in range(int(rng.integers(1, 4))):
            at = rng.normal(0, 0.15, 2) * cap
            _figure(rng, blank, x + at[0], y + at[1], cap * rng.uniform(0.25, 0.6), any_colour(rng, 20, 220))
    elif kind in ("tree", "bird", "sun", "state"):
        _figure(rng, blank, x, y, cap * 0.34, any_colour(rng, 20, 200))
    else:
        blank.disc(x, y, 0.24 * cap, any_colour(rng))
        if rng.random() < 0.5:
            blank.ring(x, y, 0.17 * cap, 0.03 * cap, any_colour(rng))


def emblem_width(kind: str) -> float:
    """The room an emblem takes, gaps included, in capitals."""
    return {"seals": 0.72, "pair": 0.5, "pair-hyphen": 0.62, "crest": 0.72, "shield": 0.72, "star": 0.55,
            "outline": 0.6, "orange": 0.95, "large": 1.45, "sticker": 0.5, "block": 0.66}.get(kind, 0.85)  # fmt: skip


def pick_colour(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """One of the colours."""
    return colours[int(rng.integers(len(colours)))]


def _seals(rng: np.random.Generator, blank: Blank, x: float, y: float, cap: float) -> None:
    test = pick_colour(
        rng, ((60, 110, 180), (210, 180, 60), (190, 100, 60), (160, 90, 120), (90, 150, 90), (120, 80, 50))
    )
    state = pick_colour(rng, ((196, 190, 176), (150, 170, 200), (214, 200, 120)))
    if rng.random() < 0.8:
        blank.disc(x, y - 0.27 * cap, 0.22 * cap, test)
        blank.ring(x, y - 0.27 * cap, 0.15 * cap, 0.025 * cap, BLACK)
        blank.disc(x, y - 0.27 * cap, 0.07 * cap, WHITE)
    lower = y + (0.28 if rng.random() < 0.85 else 0.33) * cap
    blank.disc(x, lower, 0.24 * cap, state)
    blank.ring(x, lower, 0.17 * cap, 0.025 * cap, any_colour(rng))
    blank.disc(x, lower, 0.08 * cap, any_colour(rng))


def _pair(rng: np.random.Generator, blank: Blank, x: float, y: float, cap: float, ink: Colour, *, hyphen: bool) -> None:
    upper, lower = pick_colour(rng, ((220, 80, 40), (210, 60, 60), (220, 150, 40))), (70, 150, 90)
    reach = 0.3 if hyphen else rng.uniform(0.2, 0.28)
    for offset, colour in ((-reach, upper), (reach, lower)):
        if rng.random() < 0.88:
            radius = cap * rng.uniform(0.1, 0.14)
            blank.disc(x, y + offset * cap, radius, colour)
            blank.disc(x, y + offset * cap, radius * 0.45, WHITE)
    if hyphen:
        blank.rectangle(x - 0.14 * cap, y - 0.06 * cap, 0.28 * cap, 0.11 * cap, ink)


def _crest(rng: np.random.Generator, blank: Blank, x: float, y: float, cap: float) -> None:
    wide, high = 0.22 * cap, 0.3 * cap
    outer, inner = pick_colour(rng, (RED, BLUE, GREEN, (200, 160, 50))), pick_colour(rng, (WHITE, RED, BLUE, YELLOW))
    for share, colour in ((1.0, outer), (0.6, inner)):
        a, b = wide * share, high * share
        blank.polygon([(x - a, y - b), (x + a, y - b), (x + a, y + 0.3 * b), (x, y + b), (x - a, y + 0.3 * b)], colour)
    if rng.random() < 0.6:
        blank.rectangle(x - 0.03 * cap, y - 0.15 * cap, 0.06 * cap, 0.3 * cap, outer)
        blank.rectangle(x - 0.1 * cap, y - 0.06 * cap, 0.2 * cap, 0.05 * cap, outer)


def _fruit(rng: np.random.Generator, blank: Blank, x: float, y: float, cap: float) -> None:
    """Fruits and leaves, their state perhaps behind them; large ones reach below the characters beside them."""
    if rng.random() < 0.5:
        _figure(rng, blank, x, y, 0.5 * cap, any_colour(rng, 110, 220))
    red, green = int(rng.integers(190, 250)), int(rng.integers(50, 180))
    for _ in range(int(rng.integers(1, 4))):
        radius = cap * rng.uniform(0.2, 0.29)
        fruit = (red, int(green * rng.uniform(0.8, 1.1)), int(rng.integers(20, 90)))
        blank.disc(x + rng.normal(0, 0.12) * cap, y + rng.normal(0.06, 0.1) * cap, radius, fruit)
    for _ in range(int(rng.integers(1, 4))):
        angle, reach = rng.uniform(-np.pi, 0.2), cap * rng.uniform(0.25, 0.45)
        ahead, aside = np.array([np.cos(angle), np.sin(angle)]) * reach, np.array([-np.sin(angle), np.cos(angle)])
        points = np.array([[0.0, 0.0], ahead / 2 + aside * reach * 0.25, ahead, ahead / 2 - aside * reach * 0.25])
        leaf = [(x + px, y + py) for px, py in points.tolist()]
        blank.polygon(leaf, pick_colour(rng, (GREEN, (70, 140, 60), (30, 80, 50), (230, 226, 210))))


def _block(rng: np.random.Generator, blank: Blank, x: float, y: float, cap: float) -> None:
    """A state of about square outline, dark or with its stickers on it."""
    half = cap * rng.uniform(0.17, 0.26)
    corners = np.array([[-1, -1], [0.6, -1], [0.8, 0.1], [1.1, 1], [0.5, 1.05], [-0.8, 0.9]]) + rng.normal(
        0, 0.12, (6, 2)
    )
    dark = pick_colour(rng, ((150, 50, 30), (190, 80, 40), (90, 40, 30), (60, 60, 66), (30, 40, 70), (120, 110, 60)))
    blank.polygon([(x + px * half, y + py * half) for px, py in corners.tolist()], dark)
    if rng.random() < 0.5:
        light = any_colour(rng, 90, 240)
        blank.rectangle(x - 0.6 * half, y - 0.6 * half, 1.2 * half, rng.uniform(0.3, 1.2) * half, light)
        blank.rectangle(x - 0.4 * half, y - 0.3 * half, 0.8 * half, 0.2 * half, BLACK)


def _star(blank: Blank, x: float, y: float, radius: float, colour: Colour) -> None:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, radius, radius * 0.42)
    points = list(zip((x + reach * np.cos(angles)).tolist(), (y + reach * np.sin(angles)).tolist(), strict=True))
    blank.polygon(points, colour)


def _figure(rng: np.random.Generator, blank: Blank, x: float, y: float, radius: float, colour: Colour) -> None:
    """A silhouette as of a state, an animal or a tree: any shape that is no letter."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(7, 14))))
    reach = radius * rng.uniform(0.45, 1.05, angles.size)
    points = list(zip((x + reach * np.cos(angles)).tolist(), (y + reach * np.sin(angles)).tolist(), strict=True))
    blank.polygon(points, colour)
    if rng.random() < 0.5:
        blank.disc(x, y, radius * rng.uniform(0.15, 0.4), any_colour(rng))


def draw_picture(rng: np.random.Generator, blank: Blank, kind: str) -> None:
    """What lies behind the text, in colours near the field's."""
    field = blank.picture[blank.picture.shape[0] // 2, 2].astype(float)
    tint = np.clip(field * 0.75 + rng.uniform(20, 200, 3) * 0.25, 0, 255)
    colour: Colour = (int(tint[0]), int(tint[1]), int(tint[2]))
    wide, high = blank.width_mm, blank.height_mm
    if rng.random() < 0.35:
        _scenery(rng, blank)
    if kind == "scenery":
        return
    if kind in ("hills", "mountain"):
        xs = np.linspace(0, wide, 9 if kind == "mountain" else 24)
        base = high * rng.uniform(0.35, 0.75)
        sway = high * (0.16 if kind == "mountain" else 0.06)
        ys = base + rng.uniform(-sway, sway, xs.size)
        if kind == "hills":
            ys = np.convolve(np.pad(ys, 2, mode="edge"), np.ones(5) / 5, "valid")
        blank.polygon([(0.0, high), *zip(xs.tolist(), ys.tolist(), strict=True), (wide, high)], colour)
    elif kind == "face":
        x, y = wide * rng.uniform(0.3, 0.7), high * 0.5
        _figure(rng, blank, x, y, high * 0.36, colour)
    elif kind == "rainbow":
        for step in range(5):
            tinted = np.clip(field * 0.6 + np.array(any_colour(rng)) * 0.4, 0, 255)
            blank.ring(
                wide / 2,
                high * 1.3,
                high * (1.15 - 0.05 * step),
                high * 0.05,
                (int(tinted[0]), int(tinted[1]), int(tinted[2])),
            )
    else:
        for _ in range(int(rng.integers(1, 4))):
            _figure(
                rng,
                blank,
                wide * rng.uniform(0.05, 0.95),
                high * rng.uniform(0.2, 0.8),
                high * rng.uniform(0.15, 0.35),
                colour,
            )


def _scenery(rng: np.random.Generator, blank: Blank) -> None:
    """A print of many colours over the whole plate, faint enough to write on."""
    rows, columns = blank.picture.shape[:2]
    patches = rng.normal(0, 1, (int(rng.integers(3, 9)), int(rng.integers(4, 14)), 3)).astype(np.float32)
    patches += rng.normal(0, 1, (*patches.shape[:2], 1)).astype(np.float32)
    print_ = cv2.resize(patches, (columns, rows), interpolation=cv2.INTER_CUBIC) * np.float32(rng.uniform(5, 20))
    blank.picture[:] = cv2.add(blank.picture, np.round(print_).astype(np.int16), dtype=cv2.CV_8U)


def draw_sticker(rng: np.random.Generator, blank: Blank, face: Typeface, x: float, y: float) -> None:
    """A coloured label with a month or a year, its middle at (x, y)."""
    wide, high = rng.uniform(24, 44), rng.uniform(16, 28)
    colour = any_colour(rng)
    blank.rectangle(x - wide / 2, y - high / 2, wide, high, colour)
    ink = BLACK if sum(colour) > 380 else WHITE
    if rng.random() < 0.8:
        words = pick(
            rng, ("11", "12", "24", "25", "JAN", "MAR", "OCT", "DEC", "08", "6", "10 25", "07 12", "2026", "NOV")
        )
        blank.words(words, face, x, y, high * rng.uniform(0.45, 0.7), ink, room=wide * 0.9)


def draw_bolt(rng: np.random.Generator, blank: Blank, x: float, y: float) -> None:
    """A screw, a cap or an empty hole, and its shadow."""
    radius = rng.uniform(3.0, 7.5)
    if rng.random() < 0.25:
        blank.rectangle(x - 2 * radius, y - radius * 0.8, 4 * radius, 1.6 * radius, (30, 30, 30))
        return
    grey = int(rng.integers(30, 220))
    colour = pick_colour(rng, ((grey, grey, grey), (grey, grey, grey), (120, 90, 60), (230, 228, 224), (30, 30, 34)))
    shadow = radius * rng.uniform(0.1, 0.7)
    blank.disc(x + rng.uniform(-1, 1) * shadow, y + shadow, radius * 1.15, (40, 40, 40))
    blank.disc(x, y, radius, colour)
    if rng.random() < 0.5:
        blank.disc(x - radius * 0.25, y - radius * 0.3, radius * 0.35, (min(255, colour[0] + 60),) * 3)


def draw_frame(rng: np.random.Generator, blank: Blank, face: Typeface) -> None:
    """A dealer's frame: covers the edges, more of the top and bottom, mostly with words on it."""
    colour = pick_colour(rng, ((24, 24, 26), (24, 24, 26), (180, 182, 186), (226, 226, 226), any_colour(rng)))
    ink = WHITE if sum(colour) < 380 else BLACK
    side, top, bottom = rng.uniform(4, 9), rng.uniform(6, 24), rng.uniform(6, 22)
    wide, high = blank.width_mm, blank.height_mm
    # Broad ones cover the captions and touch the characters.
    if rng.random() < 0.35:
        top = rng.uniform(0.16, 0.26) * high
    if rng.random() < 0.4:
        bottom = rng.uniform(0.15, 0.25) * high
    blank.rectangle(0, 0, wide, top, colour)
    blank.rectangle(0, high - bottom, wide, bottom + 1, colour)
    blank.rectangle(0, 0, side, high, colour)
    blank.rectangle(wide - side, 0, side + 1, high, colour)
    for size, middle in ((top, top / 2), (bottom, high - bottom / 2)):
        if size > 12 and rng.random() < 0.8:
            cap = size * rng.uniform(0.5, 0.85)
            style = Style(gap=rng.uniform(0.1, 0.35), weight=rng.uniform(-0.01, 0.03))
            x, room = wide * rng.uniform(0.45, 0.55), wide * rng.uniform(0.6, 0.92)
            blank.words(pick(rng, DEALERS), face, x, middle, cap, ink, room=room, style=style)


DEALERS = (
    "RIVERSIDE", "OLD TOWN MOTORS", "HILLTOP", "ALUMNI", "AUTO CENTER", "HONDA", "TOYOTA OF SALEM", "SURVEYORS", "FORD",
    "CHEVROLET", "GREENFIELD", "I LOVE MY CAT", "UNIVERSITY", "www.autos.com", "AUTOHAUS", "Motors", "NISSAN",
    "MY OTHER CAR IS A TRAIN", "HARBOR AUTO", "KEYSTONE CARS", "PROUD PARENT", "SERVICE 24H", "VETERANS", "HYUNDAI",
)  # fmt: skip
