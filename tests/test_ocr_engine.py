import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from platoon.engine.runtime import cores
from platoon.errors import Unavailable
from platoon.metrics import Metrics
from platoon.ocr import engine as module
from platoon.ocr.engine import TextEngine
from platoon.settings import EngineSettings

SETTINGS = EngineSettings(runtime="openvino", max_batch=1)


def test_it_finds_plates_and_reads_them_in_both_alphabets(tmp_path: Path) -> None:
    picture = np.full((128, 320, 3), 235, np.uint8)
    cv2.putText(picture, "KA 7351", (40, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    metrics = Metrics()
    with TextEngine(SETTINGS, tmp_path, metrics, size=(128, 320)) as engine:
        assert engine.at_once == cores()  # one picture each
        ((box,),) = engine.find(picture[None])
        left, top = box.quad.min(axis=0).astype(int)
        right, bottom = box.quad.max(axis=0).astype(int)
        crop = picture[top:bottom, left:right]
        assert [future.result(60).text for future in engine.read_plate_lines([crop])] == ["KA7351"]
        assert [future.result(60).text for future in engine.read_lines([crop])] == ["KA 7351"]
    executed = {
        sample.labels["model"]
        for family in metrics.batch_executions.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }
    assert executed == {"text-detection", "plate-recognition", "text-recognition"}


def test_models_load_when_first_needed_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    class FakeRecogniser:
        def __init__(self, *_: object, alphabet: str | None = None) -> None:
            loaded.append("lines" if alphabet is None else "plates")

        def submit(self, crops: object, **_: object) -> list[object]:
            return []

        def close(self) -> None: ...

    monkeypatch.setattr(module, "Recogniser", FakeRecogniser)
    with TextEngine(SETTINGS, tmp_path, Metrics()) as engine:
        assert loaded == []
        callers = [threading.Thread(target=engine.read_lines, args=([],)) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
        assert loaded == ["lines"]
        engine.read_plate_lines([])
        assert loaded == ["lines", "plates"]


def test_a_closed_engine_loads_and_reads_nothing(tmp_path: Path) -> None:
    engine = TextEngine(SETTINGS, tmp_path, Metrics())
    engine.close()
    with pytest.raises(Unavailable, match="closed"):
        engine.read_plate_lines([np.zeros((48, 100, 3), np.uint8)])
