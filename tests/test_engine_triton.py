"""The runtime over gRPC, against our own face of the same protocol; tests/system/test_triton.py has Triton itself."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from platoon.api.kserve.models import Inference, ServedModel, ServedModels
from platoon.api.kserve.rpc import GrpcServer
from platoon.engine import triton
from platoon.engine.batcher import Batcher
from platoon.engine.gate import Gates
from platoon.engine.runtime import OnnxRuntime
from platoon.engine.signature import Signature, signature
from platoon.engine.surgery import Graph
from platoon.engine.triton import TritonRuntime
from platoon.engine.tuning import Tuning
from platoon.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidSettings,
    MissingExtra,
    ModelError,
    NotFound,
    Overloaded,
    Unavailable,
)
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.recognition import PLATE, Recogniser, recognition_graph
from platoon.settings import EngineSettings, ServiceSettings
from tests.running import free_ports

pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")

LINES = np.random.default_rng(5).integers(0, 256, (2, 48, 320, 3), np.uint8)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return recognition_graph(PLATE)[0]


@dataclass
class Scripted:
    """A served model, and all there are: answers as it is told to."""

    signature: Signature
    parameters: Mapping[str, str]
    name: str = "plate-recognition"
    failures: list[Exception] = field(default_factory=list)
    asked: list[Inference] = field(default_factory=list)
    check_input = ServedModel.check_input
    request = ServedModel.request

    def not_ready(self) -> list[str]:
        return []

    def find(self, name: str, version: str) -> Any:
        if name != self.name:
            raise NotFound(f"no {name}")
        return self

    async def infer(self, request: Inference) -> dict[str, NDArray[Any]]:
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)
        items = len(request.pixels)
        return {"ids": np.full((items, 40, 5), 3, np.int32), "scores": np.full((items, 40, 5), 0.5, np.float32)}


@contextmanager
def serving(models: Any, port: int = 0) -> Iterator[str]:
    with GrpcServer(models, ServiceSettings(), Metrics(), host="127.0.0.1", port=port) as face:
        yield f"127.0.0.1:{face.port}"


@pytest.fixture
def model(graph: Graph) -> Scripted:
    return Scripted(signature(graph), {"digest": graph.digest})


@pytest.fixture
def runtime(graph: Graph, model: Scripted) -> Iterator[TritonRuntime]:
    with serving(model) as url:
        opened = TritonRuntime(graph, url=url, timeout_s=20, max_batch=16)
        yield opened
        opened.close()


def written(text: str) -> Pixels:
    picture = np.full((64, 320, 3), 235, np.uint8)
    cv2.putText(picture, text, (12, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    return picture


def test_plates_are_read_through_a_server_as_they_are_here(tmp_path: Path) -> None:
    here = EngineSettings(runtime="onnxruntime", max_batch=4)
    with (
        TextEngine(here, tmp_path, Metrics(), size=(64, 320)) as engine,
        serving(ServedModels(engine, not_ready=list)) as url,
    ):
        there = EngineSettings(runtime="triton", triton_url=url, triton_timeout_s=60, max_batch=4)
        recogniser = Recogniser(there, Tuning(tmp_path), Metrics(), Gates.of(1), alphabet=PLATE)
        crops = [written("KA7351"), written("B52")]
        assert [reply.result(60).text for reply in recogniser.submit(crops)] == ["KA7351", "B52"]
        recogniser.close()


def test_the_outputs_are_to_the_last_bit_those_of_the_servers_runtime(graph: Graph, tmp_path: Path) -> None:
    with (
        TextEngine(EngineSettings(runtime="onnxruntime", max_batch=1), tmp_path, Metrics()) as engine,
        serving(ServedModels(engine, not_ready=list)) as url,
    ):
        runtime = TritonRuntime(graph, url=url, timeout_s=60, max_batch=1)
        for ours, theirs in zip(runtime(LINES[:1]), OnnxRuntime(graph)(LINES[:1]), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        runtime.close()


def test_outputs_belong_to_the_caller(runtime: TritonRuntime) -> None:
    ids, scores = runtime(LINES)
    ids[0, 0, 0], scores[0, 0, 0] = 7, 0.25
    assert (ids.shape, scores.shape) == ((2, 40, 5), (2, 40, 5))


def test_where_nobody_answers_the_address_is_named(graph: Graph) -> None:
    (port,) = free_ports(1)
    url = f"127.0.0.1:{port}"
    with pytest.raises(Unavailable, match=rf"triton at {url} could not be reached within 0.3 s"):
        TritonRuntime(graph, url=url, timeout_s=0.3, max_batch=16)


def test_an_execution_waits_for_a_server_that_restarts(
    graph: Graph, model: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    with serving(model, port=port) as url:
        runtime = TritonRuntime(graph, url=url, timeout_s=30, max_batch=16)
        runtime(LINES)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(runtime(LINES)))
    waiting.start()
    while "does not answer, trying again" not in caplog.text:
        assert waiting.is_alive()
        time.sleep(0.005)
    with serving(model, port=port):
        waiting.join(30)
    assert len(answers) == 1
    runtime.close()


def test_an_execution_the_server_could_not_do_is_asked_for_again(runtime: TritonRuntime, model: Scripted) -> None:
    model.failures = [Unavailable("loading"), Unavailable("loading")]
    runtime(LINES)
    assert len(model.asked) == 3


@pytest.mark.parametrize(
    ("failure", "expected", "words"),
    [
        (InvalidInput("too wide"), InvalidInput, "refused the request: too wide"),
        (Overloaded("all full"), Overloaded, "is busy: all full"),
        (DeadlineExceeded("late"), DeadlineExceeded, "did not answer within 20 s"),
        (ModelError("broken"), ModelError, "failed: broken"),
        (NotFound("unloaded"), ModelError, "is not there: unloaded.*export-triton"),
    ],
)
def test_what_the_server_says_is_passed_on_and_not_asked_again(
    runtime: TritonRuntime, model: Scripted, failure: Exception, expected: type[Exception], words: str
) -> None:
    model.failures = [failure]
    with pytest.raises(expected, match=words):
        runtime(LINES)
    assert len(model.asked) == 1


def test_a_batch_is_given_up_as_a_whole_when_the_server_is_away(graph: Graph, model: Scripted) -> None:
    with serving(model) as url:
        runtime = TritonRuntime(graph, url=url, timeout_s=0.3, max_batch=16)
    attempts: list[int] = []

    def execute(lines: Any) -> list[Any]:
        attempts.append(len(lines))
        return list(runtime(np.stack(lines))[0])

    batcher: Batcher[Any, Any] = Batcher(
        "plates", [execute], bucket=lambda line: line.shape, max_batch=4, queue_limit=10, metrics=Metrics()
    )
    replies = [batcher.submit(LINES[0]) for _ in range(4)]
    for reply in replies:
        with pytest.raises(Unavailable):
            reply.result(30)
    batcher.close()
    runtime.close()
    assert sum(attempts) == 4, "no item was tried again alone"


def test_a_model_that_the_server_lacks_is_an_error_with_the_way_out(graph: Graph, model: Scripted) -> None:
    model.name = "another"
    with serving(model) as url, pytest.raises(ModelError, match=r"plate-recognition.* is not there.*export-triton"):
        TritonRuntime(graph, url=url, timeout_s=20, max_batch=16)


def test_other_weights_under_the_same_name_are_found_out(graph: Graph, model: Scripted) -> None:
    model.parameters = {"digest": "0" * 64}
    with serving(model) as url, pytest.raises(ModelError, match="holds other weights"):
        TritonRuntime(graph, url=url, timeout_s=20, max_batch=16)


def test_other_tensors_under_the_same_name_are_found_out(graph: Graph, model: Scripted) -> None:
    model.signature = replace(model.signature, outputs=model.signature.outputs[:1])
    with serving(model) as url, pytest.raises(ModelError, match=r"has the tensors .*'ids'"):
        TritonRuntime(graph, url=url, timeout_s=20, max_batch=16)


def test_a_server_with_smaller_batches_is_found_out(graph: Graph, model: Scripted) -> None:
    with serving(model) as url, pytest.raises(InvalidSettings, match=r"at most 256 .*engine\.max_batch"):
        TritonRuntime(graph, url=url, timeout_s=20, max_batch=257)


def test_without_the_client_the_error_names_the_extra(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tritonclient", None)
    with pytest.raises(MissingExtra, match=r"platoon\[triton\]"):
        triton.TritonRuntime(graph, url="127.0.0.1:1", timeout_s=1, max_batch=1)
