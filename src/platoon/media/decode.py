"""From a decoder's picture to a `PlanarFrame`, without a copy where the decoder's planes serve as they are.

That is so for 4:2:0 of 8 bits (what cameras send), semi-planar 4:2:0 and grey. Every other format passes once
through swscale.
"""

from typing import Any, Final

import av
import cv2
import numpy as np

from platoon.media.frame import Matrix, PixelMeter, Pixels, PlanarFrame

_FULL_RANGE: Final = 2  # AVCOL_RANGE_JPEG
_LIMITED_RANGE: Final = 1  # AVCOL_RANGE_MPEG
_BT709: Final = 1  # AVCOL_SPC_BT709
_UNKNOWN_MATRIX: Final = 2  # AVCOL_SPC_UNSPECIFIED
_FULL_RANGE_FORMATS: Final = frozenset({"yuvj420p", "yuvj422p", "yuvj444p", "gray"})
_HD_HEIGHT: Final = 720
_TURNS: Final = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def planar_frame(
    picture: av.VideoFrame, *, camera: str, media_time: float, captured_at: float, meter: PixelMeter
) -> PlanarFrame:
    """The frame of a decoded picture, upright. Its planes are the decoder's own memory, which it keeps alive.

    Where the stream does not say its matrix, heights from 720 count as BT.709 and others as BT.601, as
    broadcasters and most players have it.
    """
    full_range = picture.color_range == _FULL_RANGE or (
        picture.color_range != _LIMITED_RANGE and picture.format.name in _FULL_RANGE_FORMATS
    )
    hd = picture.colorspace == _BT709 or (picture.colorspace == _UNKNOWN_MATRIX and picture.height >= _HD_HEIGHT)
    turn = _TURNS.get(picture.rotation % 360)
    if picture.format.name not in ("yuv420p", "yuvj420p", "nv12", "gray"):
        picture = picture.reformat(format="yuvj420p" if full_range else "yuv420p")
    y, u, v = _planes(picture)
    if turn is not None:
        y, u, v = (cv2.rotate(plane, turn) for plane in (y, u, v))
    return PlanarFrame(
        y,
        u,
        v,
        camera=camera,
        media_time=media_time,
        captured_at=captured_at,
        meter=meter,
        full_range=full_range,
        matrix=Matrix.BT709 if hd else Matrix.BT601,
        owner=picture,
    )


def _planes(picture: av.VideoFrame) -> tuple[Pixels, Pixels, Pixels]:
    y = _rows(picture.planes[0])[:, : picture.width]
    half = ((picture.height + 1) // 2, (picture.width + 1) // 2)
    if picture.format.name == "gray":
        neutral = np.full(half, 128, np.uint8)
        return y, neutral, neutral
    if picture.format.name == "nv12":
        pairs = _rows(picture.planes[1])
        return y, pairs[:, 0 : 2 * half[1] : 2], pairs[:, 1 : 2 * half[1] : 2]
    return y, _rows(picture.planes[1])[:, : half[1]], _rows(picture.planes[2])[:, : half[1]]


def _rows(plane: Any) -> Pixels:
    """A view of the plane's memory, shape (rows, bytes per row)."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size))
    return rows if plane.line_size > 0 else rows[::-1]
