import threading
import time
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from platoon.engine.runtime import cores
from platoon.errors import InvalidInput, ModelError, PlatoonError, Unavailable
from platoon.metrics import Metrics
from platoon.ocr import engine as module
from platoon.ocr.engine import TextEngine
from platoon.ocr.served import PLATE_RECOGNITION, TEXT_RECOGNITION
from platoon.reader import Reader
from platoon.settings import EngineSettings
from tests.running import wait_until

SETTINGS = EngineSettings(runtime="openvino", max_batch=1)


def test_it_finds_plates_and_reads_them_in_both_alphabets(tmp_path: Path) -> None:
    picture = np.full((128, 320, 3), 235, np.uint8)
    cv2.putText(picture, "KA 7351", (40, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    metrics = Metrics()
    with TextEngine(SETTINGS, tmp_path, metrics, size=(128, 320)) as engine:
        assert engine.capacity == (cores(), 1)
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


class FakeModel:
    """In the place of each model; loading waits for `load`, and fails with `error` if that is set."""

    loaded: ClassVar[list[str]] = []
    load: ClassVar[threading.Event]
    error: ClassVar[PlatoonError | None]

    def __init__(self, *_: object, alphabet: str | None = "none", **__: object) -> None:
        assert self.load.wait(60)
        if self.error is not None:
            raise self.error
        self.loaded.append({"none": "other", None: "lines"}.get(alphabet, "plates"))

    def submit(self, crops: object, **_: object) -> list[object]:
        return []

    def close(self) -> None: ...


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeModel]:
    monkeypatch.setattr(module, "TextDetector", FakeModel)
    monkeypatch.setattr(module, "Recogniser", lambda *given, alphabet=None: FakeModel(*given, alphabet=alphabet))
    FakeModel.loaded, FakeModel.load, FakeModel.error = [], threading.Event(), None
    FakeModel.load.set()
    return FakeModel


def test_whole_plates_are_for_an_engine_with_their_models_to_read(tmp_path: Path) -> None:
    with TextEngine(SETTINGS, tmp_path, Metrics()) as engine, pytest.raises(InvalidInput, match="open_engine"):
        Reader(engine).read([np.zeros((48, 100, 3), np.uint8)], "whole-plate")


def ready(engine: TextEngine) -> bool:
    return not engine.not_ready()


def test_models_load_when_first_needed_and_once(tmp_path: Path, fake: type[FakeModel]) -> None:
    with TextEngine(SETTINGS, tmp_path, Metrics()) as engine:
        assert fake.loaded == []
        callers = [threading.Thread(target=engine.read_lines, args=([],)) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
        assert fake.loaded == ["lines"]
        engine.read_plate_lines([])
        assert fake.loaded == ["lines", "plates"]


def test_what_warms_up_is_named_until_it_is_ready_and_nothing_else_is_loaded(
    tmp_path: Path, fake: type[FakeModel]
) -> None:
    fake.load.clear()
    with TextEngine(SETTINGS, tmp_path, Metrics()) as engine:
        assert ready(engine)
        engine.warm_up([TEXT_RECOGNITION, PLATE_RECOGNITION])
        assert engine.not_ready() == [f"model {name} is warming up" for name in (TEXT_RECOGNITION, PLATE_RECOGNITION)]
        with pytest.raises(Unavailable, match=f"{TEXT_RECOGNITION} is warming up"):
            engine.read_lines([], deadline=time.monotonic() + 0.05)
        fake.load.set()
        wait_until(lambda: ready(engine), "all is warm")
    assert fake.loaded == ["lines", "plates"]


def test_a_model_that_cannot_be_loaded_is_named_and_the_others_are_loaded(
    tmp_path: Path, fake: type[FakeModel]
) -> None:
    with TextEngine(SETTINGS, tmp_path, Metrics()) as engine:
        fake.error = ModelError("the file is damaged")
        engine.warm_up([TEXT_RECOGNITION])
        damaged = [f"model {TEXT_RECOGNITION}: the file is damaged"]
        wait_until(lambda: engine.not_ready() == damaged, "it says why")
        fake.error = None
        engine.warm_up([PLATE_RECOGNITION])
        wait_until(lambda: engine.not_ready() == damaged, "the other is ready")


def test_a_server_that_is_away_at_the_start_is_asked_again(
    tmp_path: Path, fake: type[FakeModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    with TextEngine(SETTINGS, tmp_path, Metrics()) as engine:
        fake.error = Unavailable("Triton does not answer")
        engine.warm_up([TEXT_RECOGNITION])
        wait_until(lambda: engine.not_ready() == [f"model {TEXT_RECOGNITION}: Triton does not answer"], "it says why")
        fake.error = None
        wait_until(lambda: ready(engine), "it is back")


def test_a_closed_engine_loads_and_reads_nothing(tmp_path: Path) -> None:
    engine = TextEngine(SETTINGS, tmp_path, Metrics())
    engine.close()
    with pytest.raises(Unavailable, match="closed"):
        engine.read_plate_lines([np.zeros((48, 100, 3), np.uint8)])
