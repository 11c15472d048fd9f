"""Our models behind the inference protocol v2, asked by NVIDIA's own clients over real sockets."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

from platoon.api import problems
from platoon.api.access import Access
from platoon.api.browser import Hosts
from platoon.api.guard import Doors, Guard
from platoon.api.intake import Intake
from platoon.api.kserve import rest
from platoon.api.kserve.messages import METHODS, SERVICE, message
from platoon.api.kserve.models import MAX_ITEMS, ServedModel, ServedModels
from platoon.api.kserve.rpc import GrpcServer, _host_of
from platoon.api.serve import bind
from platoon.arrays import on_host
from platoon.engine.batcher import Batcher, Priority
from platoon.engine.tuning import Choice, Tuning
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.detection import Postprocessing, text_boxes
from platoon.ocr.engine import TextEngine
from platoon.ocr.recognition import decode, fit_line
from platoon.settings import ApiKey, ApiSettings, EngineSettings, ServiceSettings

grpcclient = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
httpclient = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
from tritonclient.utils import InferenceServerException  # noqa: E402  only once it is known to be there

PATIENCE_S = 120
LIMIT = 2_000_000
LINE = np.zeros((1, 48, 320, 3), np.uint8)


@dataclass
class Serving:
    """Both faces over one engine."""

    engine: TextEngine
    metrics: Metrics
    not_ready: list[str]
    http: str
    grpc: str

    def client(self, kind: Any) -> Any:
        return kind.InferenceServerClient(self.http if kind is httpclient else self.grpc)


class LargestBatch(Tuning):
    """Measures nothing."""

    def choose(self, question: str, options: Collection[Choice], measure: Callable[[], Choice]) -> Choice:
        return max(options)


def serving(cache: Path, settings: ServiceSettings) -> Iterator[Serving]:
    metrics, missing = Metrics(), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platoon.ocr.engine.Tuning", LargestBatch)
        yield from _serving(cache, settings, metrics, missing)


def _serving(cache: Path, settings: ServiceSettings, metrics: Metrics, missing: list[str]) -> Iterator[Serving]:
    bound = bind("127.0.0.1", 0, way_out="")
    with TextEngine(EngineSettings(runtime="openvino", max_batch=8), cache, metrics, size=(64, 320)) as engine:
        models = ServedModels(engine, not_ready=lambda: missing)
        app = FastAPI()
        problems.install(app)
        doors = Doors(app)
        doors.say("key", app.routes)
        doors.add(rest.health_routes(models), "key", rest.refuse)
        doors.add(rest.routes(models, Intake(settings, metrics), settings), "infer", rest.refuse)
        hosts = Hosts(ApiSettings(), settings)
        app.add_middleware(Guard, doors=doors, access=Access(settings), hosts=hosts, metrics=metrics)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            with GrpcServer(models, settings, metrics, host="127.0.0.1", port=0) as face:
                address = f"127.0.0.1:{bound.getsockname()[1]}"
                yield Serving(engine, metrics, missing, address, f"127.0.0.1:{face.port}")
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    yield from serving(tmp_path_factory.mktemp("cache"), ServiceSettings(max_body_bytes=LIMIT, deadline_s=120))


@pytest.fixture(params=[httpclient, grpcclient], ids=["http", "grpc"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def client(served: Serving, kind: Any) -> Iterator[Any]:
    served.not_ready.clear()
    with served.client(kind) as client:
        yield client


def written(text: str, width: int = 320) -> Pixels:
    picture = np.full((64, width, 3), 235, np.uint8)
    cv2.putText(picture, text, (12, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (20, 20, 20), 3)
    return picture


def asked(kind: Any, pixels: NDArray[Any], **how: Any) -> Any:
    tensor = kind.InferInput("pixels", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels, **how)
    return tensor


def test_the_server_says_that_it_lives_what_it_is_and_what_it_serves(client: Any, kind: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("text-detection")
    assert client.is_model_ready("text-detection", "1")
    how = {} if kind is httpclient else {"as_json": True}
    assert client.get_server_metadata(**how)["name"] == "platoon"
    metadata = client.get_model_metadata("plate-recognition", **how)
    shapes = {
        tensor["name"]: (tensor["datatype"], [int(length) for length in tensor["shape"]])
        for tensor in (*metadata["inputs"], *metadata["outputs"])
    }
    assert shapes == {
        "pixels": ("UINT8", [-1, 48, -1, 3]),
        "ids": ("INT32", [-1, -1, 5]),
        "scores": ("FP32", [-1, -1, 5]),
    }
    config = client.get_model_config("plate-recognition", **how)
    config = config.get("config", config)
    assert config["max_batch_size"] == MAX_ITEMS
    assert config["output"][0] == {"name": "ids", "data_type": "TYPE_INT32", "dims": config["output"][0]["dims"]}
    assert config["parameters"]["alphabet"]["string_value"].split("\n")[:3] == ["0", "1", "2"]


def test_what_is_not_ready_says_so(served: Serving, client: Any, kind: Any) -> None:
    served.not_ready.append("engine: warming up")
    assert client.is_server_live()
    assert not client.is_server_ready()
    assert not client.is_model_ready("text-detection")
    if kind is httpclient:
        reply = httpx.get(f"http://{served.http}/v2/health/ready")
        assert (reply.status_code, reply.json()) == (503, {"error": "not ready: engine: warming up"})


def test_the_map_is_the_one_that_finds_text_here(served: Serving, client: Any, kind: Any) -> None:
    picture = written("KA 7351")
    answer = client.infer("text-detection", [asked(kind, picture[None])], request_id="seven")
    text_map = answer.as_numpy("map")
    assert text_map.shape == (1, 1, 64, 320)
    ((ours,),) = (served.engine.find([picture]),)
    theirs = text_boxes(text_map[0, 0], Postprocessing())
    assert len(ours) >= 1
    np.testing.assert_array_equal([box.quad for box in theirs], [box.quad for box in ours])
    response = answer.get_response()
    assert (response["id"] if kind is httpclient else response.id) == "seven"


@pytest.mark.parametrize("model", ["plate-recognition", "text-recognition"])
def test_ids_and_scores_decode_to_what_is_written(client: Any, kind: Any, model: str) -> None:
    lines = np.stack([on_host(fit_line(written(text))) for text in ("KA7351", "B52")])
    answer = client.infer(model, [asked(kind, lines)])
    config = client.get_model_config(model, **({} if kind is httpclient else {"as_json": True}))
    alphabet = config.get("config", config)["parameters"]["alphabet"]["string_value"].split("\n")
    ids, scores = answer.as_numpy("ids"), answer.as_numpy("scores")
    assert [decode(*steps, ["", *alphabet]).text for steps in zip(ids, scores, strict=True)] == ["KA7351", "B52"]


@contextmanager
def busy(served: Serving) -> Iterator[threading.Semaphore]:
    """While entered, plates are not read: they wait, some of them with the model, as many as it executes at once.

    The semaphore is released for each that comes meanwhile, once it waits.
    """
    begun, comes, may_end = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    with served.engine._plate_lines.lent() as recogniser:
        lanes = recogniser._model._runtime.foreground()
    execute = type(lanes[0]).__call__

    def hold(self: Any, batch: NDArray[Any]) -> Any:
        begun.release()
        assert may_end.wait(PATIENCE_S)
        return execute(self, batch)

    submit = Batcher.submit

    def submitted(self: Any, *args: Any, **how: Any) -> Any:
        reply = submit(self, *args, **how)
        comes.release()
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(lanes[0]), "__call__", hold)
        first = []
        for _ in lanes:
            first += served.engine.read_plate_lines([LINE[0]])
            assert begun.acquire(timeout=PATIENCE_S)
        patch.setattr(Batcher, "submit", submitted)
        try:
            yield comes
        finally:
            may_end.set()
        for reply in first:
            reply.result(PATIENCE_S)


def sample(metric: Any) -> float:
    """The value of one counter or gauge."""
    return float(next(iter(metric.collect())).samples[0].value)


def test_items_of_many_clients_share_batches_and_answers_stay_as_they_were_alone(served: Serving, kind: Any) -> None:
    rng = np.random.default_rng(3)
    lines = [rng.integers(0, 256, (1, 48, 320, 3), np.uint8) for _ in range(16)]
    executions = served.metrics.batch_executions.labels("plate-recognition")

    def infer(line: Pixels) -> tuple[bytes, bytes]:
        with served.client(kind) as client:
            answer = client.infer("plate-recognition", [asked(kind, line)])
            return answer.as_numpy("ids").tobytes(), answer.as_numpy("scores").tobytes()

    alone = [infer(line) for line in lines]
    with ThreadPoolExecutor(len(lines)) as pool:
        with busy(served) as comes:
            before = sample(executions)
            answers = [pool.submit(infer, line) for line in lines]
            for _ in lines:
                assert comes.acquire(timeout=PATIENCE_S)
        assert [answer.result(PATIENCE_S) for answer in answers] == alone
    assert sample(executions) - before <= 3, "two of eight each, and the one that kept it busy if it began late"


def test_what_a_caller_who_left_had_waiting_is_dropped(served: Serving) -> None:
    items = served.metrics.batch_items.labels("plate-recognition")
    address = f"http://{served.http}/v2/models/plate-recognition/infer"
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [3, 48, 32, 3], "data": [0] * 3 * 4608}
    with served.client(grpcclient) as client, busy(served) as comes:
        before = sample(items)
        call = client.async_infer("plate-recognition", [asked(grpcclient, LINE)], callback=lambda *_, **__: None)
        assert comes.acquire(timeout=PATIENCE_S)
        call.cancel()
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(address, json={"inputs": [tensor]}, timeout=1)
        for contract in ("kserve", "kserve-grpc"):
            left = served.metrics.requests.labels(contract, "499")
            deadline = time.monotonic() + PATIENCE_S
            while not sample(left):
                assert time.monotonic() < deadline
                time.sleep(0.005)
    assert sample(items) == before


def test_json_and_binary_tensors_say_the_same_in_and_out(served: Serving) -> None:
    line = fit_line(written("KA7351"))[None]
    with served.client(httpclient) as client:
        answers = [
            client.infer(
                "plate-recognition",
                [asked(httpclient, line, binary_data=binary_in)],
                outputs=[httpclient.InferRequestedOutput("scores", binary_data=binary_out)],
            )
            for binary_in in (True, False)
            for binary_out in (True, False)
        ]
    assert all(answer.as_numpy("ids") is None for answer in answers), "only what was asked for comes"
    for answer in answers:
        np.testing.assert_array_equal(answer.as_numpy("scores"), answers[0].as_numpy("scores"))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_requests_are_read(served: Serving, coding: str) -> None:
    line = fit_line(written("KA7351"))[None]
    with served.client(httpclient) as client:
        plain = client.infer("plate-recognition", [asked(httpclient, line)])
        packed = client.infer("plate-recognition", [asked(httpclient, line)], request_compression_algorithm=coding)
    np.testing.assert_array_equal(packed.as_numpy("scores"), plain.as_numpy("scores"))


def test_outputs_come_in_the_order_asked_for(client: Any, kind: Any) -> None:
    line = fit_line(written("KA7351"))[None]
    wanted = [kind.InferRequestedOutput(name) for name in ("scores", "ids")]
    response = client.infer("plate-recognition", [asked(kind, line)], outputs=wanted).get_response()
    outputs = response["outputs"] if kind is httpclient else response.outputs
    names = [output["name"] if kind is httpclient else output.name for output in outputs]
    assert names == ["scores", "ids"]


@pytest.mark.parametrize(
    ("model", "version", "pixels", "code", "words"),
    [
        ("palm-reading", "", LINE, ("404", "NOT_FOUND"), "no model 'palm-reading'.*text-detection"),
        ("plate-recognition", "7", LINE, ("404", "NOT_FOUND"), "of version 7"),
        (
            "plate-recognition",
            "",
            LINE[:, :32],
            ("400", "INVALID_ARGUMENT"),
            r"\[-1, 48, -1, 3\], got \[1, 32, 320, 3\]",
        ),
        ("plate-recognition", "", LINE[..., :1], ("400", "INVALID_ARGUMENT"), r"got \[1, 48, 320, 1\]"),
        ("plate-recognition", "", LINE[0], ("400", "INVALID_ARGUMENT"), r"got \[48, 320, 3\]"),
        ("plate-recognition", "", LINE[:, :, :33], ("400", "INVALID_ARGUMENT"), "multiple of 32"),
        ("text-detection", "", LINE, ("400", "INVALID_ARGUMENT"), "multiples of 32"),
        ("text-detection", "", np.zeros((300, 32, 32, 3), np.uint8), ("413", "INVALID_ARGUMENT"), "more than 256"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    client: Any, kind: Any, model: str, version: str, pixels: Pixels, code: tuple[str, str], words: str
) -> None:
    with pytest.raises(InferenceServerException, match=words) as refused:
        client.infer(model, [asked(kind, np.ascontiguousarray(pixels))], model_version=version)
    assert refused.value.status() == (code[0] if kind is httpclient else f"StatusCode.{code[1]}")


def test_unknown_inputs_outputs_and_types_are_named(client: Any, kind: Any) -> None:
    image = kind.InferInput("image", [1, 48, 320, 3], "UINT8")
    image.set_data_from_numpy(LINE)
    floats = kind.InferInput("pixels", [1, 48, 320, 3], "FP32")
    floats.set_data_from_numpy(LINE.astype(np.float32))
    for tensors, words in (
        ([image], "input 'image' is UINT8; plate-recognition takes 'pixels' as UINT8"),
        ([floats], "input 'pixels' is FP32"),
        ([asked(kind, LINE), image], "2 inputs"),
    ):
        with pytest.raises(InferenceServerException, match=words):
            client.infer("plate-recognition", tensors)
    with pytest.raises(InferenceServerException, match="has no output text; it has ids, scores"):
        client.infer("plate-recognition", [asked(kind, LINE)], outputs=[kind.InferRequestedOutput("text")])
    with pytest.raises(InferenceServerException, match="classification cannot be had"):
        client.infer(
            "plate-recognition", [asked(kind, LINE)], outputs=[kind.InferRequestedOutput("ids", class_count=3)]
        )


def test_a_request_that_waited_past_its_own_timeout_is_given_up(served: Serving, kind: Any) -> None:
    def infer() -> None:
        with served.client(kind) as client:
            client.infer("plate-recognition", [asked(kind, LINE)], timeout=1000)

    with ThreadPoolExecutor(1) as pool:
        with busy(served) as comes:
            answer = pool.submit(infer)
            assert comes.acquire(timeout=PATIENCE_S)
            time.sleep(0.002)  # its whole timeout
        with pytest.raises(InferenceServerException, match="past its deadline") as refused:
            answer.result(PATIENCE_S)
    assert refused.value.status() == ("504" if kind is httpclient else "StatusCode.DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{", {}, 400, "not JSON"),
        (b"[1]", {}, 400, "not a JSON object"),
        (b"[" * 100_000, {}, 400, "not JSON"),
        (b"{}", {}, 400, "'inputs' is null"),
        (b'{"inputs": [1]}', {}, 400, "object with 'name'"),
        (b'{"inputs": []}', {}, 400, "0 inputs"),
        (b'{"inputs": [{}], "parameters": 3}', {}, 400, "'parameters' is 3"),
        (b"{}", {"Inference-Header-Content-Length": "99"}, 400, "the body has 2 bytes"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, 400, "Inference-Header-Content-Length"),
        (b"{}", {"Inference-Header-Content-Length": "9" * 5000}, 400, "the body has 2 bytes"),
        (b"{}", {"Content-Encoding": "br"}, 415, "br"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "not gzip"),
        (gzip.compress(b"{}", mtime=0)[:-4], {"Content-Encoding": "gzip"}, 400, "cut short"),
        (gzip.compress(bytes(LIMIT + 1), mtime=0), {"Content-Encoding": "gzip"}, 413, "unpacks to more"),
        (bytes(LIMIT + 1), {}, 413, "larger than"),
    ],
)
def test_bodies_that_make_no_sense_are_refused_in_the_protocols_form(
    served: Serving, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    reply = httpx.post(f"http://{served.http}/v2/models/plate-recognition/infer", content=body, headers=headers)
    assert reply.status_code == status
    assert list(reply.json()) == ["error"]
    assert words in reply.json()["error"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [1, 48, 32.0, 3]}, "whole numbers"),
        ({"shape": [1, 48, True, 3]}, "whole numbers"),
        ({"shape": [1, 48, -32, 3]}, "got"),
        ({"shape": [10**30, 48, 32, 3]}, "more than"),
        ({"data": [[1, 2], [3]]}, "no tensor"),
        ({"data": [256] * 4608}, "from 0 to 255"),
        ({"data": [0.5] * 4608}, "from 0 to 255"),
        ({"data": [True] * 4608}, "from 0 to 255"),
        ({"data": ["a"] * 4608}, "from 0 to 255"),
        ({"data": []}, "from 0 to 255"),
        ({"data": [1, 2, 3]}, "has 3 values"),
        ({"parameters": {"binary_data_size": 4608}}, "0 follow the request"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared_memory_region"),
    ],
)
def test_tensors_that_make_no_sense_are_refused(served: Serving, changes: dict[str, Any], words: str) -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 48, 32, 3], "data": [0] * 4608}
    reply = httpx.post(
        f"http://{served.http}/v2/models/plate-recognition/infer", json={"inputs": [{**tensor, **changes}]}
    )
    assert reply.status_code in (400, 413)
    assert words in reply.json()["error"]


def test_a_time_beyond_all_numbers_is_as_long_as_the_service_waits(served: Serving) -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 48, 32, 3], "data": [0] * 4608}
    asked = {"inputs": [tensor], "parameters": {"timeout": 10**400}}
    reply = httpx.post(f"http://{served.http}/v2/models/plate-recognition/infer", json=asked)
    assert reply.status_code == 200


@pytest.mark.parametrize("name", ["scores\ud800", "\ud800"])
def test_names_that_no_text_can_hold_are_refused_as_others_are(served: Serving, name: str) -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 48, 32, 3], "data": [0] * 4608}
    asked = json.dumps({"inputs": [tensor], "outputs": [{"name": name}]})
    reply = httpx.post(f"http://{served.http}/v2/models/plate-recognition/infer", content=asked)
    assert reply.status_code == 400
    assert "\\ud800" in reply.json()["error"]


@pytest.mark.parametrize("data", [np.zeros(4608, int).tolist(), np.zeros((1, 48, 32, 3), int).tolist()])
def test_numbers_may_come_flat_or_nested(served: Serving, data: list[Any]) -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 48, 32, 3], "data": data}
    reply = httpx.post(f"http://{served.http}/v2/models/plate-recognition/infer", json={"inputs": [tensor]})
    assert reply.status_code == 200
    outputs = {output["name"]: output for output in reply.json()["outputs"]}
    assert outputs["ids"]["shape"] == [1, 4, 5]
    assert len(outputs["ids"]["data"]) == 20


def test_a_place_where_nothing_is_answers_in_the_protocols_form(served: Serving) -> None:
    reply = httpx.get(f"http://{served.http}/v2/repository/index")
    assert (reply.status_code, reply.json()) == (404, {"error": "nothing at /v2/repository/index"})


def test_with_keys_set_only_their_owners_may_infer(tmp_path: Path) -> None:
    digest = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"  # of "password"
    settings = ServiceSettings(keys=(ApiKey(name="gate", sha256=digest),))
    for served in serving(tmp_path, settings):
        for kind, code in ((httpclient, "401"), (grpcclient, "StatusCode.UNAUTHENTICATED")):
            with served.client(kind) as client:
                for name, *arguments in (
                    ("infer", "plate-recognition", [asked(kind, LINE)]),
                    ("get_model_metadata", "plate-recognition"),
                    ("get_server_metadata",),
                ):
                    with pytest.raises(InferenceServerException, match="API key is needed") as refused:
                        getattr(client, str(name))(*arguments)
                    assert refused.value.status() == code
                key = {"authorization": "Bearer password"}
                assert client.infer("plate-recognition", [asked(kind, LINE)], headers=key).as_numpy("ids").shape == (
                    1,
                    40,
                    5,
                )


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:127.0.0.1:53210", "127.0.0.1"), ("ipv6:%5B::1%5D:53210", "::1"), ("ipv6:[2001:db8::7]:80", "2001:db8::7")],
)
def test_the_address_of_a_caller_over_grpc_is_known(peer: str, host: str) -> None:
    assert _host_of(peer) == host


def test_inferences_are_counted_by_face_and_status(served: Serving, client: Any, kind: Any) -> None:
    contract = "kserve" if kind is httpclient else "kserve-grpc"

    def counts() -> list[float]:
        return [sample(served.metrics.requests.labels(contract, status)) for status in ("200", "404")]

    before = counts()
    client.infer("plate-recognition", [asked(kind, LINE)])
    with pytest.raises(InferenceServerException):
        client.infer("nothing", [asked(kind, LINE)])
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 1]


def test_every_message_has_the_fields_that_other_peoples_clients_have() -> None:
    from tritonclient.grpc import model_config_pb2, service_pb2

    theirs = {**service_pb2.DESCRIPTOR.message_types_by_name, **model_config_pb2.DESCRIPTOR.message_types_by_name}

    def fields(descriptor: Any) -> dict[str, Any]:
        return {
            field.name: (
                field.number,
                field.is_repeated,
                # An enumeration travels as a number.
                field.TYPE_INT32 if field.type == field.TYPE_ENUM else field.type,
                field.containing_oneof.name if field.containing_oneof else None,
                fields(field.message_type) if field.message_type else None,
            )
            for field in descriptor.fields
        }

    def agrees(ours: dict[str, Any], known: dict[str, Any]) -> None:
        for name, (*described, inner) in ours.items():
            *expected, inside = known[name]
            assert described == expected, name
            if inner:
                agrees(inner, inside)

    for method in METHODS:
        for name in (f"{method}Request", f"{method}Response"):
            agrees(fields(message(name).DESCRIPTOR), fields(theirs[name]))
    assert service_pb2.DESCRIPTOR.services_by_name[SERVICE.rpartition(".")[2]].full_name == SERVICE


def test_the_example_of_the_documentation_reads_a_plate(
    served: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    cv2.imwrite(str(tmp_path / "plate.jpg"), written("KA7351"))
    example = example.replace("127.0.0.1:8001", served.grpc).replace("plate.jpg", str(tmp_path / "plate.jpg"))
    exec(compile(example, "docs/scale.md", "exec"), {})
    assert capsys.readouterr().out == "KA7351\n"


def test_the_answer_of_a_plain_request_is_plain_json(served: Serving) -> None:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 48, 32, 3], "data": [0] * 4608}
    reply = httpx.post(
        f"http://{served.http}/v2/models/plate-recognition/versions/1/infer",
        content=json.dumps({"id": "a", "inputs": [tensor], "outputs": [{"name": "scores"}]}),
    )
    assert reply.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in reply.headers
    answer = reply.json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a", "plate-recognition", "1")
    assert [output["datatype"] for output in answer["outputs"]] == ["FP32"]


@pytest.mark.parametrize("priority", [0, 1, 2, 3, 9])
def test_no_priority_that_a_client_can_ask_for_goes_before_cameras(priority: int) -> None:
    model = ServedModel("text-detection", lambda *_, **__: [], lambda _: [])
    asked = model.request(np.zeros((1, 32, 32, 3), np.uint8), [], {"priority": priority}, longest_s=1.0)
    assert asked.priority > Priority.VIDEO
