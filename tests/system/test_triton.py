"""Platoon's models in NVIDIA Triton: the exported repository, and reading through it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from platoon.api.paddlex.pipelines.triton import TritonPipeline
from platoon.engine.gate import Gates
from platoon.engine.triton import TritonRuntime
from platoon.engine.triton_repository import export
from platoon.engine.tuning import Tuning
from platoon.errors import ModelError, Unavailable
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.detection import TextDetector
from platoon.ocr.recognition import PLATE, Recogniser, fit_line, recognition_graph
from platoon.plates.served import PURPOSES, served
from platoon.settings import EngineSettings, GatewaySettings
from tests.absent import absent
from tests.serving import serving
from tests.test_api_paddlex_layout_parsing import NoEngine, ask, refused, restructure, result
from tests.triton_server import TritonServer, home

MAX_BATCH = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    if not (home() / "ready").exists():
        absent("no Triton here; make triton installs one for tests")
    repository = tmp_path_factory.mktemp("triton") / "models"
    export([served(name) for name in PURPOSES], repository, max_batch=MAX_BATCH)
    with TritonServer(repository) as server:
        yield server


PARSER = """
import json
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        self.name = args["model_name"]

    def execute(self, requests):
        return [self.answer(pb.get_input_tensor_by_name(request, "input").as_numpy()) for request in requests]

    def answer(self, tensor):
        assert tensor.shape == (1, 1)
        asked = json.loads(tensor[0, 0])
        said = f"{self.name} was asked for {', '.join(sorted(asked))}"
        page = {"prunedResult": {"parsing_res_list": []}, "markdown": {"text": said}}
        body = {"logId": "theirs", "errorCode": 0, "errorMsg": "Success", "result": {"layoutParsingResults": [page]}}
        if asked.get("logId") == "fail":
            body = {"logId": "theirs", "errorCode": 503, "errorMsg": "the VLM server is away"}
        output = np.array([[json.dumps(body).encode()]], dtype=np.object_)
        return pb.InferenceResponse([pb.Tensor("output", output)])
"""
PARSER_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 8
input [ {{ name: "input" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [ {{ name: "output" data_type: TYPE_STRING dims: [ 1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 2 }} ]
"""


def test_a_gateway_in_front_of_triton_speaks_its_one_tensor(server: TritonServer, tmp_path: Path) -> None:
    """`server` is asked for where there is no Triton; the one that is used here has other models."""
    repository = tmp_path / "models"
    for name in ("layout-parsing", "restructure-pages"):
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.py").write_text(PARSER)
        (repository / name / "config.pbtxt").write_text(PARSER_CONFIG.format(name=name))
    with TritonServer(repository) as parsers:
        how = GatewaySettings(triton_url=parsers.grpc)
        pipeline = TritonPipeline(how)
        assert pipeline.not_ready() == []
        with serving(NoEngine(), pipeline=lambda _service, _settings: pipeline, gateway=how) as client:
            (page,) = result(client, "PDF1" * 1_000_000, useChartRecognition=True)["layoutParsingResults"]
            said = page["markdown"]["text"]
            assert said == "layout-parsing was asked for file, fileType, useChartRecognition"
            (whole,) = restructure(client, [], concatenatePages=True)
            assert whole["markdown"]["text"] == "restructure-pages was asked for concatenatePages, pages"
            assert refused(ask(client, logId="fail"), 503) == "the VLM server is away"
            with ThreadPoolExecutor(8) as pool:
                replies = [*pool.map(lambda number: ask(client, logId=str(number)), range(24))]
            assert [reply.json()["logId"] for reply in replies] == [str(number) for number in range(24)]
            parsers.kill()
            assert "cannot be reached" in client.get("/health/ready").json()["errorMsg"]


def written(text: str) -> Pixels:
    picture = np.full((64, 320, 3), 235, np.uint8)
    cv2.putText(picture, text, (12, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    return picture


def through(server: TritonServer, **how: object) -> EngineSettings:
    return EngineSettings.model_validate(
        {"runtime": "triton", "triton_url": server.grpc, "max_batch": MAX_BATCH, "triton_timeout_s": 60, **how}
    )


HERE = EngineSettings(runtime="onnxruntime", max_batch=MAX_BATCH)


def test_triton_takes_the_configuration_as_it_was_written(server: TritonServer) -> None:
    from tritonclient.grpc import InferenceServerClient

    with InferenceServerClient(server.grpc) as client:
        for name in PURPOSES:
            graph, parameters = served(name)
            config = client.get_model_config(name).config
            assert config.max_batch_size == MAX_BATCH
            assert config.HasField("dynamic_batching")
            written = {key: value.string_value for key, value in config.parameters.items()}
            assert written["digest"] == graph.digest
            assert written["licence"] == "Apache-2.0"
            assert written.get("alphabet") == parameters.get("alphabet")


def test_text_is_found_and_read_through_triton_as_it_is_here(server: TritonServer, tmp_path: Path) -> None:
    crops = [written(text) for text in ("KA7351", "B52", "XYZ 190", "4711")]
    answers = []
    for settings in (HERE, through(server)):
        detector = TextDetector(settings, Tuning(tmp_path), Metrics(), Gates.of(1), size=(64, 320))
        plates = Recogniser(settings, Tuning(tmp_path), Metrics(), Gates.of(1), alphabet=PLATE)
        lines = Recogniser(settings, Tuning(tmp_path), Metrics(), Gates.of(1))
        boxes = [[box.quad.round(2).tolist() for box in found] for found in detector.find(crops)]
        texts = [[reply.result(60).text for reply in reader.submit(crops)] for reader in (plates, lines)]
        answers.append((boxes, texts))
        for part in (detector, plates, lines):
            part.close()
    assert answers[0] == answers[1]
    assert answers[0][1][0] == ["KA7351", "B52", "XYZ190", "4711"]


def test_triton_batches_what_several_clients_send(server: TritonServer) -> None:
    from tritonclient.grpc import InferenceServerClient

    graph, _ = recognition_graph(PLATE)
    line = fit_line(written("KA7351"))[None]

    def client(_: int) -> bytes:
        runtime = TritonRuntime(graph, url=server.grpc, timeout_s=60, max_batch=MAX_BATCH)
        answers = {runtime(line)[1].tobytes() for _ in range(8)}
        runtime.close()
        assert len(answers) == 1
        return answers.pop()

    with InferenceServerClient(server.grpc) as statistics, ThreadPoolExecutor(8) as pool:

        def counts() -> tuple[int, int]:
            (model,) = statistics.get_inference_statistics("plate-recognition").model_stats
            return model.inference_count, model.execution_count

        before = counts()
        scores = set(pool.map(client, range(8)))
        deadline = time.monotonic() + 30
        while (now := counts())[0] < before[0] + 64:  # Triton counts after it has answered
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert now[1] - before[1] < 64
    assert len(scores) == 1, "whatever company it had"


def test_other_weights_than_tritons_are_found_out(server: TritonServer) -> None:
    graph, _ = recognition_graph("ABC")
    with pytest.raises(ModelError, match="holds other weights"):
        TritonRuntime(graph, url=server.grpc, timeout_s=60, max_batch=MAX_BATCH)


def test_reading_goes_on_when_a_killed_triton_is_back(server: TritonServer, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    export([served("plate-recognition")], repository, max_batch=MAX_BATCH)
    line = fit_line(written("KA7351"))[None]
    with TritonServer(repository) as first:
        runtime = TritonRuntime(recognition_graph(PLATE)[0], url=first.grpc, timeout_s=3, max_batch=MAX_BATCH)
        before = runtime(line)
        first.kill()
        with pytest.raises(Unavailable, match=first.grpc):
            runtime(line)
    port = int(first.grpc.rpartition(":")[2])
    with TritonServer(repository, grpc_port=port):
        for ours, theirs in zip(runtime(line), before, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    runtime.close()
