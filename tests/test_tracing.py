import base64
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from platoon.api.kserve.models import ServedModels
from platoon.api.kserve.rpc import GrpcServer
from platoon.engine.batcher import Execution, Reply
from platoon.errors import DeadlineExceeded, MissingExtra
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.settings import ServiceSettings, Settings
from platoon.tracing import OpenTelemetry, Tracing, tracing_for
from tests.drawn import INVOICE, document, encoded, page
from tests.http_server import answering
from tests.serving import serving

PNG = encoded(page(*INVOICE))
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SCOPE = {"method": "POST", "path": "/ocr", "headers": [(b"traceparent", b"00-%s-%s-01" % (*map(str.encode, CALLER),))]}


class Exported:
    """The spans that a tracing has exported."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def spans(self, name: str = "") -> Sequence[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if name in ("", span.name)]

    def span(self, name: str) -> ReadableSpan:
        (only,) = self.spans(name)
        return only


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def exported(exporter: InMemorySpanExporter) -> Exported:
    return Exported(exporter)


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    with OpenTelemetry(SimpleSpanProcessor(exporter)) as tracing:
        yield tracing


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int:
    return int(span.parent.span_id) if span.parent else 0


def own(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def answered(*executions: Execution | None) -> list[Reply[str]]:
    """Replies of these executions; None: one that failed without."""
    replies = [Reply[str]() for _ in executions]
    for reply, execution in zip(replies, executions, strict=True):
        reply.execution = execution
    return replies


def test_a_request_records_what_it_waited_for_in_the_trace_of_its_caller(
    text_engine: TextEngine, tracing: Tracing, exported: Exported
) -> None:
    headers = {"traceparent": f"00-{'-'.join(CALLER)}-01", "X-Request-ID": "order-7"}
    with serving(text_engine, tracing=tracing) as client:
        reply = client.post("/ocr", files={"image": PNG}, headers=headers)
    assert reply.status_code == 200
    request = exported.span("POST /ocr")
    assert (trace(request), f"{parent(request):016x}") == CALLER
    assert facts(request) == {
        "http.request.method": "POST",
        "http.route": "/ocr",
        "url.path": "/ocr",
        "http.response.status_code": 200,
        "platoon.request_id": "order-7",
        "platoon.contract": "fleet",
        "platoon.caller": "",
        "platoon.bytes": int(reply.request.headers["content-length"]),
    }
    lines = len(reply.json()["lines"])
    assert {span.name: facts(span)["platoon.items"] for span in exported.spans() if parent(span) == own(request)} == {
        "decode": 1,
        "detect": 1,
        "recognise": lines,
    }
    for stage in (exported.span("detect"), exported.span("recognise")):
        inside = [span for span in exported.spans("execute") if parent(span) == own(stage)]
        assert sum(facts(span)["platoon.items"] for span in inside) == facts(stage)["platoon.items"]
        assert all(facts(span)["platoon.batch_size"] >= facts(span)["platoon.items"] for span in inside)
        assert facts(stage)["platoon.queue_wait_s"] >= 0
    assert {trace(span) for span in exported.spans()} == {CALLER[0]}


def test_requests_at_the_same_time_keep_their_stages_apart(
    text_engine: TextEngine, tracing: Tracing, exported: Exported
) -> None:
    def ask(number: int) -> int:
        headers = {"traceparent": f"00-{number:032x}-{number:016x}-01"}
        return client.post("/ocr", files={"image": PNG}, headers=headers).status_code

    with serving(text_engine, tracing=tracing) as client, ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(1, 13))) == {200}
    names = Counter((trace(span), span.name) for span in exported.spans() if span.name != "execute")
    stages = ("POST /ocr", "decode", "detect", "recognise")
    assert names == Counter({(f"{number:032x}", stage): 1 for number in range(1, 13) for stage in stages})


def test_each_portion_of_a_document_has_its_stages(
    text_engine: TextEngine, tracing: Tracing, exported: Exported
) -> None:
    pages = document([page(("Ink", 4, 26), size=(64, 32))] * 6)
    with serving(text_engine, tracing=tracing) as client:
        assert client.post("/ocr/batch", files={"images": pages}).status_code == 200
        assert not exported.spans("decode"), "none of its pictures could be read"
        assert client.post("/ocr", json={"file": base64.b64encode(pages).decode()}).status_code == 200
    assert [facts(span)["platoon.items"] for span in exported.spans("detect")] == [4, 2]


@pytest.mark.parametrize("picture", [b"none", PNG[:-600]], ids=["none", "cut short"])
def test_a_refused_request_is_recorded_with_its_status(
    text_engine: TextEngine, tracing: Tracing, exported: Exported, picture: bytes
) -> None:
    with serving(text_engine, tracing=tracing) as client:
        assert client.post("/ocr", files={"image": picture}).status_code == 422
    request = exported.span("POST /ocr")
    assert facts(request)["http.response.status_code"] == 422
    assert request.status.status_code is StatusCode.UNSET, "the caller's fault, as OpenTelemetry counts"
    assert not exported.spans("detect")


def test_a_failure_of_the_service_is_recorded_as_one(tracing: Tracing, exported: Exported) -> None:
    with tracing.request(SCOPE):
        tracing.answered(504, contract="fleet")
    with tracing.call("a/b", {}):
        tracing.returned("DEADLINE_EXCEEDED", failed=True)
    for name, kind in (("POST", "504"), ("a/b", "DEADLINE_EXCEEDED")):
        assert exported.span(name).status.status_code is StatusCode.ERROR
        assert facts(exported.span(name))["error.type"] == kind


def test_inferences_over_grpc_are_recorded_in_the_trace_of_their_caller(
    text_engine: TextEngine, tracing: Tracing, exported: Exported
) -> None:
    grpc = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
    line = grpc.InferInput("pixels", [1, 48, 320, 3], "UINT8")
    line.set_data_from_numpy(np.zeros((1, 48, 320, 3), np.uint8))
    models = ServedModels(text_engine, not_ready=list[str])
    with (
        GrpcServer(models, ServiceSettings(), Metrics(), tracing, host="127.0.0.1", port=0) as face,
        grpc.InferenceServerClient(f"127.0.0.1:{face.port}") as client,
    ):
        assert client.is_server_live()
        for model in ("plate-recognition", "nothing"):
            with suppress(grpc.InferenceServerException):
                client.infer(model, [line], headers={"traceparent": f"00-{'-'.join(CALLER)}-01"})
    good, refused = exported.spans("inference.GRPCInferenceService/ModelInfer")
    assert (trace(good), f"{parent(good):016x}") == CALLER
    bytes_of_good = facts(good).pop("platoon.bytes")
    assert bytes_of_good > 48 * 320 * 3
    assert facts(good) == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
        "platoon.contract": "kserve-grpc",
        "platoon.model": "plate-recognition",
        "platoon.bytes": bytes_of_good,
    }
    assert facts(refused)["rpc.response.status_code"] == "NOT_FOUND"
    assert refused.status.status_code is StatusCode.UNSET, "the caller's fault"
    assert len(exported.spans()) == 2, "nobody wants to hear of questions for health"


def test_a_caller_whose_trace_is_not_recorded_costs_nothing(tracing: Tracing, exported: Exported) -> None:
    unsampled = {**SCOPE, "headers": [(b"traceparent", b"00-%s-%s-00" % (*map(str.encode, CALLER),))]}
    with tracing.request(unsampled):
        assert type(tracing.work()) is type(Tracing().work())
    assert not exported.spans()


def test_lines_of_one_execution_are_recorded_once_and_what_is_left_is_waiting(
    tracing: Tracing, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = 10**18
    monkeypatch.setattr("platoon.tracing.time", SimpleNamespace(time_ns=lambda: now_ns))
    together, alone = Execution(8, 0.002), Execution(1, 0.001)
    replies = answered(together, together, alone)
    with tracing.request(SCOPE):
        work = tracing.work()
        work.follow("recognise", replies[:1])
        work.follow("recognise", replies[1:])
        now_ns += 30_000_000
        for reply in replies:
            reply.set_result("")
        work.record()
        work.record()
    stage = exported.span("recognise")
    assert (stage.start_time, stage.end_time) == (10**18, 10**18 + 30_000_000)
    assert facts(stage) == {"platoon.items": 3, "platoon.queue_wait_s": 0.029}
    first, second = exported.spans("execute")
    assert facts(first) == {"platoon.items": 2, "platoon.batch_size": 8}
    assert (first.start_time, first.end_time) == (10**18 + 28_000_000, 10**18 + 30_000_000)
    assert facts(second) == {"platoon.items": 1, "platoon.batch_size": 1}


def test_what_was_given_up_is_recorded_as_an_error(tracing: Tracing, exported: Exported) -> None:
    late, waiting, done = answered(None, None, Execution(1, 0.001))
    with tracing.request(SCOPE):
        work = tracing.work()
        work.follow("detect", [late, waiting, done])
        late.set_exception(DeadlineExceeded("too late"))
        done.set_result("")
        work.record()
    stage = exported.span("detect")
    assert stage.status.status_code is StatusCode.ERROR
    assert stage.status.description == "1 of 3 were executed"
    assert len(exported.spans("execute")) == 1


def test_traces_reach_the_collector_that_opentelemetrys_own_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    received: list[tuple[str, bytes]] = []
    with answering(Collector) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=yard")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with tracing_for(Settings(tracing=True)) as tracing, tracing.request(SCOPE):
            tracing.answered(200)
    ((path, body),) = received
    assert path == "/v1/traces"
    (sent,) = ExportTraceServiceRequest.FromString(body).resource_spans
    of_whom = {pair.key: pair.value.string_value for pair in sent.resource.attributes}
    assert of_whom["service.name"] == "platoon"
    assert of_whom["deployment.environment.name"] == "yard"
    assert [span.name for scope in sent.scope_spans for span in scope.spans] == ["POST"]


def test_without_its_packages_tracing_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtra, match=r"pip install 'platoon\[otel\]'"):
        tracing_for(Settings(tracing=True))


def test_off_it_imports_nothing_of_opentelemetry() -> None:
    # FastAPI imports its interface, not the SDK, by itself.
    code = """
import sys, fastapi
before = {name for name in sys.modules if name.startswith("opentelemetry")}
from platoon.api.app import create_app
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.service import OcrService
from platoon.settings import Settings
from platoon.tracing import tracing_for
settings, metrics = Settings(), Metrics()
engine = TextEngine(settings.engine, settings.cache, metrics)
service = OcrService(engine, settings.service, metrics, tracing_for(settings))
create_app(None, settings, service=service)
print(*{name for name in sys.modules if name.startswith("opentelemetry")} - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
