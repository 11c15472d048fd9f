"""The three ways to run the same cameras: how each is started, and what it says it has done.

`shared` and `isolated` are Platoon's commands and speak through `/metrics` and the file of events; `usual` is
`benchmarks.usual` and speaks through the files that its processes write.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from platoon.ocr.served import PLATE_DETECTION, PLATE_READING, PLATE_RECOGNITION, TEXT_DETECTION

REPLY_S = 60.0
"""A site with as many processes as cameras asks each of them for its figures."""
DETECTING = (PLATE_DETECTION, TEXT_DETECTION)
READING = (PLATE_READING, PLATE_RECOGNITION)
"""Models of which one or the other finds plates, and reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a deployment has done since its start."""

    analysed: Mapping[str, int]
    """Frames the detector has seen, by camera."""
    decoded: int
    whole_frames: int
    """Conversions of a whole frame at full size."""
    converted_bytes: int
    """RGB or BGR bytes written by all conversions of pixels."""
    executions: int = 0
    """Of the detector; 0: not told."""
    lines_read: int = 0
    """Regions that were recognised; 0: not told."""

    @property
    def frames(self) -> int:
        """Analysed by all cameras."""
        return sum(self.analysed.values())


class Deployment(ABC):
    """Cameras and a way to run them; the deployment itself runs in a process of its own, by `command`.

    Args:
        cameras: id → file or URL.
        folder: for all that it writes; made here.
        live: whether they are cameras, and not files to be read as fast as possible. Of files no events are timed.
    """

    name: str

    def __init__(self, cameras: Mapping[str, str], folder: Path, *, live: bool) -> None:
        self._cameras, self._folder, self._live = cameras, folder, live
        folder.mkdir(parents=True)
        self._registry = folder / "cameras.txt"
        lines = [f"{camera}|{camera}|{url}|0\n" for camera, url in cameras.items()]
        self._registry.write_text("".join(lines), encoding="utf-8")

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables it needs."""
        return {}

    @abstractmethod
    def listen(self) -> None:
        """Note the events that have come; to be called often, as they are timed by when they are heard of."""

    @abstractmethod
    def done(self) -> Done | None:
        """Its counts now; None until every camera has had a frame analysed, and where not all of them are told."""

    @abstractmethod
    def latencies_s(self, since: float) -> list[float]:
        """From receiving a frame to what was first said of the vehicle in it, for all that was said since then."""


class Platoon(Deployment):
    """`platoon run`, or the same on files at full speed."""

    def __init__(self, cameras: Mapping[str, str], folder: Path, *, live: bool, isolated: bool) -> None:
        super().__init__(cameras, folder, live=live)
        self.name = "isolated" if isolated else "shared"
        self._events = folder / "events.jsonl"
        self._heard = 0
        self._first: dict[str, tuple[float, float]] = {}
        """Of each vehicle's first event: when it was heard of, and how long after its frame was received."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]

    @property
    def command(self) -> list[str]:
        """See `Deployment`."""
        options = ["--isolated"] * (self.name == "isolated")
        if self._live:
            return [
                *(sys.executable, "-m", "platoon", "run", str(self._registry)),
                *("--events", str(self._events), *options),
            ]
        return [sys.executable, "-m", "benchmarks.full_speed", str(self._registry), *options]

    @property
    def environment(self) -> dict[str, str]:
        """See `Deployment`."""
        return {"PLATOON_API__PORT": str(self._port), "PLATOON_STORE__PATH": str(self._folder / "store")}

    def listen(self) -> None:
        """See `Deployment`. At full speed there is nothing to note: finals wait until the vehicle has gone."""
        if not self._events.exists():
            return
        now = time.time()
        with self._events.open("rb") as file:
            file.seek(self._heard)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._heard += len(line)
                event = json.loads(line)
                captured_at = datetime.fromisoformat(event["time"]).timestamp()
                self._first.setdefault(event["id"], (now, now - captured_at))

    def latencies_s(self, since: float) -> list[float]:
        """See `Deployment`."""
        return [latency for heard_at, latency in self._first.values() if heard_at >= since]

    def done(self) -> Done | None:
        """See `Deployment`."""
        try:
            self._get("/health/ready")
            text = self._get("/metrics")
        except (urllib.error.URLError, ConnectionError):
            return None
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

        def total(name: str, label: str = "", *values: str) -> int:
            found = [s.value for s in samples if s.name == name and (not label or s.labels[label] in values)]
            if not found:
                raise LookupError(f"/metrics has no {name} of {label} {' or '.join(values)}")
            return int(sum(found))

        analysed = {s.labels["camera"]: int(s.value) for s in samples if s.name == "platoon_frames_analysed_total"}
        if not all(analysed.get(camera) for camera in self._cameras):
            return None
        return Done(
            analysed=analysed,
            decoded=total("platoon_frames_decoded_total"),
            whole_frames=total("platoon_conversions_total", "purpose", "picture"),
            converted_bytes=total("platoon_converted_bytes_total"),
            executions=total("platoon_model_executions_total", "model", *DETECTING),
            lines_read=total("platoon_model_items_total", "model", *READING),
        )

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=REPLY_S) as reply:
            text: str = reply.read().decode()
        return text


class Usual(Deployment):
    """`benchmarks.usual`."""

    name = "usual"

    def __init__(self, cameras: Mapping[str, str], folder: Path, *, live: bool) -> None:
        super().__init__(cameras, folder, live=live)
        self._files = {camera: folder / "results" / f"{camera}.jsonl" for camera in cameras}

    @property
    def command(self) -> list[str]:
        """See `Deployment`."""
        results = self._folder / "results"
        return [sys.executable, "-m", "benchmarks.usual", str(self._registry), str(results)]

    def listen(self) -> None:
        """See `Deployment`. Its processes time their results themselves."""

    def latencies_s(self, since: float) -> list[float]:
        """See `Deployment`. It says every reading, and remembers no vehicle."""
        frames = [frame for camera in self._files for frame in self._frames(camera)] if self._live else []
        return [s for frame in frames for s in frame["latencies_s"] if frame["captured_at"] + s >= since]

    def done(self) -> Done | None:
        """See `Deployment`."""
        analysed = {camera: len(self._frames(camera)) for camera in self._files}
        if not all(analysed.values()):
            return None
        counts = [np.fromfile(file.with_suffix(".counts"), np.int64) for file in self._files.values()]
        frames, n_bytes = (int(total) for total in np.sum(counts, axis=0))
        return Done(analysed=analysed, decoded=frames, whole_frames=frames, converted_bytes=n_bytes)

    def _frames(self, camera: str) -> list[dict[str, Any]]:
        """A line of results for each frame analysed; the last may be half written."""
        try:
            text = self._files[camera].read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
