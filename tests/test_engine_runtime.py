import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from platoon.engine import runtime as module
from platoon.engine.model import Model, text_detection, text_recognition
from platoon.engine.runtime import OnnxRuntime, OpenVinoRuntime, best_batch, cores, open_runtime
from platoon.engine.surgery import Graph, KeepClasses, TopClasses, adapt
from platoon.engine.tuning import Tuning
from platoon.errors import ModelError
from platoon.ocr import detection, recognition
from platoon.settings import EngineSettings

RUNTIMES = [OpenVinoRuntime, OnnxRuntime]
DETECTION = adapt(text_detection(), detection.INPUT)
PLATES = adapt(text_recognition(), recognition.INPUT, KeepClasses(tuple(range(37))), TopClasses(5))


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


@dataclass
class Clock:
    """In place of the module `time`: passes only while a `FakeRuntime` executes."""

    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now


@dataclass
class FakeRuntime:
    """Executes in the seconds that its cost says for a batch."""

    name: str
    clock: Clock
    cost: Callable[[int], float]
    sizes: list[int] = field(default_factory=list)
    closed: bool = False
    on_cpu: bool = True

    def __call__(self, batch: Any) -> tuple[NDArray[Any], ...]:
        self.sizes.append(len(batch))
        self.clock.now += self.cost(len(batch))
        return (batch,)

    def prepare(self, shape: tuple[int, ...]) -> None: ...

    def foreground(self) -> tuple[Self]:
        return (self,)

    def background(self) -> tuple[()]:
        return ()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("platoon.engine.runtime.time", clock)
    return clock


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("graph", "item"), [(DETECTION, (64, 96, 3)), (PLATES, (48, 320, 3)), (PLATES, (48, 352, 3))])
def test_an_item_has_the_same_outputs_alone_and_in_company_to_the_last_bit(
    runtime: Any, graph: Graph, item: tuple[int, ...]
) -> None:
    run = runtime(graph)
    batch = noise(5, *item)
    together = run(batch)
    for number in range(5):
        alone = run(batch[number : number + 1])
        for ours, theirs in zip(alone, together, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[number])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_inputs_may_lie_in_memory_that_cannot_be_written(runtime: Any) -> None:
    run, pixels = runtime(DETECTION), noise(1, 64, 64, 3)
    received = np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape)
    np.testing.assert_array_equal(run(received)[0], run(pixels)[0])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_outputs_stay_as_they_were_when_the_runtime_goes_on(runtime: Any) -> None:
    run = runtime(DETECTION)
    first = run(noise(1, 64, 64, 3))[0]
    kept = first.copy()
    run(np.zeros((1, 64, 64, 3), np.uint8))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_prepared_shape_gives_the_same_and_others_still_run(runtime: Any) -> None:
    run = runtime(DETECTION)
    pixels, other = noise(1, 64, 96, 3), noise(2, 32, 64, 3)
    before = run(pixels)[0]
    run.prepare(pixels.shape)
    np.testing.assert_allclose(run(pixels)[0], before, atol=1e-4)
    assert run(other)[0].shape == (2, 1, 32, 64)


@pytest.mark.parametrize("runtime", [OpenVinoRuntime, OnnxRuntime])
@pytest.mark.parametrize(("graph", "item"), [(DETECTION, (64, 96, 3)), (PLATES, (48, 352, 3))])
def test_the_background_gives_the_same_to_the_last_bit(runtime: Any, graph: Graph, item: tuple[int, ...]) -> None:
    run = runtime(graph, threads=2)
    batch = noise(3, *item)
    executors = run.background()
    for executor in executors:
        for ours, theirs in zip(executor(batch), run(batch), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        executor.close()


def test_both_runtimes_agree() -> None:
    pixels = noise(1, 64, 96, 3)
    np.testing.assert_allclose(OpenVinoRuntime(DETECTION)(pixels)[0], OnnxRuntime(DETECTION)(pixels)[0], atol=1e-4)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_the_settings_name_the_runtime(tmp_path: Path, name: Any) -> None:
    runtime = open_runtime(DETECTION, EngineSettings(runtime=name, threads=1), Tuning(tmp_path), example=(1, 32, 32, 3))
    assert name in runtime.name
    assert f"{cores()} at once" in runtime.name
    assert not list(tmp_path.iterdir())


class FakeOpeners:
    """OpenVINO and ONNX Runtime replaced by fakes that take 3 s and 1 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        self.opened: list[FakeRuntime] = []
        self.broken: set[str] = set()
        for name, attribute, seconds in (("openvino", "OpenVinoRuntime", 3.0), ("onnxruntime", "OnnxRuntime", 1.0)):
            monkeypatch.setattr(module, attribute, partial(self._open, name, seconds, clock))

    def _open(self, name: str, seconds: float, clock: Clock, graph: Graph, **_: Any) -> FakeRuntime:
        if name in self.broken:
            raise ModelError(f"{name} cannot run model {graph.model.name}")
        self.opened.append(FakeRuntime(name, clock, lambda _: seconds))
        return self.opened[-1]


@pytest.fixture
def openers(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> FakeOpeners:
    return FakeOpeners(monkeypatch, clock)


def start(cache: Path) -> str:
    return open_runtime(DETECTION, EngineSettings(), Tuning(cache), example=(1, 32, 32, 3)).name


def test_auto_takes_the_faster_one_and_closes_what_it_tried(tmp_path: Path, openers: FakeOpeners) -> None:
    assert start(tmp_path) == "onnxruntime"
    assert [runtime.closed for runtime in openers.opened] == [True, True, False]


def test_auto_does_not_measure_again_at_the_next_start(tmp_path: Path, openers: FakeOpeners) -> None:
    start(tmp_path)
    openers.opened.clear()
    assert start(tmp_path) == "onnxruntime"
    assert [(runtime.name, runtime.sizes) for runtime in openers.opened] == [("onnxruntime", [])]


def test_auto_goes_on_with_the_runtime_that_can_execute_the_graph(
    tmp_path: Path, openers: FakeOpeners, caplog: pytest.LogCaptureFixture
) -> None:
    openers.broken.add("onnxruntime")
    with caplog.at_level(logging.WARNING):
        assert start(tmp_path) == "openvino"
    assert "onnxruntime cannot run model" in caplog.text


def test_a_graph_that_nothing_executes_is_an_error_that_says_why(tmp_path: Path, openers: FakeOpeners) -> None:
    openers.broken.update(("openvino", "onnxruntime"))
    with pytest.raises(ModelError, match=r"openvino cannot run .*; onnxruntime cannot run"):
        start(tmp_path)


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (lambda n: n, 1),
        (lambda n: 10 + n, 16),
        (lambda n: 1.0 if n <= 4 else n / 4, 4),
        (lambda n: 0.02 + n, 1),
    ],
    ids=["proportional", "mostly fixed", "saturated at four", "gain below five per cent"],
)
def test_the_best_batch_is_where_doubling_stops_to_pay(
    tmp_path: Path, clock: Clock, cost: Callable[[int], float], expected: int
) -> None:
    runtime = FakeRuntime("fake", clock, cost)
    assert best_batch(runtime, DETECTION, Tuning(tmp_path), item=(8, 8, 3), limit=16) == expected


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 16])
def test_no_batch_beyond_the_limit_is_ever_run(tmp_path: Path, clock: Clock, limit: int) -> None:
    runtime = FakeRuntime("fake", clock, lambda _: 1.0)
    assert best_batch(runtime, DETECTION, Tuning(tmp_path), item=(8, 8, 3), limit=limit) <= limit
    assert max(runtime.sizes, default=0) <= limit


def test_the_best_batch_is_remembered(tmp_path: Path, clock: Clock) -> None:
    first, second = (FakeRuntime("fake", clock, lambda _: 1.0) for _ in range(2))
    choices = [best_batch(runtime, DETECTION, Tuning(tmp_path), item=(8, 8, 3), limit=8) for runtime in (first, second)]
    assert choices == [8, 8]
    assert second.sizes == []


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_operation_that_a_runtime_does_not_know_is_named(tmp_path: Path, runtime: Any) -> None:
    graph = helper.make_graph(
        [helper.make_node("Levitate", ["x"], ["y"])],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 8, 8])],
    )
    file = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    with pytest.raises(ModelError, match="Levitate"):
        runtime(adapt(Model.from_path(file)))
