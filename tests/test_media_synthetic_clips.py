"""Clips: whole or not there, encoded as a camera would, rendered once."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from platoon.errors import StoreError
from platoon.media.synthetic import clips
from platoon.media.synthetic.clips import Truth, demo_clips, render
from platoon.media.synthetic.scene import Camera, Drive, Lane, Parked, Scene, Vehicle

SCENE = Scene(
    name="Small gate",
    camera=Camera(focal=1.5, pitch_deg=5.0),
    lanes=(Lane(-1.0),),
    vehicles=(
        Vehicle(plate="M KX 204", country="DE", motion=Parked(7.0)),
        Vehicle(plate="AB 371 CD", country="FR", motion=Drive(enters_s=0.0, speed_mps=9.0), offset_m=3.2),
    ),
    duration_s=5.0,
    far_m=30.0,
    size=(320, 180),
    fps=10,
)


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> tuple[Scene, ...]:
    scenes = (SCENE, replace(SCENE, name="Other", seed=1, duration_s=1.0))
    monkeypatch.setattr(clips, "demo_scenes", lambda: scenes)
    return scenes


def test_a_clip_is_encoded_as_a_camera_would(tmp_path: Path) -> None:
    render(SCENE, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
    assert (stream.codec_context.name, stream.codec_context.width, stream.codec_context.height) == ("h264", 320, 180)
    assert [round(frame.time * 10) for frame in frames] == list(range(50))
    assert [i for i, frame in enumerate(frames) if frame.key_frame] == [0, 20, 40]
    assert {int(frame.pict_type) for frame in frames} == {1, 2}, "I and P alone: cameras send no B-frames"
    assert frames[0].colorspace == 6, "BT.601, as the pixels are"


def test_the_truth_follows_every_plate_and_survives_its_file(tmp_path: Path) -> None:
    truth = render(SCENE, tmp_path / "clip.mp4")
    parked, passing = truth.vehicles
    assert (parked.text, parked.country, passing.text) == ("MKX204", "DE", "AB371CD")
    assert len(parked.quads) == 50
    assert parked.readable is None, "37 px are too narrow to read"
    kept = Truth.from_json(json.loads((tmp_path / "clip.json").read_text()))
    assert (kept.fps, kept.size, kept.frames) == (10, (320, 180), 50)
    for one, other in zip(truth.vehicles, kept.vehicles, strict=True):
        assert one.quads.keys() == other.quads.keys()
        for frame, quad in one.quads.items():
            assert np.abs(quad - other.quads[frame]).max() < 0.06


def test_readable_spans_the_frames_with_a_plate_of_sixty_pixels(tmp_path: Path) -> None:
    near = replace(SCENE, size=(640, 360), duration_s=3.4, vehicles=SCENE.vehicles[1:])
    (plate,) = render(near, tmp_path / "clip.mp4").vehicles
    assert plate.readable is not None
    first, last = plate.readable
    widths = {frame: float(np.ptp(quad[:, 0])) for frame, quad in plate.quads.items()}
    assert widths[first - 1] < 60 <= widths[first] <= widths[last]
    assert last == max(plate.quads)


def test_the_same_scene_gives_the_same_file(tmp_path: Path) -> None:
    scene = replace(SCENE, duration_s=1.0)
    render(scene, tmp_path / "one.mp4")
    render(scene, tmp_path / "other.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "other.mp4").read_bytes()


def test_rendering_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(SCENE, tmp_path / "clip.mp4", on_frame=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_is_rendered_once_and_reports_how_far_it_is(tmp_path: Path, small_demo: tuple[Scene, ...]) -> None:
    reported: list[tuple[int, int]] = []
    first = demo_clips(tmp_path / "new", on_progress=lambda done, total: reported.append((done, total)))
    assert reported == [(done, 60) for done in range(1, 61)]
    assert [clip.name for clip in first] == ["Small gate", "Other"]
    again = demo_clips(tmp_path / "new", on_progress=lambda done, total: pytest.fail("rendered twice"))
    assert [clip.path for clip in again] == [clip.path for clip in first]
    assert [len(clip.truth.vehicles[0].quads) for clip in again] == [50, 10]


@pytest.mark.parametrize("damage", ["cut short", "truth lost", "truth broken", "clip lost"])
def test_what_is_not_whole_is_rendered_again(tmp_path: Path, small_demo: tuple[Scene, ...], damage: str) -> None:
    path = demo_clips(tmp_path)[1].path
    whole = path.read_bytes()
    if damage == "cut short":
        path.write_bytes(whole[:-100])
    elif damage == "truth lost":
        path.with_suffix(".json").unlink()
    elif damage == "truth broken":
        path.with_suffix(".json").write_text("{")
    else:
        path.unlink()
    reported: list[int] = []
    demo_clips(tmp_path, on_progress=lambda done, total: reported.append(total))
    assert reported == [10] * 10, "only the damaged clip is rendered"
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, small_demo: tuple[Scene, ...]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        demo_clips(tmp_path / "file")


def test_a_reader_of_progress_who_fails_ends_the_work(tmp_path: Path, small_demo: tuple[Scene, ...]) -> None:
    def fail(done: int, total: int) -> None:
        raise ValueError("no terminal")

    with pytest.raises(ValueError, match="no terminal"):
        demo_clips(tmp_path, on_progress=fail)
    assert not list(tmp_path.glob("*.mp4"))
