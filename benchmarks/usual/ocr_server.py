"""A one-picture OCR server: `POST /ocr` with a multipart `image`, read by RapidOCR as it comes.

python -m benchmarks.usual.ocr_server PORT
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Annotated, Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile
from rapidocr import RapidOCR


def create_app() -> FastAPI:
    """Load the models (detection, classifier, recognition) and serve one picture at a time."""
    app = FastAPI()
    engine = RapidOCR()
    lock = threading.Lock()  # the engine keeps state between its stages

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/ocr")
    def ocr(image: Annotated[UploadFile, "JPEG or PNG"]) -> dict[str, Any]:
        picture = cv2.imdecode(np.frombuffer(image.file.read(), np.uint8), cv2.IMREAD_COLOR)
        with lock:
            start = time.perf_counter()
            result = engine(picture)
            took_ms = (time.perf_counter() - start) * 1000
        lines = [
            {"text": text, "confidence": float(score)}
            for text, score in zip(result.txts or (), result.scores or (), strict=True)
        ]
        return {
            "mergedText": " ".join(line["text"] for line in lines),
            "lines": lines,
            "inferenceMs": took_ms,
        }

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), port=int(sys.argv[1]), log_level="warning")
