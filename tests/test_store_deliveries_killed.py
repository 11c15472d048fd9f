"""Whoever writes and delivers may be killed at any moment: no event is missing, and repeats are known by their id."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from platoon.store.events import EventStore
from tests.http_server import answering

KILLS = int(os.environ.get("PLATOON_TEST_KILLS", "25"))
"""So many by default, as 200 take the best part of a minute."""


def test_killed_at_any_step_every_event_is_delivered_and_repeats_have_the_same_id(tmp_path: Path) -> None:
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert body["id"] == self.headers["X-Platoon-Delivery"]
            ids[body["event"]["id"], body["event"]["state"]].append(body["id"])
            try:
                self.send_response(204)
                self.end_headers()
            except ConnectionError:
                pass  # the sender was killed

        def log_message(self, *_: object) -> None: ...

    with answering(Receiver) as url:
        command = [sys.executable, "-m", "tests.dying_deliveries", tmp_path, url, str(KILLS)]
        subprocess.run(list(map(str, command)), check=True, timeout=600)
    store = EventStore(tmp_path / "events.sqlite")
    stored = {(one["id"], one["state"]) for one in store.search(limit=1_000_000)}
    store.close()
    acknowledged = {tuple(json.loads(line)) for line in (tmp_path / "put").read_text().splitlines()}
    assert len(acknowledged) > KILLS / 2
    assert not (stored | acknowledged) - ids.keys(), "none is missing"
    assert all(len(set(delivery_ids)) == 1 for delivery_ids in ids.values()), "a repeat has the id of the first"
    assert len({delivery_ids[0] for delivery_ids in ids.values()}) == len(ids), "and no two events have one id"
    firsts = list(ids)
    for name, state in firsts:
        if state == "final" and (name, "preview") in ids:
            assert firsts.index((name, "preview")) < firsts.index((name, "final"))
