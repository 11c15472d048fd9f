"""What a camera makes of a plate: where it hangs, how light falls on it, what lens, sensor and codec do to it.

`photograph` promises a picture and the plate's four corners in it. `spoil` alone adds the camera's part to any picture
and leaves every point where it is. Both take a `strength`: 0 leaves little but resampling, 1 spans what dash cameras,
phones and gates take, of which most is easy to read and some is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.draw import cctv

Pixels = NDArray[np.uint8]
Corners = NDArray[np.float32]
"""(4, 2): x, y in pixels, clockwise from the plate's own top left."""

_CCTV_SHARE = 0.5
"""Of photographs at full strength and of any width: how many a surveillance camera took."""
_SURROUNDINGS = 0.3
"""Room around the plate on each side, as a share of its width and height, at least."""


@dataclass(frozen=True)
class Photograph:
    """A plate as photographed."""

    picture: Pixels
    """RGB: the plate and what is around it."""
    corners: Corners


def photograph(
    rng: np.random.Generator,
    picture: Pixels,
    *,
    strength: float = 1.0,
    width_px: float | None = None,
) -> Photograph:
    """Hang a plate on some bodywork, see it from some side and spoil it as a camera would.

    Args:
        picture: the flat plate, RGB.
        strength: how far poses and spoilings reach, 0..1.
        width_px: the plate's width in the photograph; by default 45 to 250, mostly 60 to 160.
    """
    watched = width_px is None and rng.random() < _CCTV_SHARE * strength
    if width_px is None:
        least, usual, most, spread = (52, 78, 130, 0.25) if watched else (45, 110, 250, 0.4)
        width_px = float(np.clip(np.exp(rng.normal(np.log(usual), spread)), least, most))
    quad = _pose(rng, picture.shape[1] / picture.shape[0], width_px, strength)
    low, high = quad.min(axis=0), quad.max(axis=0)
    room = _SURROUNDINGS * (high - low)
    quad = quad - low + room
    width, height = (int(np.ceil(extent)) for extent in high - low + 2 * room)
    scene = _bodywork(rng, width, height, quad)
    _lay(rng, scene, picture, quad)
    _mar(rng, scene, quad, strength)
    if watched:
        seen = cctv.film(rng, scene, metered=_inside(quad))
    else:
        seen = spoil(rng, scene, plate_px=width_px, strength=strength, metered=_inside(quad))
    return Photograph(seen, quad.astype(np.float32))


def spoil(
    rng: np.random.Generator,
    picture: Pixels,
    *,
    plate_px: float,
    strength: float = 1.0,
    metered: tuple[slice, slice] | None = None,
) -> Pixels:
    """The picture as a camera would deliver it: light, focus, motion, sensor and codec; every point stays in place.

    Args:
        picture: RGB.
        plate_px: how wide the plate in it is; blur is in proportion to it.
        strength: how far it goes, 0..1.
        metered: rows and columns whose marks exposure must keep; by default the picture's middle.
    """
    hard = strength * rng.beta(1.1, 2.2)
    light = picture.astype(np.float32)
    light = _illuminate(rng, light, hard)
    light = _blur(rng, light, plate_px / 100, hard)
    light = _expose(_weather(rng, light, hard), metered)
    light = _sense(rng, light, hard)
    return _encode(rng, np.clip(light, 0, 255).astype(np.uint8), hard)


def _pose(rng: np.random.Generator, aspect: float, width_px: float, strength: float) -> NDArray[np.float64]:
    """Corners of the plate seen through a pinhole: yaw to 35 degrees, pitch to 20, roll to 12."""
    reach = np.deg2rad([35, 20, 12]) * strength
    yaw, pitch, roll = np.clip(rng.normal(0, 0.38, 3), -1, 1) * reach
    distance = rng.uniform(4, 14)
    flat = np.array(
        [[-0.5, -0.5 / aspect, 0], [0.5, -0.5 / aspect, 0], [0.5, 0.5 / aspect, 0], [-0.5, 0.5 / aspect, 0]]
    )
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    turned = flat @ (about_z @ about_x @ about_y).T
    seen = turned[:, :2] / (1 + turned[:, 2:] / distance)
    # Pixels are not always square in footage, and plates are not always flat.
    seen = seen * [1.0, rng.uniform(0.9, 1.1)] + rng.normal(0, 0.004, (4, 2)) * strength
    return np.asarray(seen * width_px)


def _inside(quad: NDArray[np.float64]) -> tuple[slice, slice]:
    """Rows and columns well inside a plate."""
    x, y = quad.mean(axis=0)
    wide, high = 0.35 * np.hypot(*(quad[1] - quad[0])), 0.25 * np.hypot(*(quad[3] - quad[0]))
    return slice(int(y - high), int(y + high) + 1), slice(int(x - wide), int(x + wide) + 1)


def _bodywork(rng: np.random.Generator, width: int, height: int, quad: NDArray[np.float64]) -> Pixels:
    """Paint, plastic and the plate's holder."""
    colour = rng.uniform(10, 240, 3) if rng.random() < 0.4 else np.full(3, rng.uniform(8, 235)) + rng.normal(0, 6, 3)
    patches = colour + rng.normal(0, rng.uniform(2, 40), (4, 5, 1)) + rng.normal(0, 5, (4, 5, 3))
    scene = cv2.resize(np.clip(patches, 0, 255).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    painted: Pixels = np.clip(scene, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            edge = float(rng.uniform(0, height))
            tilt = rng.uniform(-0.1, 0.1) * width
            line = np.array([[0, edge], [width, edge + tilt]])
            paint = np.clip(colour * rng.uniform(0.2, 1.6), 0, 255).tolist()
            cv2.line(painted, *_points(line), paint, int(rng.integers(1, 1 + max(2, height // 8))), cv2.LINE_AA)
    if rng.random() < 0.55:
        centre = quad.mean(axis=0)
        grown = centre + (quad - centre) * [rng.uniform(1.01, 1.08), rng.uniform(1.03, 1.2)]
        if rng.random() < 0.6:
            down = (quad[3] - quad[0]) * rng.uniform(0.03, 0.16)
            grown[2:] += down
        shade = float(rng.uniform(5, 60) if rng.random() < 0.8 else rng.uniform(60, 240))
        cv2.fillConvexPoly(painted, np.round(grown * 16).astype(np.int32), (shade, shade, shade), cv2.LINE_AA, 4)
        if rng.random() < 0.5:
            _holder_words(rng, painted, quad, 255 - shade)
    return painted


def _holder_words(rng: np.random.Generator, scene: Pixels, quad: NDArray[np.float64], shade: float) -> None:
    """Marks below the plate that look like a dealer's words."""
    along, down = quad[2] - quad[3], quad[3] - quad[0]
    start = rng.uniform(0.05, 0.4)
    end = rng.uniform(start + 0.1, 0.95)
    size = float(np.hypot(*down)) * rng.uniform(0.04, 0.09)
    at = start
    while at < end:
        step = rng.uniform(0.01, 0.025)
        place = quad[3] + along * at + down * 0.08
        box = np.array([place, place + along * step * 0.7, place + along * step * 0.7 - [0, size], place - [0, size]])
        cv2.fillConvexPoly(scene, np.round(box * 16).astype(np.int32), (shade, shade, shade), cv2.LINE_AA, 4)
        at += step * (1 if rng.random() < 0.85 else 2)


def _points(line: NDArray[np.float64]) -> tuple[tuple[int, int], tuple[int, int]]:
    (x0, y0), (x1, y1) = np.round(line).astype(int).tolist()
    return (x0, y0), (x1, y1)


def _lay(rng: np.random.Generator, scene: Pixels, picture: Pixels, quad: NDArray[np.float64]) -> None:
    """Put the plate into its quadrilateral, scaled down without aliasing."""
    rows, columns = picture.shape[:2]
    shrink = float(np.hypot(*(quad[1] - quad[0]))) / columns
    if shrink < 0.7:
        size = (max(8, round(columns * min(1, shrink * 1.15))), max(4, round(rows * min(1, shrink * 1.15))))
        method = cv2.INTER_AREA if rng.random() < 0.75 else cv2.INTER_LINEAR
        picture = cv2.resize(picture, size, interpolation=method)
        rows, columns = size[1], size[0]
    if rng.random() < 0.12:
        picture = _bend(rng, picture)
    edges = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32) - 0.5
    homography = cv2.getPerspectiveTransform(edges, (quad - 0.5).astype(np.float32))
    size = (scene.shape[1], scene.shape[0])
    warped = cv2.warpPerspective(picture, homography, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = np.zeros(scene.shape[:2], np.uint8)
    cv2.fillConvexPoly(cover, np.round((quad - 0.5) * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    weight = cover[..., None].astype(np.float32) / 255
    scene[:] = scene * (1 - weight) + warped * weight + 0.5


def _bend(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """The plate bulged and dented by a few hundredths of its height."""
    rows, columns = picture.shape[:2]
    along = np.linspace(0, 2 * np.pi, columns, dtype=np.float32)[None]
    across = np.linspace(0, 2 * np.pi, rows, dtype=np.float32)[:, None]
    turns, phases = rng.uniform(0.4, 2.0, 2), rng.uniform(0, 2 * np.pi, 2)
    reach = rng.uniform(0.01, 0.045) * rows
    wave = np.sin(along * np.float32(turns[0]) + np.float32(phases[0]))
    lean = np.sin(across * np.float32(turns[1]) + np.float32(phases[1]))
    ys = np.arange(rows, dtype=np.float32)[:, None] + np.float32(reach) * wave
    xs = np.arange(columns, dtype=np.float32)[None] + np.float32(reach) * lean
    from_x, from_y = np.broadcast_arrays(xs, ys)
    bent = cv2.remap(picture, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, np.uint8)


def _mar(rng: np.random.Generator, scene: Pixels, quad: NDArray[np.float64], strength: float) -> None:
    """Dirt on the plate, edges of things in front of it."""
    height, width = scene.shape[:2]
    if rng.random() < 0.25 * strength:
        grain = rng.normal(0, 1, (int(rng.integers(4, 14)), int(rng.integers(8, 30)))).astype(np.float32)
        dirt = cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
        weight = np.clip((dirt - rng.uniform(0.2, 1.5)) * rng.uniform(0.15, 0.6), 0, 0.75)[..., None]
        scene[:] = scene * (1 - weight) + rng.uniform(40, 150) * weight
    if rng.random() < 0.08 * strength:
        _light_lamps(rng, scene, quad)
    if rng.random() < 0.06 * strength:
        side = quad[3] - quad[0]
        depth = rng.uniform(0.03, 0.12)
        edge, inward = ((quad[0], quad[1]), side) if rng.random() < 0.5 else ((quad[3], quad[2]), -side)
        strip = np.array([edge[0] - inward, edge[1] - inward, edge[1] + inward * depth, edge[0] + inward * depth])
        shade = float(rng.uniform(5, 200))
        cv2.fillConvexPoly(scene, np.round(strip * 16).astype(np.int32), (shade, shade, shade), cv2.LINE_AA, 4)


def _light_lamps(rng: np.random.Generator, scene: Pixels, quad: NDArray[np.float64]) -> None:
    """Lamps over the plate, as at night: the plate bright below them, the rest darker."""
    height, width = scene.shape[:2]
    ys = np.arange(height, dtype=np.float32)[:, None]
    xs = np.arange(width, dtype=np.float32)[None]
    reach = np.float32(np.hypot(*(quad[3] - quad[0])) * rng.uniform(0.25, 0.9))
    glow = np.zeros((height, width), np.float32)
    for share in (0.3, 0.7) if rng.random() < 0.7 else (0.5,):
        x, y = quad[0] + (quad[1] - quad[0]) * share - (quad[3] - quad[0]) * rng.uniform(0, 0.2)
        glow += np.exp(-(((xs - np.float32(x)) / reach) ** 2 + ((ys - np.float32(y)) / reach) ** 2))
    dim, bright = rng.uniform(0.3, 0.9), rng.uniform(30, 150)
    scene[:] = np.clip(scene * np.float32(dim) + glow[..., None] * np.float32(bright), 0, 255)


def _illuminate(rng: np.random.Generator, light: NDArray[np.float32], hard: float) -> NDArray[np.float32]:
    """Uneven light, shadows' edges, night with glare, infrared, exposure and casts."""
    height, width = light.shape[:2]
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None]
    slope = rng.normal(0, 0.05 + 0.3 * hard, 2)
    shade = 1 + np.float32(slope[0]) * xs + np.float32(slope[1]) * ys
    if rng.random() < 0.2:
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.8, 0.8)
        softness = rng.uniform(0.01, 0.3)
        side = (np.float32(np.cos(angle)) * xs + np.float32(np.sin(angle)) * ys - np.float32(offset)) / np.float32(
            softness
        )
        shade = shade * (1 - np.float32(rng.uniform(0.2, 0.4 + 0.4 * hard)) * np.clip(side + 0.5, 0, 1))
    light = light * np.clip(shade, 0.1, 2.0)[..., None]
    kind = rng.random()
    if kind < 0.12:
        return _infrared(rng, light, hard)
    contrast = 1 - rng.uniform(0, 0.75) * hard
    exposure = np.exp(rng.normal(0.05, 0.15 + 0.3 * hard))
    light = (light * contrast + rng.uniform(60, 160) * (1 - contrast)) * np.float32(exposure)
    cast = np.exp(rng.normal(0, 0.04 + 0.12 * hard, 3))
    if rng.random() < 0.06:
        cast = cast * rng.choice([[1.25, 0.75, 0.85], [0.8, 0.85, 1.25], [1.15, 1.0, 0.6]])
    light = light * cast.astype(np.float32)
    if kind < 0.22:
        light = light * np.float32(rng.uniform(0.2, 0.7))
    if rng.random() < 0.08 + 0.1 * hard:
        x, y, reach = rng.uniform(-1.2, 1.2), rng.uniform(-1.4, 1.4), rng.uniform(0.15, 0.7)
        glare = np.exp(
            -(((xs - np.float32(x)) / np.float32(reach)) ** 2 + ((ys - np.float32(y)) / np.float32(reach)) ** 2)
        )
        light = light + glare[..., None] * (rng.uniform(60, 260) * rng.uniform(0.8, 1.0, 3)).astype(np.float32)
    saturation = rng.uniform(0.3, 1.2)
    grey = light.mean(axis=2, keepdims=True)
    return np.asarray(grey + (light - grey) * np.float32(saturation))


def _expose(light: NDArray[np.float32], metered: tuple[slice, slice] | None) -> NDArray[np.float32]:
    """What a camera's exposure control makes of it: never so bright, so dark or so flat that all marks are lost."""
    if metered is None:
        height, width = light.shape[:2]
        metered = slice(height // 4, -(height // 4)), slice(width // 4, -(width // 4))
    dark, bright = np.percentile(light[metered][..., 1], (10, 90))
    spread = max(float(bright - dark), 1.0)
    if spread < 30:
        light = (light - np.float32(dark)) * np.float32(30 / spread) + np.float32(dark)
        bright = dark + 30
    if dark > 165:
        return light * np.float32(165 / dark)
    if bright < 70:
        return light * np.float32(70 / max(bright, 1))
    return light


def _infrared(rng: np.random.Generator, light: NDArray[np.float32], hard: float) -> NDArray[np.float32]:
    """Grey, as infrared or simple cameras see it: the reflecting plate blooms, all else may sink into the dark."""
    grey = light @ np.array([0.4, 0.45, 0.15], np.float32)
    if rng.random() < 0.5:
        gain = rng.uniform(1.0, 1.6)
        grey = grey * np.float32(gain)
        bloom = cv2.GaussianBlur(np.maximum(grey - 190, 0), (0, 0), max(1.0, 0.02 * light.shape[1]))
        grey = grey + bloom * np.float32(rng.uniform(0.2, 1.0 + hard))
    else:
        grey = (grey - 128) * np.float32(rng.uniform(0.4, 1.1)) + np.float32(rng.uniform(80, 150))
    return np.repeat(grey[..., None], 3, axis=2)


def _blur(rng: np.random.Generator, light: NDArray[np.float32], unit: float, hard: float) -> NDArray[np.float32]:
    """Defocus and motion that leave strokes apart; `unit` is a hundredth of the plate's width in pixels."""
    sigma = 0.0
    if rng.random() < 0.75:
        sigma = min(1.5, abs(rng.normal(0, 0.35 + 1.1 * hard))) * unit
        if sigma > 0.25:
            light = cv2.GaussianBlur(light, (0, 0), sigma)
    if rng.random() < 0.25:
        length = max(unit, min(rng.uniform(1, 2 + 7 * hard) * unit, 6 * unit - 3 * sigma))
        angle = rng.normal(0, 0.4) + (np.pi / 2 if rng.random() < 0.25 else 0)
        light = cv2.filter2D(light, -1, _streak(length, angle), borderType=cv2.BORDER_REPLICATE)
    return light


def _streak(length: float, angle: float) -> NDArray[np.float32]:
    """A kernel that smears along a line."""
    size = 2 * int(np.ceil(length / 2)) + 1
    middle = (size - 1) / 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    kernel = np.zeros((size, size), np.float32)
    ends = np.round((np.array([middle - reach, middle + reach])) * 16).astype(int).tolist()
    cv2.line(kernel, tuple(ends[0]), tuple(ends[1]), 1.0, 1, cv2.LINE_AA, 4)
    kernel[size // 2, size // 2] = max(kernel[size // 2, size // 2], 0.5)
    return np.asarray(kernel / kernel.sum())


def _weather(rng: np.random.Generator, light: NDArray[np.float32], hard: float) -> NDArray[np.float32]:
    """Rain: streaks in the air, drops on the glass; mist."""
    height, width = light.shape[:2]
    if rng.random() < 0.06:
        streaks = np.zeros((height, width), np.float32)
        lean = rng.normal(0, 0.2)
        for x, y in rng.uniform(0, [width, height], (int(rng.uniform(5, 10 + 40 * hard)), 2)):
            length = height * rng.uniform(0.05, 0.25)
            ends = np.array([[x, y], [x + lean * length, y + length]])
            cv2.line(streaks, *_points(ends), float(rng.uniform(10, 70)), 1, cv2.LINE_AA)
        light = light + streaks[..., None]
    if rng.random() < 0.05:
        soft = cv2.GaussianBlur(light, (0, 0), max(1.0, 0.03 * width))
        mask = np.zeros((height, width), np.uint8)
        for x, y in rng.uniform(0, [width, height], (int(rng.uniform(2, 5 + 12 * hard)), 2)).astype(int).tolist():
            cv2.circle(mask, (x, y), max(1, round(height * rng.uniform(0.02, 0.09))), 255, -1, cv2.LINE_AA)
        weight = mask[..., None].astype(np.float32) / 255
        light = light * (1 - weight) + (soft * np.float32(rng.uniform(0.9, 1.15)) + 6) * weight
    if rng.random() < 0.05:
        share = np.float32(rng.uniform(0.1, 0.3 + 0.4 * hard))
        light = light * (1 - share) + np.float32(rng.uniform(150, 225)) * share
    return light


def _sense(rng: np.random.Generator, light: NDArray[np.float32], hard: float) -> NDArray[np.float32]:
    """The sensor's noise, the camera's sharpening, and pictures scaled down and up again."""
    height, width = light.shape[:2]
    if rng.random() < 0.3:
        shrink = 1 - rng.uniform(0, 0.25 + 0.45 * hard)
        size = (max(12, round(width * shrink)), max(6, round(height * shrink)))
        down = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST)[int(rng.choice(3, p=(0.6, 0.32, 0.08)))]
        up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[int(rng.choice(3, p=(0.5, 0.4, 0.1)))]
        light = cv2.resize(cv2.resize(light, size, interpolation=down), (width, height), interpolation=up)
    if rng.random() < 0.6:
        sigma = abs(rng.normal(0, 2 + 14 * hard))
        noise = rng.standard_normal((height, width, 1 if rng.random() < 0.5 else 3), np.float32)
        # A dark picture is also a noisy one, but not one in which nothing can be read.
        light = light + noise * np.float32(min(sigma, 3 + 0.12 * float(light.mean())))
    if rng.random() < 0.25:
        soft = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.8, 1.8))
        light = light + (light - soft) * np.float32(rng.uniform(0.3, 1.5))
    return light


def _encode(rng: np.random.Generator, picture: Pixels, hard: float) -> Pixels:
    """JPEG, or coarser as video at a low rate, where colour has less room still."""
    kind = rng.random()
    if kind < 0.2:
        return picture
    quality = int(np.clip(rng.normal(82 - 45 * hard, 10), 12, 98))
    if kind > 0.8:
        # Video: luma kept, colour smeared, smooth blocks.
        quality = max(10, quality - 25)
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, stored = cv2.imencode(".jpg", picture[..., ::-1], flags)
    if not done:
        raise RuntimeError("OpenCV cannot write JPEG")
    return np.ascontiguousarray(np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))[..., ::-1])
