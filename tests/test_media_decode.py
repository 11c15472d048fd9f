import gc
from pathlib import Path

import av
import numpy as np
import pytest

from platoon.media.decode import planar_frame
from platoon.media.frame import PlanarFrame
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.metrics import PixelMeter, Purpose
from tests.clips import bar_position, picture, whole, write_clip

LIMITED, FULL = 1, 2
BT709, BT601 = 1, 6


def planar(decoded: av.VideoFrame, meter: PixelMeter | None = None) -> PlanarFrame:
    pixels = OpenCvPixels(meter or PixelMeter())
    return planar_frame(decoded, camera="gate", media_time=1.5, captured_at=9.0, pixels=pixels)


def decoded(rgb: np.ndarray, pixel_format: str, *, colour_range: int = LIMITED, matrix: int = BT601) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format=pixel_format, dst_colorspace=matrix, dst_color_range=colour_range
    )
    frame.color_range, frame.colorspace = colour_range, matrix
    return frame


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int32) - other.astype(np.int32)).mean())


@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [BT601, BT709])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12", "yuv422p", "yuv444p", "yuv420p10le", "yuyv422", "nv16"])
def test_colours_survive_every_format_range_and_matrix(pixel_format: str, matrix: int, colour_range: int) -> None:
    rgb = picture(3, 96, 64)
    frame = planar(decoded(rgb, pixel_format, colour_range=colour_range, matrix=matrix))
    assert difference(whole(frame), rgb) < 3


@pytest.mark.parametrize("height", [64, 720])
@pytest.mark.parametrize("pixel_format", ["rgb24", "bgra", "gbrp"])
def test_colours_survive_pictures_that_are_rgb(pixel_format: str, height: int) -> None:
    rgb = picture(3, 96, height)
    source = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
    assert difference(whole(planar(source)), rgb) < 3


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "nv12", "yuv444p"])
@pytest.mark.parametrize("size", [(96, 64), (97, 65), (33, 31)])
def test_odd_sizes_keep_their_last_row_and_column(pixel_format: str, size: tuple[int, int]) -> None:
    width, height = size
    source = av.VideoFrame.from_ndarray(picture(0, width, height), format="rgb24").reformat(format=pixel_format)
    frame = planar(source)
    assert (frame.width, frame.height) == size
    assert whole(frame).shape == (height, width, 3)


def test_grey_pictures_are_grey_and_span_the_full_range() -> None:
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1))
    rgb = whole(planar(av.VideoFrame.from_ndarray(grey, format="gray")))
    assert difference(rgb, np.repeat(grey[:, :, None], 3, axis=2)) < 1


def test_planes_are_the_decoders_own_memory() -> None:
    source = av.VideoFrame.from_ndarray(picture(0, 96, 64), format="rgb24").reformat(format="yuv420p")
    frame = planar(source)
    before = whole(frame).mean()
    np.frombuffer(source.planes[0], np.uint8)[:] = 16
    assert whole(frame).mean() < before / 2


def test_planes_outlive_the_decoder(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=20)
    with av.open(str(clip)) as container:
        frames = [planar(one) for one in container.decode(video=0)]
    gc.collect()
    assert [bar_position(whole(frame)) for frame in frames] == [number % 16 for number in range(20)]


def test_unmarked_high_definition_counts_as_bt709_and_the_rest_as_bt601() -> None:
    rgb = np.zeros((720, 64, 3), np.uint8)
    rgb[:] = (200, 60, 40)
    unmarked = decoded(rgb, "yuv420p", matrix=BT709)
    unmarked.colorspace = 2
    assert difference(whole(planar(unmarked)), rgb) < 3
    unmarked = decoded(rgb[:480], "yuv420p", matrix=BT601)
    unmarked.colorspace = 2
    assert difference(whole(planar(unmarked)), rgb[:480]) < 3


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_clip_marked_as_rotated_stands_upright(tmp_path: Path, degrees: int) -> None:
    upright, rotated = tmp_path / "upright.mp4", tmp_path / "rotated.mp4"
    write_clip(upright, width=96, height=64, frames=1)
    with av.open(str(upright)) as source, av.open(str(rotated), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(upright)) as container:
        expected = whole(planar(next(container.decode(video=0))))
    with av.open(str(rotated)) as container:
        turned = whole(planar(next(container.decode(video=0))))
    assert difference(turned, np.rot90(expected, degrees // 90)) < 1


def test_decoding_converts_nothing() -> None:
    meter = PixelMeter()
    planar(decoded(picture(0, 96, 64), "yuv422p"), meter)
    assert meter.counts() == dict.fromkeys(Purpose, (0, 0))


def test_a_frame_knows_its_camera_and_times() -> None:
    frame = planar(decoded(picture(0, 96, 64), "yuv420p"))
    assert (frame.camera, frame.media_time, frame.captured_at) == ("gate", 1.5, 9.0)
