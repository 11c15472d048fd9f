"""A decoded picture that stays on its device, and what is done to its pixels there.

Of a frame three things are wanted: the detector's small input, one region, or (rare) the whole picture. `PixelWork`
makes them, of many frames at once, and counts the bytes that each converts. `opencv_pixels` does it on the CPU, on the
decoder's own planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array
from platoon.metrics import Purpose

Pixels = NDArray[np.uint8]
"""Interleaved RGB, shape (height, width, 3), 0-255. Every picture inside Platoon is RGB, never BGR."""

Quad = NDArray[np.float32]
"""Four corners in frame pixels, shape (4, 2), clockwise from the text's top left."""


class Detection(NamedTuple):
    """A place that may hold a plate, found before Platoon has looked."""

    quad: Quad
    score: float
    """0-1."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame lies in a detector's input: scaled by `scale`, its top left at (`left`, `top`)."""

    scale: float
    left: int
    top: int
    width: int
    """Of the scaled frame inside the input, in pixels."""
    height: int

    @classmethod
    def fit(cls, frame: tuple[int, int], into: tuple[int, int]) -> Letterbox:
        """Place a (width, height) frame as large as fits into (width, height): even pixels, at the top left.

        Frames are never scaled up: a small frame keeps its size, as more pixels would hold nothing more.
        """
        scale = min(into[0] / frame[0], into[1] / frame[1], 1.0)
        width = min(into[0], max(2, round(frame[0] * scale / 2) * 2))
        height = min(into[1], max(2, round(frame[1] * scale / 2) * 2))
        return cls(scale=scale, left=0, top=0, width=width, height=height)

    def to_frame(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Points of the input, shape (..., 2), as points of the frame."""
        origin = np.array([self.left, self.top], np.float32)
        return ((points - origin) / np.float32(self.scale)).astype(np.float32)


class Matrix(StrEnum):
    """How luma and chroma relate to RGB."""

    BT601 = "bt601"
    BT709 = "bt709"


class Planes(NamedTuple):
    """A picture in 4:2:0, in any memory."""

    y: Array
    """(height, width) uint8."""
    u: Array
    """(ceil(height / 2), ceil(width / 2)) uint8, as is `v`."""
    v: Array
    full_range: bool = False
    """Whether Y spans 0-255 (JPEG, many cameras) and not 16-235."""
    matrix: Matrix = Matrix.BT601

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        height, width = self.y.shape
        return int(width), int(height)


class Region(NamedTuple):
    """A part of a frame that is wanted for itself."""

    frame: Frame
    quad: Quad
    """In the frame's pixels; parts of it may lie outside, where the border of the frame repeats."""
    size: tuple[int, int]
    """(width, height) that it is rectified to."""


class PixelWork(Protocol):
    """What is done to pixels in the memory of one device. Instances for one device and one meter are equal."""

    def planes(self, picture: av.VideoFrame, *, full_range: bool) -> tuple[Array, Array, Array]:
        """The planes Y, U and V of a decoded picture of any format, where this works.

        They are views of the decoder's memory, which they keep alive, or copies, so that the decoder has its memory
        back. `full_range` says how Y is to be meant if the picture must be converted first.
        """

    def turned(self, plane: Array, quarters: int) -> Array:
        """A plane turned anticlockwise by so many right angles."""

    def room(self, count: int, size: tuple[int, int]) -> Array:
        """Room for so many scaled frames: (count, height, width, 3) uint8, black."""

    def scale(self, frames: Sequence[Frame], out: Array, *, purpose: Purpose = Purpose.DETECT) -> list[Letterbox]:
        """Write each frame, scaled to fit and padded with black, into its place in `out`, (N, height, width, 3)."""

    def rectify(self, regions: Sequence[Region]) -> list[Array]:
        """Each region as a picture (height, width, 3) of its size.

        Raises:
            ValueError: one lies outside its frame.
        """

    def picture(self, frame: Frame) -> Pixels:
        """A whole frame at full size, on the host. Counted: nothing in the steady state asks for it."""

    def host(self, picture: Array) -> Pixels:
        """The same picture on the host. Counted, if it is on a device."""


class Frame(Protocol):
    """A decoded picture on its device."""

    @property
    def camera(self) -> str:
        """Id of the camera it comes from."""

    @property
    def width(self) -> int:
        """In pixels."""

    @property
    def height(self) -> int:
        """In pixels."""

    @property
    def media_time(self) -> float:
        """Seconds since the start of the stream, by the stream's own clock (PTS)."""

    @property
    def captured_at(self) -> float:
        """When its packet arrived, seconds since 1970 (UTC); of a recording, when it was decoded."""

    @property
    def planes(self) -> Planes:
        """Its pixels."""

    @property
    def pixels(self) -> PixelWork:
        """What works on them."""

    @property
    def detections(self) -> Sequence[Detection] | None:
        """What was found in it where it was decoded; none: nobody has looked."""

    @property
    def past(self) -> bool:
        """Whether it was decoded later than it came, as its camera slept: then it is not too old."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class PlanarFrame:
    """A frame of 4:2:0 planes.

    Raises:
        ValueError: the planes do not fit each other.
    """

    planes: Planes
    pixels: PixelWork
    camera: str
    media_time: float
    captured_at: float
    detections: Sequence[Detection] | None = None
    past: bool = False

    def __post_init__(self) -> None:
        (height, width), (_, u, v, *_) = self.planes.y.shape, self.planes
        half = ((height + 1) // 2, (width + 1) // 2)
        if tuple(u.shape) != half or tuple(v.shape) != half:
            raise ValueError(f"chroma planes must be {half}, got {u.shape = } and {v.shape = }")

    @property
    def width(self) -> int:
        """In pixels."""
        return self.planes.size[0]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.planes.size[1]


def around(quad: Quad, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """left, top, right, bottom: the rectangle of a frame of (width, height) that is looked at to rectify the inside of
    `quad`; it begins at an even pixel.

    Raises:
        ValueError: the quad lies outside the frame.
    """
    left, top = (int(value) & ~1 for value in np.maximum(np.floor(quad.min(axis=0)) - 2, 0))
    right = min(size[0], int(np.ceil(quad[:, 0].max())) + 3)
    bottom = min(size[1], int(np.ceil(quad[:, 1].max())) + 3)
    if right - left < 2 or bottom - top < 2:
        raise ValueError(f"region lies outside the {size[0]}x{size[1]} frame: {quad.tolist()}")
    return left, top, right, bottom


def perspective(quad: Quad, size: tuple[int, int]) -> NDArray[np.float64]:
    """The 3x3 matrix that takes the corners of `quad`, clockwise from the top left, to those of (width, height)."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(np.ascontiguousarray(quad, np.float32), corners), np.float64)


def colours(*, full_range: bool, matrix: Matrix) -> NDArray[np.float64]:
    """The 3x4 matrix that makes R, G and B of Y, U, V and 1 (ITU-T H.273, equations 38 to 41)."""
    red_weight, blue_weight = (0.299, 0.114) if matrix is Matrix.BT601 else (0.2126, 0.0722)
    green_weight = 1 - red_weight - blue_weight
    luma = 1.0 if full_range else 255 / 219
    chroma = 1.0 if full_range else 255 / 224
    from_u = 2 * (1 - blue_weight) * chroma
    from_v = 2 * (1 - red_weight) * chroma
    coefficients = np.array(
        [
            [luma, 0, from_v],
            [luma, -from_u * blue_weight / green_weight, -from_v * red_weight / green_weight],
            [luma, from_u, 0],
        ]
    )
    zero = np.array([0 if full_range else 16, 128, 128])
    return np.hstack([coefficients, -(coefficients @ zero)[:, None]])


def as_jpeg(picture: Pixels, *, quality: int) -> bytes:
    """A picture as a JPEG file; quality from 0 to 100."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
