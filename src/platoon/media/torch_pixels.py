"""Pixel work by PyTorch: the same code on the CPU, where tests compare it with OpenCV's, and on a GPU.

Planes come by DLPack and are copied on their device, so that a decoder has its surface back before it needs another.
Frames of one size are scaled together, and regions rectified together, as on a GPU each step costs its launch. On a GPU
nothing here has run yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import av
import numpy as np
import torch
from torch.nn import functional

from platoon.arrays import Array, on_host
from platoon.errors import InvalidInput
from platoon.media.frame import (
    Frame,
    Letterbox,
    Matrix,
    Pixels,
    Planes,
    Quad,
    Region,
    around,
    colours,
    perspective,
)
from platoon.metrics import PixelMeter, Purpose

Tensor = Any
"""A `torch.Tensor`; PyTorch is an extra, without which this module is not imported."""

_SURFACES = frozenset({"nv12", "p010le", "p016le"})
"""What NVDEC leaves in the memory of its device."""
_LUMA, _CHROMA = 1220542, ((0, 1673527), (-409993, -852492), (2116026, 0))
"""Of limited-range BT.601, in parts of 2**20: what Y - 16 gives to each of R, G and B, and U - 128 and V - 128."""
_SHARPNESS = -0.75
"""OpenCV's `a` of the bicubic kernel (Keys, 1981)."""


@dataclass(frozen=True, slots=True)
class TorchPixels:
    """See `PixelWork`.

    Args:
        meter: counts what is converted, and what is copied to the host.
        device: in PyTorch's words: `cpu`, or `cuda:0`.
    """

    meter: PixelMeter
    device: str

    def planes(self, picture: av.VideoFrame, *, full_range: bool) -> tuple[Array, Array, Array]:
        """See `PixelWork.planes`.

        Raises:
            InvalidInput: the picture lies on a GPU in a format of which nothing is known here.
        """
        if picture.format.name == "cuda":
            if picture.sw_format.name not in _SURFACES:
                raise InvalidInput(
                    f"the GPU decodes this stream to {picture.sw_format.name}, which cannot be taken from it; set "
                    "source.decoder to 'cpu'"
                )
        elif picture.format.name not in ("yuv420p", "yuvj420p", "nv12", "gray"):
            picture = picture.reformat(format="yuvj420p" if full_range else "yuv420p")
        y, *chroma = (self._taken(plane) for plane in picture.planes)
        half = ((y.shape[0] + 1) // 2, (y.shape[1] + 1) // 2)
        if not chroma:
            neutral = torch.full(half, 128, dtype=torch.uint8, device=self.device)
            return y, neutral, neutral
        if len(chroma) == 1:
            chroma = [_whole(chroma[0][..., 0], half), _whole(chroma[0][..., 1], half)]
        if (
            picture.format.name == "cuda"
        ):  # the surface goes back with `picture`, which may be before its copies are made
            torch.cuda.current_stream(self.device).synchronize()
        return y, chroma[0], chroma[1]

    def turned(self, plane: Array, quarters: int) -> Array:
        """See `PixelWork.turned`."""
        return _there(torch.rot90(plane, quarters))

    def room(self, count: int, size: tuple[int, int]) -> Array:
        """See `PixelWork.room`."""
        return _there(torch.zeros((count, size[1], size[0], 3), dtype=torch.uint8, device=self.device))

    def scale(self, frames: Sequence[Frame], out: Array, *, purpose: Purpose = Purpose.DETECT) -> list[Letterbox]:
        """See `PixelWork.scale`; always as limited-range BT.601, as on the CPU."""
        into: Tensor = out
        boxes = [Letterbox.fit(frame.planes.size, (into.shape[2], into.shape[1])) for frame in frames]
        for numbers in _alike(frame.planes.size for frame in frames):
            box = boxes[numbers[0]]
            sides = ((box.height, box.width), (box.height // 2, box.width // 2), (box.height // 2, box.width // 2))
            y, u, v = (
                _scaled(torch.stack([_tensor(_planes(frames[number].planes)[plane]) for number in numbers]).int(), side)
                for plane, side in enumerate(sides)
            )
            rgb = _fast_rgb(y, u, v)
            into[numbers, box.height :] = 0
            into[numbers, : box.height, box.width :] = 0
            into[numbers, : box.height, : box.width] = rgb.permute(0, 2, 3, 1)
            for _ in numbers:
                self.meter.add(purpose, box.height * box.width * 3)
        return boxes

    def rectify(self, regions: Sequence[Region]) -> list[Array]:
        """See `PixelWork.rectify`."""
        positions = [around(quad, frame.planes.size) for frame, quad, _ in regions]
        sources = [_part(region.frame.planes, position) for region, position in zip(regions, positions, strict=True)]
        made: list[Array | None] = [None] * len(regions)
        for numbers in _alike((_is_fast(source), source.full_range, source.matrix) for source in sources):
            rgb = _to_rgb([sources[number] for number in numbers])
            quads = [regions[number].quad - np.array(positions[number][:2], np.float32) for number in numbers]
            warped = _warped(
                rgb, [sources[number].size for number in numbers], quads, [regions[number].size for number in numbers]
            )
            for number, crop in zip(numbers, warped, strict=True):
                width, height = sources[number].size
                self.meter.add(Purpose.REGION, width * height * 3)
                made[number] = crop
        return [crop for crop in made if crop is not None]

    def picture(self, frame: Frame) -> Pixels:
        """See `PixelWork.picture`."""
        rgb = _to_rgb([frame.planes])[0].permute(1, 2, 0).contiguous()
        self.meter.add(Purpose.PICTURE, rgb.numel())
        return self.host(_there(rgb))

    def host(self, picture: Array) -> Pixels:
        """See `PixelWork.host`."""
        rgb = on_host(picture)
        self.meter.add(Purpose.HOST, rgb.nbytes)
        return rgb

    def _taken(self, plane: Any) -> Tensor:
        """A copy of a decoder's plane, in 8 bits, on the device."""
        if plane.line_size < 0:  # upside down, which DLPack does not know
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -plane.line_size)[::-1, : plane.width]
            return torch.from_numpy(rows.copy()).to(self.device)
        # PyAV wants to hear of no stream: it decodes on the default one, as everything here works on it.
        theirs = torch.from_dlpack(plane.__dlpack__(stream=None))
        if theirs.dtype != torch.uint8:  # the upper bits are the upper byte
            theirs = theirs.view(torch.uint8)[..., 1::2]
        return theirs.to(self.device, copy=True)


def resized(picture: Array, size: tuple[int, int], *, area: bool = False) -> Array:
    """See `pixels.resized`."""
    width, height = size
    planes = _tensor(picture).permute(2, 0, 1)
    if not area:
        scaled = _bilinear(planes.int(), (height, width)).to(torch.uint8)
    else:
        down = height <= planes.shape[1] and width <= planes.shape[2]
        rows = _area_weights(planes.shape[1], height, down, str(planes.device))
        columns = _area_weights(planes.shape[2], width, down, str(planes.device))
        scaled = _bytes(rows @ planes.float() @ columns.T)
    return _there(scaled.permute(1, 2, 0).contiguous())


def widened(picture: Array, width: int, value: int) -> Array:
    """See `pixels.widened`."""
    tensor = _tensor(picture)
    return _there(functional.pad(tensor, (0, 0, 0, width - tensor.shape[1]), value=value))


def _there(tensor: Tensor) -> Array:
    return tensor  # type: ignore[no-any-return]  # it speaks DLPack


def _tensor(array: Array) -> Tensor:
    return array if isinstance(array, torch.Tensor) else torch.from_dlpack(array)


def _alike(keys: Iterable[object]) -> list[list[int]]:
    """The numbers of those with equal keys, together."""
    groups: dict[object, list[int]] = {}
    for number, key in enumerate(keys):
        groups.setdefault(key, []).append(number)
    return list(groups.values())


def _whole(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """A chroma plane with its last row and column, which DLPack leaves out where a side of the picture is odd."""
    for axis, length in enumerate(size):
        if plane.shape[axis] < length:
            plane = torch.cat([plane, plane.narrow(axis, plane.shape[axis] - 1, 1)], axis)
    return plane


def _bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _scaled(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Planes (N, h, w) of whole numbers at (height, width): halved while more than twice as large, then bilinear."""
    height, width = size
    while planes.shape[1] > 2 * height and planes.shape[2] > 2 * width:
        planes = _bilinear(planes, (planes.shape[1] // 2, planes.shape[2] // 2))
    return _bilinear(planes, size)


def _bilinear(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Planes (N, h, w) of int32 at (height, width), in the fixed point of OpenCV's bilinear, to the bit."""
    device = str(planes.device)
    above, below, above_weight, below_weight = _neighbours(planes.shape[1], size[0], device, rows=True)
    left, right, left_weight, right_weight = _neighbours(planes.shape[2], size[1], device, rows=False)
    rows = (planes[:, :, left] * left_weight + planes[:, :, right] * right_weight) >> 4
    upper, lower = (rows[:, above] * above_weight[:, None]) >> 16, (rows[:, below] * below_weight[:, None]) >> 16
    return (upper + lower + 2) >> 2


@cache
def _neighbours(source: int, target: int, device: str, *, rows: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each of `target` places along an axis of `source` pixels: the two pixels it lies between, and their weights in
    parts of 2**11. Beyond the border OpenCV mixes a row with itself, and takes a column as it is.
    """
    positions = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    positions = positions if rows else positions.clip(0, source - 1)
    first = np.floor(positions)
    share = positions - first
    weights = [np.rint(part * np.float32(2048)).astype(np.int32) for part in (1 - share, share)]
    pixels = [(first.astype(np.int64) + step).clip(0, source - 1) for step in (0, 1)]
    one, other, one_weight, other_weight = (torch.from_numpy(part).to(device) for part in (*pixels, *weights))
    return one, other, one_weight, other_weight


def _fast_rgb(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """(N, 3, h, w) of planes of int32 with even sides, as limited-range BT.601; each chroma sample colours four pixels.
    To the bit as OpenCV does it.
    """
    luma = (y - 16).clamp(min=0) * _LUMA + (1 << 19)
    around_u, around_v = ((plane - 128).repeat_interleave(2, 1).repeat_interleave(2, 2) for plane in (u, v))
    channels = [(luma + of_u * around_u + of_v * around_v) >> 20 for of_u, of_v in _CHROMA]
    return torch.stack(channels, 1).clamp(0, 255).to(torch.uint8)


def _planes(planes: Planes) -> tuple[Array, Array, Array]:
    return planes.y, planes.u, planes.v


def _is_fast(planes: Planes) -> bool:
    width, height = planes.size
    return not (planes.full_range or planes.matrix is not Matrix.BT601 or height % 2 or width % 2)


def _to_rgb(pictures: Sequence[Planes]) -> Tensor:
    """(N, 3, h, w), as large as the largest of the pictures, which repeat their borders; of one range and matrix."""
    first = pictures[0]
    height, width = (max(planes.y.shape[axis] for planes in pictures) for axis in (0, 1))
    y = _together([planes.y for planes in pictures], (height, width))
    half = ((height + 1) // 2, (width + 1) // 2)
    u, v = (_together([_planes(planes)[plane] for planes in pictures], half) for plane in (1, 2))
    if _is_fast(first):
        return _fast_rgb(y, u, v)
    full_u, full_v = (_bilinear(plane, (2 * half[0], 2 * half[1]))[:, :height, :width] for plane in (u, v))
    channels = torch.stack([y, full_u, full_v], -1).float()
    affine = torch.from_numpy(colours(full_range=first.full_range, matrix=first.matrix)).float().to(y.device)
    return _bytes(channels @ affine[:, :3].T + affine[:, 3]).permute(0, 3, 1, 2)


def _together(planes: Sequence[Array], size: tuple[int, int]) -> Tensor:
    """Planes of up to `size` as one tensor (N, height, width) of int32; smaller ones repeat their borders."""
    height, width = size
    padded = torch.cat(
        [
            functional.pad(
                _tensor(plane)[None, None].float(),
                (0, width - plane.shape[1], 0, height - plane.shape[0]),
                mode="replicate",
            )[0]
            for plane in planes
        ]
    )
    return padded.int()


def _part(planes: Planes, position: tuple[int, int, int, int]) -> Planes:
    """The pixels inside left, top, right, bottom."""
    left, top, right, bottom = position
    half = np.s_[top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
    return planes._replace(y=planes.y[top:bottom, left:right], u=planes.u[half], v=planes.v[half])


def _warped(
    rgb: Tensor, sizes: Sequence[tuple[int, int]], quads: Sequence[Quad], wanted: Sequence[tuple[int, int]]
) -> list[Array]:
    """What is inside `quads`, rectified to the (width, height) `wanted` of each, as OpenCV's bicubic does it.

    Args:
        rgb: (N, 3, h, w); picture n fills its (width, height) `sizes[n]` from the top left.
    """
    device = rgb.device
    width, height = (max(size[axis] for size in wanted) for axis in (0, 1))
    inverse = np.stack([np.linalg.inv(perspective(*one)) for one in zip(quads, wanted, strict=True)])
    back = torch.from_numpy(inverse).to(device)
    x = torch.arange(width, dtype=torch.float64, device=device)
    y = torch.arange(height, dtype=torch.float64, device=device)[:, None]
    across, down, depth = (
        row[:, 0, None, None] * x + row[:, 1, None, None] * y + row[:, 2, None, None] for row in back.unbind(1)
    )
    depth = torch.where(depth == 0, torch.zeros_like(depth), 1 / depth)
    last = torch.tensor(sizes, device=device) - 1
    columns, column_weights = _taps(across * depth, last[:, 0])
    rows, row_weights = _taps(down * depth, last[:, 1])
    flat = rgb.flatten(2).float()
    total = torch.zeros((len(quads), 3, height, width), device=device)
    for row, row_weight in zip(rows, row_weights, strict=True):
        for column, column_weight in zip(columns, column_weights, strict=True):
            index = (row * rgb.shape[3] + column).flatten(1)[:, None].expand(-1, 3, -1)
            total += flat.gather(2, index).view_as(total) * (row_weight * column_weight)[:, None]
    pictures = _bytes(total).permute(0, 2, 3, 1)
    return [
        _there(picture[: size[1], : size[0]].clone(memory_format=torch.contiguous_format))
        for picture, size in zip(pictures, wanted, strict=True)
    ]


def _taps(positions: Tensor, last: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The four pixels along an axis that the pixel at each place is made of, kept inside it, and their weights."""
    floor = positions.clamp(-(2**31), 2**31 - 1).floor()
    whole, part = floor.to(torch.int64), (positions - floor).float()
    pixels = [(whole + step).clamp(min=0).minimum(last[:, None, None]) for step in (-1, 0, 1, 2)]
    a, far, near, beyond = _SHARPNESS, part + 1, 1 - part, 2 - part
    weights = [
        ((a * far - 5 * a) * far + 8 * a) * far - 4 * a,
        ((a + 2) * part - (a + 3)) * part * part + 1,
        ((a + 2) * near - (a + 3)) * near * near + 1,
        ((a * beyond - 5 * a) * beyond + 8 * a) * beyond - 4 * a,
    ]
    return pixels, weights


@cache
def _area_weights(source: int, target: int, down: bool, device: str) -> Tensor:
    """(target, source): how much of each pixel goes into each new one, as OpenCV's INTER_AREA has it.

    Args:
        down: no side grows. Where one does, OpenCV interpolates between neighbours on both.
    """
    weights = np.zeros((target, source), np.float64)
    growth = target / source
    scale = 1 / growth  # where a place is that of a pixel, the last bit decides
    for position in range(target):
        if down:
            start, end = position * scale, (position + 1) * scale
            for pixel in range(int(start), min(source, int(np.ceil(end)))):
                weights[position, pixel] = min(pixel + 1, end) - max(pixel, start)
            weights[position] /= weights[position].sum()
        else:
            pixel = int(position * scale)
            share = max(np.float32((position + 1) - (pixel + 1) * growth), np.float32(0)) % 1
            weights[position, min(pixel, source - 1)] += 1 - share
            weights[position, min(pixel + 1, source - 1)] += share
    return torch.from_numpy(weights).float().to(device)
