"""Pages read with detection and recognition in Paddle's form, and with the same networks as ONNX graphs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from platoon import doctor
from platoon.cli import app
from platoon.doctor import Verdict
from platoon.engine.paddle import import_paddle
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.reading import Reading
from platoon.reader import Reader
from platoon.settings import EngineSettings, Settings

import_paddle()

from tests.with_paddle.networks import (  # noqa: E402
    COLOURS,
    DetectionNet,
    RecognitionNet,
    describe_detection,
    describe_recognition,
    detection_weights,
    onnx_model,
    paddle_model,
    page,
    recognition_weights,
)

LINES = [("y1~é", "A字Z"), ("AAyy11",), ("Z~Z~Z~Z", "é", "字字"), ()]
Open = Callable[..., TextEngine]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `detector` and `reader` in Paddle's form, and below `onnx` the same networks."""
    folder = tmp_path_factory.mktemp("models")
    paddle_model(DetectionNet(detection_weights()), folder / "detector")
    paddle_model(RecognitionNet(recognition_weights()), folder / "reader")
    onnx_model(detection_weights(), folder / "onnx" / "detector" / "inference.onnx")
    onnx_model(recognition_weights(), folder / "onnx" / "reader" / "inference.onnx")
    for home in (folder, folder / "onnx"):
        describe_detection(home / "detector")
        describe_recognition(home / "reader")
    return folder


@pytest.fixture(scope="module")
def opened(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens an engine by a runtime, with the models in Paddle's form or their twins."""
    engines: dict[str, TextEngine] = {}

    def engine(runtime: Any) -> TextEngine:
        if runtime not in engines:
            home, file = (models, "") if runtime == "paddle" else (models / "onnx", "inference.onnx")
            settings = EngineSettings(
                runtime=runtime,
                text_detection=home / "detector" / file,
                text_recognition=home / "reader" / file,
                max_batch=2,
            )
            engines[runtime] = TextEngine(settings, tmp_path_factory.mktemp("cache"), Metrics(), size=(320, 960))
        return engines[runtime]

    yield engine
    for each in engines.values():
        each.close()


def read(engine: TextEngine) -> list[Reading]:
    return Reader(engine).read([page(*lines) for lines in LINES])


def test_pages_say_what_was_drawn_on_them(opened: Open) -> None:
    assert [reading.text.split("\n") for reading in read(opened("paddle"))] == [list(lines) or [""] for lines in LINES]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_texts_boxes_and_confidences_are_those_of_the_same_networks_in_onnx(runtime: str, opened: Open) -> None:
    for ours, theirs in zip(read(opened("paddle")), read(opened(runtime)), strict=True):
        assert ours.text == theirs.text
        assert [line.box for line in ours.lines] == [line.box for line in theirs.lines]
        confidences = [line.confidence for line in theirs.lines]
        assert [line.confidence for line in ours.lines] == pytest.approx(confidences, abs=1e-4)


def test_one_model_may_be_in_paddles_form_and_the_other_not(models: Path, tmp_path: Path) -> None:
    settings = EngineSettings(
        runtime="paddle",
        text_detection=models / "detector",
        text_recognition=models / "onnx" / "reader" / "inference.onnx",
        max_batch=1,
    )
    with TextEngine(settings, tmp_path, Metrics(), size=(320, 960)) as engine:
        assert Reader(engine).read([page("A1")])[0].text == "A1"
        assert engine.report("text-detection").runtime.startswith("paddle")
        assert not engine.report("text-recognition").runtime.startswith("paddle")


def test_doctor_finds_paddle_good_and_lists_it(models: Path, tmp_path: Path) -> None:
    settings = Settings.load(
        cache=tmp_path,
        engine__runtime="paddle",
        engine__text_detection=models / "detector",
        engine__text_recognition=models / "reader",
    )
    ((name, text, verdict),) = doctor._paddle(settings)
    assert (name, verdict) == ("paddle", Verdict.GOOD)
    assert text.startswith("executes models (paddle 3.")
    assert any(subject == "paddlepaddle" for subject, _, _ in doctor._versions(settings))
    swapped = Settings.load(cache=tmp_path, engine__runtime="paddle", engine__text_detection=models / "reader")
    ((_, text, verdict),) = doctor._paddle(swapped)
    assert verdict is Verdict.FAULT
    assert "name it in engine.text_recognition" in text


def test_a_picture_is_read_by_the_command(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "page.png"), page("".join(COLOURS))[..., ::-1])
    for name, value in {
        "CACHE": tmp_path,
        "ENGINE__RUNTIME": "paddle",
        "ENGINE__MAX_BATCH": 1,
        "ENGINE__TEXT_DETECTION": models / "detector",
        "ENGINE__TEXT_RECOGNITION": models / "reader",
    }.items():
        monkeypatch.setenv(f"PLATOON_{name}", str(value))
    result = CliRunner().invoke(app, ["read", str(tmp_path / "page.png")])
    assert result.exit_code == 0, result.output
    assert "".join(COLOURS) in result.stdout
