"""Every route, socket and port without a key, with one that may do less, and with one that may."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from platoon.api.access import Access
from platoon.api.app import create_app
from platoon.api.browser import SECURITY_HEADERS, Hosts
from platoon.api.camera_port import create_camera_app
from platoon.api.guard import Doors
from platoon.api.kserve.messages import METHODS, SERVICE
from platoon.api.kserve.models import ServedModels
from platoon.api.kserve.rpc import NEEDS, GrpcServer
from platoon.api.serve import HttpServer
from platoon.documents.job_service import JobService
from platoon.errors import InvalidSettings
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, ServiceSettings, Settings, StoreSettings
from tests.fake_site import FakeSite, camera, event
from tests.job_service import opened
from tests.keys import key, shown
from tests.running import free_ports

KEYS = tuple(key(f"{name}-secret", scopes=(name,)) for name in ("read", "operate", "infer", "admin"))
OPEN = {"POST /api/session", "GET /static/{path:path}"}
"""The declared exceptions: where a key is shown, and the files of the pages, which hold no data."""
SIGNED = {"GET /api/v2/ocr/jobs/{job_id}/result.jsonl"}


@dataclass
class Whole:
    """Everything that can be served, running."""

    app: FastAPI
    main: str
    camera: str
    metrics: Metrics


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    (port,) = free_ports(1)
    site = FakeSite(folder, camera("gate", port=port))
    site.record(event("e1"))
    settings = Settings(
        api=ApiSettings(port=0), service=ServiceSettings(keys=KEYS), store=StoreSettings(path=folder / "store")
    )
    engine: Any = Mock()
    pipeline: Any = Mock(cannot={}, cannot_restructure={}, not_ready=list)
    with ExitStack() as stack:
        service = OcrService(engine, settings.service, Metrics())
        stack.callback(service.close)
        job_service = JobService(stack.enter_context(closing(opened(folder))), lambda _: None, settings)
        parts: dict[str, Any] = {"service": service, "job_service": job_service, "pipeline": pipeline}
        http_server = stack.enter_context(HttpServer(site, settings, **parts))
        app = create_app(site, settings, **parts)
        yield Whole(app, http_server.address, f"http://127.0.0.1:{port}", site.metrics)


def walked(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """(method, path) of all routes, `WS` for sockets."""
    for found in iter_route_contexts(routes):
        if isinstance(found.original_route, WebSocketRoute):
            yield "WS", str(found.path)
        elif isinstance(found.original_route, Mount):
            yield "GET", f"{found.path}/{{path:path}}"
        else:
            for method in (found.methods or set()) - {"HEAD"}:
                yield method, str(found.path)


def somewhere(path: str) -> str:
    """An address of a route."""
    names = {"camera": "gate", "event": "e1", "number": "1", "form": "md", "path:path": "main.js", "rest:path": "x"}
    for part in path.split("{")[1:]:
        name = part.partition("}")[0]
        path = path.replace(f"{{{name}}}", names.get(name, "text-detection"))
    return path


def socket_status(address: str, headers: dict[str, str]) -> int:
    try:
        with connect(address.replace("http", "ws", 1), additional_headers=headers, proxy=None, open_timeout=30):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


def asked(base: str, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    if method == "WS":
        return socket_status(base + path, headers or {})
    return httpx.request(method, base + path, headers=headers, timeout=60, trust_env=False).status_code


def test_without_a_key_nothing_is_open_but_what_is_declared(whole: Whole) -> None:
    routes = set(walked(whole.app.routes))
    assert len(routes) > 45, "the walk finds the routes"
    assert {("GET", "/api/events/{event}/crop.jpg"), ("WS", "/api/ws"), ("GET", "/metrics"), ("GET", "/")} <= routes
    answers = {f"{method} {path}": asked(whole.main, method, somewhere(path)) for method, path in routes}
    refused = {route for route, status in answers.items() if status == 401}
    assert answers.keys() - refused == OPEN | SIGNED
    assert {answers[route] for route in SIGNED} == {403}
    assert answers["GET /static/{path:path}"] == 200
    assert answers["POST /api/session"] == 422, "no key was shown"


def test_a_cameras_own_port_asks_for_a_key_too(whole: Whole) -> None:
    for method, path in (("POST", "/manual-ocr"), ("WS", "/ws"), ("GET", "/manual-ocr"), ("GET", "/"), ("GET", "/x")):
        assert asked(whole.camera, method, path) == 401
    assert asked(whole.camera, "WS", "/ws", shown("read-secret")) == 101
    assert asked(whole.camera, "POST", "/manual-ocr", shown("read-secret")) == 403
    assert asked(whole.camera, "POST", "/manual-ocr", shown("operate-secret")) == 200


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND"])
def test_no_method_opens_a_route(whole: Whole, method: str) -> None:
    for path in ("/", "/metrics", "/api/events", "/api/events/e1/crop.jpg", "/manual-ocr", "/ocr", "/openapi.json"):
        assert asked(whole.main, method, path) == 401


@pytest.mark.parametrize(
    "path",
    [
        "/api/events/",
        "//api/events",
        "/API/EVENTS",
        "/%61pi/events",
        "/api%2Fevents",
        "/static/../api/events",
        "/static/%2e%2e/api/events",
        "/static",
        "/api/events?x=/static/main.js",
        "/api/events;/static/main.js",
        "/metrics/",
        "/metrics%00",
        "/no/such/place",
    ],
)
def test_no_spelling_of_a_path_opens_it(whole: Whole, path: str) -> None:
    port = int(whole.main.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    assert int(answer.split()[1]) in (401, 404), answer[:200]
    assert b"LS15" not in answer
    assert b"platoon_" not in answer


MAY = {
    ("GET", "/api/events"): {"read", "operate"},
    ("GET", "/api/cameras/gate/preview.jpg"): {"read", "operate"},
    ("WS", "/api/ws"): {"read", "operate"},
    ("GET", "/metrics"): {"read", "operate"},
    ("GET", "/"): {"read", "operate"},
    ("POST", "/manual-ocr?camera=gate"): {"operate"},
    ("POST", "/api/cameras/gate/wake"): {"operate"},
    ("GET", "/documents"): {"infer"},
    ("GET", "/api/documents?batch=0123456789abcdef"): {"infer"},
    ("GET", "/health"): {"read", "operate", "infer"},
    ("GET", "/v2/health/live"): {"read", "operate", "infer"},
    ("GET", "/openapi.json"): {"read", "operate", "infer"},
    ("GET", "/docs"): {"read", "operate", "infer"},
}


@pytest.mark.parametrize(("method", "path"), MAY)
def test_a_key_may_do_what_its_scopes_say_and_is_answered_what_it_lacks(whole: Whole, method: str, path: str) -> None:
    may = MAY[method, path] | {"admin"}
    for scope in ("read", "operate", "infer", "admin"):
        status = asked(whole.main, method, path, shown(f"{scope}-secret"))
        assert status == ((101 if method == "WS" else 200) if scope in may else 403), scope


def test_a_missing_scope_is_named_and_counted(whole: Whole) -> None:
    def forbidden() -> float:
        return whole.metrics.registry.get_sample_value("platoon_calls_refused_total", {"cause": "Forbidden"}) or 0

    before = forbidden()
    reply = httpx.post(f"{whole.main}/api/cameras/gate/manual-ocr", headers=shown("read-secret"), trust_env=False)
    assert reply.json()["error"]["message"].startswith("this needs a key with the scope 'operate'; 'read' has read")
    assert forbidden() == before + 1


def test_each_contract_is_refused_in_its_own_form(whole: Whole) -> None:
    def refused(path: str, **call: Any) -> Any:
        return httpx.post(whole.main + path, trust_env=False, **call).json()

    assert refused("/v2/models/text-detection/infer", json={}) == {"error": refused("/v2", json={})["error"]}
    assert refused("/layout-parsing", json={})["errorCode"] == 401
    assert refused("/api/v2/ocr/jobs", json={})["code"] == 401
    assert refused("/api/v1/ocr/process", files={"file": b"1"})["error"]["code"] == "Unauthorised"
    assert "API key" in httpx.get(whole.main, headers={"Accept": "text/html"}, trust_env=False).text


def test_a_setting_opens_health_or_metrics_and_nothing_else(tmp_path: Path) -> None:
    settings = Settings(
        api=ApiSettings(port=0, open_paths=("/health",)),
        service=ServiceSettings(keys=KEYS),
        store=StoreSettings(path=tmp_path / "store"),
    )
    with HttpServer(FakeSite(tmp_path), settings) as http_server:
        found = {
            path: asked(http_server.address, "GET", path)
            for path in ("/health", "/health/ready", "/metrics", "/api/ws")
        }
    assert found == {"/health": 200, "/health/ready": 200, "/metrics": 401, "/api/ws": 401}
    with pytest.raises(ValueError, match="open_paths"):
        ApiSettings(open_paths=("/api/events",))  # type: ignore[arg-type]


def test_an_application_with_a_route_that_says_nothing_cannot_be_built() -> None:
    app = FastAPI(openapi_url=None)
    doors = Doors(app)
    doors.add(APIRouter(routes=[Route("/said", PlainTextResponse("said"))]), "key")
    doors.check()
    app.add_route("/forgotten", lambda _: PlainTextResponse("secret"))
    with pytest.raises(ValueError, match="/forgotten"):
        doors.check()


def test_a_route_that_is_added_behind_the_guards_back_lets_nobody_in(tmp_path: Path) -> None:
    site = FakeSite(tmp_path)
    settings = Settings(service=ServiceSettings(open=True))
    apps = [
        create_app(site, settings),
        create_camera_app(site, "gate", access=Access(settings.service), hosts=Hosts(settings.api, settings.service)),
    ]
    for app in apps:
        app.router.routes.append(Route("/behind", lambda _: PlainTextResponse("secret")))
        assert asgi(app, "/behind") == (500, "PlatoonError")


def asgi(app: Any, path: str) -> tuple[int, str]:
    async def ask() -> tuple[int, str]:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            reply = await client.get(path)
            return reply.status_code, reply.json()["error"]["code"]

    return asyncio.run(ask())


def test_the_methods_over_grpc_ask_for_a_key_before_they_read(tmp_path: Path) -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    assert NEEDS.keys() == set(METHODS)
    engine: Any = Mock()
    settings, metrics = ServiceSettings(keys=KEYS), Metrics()
    models = ServedModels(engine, not_ready=list)
    with (
        GrpcServer(models, settings, metrics, host="127.0.0.1", port=0) as face,
        grpc.insecure_channel(f"127.0.0.1:{face.port}") as channel,
    ):

        def code(name: str, *metadata: tuple[str, str]) -> str:
            # No message of the protocol: whoever read it before the key would say so.
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/{SERVICE}/{name}")(b"\xff", metadata=metadata, timeout=60)
            return str(refused.value.code().name)

        for name in METHODS:
            assert code(name) == code(name, ("authorization", "Bearer wrong")) == "UNAUTHENTICATED"
            assert (code(name, ("x-api-key", "read-secret")) == "PERMISSION_DENIED") is (NEEDS[name] == "infer")
        live = channel.unary_unary(f"/{SERVICE}/ServerLive")
        assert live(b"", metadata=(("x-api-key", "read-secret"),), timeout=60)
        unknown = channel.unary_unary(f"/{SERVICE}/RepositoryIndex")
        with pytest.raises(grpc.RpcError) as nothing:
            unknown(b"", timeout=60)
        assert nothing.value.code().name == "UNIMPLEMENTED"


def test_the_rate_of_a_key_holds_for_all_doors_together(tmp_path: Path) -> None:
    settings = Settings(
        api=ApiSettings(port=0),
        service=ServiceSettings(keys=(key("slow-secret", scopes=("admin",), rate=0.001, burst=3),)),
    )
    (port,) = free_ports(1)
    with HttpServer(FakeSite(tmp_path, camera("gate", port=port)), settings) as http_server:
        slow = shown("slow-secret")
        assert asked(http_server.address, "GET", "/api/events", slow) == 200
        assert asked(http_server.address, "WS", "/api/ws", slow) == 101
        assert asked(f"http://127.0.0.1:{port}", "POST", "/manual-ocr", slow) == 200
        for base, method, path in ((http_server.address, "GET", "/metrics"), (f"http://127.0.0.1:{port}", "WS", "/ws")):
            assert asked(base, method, path, slow) == 429


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_face_listens_to_others_where_nothing_keeps_strangers_out(tmp_path: Path, host: str) -> None:
    settings = Settings(api=ApiSettings(host=host, port=0))
    models: Any = Mock()
    with pytest.raises(InvalidSettings, match=r"service\.keys.*service\.open = true"):
        HttpServer(FakeSite(tmp_path), settings)
    pytest.importorskip("grpc", reason="grpcio is not installed")
    with pytest.raises(InvalidSettings, match=r"service\.keys.*service\.open = true"):
        GrpcServer(models, settings.service, Metrics(), host=host, port=0)


def test_every_answer_has_the_headers_that_close_it(whole: Whole) -> None:
    admin = shown("admin-secret")
    site_errors = ("/api/cameras/no", "/api/events?limit=0", "/no")
    for base, path, headers in (
        *((whole.main, path, admin) for path in ("/", "/api/events", "/static/main.js", "/metrics", *site_errors)),
        (whole.main, "/api/events", {}),
        (whole.main, "/api/events", {"Host": "rebound.example"}),
        (whole.main, "/api/ws", {**admin, "Upgrade": "websocket"}),
        (whole.camera, "/manual-ocr", admin),
        (whole.camera, "/ws", {}),
    ):
        reply = httpx.get(base + path, headers=headers, trust_env=False, timeout=60)
        for name, value in SECURITY_HEADERS.items():
            assert reply.headers.get_list(name) == [value], (path, reply.status_code, name)
        assert reply.headers["cache-control"] == ("no-cache" if path == "/static/main.js" else "no-store"), path
        assert "server" not in reply.headers


def test_an_answer_that_no_application_gave_has_them_too(whole: Whole) -> None:
    for address in (whole.main, whole.camera):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
            wire.sendall(b"nonsense\r\n\r\n")
            head = wire.recv(65536).decode("latin-1").lower()
        assert head.startswith("http/1.1 400")
        for name in SECURITY_HEADERS:
            assert f"{name.lower()}: " in head


def test_a_refused_socket_has_them_too_and_is_no_error_in_the_log(
    whole: Whole, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(whole.main.replace("http", "ws", 1) + "/api/ws", proxy=None):
        pass
    assert refusal.value.response.status_code == 401
    for name, value in SECURITY_HEADERS.items():
        assert refusal.value.response.headers.get_all(name) == [value]
    assert json.loads(refusal.value.response.body or b"")["error"]["code"] == "Unauthorised"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
