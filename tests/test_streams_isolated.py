"""Processes of cameras that hang, and what is reported of them."""

import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe, active_children
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from platoon.engine.tuning import Tuning
from platoon.media.source import SourceState, SourceStatus
from platoon.metrics import Metrics, Purpose
from platoon.settings import EngineSettings, Settings, StoreSettings
from platoon.streams import keeper as module
from platoon.streams.isolated import IsolatedSite, merge_expositions
from platoon.streams.pipe_writer import MOST_WAITING, PipeWriter
from platoon.streams.registry import CameraSpec
from platoon.streams.site import CameraStatus
from tests.clips import write_clip
from tests.running import wait_until


def test_the_metrics_of_all_processes_are_added_up() -> None:
    one, two = Metrics(), Metrics()
    for metrics, frames in ((one, 3), (two, 4)):
        metrics.frames_analysed.labels("gate").inc(frames)
        metrics.batch_size.labels("text detection").observe(frames)
        metrics.pixels.add(Purpose.DETECT, 100)
    two.frames_analysed.labels('odd "name"\\').inc()
    merged = merge_expositions([one.exposition(), two.exposition()]).decode()
    samples = {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(merged)
        for sample in family.samples
    }
    assert samples[("platoon_frames_analysed_total", ("gate",))] == 7
    assert samples[("platoon_frames_analysed_total", ('odd "name"\\',))] == 1
    assert samples[("platoon_model_batch_size_count", ("text detection",))] == 2
    assert samples[("platoon_model_batch_size_bucket", ("+Inf", "text detection"))] == 2
    assert samples[("platoon_converted_bytes_total", ("detect",))] == 200


def settings(folder: Path, engine: EngineSettings) -> Settings:
    return Settings(cache=folder / "cache", store=StoreSettings(path=folder / "store"), engine=engine)


LIGHT = EngineSettings(runtime="openvino", max_batch=1)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatedSite]:
    """Two cameras, each with a process that may hang for a few seconds only, and must end in one when asked."""
    monkeypatch.setattr(module, "HANG_S", 8.0)
    monkeypatch.setattr(module, "STOP_S", 1.0)
    monkeypatch.setattr(module, "KILL_S", 0.5)
    clip = str(write_clip(tmp_path / "clip.mp4", fps=5, frames=20, keyframe_every=5))
    site = IsolatedSite(settings(tmp_path, LIGHT), loop=True)
    site.change([CameraSpec(name, name, clip, 0) for name in ("gate", "yard")])
    site.start()
    yield site
    site.stop()


def analysed(site: IsolatedSite) -> dict[str, int]:
    return {camera.id: camera.analysed for camera in site.cameras()}


def process_of(site: IsolatedSite, camera: str) -> psutil.Process | None:
    named = {child.name: child.pid for child in active_children()}
    return psutil.Process(named[f"platoon {camera}"]) if f"platoon {camera}" in named else None


def test_a_process_that_hangs_is_replaced_with_its_cause_shown_and_the_other_goes_on(site: IsolatedSite) -> None:
    wait_until(lambda: min(analysed(site).values()) > 0, "both cameras are analysed")
    hanging, other = process_of(site, "gate"), process_of(site, "yard")
    assert hanging and other
    heard = list[str]()
    site.subscribe(lambda message: heard.append(message.get("camera", {}).get("message", "")), "gate")
    hanging.suspend()
    asked = [site._keeper("gate").ask("exposition") for _ in range(4 * MOST_WAITING)]  # returns, though nobody reads
    wait_until(lambda: any("hung: it said nothing" in message for message in heard), "the cause is shown")
    assert all(reply.done() for reply in asked)
    before = analysed(site)["yard"]
    wait_until(lambda: process_of(site, "gate") not in (None, hanging), "it is replaced")
    wait_until(lambda: site.cameras()[0].source.state is SourceState.LIVE, "the new one is live")
    wait_until(lambda: analysed(site)["yard"] > before, "the other went on")
    assert process_of(site, "yard") == other
    assert not hanging.is_running()


def test_stopping_ends_even_processes_that_are_stopped_themselves(site: IsolatedSite) -> None:
    wait_until(lambda: min(analysed(site).values()) > 0, "both cameras are analysed")
    processes = [process for name in ("gate", "yard") if (process := process_of(site, name))]
    processes[0].suspend()
    stopping = threading.Thread(target=site.stop)
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    assert not any(process.is_running() for process in processes)


def stand_still(_: Settings, spec: CameraSpec, __: bool, ___: bool, pipe: Connection) -> None:
    """A camera's process whose analysis has been with the same frames for a long time."""
    tell_always(spec, pipe, [], quiet_s=1000.0)


def cannot_store(_: Settings, spec: CameraSpec, __: bool, ___: bool, pipe: Connection) -> None:
    """A camera's process whose disk is full."""
    tell_always(spec, pipe, ["store: disk is full"], quiet_s=0.0)


def tell_always(spec: CameraSpec, pipe: Connection, missing: list[str], *, quiet_s: float) -> None:
    live = SourceStatus(state=SourceState.LIVE, message="")
    status = CameraStatus(
        id=spec.id, name="", url="", port=0, enabled=True, source=live, analysed_fps=0, analysed=0, dropped={},
        last_event_at=None,
    )  # fmt: skip
    while True:
        pipe.send(("status", 0, (status, missing, ["store: look after it"], quiet_s)))
        time.sleep(0.1)


def test_what_a_process_lacks_is_reported_by_its_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_camera", cannot_store)
    monkeypatch.setattr(module, "STOP_S", 0.0)
    site = IsolatedSite(settings(tmp_path, LIGHT))
    site.change([CameraSpec("gate", "gate", "rtsp://10.0.0.1/1", 0)])
    assert "camera gate: its process is starting" in site.not_ready()
    site.start()
    try:
        wait_until(lambda: "camera gate: store: disk is full" in site.not_ready(), "it is reported")
        assert site.warnings() == ["store: look after it"]
    finally:
        site.stop()


def test_a_process_whose_analysis_stands_still_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_camera", stand_still)
    heard = list[dict[str, Any]]()
    spec = CameraSpec("gate", "gate", "rtsp://10.0.0.1/1", 0)
    keeper = module.Keeper(
        spec, settings(tmp_path, LIGHT), recorded=False, loop=False, hear=lambda _, message: heard.append(dict(message))
    )
    keeper.start()
    try:
        wait_until(lambda: len(heard) > 1, "it was replaced, and its successor too")
        assert all("its analysis stood still" in message["camera"]["message"] for message in heard)
    finally:
        monkeypatch.setattr(module, "STOP_S", 0.0)
        keeper.stop()


def test_nobody_waits_for_a_process_that_does_not_read() -> None:
    ours, theirs = Pipe()
    outbox = PipeWriter(ours)
    taken = [outbox.put("preview", number, bytes(100_000)) for number in range(4 * MOST_WAITING)]
    assert MOST_WAITING <= sum(taken) < len(taken)
    theirs.close()
    wait_until(lambda: outbox.put("stop", 0, ()), "what waited was dropped with the process")
    outbox.close(60)
    ours.close()


def test_the_parent_measures_and_its_processes_find_what_was_measured(tmp_path: Path) -> None:
    clip = str(write_clip(tmp_path / "clip.mp4", fps=5, frames=5, keyframe_every=5))
    site = IsolatedSite(settings(tmp_path, EngineSettings(max_batch=2)), recorded=True)
    site.change([CameraSpec(name, name, clip, 0) for name in ("gate", "yard")])
    measured: dict[str, object] = {}

    def look() -> bool:
        """The choices at the moment when the first process starts."""
        if not measured and process_of(site, "gate"):
            measured.update(Tuning(tmp_path / "cache").remembered())
        return site.wait(0.0)

    site.start()
    wait_until(look, "both are read to their end")
    site.stop()
    assert len(measured) >= 4  # runtime and batch of two models
    assert Tuning(tmp_path / "cache").remembered() == measured


def test_what_cannot_be_measured_beforehand_is_reported_by_the_processes_and_does_not_keep_them_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr("platoon.streams.isolated.Analysis", broken)
    monkeypatch.setattr(module, "run_camera", stand_still)
    monkeypatch.setattr(module, "STOP_S", 0.0)
    site = IsolatedSite(settings(tmp_path, LIGHT))
    site.change([CameraSpec("gate", "gate", "rtsp://10.0.0.1/1", 0)])
    site.start()
    try:
        wait_until(lambda: site.cameras()[0].source.state is SourceState.LIVE, "its process was started")
    finally:
        site.stop()
