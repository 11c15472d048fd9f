import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from platoon.api.serve import HttpServer
from platoon.media.source import SourceFailure, SourceState
from platoon.settings import ApiSettings, Settings
from platoon.store.event_file import EventFile
from tests.fake_site import FakeSite, camera, event


@pytest.fixture
def site(tmp_path: Path) -> FakeSite:
    broken = camera(
        "yard",
        state=SourceState.RECONNECTING,
        cause=SourceFailure.READ_TIMEOUT,
        message="nothing for 10 s",
        retry_at=5.0,
    )
    return FakeSite(tmp_path, camera("gate", name="North gate"), broken, camera("old", enabled=False))


@pytest.fixture
def client(site: FakeSite) -> Iterator[httpx.Client]:
    with (
        HttpServer(site, Settings(api=ApiSettings(port=0))) as http_server,
        httpx.Client(base_url=http_server.address, timeout=30) as client,
    ):
        yield client


def test_cameras_come_in_the_registrys_order_with_state_and_cause(client: httpx.Client) -> None:
    gate, yard, old = client.get("/api/cameras").json()["cameras"]
    assert (gate["id"], gate["name"], gate["state"], gate["enabled"]) == ("gate", "North gate", "live", True)
    assert (yard["state"], yard["cause"], yard["message"]) == ("reconnecting", "read_timeout", "nothing for 10 s")
    assert old["enabled"] is False
    assert client.get("/api/cameras/yard").json() == yard


@pytest.mark.parametrize(
    "path", ["/api/cameras/no", "/api/cameras/no/preview.jpg", "/api/events/no", "/api/events/no/crop.jpg", "/no"]
)
def test_what_is_not_there_is_not_found(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    error = reply.json()["error"]
    assert error["code"] == "NotFound"
    assert error["retry"] is False
    assert "no" in error["message"]


def test_a_preview_is_a_picture_of_the_moment(client: httpx.Client) -> None:
    reply = client.get("/api/cameras/gate/preview.jpg?width=320")
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.content.startswith(b"\xff\xd8")


def test_a_preview_wakes_its_camera_unless_it_may_sleep_on(client: httpx.Client, site: FakeSite) -> None:
    client.get("/api/cameras/gate/preview.jpg?wake=false").raise_for_status()
    assert site.viewed == []
    client.get("/api/cameras/gate/preview.jpg").raise_for_status()
    assert site.viewed == ["gate"]


def test_a_camera_is_woken_for_as_long_as_somebody_says(client: httpx.Client, site: FakeSite) -> None:
    assert client.post("/api/cameras/gate/wake").json()["id"] == "gate"
    client.post("/api/cameras/gate/wake", json={"for_s": 60}).raise_for_status()
    assert site.woken == [("gate", 10.0), ("gate", 60.0)]
    assert client.post("/api/cameras/nobody/wake").status_code == 404
    assert client.post("/api/cameras/yard/wake").status_code == 503
    for wrong in (0, -1, 1e9, "long"):
        assert client.post("/api/cameras/gate/wake", json={"for_s": wrong}).status_code in (400, 422)


def test_a_camera_without_a_picture_says_try_again(client: httpx.Client) -> None:
    reply = client.get("/api/cameras/yard/preview.jpg")
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"
    assert reply.json()["error"]["code"] == "Unavailable"
    assert reply.json()["error"]["retry"] is True


def test_events_are_searched_newest_first(client: httpx.Client, site: FakeSite) -> None:
    site.record(event("a", text="LS15 EBC", time="2026-01-31T12:00:00Z"))
    site.record(event("b", text="JLN 390", camera="yard", time="2026-01-31T13:00:00Z"))
    site.record(event("c", text="LS16 EBX", state="preview", time="2026-01-31T14:00:00Z"))

    def found(query: str) -> list[str]:
        return [one["id"] for one in client.get(f"/api/events{query}").json()["events"]]

    assert found("") == ["c", "b", "a"]
    assert found("?plate=ls1") == ["c", "a"]
    assert found("?plate=5%20e") == ["a"]
    assert found("?camera=yard") == ["b"]
    assert found("?state=final&limit=1") == ["b"]
    assert found("?until=1769864400") == ["a"]
    assert client.get("/api/events/a").json()["text"] == "LS15 EBC"


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "limit=99999", "state=gone", "plate=" + "A" * 100])
def test_a_query_that_does_not_fit_is_refused_by_name(client: httpx.Client, query: str) -> None:
    reply = client.get(f"/api/events?{query}")
    assert reply.status_code == 422
    assert reply.json()["error"]["message"].startswith(query.partition("=")[0])


def test_a_crop_is_served_once_and_then_only_confirmed(client: httpx.Client, site: FakeSite) -> None:
    site.record(event("a", state="preview"), np.full((20, 60, 3), 200, np.uint8))
    preview = client.get("/api/events/a/crop.jpg")
    assert preview.headers["content-type"] == "image/jpeg"
    known = {"If-None-Match": preview.headers["etag"]}
    assert client.get("/api/events/a/crop.jpg", headers=known).status_code == 304
    site.record(event("a", state="final"), np.full((20, 60, 3), 20, np.uint8))
    final = client.get("/api/events/a/crop.jpg", headers=known)
    assert final.status_code == 200
    assert final.content != preview.content


def test_a_crop_that_outlived_its_time_says_so(client: httpx.Client, site: FakeSite) -> None:
    site.record(event("a"), np.full((20, 60, 3), 200, np.uint8))
    site.events.forget_crops([("a", "gate/a-final.jpg")])
    reply = client.get("/api/events/a/crop.jpg")
    assert reply.status_code == 404
    assert "no picture any more" in reply.json()["error"]["message"]


def test_a_summary_counts_cameras_and_plates(client: httpx.Client, site: FakeSite) -> None:
    site.record(event("a"))
    site.record(event("b", state="preview"))
    assert client.get("/api/summary").json() == {"cameras": 2, "live": 1, "plates": 1, "kept_days": 30}
    assert client.get("/api/summary?since=9e9").json()["plates"] == 0


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {"camera": "gate"}},
        {"json": {"camera_id": "gate"}},
        {"json": {"id": "gate"}},
        {"json": "gate"},
        {"data": {"camera": "gate"}},
        {"files": {"camera_id": (None, "gate")}},
        {"params": {"camera": "gate"}},
    ],
)
def test_the_gateway_takes_the_camera_in_every_way_clients_send_it(
    client: httpx.Client, sent: dict[str, dict[str, str]]
) -> None:
    reply = client.post("/manual-ocr", **sent)  # type: ignore[arg-type]
    assert reply.status_code == 200, reply.text
    assert reply.json()["camera"] == "gate"
    assert reply.json()["plates"][0]["text"] == "AB12CDE"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[1]", 422),
        (b'{"camera": {}}', 422),
        (b"[" * 10_000, 422),
        (b"x" * 20_000, 413),
        (b'{"camera": "no"}', 404),
    ],
)
def test_a_manual_read_of_no_camera_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    reply = client.post("/manual-ocr", content=body)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


def test_manual_reads_beyond_the_bound_are_turned_away_at_once(client: httpx.Client, site: FakeSite) -> None:
    site.reads_may_end.clear()
    address = f"{client.base_url}/api/cameras/gate/manual-ocr"
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(httpx.post, address, timeout=30) for _ in range(8)]
        for _ in waiting:
            assert site.reading.acquire(timeout=30)
        refused = client.post(address)
        assert client.get("/health").status_code == 200, "waiting reads hold up nobody else"
        site.reads_may_end.set()
        assert [reply.result().status_code for reply in waiting] == [200] * 8
    assert refused.status_code == 429
    assert refused.json()["error"]["retry"] is True
    assert refused.headers["retry-after"] == "1"


def test_an_event_file_that_cannot_be_written_is_named_in_readiness(site: FakeSite, tmp_path: Path) -> None:
    with (
        EventFile(tmp_path / "nowhere" / "events.jsonl", site.events.path) as file,
        HttpServer(site, Settings(api=ApiSettings(port=0)), event_file=file) as http_server,
        httpx.Client(base_url=http_server.address, timeout=30) as client,
    ):
        while not file.not_ready():
            threading.Event().wait(0.01)
        unready = client.get("/health/ready")
    assert unready.status_code == 503
    assert "nowhere/events.jsonl cannot be opened" in unready.json()["errorMsg"]


def test_a_crop_whose_final_comes_while_it_is_fetched_is_that_of_the_final(
    client: httpx.Client, site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.record(event("e1", state="preview"), np.zeros((20, 60, 3), np.uint8))
    get = site.crops.get

    def overtaken(key: str) -> bytes:
        if key.endswith("preview.jpg"):
            site.record(event("e1"), np.full((20, 60, 3), 255, np.uint8))
            site.crops.delete([key])
        return get(key)

    monkeypatch.setattr(site.crops, "get", overtaken)
    reply = client.get("/api/events/e1/crop.jpg")
    assert reply.status_code == 200
    assert reply.content == get("gate/e1-final.jpg")


def test_health_answers_in_the_gateways_form(client: httpx.Client, site: FakeSite) -> None:
    health = client.get("/health").json()
    assert (health["errorCode"], health["errorMsg"]) == (0, "Healthy")
    assert health["logId"] != client.get("/health").json()["logId"]
    assert client.get("/health/ready").json()["errorMsg"] == "Ready"
    site.worries = ["store: look after it"]
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["warnings"]) == (200, ["store: look after it"])
    site.missing = ["engine: warming up"]
    unready = client.get("/health/ready")
    assert unready.status_code == 503
    assert "engine: warming up" in unready.json()["errorMsg"]


def test_metrics_come_in_the_text_format(client: httpx.Client, site: FakeSite) -> None:
    site.metrics.events.labels(camera="gate", state="final").inc()
    assert 'platoon_events_total{camera="gate",state="final"} 1.0' in client.get("/metrics").text


def test_an_unexpected_error_shows_nothing_of_the_inside(client: httpx.Client, site: FakeSite) -> None:
    def fail(camera: str) -> None:
        raise RuntimeError("secret of the inside")

    site.draw = fail  # type: ignore[assignment]
    reply = client.get("/api/cameras/gate/preview.jpg")
    assert reply.status_code == 500
    assert reply.json()["error"]["code"] == "Unexpected"
    assert "secret" not in reply.text


@pytest.mark.parametrize("path", ["/", "/docs", "/static/main.js", "/openapi.json", "/api/cameras"])
def test_nothing_may_be_loaded_from_elsewhere(client: httpx.Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 200
    assert reply.headers["content-security-policy"].startswith("default-src 'self'")
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1.evil.example", "null", "http://["])
def test_pages_of_other_sites_may_change_nothing(client: httpx.Client, origin: str) -> None:
    reply = client.post("/manual-ocr", json={"camera": "gate"}, headers={"Origin": origin})
    assert reply.status_code == 403
    assert reply.json()["error"]["code"] == "OtherSite"


def test_our_own_page_and_other_ports_of_this_host_are_welcome(client: httpx.Client) -> None:
    for origin in (str(client.base_url), "http://127.0.0.1:9001"):
        reply = client.post("/manual-ocr", json={"camera": "gate"}, headers={"Origin": origin})
        assert reply.status_code == 200
