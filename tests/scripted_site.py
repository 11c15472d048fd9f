"""A site whose cameras and engine do what a test says: for all of it but decoding and models."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from platoon.media.attention import Attention
from platoon.media.source import SourceState, SourceStatus
from platoon.settings import PlateSettings, Settings, StoreSettings
from platoon.streams import lanes, pipeline, readiness
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec
from tests.running import wait_until
from tests.scripted_frames import SIZE, ScriptedEngine, ScriptedFrame

CAMERAS = 3


class ScriptedSource:
    """In the place of a `Source`: live for ever, whether or not anybody takes its frames."""

    def __init__(self, camera: str, _url: str, slot: Any, _sampler: Any, *, on_status: Any, **_: Any) -> None:
        self.camera, self._slot, self._on_status = camera, slot, on_status
        self.number = int(camera.split()[-1])
        self.status = SourceStatus(state=SourceState.LIVE)
        self.attention = Attention()
        self.fails: Callable[[str], None] = lambda _stage: None
        self.empty = False
        self.given = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._slot.close()

    def join(self, timeout: float | None = None) -> bool:
        if self._thread.is_alive():
            self._thread.join(timeout)
        return True

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            self.given += 1
            frame: Any = ScriptedFrame(self.number, self.given / 10, time.time(), self.empty, self.fails)
            self._slot.offer(frame)


class Bench:
    """A site with scripted cameras and a scripted engine."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = ScriptedEngine()
        self.folder = folder
        self.emitted: list[Any] = []
        self.site: Any = None
        monkeypatch.setattr(pipeline, "open_engine", lambda *_, **__: self.engine)
        monkeypatch.setattr(pipeline, "Source", ScriptedSource)
        monkeypatch.setattr(readiness, "WAITS_S", (0.02, 0.1))
        monkeypatch.setattr(lanes, "CHECK_S", 0.01)

    def start(
        self, *, recorded: bool = False, cameras: int = CAMERAS, lanes: int | None = None, **sections: Any
    ) -> None:
        settings = Settings(
            plates=PlateSettings(input_width=SIZE[0], input_height=SIZE[1]),
            store=StoreSettings(path=self.folder),
            cache=self.folder,
            **sections,
        )
        self.site = SharedSite(settings, on_event=self.emitted.append, recorded=recorded, lanes=lanes)
        self.site.change([CameraSpec(f"camera {n}", f"Camera {n}", "rtsp://10.0.0.1/1", 0) for n in range(cameras)])
        self.site.start()

    def source(self, number: int) -> ScriptedSource:
        source: ScriptedSource = self.site._cameras[f"camera {number}"].source
        return source

    def dropped(self, cause: str, number: int = 0) -> float:
        labels = {"camera": f"camera {number}", "cause": cause}
        return self.site.metrics.registry.get_sample_value("platoon_frames_dropped_total", labels) or 0.0

    def analysed(self, number: int = 0) -> float:
        labels = {"camera": f"camera {number}"}
        return self.site.metrics.registry.get_sample_value("platoon_frames_analysed_total", labels) or 0.0

    def more(self, count: Callable[[], float], most: int = 20) -> None:
        """Wait until it is counted up by so many."""
        before = count()
        wait_until(lambda: count() >= before + most or None, f"{most} more")

    def finals(self) -> list[str]:
        return sorted(event["text"] for event in list(self.emitted) if event["state"] == "final")

    def stop(self) -> None:
        if self.site is not None:
            self.site.stop()
