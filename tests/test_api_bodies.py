"""Bodies that nobody honest sends: too large for their route, or of few bytes and many objects."""

import asyncio
import gzip
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import Mock

import httpx
import pytest
from fastapi import FastAPI, Form
from pydantic import BaseModel, ConfigDict, ValidationError

from platoon.api import problems
from platoon.api.app import create_app
from platoon.api.bodies import SMALL_BODY_BYTES, BodyLimit, WaitingBytes
from platoon.api.json_body import MAX_FAULTS, check_json, faults_of
from platoon.api.paddlex.pipelines.own import OwnPipeline
from platoon.errors import InvalidInput, Overloaded
from platoon.metrics import Metrics
from platoon.ocr.service import OcrService
from platoon.settings import ServiceSettings, Settings
from tests.fake_site import FakeSite, camera
from tests.job_service import serving as job_serving
from tests.made_up_documents import MadeUpReader, parsing
from tests.scripted_reader import ScriptedReader
from tests.serving import serving

PATIENCE_S = 60
LONGEST_REPLY = 16_384
KEYS = 2_000_000
MODEL = "/v2/models/plate-recognition/infer"
JOBS = "/api/v2/ocr/jobs"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a site with cameras, jobs and the OCR service; nothing here is ever read."""
    folder = tmp_path_factory.mktemp("site")
    with job_serving(folder, ScriptedReader(), site=FakeSite(folder, camera("gate"))) as client:
        yield client


@pytest.fixture(scope="module")
def gateway() -> Iterator[httpx.Client]:
    def pipeline(service: OcrService, whole: Settings) -> OwnPipeline:
        return parsing(MadeUpReader(), service, whole)

    with serving(Mock(), pipeline=pipeline) as client:
        yield client


def unknown_keys(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % n for n in range(count)) + b"}"


def asked(app: FastAPI, method: str, path: str, **content: Any) -> httpx.Response:
    """An application's answer, without a server before it."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **content)

    return asyncio.run(ask())


async def chunks(*content: bytes) -> AsyncIterator[bytes]:
    for chunk in content:
        yield chunk


def in_time(call: Callable[[], httpx.Response]) -> httpx.Response:
    """Its answer, refused in few words; and none of it took so long that anybody waited for it."""
    before = time.process_time()
    try:
        reply = call()
    finally:
        assert time.process_time() - before < 4, "of both sides, so that other programs do not count: it took 34 s"
    assert 400 <= reply.status_code < 500, reply.text[:500]
    assert len(reply.content) < LONGEST_REPLY
    return reply


@pytest.mark.parametrize("path", ["/manual-ocr", "/api/cameras/gate/manual-ocr", "/login", "/nothing"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=edge", "text/plain"])
def test_no_small_route_takes_a_large_body(client: httpx.Client, path: str, kind: str) -> None:
    sent = 0

    def content() -> Iterator[bytes]:
        nonlocal sent
        yield b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(8000):
            sent += 65_536
            yield b" " * 65_536

    try:
        reply = client.post(path, content=content(), headers={"Content-Type": kind})
    except httpx.TransportError:
        pass  # cut off in the midst of it
    else:
        assert reply.status_code != 500
    assert sent < 100_000_000
    assert client.get("/health").status_code == 200


def test_a_manual_read_with_a_file_is_refused_before_the_file_is_sent(client: httpx.Client) -> None:
    head = "POST /manual-ocr HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: 500000000\r\n\r\n"
    for kind in ("application/json", "multipart/form-data; boundary=edge", "application/x-www-form-urlencoded"):
        with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=PATIENCE_S) as wire:
            wire.sendall(head.format(kind).encode())
            assert b" 413 " in wire.recv(4096).splitlines()[0]


def test_a_route_that_says_nothing_takes_a_small_body_in_whatever_way_it_is_read() -> None:
    app = FastAPI()
    app.add_middleware(BodyLimit)
    problems.install(app)

    @app.post("/json")
    def as_json(tree: dict[str, Any]) -> int:
        return len(tree)

    @app.post("/form")
    def as_form(text: Annotated[str, Form()]) -> int:
        return len(text)

    for path, kind in (("/json", "application/json"), ("/form", "application/x-www-form-urlencoded")):
        for size, status in ((SMALL_BODY_BYTES - 100, 422), (SMALL_BODY_BYTES + 1, 413)):
            body, headers = chunks(b"{", b"a" * size), {"Content-Type": kind}
            assert asked(app, "POST", path, content=body, headers=headers).status_code == status


def test_every_route_of_the_application_has_a_limit(tmp_path: Path) -> None:
    """Whatever is added: no body reaches it that is larger than the largest that anybody may send."""
    settings = Settings(service=ServiceSettings(max_body_bytes=100_000))
    service = OcrService(Mock(), settings.service, Metrics())
    app = create_app(FakeSite(tmp_path, camera("gate")), settings, service=service)
    kind = {"Content-Type": "application/json"}
    n_asked = 0
    for path, methods in app.openapi()["paths"].items():
        for method in methods.keys() - {"get"}:
            reply = asked(app, method, path, content=chunks(*[b"[" * 10_000] * 20), headers=kind)
            assert reply.status_code in (204, 404, 413, 415), (path, reply.text)
            n_asked += reply.status_code == 413
    assert n_asked
    service.close()


@pytest.mark.parametrize("path", ["/ocr", JOBS, MODEL])
def test_two_million_unknown_keys_are_refused_at_once(client: httpx.Client, path: str) -> None:
    body = unknown_keys(KEYS)
    in_time(lambda: client.post(path, content=body, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize("path", ["/layout-parsing", "/restructure-pages"])
def test_the_gateway_refuses_them_too(gateway: httpx.Client, path: str) -> None:
    body = unknown_keys(KEYS)
    in_time(lambda: gateway.post(path, content=body, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":' * 500_000,
        b'{"file": [' + b"[]," * 1_000_000 + b"1]}",
        b'{"pages": [' + b"{}," * 400_000 + b"1]}",
        b'{"file": "-", "layoutThreshold": {' + b",".join(b'"%d":"x"' % n for n in range(9000)) + b"}}",
        b'{"file": "' + b'\\"' * 1_000_000,
        b'{"file": "' + b'\\"' * 1_000_000 + b"\\",
        b'{"' + b"k" * 4_000_000 + b'": 1}',
        b'{"file": 1, "textDetThresh": 1' + b"0" * 3_000_000 + b"}",
        b'{"file": "x", "' + "\N{SNOWMAN}".encode() * 1_000_000 + b'": "' + b"\\u0000" * 500_000 + b'"}',
        b'{"inputs": ' + b"9" * 3_000_000 + b"}",
        b'{"inputs": "' + b"x" * 3_000_000 + b'"}',
        b'{"model": "' + b"\\u0001" * 500_000 + b'", "fileUrl": "x"}',
    ],
    ids=lambda body: str(body[:14]),
)
def test_json_that_is_cheap_to_write_is_cheap_to_refuse(
    client: httpx.Client, gateway: httpx.Client, body: bytes
) -> None:
    kind = {"Content-Type": "application/json"}
    for path in ("/ocr", JOBS, MODEL):
        in_time(lambda path=path: client.post(path, content=body, headers=kind))  # type: ignore[misc]
    for path in ("/layout-parsing", "/restructure-pages"):
        in_time(lambda path=path: gateway.post(path, content=body, headers=kind))  # type: ignore[misc]


def test_a_million_parts_or_fields_are_refused_in_few_words(client: httpx.Client) -> None:
    part = b'--e\r\nContent-Disposition: form-data; name="%s"\r\n\r\nx\r\n'
    bodies = (
        part % b"a" * 500_000,
        part % (b"n" * 3_000_000),
        b"".join(part % b"f%d" % n for n in range(60)) + b"--e--\r\n",
        b"--e\r\n" + b"X: y\r\n" * 1_000_000,
        b"\r\n" * 3_000_000,
        b"--e" * 1_000_000,
    )
    for body in bodies:
        for path in ("/ocr", "/ocr/batch", "/api/v1/ocr/process", JOBS):
            head = {"Content-Type": "multipart/form-data; boundary=e"}
            with suppress(httpx.WriteError, httpx.ReadError):  # answered, and cut while the rest was still being sent
                in_time(lambda path=path, body=body, head=head: client.post(path, content=body, headers=head))  # type: ignore[misc]
    for kind in ("multipart/form-data; boundary=" + "e" * 50_000, "x/" + "y" * 60_000, "multipart/form-data;" * 3000):
        reply = in_time(lambda kind=kind: client.post("/ocr", content=b"x", headers={"Content-Type": kind}))  # type: ignore[misc]
        assert reply.status_code in (415, 422)


def test_what_a_caller_wrote_does_not_make_the_answer_long(client: httpx.Client) -> None:
    long = "%00" * 15_000
    for path in (
        f"/api/cameras/{long}",
        f"/api/cameras/{long}/preview.jpg",
        f"/api/events/{long}",
        f"/v2/models/{long}",
        f"/v2/{long}",
        f"/{long}",
        f"/api/documents/{long}",
        f"{JOBS}/{long}",
        f"/api/events?limit={long}",
        f"/api/events?{'&'.join(f'a{n}=b' for n in range(8000))}&limit=x",
        f"/api/events?{'&'.join(['limit=x'] * 8000)}&since=y&until={long[:300]}",
        f"/ocr?find={long}",
    ):
        method = "POST" if path.startswith("/ocr") else "GET"
        headers = {"X-Request-ID": "x" * 900}
        in_time(lambda path=path, method=method, h=headers: client.request(method, path, headers=h))  # type: ignore[misc]
    fields = dict.fromkeys(("mode", "find", "lang", "language", "pages", "priority", "webhook"), "\x01" * 60000)
    for path in ("/ocr", "/ocr/batch", "/api/v1/ocr/process", JOBS):
        files = {"image": b"x", "file": b"x", "images": b"x"}
        in_time(lambda path=path, f=files: client.post(path, data=fields, files=f))  # type: ignore[misc]


def test_what_a_body_unpacks_to_counts_against_all_that_is_under_way() -> None:
    with serving(Mock(), max_body_bytes=1_000_000, max_waiting_bytes=1_500_000) as client:
        body = gzip.compress(bytes(900_000))
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: client.post(MODEL, content=body, headers=headers).status_code, range(8)))
        assert set(statuses) <= {400, 429}
        assert client.post(MODEL, content=body, headers=headers).status_code == 400, "what was held is given back"


def test_waiting_bytes_are_refused_beyond_the_bound_and_come_back() -> None:
    waiting = WaitingBytes(100)
    waiting.take(60)
    with pytest.raises(Overloaded):
        waiting.take(50)
    waiting.take(40)
    waiting.give(100)
    waiting.take(100)


def test_what_stands_in_texts_is_not_counted() -> None:
    check_json(json.dumps({"file": '{"a": [1, 2], "b\\": "' * 50_000}).encode())
    with pytest.raises(InvalidInput, match="10000 keys"):
        check_json(b'{"a": {' + b",".join([b'"k": ":"'] * 20_001) + b"}}")
    with pytest.raises(InvalidInput, match="10000 values"):
        check_json(b"[" + b"1," * 20_000 + b"1]")
    check_json(b"[" + b"1," * 20_000 + b"1]", max_values=50_000)


def test_values_are_counted_as_a_parser_makes_them() -> None:
    chance = random.Random(5)

    def made(depth: int) -> Any:
        if depth and chance.random() < 0.6:
            parts = [made(depth - 1) for _ in range(chance.randrange(1, 5))]
            return parts if chance.random() < 0.5 else {chance.choice(['a"', "b\\", "c,", "[:"]) + str(n): part
                                                        for n, part in enumerate(parts)}  # fmt: skip
        return chance.choice([1, "x,y", '"', "\\", "[{", None, True])

    def count(tree: Any) -> tuple[int, int]:
        """Keys and values."""
        parts = list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else []
        counted = [count(part) for part in parts]
        return (len(parts) if isinstance(tree, dict) else 0) + sum(n for n, _ in counted), 1 + sum(
            n for _, n in counted
        )

    for _ in range(200):
        tree = made(5)
        keys, values = count(tree)
        body = json.dumps(tree).encode()
        check_json(body, max_keys=keys, max_values=values + 1)
        if values > 1:
            with pytest.raises(InvalidInput):
                check_json(body, max_keys=keys, max_values=values // 2)


def test_few_of_many_faults_are_listed() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    for count in (1, MAX_FAULTS, 900, 9000):
        with pytest.raises(ValidationError) as raised:
            Strict.model_validate({"k" * 100_000 + str(n): n for n in range(count)} if count < 30 else
                                  {f"k{n}": n for n in range(count)})  # fmt: skip
        faults = faults_of(raised.value)
        assert 1 <= len(faults) <= MAX_FAULTS + 1
        assert len(json.dumps(faults)) < LONGEST_REPLY
        if count > MAX_FAULTS:
            assert str(count if count > 1000 else count - MAX_FAULTS) in faults[-1]["msg"]
