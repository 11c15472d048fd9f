"""Reading by hand, where the engine is slow, or still loading."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from platoon.errors import DeadlineExceeded, Unavailable
from platoon.metrics import Metrics
from platoon.ocr.detection import TextDetector
from platoon.plates.engine import PlateEngine
from platoon.plates.grammar import Grammar
from platoon.plates.served import FOR_CALLERS
from platoon.settings import EngineSettings, PlateSettings
from platoon.streams.manual import Sight, read_sight

SIGHT = Sight(np.zeros((64, 96, 3), np.uint8), 1_700_000_000.0)


class Slow:
    """In the place of an engine: each picture takes longer than any caller has, as does loading."""

    def __init__(self, *not_ready: str) -> None:
        self._not_ready = list(not_ready)

    def not_ready(self) -> list[str]:
        return self._not_ready

    def detect(self, _: object, *, deadline: float, **__: object) -> Any:
        raise DeadlineExceeded(f"not before {deadline}")


def read(engine: Any, timeout_s: float = 0.1) -> dict[str, Any]:
    return read_sight(SIGHT, "gate", engine, PlateSettings(detector="text"), Grammar(), timeout_s=timeout_s)


def test_a_read_that_is_late_since_models_are_loading_says_so() -> None:
    with pytest.raises(Unavailable, match="'gate' was not read: model text-detection is warming up"):
        read(Slow("model text-detection is warming up"))


def test_a_read_that_is_late_without_that_exceeds_its_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match=r"'gate' was not read within 0\.1 s"):
        read(Slow())


def test_a_first_read_is_answered_before_its_deadline_that_a_model_loads_which_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowToLoad(TextDetector):
        def __init__(self, *given: Any, **more: Any) -> None:
            time.sleep(1)
            super().__init__(*given, **more)

    monkeypatch.setattr("platoon.ocr.engine.TextDetector", SlowToLoad)
    settings = EngineSettings(runtime="openvino", max_batch=1)
    with PlateEngine(settings, tmp_path, Metrics(), size=(64, 96), plate_size=(64, 96)) as engine:
        with pytest.raises(Unavailable, match="model text-detection is warming up"):
            read(engine, timeout_s=0.4)
        engine.warm_up(FOR_CALLERS)
        assert "model text-detection is warming up" in engine.not_ready()
        answer = read(engine, timeout_s=600)
    assert (answer["camera"], answer["width"], answer["lines"]) == ("gate", 96, [])
