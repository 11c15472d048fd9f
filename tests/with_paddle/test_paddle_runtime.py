import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from platoon.engine.paddle import KEPT_SHAPES, PaddleRuntime, import_paddle
from platoon.engine.runtime import OnnxRuntime, OpenVinoRuntime, open_runtime
from platoon.engine.surgery import Graph, TopClasses
from platoon.engine.tuning import Tuning
from platoon.errors import InvalidSettings, ModelError
from platoon.ocr.detection import detection_graph
from platoon.ocr.recognition import recognition_graph
from platoon.settings import EngineSettings
from tests.test_telemetry import Outside

import_paddle()

from tests.with_paddle.networks import (  # noqa: E402
    DetectionNet,
    RecognitionNet,
    at_random,
    describe_recognition,
    detection_weights,
    onnx_model,
    paddle_model,
    recognition_weights,
)

PICTURE, LINE = (1, 64, 96, 3), (1, 48, 320, 3)
WIDE = [f"{number:03}" for number in range(40)]
"""A dictionary of which more is read than the best few."""


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Graph]:
    """With weights at random: for Paddle, and its twin in ONNX."""
    folder, weights = tmp_path_factory.mktemp("detector"), at_random(detection_weights())
    paddle_model(DetectionNet(weights), folder / "paddle")
    return detection_graph(folder / "paddle"), detection_graph(onnx_model(weights, folder / "twin.onnx"))


@pytest.fixture(scope="module", params=[False, True], ids=["inference.json", "inference.pdmodel"])
def recogniser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Graph]:
    folder = tmp_path_factory.mktemp("recogniser")
    weights = at_random(recognition_weights([(0, 0, 0)] * len(WIDE)))
    paddle_model(RecognitionNet(weights), folder, old=request.param)
    describe_recognition(folder, WIDE)
    assert (folder / "inference.pdmodel").exists() == request.param
    twin = onnx_model(weights, folder / "twin.onnx")
    return recognition_graph(path=folder)[0], recognition_graph(path=twin)[0]


@pytest.mark.parametrize("twin", [OpenVinoRuntime, OnnxRuntime])
@pytest.mark.parametrize("shape", [PICTURE, (3, 128, 64, 3), (2, 32, 32, 3)])
def test_maps_are_those_of_the_same_network_in_onnx(detector: tuple[Graph, Graph], twin: Any, shape: Any) -> None:
    ours, theirs = detector
    (text_map,) = PaddleRuntime(ours, example=PICTURE)(noise(*shape))
    assert text_map.shape == (shape[0], 1, *shape[1:3])
    assert text_map.std() > 0.01
    np.testing.assert_allclose(text_map, twin(theirs)(noise(*shape))[0], atol=1e-5)


@pytest.mark.parametrize("twin", [OpenVinoRuntime, OnnxRuntime])
@pytest.mark.parametrize("shape", [LINE, (4, 48, 352, 3)])
def test_classes_and_scores_are_those_of_the_same_network_in_onnx(
    recogniser: tuple[Graph, Graph], twin: Any, shape: Any
) -> None:
    ours, theirs = recogniser
    assert not theirs.on_host  # what is done in numpy for Paddle is grafted there
    ids, scores = PaddleRuntime(ours, example=LINE)(noise(*shape))
    expected_ids, expected_scores = twin(theirs)(noise(*shape))
    assert (ids.shape, ids.dtype) == (expected_ids.shape, expected_ids.dtype)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)
    clear = np.diff(scores, axis=-1).min(axis=-1) < -1e-4
    np.testing.assert_array_equal(ids[..., 0], expected_ids[..., 0])
    assert clear.any()
    np.testing.assert_array_equal(ids[..., :-1][clear], expected_ids[..., :-1][clear])


def test_a_line_has_the_same_outputs_alone_and_in_company(recogniser: tuple[Graph, Graph]) -> None:
    run = PaddleRuntime(recogniser[0], example=LINE)
    batch = noise(5, *LINE[1:])
    together = run(batch)
    for number in range(5):
        for alone, among in zip(run(batch[number : number + 1]), together, strict=True):
            np.testing.assert_allclose(alone[0], among[number], atol=1e-6)


def test_executors_share_the_weights_and_run_at_once_beside_the_background(detector: tuple[Graph, Graph]) -> None:
    run = PaddleRuntime(detector[0], example=PICTURE, executions=2)
    executors = [*run.foreground(), *(behind := run.background())]
    assert (len(run.foreground()), len(behind)) == (2, 2)
    pictures = [noise(*PICTURE), 255 - noise(*PICTURE), noise(*PICTURE) // 2, noise(*PICTURE) // 3]
    expected = [run(picture)[0] for picture in pictures]
    together = threading.Barrier(len(executors))

    def often(executor: Callable[..., Any], picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        together.wait()
        return [executor(picture)[0] for _ in range(20)]

    with ThreadPoolExecutor(len(executors)) as pool:
        for answers, right in zip(pool.map(often, executors, pictures), expected, strict=True):
            for answer in answers:
                np.testing.assert_array_equal(answer, right)
    for executor in (run, *behind):
        executor.close()


def test_outputs_stay_as_they_were_when_the_runtime_goes_on(detector: tuple[Graph, Graph]) -> None:
    run = PaddleRuntime(detector[0], example=PICTURE)
    first = run(noise(*PICTURE))[0]
    kept = first.copy()
    run(np.zeros(PICTURE, np.uint8))
    np.testing.assert_array_equal(first, kept)


def test_memory_does_not_grow_with_the_number_of_shapes(recogniser: tuple[Graph, Graph]) -> None:
    run = PaddleRuntime(recogniser[0], example=LINE)
    widths = [320 + 32 * number for number in range(80)]
    for width in widths:  # all that it can need for any of them, and what it keeps
        run(noise(1, 48, width, 3))
    before = resident_mb()
    for _ in range(3):
        for width in widths:
            run(noise(1, 48, width, 3))
    assert len(widths) > KEPT_SHAPES
    assert resident_mb() - before < 60


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_detector_that_onednn_cannot_execute_runs_without_it_and_says_so(
    detector: tuple[Graph, Graph], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = PaddleRuntime(detector[0], example=PICTURE)(noise(*PICTURE))[0]
    inference, opened = import_paddle().inference, []

    class Unable:
        """A predictor by oneDNN of a release that lacks something."""

        def __init__(self, predictor: Any) -> None:
            self._predictor = predictor

        def __getattr__(self, name: str) -> Any:
            return getattr(self._predictor, name)

        def run(self) -> None:
            raise NotImplementedError("(Unimplemented) not support this. (at /paddle/somewhere.cc:1)")

    create = inference.create_predictor

    def created(config: Any) -> Any:
        opened.append(config.mkldnn_enabled())
        return Unable(create(config)) if opened[-1] else create(config)

    monkeypatch.setattr(inference, "create_predictor", created)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        run = PaddleRuntime(detector[0], example=PICTURE)
    assert opened == [True, False]
    assert "runs without oneDNN, which is slower: (Unimplemented) not support this." in caplog.text
    np.testing.assert_allclose(run(noise(*PICTURE))[0], expected, atol=1e-6)


@pytest.mark.parametrize("harm", ["of another network", "cut off", "empty"])
def test_files_that_do_not_belong_together_are_named(harm: str, tmp_path: Path) -> None:
    folder = paddle_model(DetectionNet(detection_weights()), tmp_path / "detector")
    weights = folder / "inference.pdiparams"
    content = weights.read_bytes()
    if harm == "of another network":
        other = paddle_model(RecognitionNet(recognition_weights()), tmp_path / "other")
        shutil.copy(other / "inference.pdiparams", weights)
    else:
        weights.write_bytes(content[: len(content) // 2] if harm == "cut off" else b"")
    with pytest.raises(ModelError, match="of one export") as caught:
        PaddleRuntime(detection_graph(folder), example=PICTURE)
    assert str(folder / "inference.json") in str(caught.value)
    assert str(weights) in str(caught.value)


def test_a_program_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = paddle_model(DetectionNet(detection_weights()), tmp_path)
    (folder / "inference.json").write_text("{}")
    with pytest.raises(ModelError, match=r"inference\.json"):
        PaddleRuntime(detection_graph(folder), example=PICTURE)


def test_a_model_for_something_else_is_refused_by_what_it_gives(tmp_path: Path) -> None:
    reader = paddle_model(RecognitionNet(recognition_weights()), tmp_path / "reader")
    with pytest.raises(ModelError, match=r"is none that finds text: its outputs are \(1, 40, 9\)"):
        PaddleRuntime(detection_graph(reader), example=LINE)
    describe_recognition(reader, ["a", "b"])
    with pytest.raises(ModelError, match="is none that reads the 2 characters of its dictionary"):
        PaddleRuntime(recognition_graph(path=reader)[0], example=LINE)


def test_only_paddle_executes_what_is_in_its_form_and_leaves_onnx_to_others(
    detector: tuple[Graph, Graph], tmp_path: Path
) -> None:
    for name in ("auto", "onnxruntime"):
        with pytest.raises(InvalidSettings, match=r"engine\.runtime = 'paddle' in place of"):
            open_runtime(detector[0], EngineSettings(runtime=name), Tuning(tmp_path), example=PICTURE)
    settings = EngineSettings(runtime="paddle", text_detection=tmp_path)
    ours, theirs = (open_runtime(graph, settings, Tuning(tmp_path), example=PICTURE) for graph in detector)
    assert ours.name.startswith("paddle 3.")
    assert "paddle" not in theirs.name


def test_a_version_before_3_is_too_old(detector: tuple[Graph, Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_paddle(), "__version__", "2.6.2")
    with pytest.raises(InvalidSettings, match=r"2\.6\.2 is installed: pip install --upgrade 'platoon\[paddle\]'"):
        PaddleRuntime(detector[0], example=PICTURE)


def test_the_best_classes_are_found_among_many_in_their_order() -> None:
    scores = np.random.default_rng(3).random((2, 30, 500), np.float32)
    ids, best = TopClasses(5).finish((scores,))
    np.testing.assert_array_equal(ids, np.argsort(-scores, axis=-1)[..., :5])
    np.testing.assert_array_equal(best, -np.sort(-scores, axis=-1)[..., :5])


STAYS = """
import logging, os, signal, sys, threading, time
from pathlib import Path
from platoon.engine.paddle import PaddleRuntime
from platoon.ocr.detection import detection_graph

got = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: got.set())
logging.getLogger().setLevel(logging.ERROR)

def load():
    PaddleRuntime(detection_graph(Path(sys.argv[1])), example=(1, 64, 96, 3))

thread = threading.Thread(target=load)
thread.start()
thread.join()
assert logging.getLogger().level == logging.ERROR and not logging.getLogger().handlers
os.kill(os.getpid(), signal.SIGTERM)
print("stayed" if got.wait(60) else "heard nothing")
"""


def test_what_a_signal_and_a_log_line_do_is_the_same_with_paddle_loaded(
    detector: tuple[Graph, Graph], tmp_path: Path
) -> None:
    program = [sys.executable, "-c", STAYS, str(detector[0].model.path.parent)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "stayed\n"), (signal.Signals(abs(done.returncode)), done.stderr)


REACHES = """
import sys
from pathlib import Path
import numpy as np
from platoon.engine.paddle import PaddleRuntime
from platoon.ocr.detection import detection_graph
PaddleRuntime(detection_graph(Path(sys.argv[1])), example=(1, 64, 96, 3))(np.zeros((1, 64, 96, 3), np.uint8))
"""


def test_paddle_reaches_nobody(detector: tuple[Graph, Graph], tmp_path: Path) -> None:
    with Outside(tmp_path) as outside:
        outside.run("-c", REACHES, str(detector[0].model.path.parent))
        left = {str(path) for path in outside.home.rglob("*") if path.is_dir()}  # for data sets, and empty
        assert set(outside.seen()) <= left
