"""From a decoder's picture to a frame on the device where its pixels are worked on."""

from collections.abc import Sequence
from typing import Final

import av

from platoon.media.frame import Detection, Matrix, PixelWork, PlanarFrame, Planes

_FULL_RANGE: Final = 2  # AVCOL_RANGE_JPEG
_LIMITED_RANGE: Final = 1  # AVCOL_RANGE_MPEG
_BT709: Final = 1  # AVCOL_SPC_BT709
_UNKNOWN_MATRIX: Final = 2  # AVCOL_SPC_UNSPECIFIED
_FULL_RANGE_FORMATS: Final = frozenset({"yuvj420p", "yuvj422p", "yuvj444p", "gray"})
_HD_HEIGHT: Final = 720


def planar_frame(
    picture: av.VideoFrame,
    *,
    camera: str,
    media_time: float,
    captured_at: float,
    pixels: PixelWork,
    detections: Sequence[Detection] | None = None,
    past: bool = False,
) -> PlanarFrame:
    """The frame of a decoded picture, upright, with what was found in it where it was decoded.

    Where the stream does not say its matrix, heights from 720 count as BT.709 and others as BT.601, as
    broadcasters and most players have it.
    """
    full_range = picture.color_range == _FULL_RANGE or (
        picture.color_range != _LIMITED_RANGE and picture.format.name in _FULL_RANGE_FORMATS
    )
    hd = picture.colorspace == _BT709 or (picture.colorspace == _UNKNOWN_MATRIX and picture.height >= _HD_HEIGHT)
    y, u, v = pixels.planes(picture, full_range=full_range)
    if quarters := picture.rotation % 360 // 90:
        y, u, v = (pixels.turned(plane, quarters) for plane in (y, u, v))
    return PlanarFrame(
        Planes(y, u, v, full_range, Matrix.BT709 if hd else Matrix.BT601),
        pixels,
        camera=camera,
        media_time=media_time,
        captured_at=captured_at,
        detections=detections,
        past=past,
    )
