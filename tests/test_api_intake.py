import base64
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from platoon.engine.batcher import Execution, Reply
from platoon.errors import Overloaded, PlatoonError
from platoon.media.frame import Pixels
from tests.drawn import encoded, page
from tests.keys import key, shown
from tests.serving import metric, serving

PATIENCE_S = 30
PNG = encoded(page(size=(64, 32)))


class Held:
    """An engine that finds nothing, when it is let."""

    def __init__(self) -> None:
        self.fail: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Semaphore(0)
        self.replies: list[Reply[Any]] = []

    def detect(self, pictures: Sequence[Pixels], **_: Any) -> list[Reply[Any]]:
        if self.fail is not None:
            raise self.fail
        replies = [Reply[Any]() for _ in pictures]
        self.replies += replies
        self.asked.release()
        if self.open.is_set():
            for reply, picture in zip(replies, pictures, strict=True):
                reply.execution = Execution(1, 0.01)
                reply.set_result(np.zeros(picture.shape[:2], np.float32))
        return replies

    def answer(self) -> None:
        for reply in self.replies:
            if not reply.done():
                reply.set_result(np.zeros((96, 96), np.float32))


@pytest.fixture
def engine() -> Held:
    return Held()


@pytest.fixture
def client(engine: Held) -> Iterator[httpx.Client]:
    with serving(engine, max_body_bytes=20_000, max_requests=3, max_waiting_bytes=30_000, deadline_s=20) as client:
        yield client


def until(reached: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def connected(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=PATIENCE_S)


def form(body: bytes = PNG) -> tuple[bytes, bytes]:
    """Head and body of a call with a picture."""
    content = (
        b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + body + b"\r\n--edge--\r\n"
    )
    head = b"POST /ocr HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(content), content


def test_a_body_that_is_too_large_is_refused(client: httpx.Client) -> None:
    reply = client.post("/ocr", files={"image": b"x" * 20_000})
    assert reply.status_code == 413
    assert "20000 bytes" in reply.json()["error"]
    paddlex = client.post("/ocr", json={"file": "x" * 20_000})
    assert paddlex.status_code == paddlex.json()["errorCode"] == 413


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(client: httpx.Client) -> None:
    with connected(client) as wire:
        wire.sendall(
            b"POST /ocr HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n"
        )
        assert b" 413 " in wire.recv(4096).splitlines()[0]


def test_a_body_of_unknown_size_is_cut_off_at_the_limit(client: httpx.Client) -> None:
    reply = client.post("/ocr", content=iter([b"x" * 5000] * 10), headers={"Content-Type": "application/json"})
    assert reply.status_code == 413


def test_the_calls_of_one_key_leave_places_for_the_others(engine: Held) -> None:
    engine.open.clear()
    busy, other = (shown(f"{name}-secret") for name in ("busy", "other"))
    keys = (key("busy-secret"), key("other-secret"))
    with serving(engine, keys=keys, max_requests=6, deadline_s=20) as client, ThreadPoolExecutor(4) as pool:

        def call(headers: dict[str, str]) -> Any:
            return pool.submit(client.post, "/ocr", files={"image": PNG}, headers=headers)

        waiting = [call(busy) for _ in range(3)]
        for _ in waiting:
            assert engine.asked.acquire(timeout=PATIENCE_S)
        refused = client.post("/ocr", files={"image": PNG}, headers=busy)
        assert refused.status_code == 429
        assert "for others" in refused.json()["error"]
        waiting.append(call(other))
        assert engine.asked.acquire(timeout=PATIENCE_S)
        engine.answer()
        assert [one.result(PATIENCE_S).status_code for one in waiting] == [200] * 4
        engine.open.set()
        assert client.post("/ocr", files={"image": PNG}, headers=busy).status_code == 200


def test_one_call_more_than_allowed_is_turned_away_at_once(client: httpx.Client, engine: Held) -> None:
    engine.open.clear()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.post, "/ocr", files={"image": PNG}) for _ in range(3)]
        for _ in waiting:
            assert engine.asked.acquire(timeout=PATIENCE_S)
        refused = client.post("/ocr", files={"image": PNG})
        assert client.get("/health").status_code == 200
        engine.answer()
        assert [one.result(PATIENCE_S).status_code for one in waiting] == [200] * 3
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json() == {
        "error": "3 calls are under way, the most there may be; try again",
        "code": "Overloaded",
        "retry": True,
    }
    engine.open.set()
    assert client.post("/ocr", files={"image": PNG}).status_code == 200, "places are given back"


def test_bodies_under_way_are_bounded_together(client: httpx.Client, engine: Held) -> None:
    engine.open.clear()
    large = encoded(np.random.default_rng(1).integers(0, 256, (70, 80, 3), dtype=np.uint8))
    assert 15_000 < len(large) < 19_000
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/ocr", files={"image": large})
        assert engine.asked.acquire(timeout=PATIENCE_S)
        refused = client.post("/ocr", files={"image": large})
        assert refused.status_code == 429
        engine.answer()
        waiting.result(PATIENCE_S)
    engine.open.set()
    assert client.post("/ocr", files={"image": large}).status_code == 200


def test_a_caller_who_leaves_takes_what_waits_along(client: httpx.Client, engine: Held) -> None:
    engine.open.clear()
    with connected(client) as wire:
        wire.sendall(b"".join(form()))
        assert engine.asked.acquire(timeout=PATIENCE_S)
    until(lambda: all(reply.cancelled() for reply in engine.replies))
    until(lambda: metric(client, 'platoon_requests_total{contract="fleet",status="499"}') == 1)


def test_a_caller_who_leaves_while_sending_is_forgotten(client: httpx.Client, engine: Held) -> None:
    head, content = form()
    for left in range(1, 6):  # more than may be under way
        with connected(client) as wire:
            wire.sendall(head + content[:50])
        until(lambda left=left: metric(client, 'platoon_requests_total{contract="form",status="499"}') == left)
    assert client.post("/ocr", files={"image": PNG}).status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(engine: Held) -> None:
    head, content = form()
    with serving(engine, deadline_s=0.3) as client, connected(client) as wire:
        wire.sendall(head + content[:50])
        assert b" 504 " in wire.recv(4096).splitlines()[0]


def test_an_answer_that_takes_too_long_is_a_504_in_every_contract(engine: Held) -> None:
    engine.open.clear()
    with serving(engine, deadline_s=0.3) as client:
        form_reply = client.post("/ocr", files={"image": PNG})
        json_reply = client.post("/ocr", json={"file": "data:image/png;base64," + _base64(PNG), "logId": "mine"})
    assert form_reply.status_code == json_reply.status_code == 504
    assert form_reply.json()["retry"] is True
    assert (json_reply.json()["errorCode"], json_reply.json()["logId"]) == (504, "mine")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(Overloaded("full", retry_after_s=2.2), 429, "3"), (PlatoonError("broken"), 500, None)],
)
def test_what_the_engine_says_reaches_the_caller(
    client: httpx.Client, engine: Held, error: PlatoonError, status: int, retry_after: str | None
) -> None:
    engine.fail = error
    reply = client.post("/ocr", files={"image": PNG})
    assert (reply.status_code, reply.headers.get("retry-after")) == (status, retry_after)
    assert reply.json()["error"] == str(error)


def test_an_unexpected_error_is_logged_and_shows_nothing_of_the_inside(
    client: httpx.Client, engine: Held, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fail = RuntimeError("secret of the inside")
    for reply in (client.post("/ocr", files={"image": PNG}), client.post("/ocr", json={"file": _base64(PNG)})):
        assert reply.status_code == 500
        assert "secret" not in reply.text
    assert "secret of the inside" in caplog.text


def test_calls_are_counted_by_contract_and_status(client: httpx.Client) -> None:
    client.post("/ocr", files={"image": PNG})
    client.post("/ocr", files={"file": PNG})
    client.post("/ocr/batch", files=[("images", PNG)] * 2)
    client.post("/ocr", json={"file": _base64(PNG)})
    client.post("/ocr", json={})
    client.post("/ocr", content=b"x")
    for contract, status in (
        ("fleet", 200),
        ("liteparse", 200),
        ("fleet-batch", 200),
        ("paddlex", 200),
        ("paddlex", 422),
        ("form", 415),
    ):
        assert metric(client, f'platoon_requests_total{{contract="{contract}",status="{status}"}}') == 1
    assert metric(client, 'platoon_request_bytes_total{contract="fleet"}') > len(PNG)
    assert metric(client, 'platoon_request_seconds_count{contract="paddlex"}') == 2
    assert metric(client, "platoon_pictures_read_total") == 5


def test_a_request_keeps_its_id_and_has_one_in_any_case(client: httpx.Client) -> None:
    mine = client.post("/ocr", files={"image": PNG}, headers={"X-Request-ID": "order-7"})
    assert mine.headers["x-request-id"] == "order-7"
    first, second = (client.get("/health").headers["x-request-id"] for _ in range(2))
    assert first
    assert first != second
    for senseless in (b"x" * 200, b"two words", b"\xe4"):
        assert client.get("/health", headers={b"X-Request-ID": senseless}).headers["x-request-id"] != senseless.decode(
            "latin-1"
        )
    assert client.get("/nothing").headers["x-request-id"]


def test_the_log_of_a_call_says_whose_it_was(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "platoon.api.intake"):
        client.post("/ocr", files={"image": PNG}, headers={"X-Request-ID": "order-8"})
        until(lambda: caplog.records)
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["contract"], fields["status"], fields["path"]) == ("fleet", 200, "/ocr")
    assert fields["bytes"] > len(PNG)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
