"""NVIDIA DeepStream without its hardware: what it is told, against golden text; its batches, in memory of the host; and
the part that all cameras share, made of an element that is installed everywhere.
"""

import ctypes
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from platoon.errors import InvalidSettings, MissingExtra, PlatoonError
from platoon.media.frame import Detection
from platoon.media.gstreamer import configurations, deepstream
from platoon.media.gstreamer import pipeline as pipelines
from platoon.media.gstreamer.binding import gstreamer
from platoon.media.gstreamer.branch import Decoded
from platoon.media.gstreamer.buffers import Mapped, assembled
from platoon.media.gstreamer.configurations import Configurations
from platoon.media.gstreamer.deepstream import Surface, SurfaceParams
from platoon.media.gstreamer.dlpack import HOST
from platoon.media.gstreamer.elements import DEEPSTREAM, Elements
from platoon.media.gstreamer.input import PipelineInput
from platoon.media.gstreamer.pipeline import CameraPipeline, require
from platoon.media.openers import opener
from platoon.media.source import SourceFailure, SourceState
from platoon.settings import SourceSettings
from tests.clips import bar_position, write_clip
from tests.gstreamer import bring
from tests.rtsp_server import RtspServer
from tests.source_watch import Watch

GOLDEN = Path(__file__).parent / "golden"
FOLDER = Path("/var/cache/platoon/deepstream")
QUICK = SourceSettings(backoff_min_s=0.01, backoff_max_s=0.05)


@pytest.mark.parametrize("cameras", [1, 4, 16])
def test_the_pipeline_is_described_as_it_was(cameras: int) -> None:
    files = Configurations(FOLDER / f"muxer_b{cameras}.txt", FOLDER / f"lpd_b{cameras}.txt")
    assert DEEPSTREAM.described(cameras, files) + "\n" == (GOLDEN / f"deepstream-{cameras}.txt").read_text()


def test_without_a_detector_of_its_own_frames_go_on_as_they_are() -> None:
    said = DEEPSTREAM.described(2, Configurations(FOLDER / "muxer_b2.txt"))
    assert "nvinfer" not in said
    assert "nvtracker" not in (GOLDEN / "deepstream-16.txt").read_text()


def test_a_path_with_a_quote_ends_no_word() -> None:
    said = DEEPSTREAM.described_shared(1, Configurations(Path('/a "b" \\c.txt')))
    assert r'config-file-path="/a \"b\" \\c.txt"' in said


@pytest.mark.parametrize("cameras", [1, 4, 16])
def test_files_are_written_for_the_size_of_the_batches(cameras: int, tmp_path: Path) -> None:
    given = (GOLDEN / "nvinfer.txt").read_text()
    labels = FOLDER / "labels.txt"
    made = configurations.rewritten(given, Path("/etc/platoon/lpd/nvinfer.txt"), batch=cameras, labels=labels)
    assert made == (GOLDEN / f"nvinfer-{cameras}.txt").read_text()
    (tmp_path / "lpd.txt").write_text("[property]\nonnx-file=lpd.onnx\n")
    written = configurations.write(tmp_path / "lpd.txt", tmp_path / "cache", batch=cameras)
    assert written == Configurations(tmp_path / f"cache/muxer_b{cameras}.txt", tmp_path / f"cache/lpd_b{cameras}.txt")
    assert written.muxer.read_text() == (GOLDEN / f"muxer-{cameras}.txt").read_text()
    assert written.detector is not None
    said = written.detector.read_text()
    assert f"model-engine-file={tmp_path}/lpd.onnx_b{cameras}_gpu0_fp32.engine\n" in said
    assert f"labelfile-path={tmp_path}/cache/labels.txt\n" in said
    assert (tmp_path / "cache/labels.txt").read_text() == "plate\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("property:\n  batch-size: 1\n", "no configuration of nvinfer"),
        ("[primary-gie]\nenable=1\n", "no configuration of nvinfer"),
        ("[property]\nonnx-file=a.onnx\nprocess-mode=2\n", "parts of frames"),
        ("[property]\nbatch-size=1\n", "names no model"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_said_at_the_start(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "nvinfer.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidSettings, match=said):
        opener(SourceSettings(decoder="deepstream", nvinfer=file), tmp_path, cameras=lambda: 1)


def test_without_deepstream_it_says_what_is_missing(tmp_path: Path) -> None:
    bring()
    with pytest.raises(MissingExtra, match="nvurisrcbin, nvstreammux, nvinfer; NVIDIA DeepStream"):
        opener(SourceSettings(decoder="deepstream"), tmp_path, cameras=lambda: 1)


def test_pictures_on_a_gpu_need_what_works_on_them_there(monkeypatch: pytest.MonkeyPatch) -> None:
    bring()
    monkeypatch.setattr(deepstream, "bindings", lambda: None)
    monkeypatch.setattr(pipelines, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"platoon\[gpu\]"):
        require(replace(DEEPSTREAM, factories=()))


class Batch:
    """A buffer as DeepStream's muxer gives it, in memory of the host, and its metadata as `pyds` shows them."""

    def __init__(self, *sizes: tuple[int, int], memory: int = 6, form: int = 9) -> None:
        gst = gstreamer()
        self.planes = [
            np.full((height * 3 // 2, width + 32), 10 * n, np.uint8) for n, (width, height) in enumerate(sizes)
        ]
        params = (SurfaceParams * len(sizes))()
        for param, planes, (width, height) in zip(params, self.planes, sizes, strict=True):
            param.width, param.height, param.colorFormat = width, height, form
            param.dataPtr = planes.ctypes.data
            param.planeParams.num_planes = 2
            param.planeParams.pitch[:2] = [width + 32] * 2
            param.planeParams.offset[1] = height * (width + 32)
        self.surface = Surface(0, len(sizes), len(sizes), True, memory, params)
        self.buffer = gst.Buffer.new_wrapped(bytes(self.surface))
        self.frames = [
            SimpleNamespace(batch_id=n, pad_index=number, buf_pts=number * 10**9, obj_meta_list=None)
            for n, number in enumerate(reversed(range(len(sizes))))
        ]

    def gst_buffer_get_nvds_batch_meta(self, address: int) -> Any:
        assert address == hash(self.buffer)
        return SimpleNamespace(frame_meta_list=listed(*self.frames))

    NvDsFrameMeta = NvDsObjectMeta = SimpleNamespace(cast=lambda data: data)


class Entry:
    """Of one of DeepStream's lists, which end with an error."""

    def __init__(self, data: Any, rest: tuple[Any, ...]) -> None:
        self.data, self._rest = data, rest

    @property
    def next(self) -> "Entry":
        if not self._rest:
            raise StopIteration
        return Entry(self._rest[0], self._rest[1:])


def listed(*data: Any) -> Entry | None:
    return Entry(data[0], data[1:]) if data else None


def plate(left: float, top: float, width: float, height: float, confidence: float) -> SimpleNamespace:
    return SimpleNamespace(
        rect_params=SimpleNamespace(left=left, top=top, width=width, height=height), confidence=confidence
    )


def test_frames_of_a_batch_are_views_of_its_surfaces_with_their_boxes() -> None:
    bring()
    batch = Batch((64, 32), (160, 96))
    batch.frames[0].obj_meta_list = listed(plate(1, 2, 10, 4, 0.5), plate(20, 8, 12, 6, 0.9))
    (first, one), (second, other) = deepstream.decoded(batch.buffer, batch, detected=True)
    assert (first, second) == (1, 0)
    assert [(taken.picture.width, taken.picture.height) for taken in (one, other)] == [(64, 32), (160, 96)]
    assert (one.stamp, other.stamp) == (1.0, 0.0)
    assert one.picture.format.name == "nv12"
    assert (one.picture.color_range, one.picture.colorspace) == (2, 1)
    batch.planes[1][5, 7] = 99
    assert other.picture.to_ndarray()[5, 7] == 99, "nothing was copied"
    assert [(found.quad.tolist(), found.score) for found in one.detections or ()] == [
        ([[20, 8], [32, 8], [32, 14], [20, 14]], 0.9),
        ([[1, 2], [11, 2], [11, 6], [1, 6]], 0.5),
    ]
    assert other.detections == [], "nvinfer looked, and found nothing"
    assert all(taken.detections is None for _, taken in deepstream.decoded(batch.buffer, batch, detected=False))


def test_surfaces_of_other_kinds_are_refused_by_name() -> None:
    bring()
    for batch, said in ((Batch((64, 32), memory=4), "Jetson"), (Batch((64, 32), form=19), "not NV12")):
        with pytest.raises(PlatoonError, match=said):
            list(deepstream.decoded(batch.buffer, batch, detected=False))


def test_a_surface_lies_in_memory_as_nvidias_header_says() -> None:
    assert (ctypes.sizeof(Surface), Surface.surfaceList.offset) == (64, 24)
    assert SurfaceParams.dataPtr.offset == 40
    assert SurfaceParams.planeParams.offset == 48
    assert ctypes.sizeof(deepstream.PlaneParams) == 232
    assert ctypes.sizeof(deepstream.MappedAddress) == 72
    assert ctypes.sizeof(SurfaceParams) == 384


SHARED = Elements(
    branch='uridecodebin name=source caps="video/x-raw(ANY)" expose-all-streams=false ! videoconvert '
    "! video/x-raw,format=(string)NV12 ! queue name=queue max-size-buffers=4",
    shared="funnel name=mux ! appsink name=frames emit-signals=true sync=false async=false max-buffers=1",
    factories=("uridecodebin", "funnel", "appsink"),
)
"""As DeepStream's: pads of a muxer that come and go, and one sink for the frames of all."""
WIDTHS = {160: 0, 320: 1}


def unbatched(buffer: Any, _pyds: Any, *, detected: bool) -> Iterator[tuple[int, Decoded]]:
    """What a batch of one frame holds; the number of its camera is known by its size."""
    assert not detected
    height = 96
    width = buffer.get_size() * 2 // 3 // height
    mapped = Mapped(buffer)
    places = [(mapped.address, width), (mapped.address + width * height, width)]
    picture = assembled("nv12", (width, height), places, device=(HOST, 0), owner=mapped)
    yield WIDTHS[width], Decoded(picture, buffer.pts / 1e9, [Detection(np.zeros((4, 2), np.float32), width / 1000)])


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[CameraPipeline]:
    bring()
    monkeypatch.setattr(deepstream, "bindings", lambda: None)
    monkeypatch.setattr(deepstream, "decoded", unbatched)
    pipeline = CameraPipeline(SHARED, cameras=lambda: 2, configured=lambda _: Configurations(Path()))
    yield pipeline
    pipeline.close()


def watching(pipeline: CameraPipeline, url: str | Path, **options: Any) -> Watch:
    return Watch(url, open_input=partial(PipelineInput, pipeline), **options)


def test_a_recording_in_the_shared_part_gives_every_frame_with_its_boxes_and_ends(
    pipeline: CameraPipeline, tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=32)
    for _ in range(2):  # its pad is free for the next
        with watching(pipeline, clip) as watch:
            frames = watch.frames()
        assert [bar_position(frame.pixels.picture(frame)) for frame in frames] == [number % 16 for number in range(32)]
        assert [frame.detections and frame.detections[0].score for frame in frames] == [0.16] * 32
        assert watch.states[-1].state is SourceState.ENDED
        assert (watch.states[-1].cause, watch.states[-1].source_fps) == (None, 30)


def test_cameras_of_the_shared_part_come_and_go_alone(pipeline: CameraPipeline, tmp_path: Path) -> None:
    clips = {f"/{width}": write_clip(tmp_path / f"{width}.mp4", width=width, frames=32) for width in WIDTHS}
    with (
        RtspServer(clips) as server,
        watching(pipeline, server.url("/160"), settings=QUICK, keep_all=False) as gate,
    ):
        gate.frames(3)
        for _ in range(2):
            with watching(pipeline, server.url("/320"), settings=QUICK, keep_all=False) as yard:
                assert {frame.width for frame in yard.frames(5)} == {320}
                assert {frame.width for frame in gate.frames(5)} == {160}
        gate.frames(5)
        assert gate.states[-1].state is SourceState.LIVE


def test_what_fails_in_the_shared_part_is_built_anew(
    pipeline: CameraPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=32)

    def fail(*_: Any, **__: Any) -> Iterator[tuple[int, Decoded]]:
        raise PlatoonError("surfaces cannot be read")

    with RtspServer({"/gate": clip}) as server, monkeypatch.context() as broken:
        broken.setattr(deepstream, "decoded", fail)
        with watching(pipeline, server.url("/gate"), settings=QUICK, keep_all=False) as watch:
            status = watch.wait_for(SourceState.RECONNECTING)
            assert status.cause is SourceFailure.FAILED
            assert "surfaces cannot be read" in status.message
            broken.undo()
            watch.wait_for(SourceState.LIVE)
            watch.frames(3)


def test_a_batch_that_fails_while_its_cameras_are_ended_does_not_hold_the_end(
    pipeline: CameraPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came, lock = threading.Event(), pipeline._changed

    def fail(*_: Any, **__: Any) -> Iterator[tuple[int, Decoded]]:
        came.set()
        while lock.acquire(timeout=0.5):  # until whoever ends the cameras waits for this thread
            lock.release()
            time.sleep(0.001)
        raise PlatoonError("surfaces cannot be read")

    monkeypatch.setattr(deepstream, "decoded", fail)
    shared = SHARED.shared.replace(" ! appsink", " ! queue ! appsink")  # a muxer of batches has a thread of its own
    monkeypatch.setattr(pipeline, "_elements", replace(SHARED, shared=shared))
    branch = pipeline.attach(write_clip(tmp_path / "clip.mp4", frames=32).as_uri(), QUICK, skipped=lambda _: None)
    assert came.wait(30)
    closing = threading.Thread(target=pipeline.close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
    assert branch.over
