"""Pictures for the tests of the page: a road as a camera sees it, a plate as a crop shows it."""

import cv2
import numpy as np

from platoon.media.frame import Pixels


def road(camera: str) -> Pixels:
    """What the camera of this id sees: the same for the same id; 1280 x 720."""
    random = np.random.default_rng(list(camera.encode()))
    height, width = 720, 1280
    sky = np.linspace(190, 120, height)[:, None, None] * np.array([0.92, 0.98, 1.0])
    picture = np.broadcast_to(sky, (height, width, 3)).astype(np.uint8).copy()
    horizon = 170
    cv2.rectangle(picture, (0, horizon), (width, height), (88, 104, 84), -1)
    far = int(random.integers(560, 720))
    cv2.fillPoly(
        picture,
        [np.array([[far - 60, horizon], [far + 60, horizon], [width, height], [60, height]])],
        (74, 77, 82),
    )
    for start in np.geomspace(8, height - horizon, 9):
        top, bottom = horizon + start * 0.82, horizon + start
        left = [far + (640 - far) * (y - horizon) / (height - horizon) for y in (top, bottom)]
        half = [max(1.0, (y - horizon) / 80) for y in (top, bottom)]
        stripe = [
            [left[0] - half[0], top],
            [left[0] + half[0], top],
            [left[1] + half[1], bottom],
            [left[1] - half[1], bottom],
        ]
        cv2.fillPoly(picture, [np.array(stripe, np.int32)], (214, 214, 206))
    _vehicle(picture, (580, 436), 150, random.integers(60, 200, 3).tolist())
    _vehicle(picture, (855, 310), 86, random.integers(60, 200, 3).tolist())
    return _through_a_lens(picture, random, blur=0.9, noise=4)


def plate_picture(text: str) -> Pixels:
    """A crop that shows `text` on a plate; 260 x 72."""
    random = np.random.default_rng(list(text.encode()))
    picture = np.full((72, 260, 3), (52, 58, 64), np.uint8)
    cv2.rectangle(picture, (12, 10), (248, 62), (236, 236, 226), -1)
    cv2.rectangle(picture, (15, 13), (245, 59), (30, 32, 34), 1)
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.2, 3)
    scale = 1.2 * min(1.0, 214 / wide)
    at = (round(130 - wide * scale / 2.4), round(36 + high * scale / 2.4))
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (24, 26, 28), 3, cv2.LINE_AA)
    return _through_a_lens(picture, random, blur=1.1, noise=6)


def _through_a_lens(picture: Pixels, random: np.random.Generator, *, blur: float, noise: float) -> Pixels:
    soft = cv2.GaussianBlur(picture, (0, 0), blur) + random.normal(0, noise, picture.shape)
    seen: Pixels = np.clip(soft, 0, 255).astype(np.uint8)
    return seen


def _vehicle(picture: Pixels, plate: tuple[int, int], width: int, colour: list[int]) -> None:
    """The back of a car whose plate lies around `plate`."""
    x, y = plate
    half, body = width, int(width * 0.75)
    cv2.ellipse(picture, (x, y + body // 2), (int(half * 1.1), body // 8), 0, 0, 360, (40, 42, 45), -1)
    cv2.rectangle(picture, (x - half, y - body // 2), (x + half, y + body // 3), colour, -1)
    cabin = [
        [x - half * 0.8, y - body // 2],
        [x - half * 0.6, y - body],
        [x + half * 0.6, y - body],
        [x + half * 0.8, y - body // 2],
    ]
    cv2.fillPoly(picture, [np.array(cabin, np.int32)], colour)
    window = [
        [x - half * 0.66, y - body * 0.52],
        [x - half * 0.52, y - body * 0.92],
        [x + half * 0.52, y - body * 0.92],
        [x + half * 0.66, y - body * 0.52],
    ]
    cv2.fillPoly(picture, [np.array(window, np.int32)], (48, 56, 64))
    for side in (-1, 1):
        lamp = (x + side * int(half * 0.82), y - body // 3)
        cv2.rectangle(
            picture,
            (lamp[0] - half // 9, lamp[1]),
            (lamp[0] + half // 9, lamp[1] + body // 5),
            (196, 44, 38),
            -1,
        )
        wheel = (x + side * int(half * 0.75), y + body // 3)
        cv2.rectangle(
            picture,
            (wheel[0] - half // 7, wheel[1]),
            (wheel[0] + half // 7, wheel[1] + body // 6),
            (28, 28, 30),
            -1,
        )
    cv2.rectangle(
        picture,
        (x - int(half * 0.4), y - int(half * 0.1)),
        (x + int(half * 0.4), y + int(half * 0.1)),
        (238, 238, 228),
        -1,
    )
