"""An OpenAI-compatible server on loopback that does what a test tells it to."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

Reply = tuple[int, Any]
"""Status and body; a body that is no JSON is sent as it is; status 0: hang up."""


def said(text: str, finish: str = "stop") -> Reply:
    """A completion."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}


@dataclass
class FakeVlm:
    """What it was asked, and what it answers."""

    answer: Callable[[str, dict[str, Any]], Reply]
    """To a prompt and the whole request."""
    models: list[str] = field(default_factory=lambda: ["tiny-reader"])
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most_at_once: int = 0
    retry_after: str | None = None
    """What it says of every refusal."""
    closing: threading.Event = field(default_factory=threading.Event)

    def prompts(self) -> list[str]:
        """Of all requests."""
        return [prompt_of(request) for request in self.asked]

    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of all pictures."""
        return [picture_of(request).size for request in self.asked]


def prompt_of(request: dict[str, Any]) -> str:
    (prompt,) = (part["text"] for part in request["messages"][0]["content"] if part["type"] == "text")
    return str(prompt)


def picture_of(request: dict[str, Any]) -> Image.Image:
    url = request["messages"][0]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))


@contextmanager
def fake_vlm(answer: Callable[[str, dict[str, Any]], Reply]) -> Iterator[FakeVlm]:
    """Serve as long as it lasts."""
    fake = FakeVlm(answer)
    lock = threading.Lock()
    under_way = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self.send(200, {"data": [{"id": name} for name in fake.models]})
            else:
                self.send(404, {})

        def do_POST(self) -> None:
            nonlocal under_way
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                fake.asked.append(request)
                fake.keys.append(self.headers.get("Authorization"))
                under_way += 1
                fake.most_at_once = max(fake.most_at_once, under_way)
            try:
                status, body = fake.answer(prompt_of(request), request)
            finally:
                with lock:
                    under_way -= 1
            if status:
                self.send(status, body)
            else:
                self.close_connection = True

        def send(self, status: int, body: Any) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                if status == 429 and fake.retry_after is not None:
                    self.send_header("Retry-After", fake.retry_after)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # who asked has gone

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        fake.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
