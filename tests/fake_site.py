"""A site without cameras: what the faces serve in tests, with pictures drawn on the spot."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from platoon.errors import NotFound, Unavailable
from platoon.media.frame import Pixels
from platoon.media.source import SourceFailure, SourceState, SourceStatus
from platoon.metrics import Metrics
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.streams.site import CameraStatus, Message, not_live


def camera(
    camera_id: str,
    *,
    name: str = "",
    port: int = 0,
    enabled: bool = True,
    state: SourceState = SourceState.LIVE,
    cause: SourceFailure | None = None,
    message: str = "",
    retry_at: float | None = None,
) -> CameraStatus:
    source = SourceStatus(
        state=state,
        cause=cause,
        message=message,
        since=time.time(),
        width=1280,
        height=720,
        source_fps=25.0,
        codec="h264",
        decoded=100,
        reconnects=0,
        retry_at=retry_at,
    )
    return CameraStatus(
        id=camera_id,
        name=name or camera_id,
        url="rtsp://***@10.0.0.1/stream",
        port=port,
        enabled=enabled,
        source=source,
        analysed_fps=12.5 if state is SourceState.LIVE else 0.0,
        analysed=1000,
        dropped={"sampled": 0, "replaced": 3, "stale": 1},
        last_event_at=None,
    )


def event(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    return {
        "id": event_id,
        "state": "final",
        "camera": "gate",
        "text": "LS15 EBC",
        "raw": "LS15EBC",
        "confidence": 0.97,
        "time": "2026-01-31T12:00:00+00:00",
        "media_time": 4.2,
        "box": [520, 400, 680, 440],
        "reads": 7,
        "agreement": 0.94,
        "candidates": [{"text": "LS15EBC", "confidence": 0.97}, {"text": "LS15E8C", "confidence": 0.02}],
        "width": 1280,
        "height": 720,
        "crop": None,
        **fields,
    }


def jpeg(picture: Pixels) -> bytes:
    done, data = cv2.imencode(".jpg", picture[:, :, ::-1])
    assert done
    return data.tobytes()


class FakeSite:
    """A `Site` whose cameras, events and messages are what the test says."""

    def __init__(self, folder: Path, *cameras: CameraStatus) -> None:
        self.metrics = Metrics()
        self.events = EventStore(folder / "events.db")
        self.crops = ObjectStore(folder / "crops")
        self.missing: list[str] = []
        self.worries: list[str] = []
        self.draw: Callable[[str], Pixels] = lambda _: np.full((270, 480, 3), 90, np.uint8)
        self.reads_may_end = threading.Event()
        self.reads_may_end.set()
        self.reading = threading.Semaphore(0)
        """Released once for each manual read that begins."""
        self.woken: list[tuple[str, float]] = []
        self.viewed: list[str] = []
        """Woken by previews."""
        self.looked_at: Counter[str] = Counter()
        """Previews asked for, by camera."""
        self._cameras = {status.id: status for status in cameras}
        self._listeners: list[tuple[Callable[[Message], None], str | None]] = []

    def cameras(self) -> list[CameraStatus]:
        return list(self._cameras.values())

    def warnings(self) -> list[str]:
        return self.worries

    def not_ready(self) -> list[str]:
        return self.missing

    def subscribe(self, listener: Callable[[Message], None], camera: str | None = None) -> Callable[[], None]:
        entry = (listener, camera)
        self._listeners.append(entry)
        return lambda: self._listeners.remove(entry)

    def manual_read(self, camera: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        self._find(camera)
        self.reading.release()
        assert self.reads_may_end.wait(timeout_s)
        plate = {"text": "AB12CDE", "raw": "AB12CDE", "confidence": 0.9, "box": [1, 2, 3, 4]}
        return {"camera": camera, "time": "2026-01-31T12:00:00+00:00", "width": 1280, "height": 720,
                "plates": [plate], "lines": []}  # fmt: skip

    def preview(self, camera: str, *, width: int = 480, wake: bool = True) -> bytes:
        if self._find(camera).source.state is not SourceState.LIVE:
            raise Unavailable(f"camera {camera!r} has no picture now")
        if wake:
            self.viewed.append(camera)
        self.looked_at[camera] += 1
        return jpeg(self.draw(camera))

    def wake(self, camera: str, for_s: float) -> None:
        if self._find(camera).source.state is not SourceState.LIVE:
            raise not_live(camera, self._find(camera).source)
        self.woken.append((camera, for_s))

    # What tests do to it.

    def listeners(self) -> int:
        return len(self._listeners)

    def say(self, message: Message) -> None:
        about = message["camera"] if isinstance(message.get("camera"), str) else None
        if "event" in message:
            about = message["event"]["camera"]
        elif message["type"] == "camera":
            about = message["camera"]["id"]
        for listener, camera in list(self._listeners):
            if camera in (None, about):
                listener(message)

    def record(self, new: dict[str, Any], crop: Pixels | None = None) -> None:
        if crop is not None:
            new = {**new, "crop": f"{new['camera']}/{new['id']}-{new['state']}.jpg"}
            self.crops.put(new["crop"], jpeg(crop))
        self.events.put(Event.of(new))
        self.say({"type": "event", "event": new})

    def set_camera(self, status: CameraStatus) -> None:
        self._cameras[status.id] = status
        self.say({"type": "camera", "camera": status.to_json()})

    def remove_camera(self, camera_id: str) -> None:
        del self._cameras[camera_id]
        self.say({"type": "removed", "camera": camera_id})

    def set_state(self, camera_id: str, state: SourceState) -> None:
        status = self._cameras[camera_id]
        self.set_camera(replace(status, source=replace(status.source, state=state)))

    def _find(self, camera: str) -> CameraStatus:
        if camera not in self._cameras:
            raise NotFound(f"no camera {camera!r}")
        return self._cameras[camera]
