import hashlib
import hmac
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import Queue
from typing import Any, Self

import httpx
import pytest

from platoon.api.fetch import fetcher_for
from platoon.api.webhooks import SIGNATURE, job_webhooks
from platoon.documents.job_service import JobService
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Order
from platoon.errors import InvalidInput
from platoon.settings import ApiKey, ServiceSettings, Settings
from platoon.store.clock import StoreClock
from tests.drawn import document, page
from tests.http_server import answering
from tests.job_service import LIMITS, SECRET, opened, serving
from tests.running import wait_until
from tests.scripted_reader import ScriptedReader

PATIENCE_S = 30
PAPER = document([page(("Ink", 4, 26), size=(100, 50))] * 2)


@pytest.fixture
def reader() -> ScriptedReader:
    return ScriptedReader()


@pytest.fixture
def client(tmp_path: Path, reader: ScriptedReader) -> Iterator[httpx.Client]:
    with serving(tmp_path, reader, max_body_bytes=10_000, fetch_hosts=("127.0.0.1",)) as client:
        yield client


def handed_in(client: httpx.Client, file: bytes, **fields: str) -> str:
    reply = client.post("/api/v1/ocr/process", files={"file": file}, data=fields)
    assert reply.status_code == 202, reply.text
    added = reply.json()
    assert added == {"task_id": added["task_id"], "status": "pending", "message": "OCR task queued successfully."}
    return str(added["task_id"])


def standing(client: httpx.Client, task: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/ocr/results/{task}").raise_for_status().json()
    return found


def until(client: httpx.Client, task: str, status: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        now = standing(client, task)
        return now if now["status"] == status else None

    return wait_until(reached, f"{task} is {status}", patience_s=PATIENCE_S)


def test_a_document_is_read_in_the_background_and_its_lines_are_found_by_its_id(client: httpx.Client) -> None:
    done = until(client, task := handed_in(client, PAPER), "SUCCESS")
    exports = done.pop("exports")
    assert client.get(f"{exports}/txt").text.split() == ["Page", "1", "Page", "2"]
    box = [[10.0, 20.0], [90.0, 20.0], [90.0, 40.0], [10.0, 40.0]]
    assert done == {
        "task_id": task,
        "status": "SUCCESS",
        "result": {
            "detections": [
                {"text": "Page 1", "box": box, "confidence": 0.9876, "page_number": 1},
                {"text": "Page 2", "box": box, "confidence": 0.9876, "page_number": 2},
            ]
        },
        "pending_tasks": 0,
        "progress": {"pages": 2, "done": 2},
        "position": None,
    }


def test_one_sees_how_far_a_document_is_and_how_many_wait_before_it(
    client: httpx.Client, reader: ScriptedReader
) -> None:
    reader.turns = threading.Semaphore(0)
    first, second, third = handed_in(client, b"3"), handed_in(client, b"1"), handed_in(client, b"1", priority="9")
    assert until(client, first, "STARTED")["result"] is None
    assert [standing(client, task)["position"] for task in (second, third)] == [2, 1]
    assert standing(client, second)["pending_tasks"] == 2
    reader.turns.release()
    assert until(client, first, "PROGRESS")["progress"] == {"pages": 3, "done": 1}
    reader.turns.release(9)
    for task in (first, second, third):
        until(client, task, "SUCCESS")


def test_a_document_that_cannot_be_read_says_why(client: httpx.Client) -> None:
    failed = until(client, handed_in(client, b"broken"), "FAILURE")
    assert failed["result"] == {"error": "the PDF is damaged"}


def test_delete_cancels_and_what_has_ended_stays(client: httpx.Client, reader: ScriptedReader) -> None:
    reader.turns = threading.Semaphore(1)
    running, waiting = handed_in(client, b"3"), handed_in(client, b"1")
    until(client, running, "PROGRESS")
    for task in (waiting, running):
        assert client.delete(f"/api/v1/ocr/results/{task}").json()["status"] == "REVOKED"
    done = handed_in(client, b"1")
    until(client, done, "STARTED")  # though no page of the first was finished
    reader.turns.release(9)
    until(client, done, "SUCCESS")
    assert client.delete(f"/api/v1/ocr/results/{done}").json()["status"] == "SUCCESS"
    assert standing(client, running)["status"] == "REVOKED"
    assert reader.read == [0, 0]  # the first page of the first, and the last


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_id_that_never_was_is_not_found(client: httpx.Client, method: str) -> None:
    reply = client.request(method, "/api/v1/ocr/results/0123")
    assert reply.status_code == 404
    assert "0123" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("file", "fields", "status", "named"),
    [
        (b"", {}, 422, "file"),
        (b"1", {"pages": "one"}, 422, "pages"),
        (b"1", {"pages": "101"}, 422, "pages"),
        (b"1", {"text_layer": "maybe"}, 422, "text_layer"),
        (b"1", {"priority": "urgent"}, 422, "priority"),
        (b"1", {"priority": "10"}, 422, "priority"),
        (b"1", {"webhook": "ftp://example.org"}, 422, "webhook"),
        (b"1" * 20_000, {}, 413, "10000"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    client: httpx.Client, file: bytes, fields: dict[str, str], status: int, named: str
) -> None:
    reply = client.post("/api/v1/ocr/process", files={"file": file}, data=fields)
    assert reply.status_code == status
    assert named in reply.json()["error"]["message"]


def test_a_full_queue_says_when_to_come_again(client: httpx.Client, reader: ScriptedReader) -> None:
    reader.turns = threading.Semaphore(0)
    until(client, handed_in(client, b"1"), "STARTED")
    for _ in range(5):
        handed_in(client, b"1")
    reply = client.post("/api/v1/ocr/process", files={"file": b"1"})
    assert (reply.status_code, reply.headers["Retry-After"]) == (429, "60")
    reader.turns.release(9)


def test_only_the_key_that_a_document_came_with_finds_it(tmp_path: Path, reader: ScriptedReader) -> None:
    keys = [ApiKey(name=name, sha256=hashlib.sha256(name.encode()).hexdigest()) for name in ("ann", "bob")]
    with serving(tmp_path, reader, keys=keys) as client:
        ann, bob = ({"Authorization": f"Bearer {name}"} for name in ("ann", "bob"))
        sent = client.post("/api/v1/ocr/process", files={"file": b"1"}, headers=ann)
        path = f"/api/v1/ocr/results/{sent.json()['task_id']}"
        assert client.get(path, headers=ann).status_code == 200
        assert client.get(path, headers=bob).status_code == 404
        assert client.delete(path, headers=bob).status_code == 404
        assert client.get(path).status_code == 401
        assert client.post("/api/v1/ocr/process", files={"file": b"1"}).status_code == 401


def caller(name: str, **settings: Any) -> tuple[ApiKey, dict[str, str]]:
    """A key, and the headers that show it."""
    key = ApiKey(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), **settings)
    return key, {"Authorization": f"Bearer {name}"}


def test_one_caller_s_documents_turn_nobody_else_away(tmp_path: Path, reader: ScriptedReader) -> None:
    reader.turns = threading.Semaphore(0)
    (ann, by_ann), (bob, by_bob) = caller("ann"), caller("bob")
    limits = replace(LIMITS, max_waiting=20, max_waiting_of_one=10)
    with serving(tmp_path, reader, keys=[ann, bob], limits=limits) as client:
        statuses = [
            client.post("/api/v1/ocr/process", files={"file": b"1"}, headers=by_ann).status_code for _ in range(15)
        ]
        assert set(statuses) == {202, 429}
        sent = client.post("/api/v1/ocr/process", files={"file": b"1"}, headers=by_bob)
        assert sent.status_code == 202
        found = client.get(f"/api/v1/ocr/results/{sent.json()['task_id']}", headers=by_bob).json()
        assert found["status"] != "PENDING" or found["position"] <= 2
        reader.turns.release(99)


def test_nobody_chooses_a_priority_above_his_key_s(tmp_path: Path, reader: ScriptedReader) -> None:
    (ann, by_ann), (bob, by_bob) = caller("ann"), caller("bob", job_priority=5)
    with serving(tmp_path, reader, keys=[ann, bob]) as client:

        def asked(priority: int, headers: dict[str, str]) -> httpx.Response:
            files, fields = {"file": b"1"}, {"priority": f"{priority}"}
            return client.post("/api/v1/ocr/process", files=files, data=fields, headers=headers)

        assert [asked(priority, by_ann).status_code for priority in (-9, 0, 1, 9)] == [202, 202, 403, 403]
        assert [asked(priority, by_bob).status_code for priority in (5, 6)] == [202, 403]
        assert "priority" in asked(1, by_ann).json()["error"]["message"]


def test_what_there_is_no_room_for_is_refused_before_it_is_sent(tmp_path: Path, reader: ScriptedReader) -> None:
    limits = replace(LIMITS, max_bytes=100_000, max_bytes_of_one=100_000)
    with serving(tmp_path, reader, limits=limits) as client:
        handed_in(client, b"0" * 80_000 + b"1")
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE_S)) as connection:
            connection.putrequest("POST", "/api/v1/ocr/process")
            connection.putheader("Content-Type", "multipart/form-data; boundary=x")
            connection.putheader("Content-Length", "60000")
            connection.endheaders()  # and not a byte of the body
            reply = connection.getresponse()
            assert reply.status == 429
            assert b"your jobs" in reply.read()


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"once upon a time", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_document_is_refused_before_it_is_kept(tmp_path: Path, garbage: bytes) -> None:
    with closing(opened(tmp_path)) as jobs:
        job_service = JobService(jobs, lambda _: None, Settings())
        with pytest.raises(InvalidInput):
            job_service.add(Order(), garbage)
        assert jobs.waiting() == 0


def test_a_store_that_cannot_be_used_is_named_by_each_call_and_by_readiness(
    tmp_path: Path, reader: ScriptedReader
) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"this was a database " * 500)
    with serving(tmp_path, reader) as client:
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert "jobs.sqlite" in ready.json()["errorMsg"]
        assert client.get("/health").status_code == 200
        for reply in (
            client.post("/api/v1/ocr/process", files={"file": b"1"}),
            client.get("/api/v1/ocr/results/0123"),
            client.post("/api/v2/ocr/jobs", files={"file": b"1"}, data={"model": "PP-OCRv5"}),
            client.get("/api/documents", params={"batch": "b" * 16}),
        ):
            assert reply.status_code == 503, reply.text
            assert "jobs.sqlite" in reply.text
            assert "move it away" in reply.text
        (tmp_path / "jobs.sqlite").unlink()
        until(client, handed_in(client, b"1"), "SUCCESS")
        assert "jobs.sqlite" not in client.get("/health/ready").text


class Hook:
    """A webhook that answers with the statuses it is given, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.heard: Queue[tuple[str, bytes]] = Queue()
        left = list(statuses)
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.put((self.headers[SIGNATURE], body))
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._opened, self._handler = ExitStack(), Handler

    def __enter__(self) -> Self:
        self.url = f"{self._opened.enter_context(answering(self._handler))}/done"
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


def test_a_webhook_hears_what_became_of_a_document_and_that_it_was_us_who_said_so(client: httpx.Client) -> None:
    with Hook() as hook:
        for file, status, pages in ((b"3", "SUCCESS", 3), (b"broken", "FAILURE", None)):
            task = handed_in(client, file, webhook=hook.url)
            signature, body = hook.heard.get(timeout=PATIENCE_S)
            message = json.loads(body)
            assert (message["task_id"], message["status"], message["progress"]["pages"]) == (task, status, pages)
            timestamp, digest = (part.partition("=")[2] for part in signature.split(","))
            expected = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
            assert hmac.compare_digest(digest, expected)


def test_a_webhook_that_fails_is_notified_again_also_after_a_restart(tmp_path: Path, reader: ScriptedReader) -> None:
    now = [1_000_000.0]

    def at_another_time() -> JobStore:
        clock = StoreClock(running=lambda: now[0])
        return JobStore(tmp_path / "jobs.sqlite", replace(LIMITS, keep_s=9e9), clock=clock)

    fetcher = fetcher_for(ServiceSettings(fetch_hosts=("127.0.0.1",)))
    with Hook(500) as hook:
        with closing(at_another_time()) as jobs, job_webhooks(jobs, fetcher, SECRET):
            job = jobs.add(Order(webhook=hook.url), b"1")
            claim = jobs.claim("a")
            assert claim is not None
            jobs.finish(claim)
            hook.heard.get(timeout=PATIENCE_S)
        assert hook.heard.empty()
        now[0] += 60
        with closing(at_another_time()) as jobs, job_webhooks(jobs, fetcher, SECRET):
            _, body = hook.heard.get(timeout=PATIENCE_S)
            assert json.loads(body)["task_id"] == job.id
        now[0] += 3600
        with closing(at_another_time()) as jobs:
            assert jobs.due_webhook() is None


def test_webhooks_inside_the_network_are_not_notified(
    tmp_path: Path, reader: ScriptedReader, caplog: pytest.LogCaptureFixture
) -> None:
    with Hook() as hook, serving(tmp_path, reader) as client:
        handed_in(client, b"1", webhook=hook.url)
        wait_until(lambda: "not public" in caplog.text, "it was refused", patience_s=PATIENCE_S)
    assert hook.heard.empty()
