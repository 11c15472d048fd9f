"""Cameras as they are usually saved from being analysed in vain, after what Frigate's documentation says that it does:
of each a substream of five pictures a second is decoded, whatever there is to be seen; a small grey picture is compared
with the running average of those before; and the detector sees pictures only while something moves. Detector, reader
and votes are Platoon's, so that what differs is what they are given.

python -m benchmarks.usual_motion CAMERAS EVENTS PORT speaks as `platoon run` does: events as lines of JSON, metrics
over HTTP. Ends at SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from prometheus_client import start_http_server

from platoon.engine.runtime import cores
from platoon.media.decode import planar_frame
from platoon.media.frame import Frame
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.metrics import Metrics
from platoon.plates import open_engine
from platoon.plates.analysis import Analysis
from platoon.plates.events import PlateEvent, PlatePipeline
from platoon.plates.grammar import Grammar
from platoon.settings import Settings
from platoon.streams.registry import CameraSpec, read_registry

HEIGHT_PX = 100
"""Of the small picture."""
THRESHOLD, LEAST_AREA_PX = 30, 10
"""Grey levels that count as a change, and how large a patch of them as motion."""
LIGHTNING = 0.8
"""Where more of the picture than that changes, it is the light."""
NEW_SHARE = 0.01
"""Of a picture in the average."""
LINGER_S = 4.0
"""The detector goes on for so long after the last motion: vehicles stop."""

Luma = NDArray[np.uint8]


class MotionDetector:
    """Of one camera: whether something moves, by the difference of a small picture from the average of earlier ones."""

    def __init__(self) -> None:
        self._average: NDArray[np.float32] | None = None
        self._seen = 0

    def moves(self, luma: Luma) -> bool:
        """Take the next picture, (H, W); always the same size."""
        height, width = luma.shape
        small = cv2.resize(luma, (round(width * HEIGHT_PX / height), HEIGHT_PX), interpolation=cv2.INTER_LINEAR)
        small = cv2.GaussianBlur(small, (3, 3), 0).astype(np.float32)
        if self._average is None:
            self._average = small
        changed = (cv2.absdiff(small, self._average) > THRESHOLD).astype(np.uint8)
        light = changed.mean() > LIGHTNING
        self._seen += 1
        cv2.accumulateWeighted(small, self._average, 0.5 if light else max(NEW_SHARE, 1 / self._seen))
        if light:
            return False
        patches = cv2.dilate(changed, np.ones((3, 3), np.uint8), iterations=2)
        outlines, _ = cv2.findContours(patches, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        return any(cv2.contourArea(outline) >= LEAST_AREA_PX for outline in outlines)


class Watched:
    """One camera: decodes all that comes, on a thread of its own, and keeps the newest picture in which to look."""

    def __init__(self, spec: CameraSpec, metrics: Metrics, settings: Settings) -> None:
        self._spec, self._metrics = spec, metrics
        self.watch = PlatePipeline(spec.id, Grammar(settings.plates.countries), min_reads=settings.plates.min_reads)
        self._pixels = OpenCvPixels(metrics.pixels)
        self._newest: Frame | None = None
        self._lock = threading.Lock()
        self.awake_until = 0.0
        self.busy = False
        threading.Thread(target=self._decode, daemon=True).start()

    def take(self) -> Frame | None:
        """The newest picture in which to look, once."""
        with self._lock:
            frame, self._newest = self._newest, None
        return frame

    def _decode(self) -> None:
        motion, id_ = MotionDetector(), self._spec.id
        with av.open(self._spec.url, options={"rtsp_transport": "tcp"}) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            begin: float | None = None
            for picture in container.decode(stream):
                now, stamp = time.monotonic(), picture.time or 0.0
                if begin is None:
                    begin, self.awake_until = stamp, now + LINGER_S
                self._metrics.frames_decoded.labels(id_).inc()
                frame = planar_frame(
                    picture, camera=id_, media_time=stamp - begin, captured_at=time.time(), pixels=self._pixels
                )
                if motion.moves(_luma(picture)):
                    if now > self.awake_until:
                        self._metrics.camera_wakeups.labels(id_, "motion").inc()
                    self.awake_until = now + LINGER_S
                asleep = now > self.awake_until
                self._metrics.camera_asleep.labels(id_).set(asleep)
                if not asleep:
                    with self._lock:
                        self._newest = frame


def _luma(picture: av.VideoFrame) -> Luma:
    plane = picture.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(picture.height, plane.line_size)
    return rows[:, : picture.width]


class Events:
    """Writes events as `platoon run --events` does."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()

    def __call__(self, events: Sequence[PlateEvent]) -> None:
        """Write these; from any thread."""
        with self._lock:
            for event in events:
                self._file.write(json.dumps(event.to_json(crop_key=None)) + "\n")
            self._file.flush()


def analyse(
    cameras: Mapping[str, Watched], analysis: Analysis, emit: Events, metrics: Metrics, lock: threading.Lock
) -> None:
    """Look in the pictures of cameras in turn, for ever; those that another thread has are left to it."""
    order = list(cameras)
    while True:
        found: tuple[Watched, Frame] | None = None
        with lock:
            for id_ in list(order):
                if not cameras[id_].busy and (frame := cameras[id_].take()) is not None:
                    found = cameras[id_], frame
                    cameras[id_].busy = True
                    order.remove(id_)
                    order.append(id_)
                    break
        if found is None:
            time.sleep(0.01)
            continue
        camera, frame = found
        analysis.analyse([(frame, camera.watch)], emit)
        metrics.frames_analysed.labels(frame.camera).inc()
        camera.busy = False


def main() -> None:
    """Run until told to end."""
    registry, events, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings, metrics = Settings.load(), Metrics()
    emit = Events(events)
    with open_engine(settings, metrics) as engine:
        analysis = Analysis(engine, settings, metrics)
        analysis.warm_up()
        cameras = {spec.id: Watched(spec, metrics, settings) for spec in read_registry(registry)}
        start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
        lock = threading.Lock()
        for _ in range(cores()):
            threading.Thread(target=analyse, args=(cameras, analysis, emit, metrics, lock), daemon=True).start()
        stop.wait()
        for camera in cameras.values():
            emit(camera.watch.finish())


if __name__ == "__main__":
    main()
