"""One process per camera: the same events, walls between the cameras, and no process left behind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.clips import write_clip
from tests.rtsp_server import Clip, RtspServer
from tests.running import PATIENCE_S, Place, Running, wait_until
from tests.traffic import GATE, YARD, write_traffic

CAMERAS = ("gate", "yard")


def test_recorded_clips_give_the_same_events_as_in_one_process(quick: Place) -> None:
    folder = quick.folder
    write_traffic(folder / "gate.mp4", GATE[:2])
    write_traffic(folder / "yard.mp4", YARD[:2], country="FR")
    quick.register("gate|The gate|gate.mp4|0", "yard|The yard|yard.mp4|0", "off|Nothing|none.mp4|0|off")
    by_mode = {}
    for option in ([], ["--isolated"]):
        quick.event_file.unlink(missing_ok=True)
        done = quick.run("run", quick.registry, "--once", "--every", "2", "--events", quick.event_file, *option)
        assert done.code == 0, done
        by_mode[bool(option)] = sorted((what_was_seen(event) for event in quick.emitted()), key=str)
    assert len(by_mode[True]) == 4
    assert by_mode[True] == by_mode[False]


def what_was_seen(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what differs from run to run."""
    return {name: value for name, value in event.items() if name not in ("id", "time", "crop", "decided_at")}


@pytest.fixture
def running(quick: Place, tmp_path: Path) -> Iterator[Running]:
    clip = Clip.load(write_clip(tmp_path / "clip.mp4", fps=15, frames=32, keyframe_every=16))
    with RtspServer({f"/{name}": clip for name in CAMERAS}) as server:
        lines = [f"{name}|{name}|{server.url(f'/{name}')}|0" for name in CAMERAS]
        quick.register(*lines, f"off|Nothing|{server.url('/gate')}|0|off")
        with quick.start("run", quick.registry, "--isolated", "--fps", "2") as running:
            running.until(lambda: states(running) == dict.fromkeys(CAMERAS, "live"), "all are live")
            yield running


def states(running: Running) -> dict[str, str]:
    return {name: camera["state"] for name, camera in running.cameras().items() if camera["enabled"]}


def test_a_disabled_camera_shows_nothing_and_says_why(running: Running) -> None:
    answer = running.http.get("/api/cameras/off/preview.jpg")
    assert (answer.status_code, "disabled in the registry" in answer.text) == (503, True)


def children(running: Running) -> list[psutil.Process]:
    """All processes under the supervisor."""
    return psutil.Process(running.process.pid).children(recursive=True)


def camera_processes(running: Running) -> set[psutil.Process]:
    return {process for process in children(running) if "spawn_main" in " ".join(process.cmdline())}


def test_a_camera_whose_process_dies_is_started_again_and_the_others_go_on(running: Running) -> None:
    processes = camera_processes(running)
    assert len(processes) == len(CAMERAS)
    before = running.cameras()
    victim = min(processes, key=lambda process: process.pid)
    with running.listen() as listener:
        victim.kill()

        def lost() -> list[dict[str, Any]]:
            cameras = [message["camera"] for message in listener.messages if message["type"] == "camera"]
            return [camera for camera in cameras if "SIGKILL" in camera["message"]]

        (camera, *_) = running.until(lost, "the page was notified")
    assert (camera["state"], camera["cause"]) == ("reconnecting", "failed")
    assert "its process ended" in camera["message"]
    running.until(lambda: states(running) == dict.fromkeys(CAMERAS, "live"), "it is back")
    now = camera_processes(running)
    assert now > processes - {victim}
    assert len(now) == len(CAMERAS)
    others = [name for name in CAMERAS if name != camera["id"]]

    def went_on() -> bool:
        after = running.cameras()
        assert all(after[name]["since"] == before[name]["since"] for name in others)
        return all(after[name]["decoded"] > before[name]["decoded"] for name in others)

    running.until(went_on, "the others go on")


def stop_all(running: Running) -> int:
    """As a service manager does that ends every process of a service, the cameras' a moment earlier."""
    cameras = camera_processes(running)
    for process in cameras:
        process.terminate()
    psutil.wait_procs(cameras, PATIENCE_S)
    return running.stop()


@pytest.mark.parametrize("end", [Running.stop, stop_all, Running.kill], ids=["asked to end", "all asked", "killed"])
def test_no_process_is_left_when_the_supervisor_ends(running: Running, end: Callable[[Running], int | None]) -> None:
    processes = children(running)
    assert len(processes) >= len(CAMERAS)
    assert not end(running)
    wait_until(lambda: not any(process.is_running() for process in processes), "all processes have ended")
    assert "signal SIGTERM" not in running.log, "a camera's process ended without writing what it knew"


def test_a_camera_whose_process_hangs_does_not_keep_the_supervisor_from_ending(running: Running) -> None:
    processes = children(running)
    min(camera_processes(running), key=lambda process: process.pid).suspend()
    assert running.stop() == 0
    wait_until(lambda: not any(process.is_running() for process in processes), "all processes have ended")
