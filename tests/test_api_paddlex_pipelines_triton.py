import base64
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")

from platoon.api.paddlex.pipelines.triton import TritonPipeline  # noqa: E402
from platoon.ocr.vision_model import VisionModel  # noqa: E402
from platoon.settings import GatewaySettings  # noqa: E402
from tests.fake_triton import FakeTriton, fake_triton  # noqa: E402
from tests.fake_vlm import fake_vlm, said  # noqa: E402
from tests.running import free_ports  # noqa: E402
from tests.serving import serving  # noqa: E402
from tests.test_api_paddlex_layout_parsing import NoEngine, ask, file, refused, restructure, result  # noqa: E402

PAGE = {"prunedResult": {"parsing_res_list": []}, "markdown": {"text": "hello"}}


def answer(model: str, request: dict[str, Any]) -> Any:
    del request
    found: dict[str, Any] = {"layoutParsingResults": [PAGE]}
    if model == "layout-parsing":
        found["dataInfo"] = {"width": 1, "height": 2, "type": "image"}
    return {"logId": "theirs", "errorCode": 0, "errorMsg": "Success", "result": found}


@contextmanager
def gateway(url: str, **settings: Any) -> Iterator[httpx.Client]:
    how = GatewaySettings(triton_url=url, **settings)
    with serving(NoEngine(), pipeline=lambda _service, _settings: TritonPipeline(how), gateway=how) as client:
        yield client


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeTriton]:
    with fake_triton(answer) as fake:
        yield fake


@pytest.fixture
def client(fake: FakeTriton) -> Iterator[httpx.Client]:
    with gateway(fake.url) as client:
        fake.asked.clear()
        fake.raw.clear()
        fake.answer = answer
        yield client


def test_a_request_goes_on_as_compact_json_with_what_the_caller_set(client: httpx.Client, fake: FakeTriton) -> None:
    found = result(client, "PDF1", useChartRecognition=True, promptLabel="ocr", temperature=0, visualize=None)
    assert found["dataInfo"] == {"width": 1, "height": 2, "type": "image"}
    assert found["layoutParsingResults"] == [{**PAGE, "markdown": {"text": "hello", "images": {}}}]
    ((model, request),) = fake.asked
    assert model == "layout-parsing"
    asked = {"useChartRecognition": True, "promptLabel": "ocr", "temperature": 0.0}
    assert request == {**asked, "file": file("PDF1"), "fileType": 1}
    assert fake.raw == [json.dumps(request, separators=(",", ":")).encode()]


def test_the_kind_of_file_is_sent_to_a_server_that_does_not_look(client: httpx.Client, fake: FakeTriton) -> None:
    result(client, "%PDF-1.7")
    assert fake.asked[0][1]["fileType"] == 0
    assert base64.b64decode(fake.asked[0][1]["file"]) == b"%PDF-1.7"


def test_log_ids_are_the_callers(client: httpx.Client, fake: FakeTriton) -> None:
    assert ask(client, logId="order-7").json()["logId"] == "order-7"
    assert fake.asked[0][1]["logId"] == "order-7"


def test_pages_are_put_together_there(client: httpx.Client, fake: FakeTriton) -> None:
    block = {"block_label": "text", "block_content": "a", "block_bbox": [1, 2, 3, 4], "more": None}
    page = {"prunedResult": {"parsing_res_list": [block], "other": 1}}
    found = restructure(client, [page], concatenatePages=True)
    assert found == [{**PAGE, "markdown": {"text": "hello", "images": {}}}]
    assert fake.asked == [("restructure-pages", {"pages": [page], "concatenatePages": True})]


@pytest.mark.parametrize(
    ("said", "status", "message"),
    [
        ({"logId": "x", "errorCode": 422, "errorMsg": "no such file type"}, 422, "no such file type"),
        ({"logId": "x", "errorCode": 500, "errorMsg": "CUDA"}, 500, "Internal server error"),
        ({"logId": "x", "errorCode": 1, "errorMsg": "odd"}, 500, "Internal server error"),
        (b"no json", 500, "Internal server error"),
        ({"errorCode": 0}, 500, "Internal server error"),
        ({"errorCode": 0, "result": []}, 500, "Internal server error"),
        (grpc.StatusCode.INTERNAL, 500, "Internal server error"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, "Gateway timeout"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "is busy"),
    ],
    ids=str,
)
def test_errors_from_behind_become_the_status(
    client: httpx.Client, fake: FakeTriton, said: Any, status: int, message: str
) -> None:
    fake.answer = lambda *_: said
    assert message in refused(ask(client, "PDF1"), status)


def test_a_slow_server_is_given_up_and_a_caller_who_leaves_takes_back_what_he_asked() -> None:
    with fake_triton(answer) as fake:
        fake.slow = threading.Event()
        with gateway(fake.url, timeout_s=1, max_inference_requests=1, health_timeout_s=0.3) as client:
            assert refused(ask(client, "PDF1"), 504) == "Gateway timeout"
            assert fake.cancelled.acquire(timeout=30)
            reason = client.get("/health/ready").json()["errorMsg"]
            assert "no answer from Triton" in reason
            assert "within 0.3 s" in reason
        with gateway(fake.url, max_inference_requests=1) as client:
            body = json.dumps({"file": file("PDF9")}).encode()
            with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as gone:
                gone.sendall(
                    f"POST /layout-parsing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                )
                gone.sendall(body)
                while len(fake.asked) < 2:
                    threading.Event().wait(0.01)
            assert fake.cancelled.acquire(timeout=30)
            fake.slow.set()
            assert ask(client, "PDF1").status_code == 200


def test_a_server_that_is_back_within_seconds_was_never_missed() -> None:
    (port,) = free_ports(1)
    with gateway(f"127.0.0.1:{port}") as client:
        assert "cannot be reached" in client.get("/health/ready").json()["errorMsg"]
        replies: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: replies.append(ask(client, "PDF1")))
        asking.start()
        with fake_triton(answer, port=port):
            asking.join(30)
            assert [reply.status_code for reply in replies] == [200]


def test_a_server_that_stays_away_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platoon.api.paddlex.pipelines.triton._RECONNECT_S", 0.2)
    (port,) = free_ports(1)
    with gateway(f"127.0.0.1:{port}") as client:
        reply = ask(client, "PDF1")
        assert "cannot be reached" in refused(reply, 503)
        assert "Retry-After" in reply.headers


def test_it_is_ready_when_both_models_and_the_server_behind_them_are(fake: FakeTriton) -> None:
    with fake_vlm(lambda *_: said("")) as vlm:
        how = GatewaySettings(triton_url=fake.url, vlm_url=vlm.url)
        pipeline = TritonPipeline(how, VisionModel(how))
        try:
            assert pipeline.not_ready() == []
            fake.models.remove("restructure-pages")
            vlm.models = []
            assert pipeline.not_ready() == [
                f"model restructure-pages: not ready on Triton at {fake.url}",
                "VLM server: it has no model at all",
            ]
        finally:
            fake.models.add("restructure-pages")
            pipeline.close()
