"""SIGTERM to `platoon serve`: what is under way is answered, what is new is told to come later."""

import re
import signal
import socket

import httpx

from tests.running import LIGHT, PATIENCE_S, Place, wait_until

HEAD = b"POST /ocr HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"


def test_what_is_under_way_is_answered_and_what_is_new_gets_503(place: Place) -> None:
    place.settings |= LIGHT
    with place.begin("serve") as serving:
        found = serving.until(lambda: re.search(r"http://([\d.]+):(\d+)", serving.log), "it listens")
        address = f"http://{found[1]}:{found[2]}"
        with (
            socket.create_connection((found[1], int(found[2])), timeout=PATIENCE_S) as wire,
            httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE_S) as client,
        ):
            wire.sendall(HEAD + b"{")
            wait_until(lambda: client.get("/health").status_code == 200, "it answers")
            serving.process.send_signal(signal.SIGTERM)

            def draining() -> bool:
                ready = client.get("/health/ready")
                return ready.status_code == 503 and "draining" in ready.json()["errorMsg"]

            wait_until(draining, "it drains")
            refused = client.get("/metrics/of/nothing")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            wire.sendall(b"}")
            assert b" 422 " in wire.recv(65_536).splitlines()[0]
        assert serving.process.wait(PATIENCE_S) == 0
