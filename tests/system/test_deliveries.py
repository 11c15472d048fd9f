"""A run over a clip whose crops go to a real S3 server, and whose events to a webhook."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from platoon.api.serve import HttpServer
from platoon.settings import ApiSettings, Settings
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from tests.fake_site import FakeSite
from tests.http_server import answering
from tests.running import Place
from tests.s3_server import S3Server


@contextmanager
def serving(place: Place, crops: str) -> Iterator[httpx.Client]:
    """A client of a site over what the run has left."""
    site = FakeSite(place.folder / "serving")
    site.events.close()
    site.events, site.crops = EventStore(place.store / "events.sqlite"), ObjectStore(crops)
    with (
        HttpServer(site, Settings(api=ApiSettings(port=0))) as http_server,
        httpx.Client(base_url=http_server.address, trust_env=False, timeout=60) as client,
    ):
        yield client
    site.events.close()


def test_crops_come_back_from_s3_and_events_come_to_the_webhook(
    place: Place, video: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    place.register(f"roadside|Roadside|{video}/roadside.mp4|0")
    with S3Server(tmp_path_factory.mktemp("s3")) as server, answering(Receiver) as url:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        way = {"name": "gate", "url": url, "secret": "signs what is delivered", "private": True}
        place.settings |= {"store__crops": server.url, "deliveries": json.dumps([way])}
        done = place.run("run", place.registry, "--once", "--events", place.event_file)
        assert done.code == 0, done
        (event,) = place.emitted()
        assert [one["event"] for one in heard] == [event]
        assert not (place.store / "crops").exists()
        with serving(place, server.url) as client:
            reply = client.get(f"/api/events/{event['id']}/crop.jpg")
    assert reply.status_code == 200
    assert reply.content.startswith(b"\xff\xd8"), "a JPEG"
