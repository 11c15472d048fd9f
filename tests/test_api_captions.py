"""Captions over HTTP: searched, and as a stream that goes on where it was cut off."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from platoon.api.captions import _GAPS_MOST
from platoon.api.serve import HttpServer
from platoon.settings import ApiSettings, ServiceSettings, Settings
from platoon.store.event import Event
from tests.fake_site import FakeSite, camera, event
from tests.keys import key, shown
from tests.running import wait_until

PATIENCE_S = 20


@pytest.fixture
def site(tmp_path: Path) -> FakeSite:
    return FakeSite(tmp_path, camera("gate"), camera("yard"))


@contextmanager
def serving(site: FakeSite, **service: Any) -> Iterator[tuple[httpx.Client, HttpServer]]:
    settings = Settings(api=ApiSettings(port=0), service=ServiceSettings(**service))
    with HttpServer(site, settings) as server, httpx.Client(base_url=server.address, timeout=PATIENCE_S) as client:
        yield client, server


def caption(site: FakeSite, number: int, text: str, about: str = "gate") -> None:
    """Emit a caption of second `number` of 1970."""
    time = f"1970-01-01T00:00:{number:02}+00:00"
    tree = {"id": f"c{number}", "kind": "caption", "state": "final", "camera": about, "time": time, "text": text}
    site.events.put(Event.of(tree))
    site.say({"type": "caption", "event": tree})


def gap(site: FakeSite, number: int, about: str = "gate") -> None:
    site.say({"type": "caption_gap", "camera": about, "time": str(number), "state": "superseded"})


class Stream:
    """A client of the stream."""

    def __init__(self, client: httpx.Client, *, last: int | None = None, **query: str) -> None:
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        self._opened = client.stream("GET", "/api/captions/stream", params=query, headers=headers)

    def __enter__(self) -> Self:
        self.response = self._opened.__enter__()
        self._lines = self.response.iter_lines()
        if self.response.status_code == 200:
            assert next(self._lines) == ": captions"
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.__exit__(None, None, None)

    def __iter__(self) -> Iterator[tuple[str | None, str, Any]]:
        """Id, kind and data of each event."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            fields[name] = value
            if not line and "data" in fields:
                yield fields.get("id"), fields["event"], json.loads(fields["data"])
                fields = {}

    def take(self, count: int) -> list[tuple[str, Any]]:
        events = iter(self)
        return [(kind, data.get("text", data.get("time"))) for _, kind, data in (next(events) for _ in range(count))]


def test_captions_are_found_by_words_camera_and_time(site: FakeSite) -> None:
    caption(site, 1, "A white van stops.")
    caption(site, 2, "The van leaves.", "yard")
    caption(site, 3, "Nobody is there.")
    site.events.put(Event.of(event("p1", text="VAN 1")))
    with serving(site) as (client, _):

        def found(**query: Any) -> list[str]:
            return [
                one["id"] for one in client.get("/api/captions", params=query).raise_for_status().json()["captions"]
            ]

        assert found() == ["c3", "c2", "c1"]
        assert found(q="Van") == ["c2", "c1"]
        assert found(q="white van") == ["c1"]
        assert found(camera="gate") == ["c3", "c1"]
        assert found(**{"from": 2, "to": 3}) == ["c2"]
        assert found(limit=1) == ["c3"]
        assert client.get("/api/captions", params={"from": "yesterday"}).status_code == 422


def test_captions_and_gaps_are_sent_as_they_come(site: FakeSite) -> None:
    caption(site, 1, "before")
    with serving(site) as (client, _), Stream(client) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        caption(site, 2, "one")
        assert stream.take(1) == [("caption", "one")]
        gap(site, 3)
        assert stream.take(1) == [("gap", "3")]
        site.events.put(Event.of(event("p1")))
        site.say({"type": "event", "event": event("p1")})
        caption(site, 4, "two", "yard")
        assert stream.take(1) == [("caption", "two")]


def test_a_client_that_was_cut_off_gets_what_it_lacks(site: FakeSite) -> None:
    with serving(site) as (client, _):
        with Stream(client) as stream:
            caption(site, 1, "one")
            number, _, _ = next(iter(stream))
        assert number is not None
        for second in range(2, 59):
            caption(site, second, str(second))
        with Stream(client, last=int(number)) as stream:
            assert stream.take(57) == [("caption", str(second)) for second in range(2, 59)]
            caption(site, 59, "now")
            assert stream.take(1) == [("caption", "now")]
        with Stream(client, last=10**9) as stream:  # of a store that was begun anew since
            assert stream.take(1) == [("caption", "one")]


def test_more_captions_than_a_page_are_all_sent(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platoon.api.captions._PAGE", 3)
    for second in range(10):
        caption(site, second, str(second))
    with serving(site) as (client, _), Stream(client, last=0) as stream:
        assert stream.take(10) == [("caption", str(second)) for second in range(10)]


def test_a_stream_of_one_camera_has_no_other(site: FakeSite) -> None:
    with serving(site) as (client, _), Stream(client, camera="yard", last=0) as stream:
        gap(site, 1)
        caption(site, 1, "gate")
        caption(site, 2, "yard", "yard")
        gap(site, 3, "yard")
        assert sorted(stream.take(2)) == [("caption", "yard"), ("gap", "3")]
        with Stream(client, camera="nowhere") as refused:
            assert refused.response.status_code == 404


def test_gaps_that_a_slow_client_does_not_get_are_counted(site: FakeSite) -> None:
    """They all come while the first look into the store is held up."""
    held, looked = threading.Event(), threading.Event()
    revision = site.events.revision

    def slow() -> int:
        looked.set()
        held.wait(PATIENCE_S)
        return revision()

    with serving(site) as (client, _), Stream(client, last=0) as stream:
        site.events.revision = slow  # type: ignore[method-assign]
        caption(site, 1, "one")
        assert looked.wait(PATIENCE_S)
        for number in range(_GAPS_MOST + 5):
            gap(site, number)
        held.set()
        kinds = [(kind, data) for (_, kind, data), _ in zip(stream, range(2), strict=False)]
        assert kinds[0][0] == "caption"
        assert kinds[1] == ("missed", {"gaps": 5})


def test_nobody_listens_once_a_client_has_gone(site: FakeSite) -> None:
    with serving(site) as (client, _):
        before = site.listeners()
        with Stream(client) as stream:
            caption(site, 1, "one")
            assert stream.take(1)
            assert site.listeners() == before + 1
        wait_until(lambda: site.listeners() == before, "nobody listens")


def test_a_stream_ends_with_the_process(site: FakeSite) -> None:
    with serving(site) as (client, server), Stream(client) as stream:
        server.drain()
        assert list(stream) == []


def test_captions_need_a_key_that_may_read(site: FakeSite) -> None:
    keys = (key("reads", scopes=("read",)), key("infers", scopes=("infer",)))
    with serving(site, keys=keys) as (client, _):
        for path in ("/api/captions", "/api/captions/stream"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=shown("infers")).status_code == 403
        assert client.get("/api/captions", headers=shown("reads")).status_code == 200
