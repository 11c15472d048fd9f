"""PyTorch makes of pixels what OpenCV makes of them, on frames of noise: no picture of a camera is as hard."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import av
import numpy as np
import pytest
import torch

from platoon.arrays import Array, address, device_of, on_host, stacked
from platoon.media import decoder as decoders
from platoon.media.decode import planar_frame
from platoon.media.frame import Matrix, PlanarFrame, Planes, Quad, Region
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.pixels import resized, widened
from platoon.media.torch_pixels import TorchPixels
from platoon.metrics import PixelMeter, Purpose
from platoon.settings import EngineSettings, Settings, SourceSettings
from tests.clips import picture

OPENCV, TORCH = OpenCvPixels(PixelMeter()), TorchPixels(PixelMeter(), "cpu")
SIZES = [(64, 48), (65, 49), (501, 319), (320, 241), (640, 360), (96, 2)]
COLOURS = list(product((False, True), Matrix))
INPUTS = [(160, 96), (768, 448), (33, 64)]
LEVELS, SHARE = 2, 0.999


def both(size: tuple[int, int], *, full_range: bool, matrix: Matrix, seed: int = 0) -> tuple[PlanarFrame, PlanarFrame]:
    """The same frame of noise, for OpenCV and for PyTorch."""
    (width, height), random = size, np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    y, u, v = (random.integers(0, 256, side, np.uint8) for side in ((height, width), half, half))
    theirs = Planes(y, u, v, full_range, matrix)
    ours = Planes(torch.from_numpy(y), torch.from_numpy(u), torch.from_numpy(v), full_range, matrix)
    return PlanarFrame(theirs, OPENCV, "gate", 0.0, 0.0), PlanarFrame(ours, TORCH, "gate", 0.0, 0.0)


def assert_alike(ours: Sequence[Array], theirs: Sequence[Array]) -> None:
    apart = [
        np.abs(on_host(one).astype(int) - on_host(other).astype(int)) for one, other in zip(ours, theirs, strict=True)
    ]
    within = sum(int((difference <= LEVELS).sum()) for difference in apart)
    assert within >= SHARE * sum(difference.size for difference in apart)


def quads(size: tuple[int, int], count: int = 8) -> Iterator[tuple[Quad, tuple[int, int]]]:
    """Quadrilaterals of any shape, some partly outside, and what to rectify each to."""
    random = np.random.default_rng(size)
    for _ in range(count):
        sides, corner = random.uniform(0.1, 0.7, 2) * size, random.uniform(-0.1, 0.5, 2) * size
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        yield (
            (unit * sides + corner + random.uniform(-3, 3, (4, 2))).astype(np.float32),
            (int(random.integers(8, 200)), int(random.integers(20, 97))),
        )


@pytest.mark.parametrize("size", SIZES)
def test_scaled_frames_are_the_same_to_the_bit(size: tuple[int, int]) -> None:
    frames = [both(size, full_range=full_range, matrix=matrix, seed=7) for full_range, matrix in COLOURS]
    for into in INPUTS:
        theirs, ours = OPENCV.room(len(frames), into), TORCH.room(len(frames), into)
        places = OPENCV.scale([frame for frame, _ in frames], theirs)
        assert TORCH.scale([frame for _, frame in frames], ours) == places
        np.testing.assert_array_equal(on_host(ours), on_host(theirs))


def test_frames_of_several_sizes_share_a_batch_and_leave_black_around_them() -> None:
    frames = [both(size, full_range=False, matrix=Matrix.BT601) for size in ((64, 48), (320, 240), (64, 48))]
    theirs, ours = OPENCV.room(3, (160, 96)), torch.full((3, 96, 160, 3), 77, dtype=torch.uint8)
    OPENCV.scale([frame for frame, _ in frames], theirs)
    TORCH.scale([frame for _, frame in frames], ours)
    assert_alike([ours], [theirs])
    assert not ours[0, 48:].any()
    assert not ours[2, :, 64:].any()


@pytest.mark.parametrize(("full_range", "matrix"), COLOURS)
@pytest.mark.parametrize("size", SIZES)
def test_whole_pictures_are_alike(size: tuple[int, int], full_range: bool, matrix: Matrix) -> None:
    theirs, ours = both(size, full_range=full_range, matrix=matrix)
    assert_alike([TORCH.picture(ours)], [OPENCV.picture(theirs)])


@pytest.mark.parametrize("size", SIZES[:-1])
def test_regions_of_any_frames_are_alike_rectified_in_one_go(size: tuple[int, int]) -> None:
    theirs, ours = [], []
    for full_range, matrix in COLOURS:
        one, other = both(size, full_range=full_range, matrix=matrix)
        for quad, wanted in quads(size):
            theirs.append(Region(one, quad, wanted))
            ours.append(Region(other, quad, wanted))
    made = TORCH.rectify(ours)
    assert [tuple(crop.shape) for crop in made] == [(*region.size[::-1], 3) for region in ours]
    assert_alike(made, OPENCV.rectify(theirs))


def test_a_region_outside_the_frame_is_refused() -> None:
    _, frame = both((64, 48), full_range=False, matrix=Matrix.BT601)
    with pytest.raises(ValueError, match="outside the 64x48 frame"):
        TORCH.rectify([Region(frame, np.full((4, 2), 200, np.float32), (20, 10))])


@pytest.mark.parametrize("area", [False, True])
def test_crops_are_alike_at_the_size_of_a_readers_input(area: bool) -> None:
    random = np.random.default_rng(3)
    for width in range(8, 260, 3):
        crop = random.integers(0, 256, (int(random.integers(8, 98)), width, 3), np.uint8)
        assert_alike([resized(torch.from_numpy(crop), (192, 64), area=area)], [resized(crop, (192, 64), area=area)])


def test_a_line_is_widened_as_by_numpy() -> None:
    crop = np.random.default_rng(3).integers(0, 256, (48, 100, 3), np.uint8)
    np.testing.assert_array_equal(on_host(widened(torch.from_numpy(crop), 320, 127)), widened(crop, 320, 127))


@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "nv12", "gray", "yuv444p", "yuv420p10le", "rgb24"])
def test_planes_of_every_format_come_by_dlpack_as_they_are(pixel_format: str, size: tuple[int, int]) -> None:
    decoded = av.VideoFrame.from_ndarray(picture(3, *size), format="rgb24").reformat(format=pixel_format)
    theirs, ours = (
        planar_frame(decoded, camera="gate", media_time=0, captured_at=0, pixels=pixels) for pixels in (OPENCV, TORCH)
    )
    for one, other in zip(ours.planes[:3], theirs.planes[:3], strict=True):
        mine, its = on_host(one), on_host(other)
        if pixel_format == "nv12" and size[0] % 2:  # DLPack leaves its last row and column of chroma out
            mine, its = mine[:-1, :-1], its[:-1, :-1]
        np.testing.assert_array_equal(mine, its)


def test_planes_are_copies_so_that_a_decoder_has_its_memory_back() -> None:
    decoded = av.VideoFrame.from_ndarray(picture(0, 96, 64), format="rgb24").reformat(format="yuv420p")
    frame = planar_frame(decoded, camera="gate", media_time=0, captured_at=0, pixels=TORCH)
    before = on_host(frame.planes.y).copy()
    np.frombuffer(decoded.planes[0], np.uint8)[:] = 16
    np.testing.assert_array_equal(on_host(frame.planes.y), before)


def test_ten_bits_are_taken_by_their_upper_eight() -> None:
    class P010:
        """As NVDEC leaves a plane of ten bits: in the upper ones of sixteen."""

        line_size = 8

        def __dlpack__(self, *, stream: None) -> object:
            return torch.tensor([[0x1240, 0xFFC0, 0x0040, 0x8000]], dtype=torch.uint16).__dlpack__()

    assert TORCH._taken(P010()).tolist() == [[0x12, 0xFF, 0x00, 0x80]]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_planes_turn_the_same_way(quarters: int) -> None:
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turned = on_host(TORCH.turned(torch.from_numpy(plane), quarters))
    np.testing.assert_array_equal(turned, on_host(OPENCV.turned(plane, quarters)))


def test_every_conversion_is_counted_as_by_opencv_and_what_goes_to_the_host_besides() -> None:
    one, other = both((320, 240), full_range=False, matrix=Matrix.BT601)
    quad = np.array([[100, 100], [140, 100], [140, 120], [100, 120]], np.float32)
    counts = []
    for frame, pixels in ((one, OpenCvPixels(PixelMeter())), (other, TorchPixels(PixelMeter(), "cpu"))):
        pixels.scale([frame], pixels.room(1, (160, 96)))
        pixels.scale([frame], pixels.room(1, (160, 96)), purpose=Purpose.PREVIEW)
        pixels.host(pixels.rectify([Region(frame, quad, (40, 20))])[0])
        pixels.picture(frame)
        counts.append(pixels.meter.counts())
    assert counts[0].pop(Purpose.HOST) == (0, 0)
    assert counts[1].pop(Purpose.HOST) == (2, 40 * 20 * 3 + 320 * 240 * 3)
    assert counts[0] == counts[1]


def test_workers_for_one_device_and_one_meter_are_one() -> None:
    meter = PixelMeter()
    assert len({TorchPixels(meter, "cpu"), TorchPixels(meter, "cpu"), TorchPixels(PixelMeter(), "cpu")}) == 2


def test_tensors_are_stacked_and_found_where_they_lie() -> None:
    items = [torch.full((2, 3), number, dtype=torch.uint8) for number in range(3)]
    batch = stacked(items)
    assert isinstance(batch, torch.Tensor)
    assert (tuple(batch.shape), device_of(batch), address(batch)) == ((3, 2, 3), (1, 0), batch.data_ptr())
    assert on_host(batch).ctypes.data == batch.data_ptr(), "on the host nothing is copied"
    mixed: list[Array] = [items[0], np.ones((2, 3), np.uint8)]
    assert on_host(stacked(mixed)).tolist() == [[[0] * 3] * 2, [[1] * 3] * 2]
    with pytest.raises(ValueError, match="contiguous"):
        address(batch[:, :, ::2])


@pytest.mark.parametrize("wanted", ["auto", "nvdec"])
def test_nvdec_is_taken_with_pytorch_on_the_gpu_of_the_engine(wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "missing_for_nvdec", lambda _device: None)
    settings = Settings(source=SourceSettings(decoder=wanted), engine=EngineSettings(device=1))
    decoder = decoders.open_decoder(settings, meter := PixelMeter(), cameras=lambda: 1)
    assert decoder.pixels == TorchPixels(meter, "cuda:1")
    acceleration = decoder.open_input.keywords["acceleration"]  # type: ignore[attr-defined]
    assert (acceleration.device_id, acceleration.is_hw_owned) == (1, True)
