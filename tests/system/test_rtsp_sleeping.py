"""Cameras that show a still scene again and again fall asleep over RTSP, and stay so."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from platoon.media.attention import Level, Reason
from platoon.media.sampling import Sampler
from platoon.media.source import SourceState
from platoon.media.synthetic.encoding import Encoding
from platoon.media.synthetic.still import still_clip, still_scene
from platoon.media.synthetic.unrest import Unrest
from platoon.settings import SourceSettings
from tests.rtsp_server import RtspServer
from tests.source_watch import Watch

LOOP_S = 8.0
ASLEEP_WITHIN_S = 30.0
SLEEPS_S = 2 * LOOP_S
"""Over so many joins of the loop."""
SCENES = {
    "clock": (Unrest.CLOCK, Encoding()),
    "noise": (Unrest.NOISE, Encoding(group_s=4.0)),
    "rain at a held rate": (Unrest.RAIN, Encoding(group_s=4.0, kbps=300)),
    "b-frames": (Unrest.TREES, Encoding(b_frames=2)),
}
SETTINGS = SourceSettings(open_timeout_s=60, read_timeout_s=60, max_lag_s=30)
"""A busy machine is no fault."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    clips = {}
    for number, (name, (kind, encoding)) in enumerate(SCENES.items()):
        path: Path = tmp_path_factory.mktemp("still") / "still.mp4"
        scene = still_scene(seed=40 + number, seconds=LOOP_S, size=(320, 180), fps=10)
        still_clip(path, scene, kind, encoding)
        clips[f"/{name.replace(' ', '-')}"] = path
    with RtspServer(clips) as server:
        yield server


def test_still_cameras_fall_asleep_and_stay_asleep_over_the_joins_of_their_loops(server: RtspServer) -> None:
    cameras = {
        name: Watch(server.url(f"/{name.replace(' ', '-')}"), settings=SETTINGS, keep_all=False, sampler=Sampler(fps=5))
        for name in SCENES
    }
    began = time.monotonic()
    for camera in cameras.values():
        camera.source.start()
    try:
        for name, camera in cameras.items():
            while camera.source.attention.level is not Level.IDLE:
                assert time.monotonic() - began < ASLEEP_WITHIN_S, f"{name} is awake: {camera.source.status}"
                with camera.changed:
                    camera.changed.wait(0.2)
                camera.slot.take()
        decoded = {name: camera.source.status.decoded for name, camera in cameras.items()}
        slept_from = {name: len(camera.states) for name, camera in cameras.items()}
        end = time.monotonic() + SLEEPS_S
        while (left := end - time.monotonic()) > 0:
            for camera in cameras.values():
                camera.slot.take()
            time.sleep(min(left, 0.2))
        for name, camera in cameras.items():
            status = camera.source.status
            assert status.state is SourceState.LIVE
            woken = [one.reason for one in camera.states[slept_from[name] :] if one.attention is not Level.IDLE]
            assert woken.count(Reason.CHANGE) <= 1, f"{name}: {woken}"
            assert status.decoded - decoded[name] < 10 * SLEEPS_S / 2, f"{name} hands on what nobody asked for"
    finally:
        for camera in cameras.values():
            camera.source.stop()
        for camera in cameras.values():
            camera.source.join()
