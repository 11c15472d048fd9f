"""One receiver that does not answer, or a caller with many of them, delays nobody else."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from pydantic import SecretStr

from platoon.api.fetch import Fetcher
from platoon.api.webhooks import SIGNATURE, event_deliveries, job_webhooks, sign
from platoon.documents.job_store import JobStore
from platoon.documents.jobs import Order
from platoon.errors import InvalidSettings
from platoon.metrics import Metrics
from platoon.settings import DeliverySettings, Settings
from platoon.store.event import Event
from platoon.store.events import EventStore
from platoon.store.outbox import AT_ONCE_OF_OWNER, AT_ONCE_OF_RECEIVER
from tests.fake_site import event
from tests.http_server import answering
from tests.job_service import LIMITS, SECRET, opened
from tests.running import wait_until

PATIENCE_S = 30
KEY = "signs what is delivered of events"


class Receivers(Fetcher):
    """Those of the hosts that begin with `dead` never answer."""

    def __init__(self) -> None:
        super().__init__(hosts=(), max_bytes=1, timeout_s=1)
        self.notified: list[str] = []
        self.waiting: list[str] = []

    async def post(self, url: str, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
        del body, headers
        if "//dead" in url:
            self.waiting.append(url)
            await asyncio.Event().wait()
        self.notified.append(url)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    with closing(opened(tmp_path, replace(LIMITS, max_waiting=1000, max_waiting_of_one=1000))) as jobs:
        yield jobs


def ended(jobs: JobStore, webhook: str, owner: str = "") -> None:
    job = jobs.add(Order(webhook=webhook, owner=owner), b"x")
    claim = jobs.claim("a", job.id)
    assert claim is not None
    jobs.finish(claim)


def test_a_receiver_that_never_answers_delays_no_other(jobs: JobStore) -> None:
    receivers = Receivers()
    for number in range(20):
        ended(jobs, f"https://dead.test/{number}")
    for number in range(10):
        ended(jobs, f"https://alive{number}.test/done")
    with job_webhooks(jobs, receivers, SECRET):
        wait_until(lambda: len(receivers.notified) == 10, "all others are notified", patience_s=PATIENCE_S)
        assert len(receivers.waiting) == AT_ONCE_OF_RECEIVER


def test_a_caller_with_many_receivers_that_never_answer_delays_no_other(jobs: JobStore) -> None:
    receivers = Receivers()
    for number in range(100):
        ended(jobs, f"https://dead{number}.test/done", "ann")
    ended(jobs, "https://alive.test/done", "bob")
    with job_webhooks(jobs, receivers, SECRET):
        wait_until(lambda: receivers.notified, "the other is notified", patience_s=PATIENCE_S)
        assert len(receivers.waiting) <= AT_ONCE_OF_OWNER


def test_a_stop_waits_for_nobody_who_does_not_answer(jobs: JobStore) -> None:
    receivers = Receivers()
    ended(jobs, "https://dead.test/done")
    stopped = threading.Event()

    def serve() -> None:
        with job_webhooks(jobs, receivers, SECRET):
            wait_until(lambda: receivers.waiting, "it is notified", patience_s=PATIENCE_S)
        stopped.set()

    threading.Thread(target=serve, daemon=True).start()
    assert stopped.wait(PATIENCE_S)


class Heard:
    """A receiver on loopback: headers and bodies of what it was posted."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []

    def handler(self) -> type[BaseHTTPRequestHandler]:
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posts.append((dict(self.headers), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        return Handler


def test_an_event_is_delivered_signed_and_with_an_id_once_it_is_stored(tmp_path: Path) -> None:
    heard = Heard()
    with answering(heard.handler()) as url:
        way = DeliverySettings(name="gate", url=SecretStr(f"{url}/in?token=x"), secret=SecretStr(KEY), private=True)
        settings, path = Settings(deliveries=(way,)), tmp_path / "events.sqlite"
        with (
            closing(EventStore(path, settings.deliveries)) as store,
            event_deliveries(path, settings, Metrics()) as hear,
        ):
            store.put(Event.of(event("e1", crop="gate/e1.jpg")))
            hear({"type": "event", "event": event("e1")})
            wait_until(lambda: heard.posts, "it is delivered", patience_s=PATIENCE_S)
    (headers, body) = heard.posts[0]
    assert json.loads(body) == {
        "id": headers["X-Platoon-Delivery"],
        "kind": "plate",
        "event": event("e1", crop="gate/e1.jpg"),
    }
    timestamp = headers[SIGNATURE].partition(",")[0].removeprefix("t=")
    assert headers[SIGNATURE] == sign(body, KEY, int(timestamp))


def test_an_event_is_delivered_inside_the_network_only_where_the_settings_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    with answering(heard.handler()) as url:
        way = DeliverySettings(name="gate", url=SecretStr(f"{url}/in?token=hidden"), secret=SecretStr(KEY))
        settings, path, metrics = Settings(deliveries=(way,)), tmp_path / "events.sqlite", Metrics()
        failed = {"delivery": "gate", "result": "failed"}
        with closing(EventStore(path, settings.deliveries)) as store, event_deliveries(path, settings, metrics):
            store.put(Event.of(event("e1")))
            wait_until(
                lambda: metrics.registry.get_sample_value("platoon_deliveries_total", failed),
                "it is tried",
                patience_s=PATIENCE_S,
            )
    assert not heard.posts
    assert "not public" in caplog.text
    assert "deliveries" in caplog.text, "and which setting allows it"
    assert "hidden" not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("url", ["ftp://a.test", "https://ann:pass@a.test/", "https://a.test:wrong/", "https://ä.test"])
def test_a_delivery_to_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.load(deliveries=[{"name": "gate", "url": url, "secret": KEY}])
    assert "deliveries.0.url" in str(refused.value)
    assert "pass" not in str(refused.value)
