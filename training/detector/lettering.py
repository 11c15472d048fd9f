"""Text that is no plate: signs, badges, stickers, clocks, phone numbers, pages. What a plate detector must leave
alone.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from platoon.media.synthetic.glyphs import Typeface, text_mask
from training.detector.geometry import UNIT, Picture, Points, View, any_of, paste, turned

Colour = tuple[int, int, int]

# fmt: off
_BRANDS = ("SPORT", "TURBO", "GTX", "4x4", "TDI", "HYBRID", "LINE", "QUATTRA", "XDrive", "1.6", "2.0D", "EV")
_SHOPS = (
    "BUTCHER", "CAFE", "Pharmacy", "HOSTEL", "PIZZA", "BANK", "24h", "OPEN", "SALE -50%", "MARKET", "Optik", "TAXI",
    "RENT A CAR", "PARKING", "EXIT", "BUS", "POLICE", "STOP", "ZONE 30", "AMBULANCE", "SCHOOL", "NO ENTRY", "FOR SALE",
    "TOLL", "P+R", "AUTO",
)
# fmt: on
_FACES = (Typeface(), Typeface(0.7, 0.66, 0.17, 0.22), Typeface(0.5, 0.48, 0.12, 0.12), Typeface(0.6, 0.6, 0.2, 0.2))
_PAPER = (250, 249, 245)


class Lettering:
    """Words as masks, in the fonts at hand.

    Args:
        fonts: paths of TrueType or OpenType fonts.
    """

    def __init__(self, fonts: Sequence[str]) -> None:
        self._fonts = [ImageFont.truetype(path, 40) for path in fonts]

    def mask(self, rng: np.random.Generator, words: str) -> NDArray[np.uint8]:
        """The coverage of a line of text, some 30-50 pixels high."""
        if rng.random() < 0.25:
            shape = any_of(rng, _FACES)
            known = "".join(
                letter if letter in string.ascii_uppercase + string.digits + "-.:/ " else "-"
                for letter in words.upper()
            )
            return text_mask(known, 40, shape)
        font = any_of(rng, self._fonts)
        left, top, right, bottom = (int(edge) for edge in font.getbbox(words))
        canvas = Image.new("L", (max(4, right - left), max(4, bottom - top)))
        ImageDraw.Draw(canvas).text((-left, -top), words, font=font, fill=255)
        return np.asarray(canvas)

    def page(self, rng: np.random.Generator, size: int) -> Picture:
        """A part of a printed page: lines of text in columns, perhaps a table."""
        page = np.empty((size, size, 3), np.uint8)
        page[:] = _PAPER if rng.random() < 0.7 else rng.integers(160, 256, 3)
        ink = tuple(int(value) for value in rng.integers(0, 90, 3))
        y, height = int(rng.integers(-10, 20)), int(rng.integers(8, 28))
        while y < size:
            x = int(rng.integers(0, 30))
            big = rng.random() < 0.12
            tall = int(height * (rng.uniform(1.3, 2.5) if big else 1))
            while x < size and rng.random() > 0.06:
                word = self.mask(rng, made_up(rng) if rng.random() < 0.3 else _word(rng))
                wide = max(3, round(word.shape[1] * tall / word.shape[0]))
                _stamp(page, cv2.resize(word, (wide, tall), interpolation=cv2.INTER_AREA), (x, y), ink)
                x += wide + tall // 2 + (size // 6 if rng.random() < 0.08 else 0)
            if rng.random() < 0.1:
                cv2.line(page, (0, y + tall + 3), (size, y + tall + 3), ink, 1)
            y += int(tall * rng.uniform(1.2, 1.8))
        return page


def code(rng: np.random.Generator) -> str:
    """Letters and digits as on plates, and as on many signs: routes, gates, bays, house numbers, years, prices."""
    groups = []
    for _ in range(int(rng.choice([1, 2, 2, 2, 3, 3]))):
        signs = any_of(rng, (string.ascii_uppercase, string.digits, string.ascii_uppercase + string.digits))
        groups.append("".join(rng.choice(list(signs), int(rng.integers(1, 6)))))
    if rng.random() < 0.25:
        groups[int(rng.integers(len(groups)))] = _word(rng).upper()
    return any_of(rng, (" ", " ", " ", "-", "")).join(groups)[:12]


def made_up(rng: np.random.Generator) -> str:
    """Words, codes, numbers and brands as they stand about in streets."""
    if rng.random() < 0.4:
        return code(rng)
    kind = rng.random()
    if kind < 0.25:
        return any_of(rng, _BRANDS)
    if kind < 0.6:
        return any_of(rng, _SHOPS)
    if kind < 0.7:
        return f"0{rng.integers(10, 999)} {rng.integers(100, 999)} {rng.integers(1000, 9999)}"
    if kind < 0.8:
        return f"{rng.integers(0, 24):02}:{rng.integers(0, 60):02}:{rng.integers(0, 60):02}"
    if kind < 0.85:
        return f"www.{_word(rng)}.com"
    return _word(rng) + (" " + _word(rng) if rng.random() < 0.4 else "")


def scatter(rng: np.random.Generator, view: View, lettering: Lettering) -> None:
    """Put some text that is no plate where nothing is known."""
    kinds: Sequence[Callable[[np.random.Generator, Lettering], tuple[Picture, NDArray[np.uint8]]]] = (
        _sign,
        _sign,
        _sign,
        _bare,
        _bare,
        _sticker,
    )
    size = view.picture.shape[0]
    for _ in range(int(rng.integers(1, 6))):
        picture, alpha = any_of(rng, kinds)(rng, lettering)
        aspect = picture.shape[1] / picture.shape[0]
        width = min(float(np.exp(rng.uniform(np.log(14), np.log(0.8 * size)))), 0.5 * size * aspect)
        quad = turned(rng, aspect, width, rng.uniform(0, size, 2).astype(np.float32))
        if not view.busy(quad):
            if rng.random() < 0.3:
                _posts(rng, view, quad)
            paste(view, picture, alpha, quad)


def burn_in(rng: np.random.Generator, view: View, lettering: Lettering) -> None:
    """Write a clock or a camera's name into a corner, as recorders do, where no plate is."""
    date = f"{rng.integers(2005, 2035)}-{rng.integers(1, 13):02}-{rng.integers(1, 29):02}"
    clock = f"{rng.integers(0, 24):02}:{rng.integers(0, 60):02}"
    words = f"{date} {clock}" if rng.random() < 0.6 else f"CAM {rng.integers(1, 40)} {_word(rng).upper()}"
    mask = lettering.mask(rng, words)
    size = view.picture.shape[0]
    height = float(rng.uniform(7, 22))
    width = min(height * mask.shape[1] / mask.shape[0], 0.95 * size)
    corner = rng.integers(0, 2, 2) * (np.array([size - width, size - height]) - 12) + 6
    quad = (UNIT * [width, height] + corner).astype(np.float32)
    if not view.busy(quad):
        bright = np.full((*mask.shape, 3), 255 if rng.random() < 0.8 else 0, np.uint8)
        if rng.random() < 0.3:
            bright[mask < 128] = 0
            mask = np.full_like(mask, 255)
        paste(view, bright, mask, quad)


def _sign(rng: np.random.Generator, lettering: Lettering) -> tuple[Picture, NDArray[np.uint8]]:
    """A board with a word or a few lines on it: too large, too square or too colourful for a plate, or not quite."""
    lines = [lettering.mask(rng, made_up(rng)) for _ in range(int(rng.choice([1, 1, 2, 3])))]
    field = rng.integers(0, 256, 3)
    ink = rng.integers(0, 256, 3)
    if abs(int(field.sum()) - int(ink.sum())) < 200:
        ink[:] = 0 if field.sum() > 380 else 255
    margin = int(rng.integers(8, 60) if rng.random() < 0.5 else rng.integers(8, 25))
    width, height = max(line.shape[1] for line in lines), sum(line.shape[0] + 14 for line in lines)
    board = np.empty((height + 2 * margin, width + 2 * margin, 3), np.uint8)
    board[:] = field
    y = margin
    for line in lines:
        _stamp(board, line, (margin + (width - line.shape[1]) // 2, y), tuple(int(value) for value in ink))
        y += line.shape[0] + 14
    if rng.random() < 0.5:
        edge, inset = int(rng.integers(2, 7)), int(rng.integers(2, 7))
        low, high = (inset, inset), (board.shape[1] - 1 - inset, board.shape[0] - 1 - inset)
        cv2.rectangle(board, low, high, [int(value) for value in ink], edge)
    return board, np.full(board.shape[:2], 255, np.uint8)


def _posts(rng: np.random.Generator, view: View, quad: Points) -> None:
    """What holds up a sign at `quad`: one post or two, down out of the view or as far as nothing is known below."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    wide = max(1.0, float(rng.uniform(0.02, 0.08) * (high[0] - low[0])))
    tall = float(rng.uniform(1, 8) * (high[1] - low[1]))
    grey = np.full((4, 4, 3), rng.integers(30, 200), np.uint8)
    for share in any_of(rng, ((0.5,), (0.15, 0.85))):
        x, y = low[0] + share * (high[0] - low[0]) - wide / 2, (low[1] + high[1]) / 2
        post = (UNIT * [wide, tall] + [x, y]).astype(np.float32)
        if not view.busy(post, slack=0):
            paste(view, grey, np.full((4, 4), 255, np.uint8), post)


def _bare(rng: np.random.Generator, lettering: Lettering) -> tuple[Picture, NDArray[np.uint8]]:
    """Letters alone, as on bodies of cars, vans and shop fronts."""
    mask = lettering.mask(rng, made_up(rng))
    picture = np.empty((*mask.shape, 3), np.uint8)
    picture[:] = (
        rng.integers(0, 256, 3)
        if rng.random() < 0.4
        else (rng.integers(150, 256) if rng.random() < 0.7 else rng.integers(0, 60))
    )
    return picture, mask


def _sticker(rng: np.random.Generator, lettering: Lettering) -> tuple[Picture, NDArray[np.uint8]]:
    """A round or oval badge with a few letters, or a lamp."""
    height, width = 90, int(rng.integers(90, 150))
    alpha = np.zeros((height, width), np.uint8)
    cv2.ellipse(alpha, (width // 2, height // 2), (width // 2 - 1, height // 2 - 1), 0, 0, 360, 255, -1)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = rng.integers(0, 256, 3)
    if rng.random() < 0.7:
        letters = "".join(rng.choice(list(string.ascii_uppercase), int(rng.integers(1, 4))))
        mask = lettering.mask(rng, letters)
        share = min(0.6 * width / mask.shape[1], 0.55 * height / mask.shape[0])
        mask = cv2.resize(mask, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        ink = tuple(int(value) for value in 255 - picture[0, 0])
        _stamp(picture, mask, ((width - mask.shape[1]) // 2, (height - mask.shape[0]) // 2), ink)
    return picture, alpha


def _word(rng: np.random.Generator) -> str:
    letters = rng.choice(list("aabcdeeefghiiklmnnoopqrrsttuuvwxyz"), int(rng.integers(2, 11)))
    word = "".join(letters)
    kind = rng.random()
    return word.upper() if kind < 0.3 else word.capitalize() if kind < 0.6 else word


def _stamp(picture: Picture, mask: NDArray[np.uint8], at: tuple[int, int], colour: Sequence[int]) -> None:
    x, y = max(at[0], 0), max(at[1], 0)
    mask = mask[y - at[1] :, x - at[0] :]
    area = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
    share = mask[: area.shape[0], : area.shape[1], None].astype(np.float32) / 255
    area[:] = (area + (np.array(colour, np.float32) - area) * share).astype(np.uint8)
