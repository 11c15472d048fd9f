"""The three ways to run the same cameras: how each is started, and what it says it has done.

`shared` and `isolated` are Platoon's commands and speak through `/metrics` and the file of events; `usual` is
`benchmarks.usual` and speaks through the files that its processes write.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from prometheus_client.core import Sample
from prometheus_client.parser import text_string_to_metric_families

from platoon.ocr.served import PLATE_RECOGNITION, TEXT_DETECTION
from platoon.plates.finder import PLATE_DETECTION
from platoon.plates.recogniser import PLATE_READING

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
    """Of the detector; 0: not known."""
    lines_read: int = 0
    """Regions that were recognised; 0: not known."""

    @property
    def frames(self) -> int:
        """Analysed by all cameras."""
        return sum(self.analysed.values())


class Plays:
    """The server of the cameras: what it takes, and when it began to play each, by the file that it writes
    (`tests.rtsp_server --plays`).

    Args:
        pid: its process.
    """

    def __init__(self, file: Path, pid: int | None = None) -> None:
        self._file, self._pid = file, pid

    def cpu_s(self) -> float:
        """CPU time of the server, in seconds since its start."""
        return sum(psutil.Process(self._pid).cpu_times()[:2]) if self._pid is not None else 0.0

    def began(self, camera: str, since: float) -> float | None:
        """When it began, in seconds since 1970: what the camera shows a second later is due then, however late it is
        taken. None: not since then; or more than once, so that nobody knows from when media time counts.
        """
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        plays = [json.loads(line) for line in lines]
        begins = [play["began"] for play in plays if play["path"] == f"/{camera}" and play["began"] >= since]
        return begins[0] if len(begins) == 1 else None


class Deployment(ABC):
    """Cameras and a way to run them; the deployment itself runs in a process of its own, by `command`.

    Args:
        cameras: id → file or URL.
        folder: for all that it writes; made here.
        plays: of live cameras, to time their events. None: they are files, to be read as fast as possible.
    """

    name: str

    def __init__(self, cameras: Mapping[str, str], folder: Path, *, plays: Plays | None) -> None:
        self._cameras, self._folder, self._plays = cameras, folder, plays
        self._made_at = time.time()
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
        """Its counts now; None until every camera has had a frame analysed, and where not all of them are known."""

    @abstractmethod
    def latencies_s(self, since: float) -> list[float]:
        """From sending a frame to what was first said of the vehicle in it, for all that was said since then.

        Of cameras that were opened more than once nothing is timed.
        """

    def _begins(self) -> dict[str, float]:
        """When each camera began to play, as far as it is known."""
        if self._plays is None:
            return {}
        begins = {camera: self._plays.began(camera, self._made_at) for camera in self._cameras}
        return {camera: began for camera, began in begins.items() if began is not None}


class Platoon(Deployment):
    """`platoon run`, or the same on files at full speed."""

    def __init__(self, cameras: Mapping[str, str], folder: Path, *, plays: Plays | None, isolated: bool) -> None:
        super().__init__(cameras, folder, plays=plays)
        self.name = "isolated" if isolated else "shared"
        self._events = folder / "events.jsonl"
        self._heard = 0
        self._first: dict[str, tuple[float, str, float]] = {}
        """Of each vehicle's first event: when it was heard of, the camera, and the media time of its frame."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]

    @property
    def command(self) -> list[str]:
        """See `Deployment`."""
        options = ["--isolated"] * (self.name == "isolated")
        if self._plays is not None:
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
                self._first.setdefault(event["id"], (now, event["camera"], event["media_time"]))

    def latencies_s(self, since: float) -> list[float]:
        """See `Deployment`."""
        begins = self._begins()
        return [
            heard_at - (begins[camera] + media_s)
            for heard_at, camera, media_s in self._first.values()
            if heard_at >= since and camera in begins
        ]

    def finals(self) -> list[tuple[str, str, float]]:
        """(camera, text, media time in seconds) of the vehicles that were decided."""
        lines = self._events.read_text(encoding="utf-8").splitlines(keepends=True) if self._events.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [(event["camera"], event["text"], event["media_time"]) for event in events if event["state"] == "final"]

    def samples(self) -> list[Sample]:
        """Its metrics. Raises OSError: it does not answer."""
        text = self._get("/metrics")
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def done(self) -> Done | None:
        """See `Deployment`."""
        try:
            self._get("/health/ready")
            samples = self.samples()
        except OSError:  # also HTTP errors
            return None

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

    def __init__(self, cameras: Mapping[str, str], folder: Path, *, plays: Plays | None) -> None:
        super().__init__(cameras, folder, plays=plays)
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
        return [
            said_at - (began + frame["media_s"])
            for camera, began in self._begins().items()
            for frame in self._frames(camera)
            for said_at in frame["said_at"]
            if said_at >= since
        ]

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
