"""A decoded picture that stays where its decoder put it.

A `Frame` gives three things and counts the bytes that each converts: the detector's small input, one region,
or (rare) the whole picture. `PlanarFrame` is the frame of a CPU decoder: views of the decoder's own planes,
nothing copied. A frame in GPU memory implements the same protocol over device planes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Interleaved RGB, shape (height, width, 3), 0-255. Every picture inside Platoon is RGB, never BGR."""

Quad = NDArray[np.float32]
"""Four corners in frame pixels, shape (4, 2), clockwise from the text's top left."""


class Purpose(StrEnum):
    """Why pixels were converted to RGB."""

    DETECT = "detect"
    """The detector's scaled input."""
    REGION = "region"
    """A region that is read."""
    PREVIEW = "preview"
    """A small picture for somebody who is looking."""
    PICTURE = "picture"
    """A whole frame at full size: a manual read or an audit picture."""


class PixelMeter:
    """Counts conversions by purpose: how many, and how many RGB bytes they wrote. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = dict.fromkeys(Purpose, 0)
        self._bytes = dict.fromkeys(Purpose, 0)

    def add(self, purpose: Purpose, n_bytes: int) -> None:
        """Count one conversion that wrote `n_bytes`."""
        with self._lock:
            self._count[purpose] += 1
            self._bytes[purpose] += n_bytes

    def counts(self) -> dict[Purpose, tuple[int, int]]:
        """(conversions, bytes) since the start, by purpose."""
        with self._lock:
            return {purpose: (self._count[purpose], self._bytes[purpose]) for purpose in Purpose}


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

    def scaled_into(self, out: Pixels, *, purpose: Purpose = Purpose.DETECT) -> Letterbox:
        """Write the frame, scaled to fit and padded with black, into `out` of shape (height, width, 3)."""

    def region(self, quad: Quad, size: tuple[int, int]) -> Pixels:
        """Rectify the region inside `quad` to (width, height); parts outside the frame repeat its border."""

    def picture(self) -> Pixels:
        """The whole frame at full size. Counted: nothing in the steady state asks for it."""


class Matrix(StrEnum):
    """How luma and chroma relate to RGB."""

    BT601 = "bt601"
    BT709 = "bt709"


class PlanarFrame:
    """A frame of 4:2:0 planes in host memory.

    Args:
        y: (height, width) uint8. u, v: (ceil(height / 2), ceil(width / 2)) uint8. Views of any strides.
        full_range: whether Y spans 0-255 (JPEG, many cameras) and not 16-235.
        owner: kept alive as long as the frame, as the planes may be its memory.
    """

    __slots__ = (
        "_full_range", "_matrix", "_meter", "_owner", "_u", "_v", "_y", "camera", "captured_at", "media_time",
    )  # fmt: skip

    def __init__(
        self,
        y: Pixels,
        u: Pixels,
        v: Pixels,
        *,
        camera: str,
        media_time: float,
        captured_at: float,
        meter: PixelMeter,
        full_range: bool = False,
        matrix: Matrix = Matrix.BT601,
        owner: object = None,
    ) -> None:
        half = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
        if u.shape != half or v.shape != half:
            raise ValueError(f"chroma planes must be {half}, got {u.shape = } and {v.shape = }")
        self._y, self._u, self._v = y, u, v
        self._full_range, self._matrix, self._meter, self._owner = full_range, matrix, meter, owner
        self.camera, self.media_time, self.captured_at = camera, media_time, captured_at

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self._y.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self._y.shape[0])

    def scaled_into(self, out: Pixels, *, purpose: Purpose = Purpose.DETECT) -> Letterbox:
        """See `Frame.scaled_into`. The planes are scaled first, so only the small picture is converted.

        Always as limited-range BT.601, for which OpenCV has a fast conversion: a slight difference in tint or
        contrast changes nothing for who looks for text.
        """
        box = Letterbox.fit((self.width, self.height), (out.shape[1], out.shape[0]))
        i420 = np.empty((box.height * 3 // 2, box.width), np.uint8)
        for plane, room in zip((self._y, self._u, self._v), _planes_of(i420), strict=True):
            _scale_into(plane, room)
        rgb = out[: box.height, : box.width]
        cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420, dst=rgb)
        out[box.height :] = 0
        out[: box.height, box.width :] = 0
        self._meter.add(purpose, rgb.nbytes)
        return box

    def region(self, quad: Quad, size: tuple[int, int]) -> Pixels:
        """See `Frame.region`. Only the even rectangle around the quad is converted."""
        left, top = (int(value) & ~1 for value in np.maximum(np.floor(quad.min(axis=0)) - 2, 0))
        right = min(self.width, int(np.ceil(quad[:, 0].max())) + 3)
        bottom = min(self.height, int(np.ceil(quad[:, 1].max())) + 3)
        if right - left < 2 or bottom - top < 2:
            raise ValueError(f"region lies outside the {self.width}x{self.height} frame: {quad.tolist()}")
        half = np.s_[top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
        rgb = self._to_rgb(self._y[top:bottom, left:right], self._u[half], self._v[half])
        self._meter.add(Purpose.REGION, rgb.nbytes)
        return rectify(rgb, quad - np.array([left, top], np.float32), size)

    def picture(self) -> Pixels:
        """See `Frame.picture`."""
        rgb = self._to_rgb(self._y, self._u, self._v)
        self._meter.add(Purpose.PICTURE, rgb.nbytes)
        return rgb

    def _to_rgb(self, y: Pixels, u: Pixels, v: Pixels) -> Pixels:
        height, width = y.shape
        if self._full_range or self._matrix is not Matrix.BT601 or height % 2 or width % 2:
            return _planes_to_rgb(y, u, v, full_range=self._full_range, matrix=self._matrix)
        i420 = np.empty((height * 3 // 2, width), np.uint8)
        for plane, room in zip((y, u, v), _planes_of(i420), strict=True):
            room[:] = plane
        rgb: Pixels = cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420)
        return rgb


def _planes_of(i420: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Views of the three planes in a buffer of shape (height * 3 / 2, width), as OpenCV lays it out."""
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    u, v = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], u, v


def _scale_into(plane: Pixels, out: Pixels) -> None:
    """Scale a plane to the size of `out`: halved while more than twice as large, then bilinear.

    So every pixel counts and small text does not alias: on 90 photographs the text detector found as many
    plates as after area averaging (88 from 1280 to 960 wide; 80 against 79 from 1920 to 640), and a frame of
    1280x720 costs 0.7 ms to 960x540 instead of 4.2, one of 1920x1080 0.45 ms to 640x360 instead of 1.5.
    """
    height, width = out.shape
    while plane.shape[0] > 2 * height and plane.shape[1] > 2 * width:
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_LINEAR)
    cv2.resize(plane, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


def rectify(picture: Pixels, quad: Quad, size: tuple[int, int]) -> Pixels:
    """Warp what is inside `quad`, shape (4, 2) clockwise from top left, to a picture of (width, height)."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    transform = cv2.getPerspectiveTransform(np.ascontiguousarray(quad, np.float32), corners)
    warped: Pixels = cv2.warpPerspective(
        picture, transform, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return warped


def as_jpeg(picture: Pixels, *, quality: int) -> bytes:
    """A picture as a JPEG file; quality from 0 to 100."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _planes_to_rgb(y: Pixels, u: Pixels, v: Pixels, *, full_range: bool, matrix: Matrix) -> Pixels:
    """Any size, range and matrix, by one affine transform per pixel (ITU-T H.273, equations 38 to 41)."""
    height, width = y.shape
    size = (u.shape[1] * 2, u.shape[0] * 2)
    full_u = cv2.resize(u, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    full_v = cv2.resize(v, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
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
    affine = np.hstack([coefficients, -(coefficients @ zero)[:, None]])
    rgb: Pixels = cv2.transform(cv2.merge([y, full_u, full_v]), affine)
    return rgb
