"""The process of one camera: decode, detect, cut, encode, post; prints one JSON line when it ends.

python -m benchmarks.usual.camera ID URL OCR_SERVER RESULTS_FILE [SECONDS]
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import onnxruntime
import rapidocr
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

INPUT = (960, 544)
BINARY, MIN_SCORE, UNCLIP = 0.3, 0.5, 1.6
ASPECT, MIN_HEIGHT_PX = (1.8, 8.0), 8.0


class Capture:
    """`cv2.VideoCapture` as it is usually wrapped: a file is read frame by frame, a live stream is drained
    by a thread that keeps the newest frame. Every frame read becomes BGR.
    """

    def __init__(self, url: str, *, loop: bool) -> None:
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"
        self.whole_frames = self.converted_bytes = 0
        self._live = url.startswith(("rtsp", "http"))
        self._loop = loop and not self._live
        self._newest: queue.Queue[tuple[Frame, float] | None] = queue.Queue(maxsize=1)
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise SystemExit(f"cannot open {url}")

    def frames(self) -> Generator[tuple[Frame, float]]:
        """(frame, when it was read in seconds since 1970) until the stream ends."""
        if not self._live:
            yield from iter(self._read, None)
            return
        drain = threading.Thread(target=self._drain)
        drain.start()
        try:
            yield from iter(self._newest.get, None)
        finally:
            self._live = False
            drain.join()

    def _drain(self) -> None:
        while self._live:
            read = self._read()
            with contextlib.suppress(queue.Empty):
                self._newest.get_nowait()
            self._newest.put(read)
            if read is None:
                return

    def _read(self) -> tuple[Frame, float] | None:
        done, frame = self._capture.read()
        if not done and self._loop:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            done, frame = self._capture.read()
        if not done:
            return None
        self.whole_frames += 1
        self.converted_bytes += frame.nbytes
        return frame, time.time()


class TextDetector:
    """The PP-OCR detection weights of the `rapidocr` wheel, a frame at a time."""

    def __init__(self) -> None:
        weights = Path(rapidocr.__file__).parent / "models" / "PP-OCRv6_det_small.onnx"
        self._session = onnxruntime.InferenceSession(str(weights))
        self._input = self._session.get_inputs()[0].name

    def crops(self, frame: Frame) -> Iterator[Frame]:
        """Every region of `frame` that may be a plate, rectified."""
        blob = cv2.dnn.blobFromImage(frame, 1 / 127.5, INPUT, (127.5, 127.5, 127.5))
        scores = self._session.run(None, {self._input: blob})[0][0, 0]
        scale = np.array([frame.shape[1] / INPUT[0], frame.shape[0] / INPUT[1]])
        outlines, _ = cv2.findContours(
            (scores > BINARY).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
        )
        for outline in outlines:
            centre, (width, height), angle = cv2.minAreaRect(outline)
            if min(width, height) < 2 or _score(scores, outline) < MIN_SCORE:
                continue
            grow = UNCLIP * width * height / (width + height)
            corners = cv2.boxPoints((centre, (width + grow, height + grow), angle)) * scale
            crop = _rectified(frame, corners)
            if crop.shape[0] >= MIN_HEIGHT_PX and ASPECT[0] <= crop.shape[1] / crop.shape[0] <= ASPECT[1]:
                yield crop


def _score(scores: NDArray[np.float32], outline: NDArray[np.int32]) -> float:
    x, y, width, height = cv2.boundingRect(outline)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [outline - (x, y)], 1)
    return float(cv2.mean(scores[y : y + height, x : x + width], mask)[0])


def _rectified(frame: Frame, corners: NDArray[np.floating]) -> Frame:
    left, right = np.split(corners[np.argsort(corners[:, 0])], 2)
    source = np.array([*left[np.argsort(left[:, 1])], *right[np.argsort(right[:, 1])]], np.float32)
    width = max(1, round(float(np.linalg.norm(source[2] - source[0]))))
    height = max(1, round(float(np.linalg.norm(source[1] - source[0]))))
    target = np.array([[0, 0], [0, height], [width, 0], [width, height]], np.float32)
    crop: Frame = cv2.warpPerspective(frame, cv2.getPerspectiveTransform(source, target), (width, height))
    return crop


def run(camera: str, url: str, server: str, results: Path, duration_s: float | None) -> dict[str, Any]:
    """Watch one camera for `duration_s`, or (None) a file to its end; what was done and what it cost.

    `cpu_s` and `wall_s` count once the model is loaded and the stream open; a frame begun is finished.
    """
    detector = TextDetector()
    capture = Capture(url, loop=duration_s is not None)
    latencies_s: list[float] = []
    frames, cpu_start, start = 0, time.process_time(), time.monotonic()
    with (
        httpx.Client(base_url=server, timeout=None) as client,
        results.open("w", encoding="utf-8") as file,
        contextlib.closing(capture.frames()) as stream,
    ):
        for frame, captured_at in stream:
            frames += 1
            for crop in detector.crops(frame):
                jpeg = cv2.imencode(".jpg", crop)[1].tobytes()
                reply = client.post("/ocr", files={"image": ("crop.jpg", jpeg)}).raise_for_status().json()
                result_at = time.time()
                latencies_s.append(result_at - captured_at)
                read = {"camera": camera, "captured_at": captured_at, "result_at": result_at, **reply}
                print(json.dumps(read), file=file, flush=True)
            if duration_s is not None and time.monotonic() - start >= duration_s:
                break
    cost = {"cpu_s": time.process_time() - cpu_start, "wall_s": time.monotonic() - start}
    cost |= {"whole_frames": capture.whole_frames, "converted_bytes": capture.converted_bytes}
    return {"camera": camera, "frames": frames, **cost, "latencies_s": latencies_s}


if __name__ == "__main__":
    camera, url, server, results, *seconds = sys.argv[1:]
    print(json.dumps(run(camera, url, server, Path(results), float(seconds[0]) if seconds else None)))
