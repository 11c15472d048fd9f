"""Batches of NVIDIA DeepStream: the surfaces of a buffer, on their device, and what `nvinfer` found in each.

Surfaces are read as NVIDIA's public header `nvbufsurface.h` lays them out, metadata through its Python bindings
(`pyds`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from platoon.errors import MissingExtra, PlatoonError
from platoon.media.frame import Detection
from platoon.media.gstreamer.branch import Decoded
from platoon.media.gstreamer.buffers import Mapped, assembled
from platoon.media.gstreamer.dlpack import CUDA, CUDA_PINNED, HOST

_PLANES: Final = 4
_PADDING: Final = 4
_NV12: Final = {6: (0, 1), 7: (0, 2), 8: (1, 1), 9: (1, 2)}
"""NVBUF_COLOR_FORMAT_NV12, _ER, _709 and _709_ER: (matrix is BT.709, FFmpeg's range)."""
_DEVICES: Final = {0: CUDA, 1: CUDA_PINNED, 2: CUDA, 3: CUDA, 6: HOST}
"""DLPack's kinds for NVBUF_MEM_DEFAULT (of a separate GPU), _CUDA_PINNED, _CUDA_DEVICE, _CUDA_UNIFIED and _SYSTEM."""
_NO_STAMP: Final = 2**64 - 1  # GST_CLOCK_TIME_NONE


class PlaneParams(ctypes.Structure):
    """NvBufSurfacePlaneParams."""

    _fields_ = (
        ("num_planes", ctypes.c_uint32),
        ("width", ctypes.c_uint32 * _PLANES),
        ("height", ctypes.c_uint32 * _PLANES),
        ("pitch", ctypes.c_uint32 * _PLANES),
        ("offset", ctypes.c_uint32 * _PLANES),
        ("psize", ctypes.c_uint32 * _PLANES),
        ("bytesPerPix", ctypes.c_uint32 * _PLANES),
        ("_reserved", ctypes.c_void_p * (_PADDING * _PLANES)),
    )


class MappedAddress(ctypes.Structure):
    """NvBufSurfaceMappedAddr."""

    _fields_ = (
        ("addr", ctypes.c_void_p * _PLANES),
        ("eglImage", ctypes.c_void_p),
        ("_reserved", ctypes.c_void_p * _PADDING),
    )


class SurfaceParams(ctypes.Structure):
    """NvBufSurfaceParams: one frame of a batch."""

    _fields_ = (
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("pitch", ctypes.c_uint32),
        ("colorFormat", ctypes.c_int),
        ("layout", ctypes.c_int),
        ("bufferDesc", ctypes.c_uint64),
        ("dataSize", ctypes.c_uint32),
        ("dataPtr", ctypes.c_void_p),
        ("planeParams", PlaneParams),
        ("mappedAddr", MappedAddress),
        ("paramex", ctypes.c_void_p),
        ("_reserved", ctypes.c_void_p * (_PADDING - 1)),
    )


class Surface(ctypes.Structure):
    """NvBufSurface: a batch of frames."""

    _fields_ = (
        ("gpuId", ctypes.c_uint32),
        ("batchSize", ctypes.c_uint32),
        ("numFilled", ctypes.c_uint32),
        ("isContiguous", ctypes.c_bool),
        ("memType", ctypes.c_int),
        ("surfaceList", ctypes.POINTER(SurfaceParams)),
        ("_reserved", ctypes.c_void_p * _PADDING),
    )


def bindings() -> Any:
    """The module `pyds`. Raises MissingExtra."""
    try:
        import pyds
    except ImportError as error:
        raise MissingExtra(f"DeepStream's Python bindings (pyds) are not installed: {error}") from None
    return pyds


def decoded(buffer: Any, pyds: Any, *, detected: bool) -> Iterator[tuple[int, Decoded]]:
    """The frames of a batched buffer, each with the number of its camera.

    Args:
        detected: whether `nvinfer` has looked at them; then a frame without boxes is one in which it found nothing.

    Raises:
        PlatoonError: the surfaces are of a kind that cannot be read.
    """
    mapped = Mapped(buffer)
    surface = Surface.from_address(mapped.address)
    kind = _DEVICES.get(surface.memType)
    if kind is None:
        raise PlatoonError(f"surfaces in memory of type {surface.memType} cannot be read: is this a Jetson?")
    device = (kind, 0 if kind == HOST else int(surface.gpuId))
    for frame in _listed(pyds.gst_buffer_get_nvds_batch_meta(hash(buffer)).frame_meta_list, pyds.NvDsFrameMeta):
        params = surface.surfaceList[frame.batch_id]
        if params.colorFormat not in _NV12:
            raise PlatoonError(f"surfaces of colour format {params.colorFormat} are not NV12")
        bt709, colour_range = _NV12[params.colorFormat]
        planes = params.planeParams
        places = [(int(params.dataPtr) + planes.offset[plane], planes.pitch[plane]) for plane in range(2)]
        picture = assembled("nv12", (params.width, params.height), places, device=device, owner=mapped)
        picture.color_range = colour_range
        picture.colorspace = 1 if bt709 else 6
        stamp = None if frame.buf_pts == _NO_STAMP else frame.buf_pts / 1e9
        boxes = detections(frame, pyds) if detected else None
        yield int(frame.pad_index), Decoded(picture, stamp, boxes)


def detections(frame: Any, pyds: Any) -> Sequence[Detection]:
    """What `nvinfer` found in a frame, as upright rectangles in its pixels, best first."""
    found = []
    for thing in _listed(frame.obj_meta_list, pyds.NvDsObjectMeta):
        box = thing.rect_params
        right, bottom = box.left + box.width, box.top + box.height
        corners = [[box.left, box.top], [right, box.top], [right, bottom], [box.left, bottom]]
        found.append(Detection(np.array(corners, np.float32), float(thing.confidence)))
    return sorted(found, key=lambda detection: -detection.score)


def _listed(first: Any, kind: Any) -> Iterator[Any]:
    """The entries of one of DeepStream's lists."""
    entry = first
    while entry is not None:
        yield kind.cast(entry.data)
        try:
            entry = entry.next
        except StopIteration:  # what pyds raises at the end
            return
