"""From a buffer of GStreamer's to a picture as decoders give it, over the same memory, by DLPack: nothing is copied."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import av

from platoon.errors import PlatoonError
from platoon.media.gstreamer.binding import video
from platoon.media.gstreamer.dlpack import HOST, Memory

_READ: Final = 1  # GST_MAP_READ
_FORMATS: Final = {"I420": "yuv420p", "NV12": "nv12"}
"""FFmpeg's names of those that branches give."""
_RANGES: Final = {1: 2, 2: 1}
"""AVCOL_RANGE_JPEG and _MPEG for GST_VIDEO_COLOR_RANGE_0_255 and _16_235; 0: it does not say."""
_MATRICES: Final = {3: 1, 4: 6}
"""AVCOL_SPC_BT709 and _SMPTE170M for GST_VIDEO_COLOR_MATRIX_BT709 and _BT601; 2: it does not say."""


class _MapInfo(ctypes.Structure):
    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("reserved", ctypes.c_void_p * 4),
    )


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libgstreamer-1.0.so.0")
    library.gst_buffer_map.argtypes = (ctypes.c_void_p, ctypes.POINTER(_MapInfo), ctypes.c_int)
    library.gst_buffer_unmap.argtypes = (ctypes.c_void_p, ctypes.POINTER(_MapInfo))
    return library


class Mapped:
    """The memory of a `Gst.Buffer`, from `address` on, while this lives. PyGObject itself would copy it."""

    def __init__(self, buffer: Any) -> None:
        self._buffer, self._info = buffer, _MapInfo()
        self._mapped = bool(_library().gst_buffer_map(hash(buffer), ctypes.byref(self._info), _READ))
        if not self._mapped:
            raise PlatoonError("a buffer of GStreamer's cannot be read")
        self.address = int(self._info.data or 0)
        self.size = int(self._info.size)

    def __del__(self) -> None:
        if self._mapped:
            _library().gst_buffer_unmap(hash(self._buffer), ctypes.byref(self._info))


def picture(sample: Any) -> av.VideoFrame:
    """The picture of a sample `video/x-raw` in I420 or NV12, which its memory lives as long as."""
    library = video()
    buffer = sample.get_buffer()
    info = library.VideoInfo.new_from_caps(sample.get_caps())
    layout = library.buffer_get_video_meta(buffer) or info
    mapped = Mapped(buffer)
    places = [
        (mapped.address + offset, stride) for offset, stride in zip(layout.offset, layout.stride, strict=True) if stride
    ]
    taken = assembled(_FORMATS[info.finfo.name], (info.width, info.height), places, device=(HOST, 0), owner=mapped)
    colours = library.VideoColorimetry()
    if (said := sample.get_caps().get_structure(0).get_string("colorimetry")) is not None:
        colours.from_string(said)
    taken.color_range = _RANGES.get(int(colours.range), 0)
    taken.colorspace = _MATRICES.get(int(colours.matrix), 2)
    return taken


def assembled(
    form: str,
    size: tuple[int, int],
    places: Sequence[tuple[int, int]],
    *,
    device: tuple[int, int],
    owner: object,
) -> av.VideoFrame:
    """A picture of (width, height) over memory of others, of FFmpeg's format yuv420p or nv12.

    Args:
        places: address and bytes per row of each plane.
        device: see `Memory`, as for `owner`.
    """
    width, height = size
    rows, columns = (height + 1) // 2, (width + 1) // 2
    shapes = [(height, width), *([(rows, columns)] * 2 if form == "yuv420p" else [(rows, 2 * columns)])]
    planes = [
        Memory(address, shape, (stride, 1), device=device, owner=owner)
        for shape, (address, stride) in zip(shapes, places, strict=False)
    ]
    return av.VideoFrame.from_dlpack(planes, format=form, width=width, height=height)
