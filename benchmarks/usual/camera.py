"""The process of one camera: decode, detect, cut, encode, post; a line of JSON for each frame analysed.

Beside the results a file of two numbers says, at any time, how many frames and bytes were converted.

python -m benchmarks.usual.camera URL OCR_SERVER RESULTS_FILE
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

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
    """`cv2.VideoCapture` as it is usually wrapped: a file is read frame by frame, again and again, and a live
    stream is drained by a thread that keeps the newest frame. Every frame read becomes BGR.

    Args:
        counts: where to count frames and their bytes.
    """

    def __init__(self, url: str, counts: NDArray[np.int64]) -> None:
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"
        self._url, self._counts = url, counts
        self._live = url.startswith("rtsp")
        self._newest: queue.Queue[tuple[Frame, float]] = queue.Queue(maxsize=1)
        self._capture = self._open()

    def frames(self) -> Iterator[tuple[Frame, float]]:
        """(frame, its media time in seconds), for ever."""
        if self._live:
            threading.Thread(target=self._drain, daemon=True).start()
        while True:
            yield self._newest.get() if self._live else self._read()

    def _drain(self) -> None:
        while True:
            read = self._read()
            with contextlib.suppress(queue.Empty):
                self._newest.get_nowait()
            self._newest.put(read)

    def _read(self) -> tuple[Frame, float]:
        done, frame = self._capture.read()
        while not done:
            self._capture = self._open()
            done, frame = self._capture.read()
        self._counts += (1, frame.nbytes)
        return frame, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise RuntimeError(f"cannot open {self._url}")
        return capture


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
        outlines, _ = cv2.findContours((scores > BINARY).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
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


def run(url: str, server: str, results: Path) -> None:
    """Watch one camera until the process is ended."""
    detector = TextDetector()
    capture = Capture(url, np.memmap(results.with_suffix(".counts"), np.int64, "w+", shape=(2,)))
    with httpx.Client(base_url=server, timeout=None) as client, results.open("w", encoding="utf-8") as file:
        for frame, media_s in capture.frames():
            texts: list[str] = []
            said_at: list[float] = []
            for crop in detector.crops(frame):
                jpeg = cv2.imencode(".jpg", crop)[1].tobytes()
                reply = client.post("/ocr", files={"image": ("crop.jpg", jpeg)}).raise_for_status().json()
                texts.append(reply["mergedText"])
                said_at.append(time.time())
            line = {"media_s": media_s, "texts": texts, "said_at": said_at}
            print(json.dumps(line), file=file, flush=True)


if __name__ == "__main__":
    url, server, results = sys.argv[1:]
    run(url, server, Path(results))
